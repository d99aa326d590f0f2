"""Panoptic quality: hand-made cases, and against sets of pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "perception"))
import plain_panoptic as plain

from seg_perception.evaluation.panoptic_quality import PanopticQuality, split_panoptic

THINGS = np.array([False, True, True])


def picture(shape: tuple[int, int] = (10, 20)) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(shape, np.uint8), np.zeros(shape, np.uint16)


def measure(truth: tuple[np.ndarray, np.ndarray], found: tuple[np.ndarray, np.ndarray], area: float = 0):
    quality = PanopticQuality(THINGS, area)
    quality.add(*truth, *found)
    return quality


def test_the_truth_is_perfect() -> None:
    ids, numbers = picture()
    ids[2:5, 2:8], numbers[2:5, 2:8] = 1, 7
    quality = measure((ids, numbers), (ids, numbers + 3))
    assert quality.pq().tolist()[:2] == [1.0, 1.0] and np.isnan(quality.pq()[2])
    assert quality.mean_pq(THINGS) == 1.0 and quality.mean_pq() == 1.0
    assert np.isnan(quality.mean_pq(np.array([2])))


def test_known_numbers() -> None:
    """Two true cars of 40 pixels: one found with 30 of its pixels and 10 others, one missed; one car is invented."""
    ids, numbers = picture((20, 40))
    ids[0:4, 0:10], numbers[0:4, 0:10] = 1, 1
    ids[10:14, 0:10], numbers[10:14, 0:10] = 1, 2
    found, found_numbers = picture((20, 40))
    found[1:5, 0:10], found_numbers[1:5, 0:10] = 1, 1  # 3 of 4 rows shared: IoU 30 / 50
    found[15:19, 20:30], found_numbers[15:19, 20:30] = 1, 2
    quality = measure((ids, numbers), (found, found_numbers))
    assert (quality.matched[1], quality.spurious[1], quality.missed[1]) == (1, 1, 1)
    assert quality.sq()[1] == pytest.approx(0.6)
    assert quality.rq()[1] == pytest.approx(1 / 2)
    assert quality.pq()[1] == pytest.approx(0.3)
    ids[0:4, 20:30], numbers[0:4, 20:30] = 2, 5
    found[0:4, 20:30], found_numbers[0:4, 20:30] = 2, 3
    quality = measure((ids, numbers), (found, found_numbers))  # one more, which is perfect: 1.6 / (2 + 1/2 + 1/2)
    assert quality.pooled_pq(THINGS) == pytest.approx(1.6 / 3) and quality.mean_pq(THINGS) == pytest.approx(0.65)
    assert np.isnan(measure(picture(), picture()).pooled_pq(THINGS))


def test_half_is_no_match() -> None:
    ids, numbers = picture()
    ids[0:2, 0:10], numbers[0:2, 0:10] = 1, 1
    found, found_numbers = picture()
    found[0, 0:10], found_numbers[0, 0:10] = 1, 1
    quality = measure((ids, numbers), (found, found_numbers))
    assert (quality.matched[1], quality.spurious[1], quality.missed[1]) == (0, 1, 1)


def test_another_class_is_no_match() -> None:
    ids, numbers = picture()
    ids[0:2, 0:10], numbers[0:2, 0:10] = 1, 1
    quality = measure((ids, numbers), (np.where(ids == 1, 2, ids).astype(np.uint8), numbers))
    assert quality.missed[1] == 1 and quality.spurious[2] == 1 and quality.pq()[1] == 0


def test_void_is_in_no_union_and_what_lies_on_it_is_no_error() -> None:
    ids, numbers = picture()
    ids[0:2, 0:10], numbers[0:2, 0:10] = 1, 1
    ids[2:6, 0:10] = 255
    found, found_numbers = ids.copy(), numbers.copy()
    found[2:6, 0:10], found_numbers[2:6, 0:10] = 1, 1  # goes on into void: all the same
    quality = measure((ids, numbers), (found, found_numbers))
    assert quality.pq()[1] == 1.0
    found_numbers[2:6, 0:10] = 2  # a second thing, on void alone
    quality = measure((ids, numbers), (found, found_numbers))
    assert quality.pq()[1] == 1.0 and quality.spurious[1] == 0


def test_small_things_are_void_and_things_without_a_number_too() -> None:
    ids, numbers = picture()
    ids[0:2, 0:10], numbers[0:2, 0:10] = 1, 1
    ids[5, 5:8], numbers[5, 5:8] = 1, 2
    ids[8, 5:8] = 2  # a thing that nobody counted
    empty = picture()
    assert measure((ids, numbers), empty).missed.tolist() == [0, 2, 0]
    assert measure((ids, numbers), empty, area=4).missed.tolist() == [0, 1, 0]
    assert measure((ids, numbers), (ids, numbers), area=4).pq()[1] == 1.0
    assert measure((ids, numbers), (ids, numbers), area=21).matched.tolist() == [1, 0, 0]


@pytest.mark.parametrize("seed", range(6))
def test_against_sets_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(3):
        maps = []
        for _ in range(2):
            blocks = rng.integers(0, 5, (4, 6)), rng.integers(0, 4, (4, 6))
            ids, numbers = (np.kron(block, np.ones((4, 4), int)) for block in blocks)
            maps += [np.where(ids >= 3, rng.choice([1, 255]), ids).astype(np.uint8), numbers]
        change = rng.random(maps[0].shape) < 0.6  # so that something matches
        maps[2][change], maps[3][change] = maps[0][change], maps[1][change]
        frames.append(tuple(maps))
    quality = PanopticQuality(THINGS, 20)
    for frame in frames:
        quality.add(*frame)
    expected = plain.quality(frames, THINGS, 20)
    assert sum(row[1] for row in expected.values()) > 3
    for class_id, (iou, matched, spurious, missed) in expected.items():
        got = quality.matched[class_id], quality.spurious[class_id], quality.missed[class_id]
        assert got == (matched, spurious, missed)
        assert quality.iou_sums[class_id] == pytest.approx(iou)


def test_a_panoptic_map_comes_apart() -> None:
    ids, numbers = split_panoptic(np.array([[0, 1000, 13007, 65535]], np.uint16), 1000)
    assert ids.tolist() == [[0, 1, 13, 255]] and numbers.tolist() == [[0, 0, 7, 0]]
    assert ids.dtype == np.uint8 and numbers.dtype == np.uint16


def test_one_size() -> None:
    with pytest.raises(ValueError, match="one size"):
        PanopticQuality(THINGS).add(*picture(), *picture((3, 4)))
