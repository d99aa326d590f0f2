"""What is truly seen of the ground, against rays cast one by one and against shapes worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from lens_models import distorted
from ray_casting import ray_cast, snapshot_of

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES, VOID_ID
from seg_perception.simulate import GroundTruth, PinholeCamera, StreetScene
from seg_perception.simulate.camera import View, camera_mount
from seg_perception.simulate.lens import DISTORTIONS, Lens
from seg_perception.simulate.mesh import MeshBuilder
from seg_perception.simulate.world import Snapshot

ROAD, SIDEWALK, CAR, POLE = (CITYSCAPES.id_of(name) for name in ("road", "sidewalk", "car", "pole"))
GROUND = [CITYSCAPES.id_of(name) for name in ("road", "sidewalk", "terrain")]


def points_ahead(rng: np.random.Generator, count: int) -> np.ndarray:
    """Anywhere a grid may reach, most of it near."""
    distance, bearing = 2 + 45 * rng.random(count) ** 1.5, rng.uniform(-0.75, 0.75, count)
    return np.stack([distance * np.cos(bearing), distance * np.sin(bearing)], axis=-1)


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        ({"seed": 0}, (0, 95)),
        ({"seed": 4, "kerb_m": 0.0}, (30, 210)),
        ({"seed": 7, "camera_roll_rad": 0.15, "camera_yaw_rad": -0.3, "camera_left_m": 0.4, "kerb_m": 0.0}, (64,)),
        ({"seed": 2, "weave_m": 0.6, "bump_pitch_rad": 0.02, "bump_height_m": 0.05}, (33,)),
        ({"seed": 5, "slope_rad": 0.06, "kerb_m": 0.0}, (12,)),
        ({"seed": 1, "curvature_per_m": 0.02, "camera_yaw_rad": 0.3}, (10, 777)),
        ({"seed": 6, "curvature_per_m": -0.011, "kerb_m": 0.0, "weave_m": 0.6, "slope_rad": 0.03}, (60,)),
    ],
)
def test_the_first_surface_is_the_one_that_a_ray_meets(options: dict[str, Any], indices: tuple[int, ...]) -> None:
    scene = StreetScene(width_px=640, height_px=480, **options)
    for index in indices:
        frame = scene.frame(index, shaded=False)
        pose, k = frame.world_from_base @ frame.base_from_optical, np.array(frame.camera.k).reshape(3, 3)
        points = points_ahead(np.random.default_rng(index), 700)
        above = np.column_stack([points, np.zeros(700), np.ones(700)]) @ frame.world_from_base.T
        up = frame.world_from_base[:3, 2]
        street = above[:, :3] - above[:, 2:3] / up[2] * up
        optical = (street - pose[:3, 3]) @ pose[:3, :3]
        pixels = optical[:, :2] / optical[:, 2:] @ k[:2, :2].T + k[:2, 2]
        on_image = (optical[:, 2] > 0) & (pixels >= -0.5).all(axis=1) & (pixels < (639.5, 479.5)).all(axis=1)
        class_ids, is_ground = scene.ground_truth(index).at(points)
        np.testing.assert_array_equal(class_ids != VOID_ID, on_image)
        snapshot = snapshot_of(scene, frame, options.get("curvature_per_m", 0.0))
        expected, _ = ray_cast(snapshot, k, pose, pixels[on_image, 0], pixels[on_image, 1])
        assert on_image.sum() > 300 and len(set(expected.tolist())) >= 4
        # A ray aimed at a plane's very point may end a hair before it or behind it, where surfaces touch.
        assert (class_ids[on_image] != expected).sum() <= 1
        np.testing.assert_array_equal(is_ground, np.isin(class_ids, GROUND))


@pytest.mark.parametrize("model", DISTORTIONS)
def test_it_agrees_with_the_picture_but_for_edges(model: str) -> None:
    scene = StreetScene(seed=3, width_px=480, height_px=360, distortion_model=model, kerb_m=0.0)
    frame, truth = scene.frame(60, shaded=False), scene.ground_truth(60)
    points = points_ahead(np.random.default_rng(1), 4000)
    class_ids, instance_ids, _ = truth.labels_at(points)
    homogeneous = np.column_stack([points, np.zeros(4000), np.ones(4000)])
    optical = (homogeneous @ np.linalg.inv(frame.base_from_optical).T)[:, :3]
    seen = np.flatnonzero(class_ids != VOID_ID)
    column, row = np.rint(distorted(optical[seen], frame.camera.k, model, frame.camera.d)).astype(int).T
    # Where a pixel's neighbours are all alike, no edge is near.
    padded = np.pad(frame.class_ids, 1, mode="edge").astype(int)
    around = np.stack([padded[row + dy, column + dx] for dy in range(3) for dx in range(3)])
    plain = (around == around[0]).all(axis=0)
    assert plain.sum() > 1000
    np.testing.assert_array_equal(class_ids[seen][plain], around[4][plain])
    assert (class_ids[seen] == around[4]).mean() > 0.96
    same = class_ids[seen] == around[4]
    assert (instance_ids[seen][same] == frame.instance_ids[row, column][same]).mean() > 0.99


def truth_of(builder: MeshBuilder, pose: np.ndarray) -> GroundTruth:
    """Boxes and ground on an endless road."""
    camera = PinholeCamera(640, 480, 400.0, 400.0, 319.5, 239.5)
    mesh = builder.build()
    snapshot = Snapshot(mesh, np.zeros((len(mesh), 3), np.uint8), (), (), (), 0)
    return GroundTruth(snapshot, View(camera, pose, np.empty((3, 0, 0), np.float32)), Lens(camera), np.eye(4))


def box_and_sidewalk() -> GroundTruth:
    """A camera 2 m above (1, 0); a box 1 m high from x = 9 on, 1 m to either side; sidewalk from y = 3 on."""
    builder = MeshBuilder()
    builder.box((9, -1, 0), (11, 1, 1), (0, 0, 0), CAR)
    builder.polygon(((0, 3, 0), (90, 3, 0), (90, 9, 0), (0, 9, 0)), (0, 0, 0), SIDEWALK)
    return truth_of(builder, camera_mount(1.0, 2.0, 0.1))


def test_a_box_hides_what_lies_in_its_shadow() -> None:
    truth = box_and_sidewalk()
    assert truth.foot_xy == (1.0, 0.0) and truth.heading_rad == 0.0
    # Its rear upper edge is at 10 m from the eye and half as high: what it hides ends at 20 m from the foot.
    points = np.array([[8.99, 0.5], [9.01, 0.5], [20.99, 0.5], [21.01, 0.5], [10, 1.12], [10, 1.13], [10, 3.1]])
    class_ids, is_ground = truth.at(points)
    assert class_ids.tolist() == [ROAD, CAR, CAR, ROAD, CAR, ROAD, SIDEWALK]
    assert is_ground.tolist() == [True, False, False, True, False, True, True]


def test_the_grid_is_as_worked_out_by_hand() -> None:
    truth = box_and_sidewalk()
    grid = truth.grid((6, 30), (-2, 6), 0.5, 1.0)
    assert grid.shape == (16, 48) and grid.dtype == np.int8
    x, y = 6.25 + 0.5 * np.arange(48), -1.75 + 0.5 * np.arange(16)
    inside = np.abs(y[:, None]) <= 0.25
    straight = np.broadcast_to(x, grid.shape)[np.broadcast_to(inside, grid.shape)].reshape(-1, 48)[0]
    middle = grid[np.flatnonzero(inside)[0]]
    np.testing.assert_array_equal(middle, np.select([straight < 9, straight < 10, straight < 21], [0, 100, -1], 0))
    np.testing.assert_array_equal(grid[y > 3], np.where(in_view(x, y[y > 3]), 50, -1))
    assert (grid[0][in_view(x, y[:1])[0] & (x < 9)] == 0).all()


def in_view(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The camera of `box_and_sidewalk`: 0.1 rad down, half a width of 320 and a height of 240 pixels of 1/400."""
    ahead, left = np.meshgrid(x - 1, y)
    depth = ahead * math.cos(0.1) + 2 * math.sin(0.1)
    below = -ahead * math.sin(0.1) + 2 * math.cos(0.1)
    return (np.abs(left) < 0.8 * depth) & (below < 0.6 * depth)


