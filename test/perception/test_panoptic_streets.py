"""Panoptic quality on simulated streets, quiet and crowded: with true heads, with noise, and without heads."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from seg_perception.evaluation.panoptic_quality import PanopticQuality, split_panoptic
from seg_perception.labels import CITYSCAPES
from seg_perception.objects import Objects
from seg_perception.perception.components import components
from seg_perception.perception.object_rows import Groups, objects_of
from seg_perception.perception.panoptic import find_objects, panoptic_map, spec_for
from seg_perception.perception.truth_heads import true_heads
from seg_perception.simulate import StreetScene
from seg_perception.types import Heads

INPUT_HW, MAP_HW = (256, 512), (128, 256)
SMALLEST_PX = 40  # 10 cells of the class map
SPEC = spec_for(CITYSCAPES, min_area=SMALLEST_PX / 4)
THINGS = np.array([label.is_thing for label in CITYSCAPES])
BUSY = {"crowds": 1.0, "tight_parking": True, "crossers": 1.0}


@cache
def frames(busy: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Class ids and instances, as a perfect network would see them: every second pixel of the input."""
    found = []
    for seed in range(6):
        scene = StreetScene(seed, INPUT_HW[1], INPUT_HW[0], rate_hz=1.0, **(BUSY if busy else {}))
        for index in range(0, 40, 8):
            frame = scene.frame(index, shaded=False)
            found.append((np.ascontiguousarray(frame.class_ids[1::2, 1::2]), frame.instance_ids[1::2, 1::2]))
    return found


def plain_components(heads: Heads) -> Objects:
    names, class_ids = components(heads.class_ids, SPEC.is_thing)
    return objects_of(Groups(names, class_ids, np.ones(len(class_ids), np.float32)), None, SPEC, 0)


def quality(busy: bool, smallest_px: float, heads_of, find=lambda heads: find_objects(heads, SPEC)) -> PanopticQuality:
    total = PanopticQuality(THINGS, smallest_px / 4)
    for class_ids, instances in frames(busy):
        objects = find(heads_of(class_ids, instances))
        panoptic = panoptic_map(class_ids, objects, SPEC, 1000)
        total.add(class_ids, instances, *split_panoptic(panoptic, 1000))
    return total


def true(stride: int):
    size = INPUT_HW[0] // stride, INPUT_HW[1] // stride
    return lambda class_ids, instances: Heads(class_ids, None, *true_heads(instances, size))


def noisy(class_ids: np.ndarray, instances: np.ndarray) -> Heads:
    """Blurred, half a cell off, and not sure of the middles."""
    heat, offsets = true_heads(instances, (64, 128))
    rng = np.random.default_rng(int(instances.sum()) % 2**32)
    blurred = np.stack([cv2.blur(part, (3, 3)) for part in offsets])
    offsets = blurred + rng.normal(0, 0.5, offsets.shape)
    heat = cv2.GaussianBlur(heat, (3, 3), 0.7) * 1.2 + rng.normal(0, 0.03, heat.shape)
    return Heads(class_ids, None, np.clip(heat, 0, 1).astype(np.float32), offsets.astype(np.float32))


def semantic(class_ids: np.ndarray, instances: np.ndarray) -> Heads:
    return Heads(class_ids)


@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "busy"])
def test_true_heads_as_fine_as_the_class_map(busy: bool) -> None:
    """All things of at least 40 pixels of the input: nothing is lost by the grouping itself."""
    found = quality(busy, SMALLEST_PX, true(stride=2))
    assert found.matched[THINGS].sum() > (400 if busy else 250)
    assert found.mean_pq(THINGS) >= 0.99


@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "busy"])
def test_true_heads_at_stride_four(busy: bool) -> None:
    """Where two of a class touch, heads know the border to 4 pixels alone: what is large is found as exactly as ever,
    what is smaller is found, but for a pixel or two at such a border."""
    assert quality(busy, 1600, true(stride=4)).mean_pq(THINGS) >= 0.99
    found = quality(busy, 400, true(stride=4))
    assert found.mean_pq(THINGS) >= (0.95 if busy else 0.98)
    assert found.missed[THINGS].sum() == 0 and found.spurious[THINGS].sum() <= 0.01 * found.matched[THINGS].sum()


@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "busy"])
def test_heads_with_noise_are_better_than_none(busy: bool) -> None:
    for smallest_px in (SMALLEST_PX, 400):
        with_noise, without = quality(busy, smallest_px, noisy), quality(busy, smallest_px, semantic)
        car = CITYSCAPES.id_of("car")
        assert with_noise.pq()[car] > without.pq()[car] + 0.1
        assert with_noise.pooled_pq(THINGS) > without.pooled_pq(THINGS) + 0.05


@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "busy"])
def test_splitting_is_better_than_connected_regions(busy: bool) -> None:
    split, regions = quality(busy, SMALLEST_PX, semantic), quality(busy, SMALLEST_PX, semantic, plain_components)
    for name in ("person", "car"):
        class_id = CITYSCAPES.id_of(name)
        assert split.pq()[class_id] > regions.pq()[class_id]
    for name in ("rider", "truck", "bus"):
        class_id = CITYSCAPES.id_of(name)
        assert split.pq()[class_id] >= regions.pq()[class_id] - 0.01
