"""How well the place of a contact with the ground is known, from how well pixels and the camera's pose are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.geometry.ground import ClassMap, GroundCamera

__all__ = ["PoseNoise", "Sights", "covariances_of", "spread_of"]

_CELL_VARIANCE = 1 / 12
"""Of where an edge is between two cells' centres: anywhere, cells²."""


@dataclass(frozen=True)
class PoseNoise:
    """What is declared to be uncertain: one standard deviation each, all independent.

    Attributes:
        pixel_sigma_px: where a contact is seen, camera pixels, along either axis; the size of the class map's cells
            comes on top by itself.
        position_sigma_m: x, y, z of the camera in the ground frame; z stands for the ground's height as well.
        rotation_sigma_rad: roll, pitch, yaw of the camera's body frame in the ground frame (REP 103: fixed axes x, y,
            z; R = Rz(yaw) · Ry(pitch) · Rx(roll)).
    """

    pixel_sigma_px: float = 0.5
    position_sigma_m: tuple[float, ...] = (0.02, 0.02, 0.02)
    rotation_sigma_rad: tuple[float, ...] = (0.005, 0.005, 0.005)


@dataclass(frozen=True)
class Sights:
    """Lines of sight that meet the ground, one a row, along the ground frame's axes.

    Attributes:
        directions: float64 `[k, 3]`, of any length; z is below 0.
        per_cell: float64 `[k, 3, 2]`: how the direction changes from a cell of the class map to the next column, row.
        reaches: float64 `[k]`: times the direction is where the ground is.
        away_m: float64 `[k, 2]`, from the camera's foot to where the ground is met.
        ranges_m: float64 `[k]`, its length.
    """

    directions: np.ndarray
    per_cell: np.ndarray
    reaches: np.ndarray
    away_m: np.ndarray
    ranges_m: np.ndarray

    @classmethod
    def of(cls, directions: np.ndarray, per_cell: np.ndarray, eye_height_m: float) -> Sights:
        """From directions that go down."""
        reaches = eye_height_m / -directions[:, 2]
        away = directions[:, :2] * reaches[:, None]
        return cls(directions, per_cell, reaches, away, np.sqrt((away * away).sum(1)))

    def take(self, which: np.ndarray) -> Sights:
        """Some of them."""
        rows = (self.directions, self.per_cell, self.reaches, self.away_m, self.ranges_m)
        return Sights(*(row[which] for row in rows))

    def shifts(self, turned: np.ndarray) -> np.ndarray:
        """float64 `[k, 2, n]`: how the places move when the directions change by `turned`, `[k, 3, n]`.

        With d the direction, p = h · (d_x, d_y) / −d_z and dp = h (dd_x, dd_y) / −d_z + p · dd_z / −d_z.
        """
        slope = self.away_m / -self.directions[:, 2:]
        return self.reaches[:, None, None] * turned[:, :2] + slope[:, :, None] * turned[:, 2:]

    def turned(self, ground: GroundCamera) -> np.ndarray:
        """float64 `[k, 3, 3]`: how the directions change with roll, pitch and yaw: axis × direction.

        Of R = Rz · Ry · Rx, roll turns about the body's own axis, pitch about the left axis, levelled, yaw about the
        vertical.
        """
        c, s = math.cos(ground.heading_rad), math.sin(ground.heading_rad)
        (rx, ry, rz), (x, y, z) = ground.pose[:3, 2].tolist(), self.directions.T
        turned = np.empty((len(x), 3, 3))
        turned[:, 0, 0], turned[:, 1, 0], turned[:, 2, 0] = ry * z - rz * y, rz * x - rx * z, rx * y - ry * x
        turned[:, 0, 1], turned[:, 1, 1], turned[:, 2, 1] = c * z, s * z, -s * y - c * x
        turned[:, 0, 2], turned[:, 1, 2], turned[:, 2, 2] = -y, x, 0.0
        return turned


def covariances_of(sights: Sights, ground: GroundCamera, onto: ClassMap, noise: PoseNoise) -> np.ndarray:
    """float64 `[k, 2, 2]`, m²: J Σ Jᵀ of what is declared, and of cells that have a size."""
    jacobian = np.empty((len(sights.ranges_m), 2, 8))
    jacobian[:, :, :2] = sights.shifts(sights.per_cell)
    jacobian[:, :, 2:4] = np.eye(2)
    jacobian[:, :, 4] = sights.away_m / ground.eye_height_m
    jacobian[:, :, 5:] = sights.shifts(sights.turned(ground))
    cells = _cell_variances(onto, noise)
    variances = np.concatenate([cells, np.square(noise.position_sigma_m), np.square(noise.rotation_sigma_rad)])
    covariances: np.ndarray = (jacobian * variances) @ np.swapaxes(jacobian, 1, 2)
    return covariances


def spread_of(
    sights: Sights,
    starts: np.ndarray,
    owner: np.ndarray,
    nearest: np.ndarray,
    ground: GroundCamera,
    onto: ClassMap,
    noise: PoseNoise,
) -> np.ndarray:
    """float64 `[m, 2, 2]`, m²: what it costs that another contact of an object may be the nearest in truth.

    Along a bumper many are as near as one another, to what pixels and pose can tell. Each counts by how likely its
    distance is the least; the second moment about the one chosen is what this adds to the covariance.

    Args:
        sights: contacts, those of an object one after another.
        starts: intp `[m]`, where each object's begin.
        owner: intp `[k]`, whose they are, 0 to m − 1.
        nearest: intp `[m]`, which of them is taken for the nearest.
    """
    along = sights.away_m / sights.ranges_m[:, None]
    cell = np.einsum("ki,kij->kj", along, sights.shifts(sights.per_cell))
    by_pose = np.einsum("ki,kij->kj", along, sights.shifts(sights.turned(ground)))
    chosen = nearest[owner]
    variance = cell**2 @ _cell_variances(onto, noise)
    variance += variance[chosen]
    variance += ((by_pose - by_pose[chosen]) ** 2) @ np.square(noise.rotation_sigma_rad)
    weight = np.exp((sights.ranges_m - sights.ranges_m[chosen]) ** 2 / (-2 * variance))
    aside = sights.away_m - sights.away_m[chosen]
    moments = weight[:, None] * np.stack([aside[:, 0] ** 2, aside[:, 0] * aside[:, 1], aside[:, 1] ** 2], 1)
    total = np.add.reduceat(weight, starts)
    xx, xy, yy = (np.add.reduceat(moments, starts, axis=0) / total[:, None]).T
    return np.stack([xx, xy, xy, yy], 1).reshape(-1, 2, 2)


def _cell_variances(onto: ClassMap, noise: PoseNoise) -> np.ndarray:
    """Of where a contact is seen, columns and rows, cells²."""
    per_px = np.array([onto.columns.scale, onto.rows.scale])
    variances: np.ndarray = (noise.pixel_sigma_px * per_px) ** 2 + _CELL_VARIANCE
    return variances
