"""All tracks of a camera, a row each: Kalman filters for the edges of their boxes and for their places."""

from __future__ import annotations

import numpy as np

from seg_perception.perception.association import associate, box_costs, contested, place_costs, shape_costs, track_costs
from seg_perception.perception.kalman import LineFilters, PlaneFilters
from seg_perception.perception.motion_around import expansions, velocities_around
from seg_perception.perception.silhouettes import Silhouettes, overlaps, shifts_px
from seg_perception.perception.things import Things
from seg_perception.perception.tracker_spec import TrackerSpec

__all__ = ["Tracks"]

_LEAST_SCALE_PX = 2.0
_STEADINESS = np.array([[1.0], [0.5], [1.0], [1.0]])
"""Of the edges left, top, right, bottom: arms and legs swing, heads do not."""
_KNOWN_HITS = 2
"""Seen so often, a track's own motion is known, if not well."""
_MATURE_HITS = 3
_HIDDEN_FEET_SPREAD, _STANDING_SPREAD = 5.0, 0.7
"""How sure the motion of a new thing is: what has no place, among what has one, is nearer than its box says; what has
one and may be taken to stand moves as the ground does, or walks."""
_CHECK_EVERY_S = 0.15
_HEIGHT_M = 1.7
"""Of people and cars, about."""
_LEAST_COMMON = 3
_LEAST_TO_GUESS, _MOST_TO_GUESS = 4, 100