def test_classes_of_ground_are_chosen_by_the_caller() -> None:
    truth = box_and_sidewalk()
    ranges: Any = ((6, 9), (3.5, 5), 0.5, 1.0)
    assert (truth.grid(*ranges, free_ids={ROAD, SIDEWALK})[:, 4:] == 0).all()
    assert (truth.grid(*ranges, free_ids={ROAD}, ground_ids={ROAD})[:, 4:] == -1).all()


def test_ranges_along_bearings_are_as_worked_out_by_hand() -> None:
    truth = box_and_sidewalk()
    bearings = np.array([0.0, 0.05, -0.05, 0.3, -0.3, 2.0])
    found = truth.contact_range_m(bearings, 40.0)
    expected = [8.0, 8 / math.cos(0.05), 8 / math.cos(0.05), 3 / math.sin(0.3), np.inf, np.nan]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert truth.contact_range_m(bearings[:1], 7.5).tolist() == [np.inf]


def test_a_thin_post_is_found_and_what_begins_off_the_road_ends_at_once() -> None:
    builder = MeshBuilder()
    builder.pillar(9.0, 0.0, (0.0, 3.0), 0.015, (0, 0, 0), POLE)
    builder.polygon(((0, 2, 0), (90, 2, 0), (90, 9, 0), (0, 9, 0)), (0, 0, 0), SIDEWALK)
    truth = truth_of(builder, camera_mount(0.0, 2.0, 0.1))
    assert truth.contact_range_m(np.array([0.0]), 30.0)[0] == pytest.approx(9 - 0.015 * math.cos(math.pi / 6), abs=2e-4)
    # At 0.6 rad the left edge of the image is met on the sidewalk already: 0.8 · depth = left.
    bearing = 0.6
    truth = truth_of(builder, camera_mount(0.0, 2.0, 0.0))
    begins = 2.0 / 0.6 / math.cos(bearing)
    assert begins * math.sin(bearing) > 2
    assert truth.contact_range_m(np.array([bearing]), 30.0)[0] == pytest.approx(begins, abs=1e-4)


