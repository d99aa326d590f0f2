"""Labelled frames with instance truth, where a data set has none: things that stand alone, laid over each other.

A data set that labels classes alone still shows single things: a connected region that touches no other thing and is
shaped like one. Its instance is known. Cut out and laid over a frame, over others of its kind above all, it gives
touching and half hidden things whose every pixel is known. What is left, a row of parked cars labelled as one region,
is a thing whose instances nobody knows, and is marked so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.datasets.base import Dataset, read_pair
from seg_perception.errors import DatasetError
from seg_perception.labels import CITYSCAPES, VOID_ID

__all__ = [
    "UNKNOWN",
    "InstanceFrame",
    "ThingBank",
    "ThingShape",
    "composite",
    "composite_frames",
    "mark_slivers",
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
_TALLEST, _WIDEST = 0.8, 0.7
"""Of the frame's height and width: what is cut out is no larger."""
_HORIZON = 0.45
"""Of the frame's height, from its top: where a camera that looks ahead has it, roughly."""
_NEAREST_TO_HORIZON = 0.03
_SCALES = (0.35, 3.0)
_TRIES = 8


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
    """Instance map of a labelled frame, uint16 `[H, W]`: whatever stands alone and looks like one thing has a number."""
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
            if alone and _looks_single(mask, shape, (left, top), labels.shape):
                number += 1
                instances[part][mask] = number
    return instances


def _looks_single(mask: np.ndarray, shape: ThingShape, corner: tuple[int, int], frame_hw: tuple[int, ...]) -> bool:
    (height, width), (left, top) = mask.shape, corner
    cut_off = left == 0 or top == 0 or left + width == frame_hw[1] or top + height == frame_hw[0]
    small = height < shape.height_px * frame_hw[0] / 360
    if cut_off or small or not shape.tallness[0] <= height / width <= shape.tallness[1]:
        return False
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(np.concatenate(contours)), 1)
    return bool(np.count_nonzero(mask) >= shape.solidity * np.count_nonzero(hull))


@dataclass(frozen=True)
class _Thing:
    frame: int
    number: int
    label: int
    left: int
    top: int
    width: int
    height: int


class ThingBank:
    """Single things of labelled frames, to lay over others.

    Args:
        frames: their things that have a number, are whole and not too large are taken.
        shapes: by class; what does not look like one is left out, so that halves of hidden things are.
    """

    def __init__(self, frames: Sequence[InstanceFrame], shapes: Mapping[int, ThingShape]) -> None:
        self._frames = frames
        self.by_label: dict[int, list[_Thing]] = {}
        for index, frame in enumerate(frames):
            for thing in _things_of(index, frame, shapes):
                self.by_label.setdefault(thing.label, []).append(thing)

    def draw(self, rng: np.random.Generator, label: int | None = None) -> _Thing:
        """One at random, of a class at random unless it is given: rare ones more often than their number says."""
        if label is None:
            labels = sorted(self.by_label)
            shares = np.sqrt([len(self.by_label[known]) for known in labels])
            label = int(rng.choice(labels, p=shares / shares.sum()))
        return self.by_label[label][int(rng.integers(len(self.by_label[label])))]

    def cut_out(self, thing: _Thing) -> tuple[np.ndarray, np.ndarray]:
        """RGB patch and its mask, bool."""
        frame = self._frames[thing.frame]
        part = np.s_[thing.top : thing.top + thing.height, thing.left : thing.left + thing.width]
        return frame.image[part], frame.instances[part] == thing.number


def _things_of(index: int, frame: InstanceFrame, shapes: Mapping[int, ThingShape]) -> list[_Thing]:
    things = []
    height, width = frame.labels.shape
    for number in np.unique(frame.instances).tolist():
        if number in (0, UNKNOWN):
            continue
        mask = frame.instances == number
        left, top, w, h = cv2.boundingRect(mask.astype(np.uint8))
        label = int(frame.labels[mask][0])
        fits = h < height * _TALLEST and w < width * _WIDEST and label in shapes
        cut = mask[top : top + h, left : left + w]
        if fits and _looks_single(cut, shapes[label], (left, top), frame.labels.shape):
            things.append(_Thing(index, number, label, left, top, w, h))
    return things


def composite(rng: np.random.Generator, bank: ThingBank, frame: InstanceFrame, at_most: int = 10) -> InstanceFrame:
    """The frame with one to `at_most` things of a bank on it, alone, in rows and in groups, far ones first.

    A thing stands where one of its size does: its foot moves with its size about the horizon. What is laid over
    another touches or hides a part of it; no one is laid where instances are unknown.

    Args:
        bank: with something in it; from frames of about this size, with such a camera.
    """
    height, width = frame.labels.shape
    wanted, places = int(rng.integers(1, at_most + 1)), []
    while len(places) < wanted:
        places += _arrangement(rng, bank, height, width)
    laid = _Laid(frame)
    for thing, foot, middle in sorted(places[:wanted], key=lambda place: place[1]):
        for _ in range(_TRIES):
            if laid.lay(rng, bank, thing, foot, middle):
                break
            middle = rng.uniform(0, 1) * width
    return InstanceFrame(laid.image, laid.labels, mark_slivers(laid.instances, laid.whole))


