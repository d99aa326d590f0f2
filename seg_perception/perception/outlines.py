"""Outlines of objects in a class map, and where in them ground begins."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.perception.contact_noise import Sights
from seg_perception.perception.contacts import CellRays

__all__ = ["OutlineFinder", "Outlines", "begins", "groups"]

_LEAST_DROP = 1e-6
_LOOK = 3
"""Cells: so far to look down, to tell down from what is nearly so, and the sides of things from where they end."""

_BORDER = _LOOK + 1
"""Of nothing around a map, so that every cell has others around it."""

_SAMPLES = 7
_MARGIN = 0.05
"""Columns and rows of cells of which it is worked out where down is, and how far others may be from them."""


@dataclass(frozen=True)
class Outlines:
    """Cells of objects beside cells that are not theirs; those of an object one after another.

    Attributes:
        cells: intp `[n]`, places in the class map with a border.
        owner: uint16 `[n]`, values of the instance map, rising.
        rays: float64 `[n, 3]`, of the cells' centres in the optical frame, z = 1; 0 for what no ray reaches.
        directions: float64 `[n, 3]`, in which the cells' centres are seen, axes of the ground frame, 1 deep along the
            optical axis; 0 for what no ray reaches.
        over_ground: bool `[n]`: ground may be next on the way down.
    """

    cells: np.ndarray
    owner: np.ndarray
    rays: np.ndarray
    directions: np.ndarray
    over_ground: np.ndarray


class OutlineFinder:
    """Made once for a camera and a class map."""

    def __init__(self, camera: CameraModel, onto: ClassMap) -> None:
        self._hw = onto.rows.cells, onto.columns.cells
        height, self._width = (count + 2 * _BORDER for count in self._hw)
        self._rays = _bordered_rays(camera, onto)
        self._changes = _changes(self._rays, self._width)
        self._numbers = np.zeros((height, self._width), np.uint16)
        self._free = np.zeros((height, self._width), np.uint8)
        self._told = np.zeros(self._free.size, bool)
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
        inner = np.s_[_BORDER:-_BORDER, _BORDER:-_BORDER]
        self._numbers[inner] = instance_map
        np.multiply(cv2.LUT(class_ids, is_ground.view(np.uint8)), instance_map == 0, out=self._free[inner])
        cells = _edges(self._numbers)
        owner = self._numbers.ravel().take(cells)
        order = np.argsort(owner, kind="stable")
        cells = cells.take(order)
        over_ground = cv2.dilate(self._free, self._kernel_for(ground)).ravel().take(cells).view(bool)
        rays = self._rays.take(cells, axis=0).astype(np.float64)
        return Outlines(cells, owner.take(order), rays, rays @ ground.pose[:3, :3].T, over_ground)

    def contacts(self, outlines: Outlines, ground: GroundCamera) -> tuple[Sights, np.ndarray]:
        """Where an object ends and ground is next on the way to the point straight below the camera.

        A contact is half way between the centres of the two cells: there the edge is, give or take half a cell.

        Returns:
            The lines of sight, and whose they are, uint16 `[k]`, rising.
        """
        near = np.flatnonzero(outlines.over_ground)
        cells, owner, turn = outlines.cells.take(near), outlines.owner.take(near), ground.pose[:3, :3]
        slopes = self._slopes(cells)
        ways = _ways(outlines.rays.take(near, axis=0), slopes, -turn[2])
        which, last, first = self._ends(cells, owner, ways)
        middle = (self._rays.take(last, axis=0).astype(np.float64) + self._rays.take(first, axis=0)) / 2
        directions = middle @ turn.T
        below = directions[:, 2] < -_LEAST_DROP
        if not below.all():
            which, directions = which[below], directions[below]
        return Sights.of(directions, slopes.take(which, axis=0), ground.eye_height_m), owner.take(which)

    def _ends(self, cells: np.ndarray, owner: np.ndarray, ways: np.ndarray) -> np.ndarray:
        """Where objects end and ground begins, on the way down from cells of theirs.

        Returns:
            intp `[3, k]`: which of the cells it is so for, rising; the last cell of the object, each but once; and the
            first of the ground.
        """
        found, free, numbers = [], self._free.ravel().view(bool), self._numbers.ravel()
        which, begins, last, own, towards = np.arange(len(cells)), cells, cells, owner, ways
        for length in range(1, _LOOK + 1):
            ahead = begins + self._offsets(towards * length)
            ends = np.flatnonzero(free.take(ahead) & ~self._told.take(last))
            found.append(np.stack([which.take(ends), last.take(ends), ahead.take(ends)]))
            self._told[found[-1][1]] = True
            on = np.flatnonzero(numbers.take(ahead) == own)
            which, begins, last, own = which.take(on), begins.take(on), ahead.take(on), own.take(on)
            towards = towards.take(on, axis=1)
        joined = np.concatenate(found, axis=1)
        self._told[joined[1]] = False
        joined = joined.take(np.argsort(joined[0], kind="stable"), axis=1)
        return joined[:, ~self._goes_on(joined[1], owner.take(joined[0]), ways.take(joined[0], axis=1))]

    def _goes_on(self, cells: np.ndarray, owner: np.ndarray, ways: np.ndarray) -> np.ndarray:
        """Bool `[k]`: right beside the way down there is still the object, some cells further.

        That is its side, stepped as cells are, and no place where it stands: of what is hidden or cut off below, such
        steps would else be all that there is.
        """
        numbers, further = self._numbers.ravel(), cells + self._offsets(ways * _LOOK)
        aside = self._offsets(np.stack([-ways[1], ways[0]]))
        on: np.ndarray = (numbers.take(further + aside) == owner) | (numbers.take(further - aside) == owner)
        return on

    def _offsets(self, ways: np.ndarray) -> np.ndarray:
        """intp `[k]`: so much further on in a map with a border."""
        columns, rows = np.rint(ways).astype(np.intp)
        rows *= self._width
        rows += columns
        return rows

    def _slopes(self, cells: np.ndarray) -> np.ndarray:
        """float64 `[n, 2, 2]`: how x / z and y / z of the rays change from a cell to the next column, row."""
        return self._changes.take(cells, axis=0).astype(np.float64).reshape(-1, 2, 2)

    def _kernel_for(self, ground: GroundCamera) -> np.ndarray:
        """uint8, square: where around a cell, any of them, the way down may lead to, up to the longest step."""
        if self._kernel is None or self._kernel[0] is not ground:
            rows, columns = (np.linspace(0, count - 1, min(count, _SAMPLES)).astype(np.intp) for count in self._hw)
            cells = ((rows[:, None] + _BORDER) * self._width + columns + _BORDER).ravel()
            ways = _ways(self._rays.take(cells, axis=0), self._slopes(cells), -ground.pose[2, :3])
            kernel = np.zeros((2 * _LOOK + 1,) * 2, np.uint8)
            for length in range(1, _LOOK + 1):
                (left, top), (right, bottom) = (
                    np.rint(length * np.clip(limit, -1, 1)).astype(int) + _LOOK
                    for limit in (ways.min(axis=1) - _MARGIN, ways.max(axis=1) + _MARGIN)
                )
                kernel[top : bottom + 1, left : right + 1] = 1
            self._kernel = (ground, kernel)
        return self._kernel[1]


def _bordered_rays(camera: CameraModel, onto: ClassMap) -> np.ndarray:
    """float32 `[cells with a border, 3]`: rays of the cells, z = 1, next to them what makes their slopes, 0 elsewhere.

    The border's rays go on as the last two do, so that half of the difference between a cell's neighbours is its slope.
    """
    hw = onto.rows.cells, onto.columns.cells
    rays = np.nan_to_num(CellRays(camera, onto).rays).reshape(*hw, 3)
    bordered = np.zeros((*(count + 2 * _BORDER for count in hw), 3), np.float32)
    bordered[_BORDER:-_BORDER, _BORDER:-_BORDER] = rays
    for axis in (0, 1):
        lines, last = np.moveaxis(bordered, axis, 0), hw[axis] + _BORDER - 1
        if hw[axis] > 1:
            lines[_BORDER - 1] = 2 * lines[_BORDER] - lines[_BORDER + 1]
            lines[last + 1] = 2 * lines[last] - lines[last - 1]
    return bordered.reshape(-1, 3)


def _changes(rays: np.ndarray, width: int) -> np.ndarray:
    """float32 `[cells with a border, 4]`: of x / z to the next column, row, and of y / z; 0 in the border."""
    changes = np.zeros((len(rays), 2, 2), np.float32)
    for axis, step in ((0, 1), (1, width)):
        np.divide(rays[2 * step :, :2] - rays[: -2 * step, :2], 2, out=changes[step:-step, :, axis])
    return changes.reshape(-1, 4)


def _edges(numbers: np.ndarray) -> np.ndarray:
    """intp `[n]`, places in a map with a border: cells of objects with another's beside them, and one of theirs.

    A cell that stands alone is nothing that stands on the ground.
    """
    flat, width = numbers.ravel(), numbers.shape[1]
    down, across = flat[width:] != flat[:-width], flat[1:] != flat[:-1]
    above, below, left, right = down[:-width], down[width:], across[width - 1 : -width], across[width : 1 - width]
    edge = above | below
    edge |= left
    edge |= right
    edge ^= above & below & left & right
    edge &= flat[width:-width] != 0
    return np.flatnonzero(edge) + width


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
    starts = begins(owner)
    which = np.zeros(len(owner), np.intp)
    which[starts[1:]] = 1
    return starts, which.cumsum()


def begins(owner: np.ndarray) -> np.ndarray:
    """Where each new one of numbers that rise begins, intp `[m]`."""
    first = np.empty(len(owner), bool)
    first[:1] = True
    np.not_equal(owner[1:], owner[:-1], out=first[1:])
    return np.flatnonzero(first)
