"""Maps of several sizes that show the same: which cell of one lies under a cell of another."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["cell_under", "cells_of", "cells_under"]


@lru_cache(maxsize=8)
def cells_under(coarse_hw: tuple[int, int], fine_hw: tuple[int, int]) -> np.ndarray:
    """intp `[H · W]`: for each cell of a map of size `fine_hw`, row by row, the `coarse_hw` cell its centre lies in.

    Any two sizes will do; either may be the finer. Kept for the last few pairs of sizes; read-only.
    """
    rows, columns = (
        ((np.arange(fine) + 0.5) * coarse / fine).astype(np.intp) for coarse, fine in zip(coarse_hw, fine_hw)
    )
    table = (rows[:, None] * coarse_hw[1] + columns[None]).ravel()
    table.setflags(write=False)
    return table


def cell_under(values: np.ndarray, fine_hw: tuple[int, int], which: np.ndarray) -> np.ndarray:
    """The value of `values` `[h, w]` under the cells `which` (flat indices) of a map of size `fine_hw`."""
    flat = values.ravel()
    if values.shape == fine_hw:
        return flat.take(which)
    return flat.take(cells_under((values.shape[0], values.shape[1]), fine_hw).take(which))


def cells_of(values: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """A map at another size `[h, w]`: every cell takes the value in which its centre lies."""
    height, width = size_hw
    under = cells_under((values.shape[0], values.shape[1]), (height, width))
    return values.ravel().take(under).reshape(height, width)
