"""Pinhole cameras and where they sit.

Axes are those of REP 103: world and base frames have x forward, y left, z up; the optical frame has x right,
y down, z forward. Pixel centres are at integer coordinates, as in ROS and OpenCV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.types import CameraInfo

__all__ = ["PinholeCamera", "View", "camera_mount", "check_number", "clip_near", "invert_pose"]

_FOCAL_PER_WIDTH = 500 / 640
_LARGEST_SIDE_PX = 8192

_BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""REP 103: the optical axes written in the camera's body axes (x forward, y left, z up)."""


def check_number(name: str, value: float, low: float, high: float, unit: str) -> float:
    """`value` as a float; ConfigError unless it is a finite number from `low` to `high`."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and low <= value <= high):
        raise ConfigError(f"{name} must be a number from {low:g} to {high:g} {unit}, got {value!r}")
    return float(value)


def _check_side(name: str, side: int) -> None:
    if not isinstance(side, (int, np.integer)) or isinstance(side, bool) or not 16 <= side <= _LARGEST_SIDE_PX:
        raise ConfigError(f"{name} must be an integer from 16 to {_LARGEST_SIDE_PX}, got {side!r}")


@dataclass(frozen=True)
class PinholeCamera:
    """An ideal camera.

    Attributes:
        width_px, height_px: image size.
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels.
    """

    width_px: int
    height_px: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        _check_side("width_px", self.width_px)
        _check_side("height_px", self.height_px)
        for name, focal in (("fx", self.fx), ("fy", self.fy)):
            check_number(name, focal, 1, 1e6, "pixels")
        for name, centre in (("cx", self.cx), ("cy", self.cy)):
            check_number(name, centre, -1e6, 1e6, "pixels")

    @classmethod
    def of_size(cls, width_px: int, height_px: int, focal_px: float | None = None) -> PinholeCamera:
        """Square pixels, principal point in the middle; by default 65° wide, like a dashboard camera."""
        _check_side("width_px", width_px)
        _check_side("height_px", height_px)
        focal = _FOCAL_PER_WIDTH * width_px if focal_px is None else focal_px
        return cls(width_px, height_px, focal, focal, (width_px - 1) / 2, (height_px - 1) / 2)

    @property
    def k(self) -> np.ndarray:
        """float64 `[3, 3]`, intrinsic matrix in pixels."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    def camera_info(self) -> CameraInfo:
        """The same as sensor_msgs/CameraInfo says it: plumb_bob with five zeros, nothing to rectify."""
        p = np.hstack([self.k, np.zeros((3, 1))])
        return CameraInfo(
            height=int(self.height_px),
            width=int(self.width_px),
            distortion_model="plumb_bob",
            d=(0.0,) * 5,
            k=tuple(self.k.ravel().tolist()),
            r=tuple(np.eye(3).ravel().tolist()),
            p=tuple(p.ravel().tolist()),
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Optical-frame points `[..., 3]` in metres, all with z > 0, to pixels `[..., 2]` (column, row)."""
        depth = points[..., 2]
        pixels = np.empty(points.shape[:-1] + (2,), np.float64)
        pixels[..., 0] = points[..., 0] / depth * self.fx + self.cx
        pixels[..., 1] = points[..., 1] / depth * self.fy + self.cy
        return pixels

    def rays(self) -> np.ndarray:
        """float64 `[H, W, 3]`: for every pixel centre its viewing direction in the optical frame, with z = 1."""
        x = (np.arange(self.width_px) - self.cx) / self.fx
        y = (np.arange(self.height_px) - self.cy) / self.fy
        rays = np.ones((self.height_px, self.width_px, 3), np.float64)
        rays[..., 0] = x
        rays[..., 1] = y[:, None]
        return rays


@dataclass(frozen=True)
class View:
    """A camera at a place.

    Attributes:
        camera: what it is.
        world_from_optical: where it is, float64 `[4, 4]`.
        rays: float32 `[3, H, W]`, every pixel's direction, 1 m deep along the optical axis, in the world's axes turned
            to the left by `heading_rad`.
        heading_rad: that of the street where the camera is: 0 unless it bends.
    """

    camera: PinholeCamera
    world_from_optical: np.ndarray
    rays: np.ndarray
    heading_rad: float = 0.0

    @property
    def eye(self) -> np.ndarray:
        """The camera's place in the world, `[3]`."""
        return self.world_from_optical[:3, 3]

    @cached_property
    def optical_from_world(self) -> np.ndarray:
        """float64 `[4, 4]`."""
        return invert_pose(self.world_from_optical)

    def to_optical(self, points: np.ndarray) -> np.ndarray:
        """World points `[..., 3]` in the optical frame."""
        # Subtracting first keeps millimetres exact at the far end of a long drive.
        return (points - self.eye) @ self.world_from_optical[:3, :3]

    def box_around(self, points: np.ndarray) -> tuple[slice, slice] | None:
        """Rows and columns that enclose world points `[P, 3]` on the image; None if they are out of it."""
        seen = self.to_optical(points)
        if seen[:, 2].max() < 0.5:
            return None
        seen[:, 2] = np.maximum(seen[:, 2], 0.5)
        pixels = self.camera.project(seen)
        low = np.floor(pixels.min(axis=0)).astype(int)
        high = np.ceil(pixels.max(axis=0)).astype(int) + 1
        columns = slice(max(0, low[0]), min(self.camera.width_px, high[0]))
        rows = slice(max(0, low[1]), min(self.camera.height_px, high[1]))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def camera_mount(
    forward_m: float,
    height_m: float,
    pitch_rad: float,
    roll_rad: float = 0.0,
    yaw_rad: float = 0.0,
    left_m: float = 0.0,
) -> np.ndarray:
    """Pose of a forward-looking camera on the vehicle, `base_from_optical`, float64 `[4, 4]`.

    Roll is applied first, yaw last: R = Rz(yaw) · Ry(pitch) · Rx(roll), the fixed axes of REP 103.

    Args:
        forward_m, left_m: from the base frame's origin.
        height_m: above the ground.
        pitch_rad: about the left axis: positive looks down.
        roll_rad: about the forward axis: positive lowers the right side.
        yaw_rad: about the vertical axis: positive looks to the left.
    """
    c, s = math.cos(pitch_rad), math.sin(pitch_rad)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    # Multiplied only where there is something to turn: else the matrix stays the same to the last bit.
    if roll_rad:
        c, s = math.cos(roll_rad), math.sin(roll_rad)
        turn = turn @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if yaw_rad:
        c, s = math.cos(yaw_rad), math.sin(yaw_rad)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ turn
    pose = np.eye(4)
    pose[:3, :3] = turn @ _BODY_FROM_OPTICAL
    pose[:3, 3] = (forward_m, left_m, height_m)
    return pose


def invert_pose(pose: np.ndarray) -> np.ndarray:
    """The inverse of a rigid transform `[4, 4]`."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def clip_near(corners: np.ndarray, near_m: float) -> np.ndarray:
    """Cut convex polygons off at the plane z = `near_m` of the optical frame.

    Args:
        corners: `[P, V, 3]`, optical frame; repeated corners are allowed. Every polygon reaches beyond the plane.

    Returns:
        `[P, 2 V, 3]`, padded with repeated corners; all z ≥ `near_m`.
    """
    count, sides, _ = corners.shape
    following = np.roll(corners, -1, axis=1)
    z0, z1 = corners[..., 2], following[..., 2]
    inside, next_inside = z0 >= near_m, z1 >= near_m
    crossing = inside != next_inside
    step = np.where(crossing, (near_m - z0) / np.where(crossing, z1 - z0, 1.0), 0.0)
    cut = corners + step[..., None] * (following - corners)
    cut[..., 2] = np.where(crossing, near_m, cut[..., 2])
    slots = np.stack([corners, cut], axis=2).reshape(count, 2 * sides, 3)
    used = np.stack([inside, crossing], axis=2).reshape(count, 2 * sides)
    # An unused slot repeats the last used one before it, or, at the start, the polygon's last used one.
    position = np.where(used, np.arange(2 * sides), -1)
    source = np.maximum.accumulate(position, axis=1)
    source = np.where(source < 0, position.max(axis=1)[:, None], source)
    return np.take_along_axis(slots, source[..., None], axis=1)
