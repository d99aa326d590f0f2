"""Where objects stand: the nearest place at which each is seen to meet the ground, and how well it is known.

The contact of an object is where its mask ends towards the point straight below the camera, and ground begins. What
hangs over, as a bumper does, meets the ground where it hides it: so far ground is seen to be free.
"""

from __future__ import annotations

import math

import numpy as np

from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.objects import Objects, Obstacles
from seg_perception.perception.contact_noise import PoseNoise, Sights, covariances_of, spread_of
from seg_perception.perception.outlines import OutlineFinder, Outlines, groups

__all__ = ["ObstacleFinder", "PoseNoise"]

_LARGEST_SHARE = 0.5
"""What is known to be at a distance give or take this share of it, one standard deviation, is nowhere."""

_DEEPEST, _LEAST_DEPTH_M = 2.0, 1.0
"""Contacts further behind the nearest one than so many widths of the object, and than this, are no feet: there the
ground is seen past what hangs over, an arm or a mirror."""

_ASIDE = 0.05
"""Cosine of how far off an object's bearing its cells may be for its width and height."""


class ObstacleFinder:
    """Made once for a camera and a class map; the pose may be another in every frame. One thread uses it.

    Args:
        camera: what took the image.
        onto: how the image falls on the class map.
    """

    def __init__(self, camera: CameraModel, onto: ClassMap) -> None:
        self._onto = onto
        self._outlines = OutlineFinder(camera, onto)

    def locate(
        self,
        objects: Objects,
        class_ids: np.ndarray,
        is_ground: np.ndarray,
        ground: GroundCamera,
        frame_id: str,
        noise: PoseNoise,
    ) -> Obstacles:
        """Objects whose contact with the ground is in view; velocities are NaN, `is_relative` is True.

        Left out, and counted in `without_contact`: what the picture's edge, other objects, or anything that is no
        ground cut off below; what is so near to the horizon that its distance is known to half of it only, or worse;
        what is but single cells that touch at corners at most.

        Args:
            objects: of a class map of the size that this was made for.
            class_ids: that class map, uint8 `[h, w]`, void where the picture is not.
            is_ground: bool `[256]` by class id.
            ground: the camera at its place; the same camera.
            frame_id: name of the ground frame.
            noise: what the covariances follow from.

        Raises:
            ValueError: a map of another size.
        """
        outlines = self._outlines.read(objects.instance_map, class_ids, is_ground, ground)
        sights, owner = self._outlines.contacts(outlines, ground)
        nearest, covariances = self._nearest(sights, owner, ground, noise)
        chosen, rows = sights.take(nearest), owner[nearest]
        widths, heights = _sizes(outlines, chosen, rows, ground)
        kept, contact_rows = _near_by(sights, owner, chosen, rows, widths)
        foot = np.array(ground.foot)
        m = len(rows)
        return Obstacles(
            frame_id=frame_id,
            ground_z_m=ground.ground_z_m,
            rows=rows.astype(np.intp) - 1,
            positions_m=foot + chosen.away_m,
            covariances_m2=covariances,
            widths_m=widths,
            heights_m=heights,
            ranges_m=chosen.ranges_m,
            bearings_rad=_wrapped(np.arctan2(chosen.away_m[:, 1], chosen.away_m[:, 0]) - ground.heading_rad),
            contacts_m=foot + sights.away_m[kept],
            contact_rows=contact_rows,
            without_contact=len(objects) - m,
            velocities_mps=np.full((m, 2), np.nan),
        )

    def _nearest(
        self, sights: Sights, owner: np.ndarray, ground: GroundCamera, noise: PoseNoise
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which contact of each object is the nearest, intp `[m]`, and its covariance; without what nobody can know."""
        starts, group = groups(owner)
        least = np.minimum.reduceat(sights.ranges_m, starts) if len(starts) else np.empty(0)
        hits = np.flatnonzero(sights.ranges_m == least[group])[::-1]
        nearest = np.empty(len(starts), np.intp)
        nearest[group[hits]] = hits
        chosen = sights.take(nearest)
        covariances = covariances_of(chosen, ground, self._onto, noise)
        covariances += spread_of(sights, starts, group, nearest, ground, self._onto, noise)
        # Straight below the camera the distance is no measure, the length of the line of sight is.
        variance = np.einsum("ki,kij,kj->k", chosen.away_m, covariances, chosen.away_m)
        slant = chosen.ranges_m**2 + ground.eye_height_m**2
        known = variance <= _LARGEST_SHARE**2 * slant * chosen.ranges_m**2
        return nearest[known], covariances[known]


def _sizes(
    outlines: Outlines, chosen: Sights, rows: np.ndarray, ground: GroundCamera
) -> tuple[np.ndarray, np.ndarray]:
    """Widths and heights, float64 `[m]`, as if all of an object were upright at its contact's distance."""
    if not len(rows):
        return np.empty(0), np.empty(0)
    unit = chosen.away_m / np.maximum(chosen.ranges_m, 1e-9)[:, None]
    which = np.full(int(outlines.owner[-1]) + 1, -1, np.intp)
    which[rows] = np.arange(len(rows))
    index = which[outlines.owner]
    seen = np.flatnonzero(index >= 0)
    index = index[seen]
    x, y, z = outlines.directions[seen].T
    ux, uy = unit[index].T
    ahead = x * ux + y * uy
    valid = ahead > _ASIDE
    with np.errstate(all="ignore"):
        per_m = chosen.ranges_m[index] / ahead
    left, up = (y * ux - x * uy) * per_m, z * per_m
    starts, _ = groups(index[valid])
    left, up = left[valid], up[valid]
    widths = np.maximum.reduceat(left, starts) - np.minimum.reduceat(left, starts)
    heights = np.maximum.reduceat(up, starts) + ground.eye_height_m
    # From the outermost cells' centres to their edges, by the size of a cell where the contact is.
    dx, dy, dz = np.moveaxis(chosen.per_cell, 1, 0)
    flat = chosen.ranges_m / np.maximum(chosen.reaches, 1e-12)
    ux, uy = unit.T
    cell_left = (dy * ux[:, None] - dx * uy[:, None]) * chosen.reaches[:, None]
    slope = chosen.directions[:, 2] / np.maximum(flat, 1e-12)
    cell_up = (dz - slope[:, None] * (dx * ux[:, None] + dy * uy[:, None])) * chosen.reaches[:, None]
    return widths + np.hypot(*cell_left.T), heights + np.hypot(*cell_up.T) / 2


def _near_by(
    sights: Sights, owner: np.ndarray, chosen: Sights, rows: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which contacts to tell, and the obstacles they belong to; those of an object from left to right."""
    reach = np.full(int(owner[-1]) + 1 if len(owner) else 1, -np.inf)
    reach[rows] = chosen.ranges_m + np.maximum(_DEEPEST * widths, _LEAST_DEPTH_M)
    kept = np.flatnonzero(sights.ranges_m <= reach[owner])
    bearing = np.arctan2(sights.away_m[kept, 1], sights.away_m[kept, 0])
    kept = kept[np.lexsort((-bearing, owner[kept]))]
    return kept, np.searchsorted(rows, owner[kept])


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """The same between −π and π."""
    wrapped: np.ndarray = (angle + math.pi) % (2 * math.pi) - math.pi
    return wrapped
