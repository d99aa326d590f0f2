"""Randomness that depends on nothing but its keys: not on the order of calls, the process, or the library's version.

`random.Random` seeded by an integer and `numpy.random.RandomState` are the two generators whose streams
their projects promise never to change.
"""

from __future__ import annotations

import random

import cv2
import numpy as np

__all__ = ["mix", "noise_tile", "stream"]

_MASK = (1 << 64) - 1


def mix(*keys: int) -> int:
    """One well-spread 64-bit number from any integers, by SplitMix64 (Steele, Lea, Flood 2014)."""
    state = 0x5851F42D4C957F2D
    for key in keys:
        state = (state ^ (key & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def stream(*keys: int) -> random.Random:
    """A generator of its own for every tuple of integer keys."""
    return random.Random(mix(*keys))


def noise_tile(height: int, width: int, cell: int, *keys: int, octaves: int = 1) -> np.ndarray:
    """Smooth value noise that tiles seamlessly.

    Args:
        height, width: pixels, multiples of `cell`.
        cell: pixels between independent values in the coarsest octave; each further octave halves it.
        keys: what makes this tile different from others.

    Returns:
        float32 `[height, width]`, mean about 0, within −1 to 1.
    """
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    reach = 0.0
    for octave in range(octaves):
        step = max(1, cell >> octave)
        values = np.random.RandomState(mix(*keys, octave) & 0xFFFFFFFF)
        grid = values.random_sample((height // step, width // step)).astype(np.float32) * 2 - 1
        total += weight * _enlarge(grid, step)
        reach += weight
        weight *= 0.5
    return np.clip(total / reach, -1, 1)


def _enlarge(grid: np.ndarray, step: int) -> np.ndarray:
    if step == 1:
        return grid
    pad = 2
    wrapped = np.pad(grid, pad, mode="wrap")
    size = (wrapped.shape[1] * step, wrapped.shape[0] * step)
    large = cv2.resize(wrapped, size, interpolation=cv2.INTER_CUBIC)
    edge = pad * step
    return large[edge:-edge, edge:-edge]
