"""What the running node publishes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from pictures import image_of, picture, pixels_of, stamp_ns, stamps_of

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def test_a_replayed_mask_lands_unshifted_under_the_source_header(ros: Any, replayed: dict[str, Any]) -> None:
    ros.start_node(**replayed)
    masks, overlays = ros.subscribe(IMAGE, "segmentation/mask"), ros.subscribe(IMAGE, "segmentation/overlay")
    infos = ros.subscribe("sensor_msgs/msg/CameraInfo", "segmentation/camera_info")
    publisher = ros.publisher(IMAGE, "image")
    message = ros.publish_until_seen(publisher, image_of(picture(3), 3), masks)

    expected = np.zeros((480, 640), np.uint8)
    expected[:80, :80], expected[:80, -80:], expected[-80:, :80], expected[-80:, -80:] = 1, 2, 3, 4
    np.testing.assert_array_equal(pixels_of(message), expected)
    assert (message.encoding, message.step, message.header.frame_id) == ("mono8", 640, "front_camera")
    ros.until(lambda: stamp_ns(3) in stamps_of(overlays), "its overlay")
    assert not infos  # the camera's own is right: the mask has its size
    png = ros.subscribe(COMPRESSED, "segmentation/mask/compressed")
    ros.publish_until_seen(publisher, image_of(picture(4), 4), png)
    assert png[-1].format == "mono8; png compressed "
    decoded = cv2.imdecode(np.frombuffer(png[-1].data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, expected)


def test_labels_reach_a_late_subscriber(ros: Any, replayed: dict[str, Any]) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    ros.start_node(**replayed)
    ros.wait_active()
    ros.spin(0.5)
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    got = ros.subscribe("vision_msgs/msg/LabelInfo", "segmentation/label_info", qos)
    ros.until(lambda: got, "label_info")
    names = {entry.class_id: entry.class_name for entry in got[0].class_map}
    assert names[0] == "road" and names[13] == "car" and names[18] == "bicycle" and len(names) == 19


def test_nothing_is_computed_that_nobody_listens_to(ros: Any, replayed: dict[str, Any]) -> None:
    """The recorded masks lack picture 50: to infer it is to fail."""
    ros.start_node(**replayed)
    publisher = ros.publisher(IMAGE, "image")
    unknown = image_of(picture(0), 50)
    ros.until(lambda: publisher.publish(unknown) or "nobody listens" in ros.message(), "it is said that nobody listens")
    assert ros.level() == 0
    ros.fresh_report()
    assert ros.count("idle") + ros.count("dropped") == ros.count("received") > 0
    assert ros.count("failed") == ros.count("published") == 0

    overlays = ros.subscribe(COMPRESSED, "segmentation/overlay/compressed")
    ros.publish_until_seen(publisher, image_of(picture(1), 1), overlays)
    ros.fresh_report()
    values = ros.values()
    assert "overlay_p50_ms" in values and values["published"] != "0"
    assert overlays[-1].format.startswith("rgb8; jpeg")


def test_scaled_camera_info_goes_with_scaled_masks(ros: Any, replayed: dict[str, Any]) -> None:
    from sensor_msgs.msg import CameraInfo

    ros.start_node(camera__mask_size="[320,240]", **replayed)
    masks = ros.subscribe(IMAGE, "segmentation/mask")
    infos = ros.subscribe("sensor_msgs/msg/CameraInfo", "segmentation/camera_info")
    calibration = ros.publisher("sensor_msgs/msg/CameraInfo", "camera_info")
    publisher = ros.publisher(IMAGE, "image")
    info = CameraInfo(height=480, width=640, distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0])
    info.k = [500.0, 0.0, 319.5, 0.0, 500.0, 239.5, 0.0, 0.0, 1.0]
    info.p = [500.0, 0.0, 319.5, 0.0, 0.0, 500.0, 239.5, 0.0, 0.0, 0.0, 1.0, 0.0]

    def answered() -> bool:
        calibration.publish(info)
        publisher.publish(image_of(picture(0), 0))
        ros.spin(0.1)
        return bool(infos and masks)

    ros.until(answered, "a mask and its camera_info")
    got = infos[-1]
    assert (got.width, got.height, got.header.frame_id) == (320, 240, "front_camera")
    assert stamps_of([got]) == [stamp_ns(0)]
    assert got.k[0] == pytest.approx(250.0) and got.k[2] == pytest.approx(159.5)


def test_several_cameras_share_one_model_and_none_starves(ros: Any, replayed: dict[str, Any]) -> None:
    ros.start_node(cameras="[left,right]", left__mask_size="[64,48]", **replayed)
    cameras = ("left", "right")
    masks = {name: ros.subscribe(IMAGE, f"segmentation/{name}/mask") for name in cameras}
    publishers = {name: ros.publisher(IMAGE, f"{name}/image") for name in cameras}
    for index in range(10):
        for name in cameras:
            publishers[name].publish(image_of(picture(index), index))
        ros.spin(0.15)
    ros.until(lambda: all(masks.values()), "masks of both")
    ros.fresh_report()
    assert {(m.width, m.height) for m in masks["left"]} == {(64, 48)}
    assert {(m.width, m.height) for m in masks["right"]} == {(640, 480)}
    for name in cameras:
        status = f"segmentation: {name}"
        received, published = ros.count("received", status), ros.count("published", status)
        gone = sum(ros.count(key, status) for key in ("dropped", "failed", "idle"))
        assert received == published + gone and published == len(masks[name]) > 0