def _arrangement(
    rng: np.random.Generator, bank: ThingBank, height: int, width: int
) -> list[tuple[_Thing, float, float]]:
    """Some things of one class beside each other: (thing, row of its foot, column of its middle)."""
    first = bank.draw(rng)
    foot = (_HORIZON + _NEAREST_TO_HORIZON + rng.beta(1.3, 2.0) * 0.5) * height
    if rng.random() < 0.3:
        foot = first.top + first.height
    middle = rng.uniform(0, 1) * width
    places, side = [(first, foot, middle)], 1 if rng.random() < 0.5 else -1
    spacing = rng.uniform(0.25, 1.05)
    for _ in range(int(rng.choice([0, 1, 2, 3, 4], p=[0.3, 0.25, 0.2, 0.15, 0.1]))):
        previous, row, column = places[-1]
        thing = bank.draw(rng, first.label)
        beside = row + rng.normal(0, 0.015) * height
        room = (_width_at(previous, row, height) + _width_at(thing, beside, height)) / 2
        places.append((thing, beside, column + side * room * spacing * rng.uniform(0.7, 1.2)))
    return places


def _scale_at(thing: _Thing, foot: float, height: int) -> float:
    """How large the thing is when its foot is there, relative to how it was seen."""
    own = max(thing.top + thing.height - _HORIZON * height, _NEAREST_TO_HORIZON * height)
    return float(np.clip((foot - _HORIZON * height) / own, *_SCALES))


def _width_at(thing: _Thing, foot: float, height: int) -> float:
    return thing.width * _scale_at(thing, foot, height)


class _Laid:
    """A frame that things are laid over, one after the other.

    Attributes:
        whole: pixels of every number before anything hid a part of it.
    """

    def __init__(self, frame: InstanceFrame) -> None:
        self.image, self.labels, self.instances = frame.image.copy(), frame.labels.copy(), frame.instances.copy()
        counts = np.bincount(self.instances.ravel(), minlength=UNKNOWN + 1)
        self.whole = {int(number): int(counts[number]) for number in np.flatnonzero(counts[:UNKNOWN]) if number}

    def lay(self, rng: np.random.Generator, bank: ThingBank, thing: _Thing, foot: float, middle: float) -> bool:
        """False, and nothing changed, where it does not fit or would touch what is unknown."""
        height, width = self.labels.shape
        scale = _scale_at(thing, foot, height) * float(np.exp(rng.normal(0, 0.08)))
        size = (max(4, round(thing.width * scale)), max(6, round(thing.height * scale)))
        if size[0] > width * _WIDEST or size[1] > height * _TALLEST:
            return False
        left, top = round(middle - size[0] / 2), round(foot) - size[1]
        x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + size[0]), min(height, top + size[1])
        if x1 - x0 < 4 or y1 - y0 < 4:
            return False
        near = np.s_[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2]
        patch, alpha = _resized(*bank.cut_out(thing), size)
        if rng.random() < 0.5:
            patch, alpha = patch[:, ::-1], alpha[:, ::-1]
        lit = patch.astype(np.float32) * (rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3))
        cut, part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left], np.s_[y0:y1, x0:x1]
        mask = alpha[cut] > 0.5
        reach = np.zeros(self.labels.shape, np.uint8)
        reach[part] = mask
        touched = cv2.dilate(reach[near], np.ones((3, 3), np.uint8)) > 0
        if not mask.any() or (self.instances[near][touched] == UNKNOWN).any():
            return False
        share = alpha[cut][..., None]
        self.image[part] = np.clip(self.image[part] * (1 - share) + lit[cut] * share, 0, 255).astype(np.uint8)
        number = max(self.whole, default=0) + 1
        self.labels[part][mask], self.instances[part][mask] = thing.label, number
        self.whole[number] = int(np.count_nonzero(mask))
        return True


def _resized(patch: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Patch and how much of every pixel is the thing's, 0 to 1, at (width, height)."""
    how = cv2.INTER_AREA if size[0] < mask.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(patch, size, interpolation=how), cv2.resize(mask.astype(np.float32), size, interpolation=how)


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


def composite_frames(dataset: Dataset, count: int, seed: int = 0, at_most: int = 10) -> list[InstanceFrame]:
    """Frames of a data set with its own single things laid over them; the same for the same seed.

    Raises:
        DatasetError: a frame cannot be read, or no thing of the data set stands alone.
    """
    shapes = thing_shapes(dataset.covers)
    frames = []
    for item in dataset.items:
        image, labels = read_pair(item)
        frames.append(InstanceFrame(image, labels, single_things(labels, shapes)))
    bank = ThingBank(frames, shapes)
    if not bank.by_label:
        raise DatasetError(
            f"{dataset.name} {dataset.split}: no car, person or the like stands alone in any of its {len(frames)} "
            "frames; expected some to lay over others"
        )
    rngs = (np.random.default_rng([seed, i]) for i in range(count))
    return [composite(rng, bank, frames[int(rng.integers(len(frames)))], at_most) for rng in rngs]
