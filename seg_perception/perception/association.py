"""Which thing of a frame is which track: by the likelihood of its box and place, all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seg_perception.perception.kalman import LineFilters, PlaneFilters

__all__ = ["assign", "box_costs", "class_costs", "place_costs"]


def box_costs(edges: LineFilters, std: np.ndarray, scale: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How little each box `[n, 4]` is like what each track expects, float64 `[t, n]`; below 0 it rather is.

    Minus twice the log of the likelihood over that of a new thing, whose edges may be anywhere. Each edge on its own
    may be anywhere near by, too: something in front hides it.
    """
    variance = edges.variances + std * std
    off = boxes.T[:, None, :] - edges.places[:, :, None]
    off *= off
    off *= (1 / variance)[:, :, None]
    off += np.log(variance * (2 * math.pi / _NEW_EDGE_SIZES**2) / scale**2)[:, :, None]
    np.minimum(off, _HIDDEN_EDGE_COST, out=off)
    out: np.ndarray = off.sum(axis=0)
    return out


_NEW_EDGE_SIZES = 8.0
"""A new thing's edge is anywhere in a range of so many sizes of a track."""

_HIDDEN_EDGE_COST = 2.0

_NEW_PLACE_M2 = 100.0
_WRONG_PLACE_COST = 2.0


def place_costs(plane: PlaneFilters, tracks: np.ndarray, positions: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The same for places `[n, 2]` with covariances `[n, 2, 2]`, and the tracks of these indices; float64 `[t, n]`."""
    expected = plane.covariances[tracks]
    xx, xy, yy = (np.add.outer(expected[:, i, j], noise[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    off_x, off_y = (np.subtract.outer(plane.means[tracks, i], positions[:, i]) for i in (0, 1))
    size = xx * yy - xy * xy
    cost = (yy * off_x - 2 * xy * off_y) * off_x + xx * off_y * off_y
    cost /= size
    size *= (2 * math.pi / _NEW_PLACE_M2) ** 2
    cost += np.log(size, out=size)
    return np.minimum(cost, _WRONG_PLACE_COST, out=cost)


def class_costs(
    tracks: np.ndarray, things: np.ndarray, groups: np.ndarray, confusable: float, other: float
) -> np.ndarray:
    """What another class costs, float64 `[t, n]`: less if both are of one group.

    Args:
        tracks, things: class ids `[t]` and `[n]`.
        groups: `[256]`, number of the group of each class.
    """
    same = tracks[:, None] == things
    akin = groups[tracks][:, None] == groups[things]
    return np.where(same, 0.0, np.where(akin, confusable, other))


def assign(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (rows, columns) of the least total cost, of pairs that cost less than 0; intp `[m]` each.

    Pairs that stand in no other's way are taken at once.
    """
    possible = costs < 0
    in_row, in_column = possible.sum(axis=1), possible.sum(axis=0)
    rows, columns = np.nonzero(possible)
    alone = (in_row[rows] == 1) & (in_column[columns] == 1)
    pairs: Sequence[np.ndarray] = (rows[alone], columns[alone])
    if not alone.all():
        from scipy.optimize import linear_sum_assignment

        some_rows, some_columns = np.unique(rows[~alone]), np.unique(columns[~alone])
        part = np.minimum(costs[np.ix_(some_rows, some_columns)], 0.0)
        i, j = linear_sum_assignment(part)
        taken = part[i, j] < 0
        pairs = [np.concatenate(both) for both in zip(pairs, (some_rows[i[taken]], some_columns[j[taken]]))]
    return pairs[0], pairs[1]
