"""Ids that stay: the same thing has the same number from frame to frame, and through short occlusions.

Each track has Kalman filters for the four edges of its box in the image, each on its own, since what is in front of a
thing hides one side of it; and one for its place, in a frame that is fixed to the ground if there is one (SORT's scheme,
https://arxiv.org/abs/1602.00763, with edges instead of centre and size, and with places).
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, fields

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.association import associate, box_costs, class_table, place_costs, track_costs
from seg_perception.perception.kalman import LineFilters, PlaneFilters

__all__ = ["Tracked", "Tracker", "TrackerSpec"]

_LARGEST_PX, _LARGEST_M = 1e6, 1e8
_LEAST_SCALE_PX = 2.0
_CONFUSED = (("person", "rider", "motorcycle", "bicycle"), ("car", "truck", "bus", "train"))

_MATURE_HITS = 3
_NEAR_SIZES, _ABOUT_SIZES, _ABOUT_SHARE = 2.0, 1.0, 0.1
_UP_AND_DOWN = 2.0
_NO_NEIGHBOUR = 0.02
_LEAST_SPREAD = 0.3
_LEAST_COMMON = 3
XN, TN, BN, TW, BW = 1., 1., 1., 1., 1.
def NM(): return np.array([[XN],[TN],[XN],[BN]])
def WM(): return np.array([[1],[TW],[1],[BW]])
BOOT, DBG = 1, 0
GUESS = (0, .1, .2, .35, .5, .7, 1., 1.4, 2.)


@dataclass(frozen=True)
class Tracked:
    """What the tracker knows of each thing of one frame.

    Attributes:
        ids: int64 `[n]`, at least 1, never given to another thing by the same `Tracker`, also after a reset.
        velocities_mps: float64 `[n, 2]`, in the reference frame; NaN as long as it is not known.
    """

    ids: np.ndarray
    velocities_mps: np.ndarray


@dataclass(frozen=True)
class TrackerSpec:
    """How things move, are measured, and are forgotten. A track's size is the mean of its box's sides.

    Attributes:
        memory_s: how long a track is kept that is not seen.
        longest_gap_s: a frame that comes later than this after the one before, or earlier than it, is a clock's jump.
        most: how many things of a frame are tracked, the surest ones; and twice as many tracks are kept.
        confusable: groups of class ids, 0 to 255, among which a thing's class may flicker.
        edge_px, edge_sizes: standard deviation of a box's edge: so many pixels, and so many of the track's sizes.
        edge_speed_sizes: how fast the edges of a new box may be, beside those around it: sizes per second.
        edge_wander_sizes: how much that changes in a second: sizes per second.
        place_m: standard deviation of places beside what their covariances say: which part of a thing is lowest.
        speed_mps: how fast a new thing may be, beside the others.
        wander_mps: how much that changes in a second.
        known_mps: a velocity is told when its standard deviation is at most this, along each axis.
        jump_std: a measurement so many standard deviations off is a jump: something was hidden, or came into view.

    Raises:
        ConfigError: a number is not positive and finite, or a class id is none.
    """

    memory_s: float = 1.0
    longest_gap_s: float = 2.0
    most: int = 256
    confusable: tuple[tuple[int, ...], ...] = tuple(tuple(map(CITYSCAPES.id_of, group)) for group in _CONFUSED)
    edge_px: float = 0.7
    edge_sizes: float = 0.05
    edge_speed_sizes: float = 3.0
    edge_wander_sizes: float = 4.0
    place_m: float = 0.1
    speed_mps: float = 10.0
    wander_mps: float = 2.0
    known_mps: float = 2.0
    jump_std: float = 4.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "confusable":
                if not all(isinstance(i, (int, np.integer)) and 0 <= i < 256 for group in value for i in group):
                    raise ConfigError(f"confusable must be groups of class ids, 0 to 255, got {value!r}")
            elif not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{one.name} must be above 0 and finite, got {value!r}")


class Tracker:
    """Gives ids to the things of one camera's frames, in the order of their stamps.

    Attributes:
        spec: the argument.
        alive: how many tracks there are, seen or not.
        resets: how often the clock jumped, and everything was forgotten.
    """

    def __init__(self, spec: TrackerSpec = TrackerSpec()) -> None:
        # Half a second, now rather than at the first frame with two things side by side.
        importlib.import_module("scipy.optimize")
        self.spec = spec
        self.resets = 0
        self._next_id = 1
        self._class_costs = class_table(spec.confusable)
        self._stamp_ns: int | None = None
        self._reference = ""
        self._clear()

    @property
    def alive(self) -> int:
        """How many tracks there are, seen or not."""
        return len(self._ids)

    def update(
        self,
        stamp_ns: int,
        boxes_px: np.ndarray,
        class_ids: np.ndarray,
        scores: np.ndarray,
        positions_m: np.ndarray,
        covariances_m2: np.ndarray,
        reference: str,
    ) -> Tracked:
        """Which tracks the things of the next frame are.

        Boxes that are no boxes get an id of their own, and so does what is beyond `spec.most`; neither is tracked. A
        frame with the stamp of the one before is the same moment seen again: it gets its ids, and teaches nothing.

        Args:
            stamp_ns: of the image.
            boxes_px: float64 `[n, 4]`, (x min, y min, x max, y max) on the camera's image.
            class_ids: `[n]`, 0 to 255.
            scores: `[n]`, the surer the higher.
            positions_m: float64 `[n, 2]` in the reference frame; NaN where unknown.
            covariances_m2: float64 `[n, 2, 2]`, of the positions; one that is none makes the position unknown.
            reference: name of the frame of the positions. With another name, all that is known in metres is forgotten.

        Raises:
            ValueError: shapes do not agree.
        """
        n = len(boxes_px)
        _check_shapes(n, boxes_px, class_ids, scores, positions_m, covariances_m2)
        passed_s = self._advance(int(stamp_ns))
        if reference != self._reference:
            self._reference = reference
            self._plane.forget()
        chosen = self._trackable(boxes_px, scores)
        things = _Things.of(chosen, boxes_px, class_ids, positions_m, covariances_m2, self.spec.place_m)
        if passed_s > 0 and BOOT and len(things.boxes) and self.alive and not (self._hits >= _MATURE_HITS).any() and (self._hits==1).any():
            self._guess(things, passed_s)
        rows, columns = associate(self._costs(things, passed_s))
        if passed_s > 0:
            self._learn(rows, columns, things)
        new = np.ones(len(chosen), bool)
        new[columns] = False
        born = np.flatnonzero(new)
        rows = np.concatenate([rows, np.arange(self.alive, self.alive + len(born))])
        self._begin(born, things)
        return self._told(n, chosen[np.concatenate([columns, born])], rows)

    def _clear(self) -> None:
        self._ids, self._classes = np.empty(0, np.int64), np.empty(0, np.intp)
        self._unseen_s, self._hits = np.empty(0), np.empty(0, np.int64)
        self._edges, self._plane = LineFilters(4), PlaneFilters()

    def _keep(self, which: np.ndarray) -> None:
        self._ids, self._classes = self._ids[which], self._classes[which]
        self._unseen_s, self._hits = self._unseen_s[which], self._hits[which]
        self._edges.keep(which)
        self._plane.keep(which)

    def _advance(self, stamp_ns: int) -> float:
        """Time passes until the stamp, for all tracks; how much of it."""
        spec = self.spec
        passed_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns = stamp_ns
        if not 0 <= passed_s <= spec.longest_gap_s:
            self.resets += 1
            self._clear()
            return 0.0
        self._unseen_s += passed_s
        remembered = self._unseen_s <= spec.memory_s
        # What was seen in the frame before is not forgotten, however long ago that was.
        remembered |= self._unseen_s <= passed_s
        if len(remembered) > 2 * spec.most:
            order = np.lexsort((-self._hits, self._unseen_s))
            remembered[order[2 * spec.most :]] = False
        if not remembered.all():
            self._keep(remembered)
        if passed_s > 0:
            self._edges.predict(passed_s, spec.edge_wander_sizes * WM() * _scale(self._edges.places))
            self._plane.predict(passed_s, spec.wander_mps)
        return passed_s

    def _trackable(self, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Indices of the things that are tracked."""
        sound = (np.abs(boxes) < _LARGEST_PX).all(axis=1)
        sound &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        chosen = np.flatnonzero(sound)
        if len(chosen) > self.spec.most:
            chosen = np.sort(chosen[np.argsort(-scores[chosen], kind="stable")[: self.spec.most]])
        return chosen

    def _edge_std(self, scale: np.ndarray) -> np.ndarray:
        std: np.ndarray = np.sqrt(self.spec.edge_px**2 + (self.spec.edge_sizes * NM() * scale) ** 2)
        return std

    def _costs(self, things: _Things, passed_s: float) -> np.ndarray:
        scale = _scale(self._edges.places)
        costs = box_costs(self._edges, self._edge_std(scale), scale, things.boxes)
        costs += self._class_costs[self._classes[:, None], things.classes]
        costs += track_costs(self._unseen_s - passed_s, self._hits, self.spec.memory_s)[:, None]
        tracks, placed = np.flatnonzero(self._plane.known), things.placed
        if len(tracks) and len(placed):
            costs[tracks[:, None], placed] += place_costs(self._plane, tracks, things.places, things.noise)
        return costs

    def _guess(self, things, passed_s):
        new = self._hits == 1
        places = self._edges.places
        middle = (places[0].min() + places[2].max()) / 2
        scale = _scale(places)
        size = np.median(scale)
        aside = ((places[0] + places[2]) / 2 - middle) * scale / size * new
        best = None
        for e in GUESS:
            move = aside * e
            places[0] += move * passed_s
            places[2] += move * passed_s
            costs = self._costs(things, passed_s)
            copy = costs.copy()
            r, c = associate(costs)
            total = copy[r, c].sum()
            places[0] -= move * passed_s
            places[2] -= move * passed_s
            if DBG: print(e, total, len(r))
            if best is None or total < best[0] - 1e-9:
                best = total, move
        move = best[1]
        for i in (0, 2):
            places[i] += move * passed_s
            self._edges.velocities[i] += move

    def _learn(self, rows: np.ndarray, columns: np.ndarray, things: _Things) -> None:
        """The tracks `rows` were seen as the things `columns`."""
        spec = self.spec
        scale = _scale(self._edges.places[:, rows])
        boxes = things.boxes[columns].T
        self._edges.update(rows, boxes, self._edge_std(scale), spec.edge_wander_sizes * WM() * scale, spec.jump_std)
        self._classes[rows] = things.classes[columns]
        self._unseen_s[rows] = 0.0
        self._hits[rows] += 1
        place = things.place_of[columns]
        rows, place = rows[place >= 0], place[place >= 0]
        old = self._plane.known[rows]
        again, index = rows[old], place[old]
        self._plane.update(again, things.places[index], things.noise[index], spec.wander_mps, spec.jump_std)
        self._seat(rows[~old], place[~old], things)

    def _begin(self, born: np.ndarray, things: _Things) -> None:
        """Tracks for the things `born`."""
        n, spec = len(born), self.spec
        if not n:
            return
        boxes = things.boxes[born].T
        scale = _scale(boxes)
        velocities, spread = self._velocities_around(boxes, scale)
        self._edges.start(boxes, velocities, self._edge_std(scale), spec.edge_speed_sizes * scale * spread)
        self._plane.start(n)
        self._ids = np.concatenate([self._ids, np.arange(self._next_id, self._next_id + n)])
        self._next_id += n
        self._classes = np.concatenate([self._classes, things.classes[born]])
        self._unseen_s = np.concatenate([self._unseen_s, np.zeros(n)])
        self._hits = np.concatenate([self._hits, np.ones(n, np.int64)])
        place = things.place_of[born]
        self._seat(np.arange(self.alive - n, self.alive)[place >= 0], place[place >= 0], things)

    def _seat(self, rows: np.ndarray, index: np.ndarray, things: _Things) -> None:
        """The first places of the tracks `rows`; most things stand, so that a new one moves as most do."""
        if len(rows):
            sure = self._plane.speed_variances <= self.spec.known_mps**2
            common = np.median(self._plane.means[sure, 2:], axis=0) if sure.sum() >= _LEAST_COMMON else np.zeros(2)
            self._plane.seat(rows, things.places[index], things.noise[index], common, self.spec.speed_mps)

    def _velocities_around(self, boxes: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How boxes `[4, n]` may be expected to move: as those near by do, since it is mostly the camera that moves.

        Returns:
            float64 `[4, n]`, pixels per second, and `[n]`, how unsure, 1 where nothing is near.
        """
        mature = self._hits >= _MATURE_HITS
        others, moves = self._edges.places[:, mature], self._edges.velocities[:, mature]
        across = np.subtract.outer(boxes[0] + boxes[2], others[0] + others[2]) / 2
        down = np.subtract.outer(boxes[3], others[3]) * _UP_AND_DOWN
        apart = across * across + down * down
        near = (_NEAR_SIZES * scale[:, None]) ** 2
        about = (_ABOUT_SIZES * np.add.outer(scale, _scale(others))) ** 2
        weights = np.exp(-0.5 * apart / near) + _ABOUT_SHARE * np.exp(-0.5 * apart / about)
        total = weights.sum(axis=1) + _NO_NEIGHBOUR
        mean = (weights @ (moves[:2] + moves[2:]).T / 2 / total[:, None]).T
        return np.concatenate([mean, mean]), np.maximum(np.sqrt(_NO_NEIGHBOUR / total), _LEAST_SPREAD)

    def _told(self, n: int, where: np.ndarray, rows: np.ndarray) -> Tracked:
        """The things `where` of n are the tracks `rows`; all others get ids of their own."""
        ids, velocities = np.zeros(n, np.int64), np.full((n, 2), np.nan)
        ids[where] = self._ids[rows]
        known = self._plane.speed_variances[rows] <= self.spec.known_mps**2
        velocities[where[known]] = self._plane.means[rows[known], 2:]
        others = np.flatnonzero(ids == 0)
        ids[others] = np.arange(self._next_id, self._next_id + len(others))
        self._next_id += len(others)
        return Tracked(ids, velocities)


@dataclass(frozen=True)
class _Things:
    """What is tracked of a frame.

    Attributes:
        boxes: float64 `[n, 4]`.
        classes: intp `[n]`.
        placed: intp `[k]`, which of them have a place.
        place_of: intp `[n]`, the row of `places` of each, or −1.
        places: float64 `[k, 2]`.
        noise: float64 `[k, 2, 2]`.
    """

    boxes: np.ndarray
    classes: np.ndarray
    placed: np.ndarray
    place_of: np.ndarray
    places: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(
        cls,
        chosen: np.ndarray,
        boxes: np.ndarray,
        class_ids: np.ndarray,
        positions: np.ndarray,
        covariances: np.ndarray,
        place_m: float,
    ) -> _Things:
        places, noise = positions[chosen], covariances[chosen]
        xx, xy, yy = noise[:, 0, 0], noise[:, 0, 1], noise[:, 1, 1]
        with np.errstate(invalid="ignore", over="ignore"):
            sound = (xx >= 0) & (yy >= 0) & (xx * yy * (1 + 1e-9) >= xy * xy) & (xx + yy < _LARGEST_M)
        sound &= (np.abs(places) < _LARGEST_M).all(axis=1)
        placed = np.flatnonzero(sound)
        place_of = np.full(len(chosen), -1, np.intp)
        place_of[placed] = np.arange(len(placed))
        noise = noise[placed]
        noise[:, 1, 0] = noise[:, 0, 1]
        noise[:, (0, 1), (0, 1)] += place_m**2
        classes = np.clip(class_ids[chosen], 0, 255).astype(np.intp)
        return cls(boxes[chosen], classes, placed, place_of, places[placed], noise)


def _scale(boxes: np.ndarray) -> np.ndarray:
    """The mean of the sides of boxes `[4, n]`, float64 `[n]`."""
    scale: np.ndarray = np.maximum((boxes[2] - boxes[0] + boxes[3] - boxes[1]) / 2, _LEAST_SCALE_PX)
    return scale


def _check_shapes(n: int, boxes: np.ndarray, *others: np.ndarray) -> None:
    expected = ((n, 4), (n,), (n,), (n, 2), (n, 2, 2))
    names = ("boxes_px", "class_ids", "scores", "positions_m", "covariances_m2")
    for name, array, shape in zip(names, (boxes, *others), expected):
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