def test_grid_and_ranges_agree_on_the_street(street: StreetScene) -> None:
    truth = street.ground_truth(95)
    bearings = np.linspace(-0.4, 0.4, 41)
    ranges = truth.contact_range_m(bearings, 30.0)
    assert np.isfinite(ranges).sum() > 20
    for bearing, distance in zip(bearings, ranges):
        if np.isfinite(distance):
            reach = np.array([distance - 2e-4, distance + 2e-4])
            angle = truth.heading_rad + bearing
            points = np.stack([math.cos(angle) * reach, math.sin(angle) * reach], axis=-1) + truth.foot_xy
            class_ids, is_ground = truth.at(points)
            assert class_ids[0] == ROAD and is_ground[0]
            assert class_ids[1] != ROAD


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda t: t.at(np.zeros((3, 3))), r"points_xy must be finite numbers \[..., 2\], got shape \(3, 3\)"),
        (lambda t: t.at(np.array([np.nan, 0.0])), r"points_xy must be finite"),
        (lambda t: t.grid((5, 1), (0, 1), 0.1, 1.0), r"x_range_m must hold 1 to 10000 cells of 0.1 m, got \(5, 1\)"),
        (lambda t: t.grid((0, 5), (0, 1), 0.0, 1.0), r"resolution_m must be a number from 0.001 to 100 m, got 0.0"),
        (lambda t: t.contact_range_m(np.zeros((2, 2)), 9.0), r"bearings_rad must be finite numbers \[B\]"),
        (lambda t: t.contact_range_m(np.zeros(2), math.inf), r"range_max_m must be a number from 0.1 to 1000 m"),
    ],
)
def test_questions_without_an_answer_are_refused(call: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        call(box_and_sidewalk())


def test_no_points_are_no_answers() -> None:
    class_ids, is_ground = box_and_sidewalk().at(np.zeros((0, 2)))
    assert class_ids.shape == is_ground.shape == (0,)
    assert box_and_sidewalk().contact_range_m(np.zeros(0), 9.0).shape == (0,)
