"""Grid and boundary against a plain walk over the ground, cell by cell and ray by ray."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest

from seg_perception.errors import ConfigError
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.distortion import Distortion
from seg_perception.geometry.ground import GridSpec, GroundCamera
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, rotation_of_rpy
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.drivable import GroundTables, drivable_mask
from seg_perception.perception.fan import FanSpec
from seg_perception.perception.roles import role_table
from seg_perception.perception.smoothing import GridSmoother

ROAD, WALK, WALL, SKY, VOID = 0, 1, 3, 10, 255
THINGS = {WALL, 13, 11}
HW = (120, 200)
GRID, FAN = GridSpec((0.0, 12.0), (-5.0, 5.0), 0.2), FanSpec(math.radians(1.0), 15.0)
CONTACT_M = 0.5
ROLES = role_table(CITYSCAPES)
LENSES = {"ideal": Distortion(), "plumb_bob": Distortion.of("plumb_bob", (-0.28, 0.09, 0.001, -0.001, -0.01))}
POSES = {"level": (0.0, 0.12, 0.0), "tilted": (0.06, 0.3, 0.5)}


def pose(roll: float, pitch: float, yaw: float, place: tuple[float, float, float] = (0.8, 0.1, 1.4)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of_rpy(roll, pitch, yaw) @ OPTICAL_FROM_BODY.T
    matrix[:3, 3] = place
    return matrix


def tables(matrix: np.ndarray, lens: Distortion = LENSES["ideal"], grid: GridSpec = GRID) -> GroundTables:
    camera = CameraModel(HW[1], HW[0], 130.0, 130.0, 99.5, 59.5, lens)
    onto = Fit(HW, None, "stretch", 0.5, HW).class_map(HW)
    return GroundTables(GroundCamera(camera, matrix), onto, grid, FAN, CONTACT_M)


def scribbled(seed: int) -> np.ndarray:
    """A road with things and other ground on it at random, and sky above."""
    rng = np.random.default_rng(seed)
    picture = np.zeros(HW, np.uint8)
    for kind in [WALL, WALK, 13, VOID, 11, WALK] * 3:
        centre = (int(rng.integers(0, HW[1])), int(rng.integers(20, HW[0])))
        size = (int(rng.integers(1, 25)), int(rng.integers(1, 12)))
        cv2.ellipse(picture, centre, size, float(rng.uniform(0, 180)), 0, 360, kind, cv2.FILLED)
    picture[:25] = SKY
    return picture


def seen_at(ground: GroundCamera, picture: np.ndarray, place: np.ndarray) -> tuple[int | None, tuple[int, int], float]:
    """Class at a place of the ground (None: out of the picture), its pixel, and how far the pixel's edge is."""
    column, row = ground.project(place)
    if not (-0.5 <= column < HW[1] - 0.5 and -0.5 <= row < HW[0] - 0.5):  # NaN too
        return None, (-1, -1), 1.0
    i, j = math.floor(row + 0.5), math.floor(column + 0.5)
    margin = min(abs(value + 0.5 - round(value + 0.5)) for value in (row, column))
    return int(picture[i, j]), (i, j), margin


