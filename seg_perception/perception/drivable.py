"""The drivable ground: a grid around the vehicle, and how far it is free in each direction.

Nothing is searched for in the image: tables say which cell of the class map shows each place of the ground, and a place
has the role of what is seen there. So a place is free only where drivable ground itself is seen, and what is hidden
behind an obstacle shows the obstacle and stays unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.geometry.ground import ClassMap, GridSpec, GroundCamera
from seg_perception.perception.roles import CAUTION, DRIVABLE, EDGE, OBSTACLE, UNSEEN
from seg_perception.types import Boundary

__all__ = ["FREE", "OCCUPIED", "UNKNOWN", "FanSpec", "GroundTables", "drivable_mask"]

FREE, OCCUPIED, UNKNOWN = 0, 100, -1
"""Values of nav_msgs/OccupancyGrid."""

_BEYOND = 6
"""Role at the end of every ray."""

_SPACING_CELLS = 0.5
"""At most so many cells of the class map lie between two samples of a ray, so that nothing seen is jumped over."""

_AROUND = np.full((3, 3), EDGE, np.uint8)
_PROBES = 48
_MOST_SAMPLES = 8192


@dataclass(frozen=True)
class FanSpec:
    """Directions and reach of the boundary.

    Attributes:
        step_rad: between two bearings.
        range_max_m: how far to look.
    """

    step_rad: float
    range_max_m: float


class GroundTables:
    """Everything about the ground that depends on camera and pose alone.

    Args:
        ground: the camera at its place.
        onto: the class map.
        grid: None: no grid is wanted.
        fan: None: no boundary is wanted.
        contact_depth_m: how much of what stands on the ground is called occupied, from where it meets the ground.
    """

    def __init__(
        self,
        ground: GroundCamera,
        onto: ClassMap,
        grid: GridSpec | None,
        fan: FanSpec | None,
        contact_depth_m: float,
    ) -> None:
        self.ground, self.onto = ground, onto
        self._grid, self._fan, self._contact_depth_m = grid, fan, contact_depth_m
        self._grid_moved = self._fan_moved = True
        self._cells = np.empty(grid.shape if grid else (0, 0), np.int32)
        self._rays: _Fan | None = None
        # Behind the map's cells: what is not seen; what lies below the picture, or before a ray's first cell in it,
        # where ground is as good as seen; a ray's end.
        self._roles = np.empty(onto.size + 3, np.uint8)
        self._roles[onto.size :] = (UNSEEN, DRIVABLE, _BEYOND)

    def read(self, class_ids: np.ndarray, role_of_class: np.ndarray) -> None:
        """Take in a class map uint8 `[rows, columns]`, for `grid` and `boundary`."""
        rows, columns = self.onto.rows.cells, self.onto.columns.cells
        if class_ids.shape != (rows, columns):
            raise ValueError(f"tables for a class map of {rows}x{columns}, got {class_ids.shape}")
        roles = self._roles[: self.onto.size].reshape(rows, columns)
        cv2.LUT(class_ids, role_of_class, dst=roles)
        # Where an obstacle ends is known to half a cell, so that ground in the cell beside it may be hidden.
        beside = cv2.dilate((roles == OBSTACLE).view(np.uint8), _AROUND)
        np.maximum(roles, beside, out=roles)

    def move(self, ground: GroundCamera) -> None:
        """The same camera is somewhere else."""
        self.ground = ground
        self._grid_moved = self._fan_moved = True

    def grid(self, caution_value: int) -> np.ndarray:
        """int8 `[rows along y, columns along x]`: free, occupied, unseen, and `caution_value` where caution is due.

        Occupied is what hides the ground at a place to which the ground is seen up to `contact_depth_m`, or which is
        so near to the picture's lower edge.
        """
        assert self._grid is not None
        if self._grid_moved:
            self.ground.grid_cells(self._grid, self.onto, out=self._cells)
            self._grid_moved = False
        roles = self._roles.take(self._cells, mode="clip")
        values = cv2.LUT(roles, _value_table(caution_value)).view(np.int8)
        things = np.flatnonzero((roles == OBSTACLE) & self._beside_ground(roles))
        nearer = self.ground.cells_nearer(self._grid, things, self.onto, self._contact_depth_m)
        contact = _IS_GROUND.take(self._roles.take(nearer, mode="clip"))
        values.ravel()[things[contact]] = OCCUPIED
        return values

    def _beside_ground(self, roles: np.ndarray) -> np.ndarray:
        """Bool: cells so near to seen ground, or to what is not in the picture, that a contact may be there at all."""
        assert self._grid is not None
        reach = math.ceil(self._contact_depth_m / self._grid.resolution_m) + 2
        ground = cv2.LUT(roles, (_IS_GROUND | (np.arange(256) == UNSEEN)).view(np.uint8))
        return cv2.dilate(ground, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)).view(bool)

    def boundary(self) -> Boundary:
        """How far it is free in each direction."""
        assert self._fan is not None
        if self._fan_moved or self._rays is None:
            self._rays, self._fan_moved = _Fan(self.ground, self.onto, self._fan, self._rays), False
        return self._rays.boundary(self._roles)


_IS_GROUND = np.isin(np.arange(256), (DRIVABLE, EDGE, CAUTION))
"""By role: what hides the ground right behind such a place stands there."""


def _value_table(caution_value: int) -> np.ndarray:
    """Grid values, as uint8 `[256]`, by role; what hides the ground is unseen so far."""
    table = np.full(256, UNKNOWN, np.int8)
    table[DRIVABLE], table[CAUTION] = FREE, caution_value
    return table.view(np.uint8)


class _Fan:
    """Rays over the ground from the camera's foot, sampled so that they look at every cell on their way."""

    def __init__(self, ground: GroundCamera, onto: ClassMap, fan: FanSpec, old: _Fan | None = None) -> None:
        low, high, nearest_m = _reach(ground, fan)
        first, last = math.ceil(low / fan.step_rad - 1e-9), math.floor(high / fan.step_rad + 1e-9)
        self._step_rad, self._first = fan.step_rad, first
        bearings = np.arange(first, last + 1) * fan.step_rad
        inverse = _samples(ground, bearings, nearest_m, fan.range_max_m, onto)
        count = len(inverse)
        # An old fan's memory is written over, if it is large enough: new memory takes longer than what is computed.
        size = len(bearings) * (count + 1)
        self._memory: np.ndarray = (
            old._memory if old and old._memory.size >= size else np.empty(size + size // 8, np.int32)
        )
        self._cells = self._memory[:size].reshape(len(bearings), count + 1)
        cells = self._cells[:, :-1]
        ground.fan_cells(bearings + ground.heading_rad, inverse, onto, out=cells)
        seen = cells != onto.size
        self._rows = np.arange(len(bearings))
        begins = seen.argmax(axis=1)
        begins[~seen[self._rows, begins]] = count
        # What comes before the first that is seen does not stop a ray; where nothing is seen nothing is known.
        np.copyto(cells, np.int32(onto.size + 1), where=np.arange(count) < begins[:, None])
        cells[begins == count] = onto.size
        self._inverse, self._begins = inverse, begins
        self._count = self._common_end(begins, seen)
        self._cells[:, self._count] = onto.size + 2

    @staticmethod
    def _common_end(begins: np.ndarray, seen: np.ndarray) -> int:
        """Samples to which the rays in the middle half all see the ground: the others may leave the image earlier."""
        count = seen.shape[1]
        quarter = len(begins) // 4
        middle = slice(quarter, len(begins) - quarter)
        looking = seen[middle][begins[middle] < count]
        if not len(looking) or looking[:, -1].all():
            return count
        return int((count - looking[:, ::-1].argmax(axis=1)).min())

    def boundary(self, roles: np.ndarray) -> Boundary:
        along = roles.take(self._cells, mode="clip")
        stop = (along > EDGE).argmax(axis=1)
        what = along[self._rows, stop]
        inverse = self._inverse
        ranges = np.full(len(stop), np.nan)
        ended = (what == CAUTION) | (what == OBSTACLE)
        at = stop[ended]
        before = np.maximum(at - 1, 0)
        # Between two samples, the middle of their places in the image; the first that is seen has none before it.
        before = np.where(at > self._begins[ended], before, at)
        ranges[ended] = 2 / (inverse[at] + inverse[before])
        ranges[what == _BEYOND] = np.inf
        begins = self._begins.min(initial=self._count)
        return Boundary(
            bearing_min_rad=self._first * self._step_rad,
            bearing_step_rad=self._step_rad,
            range_min_m=float(1 / inverse[min(begins, self._count - 1)]),
            range_max_m=float(1 / inverse[self._count - 1]),
            ranges_m=ranges,
        )


def _reach(ground: GroundCamera, fan: FanSpec) -> tuple[float, float, float]:
    """Lowest and highest bearing from the heading in view, and the distance of the nearest ground."""
    directions = ground.camera.edge_rays @ ground.pose[:3, :3].T
    below = directions[:, 2] < 0
    across = np.hypot(directions[:, 0], directions[:, 1])
    distance = np.divide(ground.eye_height_m * across, -directions[:, 2], out=np.full(len(across), np.inf), where=below)
    foot = ground.project(np.array(ground.foot))
    if bool(ground.camera.sees(foot)):
        return -math.pi, math.pi - fan.step_rad / 2, 0.05
    useful = distance < 4 * fan.range_max_m
    if not useful.any():
        return 0.0, 0.0, fan.range_max_m / 2
    turned = np.arctan2(directions[useful, 1], directions[useful, 0]) - ground.heading_rad
    turned = np.arctan2(np.sin(turned), np.cos(turned))
    return float(turned.min()), float(turned.max()), max(0.05, float(distance.min()))


def _samples(
    ground: GroundCamera, bearings: np.ndarray, nearest_m: float, range_max_m: float, onto: ClassMap
) -> np.ndarray:
    """Inverse distances, falling, evenly spaced: the image of a ray over the ground is nearly even in them."""
    nearest_m = min(nearest_m, range_max_m / 1.01)
    inverse = np.linspace(1 / nearest_m, 1 / range_max_m, _PROBES)
    probed = bearings[:: max(1, len(bearings) // 6)] + ground.heading_rad
    direction = np.stack([np.cos(probed), np.sin(probed)], -1)
    places = np.array(ground.foot) + direction[:, None] / inverse[:, None]
    pixels = ground.project(places) * (onto.columns.scale, onto.rows.scale)
    steps = np.hypot(*np.moveaxis(np.diff(pixels, axis=1), 2, 0))
    largest = float(np.nanmax(steps, initial=1.0))
    count = min(_MOST_SAMPLES, max(2, math.ceil((_PROBES - 1) * largest / _SPACING_CELLS) + 1))
    return np.linspace(1 / nearest_m, 1 / range_max_m, count)


def drivable_mask(class_ids: np.ndarray, role_of_class: np.ndarray) -> np.ndarray:
    """uint8 `[H, W]`: 255 where the class is drivable, else 0."""
    mask: np.ndarray = cv2.LUT(class_ids, np.where(role_of_class == DRIVABLE, 255, 0).astype(np.uint8))
    return mask
