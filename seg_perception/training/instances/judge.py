"""How good centres and offsets are, before anything groups them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from seg_perception.datasets.instances import UNKNOWN, InstanceFrame
from seg_perception.perception.truth_heads import true_heads

__all__ = ["HeadsOf", "heads_quality"]

HeadsOf = Callable[[np.ndarray], "tuple[np.ndarray, np.ndarray]"]
"""RGB uint8 `[H, W, 3]` at the network's size to centres float32 `[h, w]` and offsets float32 `[2, h, w]`."""

_THRESHOLD = 0.1
_NEAR_CELLS = 2.5


def heads_quality(heads_of: HeadsOf, frames: Sequence[InstanceFrame], size_hw: tuple[int, int]) -> dict[str, float]:
    """Of things whose instance is known, in frames stretched to the network's size.

    Returns:
        `offset_error_cells`: mean over the things of their cells' mean distance between where an offset points and
        the thing's middle. `center_recall`: things with a peak (the largest of 3×3 cells, at least 0.1) within 2.5
        cells of their middle, or a tenth of their extent if that is more. `center_precision`: peaks that are such a
        one; peaks on what is unknown do not count.
    """
    errors: list[float] = []
    found = things = right = peaks = 0
    for frame in frames:
        image = cv2.resize(frame.image, size_hw[::-1], interpolation=cv2.INTER_AREA)
        instances = cv2.resize(frame.instances, size_hw[::-1], interpolation=cv2.INTER_NEAREST)
        centers, offsets = heads_of(image)
        stride = size_hw[0] // centers.shape[0]
        known = np.where(instances == UNKNOWN, 0, instances)
        _, true_offsets = true_heads(known, (centers.shape[0], centers.shape[1]))
        own = known[stride // 2 :: stride, stride // 2 :: stride]
        unknown = cv2.dilate((instances == UNKNOWN).astype(np.uint8), np.ones((9, 9), np.uint8))[::stride, ::stride] > 0
        highest = (centers == cv2.dilate(centers, np.ones((3, 3), np.uint8))) & (centers >= _THRESHOLD)
        at = np.argwhere(highest & (~unknown | (own > 0)))
        taken = np.zeros(len(at), bool)
        away = np.hypot(*(offsets - true_offsets))
        for number in np.unique(own[own > 0]):
            cells = np.argwhere(own == number)
            errors.append(float(away[own == number].mean()))
            middle = (cells + true_offsets[:, own == number].T)[0]
            reach = max(_NEAR_CELLS, 0.1 * float(np.ptp(cells, axis=0).max()))
            near = np.hypot(*(at - middle).T) <= reach if len(at) else taken
            found += bool(near.any())
            taken |= near
            things += 1
        right, peaks = right + int(taken.sum()), peaks + len(at)
    return {
        "offset_error_cells": float(np.mean(errors)) if errors else float("nan"),
        "center_recall": found / things if things else float("nan"),
        "center_precision": right / peaks if peaks else float("nan"),
    }