class Tracks:
    """t tracks.

    Attributes:
        ids: int64 `[t]`.
        classes: intp `[t]`, as what each was seen last.
        unseen_s: float64 `[t]`, since when not.
        hits: int64 `[t]`, how often it was seen.
        edges: of the boxes: left, top, right, bottom; pixels.
        plane: of the places; metres.
        shapes: of all that was seen in the last frame that taught something; None: they are not known.
        shape_of: intp `[t]`, which number of these each track had; 0 for none.
        told: bool `[t]`, whether odometry said how it may be expected to move.
    """

    def __init__(self, spec: TrackerSpec, class_costs: np.ndarray) -> None:
        self.spec, self._class_costs = spec, class_costs
        self._fastest_mps = np.full(256, spec.drive_mps)
        self._fastest_mps[list(spec.walking)] = spec.walk_mps
        self.ids, self.classes = np.empty(0, np.int64), np.empty(0, np.intp)
        self.unseen_s, self.hits = np.empty(0), np.empty(0, np.int64)
        self.edges, self.plane = LineFilters(4), PlaneFilters()
        self.shapes: Silhouettes | None = None
        self.shape_of, self.told = np.empty(0, np.intp), np.empty(0, bool)
        self._unchecked_s = 0.0

    def __len__(self) -> int:
        return len(self.ids)

    def advance(self, passed_s: float) -> None:
        """Time passes; what is forgotten by then goes, and the longest unseen if there are too many."""
        spec = self.spec
        self.unseen_s += passed_s
        self._unchecked_s += passed_s
        # What was seen in the frame before is not forgotten, however long ago that was.
        remembered = self.unseen_s <= max(spec.memory_s, passed_s)
        if len(self) > 2 * spec.most:
            order = np.lexsort((-self.hits, self.unseen_s))
            remembered[order[2 * spec.most :]] = False
        if not remembered.all():
            self._keep(remembered)
        if passed_s > 0:
            self.edges.predict(passed_s, self._wander(_scale(self.edges.places)))
            self.plane.predict(passed_s, spec.wander_mps)

    def match(self, things: Things, passed_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Which tracks are which things: intp `[m]` each. It is `passed_s` after the frame before."""
        first = (self.hits == 1) & ~self.told
        few = _LEAST_TO_GUESS <= first.sum() and len(self) <= _MOST_TO_GUESS
        if passed_s > 0 and few and not (self.hits >= _MATURE_HITS).any():
            self._guess(things, passed_s, first)
        return associate(self._costs(things, passed_s))

    def learn(self, rows: np.ndarray, columns: np.ndarray, things: Things) -> None:
        """The tracks `rows` were seen as the things `columns`."""
        spec = self.spec
        scale = _scale(self.edges.places[:, rows])
        self.edges.update(rows, things.boxes[:, columns], self._std(scale), self._wander(scale), spec.jump_std)
        self.classes[rows] = things.classes[columns]
        self.unseen_s[rows] = 0.0
        self.hits[rows] += 1
        place = things.place_of[columns]
        rows, place = rows[place >= 0], place[place >= 0]
        old = self.plane.known[rows]
        again, index = rows[old], place[old]
        self.plane.update(again, things.places[index], things.noise[index], spec.wander_mps, spec.jump_std)
        self._seat(rows[~old], place[~old], things)

    def slow_down(self, rows: np.ndarray, columns: np.ndarray, things: Things) -> None:
        """Now and then: no track of these is faster than things are; one that is was taken for its neighbour.

        In a row of people that moves by their distance from each other, the wrong one is where it would be expected.
        """
        if self._unchecked_s < _CHECK_EVERY_S:
            return
        self._unchecked_s = 0.0
        boxes, drifts = things.boxes[:, columns], things.drifts[:, columns]
        most = self._fastest_mps[things.classes[columns]] * (boxes[3] - boxes[1]) / _HEIGHT_M
        velocities = self.edges.velocities[:, rows]
        off = np.abs(0.5 * (velocities[:2] + velocities[2:]) - drifts).max(axis=0)
        wrong = np.flatnonzero(off > most)
        self._stand(rows[wrong], columns[wrong], things)

    def begin(self, ids: np.ndarray, columns: np.ndarray, things: Things) -> None:
        """New tracks for the things `columns`."""
        n, boxes = len(columns), things.boxes[:, columns]
        scale = _scale(boxes)
        velocities, spread = self._velocities_around(boxes, scale, things)
        if len(things.placed):
            spread = np.where(things.place_of[columns] < 0, _HIDDEN_FEET_SPREAD * spread, spread)
        speed_std = self.spec.edge_speed_sizes * scale * spread
        self.edges.start(boxes, velocities, self._std(scale), speed_std)
        self.plane.start(n)
        self.ids = np.concatenate([self.ids, ids])
        self.classes = np.concatenate([self.classes, things.classes[columns]])
        self.unseen_s = np.concatenate([self.unseen_s, np.zeros(n)])
        self.hits = np.concatenate([self.hits, np.ones(n, np.int64)])
        self.shape_of = np.concatenate([self.shape_of, np.zeros(n, np.intp)])
        self.told = np.concatenate([self.told, np.zeros(n, bool)])
        place = things.place_of[columns]
        rows = np.arange(len(self) - n, len(self))
        self._seat(rows[place >= 0], place[place >= 0], things)
        told = np.isfinite(things.drifts[0, columns])
        self._stand(rows[told], columns[told], things)

    def see_shapes(self, rows: np.ndarray, columns: np.ndarray, things: Things) -> None:
        """The tracks `rows`, all that were seen or began in this frame, look like the things `columns`."""
        self.shapes = things.shapes
        self.shape_of[:] = 0
        self.shape_of[rows] = things.rows[columns] + 1

    def velocities(self, rows: np.ndarray) -> np.ndarray:
        """float64 `[m, 2]`, of these tracks over the ground; NaN where it is not known well."""
        known = self.plane.speed_variances[rows] <= self.spec.known_mps**2
        return np.where(known[:, None], self.plane.means[rows, 2:], np.nan)

    def _keep(self, which: np.ndarray) -> None:
        self.ids, self.classes = self.ids[which], self.classes[which]
        self.unseen_s, self.hits, self.shape_of = self.unseen_s[which], self.hits[which], self.shape_of[which]
        self.told = self.told[which]
        self.edges.keep(which)
        self.plane.keep(which)

    def _std(self, scale: np.ndarray) -> np.ndarray:
        """float64 `[4, n]`, of measured edges."""
        std: np.ndarray = np.sqrt(self.spec.edge_px**2 + (self.spec.edge_sizes * _STEADINESS * scale) ** 2)
        return std

    def _wander(self, scale: np.ndarray) -> np.ndarray:
        """float64 `[4, n]`, of the edges' velocities."""
        wander: np.ndarray = self.spec.edge_wander_sizes * _STEADINESS * scale
        return wander

    def _costs(self, things: Things, passed_s: float) -> np.ndarray:
        scale = _scale(self.edges.places)
        costs = box_costs(self.edges, self._std(scale), scale, things.boxes)
        costs += self._class_costs[self.classes[:, None], things.classes]
        costs += track_costs(self.unseen_s - passed_s, self.hits, self.spec.memory_s)[:, None]
        tracks = np.flatnonzero(self.plane.known)
        if len(tracks) and len(things.placed):
            places = place_costs(self.plane, tracks, things.places, things.noise)
            costs[tracks[:, None], things.placed] += places
        self._add_shapes(costs, things, passed_s)
        return costs

    def _add_shapes(self, costs: np.ndarray, things: Things, passed_s: float) -> None:
        """Shapes of the frame before, of what moves in a known way; where all is clear, nobody looks at them."""
        before, now = self.shapes, things.shapes
        if before is None or now is None or not before.fits(now):
            return
        rows = np.flatnonzero((self.shape_of > 0) & (self.hits >= _KNOWN_HITS) & contested(costs))
        if len(rows):
            moves = passed_s * self.edges.velocities[:, rows]
            shifts = shifts_px(self.edges.places[:, rows] - moves, moves, now.borders_px)
            costs[rows] += shape_costs(overlaps(before, now, self.shape_of[rows], shifts, things.rows))

    def _seat(self, rows: np.ndarray, index: np.ndarray, things: Things) -> None:
        """The first places of the tracks `rows`: most things stand, so that a new one moves as most do."""
        if not len(rows):
            return
        sure = self.plane.speed_variances <= self.spec.known_mps**2
        common = np.median(self.plane.means[sure, 2:], axis=0) if sure.sum() >= _LEAST_COMMON else np.zeros(2)
        self.plane.seat(rows, things.places[index], things.noise[index], common, self.spec.speed_mps)

    def _stand(self, rows: np.ndarray, columns: np.ndarray, things: Things) -> None:
        """The tracks `rows` may be expected to move as the ground does below the things `columns`."""
        if len(rows):
            std = self.spec.edge_speed_sizes * _STANDING_SPREAD * _scale(things.boxes[:, columns])
            self.told[rows] = True
            self.edges.restart(rows, np.tile(things.drifts[:, columns], (2, 1)), std)

    def _velocities_around(self, boxes: np.ndarray, scale: np.ndarray, things: Things) -> tuple[np.ndarray, np.ndarray]:
        """By tracks that are known, and by what stands there: a whole row that is taken for its like is outvoted."""
        known, told = self.hits >= _KNOWN_HITS, np.isfinite(things.drifts[0])
        others = np.concatenate([self.edges.places[:, known], things.boxes[:, told]], axis=1)
        moves = np.concatenate([self.edges.velocities[:, known], np.tile(things.drifts[:, told], (2, 1))], axis=1)
        return velocities_around(boxes, scale, others, _scale(others), moves)

    def _guess(self, things: Things, passed_s: float, first: np.ndarray) -> None:
        """Right after the start nothing is known of how the camera moves: take the motion that explains most."""
        places = self.edges.places
        at_rest = places.copy()
        moves = expansions(at_rest, _scale(at_rest), first)
        totals = []
        for move in moves:
            places[:] = at_rest + passed_s * move
            costs = self._costs(things, passed_s)
            totals.append(costs[associate(costs.copy())].sum())
        best = moves[int(np.argmin(totals))]
        places[:] = at_rest + passed_s * best
        self.edges.velocities[:] += best


def _scale(boxes: np.ndarray) -> np.ndarray:
    """The mean of the sides of boxes `[4, n]`, float64 `[n]`."""
    scale: np.ndarray = np.maximum((boxes[2] - boxes[0] + boxes[3] - boxes[1]) / 2, _LEAST_SCALE_PX)
    return scale
