"""Obstacles of shapes whose place is known, and of maps that nobody should have to see."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from plain_ground import LENSES, pose

from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.objects import Objects, Obstacles
from seg_perception.perception.obstacles import ObstacleFinder, PoseNoise

ROAD, SKY, BUILDING, RIDER, CAR, VOID = 0, 10, 2, 12, 13, 255
IS_GROUND = np.arange(256) < 2
HW = (240, 320)
CAMERA = CameraModel(HW[1], HW[0], 250.0, 250.0, 159.5, 119.5)
NOISE = PoseNoise()
Box = tuple[float, float, float, float]
"""An upright board across the x axis of the ground frame: x, y from, y to, height, metres."""


def onto_of(camera: CameraModel = CAMERA, cells_hw: tuple[int, int] = HW, mode: str = "stretch") -> ClassMap:
    hw = (camera.height, camera.width)
    return Fit(hw, cells_hw, mode, 0.5, hw).class_map(cells_hw)


def boards(
    ground: GroundCamera, boxes: list[Box], cells_hw: tuple[int, int] = HW
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Class map and instance map of boards on a road below a sky, cell by cell; the nearest board is seen."""
    onto = onto_of(ground.camera, cells_hw)
    rows, columns = ((np.arange(a.cells) + 0.5 - a.offset) / a.scale for a in (onto.rows, onto.columns))
    rays = ground.camera.rays(np.stack(np.meshgrid(columns, rows), -1)) @ ground.pose[:3, :3].T
    eye = ground.pose[:3, 3]
    class_ids = np.where(rays[..., 2] < 0, ROAD, SKY).astype(np.uint8)
    instances = np.zeros(cells_hw, np.uint16)
    for number, (x, low, high, height) in sorted(enumerate(boxes, 1), key=lambda one: -one[1][0]):
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (x - eye[0]) / rays[..., 0]
            y, z = eye[1] + share * rays[..., 1], eye[2] + share * rays[..., 2]
            hit = (share > 0) & (y > low) & (y < high) & (z > ground.ground_z_m) & (z < ground.ground_z_m + height)
        instances[hit] = number
    class_ids[instances > 0] = CAR
    return class_ids, instances


def objects_of(instance_map: np.ndarray, class_ids: np.ndarray | None = None) -> Objects:
    n = int(instance_map.max())
    areas = np.bincount(instance_map.ravel(), minlength=n + 1)[1:].astype(np.int32)
    classes = np.full(n, CAR, np.uint8) if class_ids is None else class_ids
    return Objects(instance_map, classes, np.ones(n, np.float32), areas, np.zeros((n, 4), np.int32))


def locate(
    ground: GroundCamera, class_ids: np.ndarray, instances: np.ndarray, noise: PoseNoise = NOISE, **more: Any
) -> Obstacles:
    finder = ObstacleFinder(ground.camera, onto_of(ground.camera, (class_ids.shape[0], class_ids.shape[1])))
    classes = more.pop("classes", None)
    return finder.locate(objects_of(instances, classes), class_ids, IS_GROUND, ground, "base_footprint", noise, **more)


def standing(height_m: float = 0.0, **changes: float) -> GroundCamera:
    rpy = {"roll": 0.0, "pitch": 0.1, "yaw": 0.0, **changes}
    return GroundCamera(CAMERA, pose(*rpy.values(), place=(0.8, 0.1, 1.4 + height_m)), height_m)


@pytest.mark.parametrize("height_m", [0.0, -0.35])
def test_a_board_is_where_it_is(height_m: float) -> None:
    ground = standing(height_m)
    found = locate(ground, *boards(ground, [(7.0, -0.6, 1.2, 1.5), (12.0, -5.0, -4.0, 1.0)]))
    assert found.rows.tolist() == [0, 1] and found.without_contact == 0
    assert (found.frame_id, found.ground_z_m, found.is_relative) == ("base_footprint", height_m, True)
    assert np.isnan(found.velocities_mps).all() and found.velocities_mps.shape == (2, 2)
    pixel = 6.2**2 / (1.4 * 250)  # what one row is on the ground, 6.2 m away
    assert found.positions_m[0, 0] == pytest.approx(7.0, abs=0.6 * pixel)
    assert -0.6 <= found.positions_m[0, 1] <= 1.2
    assert found.positions_m[1, 0] == pytest.approx(12.0, abs=0.6 * 11.2**2 / (1.4 * 250))
    assert found.positions_m[1, 1] == pytest.approx(-4.0, abs=0.1)  # its nearest corner
    np.testing.assert_allclose(found.widths_m, [1.8, 1.0 * math.cos(math.atan2(4.1, 11.2))], rtol=0.06)
    np.testing.assert_allclose(found.heights_m, [1.5, 1.0], atol=0.05)
    away = found.positions_m - (0.8, 0.1)
    np.testing.assert_allclose(found.ranges_m, np.hypot(*away.T), rtol=1e-12)
    np.testing.assert_allclose(found.bearings_rad, np.arctan2(away[:, 1], away[:, 0]), rtol=1e-9)


