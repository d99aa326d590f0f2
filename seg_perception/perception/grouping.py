"""Cells of a class map to whole things, by centres and offsets.

After Cheng et al.: Panoptic-DeepLab, CVPR 2020 (arXiv 1911.10194): a cell belongs to the centre that is nearest to
where its offset points, and a thing's class is that of most of its cells. Beyond that, nothing is lost:

- Cells at the rim of a class, or where neighbours point at different places, are those of which a network is the
  least sure, and the heads are coarser than the class map: they are joined to their neighbours unless they point well.
  So are cells that point at no centre.
- Where two things of different classes have one centre, a pedestrian before a car, both are kept; and so are two of one
  class, if their cells clearly point at two places.
- Of what is small, the class map tells more than the heads (`lone_regions`).
- Several centres on one thing are one, if the network is not sure of the lesser ones.
- What points at a centre from one side alone is a stray part of another thing, and goes there.
- What is near no centre belongs to the neighbour that it touches, or is parted as if there were no heads (`leftovers`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from seg_perception.labels import VOID_ID
from seg_perception.perception.cells import resampled, runs_of
from seg_perception.perception.centres import Centres, doubled, find_centres, nearest_centre, without_strays
from seg_perception.perception.leftovers import with_leftovers
from seg_perception.perception.lone_regions import lone_regions
from seg_perception.perception.object_rows import Groups
from seg_perception.perception.panoptic_spec import PanopticSpec
from seg_perception.perception.votes import part_votes
from seg_perception.types import Heads

__all__ = ["group"]

_FARTHEST = 1e6
"""Offsets end here, so that their squares are numbers; cells."""
_NEAR, _NEAR_AT_RIM = (2.0, 0.5), (0.5, 0.1)
"""A cell points at a centre if it misses it by no more than these: cells, and roots of the thing's area."""
_JUMP = (1.0, 0.3)
"""Where neighbours of one class point further apart than this, two things meet, and blur into each other."""
_OWN_THING = 0.15
"""A class with such a share of a group's cells is a thing of its own."""
_ROUNDS = 2
"""Rims are so much wider than a cell of the heads, cells of the class map."""
_RIMS = 0.125
"""So much of a class map may be rims."""


def group(heads: Heads, spec: PanopticSpec) -> tuple[Groups, int]:
    """Groups of the class map's cells of things, and how many cells of the heads are no numbers: those say nothing.

    Args:
        heads: with centers and offsets.
    """
    assert heads.centers is not None and heads.offsets is not None
    sound = np.isfinite(heads.centers) & np.isfinite(heads.offsets[0]) & np.isfinite(heads.offsets[1])
    bad_cells = sound.size - int(np.count_nonzero(sound))
    thing = cv2.LUT(heads.class_ids, spec.is_thing.view(np.uint8))
    if not thing.any():
        return Groups.none(thing.shape), bad_cells
    heat = np.where(sound, heads.centers, np.float32(0)) if bad_cells else heads.centers
    centres = find_centres(heat, spec.nms_cells, spec.centre_threshold, spec.top_k)
    to = _targets(heads, sound)
    if not len(centres):
        return with_leftovers(Groups.none(heads.class_ids.shape), heads.class_ids, to, spec), bad_cells
    lone = lone_regions(heads.class_ids, spec.is_thing, centres, to)
    if len(lone.class_ids):
        others = np.where(lone.names > 0, np.uint8(VOID_ID), heads.class_ids)
        heads, thing = replace(heads, class_ids=others), thing * (lone.names == 0)
        if not thing.any():
            return lone, bad_cells
    return _grouped(heads, thing, to, centres, spec, sound).joined_with(lone), bad_cells


