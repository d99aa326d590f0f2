"""What judges objects, judged: on truth, on truth that was spoiled by a known amount, and on mistakes made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seg_perception.backends import open_backend
from seg_perception.bench_object_cost import COST_THINGS, heads_cost_ms, hostile_heads, many_things
from seg_perception.bench_objects import follow_streets, judge_true_heads
from seg_perception.cli import main
from seg_perception.config import PipelineConfig
from seg_perception.evaluation.heads import HeadErrors, HeadNoise, ThingErrors
from seg_perception.evaluation.instances import simulated_frames
from seg_perception.evaluation.obstacles import TrackScore, true_rows
from seg_perception.objects import Objects
from seg_perception.perception.truth_heads import true_heads
from seg_perception.types import Perception, Segmentation

HW = (64, 128)


def blobs() -> np.ndarray:
    """Instance map with twelve squares of 9 cells' side."""
    instances = np.zeros(HW, np.uint16)
    for number in range(12):
        row, column = divmod(number, 6)
        instances[8 + 30 * row : 17 + 30 * row, 6 + 20 * column : 15 + 20 * column] = number + 1
    return instances


def noise_of(
    area_cells: int, shift: float, scatter: float, grain: float, missed: float, invented: int, count: int = 20
) -> list[ThingErrors]:
    """Things that are shifted by so much along one axis and back; the first ones have no centre."""
    heats = np.full(invented, 0.4, np.float32)
    return [
        ThingErrors(area_cells, 0.9 * (index >= missed * count), np.array([shift, -shift]), scatter, grain, heats)
        for index in range(count)
    ]


def test_true_heads_have_no_errors() -> None:
    errors, instances = HeadErrors(), blobs()
    errors.add(*true_heads(instances, HW), instances, instances > 0)
    noise = errors.noise()
    assert (noise.shift, noise.scatter, noise.missed, noise.invented) == (0, 0, 0, 0)
    assert len(errors.things) == errors.found == 12 and all(thing.heat == 1 for thing in errors.things)


@pytest.mark.parametrize("grain", [0.0, 0.15])
def test_noise_that_was_put_in_is_found_again(grain: float) -> None:
    put = HeadNoise(noise_of(81, 0.12, 0.15, grain, 0.25, 1))
    errors, instances, rng = HeadErrors(), blobs(), np.random.default_rng(0)
    for _ in range(60):
        errors.add(*put.spoil(instances, HW, rng), instances, instances > 0)
    found = errors.noise()
    assert found.shift == pytest.approx(put.shift, rel=0.05) and found.scatter == pytest.approx(put.scatter, rel=0.05)
    assert found.missed == pytest.approx(put.missed, abs=0.06)
    assert np.median([thing.grain for thing in found.things]) == pytest.approx(grain, rel=0.15, abs=0.06)
    # Some are invented on the slope of a hotter one, where they are no peak.
    assert 0.7 * put.invented < found.invented <= put.invented


def test_a_thing_errs_like_those_of_its_size() -> None:
    instances = blobs()
    instances[30:60, 30:80] = 20
    put = HeadNoise([*noise_of(81, 0.3, 0.1, 0.0, 1.0, 0), *noise_of(1000, 0.02, 0.1, 0.0, 0.0, 0)])
    errors, rng = HeadErrors(), np.random.default_rng(0)
    for _ in range(10):
        errors.add(*put.spoil(instances, HW, rng), instances, instances > 0)
    for thing in errors.things:
        small = thing.area_cells < 200
        assert (thing.heat == 0) == small and np.abs(thing.shift) == pytest.approx(0.3 if small else 0.02, abs=0.02)


def test_neighbours_that_err_alike_are_told_from_such_that_do_not() -> None:
    """White noise behind a Gaussian of 1.5 cells, here made with SciPy's filter, is 1.5 cells wide."""
    ndimage = pytest.importorskip("scipy.ndimage")
    rng, instances = np.random.default_rng(1), np.ones(HW, np.uint16)
    centers, offsets = true_heads(instances, HW)
    white = rng.normal(size=(2, *HW))
    errors = HeadErrors()
    errors.add(centers, offsets + ndimage.gaussian_filter(white, (0, 1.5, 1.5)), instances, instances > 0)
    assert errors.things[0].grain * np.sqrt(instances.size) == pytest.approx(1.5, rel=0.05)


def test_what_the_class_map_does_not_show_is_not_the_heads_mistake() -> None:
    errors, instances = HeadErrors(), blobs()
    centers, offsets = true_heads(np.where(instances == 3, 0, instances), HW)
    errors.add(centers, offsets, instances, (instances > 0) & (instances != 3))
    assert len(errors.things) == errors.found == 11 and errors.noise().missed == 0


def test_spoiled_heads_are_worth_less() -> None:
    noise = HeadNoise(noise_of(81, 0.3, 0.3, 0.1, 0.4, 1))
    good, bad = (judge_true_heads(simulated_frames([3], [40]), n).grouped[400.0] for n in (None, noise))
    assert good.matched.sum() > 3 and good.mean_pq(good.is_thing) > bad.mean_pq(bad.is_thing) + 0.05


