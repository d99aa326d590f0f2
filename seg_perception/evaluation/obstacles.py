"""Obstacles and track ids against what a simulated camera truly meets."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from seg_perception.geometry.ground import GroundCamera
from seg_perception.simulate.contacts import ObjectContacts
from seg_perception.types import Perception

__all__ = ["ObstacleScore", "TrackScore", "true_rows"]

_OWN_SHARE = 0.5
"""More of an object's cells must be one true thing's, and more of that thing's the object's: it is that thing."""
_ELLIPSE_95 = 5.991
"""Squared Mahalanobis distance within which a normal distribution in the plane has 95 % (chi-squared, 2 degrees)."""


def true_rows(instance_map: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Which true thing each object is, int64 `[count]`; 0 for none.

    Args:
        instance_map: of the objects, numbers 1 to count, `[h, w]`.
        truth: instance ids of the same size.
    """
    pairs, shared = np.unique(instance_map.astype(np.int64) << 16 | truth, return_counts=True)
    row, thing = pairs >> 16, pairs & 0xFFFF
    own, whole = np.bincount(row, shared, count + 1), np.bincount(thing, shared, 1 << 16)
    is_it = (row > 0) & (thing > 0) & (shared > _OWN_SHARE * own[row]) & (shared > _OWN_SHARE * whole[thing])
    out = np.zeros(count, np.int64)
    out[row[is_it] - 1] = thing[is_it]
    return out


@dataclass
class ObstacleScore:
    """Where things are said to stand, over many frames.

    Attributes:
        near_m, far_m: errors in metres are judged to the first, on the image to the second.
        unmet: true contacts of things that were found, and of which no contact was.
        judged: those that were.
    """

    near_m: float = 10.0
    far_m: float = 40.0
    unmet: int = 0
    judged: int = 0
    _errors_m: list[np.ndarray] = field(default_factory=list)
    _errors_px: list[np.ndarray] = field(default_factory=list)
    _within: list[np.ndarray] = field(default_factory=list)

    def add(self, seen: Perception, instances: np.ndarray, contacts: ObjectContacts, camera: GroundCamera) -> None:
        """One frame.

        Args:
            instances: true ids on the map that the objects were found on.
            camera: the true one, at its true place.
        """
        assert seen.objects is not None and seen.obstacles is not None
        thing = true_rows(seen.objects.instance_map, instances, len(seen.objects))[seen.obstacles.rows]
        at = np.searchsorted(contacts.instance_ids, thing)
        known = np.flatnonzero((at < len(contacts)) & (thing > 0))
        known = known[contacts.instance_ids[at[known]] == thing[known]]
        known = known[contacts.range_m[at[known]] <= self.far_m]
        truth, range_m = contacts.plane_xy[at[known]], contacts.range_m[at[known]]
        said = seen.obstacles.positions_m[known]
        error = said - truth
        self._errors_m.append(np.hypot(*error[range_m <= self.near_m].T))
        self._errors_px.append(np.hypot(*(camera.project(said) - camera.project(truth)).T))
        inverse = np.linalg.inv(seen.obstacles.covariances_m2[known])
        self._within.append(np.einsum("ni,nij,nj->n", error, inverse, error) <= _ELLIPSE_95)
        self.judged += len(known)
        found = set(true_rows(seen.objects.instance_map, instances, len(seen.objects)).tolist()) - {0}
        near = set(contacts.instance_ids[contacts.range_m <= self.far_m].tolist())
        self.unmet += len(found & near) - len(known)

    @property
    def median_m(self) -> float:
        """Of the distances to the true contacts that are near; NaN without any."""
        errors = np.concatenate(self._errors_m)
        return float(np.median(errors)) if len(errors) else float("nan")

    @property
    def median_px(self) -> float:
        """The same on the image, camera pixels, also of those further away."""
        errors = np.concatenate(self._errors_px)
        return float(np.nanmedian(errors)) if len(errors) else float("nan")

    @property
    def held(self) -> float:
        """Share of the true contacts that the 95 % ellipse holds."""
        return float(np.concatenate(self._within).mean())


@dataclass
class TrackScore:
    """Whether ids stay.

    Attributes:
        least_px: a thing of which fewer pixels are seen may lose its id.
        frames: things seen in frames: what switches are counted against.
        switches: how often a thing had another id than in the frame before, in which it was seen as well.
        returned, kept: how often a thing came back within `memory_s`, and how often with its id.
    """

    least_px: int
    memory_s: float = 1.0
    frames: int = 0
    switches: int = 0
    returned: int = 0
    kept: int = 0
    _last: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    _frame: int = 0

    def add(self, seen: Perception, instances: np.ndarray) -> None:
        """The next frame of a drive; `instances` as in `ObstacleScore.add`."""
        assert seen.objects is not None and seen.objects.track_ids is not None
        self._frame += 1
        counts = np.bincount(instances.ravel(), minlength=1 << 16)
        things = true_rows(seen.objects.instance_map, instances, len(seen.objects))
        for thing, track in zip(things.tolist(), seen.objects.track_ids.tolist()):
            if not thing or counts[thing] < self.least_px:
                continue
            self.frames += 1
            frame, before, stamp_ns = self._last.get(thing, (0, 0, 0))
            if before and frame == self._frame - 1:
                self.switches += before != track
            elif before and seen.stamp_ns - stamp_ns <= self.memory_s * 1e9:
                self.returned += 1
                self.kept += before == track
            self._last[thing] = (self._frame, track, seen.stamp_ns)

    def end_drive(self) -> None:
        """The next frame is of another drive."""
        self._last.clear()
