"""Training batches: random views of labelled frames, the same for the same seed and step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np

from seg_perception.datasets import Dataset, read_pair
from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES, VOID_ID
from seg_perception.training.augment import AugmentConfig, augment, paste
from seg_perception.training.objects import SCATTERED, STANDS_WITHOUT_RIDER, ObjectBank, scatter

__all__ = ["Batch", "FrameOrder", "Source", "TrainingSet", "label_counts", "made_ahead", "read_source"]

_Made = TypeVar("_Made")

_PREPARED_BATCHES = 3
_RARE_SHARE = 0.03
"""Classes with less of the labelled pixels are rare: crops are chosen for them."""
_COVERED_SHARE = 0.05
"""A cell with more of it covered by a scattered thing is none that the teachers were asked about."""
_PASTED = ("pole", "sign", "fence", "pedestrian", "cyclist", "traffic sign", "traffic light", "person", "rider",
           "bicycle", "motorcycle", "car")  # fmt: skip
"""Classes that are laid over other frames: things, and what is thin."""


def label_counts(labels: np.ndarray, stride: int, classes: int) -> np.ndarray:
    """How many pixels of each class lie in each stride × stride cell, uint8 `[classes, H/stride, W/stride]`."""
    height, width = labels.shape
    cells = labels.reshape(height // stride, stride, width // stride, stride)
    return np.stack([(cells == c).sum((1, 3), dtype=np.uint8) for c in range(classes)])


@dataclass(frozen=True)
class Source:
    """Labelled frames in memory, all of one data set.

    Attributes:
        name: for people.
        share: how many of the frames in a batch, relative to the other sources' shares.
        classes: names of the labels.
        groups: for every label, the Cityscapes train ids that it covers, at least one.
        images: RGB uint8 `[H, W, 3]`.
        labels: uint8 `[H, W]`, an index into `groups`, or 255.
    """

    name: str
    share: int
    classes: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    images: list[np.ndarray]
    labels: list[np.ndarray]

    def frequency(self) -> np.ndarray:
        """Share of each label among the labelled pixels, float `[labels]`, sums to 1."""
        counts = np.zeros(256, np.int64)
        for labels in self.labels:
            counts += np.bincount(labels.ravel(), minlength=256)
        return counts[: len(self.groups)] / max(1, counts[: len(self.groups)].sum())


def read_source(dataset: Dataset, share: int, progress: Callable[[int], None] = lambda done: None) -> Source:
    """Read every frame of a data set.

    Raises:
        DatasetError: names the file that cannot be read, or the class that no Cityscapes class stands for.
    """
    class_of = dataset.class_of(CITYSCAPES)
    groups = [tuple(np.flatnonzero(class_of == c).tolist()) for c in range(len(dataset.classes))]
    kept = [c for c, members in enumerate(groups) if members]  # a label that covers nothing we know is void to us
    index = np.full(256, VOID_ID, np.uint8)
    index[kept] = np.arange(len(kept))
    images, labels = [], []
    for done, item in enumerate(dataset.items, 1):
        image, truth = read_pair(item)
        images.append(image)
        labels.append(index[truth])
        progress(done)
    names = tuple(dataset.classes[c] for c in kept)
    return Source(dataset.name, share, names, tuple(groups[c] for c in kept), images, labels)


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        images: RGB uint8 `[N, H, W, 3]`.
        counts: uint8 `[N, labels, H/stride, W/stride]`; the labels of all sources, one after the other.
        frames: int64 `[N]`: index of the frame, over all sources in order.
        pasted: int64 `[N]`: index of the frame that pieces were taken from, -1 for none.
        paste_masks: bool `[N, *mask_hw]`: which part of the frame is the other's.
        frame_of_view: float32 `[N, 2, 3]`: from view to frame, both in -1 … 1 from edge to edge.
        untaught: bool `[N, *mask_hw]`: which part of the frame no teacher has seen as it is now.
    """

    images: np.ndarray
    counts: np.ndarray
    frames: np.ndarray
    pasted: np.ndarray
    paste_masks: np.ndarray
    frame_of_view: np.ndarray
    untaught: np.ndarray