def test_contacts_go_from_left_to_right_along_the_board() -> None:
    ground = standing()
    found = locate(ground, *boards(ground, [(7.0, -0.6, 1.2, 1.5), (9.0, 2.0, 3.0, 1.0)]))
    assert (np.diff(found.contact_rows) >= 0).all()
    for row, (x, low, high) in enumerate([(7.0, -0.6, 1.2), (9.0, 2.0, 3.0)]):
        places = found.contacts_m[found.contact_rows == row]
        assert len(places) == pytest.approx((high - low) * 250 / (x - 0.8), abs=2)  # one for each column
        assert (np.diff(places[:, 1]) < 0).all()
        np.testing.assert_allclose(places[:, 0], x, atol=0.6 * (x - 0.8) ** 2 / (1.4 * 250))
        np.testing.assert_allclose(places[[0, -1], 1], [high, low], atol=0.04)


def test_bearings_are_from_the_heading() -> None:
    ground = standing(yaw=0.4)
    found = locate(ground, *boards(ground, [(7.0, 2.0, 2.5, 1.5)]))
    assert found.heading_rad == pytest.approx(0.4)
    away = found.positions_m[0] - (0.8, 0.1)
    assert found.bearings_rad[0] == pytest.approx(math.atan2(away[1], away[0]) - 0.4)


@pytest.mark.parametrize("lens", sorted(LENSES))
def test_every_degree_of_roll(lens: str) -> None:
    """A camera may be mounted on its side or upside down: down is where the ground is."""
    camera = CameraModel(HW[1], HW[0], 250.0, 250.0, 159.5, 119.5, LENSES[lens])
    apart = []
    for degrees in range(0, 360, 24):
        ground = GroundCamera(camera, pose(math.radians(degrees), 0.15, 0.0))
        found = locate(ground, *boards(ground, [(6.0, -0.7, 0.5, 1.2), (8.0, 0.9, 1.4, 1.7)]))
        assert found.rows.tolist() == [0, 1]
        apart.append(found.positions_m[:, 0] - (6.0, 8.0))
        np.testing.assert_allclose(found.widths_m, (1.2, 0.5), atol=0.12)
        np.testing.assert_allclose(found.heights_m, (1.2, 1.7), atol=0.12)
    assert np.abs(apart).max() < 0.2 and np.median(np.abs(apart)) < 0.06  # a row is 0.07 and 0.14 m


def test_coarse_cells_cost_no_more_than_their_size() -> None:
    """Where between two cells' centres an edge is nobody knows: on average it is in the middle."""
    ground, off = standing(pitch=0.2), []
    for x in np.arange(5.0, 8.0, 0.05):
        found = locate(ground, *boards(ground, [(float(x), -0.5, 0.5, 1.5)], (60, 100)))
        rows = ground.project(np.array([found.positions_m[0], (x, found.positions_m[0, 1])]))[:, 1] * 60 / 240
        off.append(rows[0] - rows[1])
    assert np.abs(off).max() < 0.52 and abs(np.mean(off)) < 0.05
    assert np.std(off) == pytest.approx(math.sqrt(1 / 12), abs=0.05)


def test_what_is_cut_off_or_hidden_below_is_counted() -> None:
    ground = standing()
    boxes = [
        (2.5, -0.3, 0.4, 1.0),  # its foot is below the picture
        (6.0, 0.8, 2.0, 0.6),
        (8.0, 1.2, 2.3, 1.9),  # hidden behind the one before, all of it
        (8.0, -2.5, -1.0, 1.2),
        (9.0, -3.5, -1.5, 1.9),  # the left part of its foot is seen
    ]
    class_ids, instances = boards(ground, boxes)
    found = locate(ground, class_ids, instances)
    assert found.rows.tolist() == [1, 3, 4] and found.without_contact == 2
    assert found.positions_m[2, 0] == pytest.approx(9.0, abs=0.15)
    assert found.positions_m[2, 1] == pytest.approx(-2.5 * 8.2 / 7.2, abs=0.15)
    class_ids[instances == 4] = BUILDING
    instances[instances == 4] = 0
    instances[instances == 5] = 4
    assert locate(ground, class_ids, instances).rows.tolist() == [1, 3]  # what hides it need not be an object


