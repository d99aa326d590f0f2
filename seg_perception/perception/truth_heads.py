"""What a perfect network would answer: centres and offsets made from known instances, for learning and for judging."""

from __future__ import annotations

import numpy as np

__all__ = ["true_heads"]

_SPREAD, _NARROWEST, _WIDEST = 0.125, 1.0, 3.0
"""Standard deviation of a centre's heat: this share of the root of the thing's area, within these bounds, cells."""
_REACH = 3.0


def true_heads(instance_map: np.ndarray, heads_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Centres and offsets (Cheng et al. 2020, Panoptic-DeepLab) of known instances, as `types.Heads` describes them.

    The middle of a thing is the middle of mass of what is seen of it. Its heat is a Gaussian about the cell in which
    the middle lies, 1 there; where two meet, the larger counts. Large things have wider ones: nobody can tell the
    middle of a bus to the pixel.

    Args:
        instance_map: integers `[H, W]`, 0 where there is none; numbers need not be dense.
        heads_hw: size of the heads; they show what the map shows.

    Returns:
        centers float32 `[h, w]`, 0 to 1; offsets float32 `[2, h, w]`, (rows, columns) in cells of the heads, 0 where
        no instance is at the cell's centre.
    """
    height, width = heads_hw
    centers, offsets = np.zeros(heads_hw, np.float32), np.zeros((2, *heads_hw), np.float32)
    scale = np.array([height / instance_map.shape[0], width / instance_map.shape[1]])
    numbers, flat = np.unique(instance_map, return_inverse=True)
    flat = flat.reshape(-1)
    dense = flat.reshape(instance_map.shape)
    areas = np.bincount(flat, minlength=len(numbers))
    at_row, at_column = (np.bincount(flat, places.ravel()) / areas for places in np.indices(dense.shape))
    middles = (np.stack([at_row, at_column], -1) + 0.5) * scale - 0.5
    rows, columns = ((np.arange(n) + 0.5) / s for n, s in zip(heads_hw, scale))
    own = dense[rows.astype(np.intp)[:, None], columns.astype(np.intp)[None]]
    things = numbers[own] != 0
    for axis, places in enumerate((np.arange(height)[:, None], np.arange(width)[None])):
        np.copyto(offsets[axis], middles[own, axis] - places, where=things, casting="same_kind")
    for index in np.flatnonzero(numbers):
        spread = np.clip(_SPREAD * np.sqrt(areas[index] * scale.prod()), _NARROWEST, _WIDEST)
        row, column = np.clip(np.rint(middles[index]).astype(int), 0, (height - 1, width - 1))
        reach = int(np.ceil(_REACH * spread))
        down, across = slice(max(0, row - reach), row + reach + 1), slice(max(0, column - reach), column + reach + 1)
        away = (np.arange(height)[down, None] - row) ** 2 + (np.arange(width)[None, across] - column) ** 2
        heat = np.exp(away / (-2 * spread**2)).astype(np.float32)
        np.maximum(centers[down, across], heat, out=centers[down, across])
    return centers, offsets