def _frame_of_view(matrix: np.ndarray, frame_hw: tuple[int, int], view_hw: tuple[int, int]) -> np.ndarray:
    """Pixel-index affine map frame → view, to the inverse in units of half the extent from the middle."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    to_pixels = np.array(
        [[view_hw[1] / 2, 0, view_hw[1] / 2 - 0.5], [0, view_hw[0] / 2, view_hw[0] / 2 - 0.5], [0, 0, 1]]
    )
    from_pixels = np.array(
        [[2 / frame_hw[1], 0, 1 / frame_hw[1] - 1], [0, 2 / frame_hw[0], 1 / frame_hw[0] - 1], [0, 0, 1]]
    )
    return (from_pixels @ inverse @ to_pixels)[:2].astype(np.float32)


class FrameOrder:
    """Which frames a batch is made of, by share of the sources; it depends on the seed and the step alone.

    Args:
        sources: name, share and number of frames of each.

    Raises:
        ConfigError: a source is left without a place.
    """

    def __init__(self, sources: Sequence[tuple[str, int, int]], batch: int, seed: int) -> None:
        self._frames, self._seed = [frames for _, _, frames in sources], seed
        shares = np.array([share for _, share, _ in sources], float)
        exact = shares / shares.sum() * batch
        places = np.floor(exact).astype(int)
        for source in np.argsort(places - exact, kind="stable")[: batch - places.sum()]:
            places[source] += 1
        if not places.all():
            name, share, _ = sources[int(np.argmin(places))]
            raise ConfigError(
                f"schedule.batch: {batch} views leave no place for {name} with a share of "
                f"{share} in {int(shares.sum())}; expected a larger batch or share"
            )
        self._places = places.tolist()

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every frame of the first source was shown once."""
        return self._frames[0] / self._places[0]

    def at(self, step: int) -> list[tuple[int, int]]:
        """Source and frame of every place: every epoch of a source shows each frame once, in an order of its own."""
        orders: dict[tuple[int, int], np.ndarray] = {}
        chosen = []
        for source, (each, frames) in enumerate(zip(self._places, self._frames)):
            for position in range(step * each, (step + 1) * each):
                epoch, within = divmod(position, frames)
                if (source, epoch) not in orders:
                    generator = np.random.default_rng([self._seed, 1, source, epoch])
                    orders[source, epoch] = generator.permutation(frames)
                chosen.append((source, int(orders[source, epoch][within])))
        return chosen


