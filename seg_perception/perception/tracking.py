"""Ids that stay: the same thing has the same number from frame to frame, and through short occlusions.

A track has constant-velocity Kalman filters for the edges of its box in the image, each on its own since what passes in
front of a thing hides one side of it; and one for its place, in a frame that is fixed to the ground if there is one.
What fits whom is one assignment (SORT's scheme, https://arxiv.org/abs/1602.00763, but with edges, places, likelihoods).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from seg_perception.perception.association import class_table
from seg_perception.perception.silhouettes import Silhouettes
from seg_perception.perception.things import Things
from seg_perception.perception.tracker_spec import TrackerSpec, confusable_classes, walking_classes
from seg_perception.perception.tracks import Tracks

__all__ = ["Tracked", "Tracker", "TrackerSpec", "confusable_classes", "walking_classes"]

_USUAL = TrackerSpec()


@dataclass(frozen=True)
class Tracked:
    """What the tracker knows of each object of one frame.

    Attributes:
        ids: int64 `[n]`, at least 1, never given to another thing by the same `Tracker`, also after a reset.
        velocities_mps: float64 `[n, 2]`, in the reference frame; NaN as long as it is not known.
    """

    ids: np.ndarray
    velocities_mps: np.ndarray


class Tracker:
    """Gives ids to the objects of one camera's frames, in the order of their stamps.

    Attributes:
        spec: the argument, and what `remember` made of it.
        resets: how often the clock jumped, and everything was forgotten.
    """

    def __init__(self, spec: TrackerSpec = _USUAL) -> None:
        # Half a second, now rather than at the first frame with two things side by side.
        importlib.import_module("scipy.optimize")
        self.spec = spec
        self.resets = 0
        self._class_costs = class_table(spec.confusable)
        self._tracks = Tracks(spec, self._class_costs)
        self._next_id = 1
        self._stamp_ns: int | None = None
        self._reference = ""

    @property
    def alive(self) -> int:
        """How many tracks there are, seen in the last frame or not."""
        return len(self._tracks)

    def remember(self, memory_s: float) -> None:
        """Keep tracks that are not seen so long from now on; nothing is forgotten by it."""
        self.spec = self._tracks.spec = replace(self.spec, memory_s=memory_s)

    def update(
        self,
        stamp_ns: int,
        boxes_px: np.ndarray,
        class_ids: np.ndarray,
        scores: np.ndarray,
        positions_m: np.ndarray,
        covariances_m2: np.ndarray,
        reference: str,
        shapes: Silhouettes | None = None,
        drift_px: Callable[[], np.ndarray] | None = None,
    ) -> Tracked:
        """Which tracks the objects of the next frame are.

        Boxes that are no boxes get ids of their own, and so does what is beyond `spec.most`; neither is tracked. A
        frame with the stamp of the one before is the same moment seen again: it gets its ids and teaches nothing.

        Args:
            stamp_ns: of the image.
            boxes_px: float64 `[n, 4]`, (x min, y min, x max, y max) on the camera's image.
            class_ids: `[n]`, 0 to 255.
            scores: `[n]`, the surer the higher.
            positions_m: float64 `[n, 2]` in the reference frame; NaN where unknown.
            covariances_m2: float64 `[n, 2, 2]`, of the positions; one that is none makes its position unknown.
            reference: name of the frame of the positions. When it changes, all that is known in metres is forgotten.
            shapes: of the objects, in the boxes' order; None: boxes and places must do.
            drift_px: says how each would move in the image if it stood where it is: float64 `[n, 2]`, pixels per second
                along x and y; NaN where unknown. It is asked at most once, if at all. None: nobody knows.

        Raises:
            ValueError: shapes do not agree.
        """
        n = len(boxes_px)
        _check_shapes(n, boxes_px, class_ids, scores, positions_m, covariances_m2)
        passed_s = self._advance(int(stamp_ns), reference)
        tracks = self._tracks
        things = Things.of(boxes_px, class_ids, scores, positions_m, covariances_m2, self.spec, shapes, drift_px)
        rows, columns = tracks.match(things, passed_s)
        if passed_s > 0:
            tracks.learn(rows, columns, things)
            tracks.slow_down(rows, columns, things)
        new = np.ones(len(things.rows), bool)
        new[columns] = False
        if new.any():
            born = np.flatnonzero(new)
            rows = np.concatenate([rows, np.arange(len(tracks), len(tracks) + len(born))])
            columns = np.concatenate([columns, born])
            tracks.begin(self._new_ids(len(born)), born, things)
        if passed_s > 0 or tracks.shapes is None:
            tracks.see_shapes(rows, columns, things)
        ids, velocities = np.zeros(n, np.int64), np.full((n, 2), np.nan)
        where = things.rows[columns]
        ids[where], velocities[where] = tracks.ids[rows], tracks.velocities(rows)
        others = ids == 0
        ids[others] = self._new_ids(int(others.sum()))
        return Tracked(ids, velocities)

    def _new_ids(self, count: int) -> np.ndarray:
        self._next_id += count
        return np.arange(self._next_id - count, self._next_id, dtype=np.int64)

    def _advance(self, stamp_ns: int, reference: str) -> float:
        """Time passes until the stamp; how much of it."""
        passed_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns = stamp_ns
        if not 0 <= passed_s <= self.spec.longest_gap_s:
            self.resets += 1
            self._tracks = Tracks(self.spec, self._class_costs)
            passed_s = 0.0
        self._tracks.advance(passed_s)
        if reference != self._reference:
            self._reference = reference
            self._tracks.plane.forget()
        return passed_s


def _check_shapes(n: int, boxes: np.ndarray, *others: np.ndarray) -> None:
    names = ("boxes_px", "class_ids", "scores", "positions_m", "covariances_m2")
    shapes = ((n, 4), (n,), (n,), (n, 2), (n, 2, 2))
    for name, array, shape in zip(names, (boxes, *others), shapes):
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
