"""The drivable ground: a grid around the vehicle, and how far it is free in each direction.

Nothing is searched for in the image: tables say which cell of the class map shows each place of the ground, and a place
has the role of what is seen there. So a place is free only where drivable ground itself is seen, and what is hidden
behind an obstacle shows the obstacle and stays unseen.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from seg_perception.geometry.ground import ClassMap, GridSpec, GroundCamera
from seg_perception.perception.contacts import CellRays, contacts
from seg_perception.perception.fan import Fan, FanSpec
from seg_perception.perception.roles import BEYOND, CAUTION, DRIVABLE, EDGE, IS_GROUND, OBSTACLE, UNSEEN
from seg_perception.types import Boundary

__all__ = ["FREE", "OCCUPIED", "UNKNOWN", "FanSpec", "GroundTables", "drivable_mask"]

FREE, OCCUPIED, UNKNOWN = 0, 100, -1
"""Values of nav_msgs/OccupancyGrid."""

_WIDE = 10
"""From so many cells on a box filter is quicker than a dilation."""


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
        self._rays: Fan | None = None
        self._cell_rays: CellRays | None = None
        self._places: np.ndarray | None = None
        # Behind the map's cells: what is not in the picture; what lies before a ray's first cell in it; a ray's end.
        self._roles = np.empty(onto.size + 3, np.uint8)
        self._roles[onto.size :] = (UNSEEN, DRIVABLE, BEYOND)

    def read(self, class_ids: np.ndarray, role_of_class: np.ndarray) -> None:
        """Take in a class map uint8 `[rows, columns]`, for `grid` and `boundary`.

        Raises:
            ValueError: it has another size than the tables were made for.
        """
        rows, columns = self.onto.rows.cells, self.onto.columns.cells
        if class_ids.shape != (rows, columns):
            raise ValueError(f"tables for a class map of {rows}x{columns}, got {class_ids.shape}")
        roles = self._roles[: self.onto.size].reshape(rows, columns)
        cv2.LUT(class_ids, role_of_class, dst=roles)
        # Where an obstacle ends is known to half a cell, so that ground in the cell beside it may be hidden.
        beside = cv2.dilate((roles == OBSTACLE).view(np.uint8), np.ones((3, 3), np.uint8))
        np.maximum(roles, beside * np.uint8(EDGE), out=roles)  # only what is drivable has a lower code
        self._places = None

    def move(self, ground: GroundCamera) -> None:
        """The same camera is somewhere else."""
        self.ground = ground
        self._grid_moved = self._fan_moved = True

    def grid(self, caution_value: int) -> np.ndarray:
        """int8 `[rows along y, columns along x]`: free, occupied, unseen, and `caution_value` where caution is due.

        Occupied is what hides the ground at a place to which the ground is seen up to `contact_depth_m`, or which is
        so near to the picture's edge: a thing that the edge cuts off stands where its first part is seen.
        """
        assert self._grid is not None
        if self._grid_moved:
            self.ground.grid_cells(self._grid, self.onto, out=self._cells)
            self._grid_moved = False
        roles = self._roles.take(self._cells, mode="clip")
        values = cv2.LUT(roles, _value_table(caution_value)).view(np.int8)
        things = np.flatnonzero((roles == OBSTACLE) & self._beside_ground(roles))
        x, y = (centres.astype(np.float32) for centres in self._grid.centres())
        rows, columns = np.divmod(things.astype(np.int32), np.int32(len(x)))
        nearer = self.ground.cells_at(*self.ground.nearer(x[columns], y[rows], self._contact_depth_m), self.onto)
        contact = IS_GROUND.take(self._roles.take(nearer, mode="clip")) | (nearer == self.onto.size)
        values.ravel()[things[contact]] = OCCUPIED
        self._add_thin(values, roles)
        return values

    def _beside_ground(self, roles: np.ndarray) -> np.ndarray:
        """Bool: cells so near to seen ground, or to what is not in the picture, that a contact may be there at all."""
        assert self._grid is not None
        reach = math.ceil(self._contact_depth_m / self._grid.resolution_m) + 2
        side = 2 * reach + 1
        ground = cv2.LUT(roles, (IS_GROUND | (np.arange(256) == UNSEEN)).view(np.uint8))
        if reach < _WIDE:
            return cv2.dilate(ground, np.ones((side, side), np.uint8)).view(bool)
        spread: np.ndarray = cv2.boxFilter(ground, cv2.CV_32F, (side, side), normalize=False) > 0.5
        return spread

    def _add_thin(self, values: np.ndarray, roles: np.ndarray) -> None:
        """A thing that no cell's centre is behind, such as a post near by, occupies the cells in which it stands.

        Where a cell or a neighbour tells already, it tells better: small ones when their centres are hidden, large ones
        when they are occupied.
        """
        assert self._grid is not None
        places = self._contacts()
        columns, rows = (
            np.floor((places[:, axis] - low) / self._grid.resolution_m)
            for axis, low in enumerate((self._grid.x_m[0], self._grid.y_m[0]))
        )
        inside = (rows >= 0) & (rows < values.shape[0]) & (columns >= 0) & (columns < values.shape[1])
        rows, columns = rows[inside].astype(np.intp), columns[inside].astype(np.intp)
        small = 2 * self._grid.resolution_m < self._contact_depth_m
        told = roles == OBSTACLE if small else values == OCCUPIED
        known = cv2.dilate(told.view(np.uint8), np.ones((3, 3), np.uint8))
        new = known[rows, columns] == 0
        values[rows[new], columns[new]] = OCCUPIED

    def _contacts(self) -> np.ndarray:
        """`contacts`, once for each class map."""
        if self._cell_rays is None:
            self._cell_rays = CellRays(self.ground.camera, self.onto)
        if self._places is None:
            self._places = contacts(self._roles, self._cell_rays, self.ground, self.onto, self._contact_depth_m)
        return self._places

    def boundary(self) -> Boundary:
        """How far it is free in each direction."""
        assert self._fan is not None
        if self._fan_moved or self._rays is None:
            self._rays, self._fan_moved = Fan(self.ground, self.onto, self._fan, self._rays), False
        return self._rays.boundary(self._roles, self._contacts())


def _value_table(caution_value: int) -> np.ndarray:
    """Grid values, as uint8 `[256]`, by role; what hides the ground is unseen so far."""
    table = np.full(256, UNKNOWN, np.int8)
    table[DRIVABLE], table[CAUTION] = FREE, caution_value
    return table.view(np.uint8)


def drivable_mask(class_ids: np.ndarray, role_of_class: np.ndarray) -> np.ndarray:
    """uint8 `[H, W]`: 255 where the class is drivable, else 0."""
    mask: np.ndarray = cv2.LUT(class_ids, np.where(role_of_class == DRIVABLE, 255, 0).astype(np.uint8))
    return mask
