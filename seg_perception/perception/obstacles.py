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
from seg_perception.perception.contact_noise import PoseNoise, Sights, covariances_of, per_cell, spread_of
from seg_perception.perception.outlines import OutlineFinder, Outlines, begins, groups

__all__ = ["ObstacleFinder", "PoseNoise"]

_LARGEST_SHARE = 0.5
"""What is known to be at a distance give or take this share of it, one standard deviation, is nowhere."""

_BENT = 8.0
"""The range is one over an angle: for a relative deviation s of the angle its variance is range² (s² + 8 s⁴ + …)."""

_DEEPEST, _LEAST_DEPTH_M = 2.0, 1.0
"""Contacts further behind the nearest one than so many widths of the object, and than this, are no feet: there the
ground is seen past what hangs over, an arm or a mirror."""

_FULL_TURN = 7.0
"""More than 2π."""

_HERE_M = 1e-6
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
        stands: np.ndarray | None = None,
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
            stands: bool `[256]` by class id: what stands on the ground itself, as riders do not; None: all do.

        Raises:
            ValueError: a map of another size.
        """
        outlines = self._outlines.read(objects.instance_map, class_ids, is_ground, ground)
        sights, owner = self._outlines.contacts(outlines, ground)
        if stands is not None:
            some = np.flatnonzero(stands.take(objects.class_ids).take(owner.astype(np.intp) - 1))
            if len(some) < len(owner):
                sights, owner = sights.take(some), owner.take(some)
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
            heading_rad=ground.heading_rad,
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
        units = _units(chosen, ground).T
        covariances = covariances_of(chosen, ground, self._onto, noise)
        covariances += spread_of(sights, starts, group, nearest, ground, self._onto, noise)
        along = np.einsum("ki,kij,kj->k", units, covariances, units)
        squared = np.square(chosen.ranges_m) + ground.eye_height_m**2
        covariances += (_BENT * along**2 / squared)[:, None, None] * (units[:, :, None] * units[:, None])
        known = along <= _LARGEST_SHARE**2 * squared
        return nearest[known], covariances[known]


def _sizes(outlines: Outlines, chosen: Sights, rows: np.ndarray, ground: GroundCamera) -> tuple[np.ndarray, np.ndarray]:
    """Widths and heights, float64 `[m]`, as if all of an object were upright at its contact's distance."""
    if not len(rows):
        return np.empty(0), np.empty(0)
    ux, uy = _units(chosen, ground)
    which = np.full(int(outlines.owner[-1]) + 1, -1, np.intp)
    which[rows] = np.arange(len(rows))
    index, directions = which.take(outlines.owner), outlines.directions
    if index.min() < 0:
        directions, index = directions[index >= 0], index[index >= 0]
    x, y, z = directions.T
    ux_of, uy_of = ux.take(index), uy.take(index)
    ahead = x * ux_of + y * uy_of
    unseen = ahead <= _ASIDE
    per_m = chosen.ranges_m.take(index) / np.maximum(ahead, _ASIDE)
    left, up = (y * ux_of - x * uy_of) * per_m, z * per_m
    if unseen.any():
        left[unseen], up[unseen] = 0.0, -ground.eye_height_m
    starts = begins(index)
    widths = np.maximum.reduceat(left, starts) - np.minimum.reduceat(left, starts)
    heights = np.maximum.reduceat(up, starts) + ground.eye_height_m
    # From the outermost cells' centres to their edges, by the size of a cell where the contact is.
    dx, dy, dz = per_cell(chosen, ground).transpose(1, 2, 0) * chosen.reaches
    fall = ground.eye_height_m / np.maximum(chosen.ranges_m, _HERE_M)
    across, upright = dy * ux - dx * uy, dz + fall * (dx * ux + dy * uy)
    return widths + np.hypot(*across), heights + np.hypot(*upright) / 2


def _units(chosen: Sights, ground: GroundCamera) -> np.ndarray:
    """float64 `[2, m]`: x and y of the directions of the contacts on the ground; ahead, if straight below."""
    units = (chosen.away_m / np.maximum(chosen.ranges_m, _HERE_M)[:, None]).T
    here = chosen.ranges_m < _HERE_M
    if here.any():
        units[:, here] = np.array([[math.cos(ground.heading_rad)], [math.sin(ground.heading_rad)]])
    return units


def _near_by(
    sights: Sights, owner: np.ndarray, chosen: Sights, rows: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which contacts to tell, and the obstacles they belong to; those of an object from left to right."""
    if not len(rows):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    reach = np.full(int(owner[-1]) + 1, -np.inf)
    reach[rows] = chosen.ranges_m + np.maximum(_DEEPEST * widths, _LEAST_DEPTH_M)
    kept = np.flatnonzero(sights.ranges_m <= reach.take(owner))
    obstacle = np.searchsorted(rows, owner.take(kept))
    x, y = sights.away_m.take(kept, axis=0).T
    order = np.argsort(obstacle * _FULL_TURN - np.arctan2(y, x), kind="stable")
    return kept.take(order), obstacle.take(order)


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """The same between −π and π."""
    wrapped: np.ndarray = (angle + math.pi) % (2 * math.pi) - math.pi
    return wrapped
