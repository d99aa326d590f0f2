"""Which pixels are which thing, in frames whose labels tell classes alone.

Such a frame still shows single things: a connected region that touches no other thing and is shaped like one. Its
instance is known. What is left, a row of parked cars labelled as one region, is marked as unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.datasets.base import Dataset, read_pair
from seg_perception.labels import CITYSCAPES

__all__ = [
    "UNKNOWN",
    "InstanceFrame",
    "ThingShape",
    "looks_single",
    "mark_slivers",
    "read_instance_frames",
    "single_things",
    "thing_shapes",
]

UNKNOWN = 65535
"""In an instance map: a thing, or several; which pixels belong together is not known."""

_SMALLEST_PX = 20
_LEAST_SEEN = 0.12
"""A thing of which fewer pixels than this, or a smaller part of it, can be seen counts as unknown."""
_GAP_PX = 4
"""Two things that are nearer to each other may be one that a post divides."""


@dataclass(frozen=True)
class ThingShape:
    """What a connected region must look like to be one thing.

    Attributes:
        tallness: range of height over width.
        solidity: least share of its convex hull that it fills.
        height_px: least height, in a frame that is 360 pixels high.
    """

    tallness: tuple[float, float]
    solidity: float
    height_px: int


_UPRIGHT = ThingShape((2.2, 4.5), 0.62, 20)
_VEHICLE = ThingShape((0.5, 1.3), 0.88, 12)
_CYCLE = ThingShape((0.6, 3.0), 0.55, 16)
_SHAPES = {
    "person": _UPRIGHT, "rider": _CYCLE, "bicycle": _CYCLE, "motorcycle": _CYCLE,
    "car": _VEHICLE, "truck": _VEHICLE, "bus": _VEHICLE, "train": _VEHICLE,
}  # fmt: skip


@dataclass(frozen=True)
class InstanceFrame:
    """A picture, and which pixels are which thing.

    Attributes:
        image: RGB uint8 `[H, W, 3]`.
        labels: uint8 `[H, W]`, the data set's classes, 255 where void.
        instances: uint16 `[H, W]`: 0 where there is no thing, `UNKNOWN`, or a number; its pixels have one class.
    """

    image: np.ndarray
    labels: np.ndarray
    instances: np.ndarray


def thing_shapes(covers: Iterable[Sequence[str]]) -> dict[int, ThingShape]:
    """The classes that are things, by what they cover (`Dataset.covers`), and what a single one looks like."""
    things = {label.name for label in CITYSCAPES if label.is_thing}
    named = ((i, next((name for name in covered if name in things), "")) for i, covered in enumerate(covers))
    return {i: _SHAPES[name] for i, name in named if name}


def single_things(labels: np.ndarray, shapes: Mapping[int, ThingShape]) -> np.ndarray:
    """Instance map of a labelled frame, uint16 `[H, W]`: what stands alone and looks like one has a number."""
    instances = np.where(np.isin(labels, list(shapes)), UNKNOWN, 0).astype(np.uint16)
    apart = cv2.dilate((instances > 0).astype(np.uint8), np.ones((_GAP_PX + 1, _GAP_PX + 1), np.uint8))
    clusters = cv2.connectedComponents(apart, connectivity=8)[1]
    number = 0
    for label, shape in shapes.items():
        count, regions, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
        for region, (left, top, width, height, area) in enumerate(stats[1:count].tolist(), 1):
            part = np.s_[top : top + height, left : left + width]
            mask = regions[part] == region
            cluster = clusters[part][mask][0]
            alone = np.count_nonzero((clusters == cluster) & (instances > 0)) == area
            if alone and looks_single(mask, shape, (left, top), labels.shape):
                number += 1
                instances[part][mask] = number
    return instances


def looks_single(mask: np.ndarray, shape: ThingShape, corner: tuple[int, int], frame_hw: tuple[int, ...]) -> bool:
    """Whether a region is whole and shaped like one thing.

    Args:
        mask: bool `[h, w]`, tight about the region.
        corner: (left, top) of the mask in its frame.
    """
    (height, width), (left, top) = mask.shape, corner
    cut_off = left == 0 or top == 0 or left + width == frame_hw[1] or top + height == frame_hw[0]
    small = height < shape.height_px * frame_hw[0] / 360
    if cut_off or small or not shape.tallness[0] <= height / width <= shape.tallness[1]:
        return False
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(np.concatenate(contours)), 1)
    return bool(np.count_nonzero(mask) >= shape.solidity * np.count_nonzero(hull))


def mark_slivers(instances: np.ndarray, whole: Mapping[int, int] | None = None) -> np.ndarray:
    """The instance map with things of which next to nothing is seen marked as unknown; a copy.

    Args:
        whole: pixels of every number as it was before others hid it.
    """
    counts = np.bincount(instances.ravel(), minlength=UNKNOWN + 1)
    table = np.arange(UNKNOWN + 1).astype(np.uint16)
    for number in np.flatnonzero(counts[1:UNKNOWN]) + 1:
        least = max(_SMALLEST_PX, _LEAST_SEEN * (whole or {}).get(int(number), 0))
        if counts[number] < least:
            table[number] = UNKNOWN
    marked: np.ndarray = table[instances]
    return marked


def read_instance_frames(dataset: Dataset) -> list[InstanceFrame]:
    """Every frame of a data set with what is known of its instances.

    Raises:
        DatasetError: a frame cannot be read.
    """
    shapes = thing_shapes(dataset.covers)
    pairs = (read_pair(item) for item in dataset.items)
    return [InstanceFrame(image, labels, single_things(labels, shapes)) for image, labels in pairs]
