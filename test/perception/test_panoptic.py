"""Countable things in class maps: known pictures, and slow references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plain_panoptic as plain
import pytest

from seg_perception.errors import ConfigError, LabelError
from seg_perception.labels import CITYSCAPES, Label, LabelSet
from seg_perception.objects import Objects
from seg_perception.perception.centres import find_centres, nearest_centre
from seg_perception.perception.panoptic import (
    PanopticSpec,
    check_divisor,
    find_objects,
    panoptic_map,
    spec_for,
)
from seg_perception.perception.truth_heads import true_heads
from seg_perception.types import Heads

ROAD, PERSON, CAR, BUS, VOID = 0, 11, 13, 15, 255
SPEC = spec_for(CITYSCAPES, min_area=4)


def ellipses(seed: int, count: int, map_hw: tuple[int, int] = (64, 96)) -> tuple[np.ndarray, np.ndarray]:
    """Class ids and instances of cars and people before each other."""
    rng, (height, width) = np.random.default_rng(seed), map_hw
    class_ids, instances = np.zeros(map_hw, np.uint8), np.zeros(map_hw, np.uint16)
    rows, columns = np.mgrid[:height, :width]
    for number in range(1, count + 1):
        person = number % 2
        radii = (rng.uniform(5, 10), rng.uniform(2, 4)) if person else (rng.uniform(4, 7), rng.uniform(6, 12))
        middle = rng.uniform(0, height), rng.uniform(0, width)
        inside = ((rows - middle[0]) / radii[0]) ** 2 + ((columns - middle[1]) / radii[1]) ** 2 <= 1
        class_ids[inside], instances[inside] = (PERSON if person else CAR), number
    return class_ids, instances


def check_rows(objects: Objects) -> None:
    """Every row says what the instance map shows."""
    numbers = np.unique(objects.instance_map)
    assert numbers[numbers > 0].tolist() == list(range(1, len(objects) + 1))
    for row in range(len(objects)):
        mask = objects.instance_map == row + 1
        assert objects.areas[row] == mask.sum()
        assert tuple(objects.boxes[row]) == plain.box(mask)
    assert ((objects.scores >= 0) & (objects.scores <= 1)).all()
    assert objects.class_ids.dtype == np.uint8 and objects.scores.dtype == np.float32
    assert objects.areas.dtype == np.int32 and objects.boxes.dtype == np.int32


@pytest.mark.parametrize("seed", range(8))
def test_true_heads_find_every_thing(seed: int) -> None:
    class_ids, instances = ellipses(seed, 16)
    objects = find_objects(Heads(class_ids, None, *true_heads(instances, (64, 96))), spec_for(CITYSCAPES, min_area=0))
    check_rows(objects)
    assert plain.same_things(objects.instance_map, instances) > 0.99
    for row, class_id in enumerate(objects.class_ids):
        assert class_ids[objects.instance_map == row + 1][0] == class_id


@pytest.mark.parametrize("seed", range(4))
def test_the_rule_of_panoptic_deeplab(seed: int) -> None:
    """Heads as unsure as a network's: the groups are those of the nearest centre, searched among all."""
    class_ids, instances = ellipses(seed, 8)
    heat, offsets = true_heads(instances, (64, 96))
    rng = np.random.default_rng(seed)
    heat += rng.uniform(0, 0.01, heat.shape).astype(np.float32)  # no two are alike
    offsets += rng.normal(0, 0.15, offsets.shape).astype(np.float32)
    objects = find_objects(Heads(class_ids, None, heat, offsets), replace(SPEC, centre_threshold=0.5))
    groups = plain.group(class_ids, heat, offsets, replace(SPEC, centre_threshold=0.5))
    both = (objects.instance_map > 0) & (groups > 0)
    assert both.sum() > 0.97 * (class_ids > 0).sum()
    of_group = {}  # every object is one group, of its majority's class
    for row in range(len(objects)):
        within = groups[objects.instance_map == row + 1]
        of_group[row], count = np.bincount(within).argmax(), np.bincount(within).max()
        assert count >= 0.97 * len(within)
    classes = plain.majority(class_ids, groups)
    large = [g for g, c in zip(*np.unique(groups[groups > 0], return_counts=True)) if c > 20]
    found = set(of_group.values())
    assert set(large) <= found
    assert np.mean([objects.class_ids[row] == classes[g] for row, g in of_group.items()]) >= 0.75


