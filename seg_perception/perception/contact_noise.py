"""How well the place of a contact with the ground is known, from how well pixels and the camera's pose are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.geometry.ground import ClassMap, GroundCamera

__all__ = ["PoseNoise", "Sights", "covariances_of", "per_cell", "spread_of"]

_LEAST_RANGE_M = 1e-3
_SAME = np.eye(2)
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
    """Lines of sight that meet the ground, one a row.

    Attributes:
        directions: float64 `[k, 3]`, along the ground frame's axes, 1 deep along the optical axis; z is below 0.
        slopes: float64 `[k, 2, 2]`: how x / z and y / z in the optical frame change from a cell of the class map to the
            next column, row.
        reaches: float64 `[k]`: times the direction is where the ground is.
        away_m: float64 `[k, 2]`, from the camera's foot to where the ground is met.
        ranges_m: float64 `[k]`, its length.
    """

    directions: np.ndarray
    slopes: np.ndarray
    reaches: np.ndarray
    away_m: np.ndarray
    ranges_m: np.ndarray

    @classmethod
    def of(cls, directions: np.ndarray, slopes: np.ndarray, eye_height_m: float) -> Sights:
        """From directions that go down."""
        reaches = eye_height_m / -directions[:, 2]
        away = directions[:, :2] * reaches[:, None]
        return cls(directions, slopes, reaches, away, np.sqrt(away[:, 0] ** 2 + away[:, 1] ** 2))

    def take(self, which: np.ndarray) -> Sights:
        """Some of them."""
        rows = (self.directions, self.slopes, self.reaches, self.away_m, self.ranges_m)
        return Sights(*(row.take(which, axis=0) for row in rows))

    def shifts(self, turned: np.ndarray) -> np.ndarray:
        """float64 `[k, 2, n]`: how the places move when the directions change by `turned`, `[k, 3, n]`.

        With d the direction, p = h · (d_x, d_y) / −d_z and dp = h (dd_x, dd_y) / −d_z + p · dd_z / −d_z.
        """
        slope = self.away_m / -self.directions[:, 2:]
        return self.reaches[:, None, None] * turned[:, :2] + slope[:, :, None] * turned[:, 2:]


def per_cell(sights: Sights, ground: GroundCamera) -> np.ndarray:
    """float64 `[k, 3, 2]`: how the directions change from a cell of the class map to the next column, row."""
    changes: np.ndarray = ground.pose[:3, :2] @ sights.slopes
    return changes


def covariances_of(sights: Sights, ground: GroundCamera, onto: ClassMap, noise: PoseNoise) -> np.ndarray:
    """float64 `[k, 2, 2]`, m²: J Σ Jᵀ of what is declared, and of cells that have a size."""
    jacobian = np.empty((len(sights.ranges_m), 2, 8))
    turned = np.concatenate([per_cell(sights, ground), _crossed(_axes(ground), sights.directions)], axis=2)
    jacobian[:, :, :5] = sights.shifts(turned)
    jacobian[:, :, 5:7] = _SAME
    jacobian[:, :, 7] = sights.away_m / ground.eye_height_m
    sigmas = np.array([*noise.rotation_sigma_rad, *noise.position_sigma_m])
    variances = np.concatenate([_cell_variances(onto, noise), sigmas * sigmas])
    covariances: np.ndarray = (jacobian * variances) @ jacobian.transpose(0, 2, 1)
    return covariances


def spread_of(
    sights: Sights,
    starts: np.ndarray,
    group: np.ndarray,
    nearest: np.ndarray,
    ground: GroundCamera,
    onto: ClassMap,
    noise: PoseNoise,
) -> np.ndarray:
    """float64 `[m, 2, 2]`, m²: what it costs that another contact of an object may be the nearest in truth.

    Along a bumper many are as near as one another, as far as pixels and pose can tell. Each counts by how likely it is
    the nearest; the second moment about the one chosen is what this adds to the covariance.

    Args:
        sights: contacts, those of an object one after another.
        starts: intp `[m]`, where each object's begin.
        group: intp `[k]`, whose they are, 0 to m − 1.
        nearest: intp `[m]`, which of them is taken for the nearest.
    """
    d, away = sights.directions, sights.away_m
    inverse = 1 / np.maximum(sights.ranges_m, _LEAST_RANGE_M)
    # How the inverse of the range, which pixels and angles change evenly at any distance, changes with the direction.
    by_x, by_y = away.T * (sights.reaches * inverse * inverse * inverse)
    by_z = inverse / -d[:, 2]
    x, y, z = d.T
    about = np.stack([y * by_z - z * by_y, z * by_x - x * by_z, x * by_y - y * by_x], 1)
    by_pose = about @ (_axes(ground).T * noise.rotation_sigma_rad)
    by_xy = (np.stack([by_x, by_y, by_z], 1) @ ground.pose[:3, :2])[:, :, None]
    by_cell = by_xy[:, 0] * sights.slopes[:, 0] + by_xy[:, 1] * sights.slopes[:, 1]
    variance = (by_cell * by_cell) @ _cell_variances(onto, noise)
    chosen = nearest.take(group)
    variance += variance.take(chosen)
    variance += np.square(by_pose - by_pose.take(chosen, axis=0)).sum(1)
    weight = np.exp(np.square(inverse - inverse.take(chosen)) / (-2 * np.maximum(variance, 1e-20)))
    aside_x, aside_y = (away - away.take(chosen, axis=0)).T
    moments = weight * np.stack([np.ones_like(weight), aside_x * aside_x, aside_x * aside_y, aside_y * aside_y])
    total, xx, xy, yy = np.add.reduceat(moments, starts, axis=1) if len(starts) else np.empty((4, 0))
    return np.stack([xx, xy, xy, yy], 1).reshape(-1, 2, 2) / total[:, None, None]


def _axes(ground: GroundCamera) -> np.ndarray:
    """float64 `[3, 3]`, about which roll, pitch and yaw turn the directions: axis × direction is how they change.

    Of R = Rz · Ry · Rx, roll turns about the body's own axis, pitch about the left axis, levelled, and yaw about the
    vertical.
    """
    c, s = math.cos(ground.heading_rad), math.sin(ground.heading_rad)
    return np.array([ground.pose[:3, 2], (-s, c, 0.0), (0.0, 0.0, 1.0)])


def _crossed(axes: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """float64 `[k, 3, n]`: each of the axes `[n, 3]` × each of the directions `[k, 3]`."""
    x, y, z = axes.T
    none = np.zeros_like(x)
    matrix = np.array([[none, z, -y], [-z, none, x], [y, -x, none]])
    crossed: np.ndarray = directions @ matrix.reshape(3, -1)
    return crossed.reshape(len(directions), 3, len(axes))


def _cell_variances(onto: ClassMap, noise: PoseNoise) -> np.ndarray:
    """Of where a contact is seen, columns and rows, cells²."""
    per_px = np.array([onto.columns.scale, onto.rows.scale])
    variances: np.ndarray = (noise.pixel_sigma_px * per_px) ** 2 + _CELL_VARIANCE
    return variances
