"""The shapes of a frame's things, and how well they lie over those of the next frame, moved as their tracks move.

Boxes of people side by side, or of cars in a row, are nearly the same; their visible shapes are not: who is in front
covers the other. The measure is intersection over union, of all pairs at once, on a grid of bounded size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seg_perception.geometry.ground import ClassMap

__all__ = ["Silhouettes", "overlaps", "shifts_px"]

_MOST_CELLS, _MOST_COUNTED = 80_000, 10_000
_REACH_PART = 8
"""Of the picture's width and height, so much is as far as a thing may come from frame to frame."""
_AT_BORDER_PX = 1.0


@dataclass(frozen=True)
class Silhouettes:
    """The objects of one frame on a map; nothing is done with them before they are asked for.

    Attributes:
        instance_map: uint16 `[h, w]`, row of the object in its frame + 1, 0 where none is. It must not change.
        onto: how the camera's pixels fall on this map.
    """

    instance_map: np.ndarray
    onto: ClassMap

    def fits(self, other: Silhouettes) -> bool:
        """The cells are the same places of the image."""
        return self.instance_map.shape == other.instance_map.shape and self.onto == other.onto

    @property
    def borders_px(self) -> tuple[float, float, float, float]:
        """(x min, y min, x max, y max), of the part of the camera's image that is seen: edges of pixels."""
        x, y = self.onto.columns, self.onto.rows
        return (
            (x.low - x.offset) / x.scale, (y.low - y.offset) / y.scale,
            (x.high - x.offset) / x.scale, (y.high - y.offset) / y.scale,
        )  # fmt: skip

    @cached_property
    def counted(self) -> _Counted:
        """For `overlaps`."""
        every = max(1, math.ceil(math.sqrt(self.instance_map.size / _MOST_CELLS)))
        thin = np.ascontiguousarray(self.instance_map[every // 2 :: every, every // 2 :: every])
        (height, width), outside = thin.shape, int(thin.max(initial=0)) + 1
        x_reach, y_reach = width // _REACH_PART + 1, height // _REACH_PART + 1
        # What leaves a row on the right gets into its margin, and on the left into that of the row before.
        grid = np.full((height + 2 * y_reach + 2, width + x_reach), outside, np.int32)
        grid[y_reach + 1 : y_reach + 1 + height, :width] = thin
        cells = np.flatnonzero(thin.ravel() != 0)
        some = cells[:: max(1, math.ceil(len(cells) / _MOST_COUNTED))]
        share = len(some) / max(1, len(cells))
        numbers = thin.ravel().take(some).astype(np.intp)
        areas = np.bincount(numbers, minlength=outside) / max(share, 1e-9)
        some = some + some // max(1, width) * x_reach + (y_reach + 1) * grid.shape[1]
        step_px = every / self.onto.columns.scale, every / self.onto.rows.scale
        return _Counted(grid, outside, (x_reach, y_reach), step_px, areas, some, numbers, share)


@dataclass(frozen=True)
class _Counted:
    """A grid with a margin into which things are shifted that leave the picture, and some of the objects' cells.

    Attributes:
        grid: int32 `[h, w]`: number of the object, 0 where none is, `outside` in the margin.
        outside: more than any number of an object.
        reach: (x, y), the largest shift, cells.
        step_px: (x, y), from cell to cell, camera pixels, above 0.
        areas: float64 `[outside]`, cells of each number, from those that are counted.
        cells: intp `[k]`, where in the flat grid the counted cells are.
        numbers: intp `[k]`, the grid's values there.
        share: of the cells of objects, how many these are.
    """

    grid: np.ndarray
    outside: int
    reach: tuple[int, int]
    step_px: tuple[float, float]
    areas: np.ndarray
    cells: np.ndarray
    numbers: np.ndarray
    share: float


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

    What is shifted out of the picture counts for nothing, and so does what is shifted very far.

    Args:
        before, now: that fit each other.
        of: intp `[t]`, which number each had in the frame before, at least 1, no two the same.
        shifts: float64 `[t]`, along x and along y, camera pixels.
        rows: intp `[n]`, which objects of this frame.
    """
    old, new = before.counted, now.counted
    ious, known, seen = np.zeros((len(of), len(rows))), np.flatnonzero(of < old.outside), rows + 1 < new.outside
    numbers, others = of[known], rows[seen] + 1
    shift, far = np.zeros(old.outside, np.intp), np.zeros(len(known), bool)
    for along, step, reach, cells in zip(shifts, new.step_px, new.reach, (1, new.grid.shape[1])):
        steps = np.rint(along[known] / step)
        far |= np.abs(steps) > reach
        shift[numbers] += np.clip(steps, -reach, reach).astype(np.intp) * cells
    at = shift.take(old.numbers)
    at += old.cells
    # However many objects there are, only these are counted: 0 is any other, and the last one is outside.
    width = len(others) + 2
    row_of, column_of = np.zeros(old.outside, np.intp), np.zeros(new.outside + 1, np.intp)
    row_of[numbers], column_of[others] = width * np.arange(1, len(numbers) + 1), np.arange(1, width - 1)
    column_of[-1] = width - 1
    pairs = row_of.take(old.numbers)
    pairs += column_of.take(new.grid.ravel().take(at))
    counts = np.bincount(pairs, minlength=width * (len(numbers) + 1)).reshape(-1, width)[1:] / max(old.share, 1e-9)
    both = counts[:, 1:-1]
    whole = np.add.outer(old.areas[numbers] - counts[:, -1], new.areas[others]) - both
    both[far] = 0.0
    ious[np.ix_(known, seen)] = both / np.maximum(whole, 1.0)
    return ious
