"""Things that touch, in a mask that knows classes alone."""

from __future__ import annotations

import numpy as np
import plain_panoptic as plain
import pytest
from test_panoptic import BUS, CAR, PERSON, check_rows

from seg_perception.labels import CITYSCAPES
from seg_perception.objects import Objects
from seg_perception.perception.components import components
from seg_perception.perception.panoptic import find_objects, spec_for
from seg_perception.types import Heads

SPEC = spec_for(CITYSCAPES, min_area=10)
MAP_HW = (128, 256)


def discs(*places: tuple[float, float, float, float], class_id: int = CAR) -> np.ndarray:
    """Ellipses (row, column, half height, half width)."""
    rows, columns = np.mgrid[: MAP_HW[0], : MAP_HW[1]]
    class_ids = np.zeros(MAP_HW, np.uint8)
    for row, column, down, right in places:
        class_ids[((rows - row) / down) ** 2 + ((columns - column) / right) ** 2 <= 1] = class_id
    return class_ids


def person(class_ids: np.ndarray, column: int, foot: int, height: int, stride: int = 0) -> None:
    """Head, body, and two legs, which may be apart."""
    rows, columns = np.mgrid[: MAP_HW[0], : MAP_HW[1]]
    unit = height / 8
    head = (rows - (foot - 7.3 * unit)) ** 2 + (columns - column) ** 2 <= (0.75 * unit) ** 2
    body = (np.abs(columns - column) <= 1.2 * unit) & (rows > foot - 6.6 * unit) & (rows <= foot - 3 * unit)
    low = (rows > foot - 3.5 * unit) & (rows <= foot)
    spread = stride * (rows - (foot - 3.5 * unit)) / (3.5 * unit)
    legs = low & (np.abs(np.abs(columns - column) - 0.5 * unit - spread) <= 0.55 * unit)
    class_ids[head | body | legs] = PERSON


def found(class_ids: np.ndarray) -> Objects:
    objects = find_objects(Heads(class_ids), SPEC)
    check_rows(objects)
    return objects


def test_two_discs_that_touch() -> None:
    objects = found(discs((60, 60, 15, 15), (60, 89, 15, 15)))
    assert len(objects) == 2 and abs(int(objects.areas[0]) - int(objects.areas[1])) < 40
    assert objects.boxes[:, 0].tolist() == [45, 75] or abs(objects.boxes[1, 0] - 75) <= 1


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_people_shoulder_to_shoulder(count: int) -> None:
    class_ids = np.zeros(MAP_HW, np.uint8)
    for k in range(count):
        person(class_ids, 20 + 13 * k, 90 + k % 2, 41 + 2 * (k % 3))
    assert len(components(class_ids, SPEC.is_thing)[1]) == 1  # it is one region
    objects = found(class_ids)
    assert len(objects) == count
    middles = sorted(objects.boxes[:, [0, 2]].mean(1))
    np.testing.assert_allclose(middles, 20 + 13 * np.arange(count) + 0.5, atol=2)


@pytest.mark.parametrize("height", [16, 24, 40, 80, 120])
def test_one_person_stays_one(height: int) -> None:
    for stride in (0, height // 20, height // 10):
        class_ids = np.zeros(MAP_HW, np.uint8)
        person(class_ids, 128, 124, height, stride)
        assert len(found(class_ids)) == 1


def test_a_long_bus_is_one_bus() -> None:
    class_ids = np.zeros(MAP_HW, np.uint8)
    class_ids[30:90, 20:240] = BUS
    class_ids[90:98, 50:70] = class_ids[90:98, 180:200] = BUS  # wheels
    assert len(found(class_ids)) == 1
    class_ids[60:, 120:150] = PERSON  # somebody before it, to the ground
    objects = found(class_ids)
    assert sorted(objects.class_ids) == [PERSON, BUS]
    for slope in (0.1, 0.3, 0.5):  # seen at an angle
        rows, columns = np.mgrid[: MAP_HW[0], : MAP_HW[1]]
        half = 10 + slope * (columns - 20)
        class_ids = np.where((columns >= 20) & (columns < 200) & (np.abs(rows - 64) <= np.minimum(half, 60)), BUS, 0)
        assert len(found(class_ids.astype(np.uint8))) == 1


def test_classes_are_parted_anyway() -> None:
    class_ids = discs((60, 60, 15, 15))
    class_ids[discs((60, 75, 20, 8)) > 0] = PERSON
    assert sorted(found(class_ids).class_ids) == [PERSON, CAR]


def test_no_part_is_smaller_than_a_thing() -> None:
    class_ids = discs((60, 60, 15, 15), (60, 76, 1.6, 3))
    assert len(found(class_ids)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_regions_against_a_walk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    class_ids = rng.choice([0, 0, PERSON, CAR, BUS], (40, 50)).astype(np.uint8)
    names, classes = components(class_ids, SPEC.is_thing)
    expected = plain.components(class_ids, SPEC.is_thing)
    assert len(classes) == len(expected) > 20
    for region in expected:
        own = {int(names[cell]) for cell in region}
        assert len(own) == 1 and np.count_nonzero(names == own.copy().pop()) == len(region)
        assert classes[own.pop() - 1] == class_ids[next(iter(region))]
    assert ((names > 0) == SPEC.is_thing[class_ids]).all()
