"""What a tracker does: crossings, occlusions, clocks, and input that is no input."""

from __future__ import annotations

import time

import numpy as np
import pytest

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES, Label, LabelSet
from seg_perception.perception.tracking import Tracked, Tracker, TrackerSpec, confusable_classes

PERSON, RIDER, CAR, TRUCK = (CITYSCAPES.id_of(name) for name in ("person", "rider", "car", "truck"))
FRAME_NS = 66_666_667


def box(x: float, y: float = 200.0, width: float = 20.0, height: float = 50.0) -> list[float]:
    return [x - width / 2, y, x + width / 2, y + height]


def step(
    tracker: Tracker,
    stamp_ns: float,
    boxes: list[list[float]] | np.ndarray,
    classes: list[int] | None = None,
    positions: list[list[float]] | None = None,
    std_m: float = 0.1,
    reference: str = "odom",
) -> Tracked:
    """One frame; all are people without a place, unless told."""
    n = len(boxes)
    places = np.full((n, 2), np.nan) if positions is None else np.array(positions, np.float64).reshape(n, 2)
    return tracker.update(
        int(stamp_ns), np.array(boxes, np.float64).reshape(n, 4), np.array(classes or [PERSON] * n, np.uint8),
        np.full(n, 0.9, np.float32), places, np.broadcast_to(np.eye(2) * std_m**2, (n, 2, 2)), reference,
    )  # fmt: skip


@pytest.mark.parametrize("with_places", [False, True])
@pytest.mark.parametrize("rate_hz", [5, 15, 60])
def test_two_people_who_cross_keep_their_ids(rate_hz: int, with_places: bool) -> None:
    """The one behind is hidden for 0.6 s while they pass; 10 m away, a metre behind each other."""
    tracker = Tracker()
    ids = []
    for k in range(3 * rate_hz):
        t = k / rate_hz
        x = np.array([200 + 70 * t, 410 - 70 * t])
        hidden = abs(t - 1.5) <= 0.3
        seen = [0] if hidden else [0, 1]
        boxes = [box(x[0], 200, 22, 56), box(x[1], 202, 20, 51)]
        places = [[10.0, (300 - x[0]) / 50], [11.0, (300 - x[1]) / 45]]
        told = step(
            tracker, t * 1e9, [boxes[i] for i in seen],
            positions=[places[i] for i in seen] if with_places else None,
        ).ids  # fmt: skip
        ids.append((told[0], None if hidden else told[1]))
    front, behind = zip(*ids)
    assert len(set(front)) == 1
    assert len(set(behind) - {None}) == 1


def test_many_who_walk_in_file_are_not_taken_for_the_next() -> None:
    """Boxes move by more than half of their distance from each other, the first frames included."""
    tracker = Tracker()
    owners: dict[int, set[int]] = {}
    for k in range(20):
        x = 320 + (np.arange(8) - 3.5) * 16 * 1.06**k
        told = step(tracker, k * FRAME_NS, [box(one, 200, 9 * 1.06**k, 30 * 1.06**k) for one in x])
        for person, number in enumerate(told.ids.tolist()):
            owners.setdefault(person, set()).add(number)
    assert all(len(numbers) == 1 for numbers in owners.values())


def test_velocity_over_ground_of_one_who_walks_and_one_who_stands() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker()
    told = []
    for k in range(45):
        t = k / 15
        places = [[10.0 + rng.normal(0, 0.1), 1.4 * t + rng.normal(0, 0.1)], [8.0, -2.0] + rng.normal(0, 0.1, 2)]
        told.append(step(tracker, k * FRAME_NS, [box(320 - 70 * t), box(460)], positions=places).velocities_mps)
    assert np.isnan(told[0]).all()
    np.testing.assert_allclose(np.mean(told[-15:], axis=0), [[0, 1.4], [0, 0]], atol=0.3)


def test_velocity_is_not_told_where_places_are_too_unsure() -> None:
    tracker = Tracker()
    for k in range(30):
        told = step(tracker, k * FRAME_NS, [box(320)], positions=[[60.0, 0.0]], std_m=30.0)
    assert np.isnan(told.velocities_mps).all()


def test_another_reference_forgets_velocities_and_keeps_ids() -> None:
    tracker = Tracker()
    for k in range(20):
        before = step(tracker, k * FRAME_NS, [box(320)], positions=[[10.0, 0.0]])
    after = step(tracker, 20 * FRAME_NS, [box(320)], positions=[[510.0, 80.0]], reference="base_footprint")
    assert np.isfinite(before.velocities_mps).all() and np.isnan(after.velocities_mps).all()
    assert before.ids == after.ids


