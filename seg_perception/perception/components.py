"""Connected regions of one class each."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["components"]


def components(class_ids: np.ndarray, is_thing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regions of cells of the same class that touch, corners included.

    Args:
        class_ids: uint8 `[h, w]`.
        is_thing: bool `[256]`: the others are in no region.

    Returns:
        names: int32 `[h, w]`, 1 … n, 0 for no region; and uint8 `[n]`, their classes.
    """
    names, found = np.zeros(class_ids.shape, np.int32), [np.empty(0, np.uint8)]
    seen = cv2.calcHist([class_ids], [0], None, [256], [0, 256]).ravel() > 0
    total = 0
    for class_id in np.flatnonzero(seen & is_thing):
        mask = (class_ids == class_id).view(np.uint8)
        count, own = cv2.connectedComponents(mask, connectivity=8)
        if total:
            own += mask * np.int32(total)
        names += own
        found.append(np.full(count - 1, class_id, np.uint8))
        total += count - 1
    return names, np.concatenate(found)
