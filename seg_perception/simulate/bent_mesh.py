"""Meshes of a straight plan laid along a bend: long polygons are cut into pieces, vehicles are turned as they are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np

from seg_perception.simulate.atlas import GROUND
from seg_perception.simulate.bend import Bend
from seg_perception.simulate.layout import Parked
from seg_perception.simulate.mesh import Mesh, normals_of

__all__ = ["bent_block", "cut_for", "laid_along"]

_SAGITTA_M = 0.005
"""How far the chord of a piece may lie off its arc, in the middle of the ego lane."""

_SHORT_M = 1.0
"""What is shorter along the street is not cut."""


def bent_block(mesh: Mesh, bend: Bend, parked: Iterable[Parked]) -> Mesh:
    """A block, cut already, in the world: parked vehicles keep their shape, all else is laid along the bend."""
    bent = laid_along(mesh, bend)
    for vehicle in parked:
        own = mesh.instance_ids == vehicle.instance_id
        pose = bend.pose(vehicle.x, vehicle.y)
        turn = pose[:3, :3].T
        bent.corners[own] = (mesh.corners[own] - (vehicle.x, vehicle.y, 0.0)) @ turn + pose[:3, 3]
        bent.normals[own] = mesh.normals[own] @ turn
    return bent


def laid_along(mesh: Mesh, bend: Bend) -> Mesh:
    """Every corner where the bend has it. What is flat stays flat: edges along the street stay parallel."""
    corners = bend.points(mesh.corners)
    return replace(mesh, corners=corners, normals=normals_of(corners))


def cut_for(mesh: Mesh, bend: Bend) -> Mesh:
    """A straight mesh, cut across the street into pieces short enough to be laid along the bend."""
    step = math.sqrt(8 * _SAGITTA_M * bend.radius_m)
    ground = mesh.corners[mesh.texture == GROUND][..., 0]
    along = mesh.corners[mesh.instance_ids == 0][..., 0]
    # All are cut where any ground begins or ends: neighbours that are cut apart would gape.
    ends = np.unique(np.concatenate([ground.ravel(), [along.min(), along.max()]]))
    pieces = np.ceil(np.diff(ends) / step).astype(int)
    inner = [np.linspace(low, high, count + 1)[:-1] for low, high, count in zip(ends, ends[1:], pieces)]
    return _cut(mesh, np.concatenate([*inner, ends[-1:]]))


def _cut(mesh: Mesh, cuts: np.ndarray) -> Mesh:
    """All that is long and has four corners, two at either end, cut at these x; anything else stays whole."""
    x = mesh.corners[:, :4, 0]
    low, high = x.min(axis=1), x.max(axis=1)
    at_low, at_high = x == low[:, None], x == high[:, None]
    board = (at_low.sum(axis=1) == 2) & (at_high.sum(axis=1) == 2) & (high - low > _SHORT_M)
    board &= (mesh.corners[:, 4:] == mesh.corners[:, 3:4]).all(axis=(1, 2)) & (mesh.instance_ids == 0)
    first, last = np.searchsorted(cuts, low, "right"), np.searchsorted(cuts, high, "left")
    count = np.where(board, np.maximum(last - first, 0), 0) + 1
    source = np.repeat(np.arange(len(mesh)), count)
    piece = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    after = first[source] + piece
    begin = np.where(piece == 0, low[source], cuts[np.maximum(after - 1, 0)])
    end = np.where(piece == count[source] - 1, high[source], cuts[np.minimum(after, len(cuts) - 1)])
    parts = Mesh(*(getattr(mesh, field.name)[source] for field in fields(Mesh)))
    own = np.flatnonzero(count[source] > 1)
    parts.corners[own] = _cut_boards(parts.corners[own], at_low[source[own]], begin[own], end[own])
    return parts


def _cut_boards(corners: np.ndarray, at_low: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The parts from x = `begin` to `end` of polygons `[P, MAX_CORNERS, 3]` whose corners `at_low` begin them."""
    number = np.arange(4)
    opposite = np.where(at_low != np.roll(at_low, -1, axis=1), (number + 1) % 4, (number - 1) % 4)
    four = corners[:, :4]
    other = np.take_along_axis(four, opposite[..., None], axis=1)
    x = np.where(at_low, begin[:, None], end[:, None])
    share = (x - four[..., 0]) / (other[..., 0] - four[..., 0])
    four = four + share[..., None] * (other - four)
    four[..., 0] = x
    return np.concatenate([four, np.repeat(four[:, 3:], corners.shape[1] - 4, axis=1)], axis=1)