def _grouped(
    heads: Heads, thing: np.ndarray, to: np.ndarray, centres: Centres, spec: PanopticSpec, sound: np.ndarray
) -> Groups:
    """As the heads say; arguments are parts of what `group` knows."""
    said = _said_by_heads(heads, to, centres, spec, sound)
    map_hw = (heads.class_ids.shape[0], heads.class_ids.shape[1])
    names = resampled(said.names, map_hw) * (resampled(said.class_ids, map_hw) == heads.class_ids)
    _join(names, heads.class_ids, thing, rounds=_ROUNDS + map_hw[0] // sound.shape[0])
    open_ = (names == 0) & thing.view(np.bool_)
    if open_.any():
        np.copyto(names, resampled(said.otherwise, map_hw), where=open_)
    groups = _with_classes(names, heads.class_ids, centres.heats[said.centre], spec)
    open_ = (groups.names == 0) & thing.view(np.bool_)
    if not open_.any():
        return groups
    return with_leftovers(groups, np.where(open_, heads.class_ids, np.uint8(VOID_ID)), to, spec)


@dataclass(frozen=True)
class _Said:
    """What the heads say; maps of their size.

    Attributes:
        class_ids: uint8, the class at each cell's centre.
        names: int32, the group, 1 …; 0 where it is not sure, or nothing.
        otherwise: int32, the group for want of a better one.
        centre: intp `[g]`, of each group.
    """

    class_ids: np.ndarray
    names: np.ndarray
    otherwise: np.ndarray
    centre: np.ndarray


def _said_by_heads(heads: Heads, to: np.ndarray, centres: Centres, spec: PanopticSpec, sound: np.ndarray) -> _Said:
    height, width = sound.shape
    class_ids, inner = _classes_under(heads.class_ids, sound)
    jumps = _jumps(to, class_ids)
    which = np.flatnonzero(cv2.LUT(class_ids, spec.is_thing.view(np.uint8)))
    targets, inner = to.reshape(2, -1).take(which, axis=1), inner.ravel().take(which)
    nearest, away = nearest_centre(targets, centres, (height, width))
    one = doubled(centres, np.bincount(nearest, minlength=len(centres)), class_ids)
    if (one != np.arange(len(centres))).any():
        nearest = one.take(nearest)
        away = np.hypot(*(targets - centres.places.T.take(nearest, axis=1)))
    nearest, away = without_strays(nearest, away, targets, which, centres, (height, width))
    roots = np.sqrt(np.bincount(nearest, minlength=len(centres)).astype(np.float32))
    far, rim, jump = ((least + share * roots).take(nearest) for least, share in (_NEAR, _NEAR_AT_RIM, _JUMP))
    near = np.where(away <= far, nearest + 1, 0)
    trusted = (inner & (jumps.ravel().take(which) <= jump)) | (away <= rim)
    sure, parts = part_votes(np.where(trusted, near, 0), targets, inner, len(centres))
    names, otherwise = np.zeros(sound.shape, np.int32), np.zeros(sound.shape, np.int32)
    names.ravel()[which], otherwise.ravel()[which] = sure, np.where(sure > 0, sure, near)
    return _Said(class_ids, names, otherwise, np.append(np.arange(len(centres)), parts - 1))


def _classes_under(class_ids: np.ndarray, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class at the centre of each cell of the heads, void where they are no numbers; and whether its quarters
    have the same."""
    height, width = sound.shape
    middle = resampled(class_ids, (height, width))
    quarters = resampled(class_ids, (2 * height, 2 * width))
    inner = sound.copy()
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        inner &= quarters[down::2, right::2] == middle
    return np.where(sound, middle, np.uint8(VOID_ID)), inner


def _targets(heads: Heads, sound: np.ndarray) -> np.ndarray:
    """float32 `[2, h, w]`: (row, column) at which each cell of the heads points; numbers, all of them."""
    assert heads.offsets is not None
    to = np.clip(np.where(sound, heads.offsets, np.float32(0)), -_FARTHEST, _FARTHEST)
    to[0] += np.arange(sound.shape[0], dtype=np.float32)[:, None]
    to[1] += np.arange(sound.shape[1], dtype=np.float32)
    return to


def _jumps(to: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """float32 `[h, w]`: how far apart, in rows or columns, a cell and a neighbour of its class point, at the most."""
    jumps = np.zeros(class_ids.shape, np.float32)
    for axis in (0, 1):
        one, other = [slice(None), slice(None)], [slice(None), slice(None)]
        one[axis], other[axis] = slice(1, None), slice(None, -1)
        here, there = tuple(one), tuple(other)
        apart = np.abs(to[(slice(None), *here)] - to[(slice(None), *there)])
        apart = np.maximum(apart[0], apart[1]) * (class_ids[here] == class_ids[there])
        np.maximum(jumps[here], apart, out=jumps[here])
        np.maximum(jumps[there], apart, out=jumps[there])
    return jumps


def _join(names: np.ndarray, class_ids: np.ndarray, thing: np.ndarray, rounds: int) -> None:
    """Give cells of things without a name, in place, that of a neighbour of the same class."""
    wide = names.shape[1] + 2  # with a margin, so that every cell has neighbours
    named = cv2.copyMakeBorder(names, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0).ravel()
    classes = cv2.copyMakeBorder(class_ids, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=VOID_ID).ravel()
    things = cv2.copyMakeBorder(thing, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0).ravel()
    at = np.flatnonzero((named == 0) & things.view(np.bool_))
    steps = [-1, 1, -wide, wide, -wide - 1, -wide + 1, wide - 1, wide + 1]
    if len(at) > _RIMS * named.size:  # rims are few: this is noise, and not worth the time
        steps, rounds = steps[:4], 1
    for _ in range(rounds):
        mine, found = classes.take(at), np.zeros(len(at), np.int32)
        for step in steps:
            beside = at + step
            np.copyto(found, named.take(beside), where=(found == 0) & (classes.take(beside) == mine))
        if not found.any():
            break
        named[at] = found
        at = at[found == 0]
    names[:] = named.reshape(-1, wide)[1:-1, 1:-1]


def _with_classes(names: np.ndarray, class_ids: np.ndarray, heats: np.ndarray, spec: PanopticSpec) -> Groups:
    """Groups by centre to groups by centre and class."""
    kinds = int(np.count_nonzero(spec.is_thing))
    kind = np.zeros(256, np.int32)
    kind[spec.is_thing] = np.arange(kinds)
    runs = runs_of(names * np.int32(kinds) + cv2.LUT(class_ids, kind))
    counts = np.bincount(runs.values, runs.lengths, minlength=(len(heats) + 1) * kinds).reshape(-1, kinds)
    main = counts.argmax(1)
    kept = counts >= np.maximum(_OWN_THING * counts.sum(1), 1)[:, None]
    kept &= counts >= spec.min_areas[spec.is_thing]
    kept[np.arange(len(counts)), main] = True
    kept[0] = False
    centre, which = np.nonzero(kept)
    name = np.zeros(counts.shape, np.int32)
    name[centre, which] = np.arange(1, len(centre) + 1)
    name = np.where(kept, name, name[np.arange(len(counts)), main][:, None])
    of_run = name.ravel().take(runs.values)
    found = np.flatnonzero(spec.is_thing)[which].astype(np.uint8)
    return Groups(np.repeat(of_run, runs.lengths).reshape(names.shape), found, heats[centre - 1])