def test_heads_that_err_like_a_network_tell_more_than_a_perfect_class_map() -> None:
    """Small things lose their centres and point beside them, large ones have centres more, about as the model's do."""
    noise = HeadNoise(
        [
            *noise_of(10, 0.3, 0.16, 0.18, 0.3, 0),
            *noise_of(20, 0.2, 0.15, 0.17, 0.4, 0),
            *noise_of(60, 0.11, 0.17, 0.16, 0.15, 0),
            *noise_of(250, 0.07, 0.15, 0.14, 0.05, 1),
            *noise_of(600, 0.05, 0.14, 0.12, 0.0, 1),
        ]
    )
    for scene in ({}, {"crowds": 0.6, "crossers": 0.5, "tight_parking": True}):
        judge = judge_true_heads(simulated_frames(range(4), range(0, 296, 74), **scene), noise)
        for px in (40.0, 400.0):
            heads, alone = judge.grouped[px], judge.split[px]
            assert heads.matched.sum() > 60 and heads.mean_pq(heads.is_thing) > alone.mean_pq(alone.is_thing)
            assert heads.pooled_pq(heads.is_thing) > alone.pooled_pq(alone.is_thing) + 0.05


def test_an_object_is_the_thing_that_it_shares_most_with() -> None:
    truth = np.zeros((4, 12), np.uint16)
    truth[:, :5], truth[:, 5:8], truth[:, 8:] = 7, 9, 500
    found = np.zeros((4, 12), np.uint16)
    found[:, :4], found[:, 4:9], found[0, 10] = 1, 2, 3
    # The first is 7; the second is 9 (3 of its 5 columns, all of 9); the third shows a 16th of 500: that is nobody.
    assert true_rows(found, truth, 3).tolist() == [7, 9, 0]


def seen(stamp_ns: int, tracks: dict[int, int]) -> tuple[Perception, np.ndarray]:
    """Things as squares of 100 pixels: thing → track."""
    truth = np.zeros((10, 10 * max(tracks, default=1)), np.uint16)
    for thing in tracks:
        truth[:, 10 * (thing - 1) : 10 * thing] = thing
    numbers = np.searchsorted(sorted(tracks), truth).astype(np.uint16) + 1
    objects = Objects(
        np.where(truth > 0, numbers, 0).astype(np.uint16), np.full(len(tracks), 13, np.uint8),
        np.ones(len(tracks), np.float32), np.full(len(tracks), 100, np.int32), np.zeros((len(tracks), 4), np.int32),
        track_ids=np.array([tracks[thing] for thing in sorted(tracks)], np.int64),
    )  # fmt: skip
    empty = Segmentation(None, None)
    return Perception(stamp_ns, "c", truth.shape, empty, None, None, {}, objects=objects), truth


def test_switches_and_returns_are_counted() -> None:
    score = TrackScore(least_px=50)
    frames = [{1: 5, 2: 6}, {1: 5, 2: 7}, {1: 5}, {1: 6, 2: 7}, {1: 6, 2: 7}]
    for index, tracks in enumerate(frames):
        score.add(*seen(index * 100_000_000, tracks))
    assert (score.frames, score.switches, score.returned, score.kept) == (9, 2, 1, 1)


@pytest.mark.parametrize(("areas", "counts"), [((50, 50, 50), (3, 1, 0, 0)), ((50, 49, 50), (2, 0, 1, 0))])
def test_what_was_below_the_least_area_in_between_came_back(areas: tuple[int, ...], counts: tuple[int, ...]) -> None:
    """Else, however much of it is hidden, another id is a switch."""
    score = TrackScore(least_px=50)
    for index, (area, track) in enumerate(zip(areas, (5, 5, 6))):
        looks, truth = seen(index * 66_666_667, {1: track})
        truth.ravel()[area:] = 0
        assert looks.objects is not None
        looks.objects.instance_map.ravel()[area:] = 0
        score.add(looks, truth)
    assert (score.frames, score.switches, score.returned, score.kept) == counts


def test_true_things_are_followed_to_the_centimetre() -> None:
    found = follow_streets([5], 6, (320, 240), contacts_every=5, kerb_m=0.0)
    assert found.places.judged > 3 and found.places.median_px < 1.0 and found.tracks.frames > 10
    assert found.places.held > 0.7


def test_fifty_things_are_fifty_and_hostile_input_is_hostile() -> None:
    heads = many_things()
    assert heads.centers is not None and int((heads.centers == 1).sum()) == COST_THINGS
    hostile = hostile_heads()
    assert len(hostile) >= 5 and any(h.centers is not None and np.isnan(h.centers).any() for h in hostile.values())


def test_inference_is_timed_with_heads_and_without() -> None:
    asked: list[bool] = []
    backend = open_backend(PipelineConfig())
    infer = backend.infer

    def listened(image: np.ndarray | None, stamp_ns: int, things: bool = True) -> object:
        asked.append(things)
        return infer(image, stamp_ns, things)

    backend.infer = listened  # type: ignore[assignment, method-assign]
    assert all(value > 0 for value in heads_cost_ms(backend, 20))
    assert asked[-50:] == [False] * 25 + [True] * 25
    backend.close()


def test_the_verb_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["bench-objects", "--model", "none", "--seeds", "1", "--frames", "1", "--drive", "2", "--runs", "1"]) == 0
    )
    out = capsys.readouterr().out
    assert "true heads at stride 4" in out and "| busy streets |" in out and "5,000 specks" in out
