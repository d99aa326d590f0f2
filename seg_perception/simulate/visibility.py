"""Which surface is nearest at any points of an image: not at pixels, but at exact coordinates.

The renderer's rules (see raster) without its grid: a polygon covers the inside of its projected corners, a card shows
the picture element into which a point falls, and the nearest surface is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.simulate.camera import View
from seg_perception.simulate.projection import card_views, polygon_views
from seg_perception.simulate.raster import CardView
from seg_perception.simulate.world import Snapshot

__all__ = ["Visibility"]

_MANY_POINTS = 3000
"""Polygons that may cover more points than this are tested one by one, the others all together."""

_PAIRS = 2_000_000
"""How many polygons times points are tested at a time."""


@dataclass(frozen=True)
class _Polygons:
    """Convex polygons with equally many corners.

    Attributes:
        numbers: int `[P]`, of their surfaces.
        planes: float64 `[P, 3]`: inverse depth is planes · (column, row, 1).
        sides: float64 `[P, V, 3]`: sides · (column, row, 1) is negative nowhere but outside.
        low, high: float64 `[P, 2]`, the box around each, pixels.
    """

    numbers: np.ndarray
    planes: np.ndarray
    sides: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, corners: np.ndarray, planes: np.ndarray, numbers: np.ndarray) -> _Polygons:
        following = np.roll(corners, -1, axis=1)
        along = following - corners
        beyond = corners[..., 1] * along[..., 0] - corners[..., 0] * along[..., 1]
        sides = np.stack([-along[..., 1], along[..., 0], -beyond], axis=-1)
        arm = corners - corners[:, :1]
        turn = (arm[..., 0] * along[..., 1] - arm[..., 1] * along[..., 0]).sum(axis=1)
        sides *= np.where(turn < 0, -1.0, 1.0)[:, None, None]
        return cls(numbers, planes, sides, corners.min(axis=1), corners.max(axis=1))


class _Points:
    """Points in bands of rows, sorted by column within each, so that those in a box are found quickly.

    Attributes:
        order: int `[N]`, which of the points as given is here.
        column, row: float64 `[N]`, pixels.
        inverse: float64 `[N]`, 1/m, of the nearest surface so far.
        surface: int64 `[N]`, its number.
    """

    def __init__(self, pixels: np.ndarray, inverse: np.ndarray) -> None:
        count = len(pixels)
        bands = max(1, min(256, int(math.sqrt(count) / 2)))
        by_row = np.argsort(pixels[:, 1], kind="stable")
        band = np.empty(count, np.int64)
        band[by_row] = np.arange(count) * bands // count
        first = -(-np.arange(bands + 1) * count // bands)
        self._top, self._bottom = pixels[by_row[first[:-1]], 1], pixels[by_row[first[1:] - 1], 1]
        self._left = pixels[:, 0].min()
        self._span = pixels[:, 0].max() - self._left + 1.0
        key = band * self._span + (pixels[:, 0] - self._left)
        self.order = np.argsort(key, kind="stable")
        self._key = key[self.order]
        self.column, self.row = pixels[self.order, 0], pixels[self.order, 1]
        self.inverse = inverse[self.order]
        self.surface = np.full(count, -1, np.int64)

    def runs(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Runs of points in boxes `[B, 2]`: whose box, first, last + 1; grouped by box."""
        first = np.searchsorted(self._bottom, low[:, 1], "left")
        count = np.maximum(np.searchsorted(self._top, high[:, 1], "right") - first, 0)
        owner = np.repeat(np.arange(len(low)), count)
        band = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count - first, count)
        # Half a pixel outside of all points still belongs to the band.
        reach = [np.clip(side[:, 0] - self._left, -0.5, self._span - 0.5)[owner] for side in (low, high)]
        start = np.searchsorted(self._key, band * self._span + reach[0], "left")
        stop = np.searchsorted(self._key, band * self._span + reach[1], "right")
        some = stop > start
        return owner[some], start[some], stop[some]

    def put(self, index: np.ndarray, inverse: np.ndarray, surface: np.ndarray) -> None:
        """Surfaces at points; the nearest one stays."""
        while len(index):
            nearer = np.flatnonzero(inverse > self.inverse[index])
            index, inverse, surface = index[nearer], inverse[nearer], surface[nearer]
            self.inverse[index] = inverse
            self.surface[index] = surface