@pytest.mark.parametrize("below", [VOID, SKY, BUILDING])
def test_only_ground_makes_a_contact(below: int) -> None:
    ground = standing()
    class_ids, instances = boards(ground, [(7.0, -0.6, 1.2, 1.5)])
    class_ids[class_ids == ROAD] = below
    found = locate(ground, class_ids, instances)
    assert len(found) == 0 and found.without_contact == 1


def test_void_margins_are_no_ground() -> None:
    """With fit `pad`: what stands on the picture's lower edge does not stand on the margin."""
    camera = CameraModel(320, 160, 250.0, 250.0, 159.5, 79.5)
    ground = GroundCamera(camera, pose(0.0, 0.1, 0.0))
    onto = onto_of(camera, (160, 160), "pad")
    class_ids, instances = np.full((160, 160), VOID, np.uint8), np.zeros((160, 160), np.uint16)
    class_ids[40:120] = ROAD
    instances[60:120, 30:60], instances[80:100, 90:120] = 1, 2
    found = ObstacleFinder(camera, onto).locate(objects_of(instances), class_ids, IS_GROUND, ground, "base", NOISE)
    assert found.rows.tolist() == [1] and found.without_contact == 1
    np.testing.assert_allclose(ground.project(found.positions_m)[0, 1], (100 - 40) * 2 - 0.5, atol=1e-3)


def test_a_single_cell_decides_nothing() -> None:
    ground = standing()
    class_ids, instances = boards(ground, [(9.0, -0.6, 1.2, 1.5)])
    before = locate(ground, class_ids, instances)
    instances[HW[0] - 20, 100] = 1  # 2 m away
    after = locate(ground, class_ids, instances)
    np.testing.assert_array_equal(before.positions_m, after.positions_m)
    np.testing.assert_array_equal(before.widths_m, after.widths_m)
    instances[:] = 0
    instances[200, 100] = 1
    assert locate(ground, class_ids, instances).without_contact == 1


def test_a_rider_stands_on_no_ground() -> None:
    ground = standing()
    class_ids, instances = boards(ground, [(7.0, -0.6, 1.2, 1.5), (8.0, 2.0, 2.5, 1.6)])
    stands = np.arange(256) != RIDER
    found = locate(ground, class_ids, instances, classes=np.array([RIDER, CAR], np.uint8), stands=stands)
    assert found.rows.tolist() == [1] and found.without_contact == 1 and set(found.contact_rows.tolist()) == {0}


