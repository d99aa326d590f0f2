"""Lens distortion models of sensor_msgs/CameraInfo: from ideal to seen image coordinates, and back.

Coordinates are normalised: x / z and y / z of the optical frame, before focal length and principal point. The formulas
are OpenCV's (calib3d, "Detailed Description", and its fisheye module), whose calibrations ROS's camera_info carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seg_perception.errors import GeometryError

__all__ = ["DISTORTION_MODELS", "Distortion", "TabulatedLens"]

DISTORTION_MODELS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
"""Names as in CameraInfo, and how many coefficients each has; an empty name, or none at all, is no distortion."""

_STEEPEST_RAD = math.radians(89.0)
"""Rays further off the axis are not looked at: a perspective plane has no place for them."""

_TABLE = 2048
_ENTRIES = 1 << 17
_NARROW = 2.0
_FARTHEST = 100.0
_NEWTON_STEPS = 20
_CONVERGED = 1e-11


def _horner(coefficients: tuple[float, ...], r2: np.ndarray) -> np.ndarray:
    """1 + c0 r² + c1 r⁴ + …"""
    while len(coefficients) > 1 and not coefficients[-1]:
        coefficients = coefficients[:-1]
    total = r2 * r2.dtype.type(coefficients[-1])
    for c in coefficients[-2::-1]:
        total += r2.dtype.type(c)
        total *= r2
    total += r2.dtype.type(1)
    return total


@dataclass(frozen=True)
class Distortion:
    """One lens.

    Attributes:
        model: a name of `DISTORTION_MODELS`, or empty for an ideal lens.
        d: its coefficients, in CameraInfo's order: plumb_bob k1 k2 p1 p2 k3, rational_polynomial k1 k2 p1 p2 k3 k4 k5
            k6, equidistant k1 k2 k3 k4.
    """

    model: str = ""
    d: tuple[float, ...] = ()

    @classmethod
    def of(cls, model: str, d: tuple[float, ...]) -> Distortion:
        """From what a CameraInfo says. Zeros alone are an ideal lens; missing coefficients at the end are zero.

        Raises:
            GeometryError: `bad_calibration`, an unknown model, too many coefficients, or one that is not finite.
        """
        if not all(math.isfinite(value) for value in d):
            raise GeometryError("bad_calibration", f"camera_info: distortion coefficients must be finite, got {d}")
        if model not in ("", "none") and model not in DISTORTION_MODELS:
            raise GeometryError(
                "bad_calibration",
                f"camera_info: distortion_model {model!r} is not known; expected one of "
                f"{', '.join(DISTORTION_MODELS)}, or rectify the images",
            )
        if model == "equidistant":  # four zeros are a lens of their own: r = f θ
            count = DISTORTION_MODELS[model]
            if len(d) > count and any(d[count:]):
                raise _too_many(model, d)
            return cls(model, (*d, *[0.0] * count)[:count])
        if not any(d):
            return cls()
        if model in ("", "none"):
            raise GeometryError(
                "bad_calibration", f"camera_info: {len(d)} distortion coefficients and no distortion_model to use them"
            )
        count = DISTORTION_MODELS[model]
        if any(d[count:]):
            raise _too_many(model, d)
        return cls(model, (*d, *[0.0] * count)[:count])

    @property
    def is_ideal(self) -> bool:
        """Nothing is distorted."""
        return not self.model

    def apply(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where ideal points are seen; both in normalised coordinates, in the type they come in.

        Points further out than `largest` are not seen; what comes back for them means nothing.
        """
        if self.is_ideal:
            return x, y
        r2 = x * x
        r2 += y * y
        if self.model == "equidistant":
            scale = self._fisheye_scale(r2)
            return x * scale, y * scale
        scale = self._radial_scale(r2)
        p1, p2 = (r2.dtype.type(value) for value in self.d[2:4])
        if not (p1 or p2):
            return x * scale, y * scale
        # x s + 2 p1 x y + p2 (r² + 2 x²) and its like, with what they share taken out.
        scale += (p1 + p1) * y
        scale += (p2 + p2) * x
        seen_x, seen_y = x * scale, y * scale
        seen_x += p2 * r2
        r2 *= p1
        seen_y += r2
        return seen_x, seen_y

    def _radial_scale(self, r2: np.ndarray) -> np.ndarray:
        k1, k2, _, _, k3, *below = self.d
        scale = _horner((k1, k2, k3), r2)
        if any(below):
            scale /= _horner(tuple(below), r2)
        return scale

    def _fisheye_scale(self, r2: np.ndarray) -> np.ndarray:
        r = np.sqrt(r2)
        theta = np.arctan(r)
        scale = _horner(self.d, theta * theta)
        scale *= theta
        # At the axis itself θ / r is 1.
        np.divide(scale, r, out=scale, where=r > 0)
        scale[r == 0] = 1
        return scale

    def tabulated(self, largest: float) -> TabulatedLens:
        """The same in float32 with its radial part from a table, for ideal radii up to `largest` or where it folds."""
        largest = min(largest, self.largest, _FARTHEST)
        r2 = np.linspace(0.0, largest**2, _ENTRIES)
        scale = self._fisheye_scale(r2) if self.model == "equidistant" else self._radial_scale(r2)
        p1, p2 = (0.0, 0.0) if self.model == "equidistant" else self.d[2:4]
        # Fine entries need nothing in between.
        slope = np.append(np.diff(scale), 0.0).astype(np.float32) if largest > _NARROW else None
        return TabulatedLens(np.float32(largest**2), scale.astype(np.float32), slope, np.float32(p1), np.float32(p2))

    def _radius_seen(self, r: np.ndarray) -> np.ndarray:
        """How far from the axis a point at ideal radius r is seen, without the tangential part."""
        r2 = r * r
        return r * (self._fisheye_scale(r2) if self.model == "equidistant" else self._radial_scale(r2))

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Ideal radii and the radii at which they are seen, both rising, as far as the polynomial rises."""
        r = np.tan(np.linspace(0.0, _STEEPEST_RAD, _TABLE))
        seen = self._radius_seen(r)
        rising = np.diff(seen) > 0
        # A denominator that changes its sign makes a jump, which is no lens either.
        rising &= np.isfinite(seen[1:]) & (seen[1:] > 0)
        count = len(r) if rising.all() else 1 + int(np.argmin(rising))
        return r[:count], seen[:count]

    @cached_property
    def largest(self) -> float:
        """Ideal radius beyond which the polynomial folds back, or nothing is seen; inf for an ideal lens."""
        return math.inf if self.is_ideal else float(self._table[0][-1])

    def undo(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ideal points that are seen at these, float64; NaN where the lens has no such point.

        The radius first, from a table and by Newton's method, then both coordinates by Newton's method.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.is_ideal:
            return x.copy(), y.copy()
        radii, seen = self._table
        wanted = np.hypot(x, y)
        start = np.interp(wanted, seen, radii)
        scale = np.divide(start, wanted, out=np.ones_like(wanted), where=wanted > 0)
        ideal_x, ideal_y = _newton(self.apply, x, y, x * scale, y * scale)
        back_x, back_y = self.apply(ideal_x, ideal_y)
        wrong = ~(np.hypot(back_x - x, back_y - y) < 1e-9 * (1 + wanted))
        wrong |= np.hypot(ideal_x, ideal_y) > self.largest
        ideal_x[wrong] = ideal_y[wrong] = np.nan
        return ideal_x, ideal_y


@dataclass(frozen=True)
class TabulatedLens:
    """A lens for many points: wrong by less than 1e-5 of the radius, several times as quick.

    Attributes:
        largest_r2: square of the largest ideal radius.
        scale: float32 `[n]`, radial scale at squared radii from 0 to `largest_r2`.
        slope: float32 `[n]`, the step to the next one; None: the nearest is close enough.
        p1, p2: tangential coefficients.
    """

    largest_r2: np.float32
    scale: np.ndarray
    slope: np.ndarray | None
    p1: np.float32
    p2: np.float32

    def apply(self, x: np.ndarray, y: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where ideal points are seen, float32; narrows `seen` to those within the table."""
        r2 = x * x
        r2 += y * y
        seen &= r2 <= self.largest_r2
        place = r2 * np.float32((len(self.scale) - 1) / self.largest_r2)
        if self.slope is None:
            place += np.float32(0.5)
            scale = self.scale.take(place.astype(np.int32), mode="clip")
        else:
            entry = place.astype(np.int32)
            place -= entry
            scale = self.slope.take(entry, mode="clip")
            scale *= place
            scale += self.scale.take(entry, mode="clip")
        if not (self.p1 or self.p2):
            return x * scale, y * scale
        scale += (self.p1 + self.p1) * y
        scale += (self.p2 + self.p2) * x
        seen_x, seen_y = x * scale, y * scale
        seen_x += self.p2 * r2
        r2 *= self.p1
        seen_y += r2
        return seen_x, seen_y