@pytest.mark.parametrize("where", list(POSES))
@pytest.mark.parametrize("lens", list(LENSES))
@pytest.mark.parametrize("seed", range(3))
def test_the_grid_is_what_a_plain_walk_over_its_cells_finds(seed: int, lens: str, where: str) -> None:
    picture, made = scribbled(seed), tables(pose(*POSES[where]), LENSES[lens])
    made.read(picture, ROLES)
    values = made.grid(caution_value=50)
    ground = made.ground
    x, y = GRID.centres()
    expected, certain = np.full(values.shape, -1), np.ones(values.shape, bool)
    hidden = np.zeros(values.shape, bool)
    for row, column in np.ndindex(values.shape):
        place = np.array([x[column], y[row]])
        kind, (i, j), margin = seen_at(ground, picture, place)
        nearer, _, near_margin = seen_at(ground, picture, a_little_nearer(ground, place))
        # On the line between two pixels either is right.
        certain[row, column] = min(margin, near_margin) > 1e-3
        hidden[row, column] = kind in THINGS
        if kind == ROAD:
            around = picture[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            expected[row, column] = -1 if THINGS & set(around.ravel().tolist()) else 0
        elif kind == WALK:
            expected[row, column] = 50
        elif kind in THINGS and nearer in (ROAD, WALK, None):
            expected[row, column] = 100
    for place in plain_contacts(ground, picture):
        column, row = (
            math.floor((place[k] - low) / GRID.resolution_m) for k, low in enumerate((x[0] - 0.1, y[0] - 0.1))
        )
        if 0 <= row < values.shape[0] and 0 <= column < values.shape[1]:
            near = np.s_[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            if not hidden[near].any():
                expected[row, column] = 100
            certain[row, column] &= bool(certain[near].all())
    np.testing.assert_array_equal(values[certain], expected[certain])
    assert certain.mean() > 0.9 and min(int((expected == v).sum()) for v in (-1, 0, 50, 100)) > 10


def a_little_nearer(ground: GroundCamera, place: np.ndarray) -> np.ndarray:
    away = place - ground.foot
    distance = float(np.hypot(*away))
    return ground.foot + away * max(0.0, distance - CONTACT_M) / max(distance, 1e-9)


def plain_contacts(ground: GroundCamera, picture: np.ndarray) -> list[np.ndarray]:
    """Where things beside ground stand, pixel by pixel."""
    found = []
    for i, j in np.ndindex(picture.shape):
        beside = {int(picture[a, b]) for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
                  if 0 <= a < HW[0] and 0 <= b < HW[1]}  # fmt: skip
        if picture[i, j] in THINGS and beside & {ROAD, WALK}:
            place = ground.ground_at(np.array([float(j), float(i)]))
            if not np.isnan(place).any() and seen_at(ground, picture, a_little_nearer(ground, place))[0] in (
                ROAD,
                WALK,
                None,
            ):
                found.append(place)
    return found


@pytest.mark.parametrize("where", list(POSES))
@pytest.mark.parametrize("lens", list(LENSES))
@pytest.mark.parametrize("seed", range(3))
def test_the_boundary_is_where_a_plain_walk_along_each_ray_stops(seed: int, lens: str, where: str) -> None:
    picture, made = scribbled(seed), tables(pose(*POSES[where]), LENSES[lens])
    made.read(picture, ROLES)
    found = made.boundary()
    ground = made.ground
    finite = 0
    thin = [place - ground.foot for place in plain_contacts(ground, picture)]
    for bearing, value in zip(found.bearings_rad + ground.heading_rad, found.ranges_m.tolist()):
        between = [
            np.hypot(*p)
            for p in thin
            if abs(math.remainder(math.atan2(p[1], p[0]) - bearing, math.tau)) <= FAN.step_rad / 2 + 1e-9
        ]
        if any(abs(value - distance) < 1e-5 * value for distance in between):
            continue  # a thing between two rays
        stops = plain_stops(ground, picture, bearing, found.range_min_m, found.range_max_m)
        if math.isfinite(value):
            along = np.array([math.cos(bearing), math.sin(bearing)])
            there = ground.project(ground.foot + along * value)
            misses = [math.dist(ground.project(ground.foot + along * at), there) for at, _ in stops if at < math.inf]
            assert min(misses) < 0.6, bearing
            finite += 1
        else:
            assert any(at == math.inf and np.array_equal(end, value, equal_nan=True) for at, end in stops), bearing
    assert finite > 15


def plain_stops(
    ground: GroundCamera, picture: np.ndarray, bearing: float, range_min_m: float, range_max_m: float
) -> list[tuple[float, float]]:
    """Where a ray may be said to stop: (distance, 0), or (inf, what is then its range).

    That is the first place that is not road; and the next ones, as long as the ray only grazed a pixel's corner.
    """
    along = np.array([math.cos(bearing), math.sin(bearing)])
    distances = 1 / np.arange(1 / range_min_m * 1.05, 1 / range_max_m, -2e-4)
    pixels = ground.project(ground.foot + along * distances[:, None])
    i, j = (np.floor(np.nan_to_num(pixels[:, k], nan=-9.0) + 0.5).astype(int) for k in (1, 0))
    seen = (i >= 0) & (i < HW[0]) & (j >= 0) & (j < HW[1])
    if not seen.any():
        return [(math.inf, math.nan)]
    kinds = np.where(seen, picture[np.clip(i, 0, HW[0] - 1), np.clip(j, 0, HW[1] - 1)], 254)[int(seen.argmax()) :]
    pixels, distances = pixels[int(seen.argmax()) :], distances[int(seen.argmax()) :]
    stops: list[tuple[float, float]] = []
    at = 0
    while True:
        blocked = np.flatnonzero(kinds[at:] != ROAD)
        if not len(blocked):
            return [*stops, (math.inf, math.inf)]
        at += int(blocked[0])
        run = int((kinds[at:] != ROAD).argmin()) or len(kinds) - at
        for kind in dict.fromkeys(kinds[at : at + run].tolist()):
            stops.append((float(distances[at]), 0.0) if kind in (WALK, WALL, 13, 11) else (math.inf, math.nan))
        if math.dist(pixels[at], pixels[at + run - 1]) > 0.55 or at + run == len(kinds):
            return stops
        at += run


@pytest.mark.parametrize("where", list(POSES))
def test_ranges_are_those_of_the_samples_to_the_last_digit(where: str) -> None:
    """Half way, in the image, between the last sample on the road and the first that is not on it."""
    made = tables(pose(*POSES[where]))
    picture = scribbled(7)
    made.read(picture, ROLES)
    found, compared = made.boundary(), 0
    thin = [np.hypot(*(place - made.ground.foot)) for place in plain_contacts(made.ground, picture)]
    assert made._rays is not None
    inverse = made._rays.inverse_range  # how finely a ray is sampled is the code's own business
    for bearing, value in zip((found.bearings_rad + made.ground.heading_rad).tolist(), found.ranges_m.tolist()):
        along, before, expected, clear = np.array([math.cos(bearing), math.sin(bearing)]), None, math.inf, True
        for q in inverse.tolist():
            kind, _, margin = seen_at(made.ground, picture, made.ground.foot + along / q)
            clear &= margin > 1e-3
            if kind != ROAD and not (kind is None and before is None):
                here = kind in (WALK, WALL, 13, 11)
                expected = 2 / (q + (before or q)) if here else math.nan
                break
            before = q if kind == ROAD else None
        if clear and not any(abs(value - distance) < 1e-5 * value for distance in thin):
            expected = math.nan if before is None and expected == math.inf else expected
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-9)
            compared += 1
    assert compared > 20


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
    started = time.perf_counter()
    made.read(noise, ROLES)
    made.grid(50), made.boundary()
    assert time.perf_counter() - started < 5.0  # it ends


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
