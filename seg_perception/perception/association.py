"""Which thing of a frame is which track: by the likelihoods of boxes and places, for all together.

Costs are minus twice the log of a likelihood, over that of a new thing, which may be anywhere: below 0 it is rather the
track. They add up. Their constants were chosen on simulated streets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seg_perception.perception.kalman import LineFilters, PlaneFilters

__all__ = ["associate", "box_costs", "class_table", "contested", "place_costs", "shape_costs", "track_costs"]

_NEW_EDGE_SIZES = 8.0
"""A new thing's edge is anywhere in a range of so many sizes of the track."""
_HIDDEN_EDGE_COST = 2.0
"""Of an edge that is not where it should be: something in front of the thing hides more or less of it than before."""
_OVERLAP_COST = 10.0
"""Of boxes that do not overlap; as much below 0 where the smaller one is covered by `_WELL_COVERED`."""
_WELL_COVERED = 0.6
_REACH_STD, _REACH_PX = 3.0, 1.0
"""Boxes that are further apart than the track is unsure are not the same thing."""

_NEW_PLACE_M2 = 100.0
"""A new thing's place is anywhere on so much ground."""
_WRONG_PLACE_COST = 2.0
"""Of a place that is not where it should be: another part of the thing is the lowest in view now."""
_PLACE_WEIGHT = 0.5
"""Box and place are not independent: the same pixels say both."""

_SHAPE_GAIN, _SAME_SHAPE = 24.0, 0.7
"""Of a shape that lies over the one expected with this intersection over union, and more."""

_CONFUSABLE_COST, _OTHER_CLASS_COST = 5.0, 40.0
_JUST_SEEN_GAIN, _JUST_SEEN_S = 8.0, 0.1
_UNSEEN_COST = 10.0
_HIT_GAIN, _MOST_HITS = 0.3, 10
_SURE_COST = -20.0
_NEVER = 1e6


