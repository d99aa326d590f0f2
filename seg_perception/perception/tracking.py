"""Ids that stay: the same thing has the same number from frame to frame, and through short occlusions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seg_perception.perception.association import assign, box_costs, class_costs, place_costs
from seg_perception.perception.kalman import LineFilters, PlaneFilters

__all__ = ["Tracked", "Tracker", "TrackerSpec"]


EXP, MAXG, BORN, BY, W0, COMMON, OV, JUST, JT, OS = 0, 0.5, 2.0, 2.0, 0.02, 1, 20.0, 8.0, 0.1, 0.6
MINSTD, WW, WL, BY2 = .3, 0.1, 1., 2.
YN, YW, YV = 1., 1., 1.
SURE, MAT, REACH = 20., 0.3, 3.
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
    """How a tracker judges.

    Attributes:
        memory_s: how long a track is kept that nothing was matched with.
    """

    memory_s: float = 1.0
    longest_gap_s: float = 2.0
    most: int = 512
    groups: tuple[tuple[int, ...], ...] = ((11, 12, 17, 18), (13, 14, 15, 16))
    edge_px: float = 0.7
    edge_sizes: float = 0.05
    edge_speed_sizes: float = 3.0
    edge_wander_sizes: float = 4.0
    place_m: float = 0.1
    speed_mps: float = 8.0
    wander_mps: float = 2.0
    known_mps: float = 2.0
    jump_std: float = 4.0
    confusable_cost: float = 5.0
    other_cost: float = 14.0
    unseen_cost: float = 10.0


class Tracker:
    """Gives ids to things."""

    def __init__(self, spec: TrackerSpec = TrackerSpec()) -> None:
        self.spec = spec
        self.resets = 0
        self._next_id = 1
        self._groups = np.arange(256)
        for number, group in enumerate(spec.groups):
            self._groups[list(group)] = 256 + number
        self._stamp_ns: int | None = None
        self._reference = ""
        self._clear()

    def _clear(self) -> None:
        self._ids = np.empty(0, np.int64)
        self._classes = np.empty(0, np.uint8)
        self._unseen_s = np.empty(0)
        self._hits = np.empty(0, np.int64)
        self._edges, self._plane = LineFilters(4), PlaneFilters()

    @property
    def alive(self) -> int:
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
        """The things of the next frame."""
        n, spec = len(boxes_px), self.spec
        passed_s = self._passed = self._advance(stamp_ns)
        if reference != self._reference:
            self._reference = reference
            self._plane.forget()
        ids = np.zeros(n, np.int64)
        velocities = np.full((n, 2), np.nan)
        valid = self._valid(boxes_px, scores)
        boxes, classes = boxes_px[valid], class_ids[valid]
        with np.errstate(all="ignore"):
            placed = self._placed(positions_m[valid], covariances_m2[valid])
        positions = positions_m[valid]
        noise = covariances_m2[valid] + np.eye(2) * spec.place_m**2
        scale = self._scale(self._edges.places)
        costs = self._costs(boxes, classes, placed, positions, noise, scale)
        costs -= MAT * np.minimum(self._hits, 10)[:, None]
        r1, c1 = assign(costs + SURE)
        costs[r1] = 1; costs[:, c1] = 1
        r2, c2 = assign(costs)
        rows, columns = np.concatenate([r1, r2]), np.concatenate([c1, c2])
        if passed_s > 0:
            self._update(rows, columns, boxes, classes, placed, positions, noise)
        new = np.ones(len(boxes), bool)
        new[columns] = False
        self._birth(boxes[new], classes[new])
        born = np.flatnonzero(new)
        all_rows = np.concatenate([rows, np.arange(self.alive - len(born), self.alive)])
        all_columns = np.concatenate([columns, born])
        self._place_births(all_rows[len(rows):], born, placed, positions, noise)
        where = np.flatnonzero(valid)[all_columns]
        ids[where] = self._ids[all_rows]
        velocities[where] = self._velocities(all_rows)
        rest = ids == 0
        count = int(rest.sum())
        ids[rest] = np.arange(self._next_id, self._next_id + count)
        self._next_id += count
        return Tracked(ids, velocities)

    def _advance(self, stamp_ns: int) -> float:
        spec = self.spec
        passed_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns = stamp_ns
        if not 0 <= passed_s <= spec.longest_gap_s:
            self.resets += 1
            self._clear()
            passed_s = 0.0
        self._unseen_s += passed_s
        old = self._unseen_s <= spec.memory_s + 1e-6
        if not old.all():
            self._keep(old)
        if passed_s > 0:
            scale = self._scale(self._edges.places)
            self._edges.predict(passed_s, np.array([[1.],[YW],[1.],[YW]])*spec.edge_wander_sizes * scale, self._growth(passed_s))
            self._plane.predict(passed_s, spec.wander_mps)
        return passed_s

    def _growth(self, passed_s):
        (p, v) = self._edges.state[:2]
        g = (v[3]-v[1]) / np.maximum(p[3] - p[1], 2.0)
        return np.clip(g, -MAXG / passed_s, MAXG / passed_s) if EXP else np.zeros_like(g)

    def _keep(self, which: np.ndarray) -> None:
        self._ids, self._classes = self._ids[which], self._classes[which]
        self._unseen_s, self._hits = self._unseen_s[which], self._hits[which]
        self._edges.keep(which)
        self._plane.keep(which)

    def _valid(self, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        valid = (np.abs(boxes) < 1e6).all(axis=1) & (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
        if valid.sum() > self.spec.most:
            order = np.argsort(np.where(valid, -scores, np.inf), kind="stable")
            valid[order[self.spec.most:]] = False
        return valid

    def _placed(self, positions: np.ndarray, cov: np.ndarray) -> np.ndarray:
        return np.isfinite(positions).all(axis=1) & np.isfinite(cov).all(axis=(1, 2))

    @staticmethod
    def _scale(boxes: np.ndarray) -> np.ndarray:
        return np.maximum(0.5 * (boxes[2] - boxes[0] + boxes[3] - boxes[1]), 2.0)

    def _std(self, scale: np.ndarray) -> np.ndarray:
        m=np.array([[1.],[YN],[1.],[YN]])
        return np.sqrt(self.spec.edge_px**2 + (self.spec.edge_sizes * m* scale)**2)

    def _costs(self, boxes, classes, placed, positions, noise, scale):
        spec = self.spec
        costs = box_costs(self._edges, self._std(scale), scale, boxes)
        if OV:
            b,q=self._edges.places, boxes.T
            w=np.minimum(b[2][:,None],q[2])-np.maximum(b[0][:,None],q[0])
            h=np.minimum(b[3][:,None],q[3])-np.maximum(b[1][:,None],q[1])
            sd=np.sqrt(self._edges.variances)
            far=(w < -REACH*np.maximum(sd[0],sd[2])[:,None]-1) | (h < -REACH*np.maximum(sd[1],sd[3])[:,None]-1)
            np.maximum(w,0,out=w); np.maximum(h,0,out=h)
            costs[far]=1000
            small=np.minimum(np.maximum((b[2]-b[0])*(b[3]-b[1]),4)[:,None],(q[2]-q[0])*(q[3]-q[1]))
            costs -= OV*(np.minimum(w*h/small/OS,1)-.5)
        costs += class_costs(self._classes, classes, self._groups, spec.confusable_cost, spec.other_cost)
        costs += (spec.unseen_cost * (self._unseen_s-self._passed) / spec.memory_s - JUST*np.exp(-(self._unseen_s-self._passed)/JT))[:, None]
        tracks, things = np.flatnonzero(self._plane.known), np.flatnonzero(placed)
        if len(tracks) and len(things):
            costs[np.ix_(tracks, things)] += place_costs(self._plane, tracks, positions[things], noise[things])
        return costs

    def _update(self, rows, columns, boxes, classes, placed, positions, noise):
        spec = self.spec
        scale = self._scale(self._edges.places[:, rows])
        self._edges.update(rows, boxes[columns].T, self._std(scale), np.array([[1.],[YW],[1.],[YW]])*spec.edge_wander_sizes * scale, spec.jump_std)
        seen = placed[columns]
        self._plane.update(rows[seen], positions[columns[seen]], noise[columns[seen]], spec.wander_mps, self._common(), spec.speed_mps, spec.jump_std)
        self._classes[rows] = classes[columns]
        self._unseen_s[rows] = 0
        self._hits[rows] += 1

    def _birth(self, boxes, classes):
        n, spec = len(boxes), self.spec
        if not n:
            return
        scale = self._scale(boxes.T)
        vel=np.zeros_like(boxes.T); std=spec.edge_speed_sizes * scale
        if BORN and self.alive:
            e=self._edges
            mature=(self._hits>=3)
            x=.5*(e.places[0]+e.places[2])[mature]; y=e.places[3][mature]
            v=.5*(e.state[1][[0,1]]+e.state[1][[2,3]])[:,mature]
            dx=(.5*(boxes[:,0]+boxes[:,2]))[:,None]-x; dy=boxes[:,3][:,None]-y
            d2=dx**2+(BY*dy)**2
            w=np.exp(-.5*d2/(BORN*scale[:,None])**2)+WW*np.exp(-.5*(dx**2+(BY2*dy)**2)/(WL*(scale[:,None]+self._scale(e.places)[mature]))**2)
            tot=w.sum(1)+W0
            m=(w@v.T)/tot[:,None]
            vel=m.T[[0,1,0,1]]
            std=std*np.maximum(np.sqrt(W0/tot),MINSTD)
        self._edges.start(boxes.T, vel, self._std(scale), np.array([[1.],[YV],[1.],[YV]])*std)
        self._plane.start(n)
        self._ids = np.concatenate([self._ids, np.arange(self._next_id, self._next_id + n)])
        self._next_id += n
        self._classes = np.concatenate([self._classes, classes])
        self._unseen_s = np.concatenate([self._unseen_s, np.zeros(n)])
        self._hits = np.concatenate([self._hits, np.ones(n, np.int64)])

    def _place_births(self, rows, born, placed, positions, noise):
        spec = self.spec
        seen = placed[born]
        if seen.any():
            self._plane.update(rows[seen], positions[born[seen]], noise[born[seen]], spec.wander_mps, self._common(), spec.speed_mps, spec.jump_std)

    def _common(self):
        p=self._plane
        ok=p.covariances[:,2,2]+p.covariances[:,3,3] < 2*self.spec.known_mps**2
        return np.median(p.means[ok,2:],axis=0) if COMMON and ok.sum()>=3 else np.zeros(2)

    def _velocities(self, rows):
        v = self._plane.means[rows, 2:].copy()
        cov = self._plane.covariances[rows]
        unsure = ~(np.maximum(cov[:, 2, 2], cov[:, 3, 3]) <= self.spec.known_mps**2)
        v[unsure] = np.nan
        return v
