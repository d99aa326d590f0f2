"""Things that look alike, side by side: what boxes cannot tell, shapes and odometry do."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest

from seg_perception.errors import ConfigError
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import GroundCamera
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.association import class_table
from seg_perception.perception.drift import Odometer
from seg_perception.perception.silhouettes import Silhouettes
from seg_perception.perception.things import Things
from seg_perception.perception.tracking import Tracker, TrackerSpec
from seg_perception.perception.tracks import Tracks
from seg_perception.simulate import StreetScene

PERSON, CAR = (CITYSCAPES.id_of(name) for name in ("person", "car"))
FRAME_NS = 66_666_667
HW = (480, 640)
ONTO = Fit(HW, None, "stretch", 0.5, HW).class_map(HW)


def nowhere(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((n, 2), np.nan), np.full((n, 2, 2), np.nan)


@pytest.fixture(scope="module", params=[(103, 70, 95), (113, 36, 60)])
def crossing(request: pytest.FixtureRequest) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """People who cross the street side by side: instance maps of what has 60 pixels and more, classes, true ids."""
    seed, begin, end = request.param
    street = StreetScene(seed, HW[1], HW[0], kerb_m=0.0, crowds=0.6, crossers=0.5, tight_parking=True)
    out = []
    for index in range(begin, end):
        frame = street.frame(index, shaded=False)
        true_ids, first, areas = np.unique(frame.instance_ids, return_index=True, return_counts=True)
        large = (true_ids > 0) & (areas >= 60)
        number = np.zeros(1 << 16, np.uint16)
        number[true_ids[large]] = np.arange(1, large.sum() + 1)
        out.append((number[frame.instance_ids], frame.class_ids.ravel()[first[large]], true_ids[large]))
    return out


def switches(frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]], every: int | None) -> int:
    """Of things of 120 pixels and more, seen in a frame and in the one before; every so manieth cell, or no shapes."""
    tracker, last, count = Tracker(), dict[int, tuple[int, int]](), 0
    for index, (numbers, classes, true_ids) in enumerate(frames):
        n, boxes = len(true_ids), []
        for number in range(1, n + 1):
            ys, xs = np.nonzero(numbers == number)
            boxes.append([xs.min() - 0.5, ys.min() - 0.5, xs.max() + 0.5, ys.max() + 0.5])
        shapes = None
        if every is not None:
            thin = numbers[every // 2 :: every, every // 2 :: every]
            shapes = Silhouettes(thin, Fit(HW, None, "stretch", 0.5, HW).class_map((thin.shape[0], thin.shape[1])))
        told = tracker.update(index * FRAME_NS, np.array(boxes), classes, np.ones(n), *nowhere(n), "odom", shapes)
        areas = np.bincount(numbers.ravel())[1:]
        for thing, track, area in zip(true_ids.tolist(), told.ids.tolist(), areas.tolist()):
            if area < 120:
                continue
            before, when = last.get(thing, (track, index))
            count += before != track and when == index - 1
            last[thing] = track, index
    return count


def test_people_who_cross_side_by_side_are_told_apart_by_their_shapes(
    crossing: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    assert switches(crossing, 1) == 0
    assert switches(crossing, 2) == 0
    assert switches(crossing, None) >= 2


def queue(with_drift: bool, speed_mps: float) -> tuple[int, int]:
    """Switches and sightings of people who stand 0.6 m apart along the street, behind a wall for two frames.

    At 9 m/s each stands, from frame to frame, exactly where the next one stood: by their looks nothing moves.
    """
    scene = StreetScene(0, HW[1], HW[0])
    camera = GroundCamera(CameraModel.of(scene.lens.camera_info(), HW), scene.base_from_optical)
    tracker, odometer, last, count, seen = Tracker(), Odometer(), dict[int, int](), 0, 0
    for index in range(24):
        odom = np.eye(4)
        odom[0, 3] = moved = index * speed_mps / 15
        places = np.stack([0.6 * np.arange(60) - moved, np.full(60, 3.0)], axis=1)
        people = np.flatnonzero((places[:, 0] > 6.0) & (places[:, 0] < 15.0) & (index >= 2))
        places = places[people]
        feet = camera.project(places)
        horizon = camera.project(camera.foot + (places - camera.foot) * 1e4)[:, 1]
        height = (feet[:, 1] - horizon) * 1.7 / camera.eye_height_m
        half = 0.15 * height
        boxes = np.stack([feet[:, 0] - half, feet[:, 1] - height, feet[:, 0] + half, feet[:, 1]], axis=1)
        drift, n = odometer.drift(index * FRAME_NS, camera, odom), len(people)
        told = tracker.update(
            index * FRAME_NS, boxes, np.full(n, PERSON), np.ones(n), places + [moved, 0.0],
            np.tile(np.diag([1.0, 0.1]), (n, 1, 1)), "odom", None,
            partial(drift.velocities_px, places) if with_drift and drift is not None else None,
        )  # fmt: skip
        for person, track in zip(people.tolist(), told.ids.tolist()):
            seen, count = seen + 1, count + (last.get(person, track) != track)
            last[person] = track
    return count, seen


@pytest.mark.parametrize("speed_mps", [3.0, 6.0, 9.0])
def test_a_queue_that_goes_by_at_its_own_spacing_keeps_its_ids(speed_mps: float) -> None:
    count, seen = queue(True, speed_mps)
    assert seen > 150 and count == 0


def test_by_their_looks_alone_a_queue_cannot_be_followed() -> None:
    count, seen = queue(False, 9.0)
    assert count > 0.5 * seen


@pytest.mark.parametrize(
    ("kind", "speed_px", "stays"), [(PERSON, 60.0, True), (PERSON, 400.0, False), (CAR, 400.0, True)]
)
def test_nobody_walks_at_thirteen_metres_a_second(kind: int, speed_px: float, stays: bool) -> None:
    """51 pixels high, 30 to the metre: the camera stands."""
    spec = TrackerSpec()
    tracks = Tracks(spec, class_table(spec.confusable))
    for k in range(8):
        x = 100.0 + k * speed_px / 15
        box = np.array([[x, 100.0, x + 51, 151.0]])
        none = nowhere(1)
        things = Things.of(box, np.full(1, kind), np.ones(1), *none, spec, None, lambda: np.zeros((1, 2)))
        if not len(tracks):
            tracks.begin(np.array([1]), np.array([0]), things)
            continue
        tracks.advance(1 / 15)
        tracks.learn(np.array([0]), np.array([0]), things)
    tracks.slow_down(np.array([0]), np.array([0]), things)
    assert tracks.edges.velocities[0, 0] == (pytest.approx(speed_px, rel=0.2) if stays else 0.0)


def many(rng: np.random.Generator, n: int, most: int) -> np.ndarray:
    """A map full of numbers up to `most`, n of them in places of their own."""
    numbers = rng.integers(0, most + 1, HW).astype(np.uint16)
    for number in range(1, n + 1):
        y, x = rng.integers(0, HW[0] - 40), rng.integers(0, HW[1] - 20)
        numbers[y : y + 40, x : x + 20] = number
    return numbers


def test_shapes_that_are_none_take_no_more_time_and_harm_nobody() -> None:
    """More numbers than things, or none of them; maps of other sizes from frame to frame."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 500, (50, 2))
    boxes = np.concatenate([low, low + rng.uniform(20, 90, (50, 2))], axis=1)
    plain = [many(rng, 50, 50) for _ in range(8)]
    hostile = [many(rng, 0, most) for most in (65535, 0, 60000, 1)] * 2
    others = [one[:: k % 3 + 1, :: k % 4 + 1] for k, one in enumerate(plain)]
    took = []
    for maps in (plain, hostile, others):
        tracker, times = Tracker(), []
        for k, one in enumerate(maps):
            onto = Fit(HW, None, "stretch", 0.5, HW).class_map((one.shape[0], one.shape[1]))
            begin = time.perf_counter()
            shapes = Silhouettes(one, onto)
            told = tracker.update(k * FRAME_NS, boxes, np.full(50, CAR), np.ones(50), *nowhere(50), "odom", shapes)
            times.append(time.perf_counter() - begin)
            assert told.ids.tolist() == list(range(1, 51))
        took.append(min(times[2:]))
    assert max(took) < 4 * took[0]


