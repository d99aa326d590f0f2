"""A street that bends, against the circle it lies on and against the same street straight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ray_casting import directions
from test_simulated_shapes import assert_sound

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import StreetScene
from seg_perception.simulate.bend import Bend
from seg_perception.simulate.layout import BLOCK_M, JUNCTION_M, is_junction

ROAD, SIDEWALK, TERRAIN = (CITYSCAPES.id_of(name) for name in ("road", "sidewalk", "terrain"))
CURVATURES = [0.02, 0.006, -0.011, -0.02]


def small(curvature: float, **options: Any) -> StreetScene:
    return StreetScene(**{"seed": 5, "width_px": 160, "height_px": 120, "curvature_per_m": curvature, **options})


def on_arc(curvature: float, world: np.ndarray, near_x: float) -> tuple[np.ndarray, np.ndarray]:
    """How far along a circle about (0, 1 / curvature) points `[N, 2]` are, and how far left of it."""
    radius, side = 1 / abs(curvature), math.copysign(1, curvature)
    away = world - (0.0, 1 / curvature)
    angle = np.arctan2(away[:, 0], -side * away[:, 1])
    turned = near_x / radius
    x = radius * (turned + np.mod(angle - turned + math.pi, 2 * math.pi) - math.pi)
    return x, side * (radius - np.hypot(away[:, 0], away[:, 1]))


@pytest.mark.parametrize("curvature", CURVATURES)
def test_the_vehicle_goes_round_a_circle_in_a_fixed_world(curvature: float) -> None:
    scene, radius = small(curvature), 1 / curvature
    for index in (0, 40, 4000):  # the last after some laps
        angle = 9.0 * index / 15 * curvature
        pose = scene.frame(index, shaded=False).world_from_base
        np.testing.assert_allclose(
            pose[:3, 3], [radius * math.sin(angle), radius - radius * math.cos(angle), 0], atol=1e-6
        )
        np.testing.assert_allclose(pose[:3, 0], [math.cos(angle), math.sin(angle), 0], atol=1e-9)
        np.testing.assert_allclose(np.cross(pose[:3, 0], pose[:3, 1]), pose[:3, 2], atol=1e-12)


def test_positive_is_to_the_left_and_negative_its_mirror_image() -> None:
    left, right = (small(curvature).pose(30).world_from_base for curvature in (0.015, -0.015))
    assert left[1, 3] > 1 and left[1, 0] > 0.1
    mirror = np.diag([1, -1, 1, 1])
    np.testing.assert_allclose(right, mirror @ left @ mirror, atol=1e-12)


def test_a_weaving_vehicle_heads_where_it_goes() -> None:
    scene, straight = (small(k, weave_m=1.0, rate_hz=100.0) for k in (-0.02, 0.0))
    poses = np.array([scene.pose(i).world_from_base for i in range(1000)])
    steps = poses[2:, :2, 3] - poses[:-2, :2, 3]
    ahead = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    np.testing.assert_allclose(ahead, poses[1:-1, :2, 0], atol=1e-5)
    x, y = on_arc(-0.02, poses[500:501, :2, 3], 45.0)
    np.testing.assert_allclose([x[0], y[0]], straight.pose(500).world_from_base[:2, 3], atol=1e-9)


def in_side_street(x: np.ndarray, margin_m: float) -> np.ndarray:
    """Whether a junction of seed 5 is near."""
    return np.array([
        any(is_junction(5, math.floor(v / BLOCK_M) + i) and -margin_m <= v - (math.floor(v / BLOCK_M) + i) * BLOCK_M
            <= JUNCTION_M + margin_m for i in (0, 1)) for v in x
    ], bool)  # fmt: skip


@pytest.mark.parametrize("curvature", CURVATURES)
def test_kerbs_are_seen_where_the_circle_has_them(curvature: float) -> None:
    """Where the road ends on bearings around: its edges are circles, too, drawn to less than a centimetre."""
    scene, found = small(curvature, kerb_m=0.0, focal_px=100.0), []
    profile = scene.world.street
    for index in range(0, 400, 6):
        truth, pose = scene.ground_truth(index), scene.pose(index).world_from_base
        bearings = np.linspace(-0.6, 0.6, 31)
        ranges = truth.contact_range_m(bearings, 30.0)
        angles, ranges = (truth.heading_rad + bearings)[np.isfinite(ranges)], ranges[np.isfinite(ranges)]
        ends = np.stack([np.cos(angles) * ranges, np.sin(angles) * ranges], axis=-1) + truth.foot_xy
        beyond = ends + 1e-3 * (ends - truth.foot_xy)
        ids, _ = truth.at(beyond)
        ends = ends[np.isin(ids, (SIDEWALK, TERRAIN))]
        world = (pose @ np.column_stack([ends, np.zeros(len(ends)), np.ones(len(ends))]).T)[:2].T
        x, y = on_arc(curvature, world, 9.0 * index / 15)
        found += y[~in_side_street(x, 0.05)].tolist()
    y = np.array(found)
    left, right = y[y > 2], y[y <= 2]
    assert len(left) > 4 and len(right) > 10
    np.testing.assert_allclose(left, profile.kerb_left, atol=0.01)
    np.testing.assert_allclose(right, profile.kerb_right, atol=0.01)


@pytest.mark.parametrize("curvature", CURVATURES)
def test_ground_has_its_classes_where_the_circle_has_them(curvature: float) -> None:
    scene = small(curvature, width_px=320, height_px=240)
    profile, seen = scene.world.street, {"road": 0, "terrain": 0}
    for index in (20, 90, 230):
        frame = scene.frame(index, shaded=False)
        pose = frame.world_from_base @ frame.base_from_optical
        for name, level in (("road", 0.0), ("terrain", 0.125)):
            rows, columns = np.nonzero(frame.class_ids == CITYSCAPES.id_of(name))
            rays = directions(np.array(frame.camera.k).reshape(3, 3), pose, columns.astype(float), rows.astype(float))
            ground = pose[:3, 3] + rays * ((pose[2, 3] - level) / -rays[:, 2:])
            ground = ground[np.hypot(*(ground - pose[:3, 3])[:, :2].T) < 60]
            x, y = on_arc(curvature, ground[:, :2], 9.0 * index / 15)
            margin = 0.01 if name == "road" else -0.01
            on_road = (y > profile.kerb_right - margin) & (y < profile.kerb_left + margin)
            aside = in_side_street(x, 0.0)
            assert (on_road | aside).all() if name == "road" else not (on_road & ~aside).any()
            seen[name] += len(y)
    assert seen["road"] > 5000 and seen["terrain"] > 50


@pytest.mark.parametrize("curvature", [0.02, -0.013])
def test_objects_and_their_velocities_lie_along_the_circle(curvature: float) -> None:
    scene, straight = small(curvature, rate_hz=50.0), small(0.0, rate_hz=50.0)
    before, frame, after = (scene.frame(i, shaded=False) for i in (299, 300, 301))
    planned = {thing.instance_id: thing for thing in straight.frame(300, shaded=False).objects}
    earlier, later = ({thing.instance_id: thing for thing in each.objects} for each in (before, after))
    moving = 0
    for thing in frame.objects:
        plan = planned[thing.instance_id]
        x, y = on_arc(curvature, np.array([thing.position[:2]]), plan.position[0])
        np.testing.assert_allclose([x[0], y[0], thing.position[2]], plan.position, atol=1e-6)
        assert math.cos(thing.yaw_rad - plan.yaw_rad - curvature * x[0]) == pytest.approx(1)
        if thing.instance_id in earlier and thing.instance_id in later and any(thing.velocity):
            step = np.subtract(later[thing.instance_id].position, earlier[thing.instance_id].position)[:2]
            np.testing.assert_allclose(step * 25, thing.velocity, atol=2e-3)
            moving += 1
    assert len(frame.objects) > 30 and moving > 10


@pytest.mark.parametrize("curvature", [0.02, -0.02])
def test_the_road_is_painted_as_the_straight_street_is(curvature: float) -> None:
    """What lies at the same place of the street has the same colour, markings and shadows included."""
    options: dict[str, Any] = {"width_px": 640, "height_px": 480}
    bent, straight = small(curvature, **options).frame(45), small(0.0, **options).frame(45)
    pose, plain = (frame.world_from_base @ frame.base_from_optical for frame in (bent, straight))
    k = np.array(bent.camera.k).reshape(3, 3)
    rows, columns = np.nonzero(bent.class_ids == ROAD)
    near = np.flatnonzero(rows > 330)
    rows, columns = rows[near], columns[near]
    rays = directions(k, pose, columns.astype(float), rows.astype(float))
    ground = pose[:3, 3] + rays * (pose[2, 3] / -rays[:, 2:])
    x, y = on_arc(curvature, ground[:, :2], 27.0)
    optical = (np.stack([x, y, np.zeros(len(x))], axis=-1) - plain[:3, 3]) @ plain[:3, :3]
    pixel = np.rint(optical[:, :2] / optical[:, 2:] @ k[:2, :2].T + k[:2, 2]).astype(int)
    inside = np.flatnonzero((pixel >= 0).all(axis=1) & (pixel < (640, 480)).all(axis=1))
    pixel = pixel[inside]
    inside, pixel = (both[straight.class_ids[pixel[:, 1], pixel[:, 0]] == ROAD] for both in (inside, pixel))
    seen = bent.rgb[rows[inside], columns[inside]].astype(float)
    expected = straight.rgb[pixel[:, 1], pixel[:, 0]].astype(float)
    assert len(seen) > 20_000 and (expected.max(axis=1) > 150).sum() > 200
    assert np.abs(seen - expected).mean() < 4
    bright = expected.max(axis=1) > 150
    assert seen[bright].max(axis=1).mean() > 130 and seen[~bright].max(axis=1).mean() < 100


def test_next_to_no_bend_is_next_to_no_difference_and_none_is_none() -> None:
    straight = small(0.0).frame(90)
    for nothing in (small(1e-9), StreetScene(seed=5, width_px=160, height_px=120)):
        frame = nothing.frame(90)
        for name in ("rgb", "class_ids", "instance_ids", "world_from_base"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(straight, name))
        assert frame.objects == straight.objects
    slight = small(1e-6).frame(90)
    assert (slight.class_ids == straight.class_ids).mean() > 0.995
    # The sky is drawn in less detail for a camera that turns.
    below = slice(70, None)
    assert np.abs(slight.rgb[below].astype(int) - straight.rgb[below]).mean() < 1


@pytest.mark.parametrize(("seed", "curvature"), [(1, 0.02), (6, -0.015), (2, 0.004), (10, -0.02)])
def test_the_ground_has_no_gaps(seed: int, curvature: float) -> None:
    """The road shines through nowhere where pieces of sidewalk, verge and land meet; every piece is flat."""
    scene = StreetScene(
        seed, 1200, 800, kerb_m=0.125, camera_height_m=4.5, camera_pitch_rad=0.3, curvature_per_m=curvature
    )
    for index in (5, 57, 111):
        class_ids = scene.frame(index, shaded=False).class_ids[200:]
        beside, road = np.isin(class_ids, (SIDEWALK, TERRAIN)), class_ids == ROAD
        assert not (road[:, 1:-1] & beside[:, 2:] & beside[:, :-2]).any()
        assert not (road[1:-1] & beside[2:] & beside[:-2]).any()
    assert_sound(scene.world.at(5.0, 45.0).mesh)


@pytest.mark.parametrize("curvature", [0.02, -0.003])
def test_a_day_later_all_is_as_exact_as_at_the_beginning(curvature: float) -> None:
    frame = small(curvature, rate_hz=10.0).frame(10 * 86_400)
    x, y = on_arc(curvature, frame.world_from_base[None, :2, 3], 9.0 * 86_400)
    np.testing.assert_allclose([x[0], y[0]], [9.0 * 86_400, 0], atol=1e-6)
    assert np.hypot(*frame.world_from_base[:2, 3]) <= 2 / abs(curvature)
    assert len(np.unique(frame.class_ids)) >= 5
    assert frame.rgb[-10:].std() > 3


@pytest.mark.parametrize("curvature", [0.02, -0.02, 1e-3, -1e-6])
def test_places_are_found_again(curvature: float) -> None:
    bend, rng = Bend(curvature), np.random.default_rng(1)
    for x, y in zip(rng.uniform(-1e5, 1e5, 50), rng.uniform(-30, 30, 50)):
        place = bend.place(x, y)
        np.testing.assert_allclose(bend.street_place(*place, x + 100), (x, y), atol=1e-6)
    ahead, left = rng.uniform(0, 100, 500), rng.uniform(-20, 20, 500)
    exact = bend.street_around(ahead, left)
    rounded = bend.street_around(ahead.astype(np.float32), left.astype(np.float32))
    assert rounded[0].dtype == np.float32
    np.testing.assert_allclose(rounded, exact, atol=1e-4)


def test_a_bend_too_sharp_is_refused() -> None:
    for wrong in (0.021, -0.03, float("nan"), "left", None):
        with pytest.raises(ConfigError, match=r"curvature_per_m must be a number from -0.02 to 0.02 1/m"):
            small(wrong)  # type: ignore[arg-type]
