"""A street that bends: where places of the straight plan are in the world.

Everything is planned in street coordinates: x along the middle of the ego lane, y to its left, z up, in metres. In the
world that middle is an arc of constant curvature that leaves the origin along the world's x axis. What is across the
street stays straight: a place keeps its distance from the middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["STRAIGHT", "Bend"]

_SMALLEST_PER_M = 1e-6
"""Less curvature is none: a bend of less than a millimetre over all that is seen near by."""

_CENTRE_M = 0.01
"""How near to the arc's centre the ground reaches: polygons keep sides of some length."""


@dataclass(frozen=True)
class Bend:
    """An arc.

    Attributes:
        curvature_per_m: 1/m, one over the radius; positive bends to the left.
    """

    curvature_per_m: float = 0.0

    def __post_init__(self) -> None:
        if abs(self.curvature_per_m) < _SMALLEST_PER_M:
            object.__setattr__(self, "curvature_per_m", 0.0)

    def __bool__(self) -> bool:
        """Whether the street bends at all."""
        return self.curvature_per_m != 0.0

    @property
    def radius_m(self) -> float:
        """Of the ego lane's middle, positive; infinite for a straight street."""
        return 1 / abs(self.curvature_per_m) if self else math.inf

    def room_m(self, sign: int) -> float:
        """How far from the middle there is ground on the right (−1) or left (+1) side: to the arc's centre."""
        return self.radius_m - _CENTRE_M if sign * self.curvature_per_m > 0 else math.inf

    def heading(self, x: float) -> float:
        """Direction of the street at x, radians counter-clockwise from the world's x axis; any number of turns."""
        return self.curvature_per_m * x

    def points(self, street: np.ndarray) -> np.ndarray:
        """World coordinates of street coordinates; float64 `[..., 2]` or `[..., 3]` both."""
        if not self:
            return street
        x, y, k = street[..., 0], street[..., 1], self.curvature_per_m
        world = street.copy()
        world[..., 0] = np.sin(k * x) * (1 / k - y)
        # 1 − cos would lose what little there is of it in a slight bend.
        world[..., 1] = 2 / k * np.sin(k * x / 2) ** 2 + y * np.cos(k * x)
        return world

    def place(self, x: float, y: float) -> tuple[float, float]:
        """World coordinates of one place."""
        if not self:
            return x, y
        at_x, at_y = self.points(np.array([x, y])).tolist()
        return at_x, at_y

    def pose(self, x: float, y: float, yaw_rad: float = 0.0) -> np.ndarray:
        """Pose in the world, float64 `[4, 4]`, of what stands there, headed `yaw_rad` off the street's direction."""
        heading = self.heading(x) + yaw_rad
        c, s = math.cos(heading), math.sin(heading)
        pose = np.eye(4)
        # Not −s: a zero keeps its sign.
        pose[:2, :2] = [[c, 0.0 - s], [s, c]]
        pose[:2, 3] = self.place(x, y)
        return pose

    def velocity(self, x: float, y: float, along: float, across: float) -> tuple[float, float]:
        """Velocity in the world of what moves there; `along` is dx/dt and `across` dy/dt, m/s."""
        heading, along = self.heading(x), along * (1 - self.curvature_per_m * y)
        c, s = math.cos(heading), math.sin(heading)
        return along * c - across * s, along * s + across * c

    def street_place(self, x: float, y: float, near_x: float) -> tuple[float, float]:
        """Street coordinates of a place in the world: those less than half a turn of the arc off `near_x`."""
        if not self:
            return x, y
        inverse = np.linalg.inv(self.pose(near_x, 0.0))
        ahead, left = self.street_around(*(inverse @ (x, y, 0.0, 1.0))[:2, None])
        return near_x + float(ahead[0]), float(left[0])

    def street_around(self, ahead: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Street coordinates, x from a place in the middle on, of points seen from there.

        Args:
            ahead, left: float32 or float64 `[...]`, metres in the axes that the street has at that place.

        Returns:
            x and y, like the arguments; exact to the arguments' rounding however slight the bend.
        """
        k = self.curvature_per_m
        if not k:
            return ahead, left
        bent, rest = ahead * ahead.dtype.type(k), 1 - left * ahead.dtype.type(k)
        far = np.sqrt(bent * bent + rest * rest)
        y = (2 * left - bent * ahead - k * left * left) / (1 + far)
        return np.arctan2(bent, rest) / ahead.dtype.type(k), y


STRAIGHT = Bend()
