"""What stands moves in the image as the camera's own motion has it, and nothing is said where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import GroundCamera
from seg_perception.perception.drift import Odometer
from seg_perception.simulate import StreetScene

NS = 1_000_000_000


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    out = np.eye(4)
    out[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    out[:2, 3] = x, y
    return out


@pytest.fixture(scope="module")
def ground() -> GroundCamera:
    scene = StreetScene(0, 640, 480)
    return GroundCamera(CameraModel.of(scene.lens.camera_info(), (480, 640)), scene.base_from_optical)


def test_a_place_that_rests(ground: GroundCamera) -> None:
    """Seen from both poses; the odometry frame is far away and turned."""
    before, now = pose(500.0, -300.0, 2.0), pose(500.0, -300.0, 2.0) @ pose(0.6, 0.02, 0.01)
    odometer = Odometer()
    assert odometer.drift(5 * NS, ground, before) is None
    drift = odometer.drift(5 * NS + NS // 10, ground, now)
    assert drift is not None
    told = drift.velocities_px(np.array([[12.0, 2.0], [np.nan, 1.0], [30.0, -5.0]]))
    for place, velocity in (([12.0, 2.0], told[0]), ([30.0, -5.0], told[2])):
        world = now @ np.array([*place, 0.0, 1.0])
        was = np.linalg.inv(before) @ world
        expected = (ground.project(np.array(place)) - ground.project(was[:2])) / 0.1
        np.testing.assert_allclose(velocity, expected, atol=1e-6)
    assert np.isnan(told[1]).all()


def test_a_street_goes_by_on_both_sides(ground: GroundCamera) -> None:
    odometer = Odometer()
    odometer.drift(0, ground, pose(0.0, 0.0, 1.0))
    drift = odometer.drift(NS // 10, ground, pose(0.0, 0.0, 1.0) @ pose(0.6, 0.0, 0.0))
    assert drift is not None
    left, right = drift.velocities_px(np.array([[10.0, 3.0], [10.0, -3.0]]))
    assert left[0] < -50 and right[0] > 50 and left[1] > 10 and right[1] > 10


def test_nothing_is_said_about_gaps_and_jumps(ground: GroundCamera) -> None:
    here = pose(0.0, 0.0, 0.0)
    odometer = Odometer()
    assert odometer.drift(0, ground, None) is None
    assert odometer.drift(NS // 10, ground, here) is None
    assert odometer.drift(NS, ground, here) is None
    assert odometer.drift(NS // 2, ground, here) is None
    assert odometer.drift(NS // 2, ground, here) is None
    assert odometer.drift(NS // 2 + NS // 10, None, here) is None
    assert odometer.drift(NS // 2 + NS // 5, ground, here) is not None
