"""Where the camera is: from TF, from parameters, changing while images come; and poses that show little."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from street import (
    AT_REST,
    BODY,
    GROUND,
    MOUNT_M,
    MOUNT_PITCH_RAD,
    Street,
    body_pitch_rad,
    mounted,
    placed,
    rocking,
    tf_message,
)
from street_camera import GRID, MASK, SCAN, Camera, Transforms, check_scan, ranges_of, set_parameter, values_of

pytest.importorskip("tf2_msgs.msg", reason="needs ROS 2 with tf2_msgs")


def test_tf_at_the_images_stamp_gives_what_the_same_pose_as_parameters_gives(ros: Any, tmp_path: Path) -> None:
    """Two cameras see the same picture again and again; only the pose changes, between the stamps of /tf."""
    street = Street(tmp_path, still=True)
    moving = rocking(street)
    fixed = {
        "by_numbers__pose_source": "parameters",
        "by_numbers__position_m": list(MOUNT_M),
        "by_numbers__rotation_rpy_rad": [0.0, MOUNT_PITCH_RAD, 0.0],
    }
    ros.start_node(cameras="[by_tf,by_numbers]", **fixed, **street.parameters)
    by_tf, by_numbers = (Camera(ros, street, name, (GRID, SCAN)) for name in ("by_tf", "by_numbers"))
    transforms = Transforms(ros)
    transforms.fix(mounted())
    grids = []
    for index in (0, 11, 23):
        stamp_ns = street.stamps_ns[index]
        # The body turns about its origin on the ground, and with it the place and pitch of the camera on it.
        angle = body_pitch_rad(stamp_ns, street.stamps_ns[0])
        x, y, z = MOUNT_M
        at = [x * math.cos(angle) + z * math.sin(angle), y, z * math.cos(angle) - x * math.sin(angle)]
        assert set_parameter(ros, "by_numbers.position_m", at).successful
        assert set_parameter(ros, "by_numbers.rotation_rpy_rad", [0.0, MOUNT_PITCH_RAD + angle, 0.0]).successful
        a = by_tf.show(index, GRID, SCAN, info=street.info(), before=lambda: transforms.move(*moving))
        b = by_numbers.show(index, GRID, SCAN, info=street.info())
        # The same pose in other words may differ in the last bit, and turn a cell on the edge of a pixel.
        differing = np.count_nonzero(values_of(a[0]) != values_of(b[0]))
        assert differing <= 0.001 * values_of(a[0]).size, differing
        np.testing.assert_array_equal(np.isnan(ranges_of(a[1])), np.isnan(ranges_of(b[1])))
        np.testing.assert_allclose(ranges_of(a[1]), ranges_of(b[1]), rtol=1e-4)
        assert (a[0].header.frame_id, b[0].header.frame_id) == (GROUND, GROUND)
        assert (a[1].header.frame_id, b[1].header.frame_id) == ("by_tf_footprint", "by_numbers_footprint")
        grids.append(values_of(a[0]))
    # A pose of another moment would have shown.
    for one, other in zip(grids, grids[1:]):
        assert np.count_nonzero(one != other) > 0.01 * one.size
    ros.fresh_report()
    assert not by_numbers.without_metres("unknown_frame")


def test_poses_from_which_there_is_little_to_see(ros: Any, tmp_path: Path) -> None:
    """Parameters move the camera while images come: under the ground, and to look straight down, up and back."""
    street = Street(tmp_path, still=True)
    node = ros.start_node(**AT_REST, **street.parameters)
    camera = Camera(ros, street)
    info = street.info()
    camera.show(0, MASK, GRID, SCAN, info=info)

    def place(height_m: float, pitch_rad: float) -> None:
        assert set_parameter(ros, "camera.position_m", [1.6, 0.0, height_m]).successful
        assert set_parameter(ros, "camera.rotation_rpy_rad", [0.0, pitch_rad, 0.0]).successful

    for index, height_m in ((1, -0.5), (2, 0.0)):
        place(height_m, 0.0)
        words = f"{height_m:.3f} m above the ground", "ground_height_m"
        camera.expect_without_metres(index, "below_ground", *words, info=info)
    assert set_parameter(ros, "ground_height_m", -1.0).successful  # the frame is above the ground, and so the camera
    grid, _ = camera.show(3, GRID, SCAN, info=info)
    assert grid.info.origin.position.z == -1.0
    assert set_parameter(ros, "ground_height_m", 0.0).successful

    # Straight up and just above the horizon there is no ground at all.
    for index, pitch_rad in ((4, -math.pi / 2), (5, -0.6)):
        place(1.45, pitch_rad)
        _, grid, scan = camera.show(index, MASK, GRID, SCAN, info=info)
        assert (values_of(grid) == -1).all()
        assert np.isnan(ranges_of(scan)).all()
        check_scan(scan)
    # Straight down there is ground all around the foot, as far as the picture reaches.
    place(1.45, math.pi / 2)
    _, grid, scan = camera.show(6, MASK, GRID, SCAN, info=info)
    corner = grid.info.origin.position
    seen = (np.argwhere(values_of(grid) != -1)[:, ::-1] + 0.5) * grid.info.resolution + (corner.x, corner.y)
    assert len(seen) > 50
    # Half the picture is 0.48 of the focal length high, as many metres times the camera's height.
    assert np.abs(seen - (1.6, 0.0)).max(axis=0) == pytest.approx((0.48 * 1.45, 0.64 * 1.45), abs=0.1)
    assert scan.angle_max - scan.angle_min == pytest.approx(2 * math.pi, abs=0.02)
    check_scan(scan)
    # Upside down, and back again.
    place(1.45, math.pi)
    camera.show(7, MASK, GRID, SCAN, info=info)
    place(1.45, 0.0)
    first, again = camera.answer(GRID, 0), camera.show(8, GRID, SCAN, info=info)[0]
    np.testing.assert_array_equal(values_of(first), values_of(again))
    assert ros.count("failed") == 0 and node.running and "Traceback" not in node.text


def test_where_the_pose_comes_from_can_change_while_it_runs(ros: Any, tmp_path: Path) -> None:
    street = Street(tmp_path, still=True)
    ros.start_node(**AT_REST, **street.parameters)
    camera = Camera(ros, street)
    info = street.info()
    (first,) = camera.show(0, GRID, info=info)
    assert set_parameter(ros, "camera.pose_source", "tf").successful
    camera.expect_without_metres(1, "unknown_frame", info=info)
    transforms = Transforms(ros)
    fixed = tf_message(placed(GROUND, BODY))
    transforms.fix(mounted(pitch_rad=0.0))
    (second,) = camera.show(2, GRID, info=info, before=lambda: transforms.fix(fixed))
    differing = np.count_nonzero(values_of(first) != values_of(second))
    assert differing <= 0.001 * values_of(first).size
    assert set_parameter(ros, "camera.pose_source", "parameters").successful
    (third,) = camera.show(3, GRID, info=info)
    np.testing.assert_array_equal(values_of(first), values_of(third))


def test_transforms_come_back_after_a_pause(ros: Any, tmp_path: Path) -> None:
    """A node that was deactivated, or let go of everything, hears latched transforms anew."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    street = Street(tmp_path)
    node = ros.start_node(**street.parameters)
    camera, transforms = Camera(ros, street), Transforms(ros)
    transforms.fix(mounted())
    transforms.fix(tf_message(placed(GROUND, BODY)))

    def change(transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert ros.call(ChangeState, "/segmentation/change_state", request).success

    camera.show(0, GRID, SCAN, info=street.info())
    change(Transition.TRANSITION_DEACTIVATE)
    change(Transition.TRANSITION_ACTIVATE)
    camera.show(1, GRID, SCAN, info=street.info())
    # Another model, another buffer: everything is heard again.
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        change(transition)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        change(transition)
    camera.show(2, GRID, SCAN, info=street.info())
    assert node.running and "Traceback" not in node.text
