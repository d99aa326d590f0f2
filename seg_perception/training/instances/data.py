"""What the branch learns from: views of frames whose things are known, with centres and offsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.datasets import Dataset
from seg_perception.datasets.composites import ThingBank, composite
from seg_perception.datasets.instances import (
    UNKNOWN,
    InstanceFrame,
    mark_slivers,
    read_instance_frames,
    thing_shapes,
)
from seg_perception.labels import CITYSCAPES, VOID_ID
from seg_perception.perception.truth_heads import true_heads
from seg_perception.training.augment import AugmentConfig, augment
from seg_perception.training.config import DataConfig, TrainConfig
from seg_perception.training.data import FrameOrder
from seg_perception.training.sources import SIMULATED, open_data, simulated_frames

__all__ = ["InstanceBatch", "InstanceSet", "InstanceSource", "Targets", "open_instance_sources", "targets_of"]

HEAD_STRIDE = 4


@dataclass(frozen=True)
class Targets:
    """What the branch should answer for one view, and where that is known.

    Attributes:
        centers: float32 `[h, w]`.
        offsets: float32 `[2, h, w]`, cells.
        center_known: float32 `[h, w]`: 1, or 0 where a cell holds or borders on a thing whose instance is not known,
            or nothing is known at all.
        offset_weight: float32 `[h, w]`: one over the root of the thing's area in cells; 0 off the known things.
    """

    centers: np.ndarray
    offsets: np.ndarray
    center_known: np.ndarray
    offset_weight: np.ndarray


def targets_of(instances: np.ndarray, void: np.ndarray, heads_hw: tuple[int, int]) -> Targets:
    """Targets of a view.

    Args:
        instances: uint16 `[H, W]`, see `InstanceFrame`.
        void: bool `[H, W]`: nobody knows what is there.
        heads_hw: `[H, W]` over a whole number.
    """
    factor = instances.shape[0] // heads_hw[0]
    known = np.where(instances == UNKNOWN, 0, instances)
    centers, offsets = true_heads(known, heads_hw)
    own = known[factor // 2 :: factor, factor // 2 :: factor]
    hidden = ((instances == UNKNOWN) | void).reshape(heads_hw[0], factor, heads_hw[1], factor).any((1, 3))
    unclear = cv2.dilate(hidden.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    center_known = (~unclear | (own > 0)).astype(np.float32)
    numbers, dense, areas = np.unique(own, return_inverse=True, return_counts=True)
    weight = np.where(numbers > 0, 1 / np.sqrt(areas), 0).astype(np.float32)
    return Targets(centers, offsets, center_known, weight[dense.reshape(own.shape)])


@dataclass(frozen=True)
class InstanceSource:
    """Frames of one data set with what is known of their instances.

    Attributes:
        name: for people.
        share: how many of the frames in a batch, relative to the other sources' shares.
        frames: in memory.
        bank: of things to lay over them.
        composite_chance: how often that is done.
        things: their classes.
    """

    name: str
    share: int
    frames: list[InstanceFrame]
    bank: ThingBank
    composite_chance: float
    things: tuple[int, ...]


def _recorded(dataset: Dataset, share: int, chance: float) -> InstanceSource:
    shapes, frames = thing_shapes(dataset.covers), read_instance_frames(dataset)
    return InstanceSource(dataset.name, share, frames, ThingBank(frames, shapes), chance, tuple(shapes))


def _simulated(entry: DataConfig, chance: float, say: Callable[[str], None]) -> InstanceSource:
    shapes = thing_shapes([(label.name,) for label in CITYSCAPES])
    frames = [
        InstanceFrame(frame.rgb, frame.class_ids, mark_slivers(frame.instance_ids))
        for frame in simulated_frames(entry, say)
    ]
    return InstanceSource(SIMULATED, entry.share, frames, ThingBank(frames, shapes), chance, tuple(shapes))


def open_instance_sources(config: TrainConfig, say: Callable[[str], None]) -> list[InstanceSource]:
    """Every data set of a configuration, read, with instances as far as they are known.

    Raises:
        DatasetError: a frame cannot be read; it is named.
    """
    recorded, simulated = config.instances.composite_chance
    sources = []
    for entry in config.data:
        if entry.dataset == SIMULATED:
            sources.append(_simulated(entry, simulated, say))
            continue
        dataset = open_data(entry)
        say(f"reading {len(dataset.items)} frames of {dataset.name} {dataset.split}")
        sources.append(_recorded(dataset, entry.share, recorded))
        counts = {dataset.classes[label]: len(things) for label, things in sources[-1].bank.by_label.items()}
        say("  standing alone: " + (", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"))
    return sources


@dataclass(frozen=True)
class InstanceBatch:
    """What one step learns from: `[N, ...]` of what `Targets` has, and images, RGB uint8 `[N, H, W, 3]`."""

    images: np.ndarray
    centers: np.ndarray
    offsets: np.ndarray
    center_known: np.ndarray
    offset_weight: np.ndarray


class InstanceSet:
    """Batches of views of the sources' frames; a batch depends on the seed and the step alone."""

    def __init__(
        self,
        sources: Sequence[InstanceSource],
        size_hw: tuple[int, int],
        batch: int,
        seed: int,
        augment: AugmentConfig,
        at_most: int,
    ) -> None:
        self.sources, self.size_hw, self.seed = list(sources), size_hw, seed
        self._augment, self._at_most = augment, at_most
        self._order = FrameOrder([(s.name, s.share, len(s.frames)) for s in self.sources], batch, seed)

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every frame of the first source was shown once."""
        return self._order.steps_per_epoch

    def _view(self, step: int, place: int, source_index: int, index: int) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng([self.seed, 3, step, place])
        source = self.sources[source_index]
        frame = source.frames[index]
        if source.bank.by_label and rng.random() < source.composite_chance:
            frame = composite(rng, source.bank, frame, self._at_most)
        view, labels, matrix = augment(rng, frame.image, frame.labels, self.size_hw, self._augment, source.things)
        instances = cv2.warpAffine(frame.instances, matrix, self.size_hw[::-1], flags=cv2.INTER_NEAREST)
        heads_hw = (self.size_hw[0] // HEAD_STRIDE, self.size_hw[1] // HEAD_STRIDE)
        targets = targets_of(mark_slivers(instances), labels == VOID_ID, heads_hw)
        return view, targets.centers, targets.offsets, targets.center_known, targets.offset_weight

    def batch(self, step: int) -> InstanceBatch:
        """The batch of one step."""
        views = [self._view(step, place, *index) for place, index in enumerate(self._order.at(step))]
        return InstanceBatch(*(np.stack(parts) for parts in zip(*views)))