class TrainingSet:
    """Batches of views of the sources' frames.

    A batch depends on the seed and the step alone, so that a resumed run sees what an uninterrupted one
    would have seen.

    Args:
        mask_hw: size of `Batch.paste_masks` and `Batch.untaught`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        size_hw: tuple[int, int],
        batch: int,
        stride: int,
        seed: int,
        augment: AugmentConfig | None = None,
        mask_hw: tuple[int, int] = (96, 128),
    ) -> None:
        self.sources = list(sources)
        self.size_hw, self.batch_size, self.stride, self.seed, self.mask_hw = size_hw, batch, stride, seed, mask_hw
        self.config = augment or AugmentConfig()
        self.groups = [members for source in self.sources for members in source.groups]
        self._first_label = np.cumsum([0, *(len(s.groups) for s in self.sources)])
        self._first_frame = np.cumsum([0, *(len(s.images) for s in self.sources)])
        self._rare, self._pasted = [], []
        for source in self.sources:
            frequency = source.frequency()
            self._rare.append(tuple(np.flatnonzero((frequency > 0) & (frequency < _RARE_SHARE)).tolist()))
            self._pasted.append(tuple(c for c, name in enumerate(source.classes) if name in _PASTED))
        self._banks: list[ObjectBank | None] = []
        for source in self.sources:
            things, ridden = (
                [label for label, name in enumerate(source.classes) if name in names]
                for names in (SCATTERED, STANDS_WITHOUT_RIDER)
            )
            bank = ObjectBank(source.images, source.labels, things, ridden) if self.config.scatter_chance else None
            self._banks.append(bank if bank and bank.by_label else None)
        self._order = FrameOrder([(s.name, s.share, len(s.images)) for s in self.sources], batch, seed)

    @property
    def images(self) -> list[np.ndarray]:
        """Every frame of every source, in the order that `Batch.frames` counts."""
        return [image for source in self.sources for image in source.images]

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every frame of the first source was shown once."""
        return self._order.steps_per_epoch

    def _view(self, step: int, place: int, source_index: int, frame: int) -> tuple[Any, ...]:
        rng = np.random.default_rng([self.seed, 2, step, place])
        source = self.sources[source_index]
        image, labels = source.images[frame], source.labels[frame]
        pasted, mask = -1, np.zeros(self.mask_hw, bool)
        if self._pasted[source_index] and rng.random() < self.config.paste_chance:
            other = int(rng.integers(len(source.images)))
            found = paste(rng, labels, source.labels[other], self._pasted[source_index])
            if found is not None and other != frame:
                image = np.where(found[..., None], source.images[other], image)
                labels = np.where(found, source.labels[other], labels)
                rows = (np.arange(self.mask_hw[0]) * found.shape[0] + found.shape[0] // 2) // self.mask_hw[0]
                columns = (np.arange(self.mask_hw[1]) * found.shape[1] + found.shape[1] // 2) // self.mask_hw[1]
                pasted, mask = int(self._first_frame[source_index]) + other, found[np.ix_(rows, columns)]
        untaught = np.zeros(self.mask_hw, bool)
        bank = self._banks[source_index]
        if bank is not None and rng.random() < self.config.scatter_chance:
            image, labels, covered = scatter(rng, bank, image, labels, self.config.scatter_at_most)
            share = cv2.resize(covered.astype(np.float32), self.mask_hw[::-1], interpolation=cv2.INTER_AREA)
            untaught = share > _COVERED_SHARE
        view, marks, matrix = augment(rng, image, labels, self.size_hw, self.config, self._rare[source_index])
        counts = np.zeros((len(self.groups), *(n // self.stride for n in self.size_hw)), np.uint8)
        first, last = self._first_label[source_index : source_index + 2]
        counts[first:last] = label_counts(marks, self.stride, last - first)
        grid = _frame_of_view(matrix, (labels.shape[0], labels.shape[1]), self.size_hw)
        return view, counts, self._first_frame[source_index] + frame, np.int64(pasted), mask, grid, untaught

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        views = [self._view(step, place, *index) for place, index in enumerate(self._order.at(step))]
        return Batch(*(np.stack(parts) for parts in zip(*views)))

    def batches(self, start: int, stop: int, workers: int = 1) -> Iterator[Batch]:
        """The batches of steps start … stop − 1 in order, see `made_ahead`."""
        return made_ahead(self.batch, start, stop, workers)


def made_ahead(make: Callable[[int], _Made], start: int, stop: int, workers: int = 1) -> Iterator[_Made]:
    """`make` of start … stop − 1 in order, made ahead by as many threads as `workers`.

    An error in a thread is raised here, where its batch is due.
    """
    ahead: queue.Queue[Future[_Made]] = queue.Queue()
    ended = threading.Event()
    with ThreadPoolExecutor(workers, "batches") as pool:

        def order(step: int) -> None:
            if step < stop:
                ahead.put(pool.submit(lambda: None if ended.is_set() else make(step)))  # type: ignore[arg-type, return-value]

        try:
            for step in range(start, min(stop, start + _PREPARED_BATCHES + workers - 1)):
                order(step)
            for step in range(start, stop):
                ready = ahead.get().result()
                order(step + _PREPARED_BATCHES + workers - 1)
                yield ready
        finally:
            ended.set()
