"""Centres of things in a heat map, and which of them a place is nearest to."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Centres", "doubled", "find_centres", "nearest_centre", "without_strays"]

_SURE = 0.8
"""Heat of a centre that is one in any case."""
_DOUBLE_ROOTS = 0.4
"""Two centres are one if they are nearer to each other than this, roots of their things' areas together."""

_STRAY_ROOTS, _STRAY_CELLS = 0.6, 1.5
"""A thing whose cells lie so far beside its centre, on average, is none: roots of its area, and cells."""


@dataclass(frozen=True)
class Centres:
    """Middles of things, the hottest first.

    Attributes:
        places: float32 `[k, 2]`, (row, column) in cells of the heads, within them.
        heats: float32 `[k]`, 0 to 1.
    """

    places: np.ndarray
    heats: np.ndarray

    def __len__(self) -> int:
        return len(self.heats)


def find_centres(heat: np.ndarray, nms_cells: int, threshold: float, top_k: int) -> Centres:
    """Local maxima: cells that no cell within a square is hotter than.

    Equal ones within half a square of each other are one centre, in their middle: what a sigmoid or 8-bit numbers
    saturate is flat. Of equally hot centres the one further up, then further left, comes first.

    Args:
        heat: float32 `[h, w]`, finite.
        nms_cells: side of the square, cells; an even number counts as the next odd one.
        threshold: cells below it are no centre.
        top_k: at most this many.
    """
    reach = nms_cells // 2
    peaks = (heat == cv2.dilate(heat, np.ones((2 * reach + 1,) * 2, np.uint8))) & (heat >= threshold)
    rows, columns = np.nonzero(peaks)
    linked = peaks.view(np.uint8)
    if reach > 1:  # squares of `reach` cells touch exactly if the cells are at most `reach` apart
        linked = cv2.dilate(linked, np.ones((reach, reach), np.uint8))
    count, names = cv2.connectedComponents(linked, connectivity=8)
    own = names[rows, columns]
    cells = np.bincount(own, minlength=count)[1:]
    places = np.stack([np.bincount(own, along, minlength=count)[1:] / cells for along in (rows, columns)], -1)
    heats = np.zeros(count, np.float32)
    heats[own] = heat[rows, columns]
    best = np.argsort(-heats[1:], kind="stable")[:top_k]
    return Centres(places[best].astype(np.float32), np.minimum(heats[1:][best], np.float32(1)))


