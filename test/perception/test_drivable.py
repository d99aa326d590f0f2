"""What grid and boundary must say, whatever the camera and the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from plain_ground import CONTACT_M, FAN, GRID, HW, ROAD, ROLES, SKY, VOID, WALK, WALL, pose, scribbled, seen_at, tables

from seg_perception.errors import ConfigError
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import GridSpec, GroundCamera
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.drivable import GroundTables, drivable_mask
from seg_perception.perception.fan import FanSpec
from seg_perception.perception.roles import role_table
from seg_perception.perception.smoothing import GridSmoother


def test_bearings_are_counter_clockwise_from_the_heading() -> None:
    """Something on the left of the picture is at a positive bearing."""
    picture = np.zeros(HW, np.uint8)
    picture[60:80, :60] = WALL
    made = tables(pose(0.0, 0.12, 0.2))
    made.read(picture, ROLES)
    found = made.boundary()
    near = np.flatnonzero(np.isfinite(found.ranges_m))
    assert (found.bearings_rad[near] > 0).all() and len(near) > 10
    grid = made.grid(50)
    x, y = GRID.centres()
    rows, columns = np.nonzero(grid == 100)
    to_thing = np.arctan2(y[rows] - made.ground.foot[1], x[columns] - made.ground.foot[0]) - made.ground.heading_rad
    assert len(rows) > 10 and (to_thing > 0).all()


def test_a_thing_at_the_lower_edge_is_as_near_as_can_be_told() -> None:
    picture = np.zeros(HW, np.uint8)
    picture[70:, 80:120] = 11
    made = tables(pose(0.0, 0.12, 0.0))
    made.read(picture, ROLES)
    found = made.boundary()
    ahead = int(np.argmin(np.abs(found.bearings_rad)))
    lowest = made.ground.ground_at(np.array([99.5, HW[0] - 0.5]))
    assert found.ranges_m[ahead] == pytest.approx(lowest[0] - made.ground.foot[0], rel=0.03)
    assert found.range_min_m <= found.ranges_m[ahead] * 1.001


def test_a_mirrored_picture_gives_a_mirrored_answer() -> None:
    picture = scribbled(5)
    left, right = tables(pose(0.03, 0.2, 0.1, (0.8, 0.4, 1.4))), tables(pose(-0.03, 0.2, -0.1, (0.8, -0.4, 1.4)))
    left.read(picture, ROLES)
    right.read(np.ascontiguousarray(picture[:, ::-1]), ROLES)
    same = left.grid(50) == right.grid(50)[::-1]
    assert same.mean() > 0.999  # a place on the line between two pixels goes to either
    a, b = left.boundary(), right.boundary()
    count = min(len(a.ranges_m), len(b.ranges_m)) - 2
    middle_a, middle_b = round(-a.bearing_min_rad / FAN.step_rad), round(-b.bearing_min_rad / FAN.step_rad)
    each = count // 2 - 1
    ranges_a = a.ranges_m[middle_a - each : middle_a + each + 1]
    ranges_b = b.ranges_m[middle_b - each : middle_b + each + 1][::-1]
    both = np.isfinite(ranges_a) & np.isfinite(ranges_b)
    assert both.sum() > 15
    assert np.percentile(np.abs(ranges_a[both] - ranges_b[both]) / ranges_a[both], 90) < 0.02


def test_a_moved_camera_answers_like_a_new_one() -> None:
    picture = scribbled(3)
    moved = tables(pose(0.0, 0.1, 0.0))
    moved.read(picture, ROLES)
    moved.grid(50), moved.boundary()
    other = tables(pose(0.02, 0.25, -0.2))
    moved.move(other.ground)
    moved.read(picture, ROLES)
    other.read(picture, ROLES)
    np.testing.assert_array_equal(moved.grid(50), other.grid(50))
    np.testing.assert_array_equal(moved.boundary().ranges_m, other.boundary().ranges_m)


@pytest.mark.parametrize("pitch", [math.pi / 2, -math.pi / 2, -0.6, 1.2, math.pi])
def test_odd_poses_give_sane_answers(pitch: float) -> None:
    """Straight down, straight up, above the horizon, steeply down, upside down with the horizon in the middle."""
    made = tables(pose(0.0, pitch, 0.3))
    made.read(np.zeros(HW, np.uint8), ROLES)
    grid, found = made.grid(50), made.boundary()
    assert set(np.unique(grid).tolist()) <= {-1, 0}
    assert len(found.ranges_m) and 0 < found.range_min_m <= found.range_max_m <= FAN.range_max_m + 1e-9
    if pitch in (-math.pi / 2, -0.6):
        assert (grid == -1).all() and np.isnan(found.ranges_m).all()
    else:
        assert np.isposinf(found.ranges_m).any() and ((grid == 0).any() or pitch == math.pi)


def test_empty_full_and_speckled_masks() -> None:
    made = tables(pose(0.0, 0.12, 0.0))
    for fill, value in ((VOID, -1), (SKY, -1)):
        made.read(np.full(HW, fill, np.uint8), ROLES)
        assert (made.grid(50) == value).all() and np.isnan(made.boundary().ranges_m).all()
    made.read(np.full(HW, WALL, np.uint8), ROLES)
    assert set(np.unique(made.grid(50)).tolist()) == {-1, 100}  # at the picture's lower edge, and unseen behind
    assert np.isfinite(made.boundary().ranges_m).sum() > 0.9 * len(made.boundary().ranges_m)
    noise = np.random.default_rng(0).integers(0, 256, HW).astype(np.uint8)
    made.read(noise, ROLES)
    assert set(np.unique(made.grid(50)).tolist()) <= {-1, 0, 50, 100}
    assert len(made.boundary().ranges_m) > 10


def test_caution_takes_the_value_that_is_set() -> None:
    picture = np.full(HW, WALK, np.uint8)
    made = tables(pose(0.0, 0.12, 0.0))
    made.read(picture, ROLES)
    for value in (-1, 0, 30, 100):
        assert set(np.unique(made.grid(value)).tolist()) == {-1, value}
    assert np.isfinite(made.boundary().ranges_m).all()  # drivable ground ends where it begins


def test_roles_can_be_regrouped() -> None:
    table = role_table(CITYSCAPES, {"drivable": ("sidewalk", ""), "ignored": ("vegetation",), "obstacle": ("road",)})
    mask = drivable_mask(np.array([[0, 1, 8, 255]], np.uint8), table)
    np.testing.assert_array_equal(mask, [[0, 255, 0, 0]])
    assert len(set(table[[0, 1, 8]].tolist())) == 3 and table[8] == table[255]
    with pytest.raises(ConfigError, match="drivable_classes: 'lawn' is no class of cityscapes; it has road, sidewalk"):
        role_table(CITYSCAPES, {"drivable": ("lawn",)})
    with pytest.raises(ConfigError, match="'road' is in drivable_classes already"):
        role_table(CITYSCAPES, {"drivable": ("road",), "caution": ("road",)})


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="class map of 120x200"):
        tables(pose(0.0, 0.1, 0.0)).read(np.zeros((10, 10), np.uint8), ROLES)


def test_smoothing_rises_at_once_falls_slowly_and_never_frees_the_unseen() -> None:
    smoother, second = GridSmoother(), 1_000_000_000
    first = np.array([[0, 100, 100, -1, 100]], np.int8)
    np.testing.assert_array_equal(smoother.smooth(first, 0, 2.0), first)
    then = smoother.smooth(np.array([[100, 0, -1, 0, 50]], np.int8), second, 2.0)
    fallen = round(100 * math.exp(-0.5))
    np.testing.assert_array_equal(then, [[100, fallen, -1, 0, round(50 + 50 * math.exp(-0.5))]])
    # Seen again after it was out of sight: its past is forgotten, and so is everybody's after a long pause, or when the
    # clock was set back.
    again = smoother.smooth(np.array([[0, 0, 0, 0, 0]], np.int8), 2 * second, 2.0)
    np.testing.assert_array_equal(again[0, 2:4], [0, 0])
    assert again[0, 0] == round(100 * math.exp(-0.5)) and 0 < again[0, 1] < fallen
    zeros = np.zeros((1, 5), np.int8)
    np.testing.assert_array_equal(smoother.smooth(zeros, 200 * second, 2.0), zeros)
    smoother.smooth(first, 300 * second, 2.0)
    np.testing.assert_array_equal(smoother.smooth(zeros, 10 * second, 2.0), zeros)


@pytest.mark.parametrize(("resolution_m", "step_deg", "width_m"), [(0.1, 0.5, 0.05), (0.5, 2.0, 0.3), (1.0, 5.0, 0.5)])
def test_what_is_thinner_than_cells_and_between_two_rays_is_there(
    resolution_m: float, step_deg: float, width_m: float
) -> None:
    """A post 5 m ahead, wherever it stands among the cells and the rays."""
    camera = CameraModel(640, 480, 500.0, 500.0, 319.5, 239.5)
    ground = GroundCamera(camera, pose(0.0, 0.1, 0.0, (0.0, 0.0, 1.4)))
    onto = Fit((480, 640), None, "stretch", 0.5, (480, 640)).class_map((480, 640))
    grid, fan = GridSpec((0.0, 20.0), (-10.0, 10.0), resolution_m), FanSpec(math.radians(step_deg), 20.0)
    made = GroundTables(ground, onto, grid, fan, CONTACT_M)
    for side in np.linspace(-0.6, 0.6, 13):
        corners = [(5.0, side + width_m / 2), (5.0, side - width_m / 2)]
        (left, foot), (right, _) = ground.project(np.array(corners)).tolist()
        picture = np.zeros((480, 640), np.uint8)
        picture[: round(foot), round(left) : max(round(right), round(left) + 1)] = 5
        made.read(picture, ROLES)
        x, y = grid.centres()
        rows, columns = np.nonzero(made.grid(50) == 100)
        assert len(rows), side
        miss = np.hypot(np.abs(x[columns] - 5.25) - 0.25, np.abs(y[rows] - side) - width_m / 2)
        assert miss.min() < 1.5 * resolution_m
        ranges = made.boundary().ranges_m
        assert np.nanmin(ranges) == pytest.approx(5.0, abs=0.15), side


@pytest.mark.parametrize("roll", [0.0, 0.5, math.pi / 2, math.pi, -math.pi / 2])
def test_a_wall_all_over_the_picture_frees_nothing_and_is_there(roll: float) -> None:
    """Upside down and on its side as well: cameras are mounted so."""
    made = tables(pose(roll, 0.25, 0.2, (0.5, 0.0, 1.0)))
    made.read(np.full(HW, WALL, np.uint8), ROLES)
    found = made.boundary()
    assert not np.isposinf(found.ranges_m).any() and np.isfinite(found.ranges_m).any()
    assert set(np.unique(made.grid(50)).tolist()) == {-1, 100}


def test_no_ray_is_free_over_ground_that_it_never_saw() -> None:
    """Rolled and raised cameras see the ground on one side from far away on only."""
    for roll, pitch in ((0.05, 0.0), (0.09, 0.0), (0.0, -0.17), (0.08, -0.2)):
        made = tables(pose(roll, pitch, 0.0))
        made.read(np.zeros(HW, np.uint8), ROLES)
        found = made.boundary()
        for bearing, value in zip(found.bearings_rad + made.ground.heading_rad, found.ranges_m.tolist()):
            if not math.isnan(value):
                start = max(1.5 * found.range_min_m, found.range_min_m + made.ground.eye_height_m) * 1.02
                place = made.ground.foot + start * np.array([math.cos(bearing), math.sin(bearing)])
                assert seen_at(made.ground, np.zeros(HW, np.uint8), place)[0] == ROAD
        assert (found.ranges_m[np.isfinite(found.ranges_m)] >= found.range_min_m).all()
