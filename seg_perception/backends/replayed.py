"""Answers from recorded or true masks, looked up by the frame's stamp: for tests and for judging everything
that comes after the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from seg_perception.errors import BackendError, ConfigError
from seg_perception.labels import CITYSCAPES, LabelSet
from seg_perception.model.bundle import PANOPTIC_DIVISOR
from seg_perception.types import Heads

__all__ = ["ReplayedBackend"]


class ReplayedBackend:
    """Masks by stamp; each covers the whole camera image, at whatever size it has.

    Args:
        masks: stamp_ns to a uint8 class id mask `[h, w]`, to a whole answer, or to a function that reads a mask.
        labels: what the ids mean.
    """

    def __init__(
        self, masks: Mapping[int, np.ndarray | Heads | Callable[[], np.ndarray]], labels: LabelSet = CITYSCAPES
    ) -> None:
        self._masks, self.labels = masks, labels
        self.input_hw: tuple[int, int] | None = None
        self.panoptic_divisor = PANOPTIC_DIVISOR
        self.description = f"replayed, {len(masks)} masks by stamp, labels {labels.name}"

    @classmethod
    def from_folder(cls, folder: str) -> ReplayedBackend:
        """Masks from `<stamp_ns>.png` files, single-channel 8-bit.

        Raises:
            ConfigError: no folder was given, or there is no such file in it.
        """
        if not folder:
            raise ConfigError(
                "replay_masks: expected a folder of <stamp_ns>.png masks for backend replayed, got nothing"
            )
        paths = {int(path.stem): path for path in Path(folder).glob("*.png") if path.stem.isdigit()}
        if not paths:
            raise ConfigError(f"replay_masks: no <stamp_ns>.png in {folder!r}")
        return cls({stamp_ns: partial(_read_mask, path) for stamp_ns, path in paths.items()})

    def warm_up(self, runs: int) -> float:
        return 0.0

    def infer(self, image: np.ndarray | None, stamp_ns: int, things: bool = True) -> Heads:
        mask = self._masks.get(stamp_ns)
        if mask is None:
            raise BackendError(f"no recorded mask for stamp {stamp_ns} ns; there are {len(self._masks)} others")
        if isinstance(mask, Heads):
            return mask
        ids = mask() if callable(mask) else mask
        return Heads(ids, np.full((1, 1), 255, np.uint8))

    def close(self) -> None:
        self._masks = {}


def _read_mask(path: Path) -> np.ndarray:
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
        got = "unreadable" if mask is None else f"{mask.dtype} {mask.shape}"
        raise BackendError(f"{path}: expected a single-channel 8-bit PNG, got {got}")
    return mask
