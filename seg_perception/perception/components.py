"""Connected regions of one class each."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["components"]


def components(cells: np.ndarray, own: np.ndarray, map_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Regions of cells of the same class that touch, corners included.

    Args:
        cells: intp `[c]`, flat indices of a class map, ascending.
        own: uint8 `[c]`, their classes.
        map_hw: size of the map.

    Returns:
        of: intp `[c]`, the region of each cell, 1 … n; and class_ids: uint8 `[n]`.
    """
    of, class_ids = np.zeros(len(cells), np.intp), np.empty(0, np.uint8)
    if not len(cells):
        return of, class_ids
    top, bottom = int(cells[0]) // map_hw[1], int(cells[-1]) // map_hw[1] + 1
    inside = cells - top * map_hw[1]
    for class_id in np.flatnonzero(np.bincount(own)):
        which = np.flatnonzero(own == class_id)
        mask = np.zeros((bottom - top, map_hw[1]), np.uint8)
        mask.ravel()[inside[which]] = 1
        count, names = cv2.connectedComponents(mask, connectivity=8)
        of[which] = names.ravel().take(inside[which]) + len(class_ids)
        class_ids = np.append(class_ids, np.full(count - 1, class_id, np.uint8))
    return of, class_ids