def test_equal_neighbours_are_one_centre() -> None:
    """What saturates is flat; a thing is not cut in two for it."""
    class_ids = np.zeros((32, 32), np.uint8)
    class_ids[8:24, 8:24] = CAR
    heat, offsets = true_heads((class_ids > 0).astype(int), (32, 32))
    heat[14:18, 14:18] = 1.0
    objects = find_objects(Heads(class_ids, None, heat, offsets), SPEC)
    assert len(objects) == 1 and objects.areas[0] == 256 and objects.scores[0] == 1
    heat[:] = 1.0
    assert len(find_objects(Heads(class_ids, None, heat, offsets), SPEC)) == 1


@pytest.mark.parametrize("window", [3, 5, 9])
def test_centres_are_local_maxima(window: int) -> None:
    heat = np.random.default_rng(window).random((30, 40)).astype(np.float32)
    found = find_centres(heat, window, 0.5, 1000)
    expected = plain.centres(heat, window, 0.5)
    assert len(expected) > 10 and sorted(map(tuple, found.places.astype(int).tolist())) == sorted(expected)
    assert (np.diff(found.heats) <= 0).all()
    few = find_centres(heat, window, 0.5, 7)
    np.testing.assert_array_equal(few.places, found.places[:7])


def test_flat_maxima_are_one_centre_each() -> None:
    heat = np.zeros((20, 20), np.float32)
    heat[2:5, 3:8] = heat[10, 10] = heat[10, 12] = 0.5
    assert find_centres(heat, 3, 0.1, 9).places.tolist() == [[3, 5], [10, 10], [10, 12]]
    assert find_centres(heat, 5, 0.1, 9).places.tolist() == [[3, 5], [10, 11]]
    assert find_centres(np.ones((20, 21), np.float32), 3, 0.1, 9).places.tolist() == [[9.5, 10]]
    assert len(find_centres(np.zeros((20, 20), np.float32), 3, 0.1, 9)) == 0


def test_the_nearest_centre() -> None:
    """As if all were tried, but for targets that are far from every centre or about as near to two."""
    rng = np.random.default_rng(1)
    centres = find_centres(rng.random((64, 128)).astype(np.float32), 5, 0.9, 60)
    own = rng.integers(0, len(centres), 4000)
    targets = (centres.places[own] + rng.normal(0, 0.7, (4000, 2))).astype(np.float32).T
    nearest, away = nearest_centre(targets, centres, (64, 128))
    distances = np.hypot(*(targets[:, :, None] - centres.places.T[:, None]))
    assert (nearest == distances.argmin(1)).mean() > 0.998
    assert (away - distances.min(1)).max() < 0.5
    far = np.array([[-1e6, 1e6, 3.0], [5.0, -1e6, 1e6]], np.float32)
    assert np.isfinite(nearest_centre(far, centres, (64, 128))[1]).all()


SIZES = [((48, 64), (24, 32)), ((96, 128), (24, 32)), ((50, 70), (17, 23)), ((40, 60), (40, 60)), ((30, 40), (60, 80))]


