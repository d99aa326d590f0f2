"""How what stands on the ground moves in the image while the camera drives by: what odometry says about boxes."""

from __future__ import annotations

import numpy as np

from seg_perception.geometry.ground import GroundCamera

__all__ = ["Drift"]

_LONGEST_S = 0.5


class Drift:
    """Of one camera, frame after frame."""

    def __init__(self) -> None:
        self._last: tuple[int, np.ndarray] | None = None

    def velocities_px(
        self,
        stamp_ns: int,
        places_m: np.ndarray,
        ground: GroundCamera | None,
        odom_from_ground: np.ndarray | None,
    ) -> np.ndarray:
        """Of places that rest, since the frame before, pixels per second; NaN where that is not known.

        Args:
            places_m: float64 `[n, 2]`, in the ground frame; NaN where unknown.
            ground: the camera at its place; None: nobody says.
            odom_from_ground: float64 `[4, 4]`; None: nobody says.

        Returns:
            float64 `[n, 2]`, along x and y.
        """
        out = np.full((len(places_m), 2), np.nan)
        last, self._last = self._last, None
        if odom_from_ground is None:
            return out
        self._last = (stamp_ns, odom_from_ground)
        known = np.flatnonzero(np.isfinite(places_m).all(axis=1))
        if last is None or ground is None or not len(known):
            return out
        passed_s = (stamp_ns - last[0]) * 1e-9
        if not 0 < passed_s <= _LONGEST_S:
            return out
        before_from_now = np.linalg.solve(last[1], odom_from_ground)
        places = places_m[known]
        were = places @ before_from_now[:2, :2].T + before_from_now[:2, 3]
        now, before = np.split(ground.project(np.concatenate([places, were])), 2)
        out[known] = (now - before) / passed_s
        return out
