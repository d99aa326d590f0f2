"""What cannot be said in metres: the masks go on, diagnostics says why, and what was repaired comes back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from harness import start_alone
from street import AT_REST, BODY, CAMERA, GROUND, MS, OPTICAL, Street, at_rest, mounted, placed, tf_message
from street_camera import DRIVABLE, GRID, MASK, SCAN, Camera, Transforms, check_scan, ranges_of, values_of

pytest.importorskip("tf2_msgs.msg", reason="needs ROS 2 with tf2_msgs")

NAN = math.nan


def test_calibrations_that_cannot_be_used(ros: Any, tmp_path: Path) -> None:
    street = Street(tmp_path)
    node = ros.start_node(**AT_REST, **street.parameters)
    camera = Camera(ros, street)
    camera.expect_without_metres(0, "no_camera_info", "camera_info")
    no_number = [NAN, *street.calibration.k[1:]]
    faults = [
        ({"fx": 0.0}, ("focal lengths in K must be positive", "calibrated")),
        ({"fx": -250.0}, ("focal lengths in K must be positive", "-250")),
        ({"k": no_number}, ("K must be finite",)),
        ({"d": [NAN, 0.0, 0.0, 0.0, 0.0]}, ("distortion coefficients must be finite",)),
        ({"d": [0.1] * 8}, ("plumb_bob has 5", "got 8")),
        ({"distortion_model": "fish", "d": [0.1] * 4}, ("'fish'", "rational_polynomial")),
        ({"width": 0}, ("width and height",)),
    ]
    for index, (changed, words) in enumerate(faults, 1):
        camera.expect_without_metres(index, "bad_calibration", *words, info=street.info(**changed))
        camera.expect_all_well(20 + index, info=street.info())
        grid, scan = camera.answer(GRID, 20 + index), camera.answer(SCAN, 20 + index)
        assert (values_of(grid) == 0).any() and np.isfinite(ranges_of(scan)).any()
    assert node.running and "Traceback" not in node.text


def test_transforms_that_are_missing_late_or_broken(ros: Any, tmp_path: Path) -> None:
    street = Street(tmp_path)
    node = ros.start_node(tf_wait_ms=5.0, **street.parameters)
    camera, transforms = Camera(ros, street), Transforms(ros)
    info = street.info()

    def refused(index: int, reason: str, *words: str) -> None:
        camera.expect_without_metres(index, reason, *words, info=info)

    refused(0, "unknown_frame", repr(OPTICAL), "none yet")
    broken = [
        tf_message(placed(BODY, CAMERA, 0, (NAN, 0.0, 1.45))),
        tf_message(placed(BODY, CAMERA, 0, rotation=[0] * 4)),
    ]
    for message in broken:
        transforms.fix(message)
        ros.until(lambda: ros.values().get("transforms_refused", "0") != "0", "it is counted")
        refused(1, "unknown_frame")
    ros.until(lambda: "unit quaternion" in ros.values()["last_transform_error"], "why it was refused")
    transforms.fix(mounted())
    refused(2, "unknown_frame", repr(GROUND))
    transforms.fix(tf_message(placed("odom", GROUND)))
    refused(3, "not_connected", GROUND, BODY)
    first_ns, last_ns = street.stamps_ns[10], street.stamps_ns[20]

    def known() -> None:
        """What is known of the body reaches from the 10th image to the 20th."""
        transforms.move(at_rest(first_ns), at_rest(last_ns))

    camera.expect_all_well(15, info=info, before=known)
    refused(21, "extrapolation_future", f"{BODY} in {GROUND}", "after what is known")
    refused(9, "extrapolation_past", f"{BODY} in {GROUND}", "before what is known")
    # A pose that is none neither replaces the good one nor stops what comes after it.
    refusals = int(ros.values()["transforms_refused"])
    transforms.move(tf_message(placed(GROUND, BODY, last_ns, (0.0, 0.0, NAN))))
    ros.until(lambda: int(ros.values()["transforms_refused"]) > refusals, "it is counted")
    camera.show(16, GRID, SCAN, info=info)
    camera.expect_all_well(22, info=info, before=lambda: transforms.move(at_rest(street.stamps_ns[22] + MS)))
    assert node.running and "Traceback" not in node.text


def test_a_frame_that_is_hardly_optical_is_named(ros: Any, tmp_path: Path) -> None:
    street = Street(tmp_path)
    ros.start_node(**street.parameters)
    camera, transforms = Camera(ros, street), Transforms(ros)
    transforms.fix(mounted())
    fixed = tf_message(placed(GROUND, BODY))
    image = street.image(0, frame_id=CAMERA)  # the camera's body frame, z up: a driver's common mistake
    camera.show(0, MASK, GRID, image=image, info=street.info(), before=lambda: transforms.fix(fixed))
    ros.until(lambda: camera.send(image) or "optical frame" in ros.message(), "the frame is named")
    assert ros.level() == 1 and repr(CAMERA) in ros.message() and "driver" in ros.message()
    image = street.image(1)
    ros.until(lambda: camera.send(image) or "optical" not in ros.message(), "all is well with the right one")


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 5)])
def test_tiny_images(ros: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    street = Street(tmp_path)
    for stamp_ns in street.stamps_ns:
        assert cv2.imwrite(str(street.folder / f"{stamp_ns}.png"), np.zeros(size[::-1], np.uint8))
    node = ros.start_node(**AT_REST, **street.parameters)
    camera = Camera(ros, street, listen=(MASK, DRIVABLE, GRID, SCAN))
    image = street.image(0, size=size)
    # A calibration for a large picture holds for a small version of it.
    info = street.info(width=320, height=320 * size[1] // size[0])
    mask, drivable, grid, scan = camera.show(0, MASK, DRIVABLE, GRID, SCAN, image=image, info=info)
    assert (mask.width, mask.height) == (drivable.width, drivable.height) == size
    assert bytes(drivable.data) == b"\xff" * (size[0] * size[1])
    assert (values_of(grid) != 100).all() and (values_of(grid) == 0).any()
    check_scan(scan)
    assert not np.isfinite(ranges_of(scan)).any()  # road to the end, or not in view
    assert ros.count("failed") == 0 and "Traceback" not in node.text


def test_a_footprint_that_is_the_vehicles_own_ends_it_with_an_error(ros_environment: None, tmp_path: Path) -> None:
    """No transform leads from a frame to itself."""
    node = start_alone(tmp_path, ground_frame="camera_footprint", **Street(tmp_path).parameters)
    assert node.wait() == 1
    assert "cameras: 'camera' would have the footprint frame camera_footprint" in node.text
    assert "Traceback" not in node.text


def test_a_cropped_image_is_no_scaled_one(ros: Any, tmp_path: Path) -> None:
    """16:9 images beside a calibration of 4:3: another part of the view, in silence at the wrong place."""
    street = Street(tmp_path)
    for stamp_ns in street.stamps_ns:
        assert cv2.imwrite(str(street.folder / f"{stamp_ns}.png"), np.zeros((180, 320), np.uint8))
    ros.start_node(**AT_REST, **street.parameters)
    camera = Camera(ros, street)
    image, before = street.image(0, size=(320, 180)), camera.without_metres("bad_calibration")
    camera.show(0, MASK, image=image, info=street.info())
    ros.until(lambda: camera.send(image) or "another shape" in ros.message(), "the sizes are named")
    assert camera.without_metres("bad_calibration") > before and not camera.got[GRID]


def test_unknown_classes_at_start_end_it_with_an_error(ros_environment: None, tmp_path: Path) -> None:
    street = Street(tmp_path)
    node = start_alone(tmp_path, drivable_classes="[lawn]", **street.parameters)
    assert node.wait() == 1
    assert "'lawn' is no class of" in node.text and "sidewalk" in node.text and "Traceback" not in node.text
