"""The shapes of a frame's things, and how well they lie over those of the next frame, moved as their tracks move.

Boxes of people side by side, or of cars in a row, are nearly the same; their visible shapes are not: who is in front
covers the other. The measure is intersection over union, of all pairs at once, on a grid of bounded size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.geometry.ground import Axis, ClassMap

__all__ = ["Silhouettes", "overlaps", "shifts_px"]

_MOST_CELLS = 80_000
_AT_BORDER_PX = 1.0


@dataclass(frozen=True)
class Silhouettes:
    """Which cells of a grid over the camera's image the objects of one frame cover.

    Attributes:
        grid: uint16 `[h, w]`: row of the object in its frame + 1, 0 where none is.
        step_px: (x, y), from cell to cell, camera pixels, above 0.
        borders_px: (x min, y min, x max, y max), of the part of the camera's image that is seen, edges of pixels.
        cells: intp `[k]`, where in the flat grid objects are.
        numbers: intp `[k]`, the grid's values there.
        columns: intp `[k]`, in which columns of the grid they are.
        areas: intp `[m + 1]`, cells of each number up to the highest one that occurs, m.
    """

    grid: np.ndarray
    step_px: tuple[float, float]
    borders_px: tuple[float, float, float, float]
    cells: np.ndarray
    numbers: np.ndarray
    columns: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, instance_map: np.ndarray, onto: ClassMap) -> Silhouettes:
        """Of the objects on a map; one of very many cells is thinned out.

        Args:
            instance_map: uint16 `[h, w]`, numbers from 1 on in the objects' order; 0 for none.
            onto: how the camera's pixels fall on this map.
        """
        every = max(1, math.ceil(math.sqrt(instance_map.size / _MOST_CELLS)))
        grid = np.ascontiguousarray(instance_map[every // 2 :: every, every // 2 :: every])
        cells = np.flatnonzero(grid)
        numbers = grid.ravel().take(cells).astype(np.intp)
        x, y = onto.columns, onto.rows
        low, high = zip(_ends_px(x), _ends_px(y))
        return cls(
            grid, (every / x.scale, every / y.scale), (*low, *high),
            cells, numbers, cells % max(1, grid.shape[1]), np.bincount(numbers, minlength=1),
        )  # fmt: skip

    def fits(self, other: Silhouettes) -> bool:
        """The cells are the same places of the image."""
        grids_agree = self.grid.shape == other.grid.shape
        return grids_agree and self.step_px == other.step_px and self.borders_px == other.borders_px


def _ends_px(axis: Axis) -> tuple[float, float]:
    return (axis.low - axis.offset) / axis.scale, (axis.high - axis.offset) / axis.scale


def shifts_px(
    places: np.ndarray, moves: np.ndarray, borders_px: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """How far boxes move as a whole, along x and y: an edge at the picture's border stays there while the thing goes.

    Args:
        places: float64 `[4, t]`, their edges before: left, top, right, bottom.
        moves: float64 `[4, t]`, of these edges.
    """
    out = []
    for low, high in ((0, 2), (1, 3)):
        at_low = places[low] < borders_px[low] + _AT_BORDER_PX
        at_high = places[high] > borders_px[high] - _AT_BORDER_PX
        of_low = np.where(at_low & ~at_high, 0.0, np.where(at_high & ~at_low, 1.0, 0.5))
        out.append(of_low * moves[low] + (1 - of_low) * moves[high])
    return out[0], out[1]


def overlaps(
    before: Silhouettes, now: Silhouettes, of: np.ndarray, shifts: tuple[np.ndarray, np.ndarray], rows: np.ndarray
) -> np.ndarray:
    """Intersection over union of each shape of the frame before, shifted, with each of this one, float64 `[t, n]`.

    What is shifted out of the picture counts for nothing.

    Args:
        of: intp `[t]`, which number each had in the frame before, at most once each; 0 for none.
        shifts: float64 `[t]`, along x and along y, camera pixels.
        rows: intp `[n]`, which objects of this frame.
    """
    (height, width), count, n = now.grid.shape, len(before.areas), len(rows)
    across, along = (
        np.rint(np.clip(shift / step, -size, size)).astype(np.intp)
        for shift, step, size in zip(shifts, now.step_px, (width, height))
    )
    by_number = np.zeros((2, count), np.intp)
    by_number[:, of] = across, along * width + across
    by_number[0, 0] = width  # out of the picture
    column_of = np.zeros(max(len(now.areas), int(rows.max(initial=-1)) + 2), np.intp)
    column_of[rows + 1] = np.arange(1, n + 1)
    columns = before.columns + by_number[0].take(before.numbers)
    cells = before.cells + by_number[1].take(before.numbers)
    # Unsigned, what is below 0 is above all.
    inside = columns.view(np.uintp) < width
    inside &= cells.view(np.uintp) < height * width
    owners = before.numbers[inside]
    hit = column_of.take(now.grid.ravel().take(cells[inside]))
    own = np.bincount(owners, minlength=count)
    other = np.zeros(n + 1, np.intp)
    np.add.at(other, column_of[: len(now.areas)], now.areas)
    shared = np.bincount(owners * (n + 1) + hit, minlength=count * (n + 1)).reshape(count, n + 1)
    shared = shared[of, 1:]
    whole = own[of][:, None] + other[1:] - shared
    result: np.ndarray = shared / np.maximum(whole, 1)
    return result
