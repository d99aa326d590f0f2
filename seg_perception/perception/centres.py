"""Centres of things in a heat map, and which of them a place is nearest to."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Centres", "find_centres", "nearest_centre"]


@dataclass(frozen=True)
class Centres:
    """Middles of things, the hottest first.

    Attributes:
        places: float32 `[k, 2]`, (row, column) in cells of the heads.
        heats: float32 `[k]`, 0 to 1.
    """

    places: np.ndarray
    heats: np.ndarray


def find_centres(heat: np.ndarray, nms_cells: int, threshold: float, top_k: int) -> Centres:
    """Local maxima: cells that no cell within a square is hotter than.

    Equal ones within half a square of each other are one centre, in their middle; of equally hot centres the one
    further up, then further left, comes first.

    Args:
        heat: float32 `[h, w]`, finite.
        nms_cells: side of the square, cells; an even number counts as the next odd one.
        threshold: cells below it are no centre.
        top_k: at most this many.
    """
    reach = nms_cells // 2
    peaks = (heat == cv2.dilate(heat, np.ones((2 * reach + 1,) * 2, np.uint8))) & (heat >= threshold)
    rows, columns = np.nonzero(peaks)
    # Squares of `reach` cells touch exactly if the cells are at most `reach` apart.
    linked = peaks.view(np.uint8)
    if reach > 1:
        linked = cv2.dilate(linked, np.ones((reach, reach), np.uint8))
    count, names = cv2.connectedComponents(linked, connectivity=8)
    own = names[rows, columns]
    cells = np.bincount(own, minlength=count)[1:]
    places = np.stack([np.bincount(own, along, minlength=count)[1:] / cells for along in (rows, columns)], -1)
    heats = np.zeros(count, np.float32)
    heats[own] = heat[rows, columns]
    best = np.argsort(-heats[1:], kind="stable")[:top_k]
    return Centres(places[best].astype(np.float32), np.minimum(heats[1:][best], 1))


def nearest_centre(targets: np.ndarray, centres: Centres, heads_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which centre each target is nearest to, intp `[n]`, and how far that is, float32 `[n]`, cells.

    The distance transform tells for every cell of the heads which centre it is nearest to; a target's own is taken
    from those of the four cells around it. That takes the same time for one centre as for hundreds; only a target
    about as near to two centres may go to the other.

    Args:
        targets: float32 `[2, n]`, (rows, columns), finite and not above 1e6.
        centres: at least one.
    """
    height, width = heads_hw
    rows, columns = np.clip(np.rint(centres.places.T).astype(np.intp), 0, [[height - 1], [width - 1]])
    empty = np.ones(heads_hw, np.uint8)
    empty[rows, columns] = 0
    _, names = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    centre_of = np.zeros(len(rows) + 1, np.intp)
    # Of two centres in one cell the hotter, which comes first.
    centre_of[names[rows[::-1], columns[::-1]]] = np.arange(len(rows))[::-1]
    owners = centre_of.take(names.ravel())
    low = np.floor(targets).astype(np.intp)
    nearest, least = np.zeros(targets.shape[1], np.intp), np.full(targets.shape[1], np.inf, np.float32)
    at_row, at_column = np.ascontiguousarray(centres.places.T)
    for down in (0, 1):
        line = np.clip(low[0] + down, 0, height - 1) * width
        for right in (0, 1):
            owner = owners.take(line + np.clip(low[1] + right, 0, width - 1))
            squared = (targets[0] - at_row.take(owner)) ** 2 + (targets[1] - at_column.take(owner)) ** 2
            closer = squared < least
            np.copyto(nearest, owner, where=closer)
            np.copyto(least, squared, where=closer)
    return nearest, np.sqrt(least)
