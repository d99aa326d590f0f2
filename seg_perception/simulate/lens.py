"""Lenses that distort, by OpenCV's three models, and how their pictures come about.

A distorted picture is sampled from a larger one without distortion, at least twice as dense, so that an id is that
of a point at most a quarter of a pixel away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.simulate.camera import PinholeCamera
from seg_perception.types import CameraInfo

__all__ = ["DISTORTIONS", "Lens"]

DISTORTIONS: dict[str, tuple[float, ...]] = {
    "none": (),
    "plumb_bob": (-0.28, 0.08, 0.0004, -0.0003, -0.01),
    "rational_polynomial": (0.35, -0.04, 0.0005, -0.0003, 0.002, 0.66, 0.05, 0.01),
    "equidistant": (-0.02, 0.006, -0.004, 0.0008),
}
"""Models of sensor_msgs/CameraInfo, each with a mild wide-angle lens of its kind; `none` does not distort."""

_COEFFICIENTS = {
    "plumb_bob": "k1, k2, p1, p2, k3",
    "rational_polynomial": "k1, k2, p1, p2, k3, k4, k5, k6",
    "equidistant": "k1, k2, k3, k4",
}
_DENSITY = 2.0
_MARGIN_PX = 2
_LARGEST_SIDE_PX = 8192
_LARGEST_AREA_PX = 32e6
_RESIDUAL_PX = 1e-3
_SAMPLE = 20_000
_BEYOND = 1.02
"""How much further out than the image's corners the lens must be sound."""

_REPAIR = "use weaker coefficients, a longer focal length, or one of the presets in simulate.lens.DISTORTIONS"


