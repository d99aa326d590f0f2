"""Cells of a class map to whole things, by centres and offsets.

After Cheng et al.: Panoptic-DeepLab, CVPR 2020 (arXiv 1911.10194): a cell belongs to the centre that is nearest to
where its offset points. Beyond that, nothing is lost: cells that point at no centre are joined to their neighbours,
and what has none becomes a thing of its own; and where two things of different classes share a centre, a pedestrian
before a car, both are kept.
"""

from __future__ import annotations

import numpy as np

from seg_perception.perception.cells import cell_under, cells_under
from seg_perception.perception.centres import find_centres, nearest_centre
from seg_perception.perception.components import components
from seg_perception.perception.object_rows import Groups
from seg_perception.perception.panoptic_spec import PanopticSpec
from seg_perception.types import Heads

__all__ = ["group"]

_FARTHEST = 1e6
"""Offsets are cut off here, so that squares stay finite; cells."""
_NEAR_CELLS, _NEAR_ROOTS = 2.0, 0.5
"""A cell belongs to a centre if it points within this many cells, and this many roots of the thing's area, of it."""
_ORPHAN = np.float32(0.5)
"""How sure it is that what has no centre is one thing."""
_PART = 0.2
"""Of a group's cells: a class with so many is a thing of its own."""


def group(heads: Heads, spec: PanopticSpec, cells: np.ndarray) -> tuple[Groups, int]:
    """Groups of the cells of things, and how many cells of the heads are no numbers.

    Args:
        heads: with centers and offsets.
        cells: intp `[c]`, flat indices of the class map's cells of thing classes, ascending.
    """
    assert heads.centers is not None and heads.offsets is not None
    map_hw, heads_hw = heads.class_ids.shape, heads.centers.shape
    heat, offsets = heads.centers, heads.offsets
    own = heads.class_ids.ravel().take(cells)
    sound = np.isfinite(heat) & np.isfinite(offsets[0]) & np.isfinite(offsets[1])
    bad_cells = sound.size - int(np.count_nonzero(sound))
    if bad_cells:
        heat = np.where(np.isfinite(heat), heat, np.float32(0))
    centres = find_centres(heat, spec.nms_cells, spec.centre_threshold, spec.top_k)
    of = np.zeros(len(cells), np.intp)
    count = len(centres.heats)
    class_under = heads.class_ids.ravel().take(cells_under(map_hw, heads_hw))
    if count:
        which = np.flatnonzero(spec.is_thing.take(class_under) & sound.ravel())
        names = np.zeros(sound.size, np.intp)
        names[which] = _claimed(which, offsets, centres, heads_hw)
        under = cells_under(heads_hw, map_hw).take(cells)
        said = names.take(under)
        of = np.where(class_under.take(under) == own, said, 0)
        _join(of, cells, own, map_hw, 3)
        of = np.where(of == 0, said, of)
    return _with_classes(of, own, centres.heats, cells, map_hw, spec), bad_cells


def _claimed(which, offsets, centres, heads_hw):
    width = heads_hw[1]
    rows, columns = np.divmod(which, width)
    targets = np.clip(offsets.reshape(2, -1).take(which, axis=1), -_FARTHEST, _FARTHEST)
    targets[0] += rows
    targets[1] += columns
    nearest, away = nearest_centre(targets, centres, heads_hw)
    areas = np.bincount(nearest, minlength=len(centres.heats))
    reach = _NEAR_CELLS + _NEAR_ROOTS * np.sqrt(areas)
    return np.where(away <= reach.take(nearest), nearest + 1, 0)


def _join(of, cells, own, map_hw, rounds):
    height, width = map_hw
    wide = width + 2
    at = cells + 2 * (cells // width) + wide + 1
    names = np.zeros((height + 2) * wide, np.intp)
    classes = np.full((height + 2) * wide, 255, np.uint8)
    names[at] = of
    classes[at] = own
    for _ in range(rounds):
        open_ = np.flatnonzero(of == 0)
        if not len(open_):
            return
        places, mine = at[open_], own[open_]
        found = np.zeros(len(open_), np.intp)
        for step in (-1, 1, -wide, wide, -wide - 1, -wide + 1, wide - 1, wide + 1):
            near = names.take(places + step)
            np.copyto(found, near, where=(found == 0) & (classes.take(places + step) == mine))
        if not found.any():
            return
        of[open_] = found
        names[places] = found


def _with_classes(of, own, heats, cells, map_hw, spec):
    count = len(heats)
    things = np.flatnonzero(spec.is_thing)
    compact = np.zeros(256, np.intp)
    compact[things] = np.arange(len(things))
    kind = compact.take(own)
    m = len(things)
    counts = np.bincount(of * m + kind, minlength=(count + 1) * m).reshape(count + 1, m)
    main = counts.argmax(1)
    totals = counts.sum(1)
    apart = (counts >= np.maximum(_PART * totals[:, None], spec.min_areas[things])) & (counts > 0)
    apart[np.arange(count + 1), main] = True
    apart[totals == 0] = False
    apart[0] = False
    # number of (centre, class)
    table = np.zeros((count + 1, m), np.intp)
    table[apart] = np.arange(1, apart.sum() + 1)
    mains = table[np.arange(count + 1), main]
    table = np.where(apart, table, mains[:, None])
    table[0] = 0
    result = table.ravel().take(of * m + kind)
    g, c = np.nonzero(apart)
    classes = things[c].astype(np.uint8)
    sure = heats[g - 1]
    left = np.flatnonzero(of == 0)
    if len(left):
        more, more_classes = components(cells[left], own[left], map_hw)
        result[left] = more + len(classes)
        classes = np.append(classes, more_classes)
        sure = np.append(sure, np.full(len(more_classes), _ORPHAN))
    return Groups(cells, result, classes, sure.astype(np.float32))
