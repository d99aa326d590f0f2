"""How what stands on the ground moves in the image while the camera drives by: what odometry says about boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seg_perception.geometry.ground import GroundCamera

__all__ = ["Drift", "Odometer"]

_LONGEST_S = 0.5


@dataclass(frozen=True)
class Drift:
    """From one frame to the next.

    Attributes:
        ground: the camera at its place over the ground.
        before, now: float64 `[4, 4]`, poses of the ground frame in the odometry frame.
        passed_s: above 0.
    """

    ground: GroundCamera
    before: np.ndarray
    now: np.ndarray
    passed_s: float

    def velocities_px(self, places_m: np.ndarray) -> np.ndarray:
        """Of places `[n, 2]` in the ground frame that rest, pixels per second `[n, 2]`; NaN where it is not known."""
        out = np.full((len(places_m), 2), np.nan)
        known = np.flatnonzero(np.isfinite(places_m).all(axis=1))
        if len(known):
            before_from_now = np.linalg.solve(self.before, self.now)
            turn, shift, places = before_from_now[:2, :2], before_from_now[:2, 3], places_m[known]
            now, before = np.split(self.ground.project(np.concatenate([places, places @ turn.T + shift])), 2)
            out[known] = (now - before) / self.passed_s
        return out


class Odometer:
    """What odometry said at the frame before."""

    def __init__(self) -> None:
        self._last: tuple[int, np.ndarray] | None = None

    def drift(self, stamp_ns: int, ground: GroundCamera | None, odom_from_ground: np.ndarray | None) -> Drift | None:
        """Since the frame before; None where that is not known, or long ago.

        Args:
            ground: the camera at its place; None: nobody says.
            odom_from_ground: float64 `[4, 4]`, a rigid transform; None: nobody says.
        """
        last, self._last = self._last, None if odom_from_ground is None else (stamp_ns, odom_from_ground)
        if last is None or odom_from_ground is None or ground is None:
            return None
        passed_s = (stamp_ns - last[0]) * 1e-9
        if not 0 < passed_s <= _LONGEST_S:
            return None
        return Drift(ground, last[1], odom_from_ground, passed_s)
