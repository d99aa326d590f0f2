"""How camera and vehicle stand and move: mounts, bumps, weaving, slopes, kerbs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import StreetScene

FLAT = ("road", "sidewalk", "terrain")


def small(**options: Any) -> StreetScene:
    return StreetScene(**{"seed": 3, "width_px": 96, "height_px": 72, "rate_hz": 20.0, **options})


def test_a_mount_is_rolled_then_pitched_then_turned() -> None:
    pose = small(camera_roll_rad=0.2, camera_pitch_rad=0.1, camera_yaw_rad=0.3, camera_left_m=-0.4).pose(0)
    right, down, forward = pose.base_from_optical[:3, :3].T
    ahead = math.cos(0.1)
    np.testing.assert_allclose(forward, [ahead * math.cos(0.3), ahead * math.sin(0.3), -math.sin(0.1)], atol=1e-12)
    # Rolled to the right: what is right of the camera lies below it.
    assert right[2] == pytest.approx(-math.sin(0.2) * math.cos(0.1))
    np.testing.assert_allclose(np.cross(right, down), forward, atol=1e-12)
    np.testing.assert_allclose(pose.base_from_optical[:3, 3], [1.6, -0.4, 1.45])
    np.testing.assert_array_equal(pose.base_from_body, np.eye(4))


def test_a_rolled_camera_sees_a_rolled_horizon() -> None:
    class_ids = small(camera_roll_rad=0.2, camera_pitch_rad=0.0, focal_px=100).frame(0, shaded=False).class_ids
    ground = np.isin(class_ids, [CITYSCAPES.id_of(name) for name in FLAT])
    rows, columns = np.nonzero(ground)
    # Ground ends above at the horizon through the image's middle, which rises to the right.
    horizon = 35.5 - math.tan(0.2) * (columns - 47.5)
    assert (rows > horizon).all()
    assert (rows - horizon).min() < 4


def test_bumps_rock_the_camera_smoothly_and_the_same_each_time() -> None:
    scene, again = small(bump_pitch_rad=0.02, bump_height_m=0.05), small(bump_pitch_rad=0.02, bump_height_m=0.05)
    poses = [scene.pose(i) for i in range(200)]
    pitch = np.array([-math.asin(pose.base_from_body[2, 0]) for pose in poses])
    heave = np.array([pose.base_from_body[2, 3] for pose in poses])
    assert 0.01 < np.abs(pitch).max() <= 0.02 and 0.025 < np.abs(heave).max() <= 0.05
    # Two waves of at most 2.1 Hz at 20 frames per second.
    assert np.abs(np.diff(pitch)).max() < 0.02 * 2 * math.pi * 2.1 / 20
    np.testing.assert_array_equal(poses[77].base_from_optical, again.frame(77, shaded=False).base_from_optical)
    for pose in poses[::50]:
        np.testing.assert_allclose(pose.base_from_optical, pose.base_from_body @ scene.base_from_optical)
        np.testing.assert_allclose(pose.world_from_base[:3, :3], np.eye(3))
        assert pose.world_from_base[2, 3] == 0
    other = small(seed=4, bump_pitch_rad=0.02).pose(5)
    assert not np.allclose(other.base_from_body, small(bump_pitch_rad=0.02).pose(5).base_from_body)


def test_a_weaving_vehicle_heads_where_it_goes() -> None:
    scene = small(weave_m=0.5, rate_hz=100.0)
    places = np.array([scene.pose(i).world_from_base[:2, 3] for i in range(3000)])
    yaw = np.array([math.atan2(*scene.pose(i).world_from_base[[1, 0], 0]) for i in range(3000)])
    assert 0.3 < np.abs(places[:, 1]).max() <= 0.5
    steps = places[2:] - places[:-2]
    np.testing.assert_allclose(np.arctan2(steps[:, 1], steps[:, 0]), yaw[1:-1], atol=1e-5)
    np.testing.assert_allclose(places[:, 0], 9.0 * np.arange(3000) / 100, atol=1e-6)


@pytest.mark.parametrize("slope", [0.06, -0.05])
def test_a_street_rises_from_where_its_slope_begins(slope: float) -> None:
    scene = small(slope_rad=slope, slope_begins_m=12.0, weave_m=0.3)
    pose = scene.pose(40).world_from_base
    begins = pose @ np.array([[12.0, y, 0.0, 1.0] for y in (-3, 0, 3)]).T
    np.testing.assert_allclose(begins[2], 0, atol=1e-12)
    ahead = pose @ np.array([22.0, 0.0, 10 * math.tan(slope), 1.0])
    assert ahead[2] == pytest.approx(0, abs=1e-12)
    # Level with the vehicle, its own horizon is where the pitch has it; the street's is elsewhere.
    scene = small(slope_rad=slope, slope_begins_m=0.0, camera_pitch_rad=0.0, focal_px=100)
    class_ids = scene.frame(0, shaded=False).class_ids
    rows = np.flatnonzero(np.isin(class_ids, [CITYSCAPES.id_of(name) for name in FLAT]).any(axis=1))
    assert rows.min() == pytest.approx(35.5 - 100 * math.tan(slope), abs=3)


@pytest.mark.parametrize("kerb", [0.0, 0.3])
def test_everything_stands_on_ground_of_the_kerbs_height(kerb: float) -> None:
    scene = small(kerb_m=kerb)
    street = scene.world.street
    snapshot = scene.world.at(3.0, 28.6)
    beside = [thing for thing in snapshot.objects if not street.kerb_right < thing.position[1] < street.kerb_left]
    assert len(beside) > 10 and {thing.position[2] for thing in beside} == {kerb}
    feet = [card.foot for card in snapshot.cards if not street.kerb_right < card.foot[1] < street.kerb_left]
    assert len(feet) > 20 and {foot[2] for foot in feet} == {kerb}
    mesh = snapshot.mesh
    level = np.isin(mesh.class_ids, [CITYSCAPES.id_of(name) for name in FLAT]) & (mesh.normals[:, 2] > 0.99)
    assert level.sum() > 20 and np.unique(mesh.corners[level, :, 2]).tolist() == [kerb]
    poles = mesh.corners[mesh.class_ids == CITYSCAPES.id_of("pole")]
    assert poles[..., 2].min() == kerb
    assert np.isfinite(mesh.normals).all() and np.allclose(np.linalg.norm(mesh.normals, axis=1), 1)


def test_without_a_kerb_the_sidewalk_is_seen_as_whole_as_with_one() -> None:
    """It lies in the road's plane and is not to be speckled by it, near or far, level or rolled."""
    for roll in (0.0, 0.3):
        scene = StreetScene(seed=1, width_px=640, height_px=480, kerb_m=0.0, camera_roll_rad=roll)
        frame = scene.frame(12, shaded=False)
        sidewalk = (frame.class_ids == CITYSCAPES.id_of("sidewalk")).astype(np.uint8)
        road = frame.class_ids == CITYSCAPES.id_of("road")
        lone = np.zeros_like(road)
        lone[:, 1:-1] = road[:, 1:-1] & (sidewalk[:, 2:] > 0) & (sidewalk[:, :-2] > 0)
        assert sidewalk.sum() > 500 and lone.sum() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"camera_roll_rad": 1.0}, r"camera_roll_rad must be a number from -0.8 to 0.8 rad, got 1.0"),
        ({"camera_yaw_rad": -0.9}, r"camera_yaw_rad must be a number from -0.8 to 0.8 rad, got -0.9"),
        ({"camera_left_m": 3}, r"camera_left_m must be a number from -2 to 2 m, got 3"),
        ({"kerb_m": 0.5}, r"kerb_m must be a number from 0 to 0.3 m, got 0.5"),
        ({"weave_m": -0.1}, r"weave_m must be a number from 0 to 1.5 m, got -0.1"),
        ({"bump_pitch_rad": 0.2}, r"bump_pitch_rad must be a number from 0 to 0.1 rad, got 0.2"),
        ({"bump_height_m": "high"}, r"bump_height_m must be a number from 0 to 0.2 m, got 'high'"),
        ({"slope_rad": 0.3}, r"slope_rad must be a number from -0.15 to 0.15 rad, got 0.3"),
        ({"slope_begins_m": -1}, r"slope_begins_m must be a number from 0 to 100 m, got -1"),
        ({"slope_rad": -0.1, "slope_begins_m": 20.0}, r"at least 0.2 m above the street.*raise camera_height_m"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        StreetScene(**arguments)
