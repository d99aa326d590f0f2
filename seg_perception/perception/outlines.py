"""Outlines of objects in a class map, and where in them ground begins."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.perception.contact_noise import Sights
from seg_perception.perception.contacts import CellRays

__all__ = ["OutlineFinder", "Outlines", "groups"]

_LEAST_DROP = 1e-6
_LONGEST_STEP = 3
"""Cells: so far to look, to tell down from what is nearly so; along the sides of things that matters."""

_SAMPLES = 7
_MARGIN = 0.05
"""Columns and rows of cells of which it is worked out where down is, and how far others may be from them."""


@dataclass(frozen=True)
class Outlines:
    """Cells of objects beside cells that are not theirs; those of an object one after another.

    Attributes:
        cells: intp `[n]`, flat indices into the class map.
        owner: uint16 `[n]`, values of the instance map, rising.
        directions: float64 `[n, 3]`, in which the cells' centres are seen, axes of the ground frame, 1 deep along the
            optical axis; 0 for what no ray reaches.
        over_ground: bool `[n]`: ground may be next on the way down.
    """

    cells: np.ndarray
    owner: np.ndarray
    directions: np.ndarray
    over_ground: np.ndarray


class OutlineFinder:
    """Made once for a camera and a class map."""

    def __init__(self, camera: CameraModel, onto: ClassMap) -> None:
        self._hw = onto.rows.cells, onto.columns.cells
        self._rays = np.nan_to_num(CellRays(camera, onto).rays, copy=False)
        # A border of nothing all around, so that every cell has eight neighbours.
        self._numbers = np.zeros((self._hw[0] + 2, self._hw[1] + 2), np.uint16)
        self._free = np.zeros_like(self._numbers, np.uint8)
        self._told = np.zeros(self._hw[0] * self._hw[1], bool)
        self._kernel: tuple[GroundCamera, np.ndarray] | None = None

    def read(
        self, instance_map: np.ndarray, class_ids: np.ndarray, is_ground: np.ndarray, ground: GroundCamera
    ) -> Outlines:
        """Take in the maps of a frame; arguments are those of `ObstacleFinder.locate`.

        Raises:
            ValueError: a map of another size.
        """
        for array in (instance_map, class_ids):
            if array.shape != self._hw:
                raise ValueError(f"made for class maps of {self._hw}, got {array.shape}")
        inner = np.s_[1:-1, 1:-1]
        self._numbers[inner] = instance_map
        np.multiply(cv2.LUT(class_ids, is_ground.view(np.uint8)), instance_map == 0, out=self._free[inner])
        cells = np.flatnonzero(_edges(self._numbers))
        owner = instance_map.ravel().take(cells)
        order = np.argsort(owner, kind="stable")
        cells = cells.take(order)
        over_ground = cv2.dilate(self._free, self._kernel_for(ground)).ravel().take(self._bordered(cells)).view(bool)
        directions = self._rays.take(cells, axis=0).astype(np.float64) @ ground.pose[:3, :3].T
        return Outlines(cells, owner.take(order), directions, over_ground)

    def contacts(self, outlines: Outlines, ground: GroundCamera) -> tuple[Sights, np.ndarray]:
        """Where an object ends and ground is next on the way to the point straight below the camera.

        A contact is half way between the centres of the two cells: there the edge is, give or take half a cell.

        Returns:
            The lines of sight, and whose they are, uint16 `[k]`, rising.
        """
        near = np.flatnonzero(outlines.over_ground)
        cells, owner, turn = outlines.cells.take(near), outlines.owner.take(near), ground.pose[:3, :3]
        rays, slopes = self._rays.take(cells, axis=0), self._slopes(cells)
        which, last, first = self._ends(cells, owner, _ways(rays, slopes, -turn[2]))
        middle = (self._rays.take(last, axis=0).astype(np.float64) + self._rays.take(first, axis=0)) / 2
        directions = middle @ turn.T
        below = directions[:, 2] < -_LEAST_DROP
        if not below.all():
            which, directions = which[below], directions[below]
        return Sights.of(directions, slopes.take(which, axis=0), ground.eye_height_m), owner.take(which)

    def _ends(
        self, cells: np.ndarray, owner: np.ndarray, ways: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where objects end and ground begins, on the way down from cells of theirs.

        Returns:
            Which of the cells it is so for, intp `[k]`, rising; the last cell of the object, each but once, and the
            first of the ground.
        """
        found, steps, width = [], np.arange(len(cells)), self._hw[1]
        which, last, bordered = steps, cells, self._bordered(cells)
        for length in range(1, _LONGEST_STEP + 1):
            columns, rows = np.rint(ways.take(which, axis=1) * length).astype(np.intp)
            ahead = cells.take(which) + (rows * width + columns)
            around = bordered.take(which) + (rows * (width + 2) + columns)
            free = np.flatnonzero(self._free.ravel().take(around).view(bool) & ~self._told.take(last))
            found.append(np.stack([which, last, ahead]).take(free, axis=1))
            self._told[found[-1][1]] = True
            own = np.flatnonzero(self._numbers.ravel().take(around) == owner.take(which))
            which, last = which.take(own), ahead.take(own)
        joined = np.concatenate(found, axis=1)
        self._told[joined[1]] = False
        return tuple(joined.take(np.argsort(joined[0], kind="stable"), axis=1))

    def _bordered(self, cells: np.ndarray) -> np.ndarray:
        """Where cells are in the maps with a border."""
        return cells + 2 * (cells // self._hw[1]) + (self._hw[1] + 3)

    def _slopes(self, cells: np.ndarray) -> np.ndarray:
        """float64 `[n, 2, 2]`: how x / z and y / z of the rays change from a cell to the next column, row."""
        height, width = self._hw
        row, column = np.divmod(cells, width)
        slopes = np.empty((len(cells), 2, 2))
        for axis, at, count, step in ((0, column, width, 1), (1, row, height, width)):
            after, before = at < count - 1, at > 0
            rise = self._rays.take(cells + step * after, axis=0) - self._rays.take(cells - step * before, axis=0)
            np.divide(rise[:, :2], np.maximum(after.astype(np.float64) + before, 1)[:, None], out=slopes[:, :, axis])
        return slopes

    def _kernel_for(self, ground: GroundCamera) -> np.ndarray:
        """uint8, square: where around a cell, any of them, the way down may lead to, up to the longest step."""
        if self._kernel is None or self._kernel[0] is not ground:
            rows, columns = (np.linspace(0, count - 1, min(count, _SAMPLES)).astype(np.intp) for count in self._hw)
            cells = (rows[:, None] * self._hw[1] + columns).ravel()
            ways = _ways(self._rays.take(cells, axis=0), self._slopes(cells), -ground.pose[2, :3])
            kernel = np.zeros((2 * _LONGEST_STEP + 1,) * 2, np.uint8)
            for length in range(1, _LONGEST_STEP + 1):
                (left, top), (right, bottom) = (
                    np.rint(length * np.clip(limit, -1, 1)).astype(int) + _LONGEST_STEP
                    for limit in (ways.min(axis=1) - _MARGIN, ways.max(axis=1) + _MARGIN)
                )
                kernel[top : bottom + 1, left : right + 1] = 1
            self._kernel = (ground, kernel)
        return self._kernel[1]


def _edges(numbers: np.ndarray) -> np.ndarray:
    """Bool `[h, w]` of a bordered map `[h + 2, w + 2]`: cells of objects with another's beside them, and one of theirs.

    A cell that stands alone is nothing that stands on the ground.
    """
    down, across = numbers[1:, 1:-1] != numbers[:-1, 1:-1], numbers[1:-1, 1:] != numbers[1:-1, :-1]
    above, below, left, right = down[:-1], down[1:], across[:, :-1], across[:, 1:]
    edge: np.ndarray = above | below | left | right
    edge ^= above & below & left & right
    edge &= numbers[1:-1, 1:-1] != 0
    return edge


def _ways(rays: np.ndarray, slopes: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Where down is in the class map, (columns, rows), float64 `[2, k]`, the larger of which is a whole cell.

    Args:
        rays: `[k, 3]`, z = 1, and how they change, `[k, 2, 2]`.
        down: `[3]`, straight down in the optical frame.
    """
    x, y = down[0] - down[2] * rays[:, 0], down[1] - down[2] * rays[:, 1]
    (xc, xr), (yc, yr) = slopes.transpose(1, 2, 0)
    ways = np.stack([x * yr - y * xr, y * xc - x * yc])
    longest = np.maximum(np.abs(ways[0]), np.abs(ways[1]))
    ways /= np.copysign(np.maximum(longest, 1e-30), xc * yr - xr * yc)
    return ways


def groups(owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of numbers that rise: where each new one begins, intp `[m]`, and the how manieth each is, intp `[k]`."""
    begins = np.empty(len(owner), bool)
    begins[:1] = True
    np.not_equal(owner[1:], owner[:-1], out=begins[1:])
    return np.flatnonzero(begins), np.cumsum(begins) - 1