class Lens:
    """A pinhole camera with distortion.

    Args:
        camera: size and intrinsic matrix.
        model: one of `DISTORTIONS`.
        coefficients: as many as the model has; none at all stands for the model's preset.

    Attributes:
        view: the camera without distortion through which pictures are drawn; `camera` itself for `none`.

    Raises:
        ConfigError: no such model, not its coefficients, or a lens that cannot be inverted or drawn.
    """

    def __init__(self, camera: PinholeCamera, model: str = "none", coefficients: Sequence[float] = ()) -> None:
        self.camera = camera
        self.model = model
        self.coefficients = _checked(model, coefficients)
        self.view = camera
        if model != "none":
            self._d = np.array(self.coefficients)
            self._build()

    def camera_info(self) -> CameraInfo:
        """The calibration as sensor_msgs/CameraInfo says it."""
        info = self.camera.camera_info()
        if self.model == "none":
            return info
        return replace(info, distortion_model=self.model, d=self.coefficients)

    def ids(self, image: np.ndarray) -> np.ndarray:
        """`[H, W]` of what was drawn through `view`, nearest."""
        if self.model == "none":
            return image
        return np.take(image, self._nearest)

    def colors(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 `[H, W, 3]` of what was drawn through `view`, averaged over a pixel."""
        if self.model == "none":
            return rgb
        # Half as wide as an output pixel to either side: what is sampled then stands for the whole pixel.
        smooth = cv2.GaussianBlur(rgb, (5, 5), 0.4 * _DENSITY)
        return cv2.remap(smooth, self._columns, self._rows, cv2.INTER_LINEAR)

    def sees(self, points: np.ndarray) -> np.ndarray:
        """Which points `[N, 3]` of the optical frame fall into the image, bool `[N]`.

        A pixel covers half a pixel to either side of its integer coordinates.
        """
        seen = points[:, 2] > 1e-6
        flat = points[:, :2] / np.where(seen, points[:, 2], 1.0)[:, None]
        if self.model != "none":
            # Beyond its picture a polynomial may bend outside points back into it.
            seen &= np.hypot(flat[:, 0], flat[:, 1]) <= _BEYOND * self._reach
        own = np.flatnonzero(seen)
        column, row = self._distorted(flat[own]).T
        size = self.camera.width_px - 0.5, self.camera.height_px - 0.5
        seen[own] = (column >= -0.5) & (column < size[0]) & (row >= -0.5) & (row < size[1])
        return seen

    def rays(self) -> np.ndarray:
        """Where the pixels' centres look, row by row: float64 `[H · W, 3]`, optical frame, 1 m deep."""
        if self.model == "none":
            return self.camera.rays().reshape(-1, 3)
        view = self.view
        flat = [(self._columns - view.cx) / view.fx, (self._rows - view.cy) / view.fy]
        return np.stack([*flat, np.ones_like(flat[0])], axis=-1).reshape(-1, 3).astype(np.float64)

    def _distorted(self, flat: np.ndarray) -> np.ndarray:
        """Pixels `[N, 2]` of directions (x / z, y / z), `[N, 2]`."""
        camera = self.camera
        if self.model == "none" or not len(flat):
            return flat * (camera.fx, camera.fy) + (camera.cx, camera.cy)
        rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)[:, None]
        still = np.zeros(3)
        if self.model == "equidistant":
            pixels, _ = cv2.fisheye.projectPoints(rays, still, still, camera.k, self._d)
        else:
            pixels, _ = cv2.projectPoints(rays, still, still, camera.k, self._d)
        return pixels.reshape(-1, 2)

    def _undistorted(self, pixels: np.ndarray) -> np.ndarray:
        """Directions `[N, 2]` of pixels `[N, 2]`."""
        k, place = self.camera.k, np.ascontiguousarray(pixels[:, None])
        if self.model == "equidistant":
            return cv2.fisheye.undistortPoints(place, k, self._d).reshape(-1, 2)
        ending = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-5)
        if hasattr(cv2, "undistortPointsIter"):  # OpenCV 4
            return cv2.undistortPointsIter(place, k, self._d, None, None, ending).reshape(-1, 2)
        return cv2.undistortPoints(place, k, self._d, criteria=ending).reshape(-1, 2)

    def _build(self) -> None:
        """Everything that the distorted picture needs, made once."""
        width, height = self.camera.width_px, self.camera.height_px
        column, row = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        pixels = np.stack([column, row], axis=-1).reshape(-1, 2)
        edge = _outline(width, height)
        flat, outline = self._inverted(pixels).reshape(height, width, 2), self._inverted(edge)
        self._reach = float(np.hypot(*outline.T).max())
        self._refuse_folds(outline)
        self.view = self._wide_view(flat, outline)
        columns = flat[..., 0] * self.view.fx + self.view.cx
        rows = flat[..., 1] * self.view.fy + self.view.cy
        self._nearest = np.rint(rows).astype(np.int64) * self.view.width_px + np.rint(columns).astype(np.int64)
        self._columns, self._rows = columns.astype(np.float32), rows.astype(np.float32)

    def _inverted(self, pixels: np.ndarray) -> np.ndarray:
        flat = self._undistorted(pixels)
        # A lens is smooth: a sample tells. Not "more than": NaN and infinity are to be refused, too.
        sample = slice(None, None, 1 if len(pixels) < _SAMPLE else len(pixels) // _SAMPLE | 1)
        if not np.abs(self._distorted(flat[sample]) - pixels[sample]).max() <= _RESIDUAL_PX:
            raise ConfigError(
                f"distortion {self.coefficients} of {self.model} cannot be undone over the whole image of "
                f"{self.camera.width_px} x {self.camera.height_px} pixels with a focal length of "
                f"{self.camera.fx:g}; {_REPAIR}"
            )
        return flat

    def _refuse_folds(self, outline: np.ndarray) -> None:
        """Two directions that fall on one pixel are no picture."""
        (x0, y0), (x1, y1) = _BEYOND * outline.min(axis=0), _BEYOND * outline.max(axis=0)
        x, y = np.meshgrid(np.linspace(x0, x1, 120), np.linspace(y0, y1, 120))
        flat = np.stack([x.ravel(), y.ravel()], axis=1)
        flat = flat[np.hypot(*flat.T) <= _BEYOND * self._reach]
        step = 1e-5 * self._reach
        by_x = self._distorted(flat + (step, 0)) - self._distorted(flat - (step, 0))
        by_y = self._distorted(flat + (0, step)) - self._distorted(flat - (0, step))
        if not (by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]).min() > 0:
            raise ConfigError(
                f"distortion {self.coefficients} of {self.model} folds the image over: two directions fall on one "
                f"pixel; {_REPAIR}"
            )

    def _wide_view(self, flat: np.ndarray, outline: np.ndarray) -> PinholeCamera:
        """The camera without distortion that covers all of the image."""
        finest = min(np.diff(flat[..., 0], axis=1).min(), np.diff(flat[..., 1], axis=0).min())
        low, high = outline.min(axis=0), outline.max(axis=0)
        focal = _DENSITY / max(finest, 1e-9)
        width, height = (math.ceil(span * focal) + 2 * _MARGIN_PX + 1 for span in (high - low).tolist())
        if max(width, height) > _LARGEST_SIDE_PX or width * height > _LARGEST_AREA_PX:
            raise ConfigError(
                f"distortion {self.coefficients} of {self.model} at {self.camera.width_px} x "
                f"{self.camera.height_px} pixels needs a picture of {width} x {height} pixels without distortion, "
                f"which is more than can be drawn; {_REPAIR}, or fewer pixels"
            )
        cx, cy = (_MARGIN_PX - focal * low).tolist()
        return PinholeCamera(width, height, focal, focal, cx, cy)


def _checked(model: str, coefficients: Sequence[float]) -> tuple[float, ...]:
    if model not in DISTORTIONS:
        raise ConfigError(f"distortion_model must be one of {', '.join(DISTORTIONS)}, got {model!r}")
    numbers = tuple(coefficients) or DISTORTIONS[model]
    if model == "none":
        if numbers:
            raise ConfigError(f"a camera without distortion has no coefficients, got {numbers}; give the model, too")
        return ()
    if len(numbers) != len(DISTORTIONS[model]) or not all(math.isfinite(number) for number in numbers):
        expected = f"{len(DISTORTIONS[model])} finite numbers ({_COEFFICIENTS[model]})"
        raise ConfigError(f"distortion of {model} must be {expected}, got {numbers}")
    return tuple(float(number) for number in numbers)


def _outline(width: int, height: int) -> np.ndarray:
    """Points all along the image's edges, `[N, 2]`, half a pixel outside the outermost pixels' centres."""
    x, y = np.arange(width + 1) - 0.5, np.arange(height + 1) - 0.5
    sides = (
        (x, np.full_like(x, y[0])),
        (x, np.full_like(x, y[-1])),
        (np.full_like(y, x[0]), y),
        (np.full_like(y, x[-1]), y),
    )
    return np.concatenate([np.stack(side, axis=1) for side in sides])
