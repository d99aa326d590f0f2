"""Small regions of a class that are one thing each: so few cells of the heads tell less than the class map does."""

from __future__ import annotations

import numpy as np

from seg_perception.perception.cells import resampled
from seg_perception.perception.centres import Centres
from seg_perception.perception.components import components
from seg_perception.perception.leftovers import WITHOUT_CENTRE, point_at_themselves
from seg_perception.perception.object_rows import Groups

__all__ = ["lone_regions"]

_SMALL_CELLS = 24
"""Of the heads: a network misses every third centre of what is smaller, and its offsets err by a third of its size."""

_MOST_REGIONS = 1000
"""More of them are noise, and not worth the time."""


def lone_regions(class_ids: np.ndarray, is_thing: np.ndarray, centres: Centres, targets: np.ndarray) -> Groups:
    """Connected regions of fewer than 24 cells of the heads that have one centre in them, or none but point at their
    own middle.

    What points elsewhere may be seen behind a post, and what has two centres may be two things: heads tell. Heads as
    fine as the class map always do: there is no such region.

    Args:
        class_ids: uint8 `[H, W]`.
        is_thing: bool `[256]`.
        targets: float32 `[2, h, w]`, where the cells of the heads point, (rows, columns).
    """
    (height, width), heads_hw = class_ids.shape, targets.shape[1:]
    none = Groups.none(class_ids.shape)
    if heads_hw[0] >= height:
        return none
    names, found = components(class_ids, is_thing)
    if len(found) > _MOST_REGIONS:
        return none
    cells = np.bincount(resampled(names, (heads_hw[0], heads_hw[1])).ravel(), minlength=len(found) + 1)[1:]
    small = cells < _SMALL_CELLS
    if not small.any():
        return none
    rows, columns = np.rint((centres.places + 0.5) * np.divide((height, width), heads_hw) - 0.5).astype(np.intp).T
    at = names[np.minimum(np.maximum(rows, 0), height - 1), np.minimum(np.maximum(columns, 0), width - 1)]
    inside = np.bincount(at, minlength=len(found) + 1)[1:]
    one, without = small & (inside == 1), small & (inside == 0)
    if without.any():
        without &= point_at_themselves(names, len(found), targets)
    lone = np.flatnonzero(one | without)
    heats = np.zeros(len(found) + 1, np.float32)
    heats[at] = centres.heats
    number = np.zeros(len(found) + 1, np.int32)
    number[lone + 1] = np.arange(1, len(lone) + 1)
    return Groups(number.take(names), found[lone], np.where(one, heats[1:], WITHOUT_CENTRE)[lone])