def test_what_is_hidden_for_longer_than_the_memory_is_new() -> None:
    tracker = Tracker(TrackerSpec(memory_s=0.5))
    first = [step(tracker, k * FRAME_NS, [box(320)]).ids[0] for k in range(5)][-1]
    for k in range(5, 11):
        step(tracker, k * FRAME_NS, [])
    assert step(tracker, 11 * FRAME_NS, [box(320)]).ids[0] == first
    for k in range(12, 22):
        step(tracker, k * FRAME_NS, [])
    assert tracker.alive == 0
    assert step(tracker, 22 * FRAME_NS, [box(320)]).ids[0] > first


@pytest.mark.parametrize("later_ns", [-1, -FRAME_NS, 2_100_000_000, 10**18])
def test_a_clock_that_jumps_is_a_new_start(later_ns: int) -> None:
    tracker = Tracker()
    old = [step(tracker, k * FRAME_NS, [box(100), box(300)]).ids for k in range(4)][-1]
    assert tracker.resets == 0
    new = step(tracker, 3 * FRAME_NS + later_ns, [box(100), box(300)]).ids
    assert tracker.resets == 1 and tracker.alive == 2
    assert new.min() > old.max()


def test_one_frame_twice_has_the_same_ids_and_teaches_nothing() -> None:
    once, twice = Tracker(), Tracker()
    for k in range(12):
        frame = [box(100 + 5 * k), box(400 - 3 * k)]
        places = [[10.0, 0.1 * k], [20.0, 0.0]]
        first = step(once, k * FRAME_NS, frame, positions=places)
        for _ in range(3):
            again = step(twice, k * FRAME_NS, frame, positions=places)
            np.testing.assert_array_equal(first.ids, again.ids)
    np.testing.assert_array_equal(first.velocities_mps, again.velocities_mps)
    assert twice.resets == 0


def test_a_class_may_flicker_among_its_like() -> None:
    tracker = Tracker()
    classes = [[CAR, PERSON], [TRUCK, PERSON], [CAR, RIDER], [CAR, PERSON]] * 3
    told = [step(tracker, k * FRAME_NS, [box(100), box(300)], kinds).ids for k, kinds in enumerate(classes)]
    assert len(np.unique(told, axis=0)) == 1


def test_a_car_does_not_become_the_person_that_comes_into_view_beside_it() -> None:
    tracker = Tracker()
    for k in range(6):
        old = step(tracker, k * FRAME_NS, [box(100, width=80)], [CAR]).ids
    new = step(tracker, 6 * FRAME_NS, [box(110)], [PERSON]).ids
    assert new != old


def test_a_newcomer_does_not_take_the_id_of_one_who_is_there() -> None:
    tracker = Tracker()
    for k in range(6):
        old = step(tracker, k * FRAME_NS, [box(100), box(140)]).ids
    told = step(tracker, 6 * FRAME_NS, [box(120), box(100), box(140), box(160)]).ids
    np.testing.assert_array_equal(told[1:3], old)
    assert told[0] > old.max() and told[3] > old.max()


def test_boxes_that_are_none_get_ids_of_their_own_and_harm_nobody() -> None:
    tracker = Tracker()
    nan, inf = np.nan, np.inf
    bad = [[nan] * 4, [0, 0, inf, 9], [50, 50, 10, 90], [7, 7, 7, 7], [-1e300, 0, 1e300, 9], [nan, 0, 9, 9]]
    seen: set[int] = set()
    for k in range(8):
        told = step(tracker, k * FRAME_NS, [box(100 + k), *bad, box(300)], positions=[[10.0, 0.0]] * 8)
        assert len(set(told.ids.tolist())) == 8 and not seen & set(told.ids[1:7].tolist())
        assert np.isnan(told.velocities_mps[1:7]).all()
        seen |= set(told.ids[1:7].tolist())
        assert {told.ids[0], told.ids[7]} == {1, 2}
    assert tracker.alive == 2


