"""Boxes, labels, scores and masks of a detector as a class map and its objects."""

from __future__ import annotations

import warnings

import numpy as np
import plain_panoptic as plain
import pytest
from test_panoptic import CAR, PERSON, check_rows

from seg_perception.errors import ModelContractError
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.panoptic import find_objects, objects_of_detections, panoptic_map, spec_for
from seg_perception.types import Heads

HW = (60, 80)
CLASS_OF = np.array([255, PERSON, 18, CAR], np.uint8)  # 0 is the background


def detections(seed: int, count: int, side: int = 28) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    begin = rng.uniform(-8, 60, (count, 2))
    boxes = np.concatenate([begin, begin + rng.uniform(3, 40, (count, 2))], 1).astype(np.float32)
    rows, columns = (np.arange(side) + 0.5) / side - 0.5, (np.arange(side) + 0.5) / side - 0.5
    round_ = 1 / (1 + np.exp(40 * (rows[:, None] ** 2 + columns**2 - rng.uniform(0.1, 0.3, (count, 1, 1)))))
    scores = rng.permutation(np.linspace(0.2, 1, count)).astype(np.float32)
    return boxes, rng.integers(1, 4, count), scores, round_[:, None].astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_small_masks_are_stretched_over_their_boxes(seed: int) -> None:
    boxes, labels, scores, masks = detections(seed, 12)
    class_ids, confidence, objects = objects_of_detections(boxes, labels, scores, masks, HW, CLASS_OF)
    check_rows(objects)
    expected, number = np.zeros(HW, int), 0
    for row in np.argsort(-scores):
        inside = plain.paste(boxes[row], masks[row, 0], HW) & (expected == 0)
        if inside.any():
            number += 1
            expected[inside] = number
            assert objects.class_ids[number - 1] == CLASS_OF[labels[row]]
            assert objects.scores[number - 1] == scores[row]
    assert len(objects) == number > 6
    assert (objects.instance_map == expected).mean() > 0.9995  # but for the last bit
    assert ((class_ids == 255) == (objects.instance_map == 0)).all()
    some = objects.instance_map > 0
    sure = np.rint(objects.scores * 255)[objects.instance_map[some] - 1]
    np.testing.assert_array_equal(confidence[some], sure)
    assert not confidence[~some].any()


def test_masks_of_the_whole_map_and_who_is_surer() -> None:
    masks = np.zeros((3, *HW), np.float32)
    masks[0, 10:30, 10:40] = 0.9
    masks[1, 20:50, 30:60] = 0.6
    masks[2, 12:20, 12:20] = 1.0  # behind the first
    boxes = np.array([[10, 10, 40, 30], [30, 20, 60, 50], [12, 12, 20, 20]], np.float64)
    scores = np.array([0.9, 0.95, 0.3])
    labels = np.array([CAR, PERSON, CAR])
    for given in (masks, masks[:, None], masks >= 0.5, (masks >= 0.5).astype(np.uint8)):
        class_ids, _, objects = objects_of_detections(boxes, labels, scores, given, HW, background=0)
        assert objects.class_ids.tolist() == [PERSON, CAR] and objects.areas.tolist() == [900, 500]
        assert objects.boxes.tolist() == [[30, 20, 60, 50], [10, 10, 40, 30]]
        assert objects.left_out["hidden"] == 1
        assert (class_ids[objects.instance_map == 0] == 0).all()


def test_on_to_the_panoptic_map() -> None:
    boxes, labels, scores, masks = detections(7, 12)
    class_ids, confidence, objects = objects_of_detections(boxes, labels, scores, masks, HW, CLASS_OF)
    spec = spec_for(CITYSCAPES, min_area=30, min_score=0.4)
    kept = find_objects(Heads(class_ids, confidence, instances=objects), spec)
    assert 0 < len(kept) < len(objects)
    panoptic = panoptic_map(class_ids, kept, spec, 1000)
    assert ((panoptic == 65535) == (kept.instance_map == 0)).all()
    assert sorted(np.unique(panoptic // 1000)[:-1]) == sorted(set(kept.class_ids.tolist()))


def test_what_cannot_be_used_is_counted() -> None:
    boxes, labels, scores, masks = detections(1, 10)
    boxes[0, 2], boxes[1], boxes[2] = np.nan, [5, 5, 5, 20], [1e30, 0, 2e30, 9]
    scores[3], scores[4] = np.nan, 1.5
    labels = labels.astype(np.float32)
    labels[5], labels[6], labels[7] = 0, 99, np.nan
    masks[8] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, _, objects = objects_of_detections(boxes, labels, scores, masks, HW, CLASS_OF)
    assert objects.left_out == {"unusable": 8, "too_many": 0, "hidden": 1} and len(objects) == 1
    few = objects_of_detections(*detections(1, 10), HW, CLASS_OF, at_most=3)[2]
    assert len(few) <= 3 and few.left_out["too_many"] == 7
    assert (few.scores >= np.sort(detections(1, 10)[2])[-3]).all()


def test_boxes_that_leave_the_map() -> None:
    boxes = np.array([[-1e8, -1e8, 1e8, 1e8], [70, 50, 500, 90], [-30, -30, -1, -1]])
    masks, labels = np.ones((3, 28, 28), np.float32), np.array([CAR, PERSON, CAR])
    _, _, objects = objects_of_detections(boxes, labels, np.array([0.5, 0.9, 0.8]), masks, HW)
    assert objects.class_ids.tolist() == [PERSON, CAR]
    assert objects.areas.tolist() == [99, 4701]  # its very corner is half outside
    assert objects.left_out["hidden"] == 1


def test_nothing_found() -> None:
    empty = np.empty((0, 4)), np.empty(0, np.int64), np.empty(0), np.empty((0, 1, 28, 28))
    class_ids, confidence, objects = objects_of_detections(*empty, HW)
    assert len(objects) == 0 and (class_ids == 255).all() and not confidence.any()


@pytest.mark.parametrize("which, shape", [(0, (3, 5)), (0, (4, 4)), (1, (3, 1)), (2, ()), (3, (3, 2, 28, 28)),
                                          (3, (2, 28, 28)), (3, (3, 0, 28))])  # fmt: skip
def test_shapes_that_do_not_fit(which: int, shape: tuple[int, ...]) -> None:
    arrays = [np.zeros((3, 4)), np.zeros(3, int), np.zeros(3), np.zeros((3, 28, 28))]
    arrays[which] = np.zeros(shape)
    with pytest.raises(ModelContractError, match="expected boxes"):
        objects_of_detections(*arrays, HW)
    arrays = [np.zeros((3, 4)), np.array(["a", "b", "c"]), np.zeros(3), np.zeros((3, 28, 28))]
    with pytest.raises(ModelContractError, match="numbers in labels"):
        objects_of_detections(*arrays, HW)
