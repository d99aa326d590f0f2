"""Cells of things that point at no centre: parts of their neighbours, or things whose centre the network missed."""

from __future__ import annotations

import cv2
import numpy as np

from seg_perception.perception.cells import resampled
from seg_perception.perception.object_rows import Groups
from seg_perception.perception.panoptic_spec import PanopticSpec
from seg_perception.perception.splitting import regions

__all__ = ["WITHOUT_CENTRE", "point_at_themselves", "with_leftovers"]

_OWN_MIDDLE = (1.0, 0.5)
"""A thing points at its own middle; it misses it by no more than these: cells, and roots of its area."""
WITHOUT_CENTRE = np.float32(0.5)
"""How sure it is that something near no centre is one thing."""
_PIECES = 0.125
"""So much of a class map may be pieces of things: more is noise, and not worth the time."""


def with_leftovers(groups: Groups, left: np.ndarray, targets: np.ndarray, spec: PanopticSpec) -> Groups:
    """The groups and what they leave over, parted as if there were no heads (`splitting`).

    A part that touches a group of its class is a piece of that, unless it points at its own middle: then it is a thing.

    Args:
        left: uint8 `[H, W]`, classes of the cells that are in no group, void elsewhere.
        targets: float32 `[2, h, w]`, where the cells of the heads point, (rows, columns).
    """
    names, class_ids = regions(left, spec)
    if not len(class_ids):
        return groups
    found = len(groups.class_ids)
    joins = np.zeros(len(class_ids), np.intp)
    if found and np.count_nonzero(names) <= _PIECES * names.size:
        own = point_at_themselves(names, len(class_ids), targets)
        joins = np.where(own, 0, _neighbours(names, class_ids, groups))
    alone = np.flatnonzero(joins == 0)
    joins[alone] = found + 1 + np.arange(len(alone))
    joined = np.append(np.int32(0), joins.astype(np.int32)).take(names) + groups.names
    sureness = np.append(groups.sureness, np.full(len(alone), WITHOUT_CENTRE))
    return Groups(joined, np.append(groups.class_ids, class_ids[alone]), sureness)


def point_at_themselves(names: np.ndarray, count: int, targets: np.ndarray) -> np.ndarray:
    """bool `[count]`: whether the cells of the region i + 1 point at its middle, on average; not without any cell.

    Args:
        names: int32 `[H, W]`, 0 for no region.
        targets: float32 `[2, h, w]`, where the cells of the heads point, (rows, columns).
    """
    height, width = targets.shape[1:]
    of = resampled(names, (height, width)).ravel()
    cells = np.flatnonzero(of)
    of = of.take(cells)
    areas = np.bincount(of, minlength=count + 1)[1:]
    misses = [
        np.bincount(of, to.ravel().take(cells) - along, minlength=count + 1)[1:] / np.maximum(areas, 1)
        for to, along in zip(targets, np.divmod(cells, width))
    ]
    near: np.ndarray = np.hypot(*misses) <= _OWN_MIDDLE[0] + _OWN_MIDDLE[1] * np.sqrt(areas)
    return near & (areas > 0)


def _neighbours(names: np.ndarray, class_ids: np.ndarray, groups: Groups) -> np.ndarray:
    """intp `[count]`: the group of its class that each region shares most of its border with, 1 …; 0 for none."""
    wide = names.shape[1] + 2  # with a margin, so that every cell has neighbours
    named = cv2.copyMakeBorder(groups.names, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0).ravel()
    rows, columns = np.nonzero(names)
    region = names[rows, columns] - 1
    group = np.concatenate([named.take((rows + 1) * wide + columns + 1 + step) for step in (-1, 1, -wide, wide)])
    region = np.tile(region, 4)
    touching = (group > 0) & (np.append(np.uint8(0), groups.class_ids).take(group) == class_ids.take(region))
    pairs, borders = np.unique(
        region[touching].astype(np.intp) * (len(groups.class_ids) + 1) + group[touching], return_counts=True
    )
    order = np.argsort(borders, kind="stable")  # the longest border is written last
    region, group = np.divmod(pairs[order], len(groups.class_ids) + 1)
    beside = np.zeros(len(class_ids), np.intp)
    beside[region] = group
    return beside