def nearest_centre(targets: np.ndarray, centres: Centres, heads_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which centre each target is nearest to, int32 `[n]`, and how far that is, float32 `[n]`, cells.

    The distance transform tells for every cell of the heads which centre it is nearest to; a target takes the nearest
    of those that the four cells around it name. So the time does not depend on how many centres there are, and what
    lies near a centre goes to the right one; a target far from all, or about as near to two, may go to another.

    Args:
        targets: float32 `[2, n]`, (rows, columns), from −1e6 to 1e6.
        centres: at least one.
    """
    owners = _owners(centres, heads_hw)
    (height, width), (at_row, at_column) = heads_hw, np.ascontiguousarray(centres.places.T)
    # One more row and column, so that every cell is the first of four.
    four = cv2.copyMakeBorder(owners, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    first, others = four[:-1, :-1], (four[:-1, 1:], four[1:, :-1], four[1:, 1:])
    disputed = (first != others[0]) | (first != others[1]) | (first != others[2])
    low = np.clip(np.floor(targets), 0, [[height - 1], [width - 1]]).astype(np.intp)
    at = low[0] * width + low[1]

    def squared(owner: np.ndarray, to: np.ndarray) -> np.ndarray:
        down, right = to[0] - at_row.take(owner), to[1] - at_column.take(owner)
        return np.asarray(down * down + right * right)

    nearest = owners.ravel().take(at)
    least = squared(nearest, targets)
    which = np.flatnonzero(disputed.ravel().take(at))
    if len(which):
        corner, to = at.take(which) + low[0].take(which), targets.take(which, axis=1)
        owner, away = nearest.take(which), least.take(which)
        for step in (1, width + 1, width + 2):
            other = four.ravel().take(corner + step)
            other_away = squared(other, to)
            closer = other_away < away
            np.copyto(owner, other, where=closer)
            np.copyto(away, other_away, where=closer)
        nearest[which], least[which] = owner, away
    return nearest, np.sqrt(least)


def doubled(centres: Centres, areas: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Which centre each one is: itself, or a hotter one that it is a second peak of, int32 `[k]`.

    A network's heat has several peaks on what is large. A peak is a second one if it is none that the network is sure
    of, and lies closer to a hotter one, on the same class, than things so large stand to each other.

    Args:
        areas: `[k]`, cells that are nearest to each.
        class_ids: uint8 `[h, w]`, of the heads' size.
    """
    own = np.arange(len(centres), dtype=np.int32)
    lesser = np.flatnonzero(centres.heats < _SURE)  # the hottest come first
    if not len(lesser):
        return own
    rows, columns = centres.places.T
    reach = (areas * np.float32(_DOUBLE_ROOTS**2)).astype(np.float32)
    near = (rows[lesser, None] - rows) ** 2 + (columns[lesser, None] - columns) ** 2 < reach[lesser, None] + reach
    classes = class_ids[tuple(np.rint(centres.places.T).astype(np.intp))]
    near &= (classes[lesser, None] == classes) & (own < lesser[:, None])
    own[lesser] = np.where(near.any(1), near.argmax(1), lesser)
    while (own[own] != own).any():
        own = own[own]
    return own


def without_strays(
    of: np.ndarray,
    away: np.ndarray,
    targets: np.ndarray,
    which: np.ndarray,
    centres: Centres,
    heads_hw: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """`of` and `away` where no centre has cells that lie elsewhere: those go to the nearest of the other centres.

    A thing lies around its middle. What points at a centre from one side alone is a part of another thing, most often
    of a large one whose offsets err by more than it is far to the next small thing.

    Args:
        of: int32 `[n]`, centre of each cell.
        away: float32 `[n]`, how far the target is from it, cells.
        targets: float32 `[2, n]`, (rows, columns).
        which: intp `[n]`, the cells, flat.
    """
    cells = np.divmod(which, heads_hw[1])
    areas = np.bincount(of, minlength=len(centres))
    beside = [
        np.bincount(of, along, minlength=len(centres)) / np.maximum(areas, 1) - centre
        for along, centre in zip(cells, centres.places.T)
    ]
    stray = np.hypot(*beside) > np.maximum(_STRAY_CELLS, _STRAY_ROOTS * np.sqrt(areas))
    stray &= areas > 0
    kept = np.flatnonzero(~stray & (areas > 0))
    if not stray.any() or not len(kept):
        return of, away
    again = np.flatnonzero(stray.take(of))
    others = Centres(centres.places[kept], centres.heats[kept])
    nearest, distances = nearest_centre(targets.take(again, axis=1), others, heads_hw)
    of, away = of.copy(), away.copy()
    of[again], away[again] = kept.take(nearest), distances
    return of, away


def _owners(centres: Centres, heads_hw: tuple[int, int]) -> np.ndarray:
    """int32 `[h, w]`: which centre each cell is nearest to; of two centres in one cell the hotter has it."""
    rows, columns = np.rint(centres.places.T).astype(np.intp)
    empty = np.ones(heads_hw, np.uint8)
    empty[rows, columns] = 0
    names = np.asarray(cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1])
    _, first = np.unique(rows * heads_hw[1] + columns, return_index=True)
    centre_of = np.zeros(len(first) + 1, np.int32)
    centre_of[names[rows[first], columns[first]]] = first
    return centre_of.take(names.astype(np.intp))
