"""Grid and boundary against what a simulated camera truly sees of the ground."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from seg_perception.geometry.ground import GridSpec, GroundCamera
from seg_perception.perception.drivable import FREE, OCCUPIED
from seg_perception.simulate.ground_truth import GroundTruth
from seg_perception.types import Boundary

__all__ = ["GroundScore"]

_SLACK_M = 0.02
"""What hides less of the ground to each side is in no pixel at times."""

_INNER = 0.95
"""Of the field of view: at its very edges a picture shows ground for a moment, or not."""


def _zeros() -> dict[int, int]:
    return {FREE: 0, OCCUPIED: 0}


@dataclass
class GroundScore:
    """What many frames add up to.

    Attributes:
        grid: of the grids.
        contact_depth_m: with which they were made.
        near_m: cells further from the camera's foot are not judged.
        free_behind: cells called free that lie behind something.
        rays, disputed, overrun: rays but for those at the view's edges; those that end for one side only; and of these
            the ones that end in truth and are called free to the end.
    """

    grid: GridSpec
    contact_depth_m: float
    near_m: float = 15.0
    free_behind: int = 0
    rays: int = 0
    disputed: int = 0
    overrun: int = 0
    _both: dict[int, int] = field(default_factory=_zeros)
    _either: dict[int, int] = field(default_factory=_zeros)
    _error_px: list[np.ndarray] = field(default_factory=list)
    _error_m: list[np.ndarray] = field(default_factory=list)

    def add(self, ground: GroundCamera, values: np.ndarray, boundary: Boundary, truth: GroundTruth) -> None:
        """One frame.

        Args:
            ground: the camera where it is.
            values: the grid, int8 `[rows, columns]`.
        """
        self._add_grid(ground, values, truth)
        self._add_boundary(ground, boundary, truth)

    def _add_grid(self, ground: GroundCamera, values: np.ndarray, truth: GroundTruth) -> None:
        true = truth.grid(self.grid.x_m, self.grid.y_m, self.grid.resolution_m, self.contact_depth_m)
        x, y = self.grid.centres()
        near = np.hypot(x - ground.foot[0], (y - ground.foot[1])[:, None]) <= self.near_m
        seen = near & (true != -1)
        for value in (FREE, OCCUPIED):
            said, is_so = (values == value) & seen, (true == value) & seen
            self._both[value] += int((said & is_so).sum())
            self._either[value] += int((said | is_so).sum())
        rows, columns = np.nonzero((values == FREE) & np.isin(true, (-1, OCCUPIED)) & near)
        if len(rows):
            slack = _SLACK_M * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
            around = np.stack([x[columns], y[rows]], -1)[:, None] + slack
            self.free_behind += int((~truth.at(around)[1]).all(axis=1).sum())

    def _add_boundary(self, ground: GroundCamera, found: Boundary, truth: GroundTruth) -> None:
        true = truth.contact_range_m(found.bearings_rad, found.range_max_m)
        both = np.isfinite(true) & np.isfinite(found.ranges_m)
        inner = np.abs(found.bearings_rad) < np.abs(found.bearings_rad).max() * _INNER
        self.rays += int(inner.sum())
        self.disputed += int((np.isfinite(true) != np.isfinite(found.ranges_m))[inner].sum())
        self.overrun += int((np.isfinite(true) & np.isposinf(found.ranges_m))[inner].sum())
        bearings = found.bearings_rad[both] + ground.heading_rad
        directions = np.stack([np.cos(bearings), np.sin(bearings)], -1)
        ends = [ground.project(ground.foot + directions * r[both, None]) for r in (true, found.ranges_m)]
        self._error_px.append(np.hypot(*(ends[0] - ends[1]).T))
        near = both & (true <= 10.0)
        self._error_m.append(np.abs(true[near] - found.ranges_m[near]))

    def iou(self, value: int) -> float:
        """Of `FREE` or `OCCUPIED`, over cells that are truly seen; NaN where there were none."""
        return self._both[value] / self._either[value] if self._either[value] else float("nan")

    def error_px(self, percent: float) -> float:
        """Percentile of how far the boundary is off in the image, pixels."""
        return _percentile(self._error_px, percent)

    def error_m(self, percent: float) -> float:
        """Percentile of how far the boundary is off where it is truly within 10 m, metres."""
        return _percentile(self._error_m, percent)


def _percentile(parts: list[np.ndarray], percent: float) -> float:
    values = np.concatenate([np.empty(0), *parts])
    return float(np.percentile(values, percent)) if len(values) else float("nan")
