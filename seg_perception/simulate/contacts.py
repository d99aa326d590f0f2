"""Where the countable things that a camera sees meet the ground, to a millimetre.

Along every bearing a ray sweeps outwards over the ground from below the camera. Where it leaves visible ground and
meets a thing right behind it is a contact; of a thing's contacts the nearest one counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Ground", "ObjectContacts", "Window", "sweep"]

_STEP_PX = 0.25
_PRECISION_M = 5e-4
_MOST_ROWS = 64


class Ground(Protocol):
    """The ground as seen from a camera, by bearing and range from its foot."""

    def look(self, bearings: np.ndarray, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is seen there, all `[N]`: instance ids, and whether it is ground."""

    def touches(self, bearings: np.ndarray, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """Whether what is seen at `far` touches the ground that is seen at `near`, bool `[N]`."""


@dataclass(frozen=True)
class ObjectContacts:
    """The objects that are seen to meet the ground, a row for each by rising instance id; the base frame (REP 103).

    A contact is where the line of sight leaves the visible ground onto the object: all that a camera can know. What
    overhangs hides the ground before the object's true footprint and a little beyond it: a car's bumper 0.24 m above
    the road is met by the line of sight to a place a sixth further away than the bumper is. `lift_m` says how high
    above the ground the object is met, 0 where it stands on it, and `footprint_xy` where its box begins.

    Attributes:
        instance_ids: uint16 `[n]`.
        class_ids: uint8 `[n]`, Cityscapes train ids.
        contact_xy: float64 `[n, 2]`, the place of the ground at the contact, m.
        contact_z_m: float64 `[n]`, its height in the base frame: the kerb's on a sidewalk.
        plane_xy: float64 `[n, 2]`, where the same line of sight meets the plane of the road: what one makes of the
            image who takes all ground for one plane. With `kerb_m` 0 the same as `contact_xy`, to 1 mm in 30 m.
        range_m, bearing_rad: float64 `[n]`, of `contact_xy` from the camera's foot, counter-clockwise from its heading.
        lift_m: float64 `[n]`, height above that ground at which the object is met there.
        width_m: float64 `[n]`, of the whole object, hidden parts too, across the line of sight to its contact.
        height_m: float64 `[n]`, of the whole object's top above the ground that it stands on.
        sizes_m: float64 `[n, 3]`, (length, width, height) as `SceneObject` has them.
        footprint_xy: float64 `[n, 2]`, the nearest place of the box of that length and width.
        velocities_mps: float64 `[n, 2]`, over the ground, along the base frame's axes.
        relative_mps: float64 `[n, 2]`, change per second of its coordinates in the base frame, which moves and turns.
        world_mps: float64 `[n, 2]`, over the ground, along the world's axes.
        without_contact: uint16 `[k]`, objects that are seen, but not to meet the ground in range: it is out of the
            picture, hidden, or too far away; or they are riders, who meet a bicycle.
    """

    instance_ids: np.ndarray
    class_ids: np.ndarray
    contact_xy: np.ndarray
    contact_z_m: np.ndarray
    plane_xy: np.ndarray
    range_m: np.ndarray
    bearing_rad: np.ndarray
    lift_m: np.ndarray
    width_m: np.ndarray
    height_m: np.ndarray
    sizes_m: np.ndarray
    footprint_xy: np.ndarray
    velocities_mps: np.ndarray
    relative_mps: np.ndarray
    world_mps: np.ndarray
    without_contact: np.ndarray

    def __len__(self) -> int:
        return len(self.instance_ids)


@dataclass(frozen=True)
class Window:
    """Where on the ground a thing may be met: lines of sight to it end there.

    Attributes:
        instance_id: of the thing.
        bearings_rad: from and to.
        nearest_m, furthest_m: from the camera's foot.
    """

    instance_id: int
    bearings_rad: tuple[float, float]
    nearest_m: float
    furthest_m: float


class _Rays:
    """Bearings of many windows side by side, swept outwards in steps of inverse range."""

    def __init__(self, windows: list[Window], focal_px: float, height_m: float) -> None:
        reach = [min(max(abs(b) for b in window.bearings_rad), 1.3) for window in windows]
        steps = [_STEP_PX * math.cos(b) ** 2 / focal_px for b in reach]
        own = [_spread(window.bearings_rad, step) for window, step in zip(windows, steps)]
        self.owner = np.repeat(np.arange(len(windows)), [len(bearings) for bearings in own])
        self.bearing = np.concatenate(own) if own else np.empty(0)
        self.instance = np.array([window.instance_id for window in windows])
        self.step = np.array([_STEP_PX * math.cos(b) / (focal_px * height_m) for b in reach])
        self.inverse = np.array([1 / window.nearest_m for window in windows])
        self.last = np.array([1 / window.furthest_m for window in windows])

    def rows(self, rays: np.ndarray, count: int) -> np.ndarray:
        """Ranges `[R, count + 1]` of some rays' next rows."""
        owner = self.owner[rays]
        inverse = self.inverse[owner][:, None] - self.step[owner][:, None] * np.arange(count + 1)
        ranges: np.ndarray = 1 / np.maximum(inverse, self.last[owner][:, None])
        return ranges


def _spread(limits: tuple[float, float], step: float) -> np.ndarray:
    count = max(2, math.ceil((limits[1] - limits[0]) / step) + 1)
    return np.linspace(limits[0], limits[1], count)


def sweep(
    windows: list[Window], ground: Ground, focal_px: float, height_m: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The nearest contact of each thing that has one.

    Bearings and rows are a quarter of a pixel apart, so that what is thinner may be missed. Where the ground ends is
    then found to half a millimetre along a bearing.

    Returns:
        which of the windows; bearing, rad; range of the last ground, m; that of the thing, less than 1 mm further.
    """
    rays = _Rays(windows, focal_px, height_m)
    active = np.ones(len(windows), bool)
    found: list[tuple[np.ndarray, ...]] = []
    count = 4
    while active.any():
        own = np.flatnonzero(active[rays.owner])
        ranges = rays.rows(own, count)
        ids, is_ground = ground.look(np.broadcast_to(rays.bearing[own, None], ranges.shape).ravel(), ranges.ravel())
        met = ids.reshape(ranges.shape)[:, 1:] == rays.instance[rays.owner[own]][:, None]
        met &= is_ground.reshape(ranges.shape)[:, :-1]
        row = np.full(len(windows), count)
        np.minimum.at(row, rays.owner[own], np.where(met.any(axis=1), met.argmax(axis=1), count))
        at_row = row[rays.owner[own]]
        hit = np.flatnonzero((at_row < count) & met[np.arange(len(own)), np.minimum(at_row, count - 1)])
        near, far = ranges[hit, at_row[hit]], ranges[hit, at_row[hit] + 1]
        done = _nearest_of(rays, own[hit], *_refined(rays, own[hit], near, far, ground))
        found.append(done)
        active[done[0]] = False
        # Where something else turned out to lie between, or to be no contact, the search goes on behind it.
        rays.inverse -= rays.step * np.minimum(row + 1, count)
        active &= rays.inverse > rays.last
        count = min(2 * count, _MOST_ROWS)
    window, bearing, near, far = (np.concatenate(part) for part in zip(*found)) if found else (np.empty(0),) * 4
    order = np.argsort(window, kind="stable")
    return window[order].astype(np.int64), bearing[order], near[order], far[order]


def _refined(
    rays: _Rays, own: np.ndarray, near: np.ndarray, far: np.ndarray, ground: Ground
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the ground really ends: near, far, and whether the rays' own things touch it there."""
    bearing = rays.bearing[own]
    gap = float((far - near).max()) if len(own) else 0.0
    for _ in range(max(0, math.ceil(math.log2(gap / _PRECISION_M))) if gap else 0):
        middle = (near + far) / 2
        is_ground = ground.look(bearing, middle)[1]
        near, far = np.where(is_ground, middle, near), np.where(is_ground, far, middle)
    is_met = ground.look(bearing, far)[0] == rays.instance[rays.owner[own]]
    return near, far, is_met & ground.touches(bearing, near, far)


def _nearest_of(
    rays: _Rays, own: np.ndarray, near: np.ndarray, far: np.ndarray, is_met: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Of each window's rays the one that ends first."""
    own, near, far = own[is_met], near[is_met], far[is_met]
    order = np.lexsort((near, rays.owner[own]))
    _, first = np.unique(rays.owner[own][order], return_index=True)
    chosen = order[first]
    return rays.owner[own[chosen]], rays.bearing[own[chosen]], near[chosen], far[chosen]
