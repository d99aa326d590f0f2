"""Is a model right as often as it says? Confidence against correctness, pixel by pixel.

The expected calibration error is that of Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks,
ICML 2017: bins ((m - 1) / M, m / M] of the confidence; the mean of |accuracy - confidence| over the bins, weighted
by their pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seg_perception.labels import VOID_ID

__all__ = ["BINS", "CalibrationCounts", "ReliabilityBins"]

BINS = 15
_LEVELS = 256


@dataclass(frozen=True)
class ReliabilityBins:
    """A reliability diagram's data.

    Attributes:
        count: int64 `[bins]`, pixels.
        accuracy, confidence: float `[bins]`, means from 0 to 1; NaN in an empty bin.
    """

    count: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1; NaN without a pixel."""
        if not self.count.any():
            return float("nan")
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gaps * self.count) / self.count.sum())

    def to_json(self) -> list[dict[str, Any]]:
        """One entry for each bin; null for the means of an empty one."""
        edges = np.linspace(0, 1, len(self.count) + 1)
        return [
            {
                "from": round(float(edges[i]), 4),
                "to": round(float(edges[i + 1]), 4),
                "pixels": int(n),
                "accuracy": round(float(self.accuracy[i]), 5) if n else None,
                "confidence": round(float(self.confidence[i]), 5) if n else None,
            }
            for i, n in enumerate(self.count)
        ]


class CalibrationCounts:
    """Pixels by predicted class and by confidence, as it is published: 0 to 255.

    Args:
        classes: how many there are.

    Attributes:
        count, hits: int64 `[classes + 1, 256]`: how many pixels were called so with that confidence, and for how
            many it was right. The last row is of predictions that are no class.
    """

    def __init__(self, classes: int) -> None:
        self.count, self.hits = (np.zeros((classes + 1, _LEVELS), np.int64) for _ in range(2))

    def add(self, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> None:
        """One frame: uint8 `[H, W]` each; pixels whose truth is void do not count."""
        labelled = truth != VOID_ID
        rows = np.minimum(predicted[labelled], len(self.count) - 1).astype(np.intp)
        cells = rows * _LEVELS + confidence[labelled]
        self.count += self._sum(cells)
        self.hits += self._sum(cells[truth[labelled] == rows])

    def reliability(self, bins: int = BINS, class_id: int | None = None) -> ReliabilityBins:
        """The reliability diagram's data, of everything or of what was called one class."""
        which = slice(None) if class_id is None else slice(class_id, class_id + 1)
        count, hits = self.count[which].sum(0), self.hits[which].sum(0)
        level = np.arange(_LEVELS)
        # ceil(level / 255 · bins) - 1 in integers, so that a level on an edge is never on the wrong side of it.
        bin_of = np.maximum((level * bins + 254) // 255 - 1, 0)
        n, right, said = (
            np.bincount(bin_of, weights=values, minlength=bins) for values in (count, hits, count * level / 255)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            return ReliabilityBins(n.astype(np.int64), np.where(n > 0, right / n, np.nan), said / n)

    def accuracy_and_confidence(self) -> tuple[np.ndarray, np.ndarray]:
        """How often a class is right where it is predicted, and how sure: float `[classes]` each, NaN if never."""
        count = self.count[:-1].sum(1)
        said = (self.count[:-1] * np.arange(_LEVELS)).sum(1) / 255
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.hits[:-1].sum(1) / count, said / count

    def _sum(self, cells: np.ndarray) -> np.ndarray:
        return np.bincount(cells, minlength=self.count.size).reshape(self.count.shape)
