"""A grid that does not flicker: a cell's value rises at once and falls slowly, in the vehicle's frame."""

from __future__ import annotations

import math

import numpy as np

from seg_perception.perception.drivable import UNKNOWN

__all__ = ["GridSmoother"]

_FORGOTTEN_AFTER = 5.0
"""Time constants without a grid, after which the past says nothing."""


class GridSmoother:
    """Lets the values of cells fall no faster than with a time constant.

    What is unseen now is unseen, whatever was there, and what is occupied now is occupied. It knows nothing of how the
    vehicle moves: it is for vehicles that stand or creep, and for masks that flicker.
    """

    def __init__(self) -> None:
        self._past: np.ndarray | None = None
        self._stamp_ns = 0

    def smooth(self, values: np.ndarray, stamp_ns: int, time_constant_s: float) -> np.ndarray:
        """int8 grid values to smoothed ones, a new array: ``max(v, v + (past - v) exp(-Δt / T))`` where both are seen.

        Args:
            values: int8 `[rows, columns]`, −1 unseen, 0 … 100.
            time_constant_s: T, above 0.
        """
        passed_s = (stamp_ns - self._stamp_ns) * 1e-9
        current, past = values.astype(np.float32), self._past
        if past is not None and past.shape == values.shape and 0 <= passed_s <= _FORGOTTEN_AFTER * time_constant_s:
            fading = current + (past - current) * np.float32(math.exp(-passed_s / time_constant_s))
            # An unseen past is −1, which is never the larger.
            np.maximum(current, fading, out=current, where=values != UNKNOWN)
        self._past, self._stamp_ns = current, stamp_ns
        smoothed: np.ndarray = np.rint(current).astype(np.int8)
        return smoothed
