"""What networks get wrong, and what stands before what: things that grouping still tells apart, and keeps whole."""

from __future__ import annotations

import numpy as np
import plain_panoptic as plain
from test_panoptic import BUS, CAR, PERSON, SPEC

from seg_perception.labels import CITYSCAPES
from seg_perception.perception.panoptic import find_objects, panoptic_map, spec_for
from seg_perception.perception.truth_heads import true_heads
from seg_perception.types import Heads


def test_a_pole_before_a_bus_leaves_one_bus() -> None:
    class_ids = np.zeros((32, 64), np.uint8)
    class_ids[8:24, 6:58] = BUS
    instances = (class_ids > 0).astype(int)
    class_ids[:, 30:33], instances[:, 30:33] = 5, 0
    objects = find_objects(Heads(class_ids, None, *true_heads(instances, (16, 32))), SPEC)
    assert len(objects) == 1 and objects.areas[0] == (class_ids == BUS).sum()
    assert tuple(objects.boxes[0]) == (6, 8, 58, 24)


def test_a_person_before_the_middle_of_a_car() -> None:
    """One place for two middles: both are kept, by class, and two cars by where their cells point."""
    class_ids, instances = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint16)
    class_ids[14:34, 12:52], instances[14:34, 12:52] = CAR, 1
    class_ids[10:38, 28:36], instances[10:38, 28:36] = PERSON, 2
    objects = find_objects(Heads(class_ids, None, *true_heads(instances, (48, 64))), SPEC)
    assert sorted(objects.class_ids) == [PERSON, CAR]
    assert plain.same_things(objects.instance_map, instances) == 1
    heat, offsets = true_heads(instances, (48, 64))
    offsets[1][instances == 2] += 0.6  # still in one cell
    cars = np.where(instances > 0, CAR, 0).astype(np.uint8)
    objects = find_objects(Heads(cars, None, heat, offsets), SPEC)
    assert plain.same_things(objects.instance_map, instances) == 1


def test_what_no_centre_claims_is_a_thing_of_its_own() -> None:
    class_ids, instances = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint16)
    class_ids[4:16, 4:20], instances[4:16, 4:20] = CAR, 1
    class_ids[30:44, 40:60], instances[30:44, 40:60] = CAR, 2
    heat, offsets = true_heads(instances, (48, 64))
    heat[24:] = 0
    objects = find_objects(Heads(class_ids, None, heat, offsets), SPEC)
    assert plain.same_things(objects.instance_map, instances) == 1
    assert objects.scores.tolist() == [1.0, 0.5]
    heat[:] = 0
    assert find_objects(Heads(class_ids, None, heat, offsets), SPEC).scores.tolist() == [0.5, 0.5]


def test_a_missed_thing_that_touches_another_is_one_of_its_own() -> None:
    class_ids, instances = np.zeros((48, 96), np.uint8), np.zeros((48, 96), np.uint16)
    class_ids[8:40, 4:44], instances[8:40, 4:44] = CAR, 1
    class_ids[20:36, 44:64], instances[20:36, 44:64] = CAR, 2
    heat, offsets = true_heads(instances, (48, 96))
    heat[:, 46:] = 0
    objects = find_objects(Heads(class_ids, None, heat, offsets), SPEC)
    assert objects.scores.tolist() == [1.0, 0.5]
    # All but a rim, which its neighbour is joined with.
    assert (objects.instance_map[instances == 2] == 2).mean() > 0.8 and (
        objects.instance_map[instances == 1] == 1
    ).all()


def test_a_piece_that_points_nowhere_is_a_part_of_what_it_touches() -> None:
    class_ids, instances = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint16)
    class_ids[4:44, 4:60], instances[4:44, 4:60] = BUS, 1
    heat, offsets = true_heads(instances, (48, 64))
    offsets[:, 4:20, 4:24] = 400.0
    objects = find_objects(Heads(class_ids, None, heat, offsets), SPEC)
    assert plain.same_things(objects.instance_map, instances) == 1