def test_near_the_horizon_nothing_is_made_up() -> None:
    """The further away, the less is known; who is known to less than half of the distance is left out and counted."""
    ground = standing(pitch=0.0)
    places = [10.0, 30.0, 80.0, 200.0, 900.0]
    boxes = [(x, 0.06 * (i - 2) * x, 0.06 * (i - 2) * x + 0.04 * x, 0.2 * x) for i, x in enumerate(places)]
    found = locate(ground, *boards(ground, boxes))
    assert found.rows.tolist() == [0, 1, 2] and found.without_contact == 2
    sigma = np.sqrt(found.covariances_m2[:, 0, 0])
    assert (np.diff(sigma / found.ranges_m) > 0).all() and (sigma < 0.5 * found.ranges_m).all()
    precise = PoseNoise(0.1, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert locate(ground, *boards(ground, boxes), noise=precise).without_contact == 1
    lost = PoseNoise(0.5, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert locate(ground, *boards(ground, boxes), noise=lost).without_contact == 5


def test_a_bumper_is_less_sure_aside_than_a_post() -> None:
    """Nothing tells which place along a board across the line of sight is the nearest."""
    ground, quiet = standing(), PoseNoise(0.5, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    wide = locate(ground, *boards(ground, [(9.0, -0.9, 1.1, 1.5)]), noise=quiet).covariances_m2[0]
    thin = locate(ground, *boards(ground, [(9.0, 0.05, 0.15, 1.5)]), noise=quiet).covariances_m2[0]
    assert thin[1, 1] < 0.05**2 and 0.3**2 < wide[1, 1] < 1.2**2
    assert wide[0, 0] == pytest.approx(thin[0, 0], rel=0.3)


def test_the_pose_may_be_another_in_every_frame() -> None:
    places, finder = [], ObstacleFinder(CAMERA, onto_of())
    for pitch, yaw in ((0.1, 0.0), (0.3, 0.1), (0.05, -0.1)):
        ground = standing(pitch=pitch, yaw=yaw)
        class_ids, instances = boards(ground, [(6.0, -0.5, 0.5, 1.5)])
        places.append(finder.locate(objects_of(instances), class_ids, IS_GROUND, ground, "b", NOISE).positions_m[0, 0])
    np.testing.assert_allclose(places, 6.0, atol=0.06)


def hostile(name: str) -> tuple[np.ndarray, np.ndarray]:
    hw = (128, 256)
    class_ids, instances = np.full(hw, CAR, np.uint8), np.zeros(hw, np.uint16)
    if name == "empty":
        class_ids[:] = ROAD
    elif name == "void":
        class_ids[:] = VOID
        instances[40:80, 100:180] = 1
    elif name == "whole":
        instances[:] = 1
    elif name == "every cell":
        instances[:] = np.arange(1, instances.size + 1).reshape(hw)
    elif name == "specks":
        class_ids[:] = ROAD
        instances[:, ::3][::2] = np.arange(1, 64 * 86 + 1).reshape(64, 86)
    elif name == "tiles":
        instances[:] = np.kron(np.arange(1, 1025).reshape(32, 32), np.ones((4, 8), np.uint16))
    return class_ids, instances


def quickest(class_ids: np.ndarray, instances: np.ndarray) -> float:
    ground, objects = standing(), objects_of(instances)
    finder, best = ObstacleFinder(CAMERA, onto_of(cells_hw=(128, 256))), math.inf
    for _ in range(9):
        start = time.perf_counter()
        found = finder.locate(objects, class_ids, IS_GROUND, ground, "base", NOISE)
        best = min(best, time.perf_counter() - start)
        assert len(found) == 0 and found.without_contact == instances.max()
        assert found.contacts_m.shape == (0, 2) and found.covariances_m2.shape == (0, 2, 2)
    return best


def test_hostile_maps_cost_no_more_than_three_usual_ones() -> None:
    ground, rng = standing(), np.random.default_rng(0)
    at = rng.uniform((4.0, -0.6), (40.0, 0.6), (50, 2))
    boxes = [(float(x), float(x * y), float(x * y) + 1.8, 1.5) for x, y in at]
    class_ids, instances = boards(ground, boxes, (128, 256))
    finder, usual = ObstacleFinder(CAMERA, onto_of(cells_hw=(128, 256))), math.inf
    for _ in range(9):
        start = time.perf_counter()
        found = finder.locate(objects_of(instances), class_ids, IS_GROUND, ground, "base", NOISE)
        usual = min(usual, time.perf_counter() - start)
    assert len(found) > 10
    for name in ("empty", "void", "whole", "every cell", "specks", "tiles"):
        assert quickest(*hostile(name)) < 3 * usual, name


@pytest.mark.parametrize("hw", [(1, 1), (1, 5), (4, 1), (2, 2)])
def test_tiny_maps(hw: tuple[int, int]) -> None:
    class_ids, instances = np.zeros(hw, np.uint8), np.zeros(hw, np.uint16)
    instances[0, 0] = 1
    assert len(locate(standing(), class_ids, instances)) in (0, 1)


def test_straight_down_nothing_divides_by_zero() -> None:
    """The point straight below the camera lies between the cells 159 and 160, 119 and 120."""
    ground = standing(pitch=math.pi / 2)
    class_ids, instances = np.zeros(HW, np.uint8), np.zeros(HW, np.uint16)
    instances[110:131, 160:190] = 1
    instances[20:40, 30:60] = 2
    found = locate(ground, class_ids, instances)
    assert found.rows.tolist() == [0, 1]
    for array in (found.positions_m, found.covariances_m2, found.widths_m, found.heights_m, found.contacts_m):
        assert np.isfinite(array).all()
    assert found.ranges_m[0] < 0.05 and (np.linalg.eigvalsh(found.covariances_m2) > 0).all()


def test_maps_of_another_size_are_refused() -> None:
    ground = standing()
    class_ids, instances = boards(ground, [(7.0, -0.6, 1.2, 1.5)])
    finder = ObstacleFinder(CAMERA, onto_of())
    with pytest.raises(ValueError, match=r"made for class maps of \(240, 320\), got \(239, 320\)"):
        finder.locate(objects_of(instances[1:]), class_ids[1:], IS_GROUND, ground, "base", NOISE)
    with pytest.raises(ValueError, match=r"got \(240, 319\)"):
        finder.locate(objects_of(instances), class_ids[:, 1:], IS_GROUND, ground, "base", NOISE)