@pytest.mark.parametrize("map_hw, heads_hw", SIZES)
def test_heads_of_any_size(map_hw: tuple[int, int], heads_hw: tuple[int, int]) -> None:
    """Class maps finer and coarser than the heads, by whole numbers and others: rims and all, nothing is lost."""
    rows, columns = ((np.arange(n) + 0.5) / n for n in map_hw)
    instances = np.zeros(map_hw, np.uint16)
    for number, (y, x, down, right) in enumerate([(0.3, 0.3, 0.2, 0.2), (0.3, 0.7, 0.25, 0.1), (0.8, 0.5, 0.12, 0.3)]):
        inside = ((rows[:, None] - y) / down) ** 2 + ((columns[None] - x) / right) ** 2 <= 1
        instances[inside] = number + 1
    class_ids = np.where(instances > 0, CAR, 0).astype(np.uint8)
    confidence = np.full((7, 9), 204, np.uint8)
    objects = find_objects(Heads(class_ids, confidence, *true_heads(instances, heads_hw)), SPEC)
    check_rows(objects)
    assert plain.same_things(objects.instance_map, instances) == 1
    np.testing.assert_allclose(objects.scores, 0.8, rtol=1e-6)


def test_a_score_is_the_mean_confidence_and_the_heat() -> None:
    class_ids = np.zeros((32, 32), np.uint8)
    class_ids[8:24, 8:24] = CAR
    heat, offsets = true_heads((class_ids > 0).astype(int), (32, 32))
    confidence = np.zeros((32, 32), np.uint8)
    confidence[8:16, 8:24] = 255
    score = find_objects(Heads(class_ids, confidence, heat * np.float32(0.5), offsets), SPEC).scores
    np.testing.assert_allclose(score, 0.25, rtol=1e-6)
    np.testing.assert_allclose(find_objects(Heads(class_ids, confidence), SPEC).scores, 0.5, rtol=1e-6)
    assert find_objects(Heads(class_ids), SPEC).scores == 1


def test_limits_by_class() -> None:
    class_ids = np.zeros((40, 40), np.uint8)
    class_ids[2:6, 2:6], class_ids[2:6, 10:14] = PERSON, CAR  # 16 cells each
    class_ids[20:24, 2:4], class_ids[20:30, 20:30] = PERSON, BUS
    confidence = np.full((40, 40), 255, np.uint8)
    confidence[20:30, 20:30] = 51
    spec = spec_for(CITYSCAPES, min_area=10, min_areas={"car": 17}, min_score=0.1, min_scores={"bus": 0.3})
    objects = find_objects(Heads(class_ids, confidence), spec)
    assert objects.class_ids.tolist() == [PERSON]
    assert objects.left_out == {"too_small": 2, "low_score": 1, "too_many": 0, "bad_cells": 0}
    panoptic = panoptic_map(class_ids, objects, spec, 1000)
    assert np.unique(panoptic).tolist() == [0, PERSON * 1000 + 1, VOID * 257]
    assert (panoptic == 65535).sum() == 16 + 8 + 100


def test_the_largest_are_kept_where_there_are_too_many() -> None:
    class_ids = np.zeros((20, 200), np.uint8)
    for k in range(40):
        class_ids[2 : 4 + k % 10, 5 * k : 5 * k + 3] = CAR
    objects = find_objects(Heads(class_ids), replace(SPEC, most=12))
    assert len(objects) == 12 and objects.left_out["too_many"] == 28
    assert sorted(objects.areas)[0] >= 3 * 9 and objects.areas.sum() == 4 * 33 + 4 * 30 + 4 * 27
    check_rows(objects)


def test_values_of_the_panoptic_map() -> None:
    class_ids, instances = ellipses(3, 12)
    class_ids[:5], instances[:5] = VOID, 0
    class_ids[5:9], instances[5:9] = 8, 0
    objects = find_objects(Heads(class_ids, None, *true_heads(instances, (64, 96))), SPEC)
    panoptic = panoptic_map(class_ids, objects, SPEC, 300)
    assert panoptic.dtype == np.uint16 and panoptic.shape == class_ids.shape
    numbers = objects.instance_map.astype(int)
    own = objects.class_ids.astype(int)[numbers - 1] * 300 + numbers
    thing = SPEC.is_thing[class_ids]
    expected = np.where(numbers > 0, own, np.where(thing | (class_ids == VOID), 65535, class_ids.astype(int) * 300))
    np.testing.assert_array_equal(panoptic, expected)


