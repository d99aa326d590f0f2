"""How the ego vehicle moves: along its lane, weaving, rocking on its springs, before a slope.

Three frames: the world's, which is fixed and whose plane z = 0 is the street; the base frame, flat under the vehicle;
the body, which rocks over the base frame and coincides with it at rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.simulate.bend import STRAIGHT, Bend
from seg_perception.simulate.seeded import stream
from seg_perception.simulate.traffic import EGO_SPEED_MPS

__all__ = ["EgoMotion"]

_WEAVE_HZ = (0.11, 0.17)
_PITCH_HZ = (1.3, 2.1)
_HEAVE_HZ = (1.1, 1.7)
_SHARES = (0.6, 0.4)
_STEP_S = 5e-4


@dataclass(frozen=True)
class EgoMotion:
    """Poses as functions of the time in seconds since the drive's start.

    Attributes:
        seed: what makes this drive's unevenness different from others'.
        weave_m: the most that the vehicle leaves the middle of its lane.
        bump_pitch_rad, bump_height_m: the most that the body pitches and heaves.
        slope_rad: how much the street rises ahead; negative falls.
        slope_begins_m: where it begins to, ahead of the base frame's origin.
        bend: of the lane.
    """

    seed: int
    weave_m: float = 0.0
    bump_pitch_rad: float = 0.0
    bump_height_m: float = 0.0
    slope_rad: float = 0.0
    slope_begins_m: float = 10.0
    bend: Bend = STRAIGHT

    @property
    def turns(self) -> bool:
        """Whether the camera's direction changes during the drive."""
        return bool(self.weave_m or self.bump_pitch_rad or self.bend)

    def world_from_base(self, time_s: float) -> np.ndarray:
        """Pose of the base frame, float64 `[4, 4]`: ahead at a steady speed, headed where it goes.

        Before a slope it is the vehicle that is tilted against the street: its plane z = 0 meets the street's where
        the slope begins.
        """
        aside, drift = self._sway(time_s, _WEAVE_HZ, 0) if self.weave_m else (0.0, 0.0)
        x, y = self.street_x(time_s), self.weave_m * aside
        # In a bend the way along the middle is longer or shorter than the vehicle's own.
        along = EGO_SPEED_MPS * (1 - self.bend.curvature_per_m * y)
        pose = self.bend.pose(x, y, math.atan2(self.weave_m * drift, along))
        if self.slope_rad:
            tilt = _pitched(self.slope_rad)
            begins = np.array([self.slope_begins_m, 0.0, 0.0])
            tilt[:3, 3] = begins - tilt[:3, :3] @ begins
            pose = pose @ tilt
        return pose

    def base_from_world_per_s(self, time_s: float) -> np.ndarray:
        """How fast the inverse of `world_from_base` changes, float64 `[4, 4]`, per second: to 1e-6 of itself."""
        before, after = (np.linalg.inv(self.world_from_base(time_s + step)) for step in (-_STEP_S, _STEP_S))
        return (after - before) / (2 * _STEP_S)

    def street_x(self, time_s: float) -> float:
        """How far along the lane's middle the vehicle is, m."""
        return EGO_SPEED_MPS * time_s

    def base_from_body(self, time_s: float) -> np.ndarray:
        """Pose of the body, float64 `[4, 4]`: pitch about the base frame's left axis and heave."""
        pose = _pitched(self.bump_pitch_rad * self._sway(time_s, _PITCH_HZ, 2)[0])
        pose[2, 3] = self.bump_height_m * self._sway(time_s, _HEAVE_HZ, 4)[0]
        return pose

    def _sway(self, time_s: float, rates_hz: tuple[float, float], first_key: int) -> tuple[float, float]:
        """A smooth value from −1 to 1, and its change per second."""
        value = change = 0.0
        for i, (rate_hz, share) in enumerate(zip(rates_hz, _SHARES)):
            turn = 2 * math.pi * rate_hz
            phase = turn * time_s + 2 * math.pi * stream(self.seed, first_key + i, 0xE6).random()
            value += share * math.sin(phase)
            change += share * turn * math.cos(phase)
        return value, change


def _pitched(pitch_rad: float) -> np.ndarray:
    """float64 `[4, 4]`; positive looks down (REP 103)."""
    c, s = math.cos(pitch_rad), math.sin(pitch_rad)
    pose = np.eye(4)
    pose[:3, :3] = [[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]
    return pose