def box_costs(edges: LineFilters, std: np.ndarray, scale: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How little each box `[4, n]` is like what each track expects, float64 `[t, n]`.

    Args:
        std: float64 `[4, t]`, of measured edges.
        scale: float64 `[t]`, size of the track's box.
    """
    variance = edges.variances + std * std
    cost = boxes[:, None, :] - edges.places[:, :, None]
    cost *= cost
    cost *= (1 / variance)[:, :, None]
    cost += np.log(variance * (2 * math.pi / (_NEW_EDGE_SIZES * scale) ** 2))[:, :, None]
    np.minimum(cost, _HIDDEN_EDGE_COST, out=cost)
    total: np.ndarray = cost.sum(axis=0)
    return _add_overlap(total, edges.places, variance, boxes)


def _add_overlap(cost: np.ndarray, expected: np.ndarray, variance: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """By how much of the smaller box is in the other, and whether they are near each other at all."""
    parts = []
    far = np.zeros(cost.shape, bool)
    for low, high in ((0, 2), (1, 3)):
        part = np.minimum.outer(expected[high], boxes[high])
        part -= np.maximum.outer(expected[low], boxes[low])
        reach = _REACH_STD * np.sqrt(np.maximum(variance[low], variance[high])) + _REACH_PX
        far |= part < -reach[:, None]
        parts.append(np.maximum(part, 0.0, out=part))
    own, other = (np.maximum((b[2] - b[0]) * (b[3] - b[1]), 1.0) for b in (expected, boxes))
    covered = parts[0]
    covered *= parts[1]
    covered /= np.minimum.outer(own, other)
    covered *= 2 * _OVERLAP_COST / _WELL_COVERED
    cost -= np.minimum(covered, 2 * _OVERLAP_COST, out=covered)
    cost += _OVERLAP_COST
    cost[far] = _NEVER
    return cost


def place_costs(plane: PlaneFilters, tracks: np.ndarray, positions: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The same for places `[n, 2]` with covariances `[n, 2, 2]`, and the tracks of these indices, all known."""
    expected = plane.covariances[tracks]
    xx, xy, yy = (np.add.outer(expected[:, i, j], noise[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    off_x, off_y = (np.subtract.outer(plane.means[tracks, i], positions[:, i]) for i in (0, 1))
    size = xx * yy
    size -= xy * xy
    # The Mahalanobis distance, (yy x² - 2 xy x y + xx y²) / (xx yy - xy²).
    cost = yy * off_x
    xy *= off_y
    cost -= xy
    cost -= xy
    cost *= off_x
    off_y *= off_y
    xx *= off_y
    cost += xx
    cost /= size
    size *= (2 * math.pi / _NEW_PLACE_M2) ** 2
    cost += np.log(size, out=size)
    np.minimum(cost, _WRONG_PLACE_COST, out=cost)
    cost *= _PLACE_WEIGHT
    return cost


def shape_costs(ious: np.ndarray) -> np.ndarray:
    """The same for shapes, by their intersection over union with the expected ones, of any shape; never above 0."""
    costs: np.ndarray = np.minimum(ious, _SAME_SHAPE) * (-_SHAPE_GAIN / _SAME_SHAPE)
    return costs


def contested(costs: np.ndarray) -> np.ndarray:
    """Tracks of which their shapes may decide what they are, bool `[t]`.

    Args:
        costs: float64 `[t, n]`, without shapes.
    """
    undecided = np.zeros(len(costs), bool)
    for axis in (0, 1):
        least = costs.min(axis=axis, initial=_NEVER, keepdims=True)
        close = costs < np.minimum(least, 0.0) + _SHAPE_GAIN
        if np.count_nonzero(close) == np.count_nonzero(least < 0):
            continue  # which is so in most frames: what costs less than 0 has no rival
        close &= (np.count_nonzero(close, axis=axis, keepdims=True) > 1) | (least >= 0)
        undecided |= close.any(axis=1)
    return undecided


def class_table(groups: Sequence[Sequence[int]]) -> np.ndarray:
    """What it costs that a track of one class is a thing of another, float64 `[256, 256]`: less within a group."""
    table = np.full((256, 256), _OTHER_CLASS_COST)
    for group in groups:
        table[np.ix_(group, group)] = _CONFUSABLE_COST
    np.fill_diagonal(table, 0.0)
    return table


def track_costs(unseen_s: np.ndarray, hits: np.ndarray, memory_s: float) -> np.ndarray:
    """How little each track may be expected to be seen, float64 `[t]`.

    Args:
        unseen_s: since the frame after the one in which it was last seen.
        hits: how often it was seen.
    """
    cost = unseen_s * (_UNSEEN_COST / memory_s)
    cost -= _JUST_SEEN_GAIN * np.exp(unseen_s * (-1 / _JUST_SEEN_S))
    cost -= _HIT_GAIN * np.minimum(hits, _MOST_HITS)
    return cost


def associate(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (tracks, things), intp `[m]` each, of the least total cost; all cost less than 0.

    What is sure comes first: else a sure pair would be torn apart where a chain of poor ones costs less in all.

    Args:
        costs: float64 `[t, n]`; is used up.
    """
    sure = _assign(costs, _SURE_COST)
    costs[sure[0]] = _NEVER
    costs[:, sure[1]] = _NEVER
    rest = _assign(costs, 0.0)
    return np.concatenate([sure[0], rest[0]]), np.concatenate([sure[1], rest[1]])


def _assign(costs: np.ndarray, below: float) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (rows, columns) of the least total of what they cost less than `below`."""
    possible = costs < below
    rows, columns = np.nonzero(possible)
    if not len(rows):
        return rows, columns
    # Pairs that stand in no other's way need no search.
    alone = (possible.sum(axis=1)[rows] == 1) & (possible.sum(axis=0)[columns] == 1)
    if alone.all():
        return rows, columns
    from scipy.optimize import linear_sum_assignment

    crowded = np.zeros(len(costs), bool), np.zeros(costs.shape[1], bool)
    crowded[0][rows[~alone]] = crowded[1][columns[~alone]] = True
    some_rows, some_columns = np.flatnonzero(crowded[0]), np.flatnonzero(crowded[1])
    part = np.minimum(costs[some_rows[:, None], some_columns], below)
    i, j = linear_sum_assignment(part)
    taken = part[i, j] < below
    return np.concatenate([rows[alone], some_rows[i[taken]]]), np.concatenate([columns[alone], some_columns[j[taken]]])