@pytest.mark.parametrize(
    "worst",
    [
        np.full((2, 2), np.inf),
        np.full((2, 2), np.nan),
        -np.eye(2),
        np.array([[1.0, 5.0], [5.0, 1.0]]),
        np.eye(2) * 1e300,
    ],
)
def test_covariances_that_are_none_make_a_place_unknown(worst: np.ndarray) -> None:
    tracker = Tracker()
    for k in range(25):
        noise = np.stack([np.eye(2) * 0.01, worst if k % 5 == 3 else np.eye(2) * 0.01])
        places = np.array([[10.0, 0.1 * k], [20.0, 0.1 * k if k % 5 != 3 else 500.0]])
        boxes = np.array([box(100), box(300)])
        told = tracker.update(k * FRAME_NS, boxes, np.full(2, CAR), np.ones(2), places, noise, "odom")
    np.testing.assert_array_equal(told.ids, [1, 2])
    np.testing.assert_allclose(told.velocities_mps, [[0, 1.5], [0, 1.5]], atol=0.1)


def test_nothing_to_see_is_nothing() -> None:
    tracker = Tracker()
    for k in range(4):
        told = step(tracker, k * FRAME_NS, [])
        assert told.ids.shape == (0,) and told.velocities_mps.shape == (0, 2)
        assert told.ids.dtype == np.int64 and told.velocities_mps.dtype == np.float64


def test_more_than_can_be_tracked_take_little_longer_and_the_surest_are_tracked() -> None:
    rng = np.random.default_rng(0)
    tracker, most, n = Tracker(), TrackerSpec().most, 3000
    low = rng.uniform(0, 600, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 60, (n, 2))], axis=1)
    scores = rng.random(n).astype(np.float32)
    took, surest, ids = {}, np.argsort(-scores)[:most], []
    for count in (most, n):
        chosen = surest if count == most else np.arange(n)
        times = []
        for k in range(6):
            now = boxes[chosen] + rng.normal(0, 0.3, (count, 4))
            places, noise = np.full((count, 2), np.nan), np.full((count, 2, 2), np.nan)
            begin = time.perf_counter()
            stamp = (k + 10 * len(took)) * FRAME_NS
            told = tracker.update(stamp, now, np.full(count, CAR), scores[chosen], places, noise, "odom")
            times.append(time.perf_counter() - begin)
            assert len(set(told.ids.tolist())) == count and tracker.alive <= 3 * most
            ids.append(told.ids if count == most else told.ids[surest])
        took[count] = float(np.median(times))
    assert np.mean(ids[-1] == ids[-2]) > 0.9
    assert took[n] < 5 * took[most]


def test_boxes_at_random_never_fill_the_memory() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker(TrackerSpec(most=30))
    for k in range(60):
        low = rng.uniform(0, 2000, (30, 2))
        step(tracker, k * FRAME_NS / 8, np.concatenate([low, low + 20], axis=1))
    assert tracker.alive <= 90


def test_wrong_shapes_are_told() -> None:
    with pytest.raises(ValueError, match=r"positions_m must have the shape \(2, 2\), got \(3, 2\)"):
        Tracker().update(
            0, np.zeros((2, 4)), np.zeros(2, int), np.ones(2), np.zeros((3, 2)), np.zeros((2, 2, 2)), "odom"
        )


@pytest.mark.parametrize(
    "wrong", [{"memory_s": 0.0}, {"jump_std": np.nan}, {"most": 1.5}, {"most": True}, {"confusable": ((1, 256),)}]
)
def test_specs_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrackerSpec(**wrong)  # type: ignore[arg-type]


def test_confusable_classes_are_found_by_name() -> None:
    names = ("bus", "sky", "person", "car", "bicycle")
    labels = LabelSet("some", tuple(Label(i, name, (0, 0, 0), True, "obstacle") for i, name in enumerate(names)))
    assert confusable_classes(labels) == ((2, 4), (3, 0))


def test_memory_changes_while_tracks_live() -> None:
    box, none, unknown = np.array([[10.0, 10.0, 30.0, 50.0]]), np.full((1, 2), np.nan), np.full((1, 2, 2), np.nan)
    person = (box, np.array([11]), np.ones(1), none, unknown, "")
    nobody = (np.empty((0, 4)), np.empty(0), np.empty(0), np.empty((0, 2)), np.empty((0, 2, 2)), "")
    for memory_s, stays in ((1.0, True), (0.3, False)):
        tracker = Tracker()
        for frame in range(8):
            (first,) = tracker.update(frame * 100_000_000, *person).ids
        tracker.remember(memory_s)
        for frame in range(8, 14):
            tracker.update(frame * 100_000_000, *nobody)
        (again,) = tracker.update(1_400_000_000, *person).ids
        assert bool(again == first) == stays
