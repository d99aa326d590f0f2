"""Two things under one centre: told apart by where their cells point."""

from __future__ import annotations

import numpy as np

__all__ = ["part_votes"]

_EXPLAINED = 0.9
"""Two halves are two things if to know the half explains so much of the variance. Of one thing's errors it explains
0.64 if they are normal, 0.75 if they are even; two equal things 6 standard deviations apart reach 0.9."""
_APART_CELLS = 0.3
_FEWEST = 3


def part_votes(of: np.ndarray, targets: np.ndarray, counted: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups whose cells point at two places become two groups.

    A centre stands for two things when their middles lie in one cell, or when one of them was missed. Each group's
    targets are halved at their mean, along the axis along which they vary most.

    Args:
        of: intp `[n]`, group of each cell, 1 … count; 0 for none.
        targets: float32 `[2, n]`, where the cells point.
        counted: bool `[n]`: cells to judge by; the others follow.
        count: how many groups there are.

    Returns:
        of as it is then, intp `[n]`; and intp `[m]`: which group each of the groups count + 1 … count + m was part of.
    """
    judges = np.where(counted, of, 0)
    total = np.bincount(judges, minlength=count + 1)
    if not (total[1:] >= 2 * _FEWEST).any():
        return of, np.empty(0, np.intp)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(judges, values, minlength=count + 1) / np.maximum(total, 1))

    away = targets - np.stack([mean(targets[0]), mean(targets[1])]).take(of, axis=1)
    down, right, both = mean(away[0] ** 2), mean(away[1] ** 2), mean(away[0] * away[1])
    angle = 0.5 * np.arctan2(2 * both, down - right)
    along = away[0] * np.cos(angle).take(of) + away[1] * np.sin(angle).take(of)
    beyond = along > 0
    share = mean(beyond)
    half = mean(np.where(beyond, along, 0))  # as much below, since the mean is 0
    with np.errstate(divide="ignore", invalid="ignore"):
        apart, between = half / share + half / (1 - share), half**2 / share + half**2 / (1 - share)
        two = (between > _EXPLAINED * mean(along**2)) & (apart > _APART_CELLS)
    two &= np.minimum(share, 1 - share) * total >= _FEWEST - 0.5
    two[0] = False
    parts = np.flatnonzero(two)
    if not len(parts):
        return of, parts
    other = np.zeros(count + 1, np.intp)
    other[parts] = np.arange(count + 1, count + 1 + len(parts))
    return np.where(beyond & two.take(of), other.take(of), of), parts
