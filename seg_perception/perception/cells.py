"""Cells of maps: which lie over each other in maps of several sizes, and runs of equal ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

__all__ = ["Runs", "resampled", "runs_of"]


def resampled(values: np.ndarray, map_hw: tuple[int, int]) -> np.ndarray:
    """The same at another size: for each cell of it the value of that cell of `values` `[h, w]` its centre lies in.

    Any two sizes will do, either may be the finer.
    """
    (height, width), (rows, columns) = values.shape, map_hw
    if (height, width) == map_hw:
        return values
    if rows % height == 0 and columns % width == 0:  # whole numbers are ten times as fast
        return np.asarray(cv2.resize(values, (columns, rows), interpolation=cv2.INTER_NEAREST))
    if height % rows == 0 and width % columns == 0:
        down, right = height // rows, width // columns
        return np.ascontiguousarray(values[down // 2 :: down, right // 2 :: right])
    return values.ravel().take(_cells_under((values.shape[0], values.shape[1]), map_hw)).reshape(map_hw)


@lru_cache(maxsize=8)
def _cells_under(under_hw: tuple[int, int], map_hw: tuple[int, int]) -> np.ndarray:
    """intp `[H · W]`: flat index of the cell in which each cell's centre lies; kept for the last few pairs of sizes."""
    rows, columns = (((np.arange(over) + 0.5) * under / over).astype(np.intp) for under, over in zip(under_hw, map_hw))
    table = (rows[:, None] * under_hw[1] + columns[None]).ravel()
    table.setflags(write=False)
    return table


@dataclass(frozen=True)
class Runs:
    """A map row by row, as runs of equal values: what is done with thousands of cells is done with hundreds of runs.

    Attributes:
        starts: intp `[r]`, flat index of each run's first cell; runs cover the map, and end with its rows.
        lengths: intp `[r]`.
        values: `[r]`.
    """

    starts: np.ndarray
    lengths: np.ndarray
    values: np.ndarray


def runs_of(values: np.ndarray) -> Runs:
    """The runs of a map `[h, w]`, which is contiguous."""
    begins = np.empty(values.shape, np.bool_)
    begins[:, 0] = True
    np.not_equal(values[:, 1:], values[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    return Runs(starts, np.diff(starts, append=values.size), values.ravel().take(starts))
