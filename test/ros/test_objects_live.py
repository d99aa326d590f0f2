"""Objects over real ROS 2: what is published, that a replay gives the same, and that velocities are honest."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the bags that are written by hand

from street import AT_REST, GROUND, HEIGHT, WIDTH, Street, mounted, placed, rocking, stamp_ns_of, tf_message
from street_camera import DETECTIONS, MARKERS, OBSTACLES, PANOPTIC, POINTS, Camera, Transforms, set_parameter
from test_drivable_live import replay, same

pytest.importorskip("tf2_msgs.msg", reason="needs ROS 2 with tf2_msgs")
pytest.importorskip("vision_msgs.msg", reason="needs ROS 2 with vision_msgs")

ALL = (PANOPTIC, DETECTIONS, OBSTACLES, POINTS, MARKERS)
DELETE_ALL, CUBE, TEXT = 3, 1, 9
NAMES = {11: "person", 12: "rider", 13: "car", 14: "truck", 15: "bus", 16: "train", 17: "motorcycle", 18: "bicycle"}


def driving(street: Street, speed_mps: float = 9.0) -> list[Any]:
    """A vehicle that rocks and drives straight on: its body over the ground, and odometry."""
    start_ns, out = street.stamps_ns[0], []
    for message in rocking(street):
        stamp_ns = stamp_ns_of(message.transforms[0])
        at = (speed_mps * (stamp_ns - start_ns) * 1e-9, 0.0, 0.0)
        out.append(tf_message(*message.transforms, placed("odom", GROUND, stamp_ns, at)))
    return out


def panoptic_of(image: Any) -> np.ndarray:
    assert image.encoding == "mono16" and image.step == 2 * image.width and not image.is_bigendian
    return np.frombuffer(bytes(image.data), "<u2").reshape(image.height, image.width)


def points_of(cloud: Any) -> dict[str, list[Any]]:
    """Field by field with nothing but the message's own description."""
    codes = {2: "B", 4: "H", 6: "I", 7: "f"}
    out: dict[str, list[Any]] = {}
    data = bytes(cloud.data)
    assert not cloud.is_bigendian and cloud.height == 1
    assert len(data) == cloud.row_step == cloud.width * cloud.point_step
    for field in cloud.fields:
        read = struct.Struct("<" + codes[field.datatype])
        out[field.name] = [read.unpack_from(data, i * cloud.point_step + field.offset)[0] for i in range(cloud.width)]
    return out


def test_live_gives_what_a_replay_gives(ros: Any, tmp_path: Path) -> None:
    """Frames of a drive with odometry and a body that rocks; all outputs, message for message."""
    count = 15
    street = Street(tmp_path, driven=count)
    moving = driving(street)
    ros.start_node(**street.parameters)
    camera, transforms = Camera(ros, street, listen=ALL), Transforms(ros)
    transforms.fix(mounted())
    ros.until(
        lambda: transforms.move(*moving) or ros.count("transforms_received") > 4 * len(moving), "transforms arrive"
    )
    for index in range(count):
        camera.show(index, *ALL, info=street.info(index))
    written = replay(street, tmp_path, moving, count)
    for output in ALL:
        replayed = written[f"/segmentation/{output}"]
        assert [stamp_ns_of(m) for m in replayed] == street.stamps_ns[:count]
        for index, m in enumerate(replayed):
            assert same(camera.answer(output, index), m), (output, index)
    clouds = [points_of(camera.answer(POINTS, index)) for index in range(count)]
    assert all(len(cloud["x"]) > 20 and set(cloud["relative"]) == {0} for cloud in clouds)
    assert any(np.isfinite(cloud["vx"]).any() for cloud in clouds)
    assert any(a["x"] != b["x"] for a, b in zip(clouds, clouds[1:]))


def test_all_topics_of_a_frame_speak_of_the_same_things(ros: Any, tmp_path: Path) -> None:
    street = Street(tmp_path)
    ros.start_node(**AT_REST, **street.parameters)
    camera = Camera(ros, street, listen=ALL)
    panoptic, detections, obstacles, points, markers = camera.show(0, *ALL, info=street.info(0))
    optical = "front_camera_optical_frame"
    assert (panoptic.header.frame_id, detections.header.frame_id) == (optical, optical)
    assert (obstacles.header.frame_id, points.header.frame_id) == (GROUND, GROUND)

    image, mask = panoptic_of(panoptic), street.mask(0)
    assert image.shape == (HEIGHT, WIDTH) and len(detections.detections) > 3
    for number, detection in enumerate(detections.detections, 1):
        own = (image % 1000 == number) & (image != 65535)
        rows, columns = np.nonzero(own)
        (class_id,) = np.unique(image[own]) // 1000
        assert detection.results[0].hypothesis.class_id == NAMES[int(class_id)]
        assert (mask[own] == class_id).mean() > 0.5 and 0 < detection.results[0].hypothesis.score <= 1
        box, centre = detection.bbox, detection.bbox.center.position
        assert (box.size_x, box.size_y) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert (centre.x, centre.y) == ((columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2)
    ids = [detection.id for detection in detections.detections]
    assert len(set(ids)) == len(ids) and all(i.isdigit() for i in ids)

    cloud = points_of(points)
    assert 3 < len(obstacles.detections) <= len(ids) and {o.id for o in obstacles.detections} <= set(ids)
    assert set(map(str, cloud["track"])) == {o.id for o in obstacles.detections}
    assert set(cloud["relative"]) == {1} and np.isnan(cloud["vx"]).all()
    for track, number in set(zip(cloud["track"], cloud["instance"])):
        assert ids[number - 1] == str(track)
    for obstacle in obstacles.detections:
        at = obstacle.results[0].pose.pose.position
        own = [i for i, track in enumerate(cloud["track"]) if str(track) == obstacle.id]
        nearest = min(np.hypot(cloud["x"][i] - at.x, cloud["y"][i] - at.y) for i in own)
        assert nearest < 0.02 * np.hypot(at.x, at.y) and at.z == 0.0
        covariance = np.reshape(obstacle.results[0].pose.covariance, (6, 6))[:2, :2]
        assert (np.linalg.eigvalsh(covariance) > 0).all()
        assert max(cloud["z"][i] for i in own) >= 0.3 * min(2.0, obstacle.bbox.size.z)
    kinds = [m.action if m.action == DELETE_ALL else m.type for m in markers.markers]
    assert kinds[0] == DELETE_ALL and kinds.count(CUBE) == kinds.count(TEXT) == len(obstacles.detections)


def test_what_is_left_out_is_counted_and_limits_change_while_it_runs(ros: Any, tmp_path: Path) -> None:
    street = Street(tmp_path)
    ros.start_node(**AT_REST, **street.parameters)
    camera = Camera(ros, street, listen=(DETECTIONS, OBSTACLES))
    first, _ = camera.show(0, DETECTIONS, OBSTACLES, info=street.info(0))
    assert set_parameter(ros, "object_min_areas", ["car:1000000"]).successful
    refused = set_parameter(ros, "object_min_areas", ["lawn:3"])
    assert not refused.successful and "no class" in refused.reason
    second, _ = camera.show(1, DETECTIONS, OBSTACLES, info=street.info(1))

    def cars(m: Any) -> int:
        return sum(d.results[0].hypothesis.class_id == "car" for d in m.detections)

    assert cars(first) > 0 == cars(second)
    ros.until(lambda: ros.count("objects/too_small") >= cars(first), "what is too small is counted")
    kept = len(first.detections) + len(second.detections)
    ros.until(lambda: ros.count("objects/kept") >= kept, "what is kept is counted")
    assert "objects/without_contact" in ros.values()