def small_things() -> tuple[np.ndarray, np.ndarray]:
    """Two people far from each other, seen by 15 cells each of heads at half the class map's size."""
    class_ids, instances = np.zeros((64, 96), np.uint8), np.zeros((64, 96), np.uint16)
    for number, column in ((1, 40), (2, 52)):
        class_ids[20:30, column : column + 6], instances[20:30, column : column + 6] = PERSON, number
    return class_ids, instances


def test_a_small_region_is_one_thing_wherever_its_offsets_point() -> None:
    class_ids, instances = small_things()
    heat, offsets = true_heads(instances, (32, 48))
    offsets[1, 10:12, 20:23] += 6.0  # a part of the left one points at the right one
    objects = find_objects(Heads(class_ids, None, heat, offsets), SPEC)
    assert plain.same_things(objects.instance_map, instances) == 1 and objects.scores.tolist() == [1.0, 1.0]
    heat[:, :24] = 0  # and its centre is missed: it points at itself all the same
    objects = find_objects(Heads(class_ids, None, heat, offsets), SPEC)
    assert plain.same_things(objects.instance_map, instances) == 1 and sorted(objects.scores) == [0.5, 1.0]


def test_a_small_region_with_two_centres_is_two_things() -> None:
    class_ids, instances = small_things()
    class_ids[20:30, 46:52], instances[20:30, 46:49], instances[20:30, 49:52] = PERSON, 1, 2
    class_ids[26:], class_ids[:, 52:], instances[26:], instances[:, 52:] = 0, 0, 0, 0
    objects = find_objects(Heads(class_ids, None, *true_heads(instances, (32, 48))), SPEC)
    assert len(objects) == 2


def test_a_small_piece_behind_a_post_is_a_part_of_its_thing() -> None:
    class_ids = np.zeros((64, 96), np.uint8)
    class_ids[20:40, 30:70] = CAR
    instances = (class_ids > 0).astype(np.uint16)
    class_ids[:, 34:38], instances[:, 34:38] = 5, 0
    objects = find_objects(Heads(class_ids, None, *true_heads(instances, (32, 48))), SPEC)
    assert len(objects) == 1 and objects.areas[0] == (class_ids == CAR).sum()


def test_what_points_at_a_centre_from_one_side_is_no_thing() -> None:
    """A peak that is nobody's beside the middle of a bus, and a part of the bus on its other side that points there."""
    class_ids, instances = np.zeros((64, 96), np.uint8), np.zeros((64, 96), np.uint16)
    class_ids[8:56, 8:88], instances[8:56, 8:88] = BUS, 1
    class_ids[50:62, 90:96], instances[50:62, 90:96] = CAR, 2
    heat, offsets = true_heads(instances, (64, 96))
    for place, part in (((40, 80), np.s_[12:24, 12:30]), ((14, 84), np.s_[40:52, 10:20])):
        heat[place] = 0.6
        rows, columns = np.mgrid[part]
        offsets[0][part], offsets[1][part] = place[0] - rows, place[1] - columns
    objects = find_objects(Heads(class_ids, None, heat, offsets), SPEC)
    assert plain.same_things(objects.instance_map, instances) == 1


def test_a_speck_of_another_class_belongs_to_its_thing() -> None:
    class_ids = np.zeros((32, 32), np.uint8)
    class_ids[8:24, 8:24] = CAR
    heat, offsets = true_heads((class_ids > 0).astype(int), (32, 32))
    class_ids[10:12, 10:12] = BUS
    objects = find_objects(Heads(class_ids, None, heat, offsets), spec_for(CITYSCAPES, min_area=2))
    assert objects.class_ids.tolist() == [CAR] and objects.areas.tolist() == [256]
    panoptic = panoptic_map(class_ids, objects, SPEC, 1000)
    assert panoptic[10, 10] == CAR * 1000 + 1
