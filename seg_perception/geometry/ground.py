"""The ground as a camera sees it: which cell of a class map shows which place of the ground.

The ground is the plane z = `height_m` of a ground frame (REP 105's base_footprint: x forward, y left, z up). Tables are
made by projecting places of the ground into the image, never the other way round, so that every place gets the one
pixel in which it is seen, and far away no place between two rows of pixels is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seg_perception.errors import GeometryError
from seg_perception.geometry.camera import CameraModel

__all__ = ["Axis", "ClassMap", "GridSpec", "GroundCamera"]

_NEAREST_DEPTH = 1e-6
"""Places must be in front of the camera; what is at its very lens does not matter."""

_STRIP = 20_000
_LEAST_HEIGHT_M = 0.05
_ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Axis:
    """How a pixel coordinate falls on a class map: at ⌊scale · pixel + offset⌋, if low ≤ that < high.

    Attributes:
        scale, offset: cells per pixel, and cells.
        low, high: the part of the map that shows the camera's image, in cells; not always whole ones.
        cells: of the map along this axis.
    """

    scale: float
    offset: float
    low: float
    high: float
    cells: int


@dataclass(frozen=True)
class ClassMap:
    """A class map `[rows.cells, columns.cells]` and how the camera's image falls on it."""

    rows: Axis
    columns: Axis

    @property
    def size(self) -> int:
        """Cells in all; as an index it stands for what the camera does not see."""
        return self.rows.cells * self.columns.cells


@dataclass(frozen=True)
class GridSpec:
    """A grid on the ground, in the ground frame.

    Attributes:
        x_m, y_m: (low, high) edges.
        resolution_m: side of a cell.
    """

    x_m: tuple[float, float]
    y_m: tuple[float, float]
    resolution_m: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows along y, columns along x), as in nav_msgs/OccupancyGrid."""
        columns, rows = ((high - low) / self.resolution_m for low, high in (self.x_m, self.y_m))
        return max(1, round(rows)), max(1, round(columns))

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """x `[columns]` and y `[rows]` of the cells' centres, float64."""
        rows, columns = self.shape
        x = self.x_m[0] + (np.arange(columns) + 0.5) * self.resolution_m
        y = self.y_m[0] + (np.arange(rows) + 0.5) * self.resolution_m
        return x, y


