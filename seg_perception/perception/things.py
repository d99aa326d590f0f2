"""What can be tracked of a frame, and all that is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seg_perception.perception.silhouettes import Silhouettes
from seg_perception.perception.tracker_spec import TrackerSpec

__all__ = ["Things"]

_LARGEST_PX, _LARGEST_M2 = 1e6, 1e8


@dataclass(frozen=True)
class Things:
    """n things, a column or row each.

    Attributes:
        rows: intp `[n]`, which of the frame's objects they are.
        boxes: float64 `[4, n]`: x min, y min, x max, y max.
        classes: intp `[n]`, 0 to 255.
        placed: intp `[k]`, which of them have a place.
        place_of: intp `[n]`, the row of `places` of each, or −1.
        places: float64 `[k, 2]`.
        noise: float64 `[k, 2, 2]`.
        shapes: of all objects of the frame; None: they are not known.
        drift_px: as in `Tracker.update`.
    """

    rows: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    placed: np.ndarray
    place_of: np.ndarray
    places: np.ndarray
    noise: np.ndarray
    shapes: Silhouettes | None
    drift_px: Callable[[], np.ndarray] | None

    @cached_property
    def drifts(self) -> np.ndarray:
        """float64 `[2, n]`, how they would move in the image if they stood still; NaN where unknown."""
        if self.drift_px is None:
            return np.full((2, len(self.rows)), np.nan)
        drifts = self.drift_px()[self.rows]
        with np.errstate(invalid="ignore"):
            told = np.abs(drifts).max(axis=1, initial=0.0) < _LARGEST_PX
        out: np.ndarray = np.where(told, drifts.T, np.nan)
        return out

    @classmethod
    def of(
        cls,
        boxes: np.ndarray,
        class_ids: np.ndarray,
        scores: np.ndarray,
        positions: np.ndarray,
        covariances: np.ndarray,
        spec: TrackerSpec,
        shapes: Silhouettes | None,
        drift_px: Callable[[], np.ndarray] | None,
    ) -> Things:
        """The objects with sound boxes, the surest `spec.most` of them; arguments as in `Tracker.update`."""
        with np.errstate(invalid="ignore", over="ignore"):
            sides = np.ascontiguousarray(boxes.T, np.float64)
            sound = (np.abs(sides) < _LARGEST_PX).all(axis=0)
            sound &= (sides[2] > sides[0]) & (sides[3] > sides[1])
            xx, xy, yy = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
            known = (xx >= 0) & (yy >= 0) & (xx * yy * (1 + 1e-9) >= xy * xy) & (xx + yy < _LARGEST_M2)
            known &= (np.abs(positions) < _LARGEST_M2).all(axis=1)
        rows = np.flatnonzero(sound)
        if len(rows) > spec.most:
            rows = np.sort(rows[np.argsort(-scores[rows], kind="stable")[: spec.most]])
        placed = np.flatnonzero(known[rows])
        place_of = np.full(len(rows), -1, np.intp)
        place_of[placed] = np.arange(len(placed))
        noise = covariances[rows[placed]].astype(np.float64)
        noise[:, 1, 0] = noise[:, 0, 1]
        noise[:, 0, 0] += spec.place_m**2
        noise[:, 1, 1] += spec.place_m**2
        classes = class_ids[rows].astype(np.intp)
        np.minimum(np.maximum(classes, 0, out=classes), 255, out=classes)  # np.clip takes ten times as long
        return cls(rows, sides[:, rows], classes, placed, place_of, positions[rows[placed]], noise, shapes, drift_px)
