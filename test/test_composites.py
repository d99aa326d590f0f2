"""Composites: what is known of the things in them is true, and what nobody knows is told as unknown."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_perception.datasets import camvid_items, camvid_of_items, open_dataset
from seg_perception.datasets.composites import ThingBank, composite, composite_frames
from seg_perception.datasets.instances import UNKNOWN, InstanceFrame, mark_slivers, single_things, thing_shapes
from seg_perception.errors import DatasetError

CAMVID = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "camvid"
ROAD, CAR, PEDESTRIAN, CYCLIST = 3, 8, 9, 10
SHAPES = thing_shapes(camvid_of_items(()).covers)


def street(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Labels 360×480 of road with filled boxes of (label, left, top, width, height)."""
    labels = np.full((360, 480), ROAD, np.uint8)
    for label, left, top, width, height in boxes:
        labels[top : top + height, left : left + width] = label
    return labels


def test_things_are_the_countable_classes() -> None:
    assert sorted(SHAPES) == [CAR, PEDESTRIAN, CYCLIST]
    assert thing_shapes([("road",), ("truck", "bus"), ("sky", "person")]).keys() == {1, 2}


@pytest.mark.parametrize(
    ("boxes", "known"),
    [
        ([(CAR, 100, 200, 60, 45)], [True]),
        ([(PEDESTRIAN, 100, 180, 20, 60)], [True]),
        ([(PEDESTRIAN, 100, 180, 50, 60)], [False]),  # several beside each other, most likely
        ([(CAR, 100, 200, 200, 45)], [False]),  # a row of parked cars
        ([(CAR, 0, 200, 60, 45)], [False]),  # cut off by the frame
        ([(CAR, 100, 200, 10, 7)], [False]),  # too small to tell
        ([(CAR, 100, 200, 60, 45), (PEDESTRIAN, 160, 180, 20, 60)], [False, False]),  # they touch
        ([(CAR, 100, 200, 60, 45), (PEDESTRIAN, 162, 180, 20, 60)], [False, False]),  # nearly
        ([(CAR, 100, 200, 60, 45), (PEDESTRIAN, 175, 180, 20, 60)], [True, True]),
    ],
)
def test_what_stands_alone_and_looks_like_one_is_known(boxes, known) -> None:
    instances = single_things(street(*boxes), SHAPES)
    for (_, left, top, width, height), is_known in zip(boxes, known):
        seen = np.unique(instances[top : top + height, left : left + width])
        assert len(seen) == 1 and (0 < seen[0] < UNKNOWN) == is_known
    assert not instances[street(*boxes) == ROAD].any()
    numbers = np.unique(instances[(instances > 0) & (instances < UNKNOWN)])
    assert len(numbers) == sum(known)


def test_a_shape_with_arms_is_no_car() -> None:
    labels = street((CAR, 100, 200, 60, 12), (CAR, 100, 200, 12, 50))
    assert np.unique(single_things(labels, SHAPES)[labels == CAR]).tolist() == [UNKNOWN]


def frame_of(labels: np.ndarray, rng: np.random.Generator) -> InstanceFrame:
    image = rng.integers(0, 256, (*labels.shape, 3)).astype(np.uint8)
    return InstanceFrame(image, labels, single_things(labels, SHAPES))


@pytest.fixture
def frames() -> list[InstanceFrame]:
    rng = np.random.default_rng(0)
    boxes = ([(CAR, 100, 200, 80, 60)], [(PEDESTRIAN, 300, 190, 22, 66)], [(CYCLIST, 200, 180, 40, 70)])
    return [frame_of(street(*box, (CAR, 350, 240, 129, 50)), rng) for box in boxes]


def check(before: InstanceFrame, after: InstanceFrame) -> int:
    """What must hold of every composite; returns how many things are known in it."""
    assert after.image.dtype == np.uint8 and after.labels.dtype == np.uint8 and after.instances.dtype == np.uint16
    numbers = [n for n in np.unique(after.instances).tolist() if n not in (0, UNKNOWN)]
    for number in numbers:
        classes = np.unique(after.labels[after.instances == number])
        assert len(classes) == 1 and classes[0] in SHAPES
    assert np.isin(after.labels[after.instances > 0], list(SHAPES)).all()
    assert not np.isin(after.labels[after.instances == 0], list(SHAPES)).any()
    # What was unknown is as it was: nothing is laid over it, and nothing touches it.
    unknown = before.instances == UNKNOWN
    assert (after.instances[unknown] == UNKNOWN).all()
    np.testing.assert_array_equal(after.labels[unknown], before.labels[unknown])
    beside = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    laid = (after.instances != before.instances) & (after.instances > 0)
    assert not (laid & beside & (after.instances != UNKNOWN)).any()
    return len(numbers)


def test_the_truth_of_composites_is_true(frames) -> None:
    bank = ThingBank(frames, SHAPES)
    assert {label: len(things) for label, things in bank.by_label.items()} == {CAR: 1, PEDESTRIAN: 1, CYCLIST: 1}
    most = 0
    for seed in range(40):
        before = frames[seed % 3]
        kept = [array.copy() for array in vars(before).values()]
        after = composite(np.random.default_rng(seed), bank, before)
        most = max(most, check(before, after))
        for array, copied in zip(vars(before).values(), kept):
            np.testing.assert_array_equal(array, copied)  # the frame itself is left alone
    assert most >= 6


def test_composites_have_things_that_touch_and_hide_each_other(frames) -> None:
    bank = ThingBank(frames, SHAPES)
    touching = 0
    for seed in range(30):
        own = composite(np.random.default_rng(seed), bank, frames[0]).instances
        for a, b in ((own[:, 1:], own[:, :-1]), (own[1:], own[:-1])):
            touching += int(((a != b) & (a > 0) & (b > 0) & (a != UNKNOWN) & (b != UNKNOWN)).any())
    assert touching >= 15


def test_slivers_are_unknown() -> None:
    instances = np.zeros((20, 40), np.uint16)
    instances[:, :10], instances[:5, 20], instances[0:5, 30:35] = 3, 4, 5
    marked = mark_slivers(instances, {3: 200, 5: 1000})
    assert (marked[instances == 3] == 3).all()
    assert (marked[instances == 4] == UNKNOWN).all()  # 5 pixels
    assert (marked[instances == 5] == UNKNOWN).all()  # a fortieth of it
    assert (marked[instances == 0] == 0).all()
    assert (mark_slivers(instances)[instances == 5] == 5).all()


def test_a_data_set_without_a_single_thing_is_refused(tmp_path) -> None:
    for folder, picture in (("val", np.zeros((90, 120, 3), np.uint8)), ("valannot", np.zeros((90, 120), np.uint8))):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a_0.png"), picture)
    with pytest.raises(DatasetError, match="no car, person or the like stands alone in any of its 1 frames"):
        composite_frames(open_dataset(tmp_path, "val"), 2)


def test_composites_of_camvid_are_the_same_for_the_same_seed() -> None:
    if not CAMVID.is_dir():
        pytest.skip(f"needs CamVid in {CAMVID}")
    dataset = camvid_of_items(camvid_items(CAMVID, "val")[::8], "val")
    one, again, other = (composite_frames(dataset, 6, seed) for seed in (1, 1, 2))
    for a, b in zip(one, again):
        for x, y in zip(vars(a).values(), vars(b).values()):
            np.testing.assert_array_equal(x, y)
    assert any((a.instances != b.instances).any() for a, b in zip(one, other))
    for frame in one:
        check(InstanceFrame(frame.image, frame.labels, np.zeros_like(frame.instances)), frame)
    assert one[:3][2].image.shape == (360, 480, 3)