def test_drift_that_is_none_harms_nobody() -> None:
    boxes = np.array([[100.0, 100.0, 120.0, 150.0], [300.0, 100.0, 320.0, 150.0], [np.nan] * 4])
    tracker = Tracker()
    for k, worst in enumerate([np.nan, np.inf, -np.inf, 1e300, 1e5, -1e5] * 3):
        told = tracker.update(
            k * FRAME_NS, boxes + k, np.full(3, PERSON), np.ones(3), *nowhere(3), "odom", None,
            partial(np.full, (3, 2), worst),
        )  # fmt: skip
        if abs(worst) != 1e5:
            assert told.ids[:2].tolist() == [1, 2]


def test_one_who_runs_keeps_the_id() -> None:
    """Faster than people walk; across the street at 20 m, seen by a camera that stands."""
    tracker, ids = Tracker(), set[int]()
    for k in range(30):
        x = 100.0 + 7.0 * 25 * k / 15
        boxes = np.array([[x, 200.0, x + 15, 243.0]])
        place = np.array([[20.0, -7.0 * k / 15]]), np.diag([0.3, 0.05])[None]
        told = tracker.update(
            k * FRAME_NS, boxes, np.full(1, PERSON), np.ones(1), *place, "odom", None, lambda: np.zeros((1, 2))
        )
        ids.add(int(told.ids[0]))
    assert len(ids) == 1


@pytest.mark.parametrize("wrong", [(256,), (-1,), (1.5,)])
def test_walking_classes_are_class_ids(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="walking"):
        TrackerSpec(walking=wrong)
