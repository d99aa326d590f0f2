"""Things found in frames whose things are known: with a model's heads, and with what a class map alone says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from seg_perception.backends.base import Backend
from seg_perception.datasets import Dataset
from seg_perception.datasets.composites import UNKNOWN, composite_frames
from seg_perception.encounters import ThingRules
from seg_perception.evaluation.heads import HeadErrors
from seg_perception.evaluation.panoptic_quality import PanopticQuality
from seg_perception.fit import Fit
from seg_perception.labels import CITYSCAPES, VOID_ID, LabelSet
from seg_perception.perception.cells import resampled
from seg_perception.simulate import StreetScene
from seg_perception.types import Heads

__all__ = ["InstanceJudge", "KnownFrame", "composites_of", "simulated_frames"]


@dataclass(frozen=True)
class KnownFrame:
    """A picture and its things.

    Attributes:
        rgb: uint8 `[H, W, 3]`.
        class_ids: uint8 `[H, W]`, the truth's own classes; 255 where nobody knows, or which things they are.
        instances: uint16 `[H, W]`, 0 where there is none.
    """

    rgb: np.ndarray
    class_ids: np.ndarray
    instances: np.ndarray


def simulated_frames(
    seeds: Iterable[int], indices: Sequence[int], size_hw: tuple[int, int] = (256, 512), **scene: float
) -> Iterator[KnownFrame]:
    """Frames of simulated streets, classes of Cityscapes; `scene` are further arguments of `StreetScene`."""
    for seed in seeds:
        street = StreetScene(seed, size_hw[1], size_hw[0], **scene)  # type: ignore[arg-type]
        for index in indices:
            frame = street.frame(index)
            yield KnownFrame(frame.rgb, frame.class_ids, frame.instance_ids)


def composites_of(dataset: Dataset, count: int, seed: int) -> Iterator[KnownFrame]:
    """Frames of a data set with its single things laid over each other, classes of the data set."""
    for frame in composite_frames(dataset, count, seed):
        unknown = frame.instances == UNKNOWN
        yield KnownFrame(frame.image, np.where(unknown, VOID_ID, frame.labels), np.where(unknown, 0, frame.instances))


class InstanceJudge:
    """A model on frames with known things, judged at the size of its class map.

    Args:
        backend: with a model's input.
        rules: what counts as an object.
        class_of: uint8 `[256]`, the truth's class of each of the model's class ids, 255 for none.
        is_thing: bool `[classes of the truth]`.
        least_px: of which areas on to judge true things, pixels of the model's input.

    Attributes:
        grouped: quality of what centres and offsets say, by least area; empty as long as no frame had any.
        split: the same of what the class map alone says.
        errors: of the heads.
    """

    def __init__(
        self,
        backend: Backend,
        rules: ThingRules,
        class_of: np.ndarray,
        is_thing: np.ndarray,
        least_px: Sequence[float] = (40.0, 400.0, 1600.0),
    ) -> None:
        self._backend, self._rules, self._class_of = backend, rules, class_of
        assert backend.input_hw is not None
        self._input_hw = backend.input_hw
        self._is_thing, self._least_px = is_thing, least_px
        self.grouped: dict[float, PanopticQuality] = {}
        self.split: dict[float, PanopticQuality] = {}
        self.errors = HeadErrors()

    def add(self, frame: KnownFrame) -> None:
        """Look at one frame."""
        picture = cv2.resize(frame.rgb, self._input_hw[::-1], interpolation=cv2.INTER_LINEAR)
        heads = self._backend.infer(np.ascontiguousarray(picture), 0)
        truth = resampled(frame.class_ids, heads.class_ids.shape), resampled(frame.instances, heads.class_ids.shape)
        if heads.centers is not None and heads.offsets is not None:
            self._judge(self.grouped, heads, *truth)
            self.errors.add(heads.centers, heads.offsets, truth[1], self._class_of[heads.class_ids] == truth[0])
        self._judge(self.split, replace(heads, centers=None, offsets=None), *truth)

    def _judge(
        self, qualities: dict[float, PanopticQuality], heads: Heads, class_ids: np.ndarray, instances: np.ndarray
    ) -> None:
        fit = Fit(self._input_hw, self._input_hw, "stretch", 0.5, self._input_hw)
        found = self._rules.find(heads, fit)
        own = found.instance_map
        said = np.where(own > 0, np.append(np.uint8(VOID_ID), found.class_ids)[own], heads.class_ids)
        cells_per_px = heads.class_ids.size / (self._input_hw[0] * self._input_hw[1])
        for least_px in self._least_px:
            quality = qualities.setdefault(least_px, PanopticQuality(self._is_thing, least_px * cells_per_px))
            quality.add(class_ids, instances, self._class_of[said], own)


def things_of(labels: LabelSet = CITYSCAPES) -> np.ndarray:
    """Bool `[classes]`."""
    return np.array([label.is_thing for label in labels])
