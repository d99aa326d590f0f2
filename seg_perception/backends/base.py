"""What an inference engine must be able to do."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.types import Heads

__all__ = ["Backend"]


class Backend(Protocol):
    """One loaded model on one engine. Not thread-safe: one thread calls `infer`.

    Attributes:
        labels: what its class ids mean.
        input_hw: height and width of the image it wants, or None if it takes no pixels and answers for
            the whole camera image (recorded masks).
        panoptic_divisor: what its panoptic maps are divided by, unless somebody configures otherwise.
        description: one line for the log: engine, placement, threads, model.
    """

    labels: LabelSet
    input_hw: tuple[int, int] | None
    panoptic_divisor: int
    description: str

    def warm_up(self, runs: int) -> float:
        """Run on an empty image; returns the last run's milliseconds (0.0 for no runs)."""

    def infer(self, image: np.ndarray | None, stamp_ns: int, things: bool = True) -> Heads:
        """One RGB uint8 image `[H, W, 3]` of `input_hw`, C-contiguous, to its heads; BackendError if it fails.

        Without `things` nobody will look at what tells countable things apart, and it need not be computed. The arrays
        returned may be overwritten by the next call.
        """

    def close(self) -> None:
        """Free the engine. Calling it twice does no harm."""
