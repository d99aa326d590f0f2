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
"""Cells, to tell down from what is nearly so: along the sides of things that matters."""

_AROUND = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Outlines:
    """Cells of objects beside cells that are not theirs; those of an object one after another.

    Attributes:
        cells: intp `[n]`, flat indices into the class map.
        owner: uint16 `[n]`, values of the instance map, rising.
        directions: float64 `[n, 3]`, in which the cells' centres are seen, axes of the ground frame.
        by_ground: bool `[n]`: ground is among the eight cells around.
    """

    cells: np.ndarray
    owner: np.ndarray
    directions: np.ndarray
    by_ground: np.ndarray


class OutlineFinder:
    """Made once for a camera and a class map."""

    def __init__(self, camera: CameraModel, onto: ClassMap) -> None:
        self._hw = onto.rows.cells, onto.columns.cells
        self._rays = CellRays(camera, onto).rays
        # A border of nothing all around, so that every cell has eight neighbours.
        self._numbers = np.zeros((self._hw[0] + 2, self._hw[1] + 2), np.uint16)
        self._free = np.zeros_like(self._numbers, np.uint8)

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
        numbers = self._numbers
        numbers[inner] = instance_map
        np.multiply(cv2.LUT(class_ids, is_ground.view(np.uint8)), instance_map == 0, out=self._free[inner])
        cells = np.flatnonzero(_edges(numbers))
        owner = instance_map.ravel()[cells]
        order = np.argsort(owner, kind="stable")
        cells = cells[order]
        by_ground = cv2.dilate(self._free, _AROUND).ravel().take(self._bordered(cells)).view(bool)
        directions = self._rays[cells].astype(np.float64) @ ground.pose[:3, :3].T
        return Outlines(cells, owner[order], directions, by_ground)

    def contacts(self, outlines: Outlines, ground: GroundCamera) -> tuple[Sights, np.ndarray]:
        """Where an object's cell has ground next to it on the way to the point straight below the camera.

        The contact is half way between the two cells' centres: there the edge is, give or take half a cell.

        Returns:
            The lines of sight, and whose they are, uint16 `[k]`, rising.
        """
        near = np.flatnonzero(outlines.by_ground)
        cells, owner, turn = outlines.cells[near], outlines.owner[near], ground.pose[:3, :3]
        rays = self._rays[cells].astype(np.float64)
        slopes = self._slopes(cells)
        which, last, first = self._ends(cells, owner, _ways(rays, slopes, -turn[2]))
        directions = (self._rays[last].astype(np.float64) + self._rays[first]) / 2 @ turn.T
        below = directions[:, 2] < -_LEAST_DROP
        which, directions = which[below], directions[below]
        return Sights.of(directions, turn[:, :2] @ slopes[which], ground.eye_height_m), owner[which]

    def _ends(
        self, cells: np.ndarray, owner: np.ndarray, ways: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where objects end and ground begins, down from cells of theirs.

        Returns:
            Which of the cells it is so for, intp `[k]`, rising; the last cell of the object and the first of the ground.
        """
        which, last = np.arange(len(cells)), cells
        found = []
        for length in range(1, _LONGEST_STEP + 1):
            columns, rows = np.rint(ways[:, which] * length).astype(np.intp)
            ahead = cells[which] + rows * self._hw[1] + columns
            bordered = self._bordered(cells[which]) + rows * (self._hw[1] + 2) + columns
            free = self._free.ravel().take(bordered, mode="clip").view(bool)
            found.append((which[free], last[free], ahead[free]))
            own = self._numbers.ravel().take(bordered, mode="clip") == owner[which]
            which, last = which[own], ahead[own]
        joined = [np.concatenate(part) for part in zip(*found)]
        order = np.argsort(joined[0], kind="stable")
        return joined[0][order], joined[1][order], joined[2][order]

    def _bordered(self, cells: np.ndarray) -> np.ndarray:
        """Where cells are in the maps with a border."""
        height_before: np.ndarray = cells // self._hw[1]
        return cells + 2 * height_before + (self._hw[1] + 3)

    def _slopes(self, cells: np.ndarray) -> np.ndarray:
        """float64 `[n, 2, 2]`: how x / z and y / z of the rays change from a cell to the next column, row."""
        height, width = self._hw
        row, column = np.divmod(cells, width)
        slopes = np.empty((len(cells), 2, 2))
        for axis, at, count, step in ((0, column, width, 1), (1, row, height, width)):
            after, before = at + 1 < count, at > 0
            rise = self._rays[cells + step * after, :2] - self._rays[cells - step * before, :2]
            slopes[:, :, axis] = rise / np.maximum(after.astype(np.float64) + before, 1)[:, None]
        return slopes


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
        rays: float64 `[k, 3]`, z = 1, and how they change, `[k, 2, 2]`.
        down: `[3]`, straight down in the optical frame.
    """
    x, y = down[0] - down[2] * rays[:, 0], down[1] - down[2] * rays[:, 1]
    (xc, xr), (yc, yr) = slopes[:, 0].T, slopes[:, 1].T
    ways = np.stack([x * yr - y * xr, y * xc - x * yc])
    with np.errstate(invalid="ignore", divide="ignore"):
        ways /= np.abs(ways).max(axis=0) * np.sign(xc * yr - xr * yc)
    return np.nan_to_num(ways, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def groups(owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of numbers that rise: where each new one begins, intp `[m]`, and the how manieth each is, intp `[k]`."""
    begins = np.empty(len(owner), bool)
    begins[:1] = True
    np.not_equal(owner[1:], owner[:-1], out=begins[1:])
    return np.flatnonzero(begins), np.cumsum(begins) - 1