def test_a_divisor_that_fits() -> None:
    check_divisor(CITYSCAPES, 1000)
    check_divisor(CITYSCAPES, 3449)  # 19 × 3449 = 65531
    with pytest.raises(ConfigError, match="19 classes.*at most 3449"):
        check_divisor(CITYSCAPES, 3450)
    with pytest.raises(ConfigError, match="at least 2"):
        check_divisor(CITYSCAPES, 1)
    five = LabelSet("five", tuple(Label(i, f"c{i}", (0, 0, 0), True, "obstacle") for i in range(5)))
    check_divisor(five, 13107)  # 5 × 13107 − 1 is 65534, the last number that is not void
    with pytest.raises(ConfigError, match="at most 13107"):
        check_divisor(five, 13108)
    many = LabelSet("many", tuple(Label(i, f"c{i}", (0, 0, 0), True, "obstacle") for i in range(255)))
    check_divisor(many, 256)
    with pytest.raises(ConfigError, match="at most 257"):
        check_divisor(many, 1000)


def test_a_spec_says_what_is_wrong_with_it() -> None:
    assert spec_for(CITYSCAPES, min_area=5, divisor=12).most == 11
    with pytest.raises(LabelError, match="no 'tram'"):
        spec_for(CITYSCAPES, min_area=5, min_areas={"tram": 3})
    with pytest.raises(ConfigError, match="panoptic_divisor"):
        spec_for(CITYSCAPES, min_area=5, divisor=5000)
    with pytest.raises(ValueError, match="is_thing must be bool"):
        PanopticSpec(np.zeros(19, bool), SPEC.min_areas, SPEC.min_scores, 3, 10)
    with pytest.raises(ValueError, match="most"):
        replace(SPEC, most=65535)


def test_things_that_a_model_found_itself() -> None:
    class_ids, instances = ellipses(5, 10)
    all_found = find_objects(Heads(class_ids, None, *true_heads(instances, (64, 96))), spec_for(CITYSCAPES, min_area=0))
    all_found = replace(all_found, left_out={"unusable": 2, "too_many": 1})
    heads = Heads(class_ids, None, instances=all_found)
    median = float(np.median(all_found.areas))
    objects = find_objects(heads, spec_for(CITYSCAPES, min_area=median))
    assert 0 < len(objects) < len(all_found) and (objects.areas >= median).all()
    assert objects.left_out["too_small"] == len(all_found) - len(objects)
    assert (objects.left_out["unusable"], objects.left_out["too_many"]) == (2, 1)
    check_rows(objects)
    whole = find_objects(heads, spec_for(CITYSCAPES, min_area=0))
    np.testing.assert_array_equal(whole.instance_map, all_found.instance_map)
    with pytest.raises(ValueError, match="class map"):
        find_objects(Heads(class_ids[1:], None, instances=all_found), SPEC)


def test_the_same_twice_and_mirrored_views() -> None:
    class_ids, instances = ellipses(6, 14)
    heat, offsets = true_heads(instances, (32, 48))
    one, two = (find_objects(Heads(class_ids, None, heat, offsets), SPEC) for _ in range(2))
    np.testing.assert_array_equal(one.instance_map, two.instance_map)
    np.testing.assert_array_equal(one.scores, two.scores)
    view = Heads(class_ids[:, ::-1], class_ids[::-1], heat[:, ::-1], offsets[:, :, ::-1])
    copy = Heads(*(np.ascontiguousarray(a) for a in (view.class_ids, view.confidence, view.centers, view.offsets)))
    np.testing.assert_array_equal(find_objects(view, SPEC).instance_map, find_objects(copy, SPEC).instance_map)
