"""A calibrated camera: pixel to ray to pixel.

Axes are those of REP 103: the optical frame has x right, y down, z forward. Pixel centres are at integer coordinates,
as in ROS and OpenCV: an image of W columns reaches from −0.5 to W − 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seg_perception.errors import GeometryError
from seg_perception.geometry.distortion import Distortion, TabulatedLens
from seg_perception.types import CameraInfo

__all__ = ["CameraModel"]

_EDGE_POINTS = 33
_SHAPE_TOLERANCE = 0.005
_LARGEST_PX = 1e6


@dataclass(frozen=True)
class CameraModel:
    """The camera that took an image of this size.

    Attributes:
        width, height: of the image, pixels.
        fx, fy: focal lengths, pixels.
        cx, cy: principal point, pixels.
        lens: its distortion.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    lens: Distortion = Distortion()

    @classmethod
    def of(cls, info: CameraInfo, image_hw: tuple[int, int], rectified: bool = False) -> CameraModel:
        """From a calibration, for an image of `image_hw` rows and columns.

        A region of interest and binning are resolved (image_geometry's rule); an image that is a scaled version of what
        is then left is taken as such.

        Args:
            rectified: the image has been rectified (image_proc's image_rect): P holds for it, and no distortion.

        Raises:
            GeometryError: `bad_calibration`; the text says which number is wrong.
        """
        height, width = image_hw
        _check_numbers(info)
        _check_shape(info, width, height)
        scaled = info.scaled(width=width, height=height)
        matrix, columns, name = (scaled.p, 4, "P") if rectified else (scaled.k, 3, "K")
        fx, fy, cx, cy = matrix[0], matrix[columns + 1], matrix[2], matrix[columns + 2]
        if not (fx > 0 and fy > 0):
            raise GeometryError(
                "bad_calibration",
                f"camera_info: focal lengths in {name} must be positive, got fx = {fx:g}, fy = {fy:g}; "
                "is the camera calibrated?",
            )
        if max(fx, fy, abs(cx), abs(cy)) > _LARGEST_PX:
            raise GeometryError(
                "bad_calibration",
                f"camera_info: numbers in {name} must be at most {_LARGEST_PX:g} pixels, got fx = {fx:g}, fy = {fy:g}, "
                f"cx = {cx:g}, cy = {cy:g}",
            )
        if matrix[1] or matrix[columns]:
            raise GeometryError("bad_calibration", f"camera_info: {name} has a skew of {matrix[1]:g}; expected 0")
        lens = Distortion() if rectified else Distortion.of(info.distortion_model, info.d)
        return cls(width, height, fx, fy, cx, cy, lens)

    @classmethod
    def key_of(cls, info: CameraInfo) -> tuple[object, ...]:
        """What of a calibration a `CameraModel` depends on, to compare."""
        return (info.height, info.width, info.distortion_model, info.d, info.k, info.p,
                info.binning_x, info.binning_y, info.roi)  # fmt: skip

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Directions float64 `[..., 3]` in the optical frame, with z = 1, of pixels `[..., 2]` (column, row).

        NaN where the lens sees nothing: beyond the fold of its polynomial, or 89° off the axis.
        """
        pixels = np.asarray(pixels, np.float64)
        column, row = pixels.reshape(-1, 2).T
        x, y = self.lens.undo((column - self.cx) / self.fx, (row - self.cy) / self.fy)
        return np.stack([x, y, np.where(np.isnan(x), np.nan, 1.0)], -1).reshape(*pixels.shape[:-1], 3)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels float64 `[..., 2]` (column, row) of points `[..., 3]` in the optical frame, metres.

        NaN where a point is not in front of the camera, or where the lens does not see it. The image's edges are not
        looked at.
        """
        points = np.asarray(points, np.float64)
        x, y, depth = points.reshape(-1, 3).T
        ahead = depth > 0
        depth = np.where(ahead, depth, 1.0)
        x, y = x / depth, y / depth
        seen = ahead & (x * x + y * y <= self.lens.largest**2)
        x, y = self.lens.apply(np.where(seen, x, 0.0), np.where(seen, y, 0.0))
        pixels = np.stack([x * self.fx + self.cx, y * self.fy + self.cy], -1)
        pixels[~seen] = np.nan
        return pixels.reshape(*points.shape[:-1], 2)

    @cached_property
    def edge_rays(self) -> np.ndarray:
        """`rays` float64 `[n, 3]` around the image's edges, without what the lens does not see."""
        across = np.linspace(-0.5, self.width - 0.5, _EDGE_POINTS)
        down = np.linspace(-0.5, self.height - 0.5, _EDGE_POINTS)
        sides = [(across, np.full_like(across, row)) for row in down[[0, -1]]]
        sides += [(np.full_like(down, column), down) for column in across[[0, -1]]]
        rays = self.rays(np.concatenate([np.stack(side, -1) for side in sides]))
        return rays[np.isfinite(rays).all(axis=1)]

    @cached_property
    def probe_rays(self) -> np.ndarray:
        """`rays` float64 `[n, 3]` all over the image, its edges included, without what the lens does not see."""
        across = np.linspace(-0.5, self.width - 0.5, _EDGE_POINTS // 2 + 1)
        down = np.linspace(-0.5, self.height - 0.5, _EDGE_POINTS // 2 + 1)
        rays = self.rays(np.stack(np.meshgrid(across, down), -1).reshape(-1, 2))
        return rays[np.isfinite(rays).all(axis=1)]

    @cached_property
    def ideal_bounds(self) -> tuple[float, float, float, float]:
        """Lowest and highest x / z, then y / z, of what can be in the image, with some room."""
        if len(self.edge_rays) < 4 * _EDGE_POINTS:
            return -math.inf, math.inf, -math.inf, math.inf
        (low_x, low_y), (high_x, high_y) = self.edge_rays[:, :2].min(axis=0), self.edge_rays[:, :2].max(axis=0)
        room = 0.02 * max(high_x - low_x, high_y - low_y)
        return float(low_x - room), float(high_x + room), float(low_y - room), float(high_y + room)

    @cached_property
    def tabulated_lens(self) -> TabulatedLens:
        """The lens for all that can be in the image."""
        low_x, high_x, low_y, high_y = self.ideal_bounds
        return self.lens.tabulated(math.hypot(max(-low_x, high_x), max(-low_y, high_y)))

    def sees(self, pixels: np.ndarray) -> np.ndarray:
        """Bool `[...]`: which pixels `[..., 2]` lie on the image; NaN does not."""
        column, row = pixels[..., 0], pixels[..., 1]
        within = (column >= -0.5) & (column < self.width - 0.5)
        return within & (row >= -0.5) & (row < self.height - 0.5)


def _check_shape(info: CameraInfo, width: int, height: int) -> None:
    """The image is what the calibration speaks of, or a scaled version of it: a crop would be somewhere else in it."""
    seen_w = (info.roi.width or info.width) / max(1, info.binning_x)
    seen_h = (info.roi.height or info.height) / max(1, info.binning_y)
    # A pixel more or less comes from rounding when sizes do not divide.
    slack = _SHAPE_TOLERANCE * width * seen_h + 1.5 * max(seen_w, seen_h, width, height)
    if abs(width * seen_h - height * seen_w) > slack:
        raise GeometryError(
            "bad_calibration",
            f"camera_info is for {seen_w:g}x{seen_h:g} pixels, images have {width}x{height}: another shape; publish "
            "the calibration of these images, or the region of interest that they show",
        )


def _check_numbers(info: CameraInfo) -> None:
    if info.width <= 0 or info.height <= 0:
        raise GeometryError(
            "bad_calibration", f"camera_info: width and height must be above 0, got {info.width}x{info.height}"
        )
    for name, values in (("K", info.k), ("P", info.p)):
        if not all(math.isfinite(value) for value in values):
            raise GeometryError("bad_calibration", f"camera_info: {name} must be finite, got {list(values)}")
