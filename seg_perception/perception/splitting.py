"""Things in a class map that nobody told apart: connected regions of one class, parted where things stand side by side.

A region's profile says how many of its cells are in each column, and its skyline how high it reaches there. People who
touch, and cars in a row, have a valley between them: the skyline falls below 0.85 of what it reaches further left and
further right, or the profile falls below 0.7, and the skyline falls, too. (A bus behind a post has a valley in its
profile alone, and stays whole.) The region is cut where both together are lowest, unless a part would be too small, or
narrower than a quarter of its height. After the projection histograms of Haritaoglu, Harwood, Davis: Hydra, 1999.

What hides the other is not told apart so, nor what stands above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.perception.cells import Runs, runs_of
from seg_perception.perception.components import components
from seg_perception.perception.panoptic_spec import PanopticSpec

__all__ = ["regions"]

_PROFILE, _DIP, _SKYLINE = 0.7, 0.98, 0.85
"""Of what is reached on both sides: so low a profile where the skyline dips, or so low a skyline, is a valley."""
_SMOOTHED = 3
_PART_AREA, _PART_WIDTH = 0.03, 0.25
"""A part has at least this share of the region's cells, and is at least so wide for its height."""
_COLUMNS = 65536
"""So many columns of regions are looked at, the largest regions' first; their numbers fit into 16 bits."""
_ROUNDS = 8


def regions(class_ids: np.ndarray, spec: PanopticSpec) -> tuple[np.ndarray, np.ndarray]:
    """Regions of one class each, parted where several things touch: `components`, and what is said above.

    Args:
        class_ids: uint8 `[h, w]`.
        spec: parts are not smaller than it wants things to be.

    Returns:
        names: int32 `[h, w]`, 1 … n, 0 for no region; and uint8 `[n]`, their classes.
    """
    names, found = components(class_ids, spec.is_thing)
    width = names.shape[1]
    columns = runs_of(np.ascontiguousarray(names.T))
    areas = np.bincount(columns.values, columns.lengths, minlength=len(found) + 1)[1:]
    least = spec.min_areas[found]
    large = np.flatnonzero(areas >= np.maximum(2 * least, 2))
    if len(large) * width > _COLUMNS:
        large = large[np.argsort(-areas[large], kind="stable")[: _COLUMNS // width]]
    if not len(large):
        return names, found
    outline = _outline(columns, large, len(found), names.shape)
    cuts = _cuts(outline)
    if not len(cuts):
        return names, found
    begins = _parts(outline, cuts, areas[large], least[large])
    parent, further = large[begins // width] + 1, begins % width > 0
    name = parent.astype(np.int32)
    name[further] = len(found) + 1 + np.arange(np.count_nonzero(further))
    of_column = np.repeat(name, np.diff(begins, append=outline.counts.size)).reshape(len(large), width)
    line = np.zeros(len(found) + 1, np.intp)
    line[large + 1] = (of_column != of_column[:, :1]).any(1) * (1 + np.arange(len(large)))
    line_of = line.take(names.ravel())
    cells = np.flatnonzero(line_of)
    names.ravel()[cells] = of_column.ravel()[(line_of[cells] - 1) * width + cells % width]
    return names, np.append(found, found[parent[further] - 1])


@dataclass(frozen=True)
class _Outline:
    """Columns of regions, `[n, w]` each, 0 where the region has no cells.

    Attributes:
        counts: intp, cells of the region in the column.
        profile: float32, the same, smoothed.
        skyline: float32, how far above its lowest row the region reaches there, smoothed.
    """

    counts: np.ndarray
    profile: np.ndarray
    skyline: np.ndarray


def _outline(columns: Runs, large: np.ndarray, count: int, map_hw: tuple[int, ...]) -> _Outline:
    """Of the regions `large` (0 …), from the runs of the map's columns."""
    (height, width), lines = map_hw, len(large)
    line = np.full(count + 1, -1, np.intp)
    line[large + 1] = np.arange(lines)
    mine = line.take(columns.values)
    which = np.flatnonzero(mine >= 0)
    column, top = np.divmod(columns.starts[which], height)
    at, lengths = mine[which] * width + column, columns.lengths[which]
    counts = np.bincount(at, lengths, minlength=lines * width).astype(np.intp)
    # Runs come from the top of each column to its bottom.
    order = np.argsort(at.astype(np.uint16), kind="stable")
    begins = np.flatnonzero(np.diff(at[order], prepend=-1))
    ends = np.append(begins[1:], len(order)) - 1
    places, tops, bottoms = at[order[begins]], top[order[begins]], (top + lengths)[order[ends]]
    lowest = np.maximum.reduceat(bottoms, np.flatnonzero(np.diff(places // width, prepend=-1)))
    heights = np.zeros(lines * width, np.intp)
    heights[places] = lowest[places // width] - tops
    profile, skyline = (
        cv2.blur(values.reshape(lines, width).astype(np.float32), (_SMOOTHED, 1), borderType=cv2.BORDER_CONSTANT)
        for values in (counts, heights)
    )
    return _Outline(counts.reshape(lines, width), profile, skyline)


def _below(values: np.ndarray, share: float) -> np.ndarray:
    """Where values `[n, w]` are below this share of the largest on either side."""
    left, right = np.maximum.accumulate(values, 1), np.maximum.accumulate(values[:, ::-1], 1)[:, ::-1]
    return np.asarray(values < share * np.minimum(left, right))


def _cuts(outline: _Outline) -> np.ndarray:
    """Flat places in the outline at which a part begins: one for each valley, intp ascending."""
    dips = _below(outline.skyline, _SKYLINE) | (_below(outline.profile, _PROFILE) & _below(outline.skyline, _DIP))
    valley = dips & (outline.counts > 0)
    places, width = np.flatnonzero(valley), valley.shape[1]
    if not len(places):
        return places
    begins = np.flatnonzero(np.append(True, (np.diff(places) > 1) | (places[1:] % width == 0)))
    depths = (outline.profile + outline.skyline).ravel()[places]
    run = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(places))))
    lowest = places[depths == np.minimum.reduceat(depths, begins)[run]]
    run = run[depths == np.minimum.reduceat(depths, begins)[run]]
    first = np.flatnonzero(np.append(True, np.diff(run) > 0))
    last = np.append(first[1:], len(run)) - 1
    return np.asarray((lowest[first] + lowest[last] + 1) // 2)


def _parts(outline: _Outline, cuts: np.ndarray, areas: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Flat places at which a part or a region begins, without the cuts beside a part that is too small."""
    counts, profile = outline.counts.ravel(), outline.profile.ravel()
    count, width = outline.counts.shape
    for _ in range(_ROUNDS):
        begins = np.union1d(np.arange(count) * width, cuts)
        region = begins // width
        cells = np.add.reduceat(counts, begins)
        wide = np.add.reduceat((counts > 0).astype(np.intp), begins)
        small = cells < np.maximum(least[region], _PART_AREA * areas[region])
        small |= wide < _PART_WIDTH * np.maximum.reduceat(profile, begins)
        small &= cells < areas[region]
        if not small.any():
            break
        # A part that is too small goes to the neighbour from which the shallower valley parts it.
        left = np.where(begins % width > 0, profile[begins], -1)
        right = np.append(left[1:], -1)
        leaves, joins = np.flatnonzero(small & (left >= right)), np.flatnonzero(small & (left < right)) + 1
        cuts = np.setdiff1d(cuts, begins[np.append(leaves, joins)])
    return begins