class GroundCamera:
    """A camera at its place over the ground.

    Args:
        camera: what it is.
        ground_from_optical: pose of the optical frame in the ground frame, float64 `[4, 4]`.
        height_m: z of the ground in the ground frame.

    Attributes:
        camera, pose, ground_z_m: the arguments.
        foot: (x, y) of the camera's vertical projection on the ground, the ground frame.
        heading_rad: of the optical axis (of the image's upward direction, where the camera looks straight down).
        eye_height_m: of the optical centre above the ground.

    Raises:
        GeometryError: `bad_pose`, not a rigid transform; `below_ground`, the camera is not above the ground.
    """

    def __init__(self, camera: CameraModel, ground_from_optical: np.ndarray, height_m: float = 0.0) -> None:
        pose = np.asarray(ground_from_optical, np.float64)
        _check_pose(pose)
        self.camera, self.pose, self.ground_z_m = camera, pose, height_m
        self.eye_height_m = float(pose[2, 3] - height_m)
        if not self.eye_height_m >= _LEAST_HEIGHT_M:
            raise GeometryError(
                "below_ground",
                f"the camera is {self.eye_height_m:.3f} m above the ground; expected at least {_LEAST_HEIGHT_M} m: "
                "check its pose, ground_frame and ground_height_m",
            )
        self.foot = (float(pose[0, 3]), float(pose[1, 3]))
        forward, up_in_image = pose[:2, 2], -pose[:2, 1]
        ahead = forward if np.hypot(*forward) > 1e-3 else up_in_image
        self.heading_rad = math.atan2(ahead[1], ahead[0])

    @cached_property
    def _rows(self) -> np.ndarray:
        """float64 `[3, 3]`: optical coordinates of the ground's point (x, y) are rows · (x, y, 1)."""
        turn, eye = self.pose[:3, :3].T, self.pose[:3, 3]
        return np.column_stack([turn[:, 0], turn[:, 1], turn @ (np.array([0.0, 0.0, self.ground_z_m]) - eye)])

    def project(self, points_xy: np.ndarray) -> np.ndarray:
        """Pixels float64 `[..., 2]` of places of the ground `[..., 2]`; NaN where `CameraModel.project` says so."""
        points = np.asarray(points_xy, np.float64)
        return self.camera.project(points @ self._rows[:, :2].T + self._rows[:, 2])

    def ground_at(self, pixels: np.ndarray) -> np.ndarray:
        """Places of the ground float64 `[..., 2]` seen at pixels `[..., 2]`; NaN at and above the horizon."""
        directions = self.camera.rays(pixels) @ self.pose[:3, :3].T
        drop = np.where(directions[..., 2] < 0, -directions[..., 2], np.nan)
        return self.pose[:2, 3] + directions[..., :2] * (self.eye_height_m / drop)[..., None]

    def grid_cells(self, grid: GridSpec, onto: ClassMap, out: np.ndarray) -> None:
        """Which cell of the class map shows the centre of each cell of the grid.

        Args:
            out: int32 `[rows, columns]`, is filled with indices into the flattened map; `onto.size` where nothing is
                seen.
        """
        x, y = grid.centres()
        across = [(a * x + c).astype(np.float32) for a, _, c in self._rows.tolist()]
        away = [(b * y).astype(np.float32) for b in self._rows[:, 1].tolist()]
        begins, ends = self._columns_in_view(x, y)
        for rows in _strips(len(y), len(x)):
            columns = slice(int(begins[rows].min()), int(ends[rows].max()))
            out[rows, : columns.start] = out[rows, columns.stop :] = onto.size
            if columns.start < columns.stop:
                parts = [np.add.outer(along_y[rows], along_x[columns]) for along_y, along_x in zip(away, across)]
                self._see(parts, onto, out[rows, columns])

    def cells_at(self, x: np.ndarray, y: np.ndarray, onto: ClassMap) -> np.ndarray:
        """Which cell of the class map shows each place of the ground, int32 `[n]` as in `grid_cells`."""
        parts = [(a * x + b * y + c).astype(np.float32, copy=False) for a, b, c in self._rows.tolist()]
        out = np.empty(len(x), np.int32)
        self._see(parts, onto, out)
        return out

    def nearer(self, x: np.ndarray, y: np.ndarray, by_m: float) -> tuple[np.ndarray, np.ndarray]:
        """The places so much nearer to the camera's foot, or the foot where that is not so far."""
        away_x, away_y = x - self.foot[0], y - self.foot[1]
        share = 1 - by_m / np.maximum(np.sqrt(away_x**2 + away_y**2), by_m)
        return self.foot[0] + away_x * share, self.foot[1] + away_y * share

    def _columns_in_view(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every row of a grid the columns, first and last + 1, outside which it is not in the image for certain.

        The image's bounds in the ideal plane are straight lines on the ground.
        """
        low_x, high_x, low_y, high_y = self.camera.ideal_bounds
        across, down, depth = self._rows
        sides = [depth]
        for part, low, high in ((across, low_x, high_x), (down, low_y, high_y)):
            sides += [part - low * depth] if math.isfinite(low) else []
            sides += [high * depth - part] if math.isfinite(high) else []
        first, last = np.full(len(y), -np.inf), np.full(len(y), np.inf)
        for a, b, c in sides:
            rest = b * y + c
            if abs(a) < 1e-12:
                last[rest < 0] = -np.inf
            elif a > 0:
                np.maximum(first, -rest / a, out=first)
            else:
                np.minimum(last, -rest / a, out=last)
        begins = np.clip(np.searchsorted(x, first) - 1, 0, len(x))
        return begins, np.maximum(begins, np.clip(np.searchsorted(x, last) + 1, 0, len(x)))

    def fan_cells(self, bearings_rad: np.ndarray, inverse_range: np.ndarray, onto: ClassMap, out: np.ndarray) -> None:
        """Which cell of the class map shows the ground at each bearing and distance from the foot.

        Args:
            bearings_rad: `[B]`, from the ground frame's x axis, counter-clockwise.
            inverse_range: `[R]`, 1/m, above 0.
            out: int32 `[B, R]`, is filled with indices into the flattened map; `onto.size` where nothing is seen.
        """
        rows = self._rows
        along = np.cos(bearings_rad)[:, None] * rows[:, 0] + np.sin(bearings_rad)[:, None] * rows[:, 1]
        foot = rows @ (*self.foot, 1.0)
        # All divided by the distance, which changes no direction.
        far = [(part * inverse_range).astype(np.float32) for part in foot.tolist()]
        along = along.astype(np.float32)
        for some in _strips(*out.shape):
            self._see([np.add.outer(along[some, i], far[i]) for i in range(3)], onto, out[some])

    def _see(self, parts: Sequence[np.ndarray], onto: ClassMap, out: np.ndarray) -> None:
        """Which cells optical coordinates, float32 and up to a common factor, are seen in; they are used up."""
        x, y, z = parts
        camera = self.camera
        seen = z > np.float32(_NEAREST_DEPTH)
        with np.errstate(all="ignore"):
            np.divide(np.float32(1), z, out=z)
            x *= z
            y *= z
            if not camera.lens.is_ideal:
                x, y = camera.tabulated_lens.apply(x, y, seen)
            columns = _along(x, camera.fx, camera.cx, onto.columns, seen)
            rows = _along(y, camera.fy, camera.cy, onto.rows, seen)
        rows *= np.int32(onto.columns.cells)
        np.add(rows, columns, out=out)
        np.copyto(out, np.int32(onto.size), where=~seen)


def _strips(rows: int, columns: int) -> Iterator[slice]:
    """Rows in strips whose arrays stay in the cache, and in memory that is not handed back after each use."""
    each = max(1, _STRIP // columns)
    return (slice(start, min(rows, start + each)) for start in range(0, rows, each))


def _along(at: np.ndarray, focal: float, centre: float, axis: Axis, seen: np.ndarray) -> np.ndarray:
    """Cells along one axis, int32; narrows `seen` to what lies on the map."""
    at *= np.float32(axis.scale * focal)
    at += np.float32(axis.scale * centre + axis.offset)
    seen &= at >= np.float32(axis.low)
    seen &= at < np.float32(axis.high)
    return at.astype(np.int32)


def _check_pose(pose: np.ndarray) -> None:
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise GeometryError("bad_pose", f"the camera's pose must be 4x4 finite numbers, got {pose.tolist()}")
    turn = pose[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > _ROTATION_TOLERANCE or np.linalg.det(turn) < 0:
        raise GeometryError("bad_pose", f"the camera's rotation is none: {turn.tolist()}; expected a unit quaternion")
