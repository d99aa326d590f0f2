"""Labelled frames with instance truth, where a data set has none: single things laid over each other.

A thing that stands alone (`instances`), cut out and laid over a frame, over others of its kind above all, gives
touching and half hidden things whose every pixel is known (Dwibedi, Misra, Hebert: Cut, Paste and Learn, ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.datasets.base import Dataset
from seg_perception.datasets.instances import (
    UNKNOWN,
    InstanceFrame,
    ThingShape,
    looks_single,
    mark_slivers,
    read_instance_frames,
    thing_shapes,
)
from seg_perception.datasets.pasting import blend, overlap, resized
from seg_perception.errors import DatasetError

__all__ = ["UNKNOWN", "InstanceFrame", "ThingBank", "composite", "composite_frames"]

_TALLEST, _WIDEST = 0.8, 0.7
"""Of the frame's height and width: what is cut out is no larger."""
_HORIZON = 0.45
"""Of the frame's height, from its top: where a camera that looks ahead has it, roughly."""
_NEAREST_TO_HORIZON = 0.03
_SCALES = (0.35, 3.0)
_TRIES = 8


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
        if fits and looks_single(cut, shapes[label], (left, top), frame.labels.shape):
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
    wanted = int(rng.integers(1, at_most + 1))
    places: list[tuple[_Thing, float, float]] = []
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
        seen = overlap((left, top), size, self.labels.shape, 4)
        if seen is None:
            return False
        patch, alpha = resized(*bank.cut_out(thing), size, scale < 1)
        if rng.random() < 0.5:
            patch, alpha = patch[:, ::-1], alpha[:, ::-1]
        lit = patch.astype(np.float32) * (rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3))
        part, cut = seen
        mask = alpha[cut] > 0.5
        if not mask.any() or self._touches_unknown(part, mask):
            return False
        blend(self.image[part], lit[cut], alpha[cut])
        number = max(self.whole, default=0) + 1
        self.labels[part][mask], self.instances[part][mask] = thing.label, number
        self.whole[number] = int(np.count_nonzero(mask))
        return True

    def _touches_unknown(self, part: tuple[slice, slice], mask: np.ndarray) -> bool:
        grown = cv2.dilate(np.pad(mask.astype(np.uint8), 1), np.ones((3, 3), np.uint8)) > 0
        rows, columns = (slice(max(0, axis.start - 1), axis.stop + 1) for axis in part)
        near = self.instances[rows, columns]
        inside = grown[rows.start - part[0].start + 1 :, columns.start - part[1].start + 1 :]
        return bool((near[inside[: near.shape[0], : near.shape[1]]] == UNKNOWN).any())


def composite_frames(dataset: Dataset, count: int, seed: int = 0, at_most: int = 10) -> list[InstanceFrame]:
    """Frames of a data set with its own single things laid over them; the same for the same seed.

    Raises:
        DatasetError: a frame cannot be read, or no thing of the data set stands alone.
    """
    frames = read_instance_frames(dataset)
    bank = ThingBank(frames, thing_shapes(dataset.covers))
    if not bank.by_label:
        raise DatasetError(
            f"{dataset.name} {dataset.split}: no car, person or the like stands alone in any of its {len(frames)} "
            "frames; expected some to lay over others"
        )
    rngs = (np.random.default_rng([seed, i]) for i in range(count))
    return [composite(rng, bank, frames[int(rng.integers(len(frames)))], at_most) for rng in rngs]
