"""How a new box may be expected to move: it is mostly the camera that moves, and the street with it."""

from __future__ import annotations

import numpy as np

__all__ = ["expansions", "velocities_around"]

_NEAR_SIZES, _ABOUT_SIZES = 2.0, 1.0
_ABOUT_SHARE = 0.1
_DEPTH_STRETCH = 2.0
_NO_NEIGHBOUR = 0.02
_LEAST_SPREAD = 0.3
_RATES_HZ = np.array([0.0, 0.2, 0.4, 0.7, 1.1, 1.7])


def velocities_around(
    boxes: np.ndarray, scale: np.ndarray, others: np.ndarray, other_scale: np.ndarray, velocities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As the mean of what moves near by, or else about there.

    Boxes whose lower edges are near each other are equally far away, so that what rests there moves alike in the image.

    Args:
        boxes: float64 `[4, n]`, new ones.
        scale: float64 `[n]`, their sizes.
        others: float64 `[4, t]`, known ones.
        other_scale: float64 `[t]`.
        velocities: float64 `[4, t]`, of the known ones' edges, pixels per second.

    Returns:
        float64 `[4, n]`, pixels per second, and `[n]`, how unsure: 1 where nothing is near.
    """
    across = np.subtract.outer(boxes[0] + boxes[2], others[0] + others[2]) / 2
    down = np.subtract.outer(boxes[3], others[3]) * _DEPTH_STRETCH
    apart = -0.5 * (across * across + down * down)
    near = np.exp(apart / (_NEAR_SIZES * scale[:, None]) ** 2)
    about = np.exp(apart / (_ABOUT_SIZES * np.add.outer(scale, other_scale)) ** 2)
    weights = near + _ABOUT_SHARE * about
    total = weights.sum(axis=1) + _NO_NEIGHBOUR
    mean = 0.5 * (velocities[:2] + velocities[2:]) @ weights.T / total
    return np.concatenate([mean, mean]), np.maximum(np.sqrt(_NO_NEIGHBOUR / total), _LEAST_SPREAD)


def expansions(boxes: np.ndarray, scale: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Motions of boxes `[4, n]` as a camera sees a street that it drives along: outwards, the larger the faster.

    Returns:
        float64 `[m, 4, n]`, pixels per second; the first is rest, and what is not `moving` rests in all.
    """
    middle = 0.5 * (boxes[0].min() + boxes[2].max())
    aside = (0.5 * (boxes[0] + boxes[2]) - middle) * scale / np.median(scale) * moving
    moves = np.zeros((len(_RATES_HZ), *boxes.shape))
    moves[:, 0] = moves[:, 2] = _RATES_HZ[:, None] * aside
    return moves
