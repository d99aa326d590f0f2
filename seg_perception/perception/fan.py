"""Rays over the ground from the camera's foot: how far each of them is free."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.perception.roles import BEYOND, CAUTION, EDGE, OBSTACLE
from seg_perception.types import Boundary

__all__ = ["Fan", "FanSpec"]

_SPACING_CELLS = 0.45
"""At most so many cells of the class map lie between two samples of a ray, so that it jumps over nothing."""

_PROBES = 48
_PROBED_RAYS = 6
_MOST_SAMPLES = 8192
_UNKNOWN_STEP_CELLS = 8.0
_LATE = 1.5
"""A ray that sees its first ground so many times further away than the first does leaves too much unseen."""
_FORWARD_RAD = math.radians(30.0)
_NEARER = 1.15
_NEARER_M = 0.1
"""A thing between two rays is one that is nearer than what they end at, by a share and by a length."""


@dataclass(frozen=True)
class FanSpec:
    """Directions and reach of the boundary.

    Attributes:
        step_rad: between two bearings.
        range_max_m: how far to look.
    """

    step_rad: float
    range_max_m: float


class Fan:
    """The rays of one camera at one place, and which cells of the class map show what is along them.

    Args:
        old: no longer needed; its memory is written over.
    """

    def __init__(self, ground: GroundCamera, onto: ClassMap, fan: FanSpec, old: Fan | None = None) -> None:
        low, high, nearest_m = _reach(ground, fan)
        first, last = math.ceil(low / fan.step_rad - 1e-9), math.floor(high / fan.step_rad + 1e-9)
        self._step_rad, self._first, self._ground = fan.step_rad, first, ground
        bearings = np.arange(first, max(first, last) + 1) * fan.step_rad
        self.inverse_range = inverse = _samples(ground, bearings, nearest_m, fan.range_max_m, onto)
        count = len(inverse)
        # New memory takes longer than what is computed.
        size = len(bearings) * (count + 1)
        reused = old is not None and size <= old._memory.size <= 4 * size
        self._memory: np.ndarray = old._memory if reused and old else np.empty(size + size // 8, np.int32)
        self._cells = self._memory[:size].reshape(len(bearings), count + 1)
        cells = self._cells[:, :-1]
        ground.fan_cells(bearings + ground.heading_rad, inverse, onto, out=cells)
        seen = cells != onto.size
        self._rows = np.arange(len(bearings))
        begins = seen.argmax(axis=1)
        begins[~seen[self._rows, begins]] = count
        self._count = _common_end(begins, seen, bearings)
        self._begins = begins
        # What comes before the first that is seen does not stop a ray.
        np.copyto(cells, np.int32(onto.size + 1), where=np.arange(count) < begins[:, None])
        self._range_min_m = self._leave_out_late(ground, onto, cells)
        self._cells[:, self._count] = onto.size + 2

    def _leave_out_late(self, ground: GroundCamera, onto: ClassMap, cells: np.ndarray) -> float:
        """Rays that see nothing, or nothing near, say nothing; the distance at which the first of the others begins."""
        looking = self._begins < self._count
        starts = 1 / self.inverse_range[np.minimum(self._begins, self._count - 1)]
        nearest_m = float(starts[looking].min()) if looking.any() else float(starts[0])
        looking &= starts <= max(_LATE * nearest_m, nearest_m + ground.eye_height_m)
        cells[~looking] = onto.size
        return nearest_m

    def boundary(self, roles: np.ndarray, contacts_xy: np.ndarray) -> Boundary:
        """How far it is free.

        Args:
            roles: of the class map's cells, and behind them of what is unseen, of what does not stop, of a ray's end.
            contacts_xy: places where things meet the ground, float `[n, 2]`: those between two rays end the nearer one.
        """
        along = roles.take(self._cells, mode="clip")
        stop = (along > EDGE).argmax(axis=1)
        what = along[self._rows, stop]
        ranges = np.full(len(stop), np.nan)
        ended = (what == CAUTION) | (what == OBSTACLE)
        at = stop[ended]
        # Between two samples, the middle of their places in the image; the first that is seen has none before it.
        before = np.where(at > self._begins[ended], at - 1, at)
        ranges[ended] = 2 / (self.inverse_range[at] + self.inverse_range[before])
        ranges[what == BEYOND] = np.inf
        range_max_m = float(1 / self.inverse_range[self._count - 1])
        self._end_at(ranges, contacts_xy, range_max_m)
        return Boundary(
            bearing_min_rad=self._first * self._step_rad,
            bearing_step_rad=self._step_rad,
            range_min_m=self._range_min_m,
            range_max_m=range_max_m,
            ranges_m=ranges,
        )

    def _end_at(self, ranges: np.ndarray, contacts_xy: np.ndarray, range_max_m: float) -> None:
        """What is too thin for a ray to meet it ends the ray that is nearest to it."""
        away = contacts_xy - np.array(self._ground.foot)
        distance = np.hypot(away[:, 0], away[:, 1])
        bearing = np.arctan2(away[:, 1], away[:, 0]) - self._ground.heading_rad
        bearing = np.arctan2(np.sin(bearing), np.cos(bearing))
        ray = np.rint(bearing / self._step_rad).astype(np.intp) - self._first
        use = (ray >= 0) & (ray < len(ranges)) & (distance >= self._range_min_m) & (distance < range_max_m)
        ray, distance = ray[use], distance[use]
        around = np.pad(np.where(np.isnan(ranges), np.inf, ranges), 1, constant_values=np.inf)
        ends = np.minimum(np.minimum(around[:-2], around[2:]), around[1:-1])[ray]
        thin = ends > _NEARER * distance + _NEARER_M
        np.fmin.at(ranges, ray[thin], distance[thin])


def _reach(ground: GroundCamera, fan: FanSpec) -> tuple[float, float, float]:
    """Lowest and highest bearing from the heading in view, and a distance below that of the nearest ground."""
    if bool(ground.camera.sees(ground.project(np.array(ground.foot)))):
        return -math.pi, math.pi - fan.step_rad / 2, 0.05
    directions = ground.camera.probe_rays @ ground.pose[:3, :3].T
    across = np.hypot(directions[:, 0], directions[:, 1])
    below = directions[:, 2] < 0
    distance = np.divide(ground.eye_height_m * across, -directions[:, 2], out=np.full(len(across), np.inf), where=below)
    useful = distance < 4 * fan.range_max_m
    if not useful.any():
        return 0.0, 0.0, fan.range_max_m / 2
    turned = np.arctan2(directions[useful, 1], directions[useful, 0]) - ground.heading_rad
    turned = np.arctan2(np.sin(turned), np.cos(turned))
    return float(turned.min()), float(turned.max()), max(0.05, 0.9 * float(distance.min()))


def _samples(
    ground: GroundCamera, bearings: np.ndarray, nearest_m: float, range_max_m: float, onto: ClassMap
) -> np.ndarray:
    """Inverse distances, falling: as evenly in the class map as all rays together allow."""
    nearest_m = min(nearest_m, range_max_m / 1.01)
    height = ground.eye_height_m
    angles = np.linspace(math.atan(nearest_m / height), math.atan(range_max_m / height), _PROBES)
    distances = height * np.tan(angles)
    distances[0], distances[-1] = nearest_m, range_max_m
    probed = bearings[:: max(1, len(bearings) // _PROBED_RAYS)] + ground.heading_rad
    direction = np.stack([np.cos(probed), np.sin(probed)], -1)
    pixels = ground.project(np.array(ground.foot) + direction[:, None] * distances[:, None])
    seen = ground.camera.sees(pixels)
    steps = np.hypot(*np.moveaxis(np.diff(pixels * (onto.columns.scale, onto.rows.scale), axis=1), 2, 0))
    steps = np.where(np.isnan(steps), _UNKNOWN_STEP_CELLS, steps)
    cells = (steps * (seen[:, 1:] | seen[:, :-1])).max(axis=0)
    so_far = np.concatenate([[0.0], np.cumsum(np.maximum(cells, 1e-3))])
    count = int(min(_MOST_SAMPLES, max(2.0, np.ceil(so_far[-1] / _SPACING_CELLS) + 1)))
    return np.interp(np.linspace(0, so_far[-1], count), so_far, 1 / distances)


def _common_end(begins: np.ndarray, seen: np.ndarray, bearings: np.ndarray) -> int:
    """Samples to which all rays ahead see the ground: those at the sides may leave the image earlier."""
    count = seen.shape[1]
    middle = (bearings[0] + bearings[-1]) / 2
    ahead = np.abs(bearings - middle) <= min(_FORWARD_RAD, (bearings[-1] - bearings[0]) / 4)
    looking = seen[ahead & (begins < count)]
    if not len(looking) or looking[:, -1].all():
        return count
    return int((count - looking[:, ::-1].argmax(axis=1)).min())