class Visibility:
    """All that may be seen through a view of a snapshot."""

    def __init__(self, snapshot: Snapshot, view: View) -> None:
        mesh, seen = snapshot.mesh, polygon_views(snapshot.mesh, view)
        chosen = np.arange(len(seen.chosen))
        self._polygons = [_Polygons.of(shape, seen.planes[own], chosen[own]) for own, shape in seen.shapes if len(own)]
        cards = card_views(snapshot.cards, view, len(chosen))
        self._cards = _Cards([shown for _, shown in cards]) if cards else None
        labels = np.array([label for card, _ in cards for label in card.labels], np.int64).reshape(-1, 2)
        self.class_ids = np.concatenate([mesh.class_ids[seen.chosen], labels[:, 0]])
        """Class by surface number."""
        self.instance_ids = np.concatenate([mesh.instance_ids[seen.chosen], labels[:, 1]])
        """Instance by surface number."""

    def nearest(self, pixels: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        """What hides points from the eye.

        Args:
            pixels: float64 `[N, 2]`, (column, row) where the points are seen in the view.
            inverse: float64 `[N]`, their inverse depths, 1/m.

        Returns:
            int64 `[N]`, numbers of the nearest surfaces before them; −1 where there is none.
        """
        return self.met(pixels, inverse)[0]

    def met(self, pixels: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Like `nearest`, and the inverse depths of what is met, float64 `[N]`: the point's own if nothing is."""
        found, depth = np.full(len(pixels), -1, np.int64), inverse.copy()
        if len(pixels):
            points = _Points(pixels, inverse)
            for polygons in self._polygons:
                _cover(points, polygons)
            if self._cards is not None:
                self._cards.cover(points)
            found[points.order], depth[points.order] = points.surface, points.inverse
        return found, depth


def _cover(points: _Points, polygons: _Polygons) -> None:
    owner, start, stop = points.runs(polygons.low, polygons.high)
    area = np.bincount(owner, stop - start, minlength=len(polygons.low))
    for polygon in np.flatnonzero(area > _MANY_POINTS):
        first, last = np.searchsorted(owner, (polygon, polygon + 1))
        _cover_range(points, polygons, int(polygon), slice(int(start[first]), int(stop[last - 1])))
    small = area[owner] <= _MANY_POINTS
    owner, start, stop = owner[small], start[small], stop[small]
    for own in _portions(stop - start):
        _cover_pairs(points, polygons, owner[own], *_pairs(start[own], stop[own]))


def _cover_range(points: _Points, polygons: _Polygons, polygon: int, own: slice) -> None:
    """One polygon and all points of a range."""
    column, row = points.column[own], points.row[own]
    a, b, c = polygons.planes[polygon].tolist()
    depth = a * column
    depth += b * row
    depth += c
    index = np.flatnonzero(depth > points.inverse[own])
    depth, column, row = depth[index], column[index], row[index]
    for a, b, c in polygons.sides[polygon].tolist():
        if not a and not b:
            continue
        inside = np.flatnonzero(a * column + b * row >= -c)
        if len(inside) < len(index):
            index, depth, column, row = index[inside], depth[inside], column[inside], row[inside]
    index = index + own.start
    points.inverse[index] = depth
    points.surface[index] = polygons.numbers[polygon]


def _cover_pairs(points: _Points, polygons: _Polygons, owner: np.ndarray, run: np.ndarray, index: np.ndarray) -> None:
    """Many polygons, each with points of its own: `owner` by run, `run` and point `index` by pair."""
    polygon = owner[run]
    column, row, plane = points.column[index], points.row[index], polygons.planes[polygon]
    depth = plane[:, 0] * column + plane[:, 1] * row + plane[:, 2]
    kept = np.flatnonzero(depth > points.inverse[index])
    for number in range(polygons.sides.shape[1]):
        side = polygons.sides[polygon[kept], number]
        place = index[kept]
        inside = side[:, 0] * points.column[place] + side[:, 1] * points.row[place] >= -side[:, 2]
        kept = kept[inside]
    points.put(index[kept], depth[kept], polygons.numbers[polygon[kept]])


def _portions(counts: np.ndarray) -> list[slice]:
    """Consecutive runs with about `_PAIRS` points together."""
    portion = np.cumsum(counts) // _PAIRS
    ends = np.append(np.flatnonzero(np.diff(portion)) + 1, len(counts))
    starts = np.concatenate([[0], ends[:-1]])
    return [slice(int(first), int(last)) for first, last in zip(starts, ends) if last > first]


def _pairs(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the run and of the point, for every point of every run."""
    count = stop - start
    run = np.repeat(np.arange(len(count)), count)
    return run, np.arange(len(run)) - np.repeat(np.cumsum(count) - count - start, count)


class _Cards:
    """Upright pictures, laid end to end."""

    def __init__(self, views: list[CardView]) -> None:
        self._origin = np.array([(card.left, card.top) for card in views])
        self._scale = np.array([card.scale for card in views])
        self._inverse = np.array([card.inverse_depth for card in views])
        self._size = np.array([card.codes.shape for card in views])[:, ::-1]
        self._codes = np.concatenate([card.codes.ravel() for card in views])
        lengths = self._size.prod(axis=1)
        self._first = np.cumsum(lengths) - lengths
        self._surfaces = np.concatenate([card.surface_of_code for card in views])

    def cover(self, points: _Points) -> None:
        owner, start, stop = points.runs(self._origin, self._origin + self._size / self._scale[:, None])
        for own in _portions(stop - start):
            run, index = _pairs(start[own], stop[own])
            card = owner[own][run]
            ahead = np.flatnonzero(self._inverse[card] > points.inverse[index])
            card, index = card[ahead], index[ahead]
            place = np.stack([points.column[index], points.row[index]], axis=1) - self._origin[card]
            element = np.floor(place * self._scale[card, None]).astype(np.int64)
            kept = np.flatnonzero(((element >= 0) & (element < self._size[card])).all(axis=1))
            card, index, element = card[kept], index[kept], element[kept]
            codes = self._codes[self._first[card] + element[:, 1] * self._size[card, 0] + element[:, 0]]
            solid = np.flatnonzero(codes)
            card = card[solid]
            points.put(index[solid], self._inverse[card], self._surfaces[card * 256 + codes[solid]].astype(np.int64))