def _too_many(model: str, d: tuple[float, ...]) -> GeometryError:
    count = DISTORTION_MODELS[model]
    return GeometryError(
        "bad_calibration", f"camera_info: {model} has {count} distortion coefficients, got {len(d)}: {list(d)}"
    )


def _newton(
    apply: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    y: np.ndarray,
    ideal_x: np.ndarray,
    ideal_y: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve apply(ideal) = (x, y) from a start near by; slopes by central differences."""
    step = 1e-6
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            at_x, at_y = apply(ideal_x, ideal_y)
            miss_x, miss_y = at_x - x, at_y - y
            if not (np.hypot(miss_x, miss_y) > _CONVERGED).any():
                break
            right, left = apply(ideal_x + step, ideal_y), apply(ideal_x - step, ideal_y)
            below, above = apply(ideal_x, ideal_y + step), apply(ideal_x, ideal_y - step)
            xx, yx = ((a - b) / (2 * step) for a, b in zip(right, left))
            xy, yy = ((a - b) / (2 * step) for a, b in zip(below, above))
            det = xx * yy - xy * yx
            ideal_x = ideal_x - (yy * miss_x - xy * miss_y) / det
            ideal_y = ideal_y - (xx * miss_y - yx * miss_x) / det
    return ideal_x, ideal_y
