"""A z-buffer over convex polygons and upright cards, in numpy.

A pixel belongs to a polygon when its centre does (half-open: shared edges are drawn once), and to whichever
surface is nearest there. Nothing is sorted and nothing is antialiased, so that ids are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CardView", "Raster"]

_LARGE_PX = 1500
"""Polygons and cards over this area are filled box by box; smaller ones all together, pixel by pixel."""


@dataclass(frozen=True)
class _Spans:
    """Runs of pixels: in row `row[i]`, columns `start[i]` to `stop[i]` − 1, of `polygon[i]`; grouped by polygon."""

    polygon: np.ndarray
    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True)
class CardView:
    """A flat picture that faces the camera, where it falls on the image.

    Attributes:
        left, top: pixel coordinates of the picture's corner.
        scale: picture pixels per image pixel.
        inverse_depth: 1/m, the same all over.
        codes: uint8 `[h, w]`; 0 is a hole.
        surface_of_code: int32 `[256]`.
        paint_of_code: uint32 `[256]`, packed colour.
    """

    left: float
    top: float
    scale: float
    inverse_depth: float
    codes: np.ndarray
    surface_of_code: np.ndarray
    paint_of_code: np.ndarray

    def extent(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(first, last + 1) row and column on an image of that size; nothing is (n, n)."""

        def span(origin: float, size: int, limit: int) -> tuple[int, int]:
            first = min(max(0, math.ceil(origin)), limit)
            return first, max(first, min(limit, math.ceil(origin + size / self.scale)))

        return span(self.top, self.codes.shape[0], height), span(self.left, self.codes.shape[1], width)

    def sample(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of `codes` that these image rows and columns show."""
        v = ((rows - self.top) * self.scale).astype(np.int64)
        u = ((columns - self.left) * self.scale).astype(np.int64)
        return np.minimum(v, self.codes.shape[0] - 1), np.minimum(u, self.codes.shape[1] - 1)


class Raster:
    """What is nearest at every pixel.

    Attributes:
        inverse_depth: float32 `[H, W]`, 1/m along the optical axis; 0 where nothing was drawn.
        surface: int32 `[H, W]`, number of the surface seen.
        paint: uint32 `[H, W]`, colour of a card's pixel; meaningless where the surface is no card's.
    """

    def __init__(self, inverse_depth: np.ndarray, surface: np.ndarray) -> None:
        self.inverse_depth = np.ascontiguousarray(inverse_depth, np.float32)
        self.surface = np.ascontiguousarray(surface, np.int32)
        self.paint = np.zeros(self.surface.shape, np.uint32)
        self.height, self.width = self.surface.shape

    def draw_polygons(self, pixels: np.ndarray, planes: np.ndarray, surfaces: np.ndarray) -> None:
        """Draw convex polygons.

        Args:
            pixels: float64 `[P, V, 2]`, corners (column, row); repeated corners are allowed.
            planes: float64 `[P, 3]`: inverse depth is planes · (column, row, 1).
            surfaces: int32 `[P]`.
        """
        if not len(pixels):
            return
        spans = self._spans(pixels)
        area = np.bincount(spans.polygon, spans.stop - spans.start, minlength=len(pixels))
        for polygon in np.flatnonzero(area > _LARGE_PX):
            first, last = np.searchsorted(spans.polygon, (polygon, polygon + 1))
            self._fill_box(spans, slice(first, last), planes[polygon], int(surfaces[polygon]))
        small = area[spans.polygon] <= _LARGE_PX
        self._fill_pixels(
            _Spans(spans.polygon[small], spans.row[small], spans.start[small], spans.stop[small]), planes, surfaces
        )

    def draw_cards(self, cards: Sequence[CardView]) -> None:
        """Draw cards: pixel (column, row) shows codes[(row − top) · scale, (column − left) · scale], rounded down."""
        large = [card.codes.size > _LARGE_PX * card.scale**2 for card in cards]
        for card, alone in zip(cards, large):
            if alone:
                self._draw_card(card)
        together = [card for card, alone in zip(cards, large) if not alone]
        if together:
            self._draw_small_cards(together)

    def _draw_card(self, card: CardView) -> None:
        (first_row, last_row), (first, last) = card.extent(self.height, self.width)
        rows, columns = slice(first_row, last_row), slice(first, last)
        v, u = card.sample(np.arange(first_row, last_row), np.arange(first, last))
        codes = card.codes[v][:, u]
        depth = self.inverse_depth[rows, columns]
        wins = (codes != 0) & (depth < np.float32(card.inverse_depth))
        np.copyto(depth, np.float32(card.inverse_depth), where=wins)
        np.copyto(self.surface[rows, columns], card.surface_of_code[codes], where=wins)
        np.copyto(self.paint[rows, columns], card.paint_of_code[codes], where=wins)

    def _draw_small_cards(self, cards: Sequence[CardView]) -> None:
        extents = [card.extent(self.height, self.width) for card in cards]
        samples = [card.sample(np.arange(*rows), np.arange(*columns)) for card, (rows, columns) in zip(cards, extents)]
        sizes = np.array([card.codes.size for card in cards])
        # Where in all codes, laid end to end, every row begins.
        row_start = np.concatenate([
            v * card.codes.shape[1] + start for card, (v, _), start in zip(cards, samples, np.cumsum(sizes) - sizes)
        ])  # fmt: skip
        heights = np.array([len(v) for v, _ in samples])
        widths = np.array([len(u) for _, u in samples])
        owner = np.repeat(np.arange(len(cards)), heights)
        row = np.concatenate([np.arange(*rows) for rows, _ in extents])
        first = np.array([columns[0] for _, columns in extents])
        count = widths[owner]
        before = np.cumsum(count) - count
        within = np.arange(int(count.sum())) - np.repeat(before, count)
        index = np.repeat(row * self.width + first[owner], count) + within
        inverse = np.array([card.inverse_depth for card in cards], np.float32)[owner]
        ahead = np.flatnonzero(np.repeat(inverse, count) > self.inverse_depth.ravel()[index])
        line = np.repeat(np.arange(len(owner)), count)[ahead]
        columns_of = np.concatenate([u for _, u in samples])
        u = columns_of[(np.cumsum(widths) - widths)[owner[line]] + within[ahead]]
        codes = np.concatenate([card.codes.ravel() for card in cards])[row_start[line] + u]
        solid = np.flatnonzero(codes)
        line, index, codes = line[solid], index[ahead[solid]], codes[solid]
        look_up = owner[line] * 256 + codes
        surface = np.concatenate([card.surface_of_code for card in cards])[look_up]
        paint = np.concatenate([card.paint_of_code for card in cards])[look_up]
        self._write(index, inverse[line], surface, paint)

    def _spans(self, pixels: np.ndarray) -> _Spans:
        first = np.clip(np.ceil(pixels[..., 1].min(axis=1)), 0, self.height).astype(np.int64)
        last = np.clip(np.ceil(pixels[..., 1].max(axis=1)), 0, self.height).astype(np.int64)
        count = last - first
        polygon = np.repeat(np.arange(len(pixels)), count)
        row = np.arange(len(polygon)) - np.repeat(np.cumsum(count) - count - first, count)
        # Edges first, then polygons: [V, P]. Every edge is taken from its upper end, so that two polygons agree on the
        # edge they share.
        x, y = np.ascontiguousarray(pixels[..., 0].T), np.ascontiguousarray(pixels[..., 1].T)
        next_x, next_y = np.roll(x, -1, axis=0), np.roll(y, -1, axis=0)
        downward = y <= next_y
        top_x, top_y = np.where(downward, x, next_x), np.where(downward, y, next_y)
        drop = np.abs(next_y - y)
        bottom_y = np.where(downward, next_y, y)
        slope = np.where(downward, next_x - x, x - next_x) / np.where(drop > 0, drop, 1.0)
        left = np.full(len(row), np.inf)
        right = np.full(len(row), -np.inf)
        line = row.astype(np.float64)
        for edge in range(len(x)):
            above = line - top_y[edge][polygon]
            crossed = (above >= 0) & (line < bottom_y[edge][polygon])
            at = above * slope[edge][polygon]
            at += top_x[edge][polygon]
            np.minimum(left, at, out=left, where=crossed)
            np.maximum(right, at, out=right, where=crossed)
        start = np.ceil(np.clip(left, 0, self.width)).astype(np.int64)
        stop = np.ceil(np.clip(right, 0, self.width)).astype(np.int64)
        some = stop > start
        return _Spans(polygon[some], row[some], start[some], stop[some])

    def _fill_box(self, spans: _Spans, own: slice, plane: np.ndarray, surface: int) -> None:
        row, start, stop = spans.row[own], spans.start[own], spans.stop[own]
        left, right = start.min(), stop.max()
        box = (slice(row[0], row[-1] + 1), slice(left, right))
        if len(row) != row[-1] - row[0] + 1:
            # A sliver can miss every pixel centre of a row in between.
            full_start = np.zeros(row[-1] - row[0] + 1, np.int64)
            full_stop = np.zeros_like(full_start)
            full_start[row - row[0]], full_stop[row - row[0]] = start, stop
            row, start, stop = np.arange(row[0], row[-1] + 1), full_start, full_stop
        columns = np.arange(left, right)
        at_left = (plane[0] * left + plane[1] * row + plane[2]).astype(np.float32)
        inverse = at_left[:, None] + (plane[0] * (columns - left)).astype(np.float32)
        columns = columns.astype(np.int32)
        depth = self.inverse_depth[box]
        wins = inverse > depth
        wins &= columns >= start.astype(np.int32)[:, None]
        wins &= columns < stop.astype(np.int32)[:, None]
        np.copyto(depth, inverse, where=wins)
        np.copyto(self.surface[box], np.int32(surface), where=wins)

    def _fill_pixels(self, spans: _Spans, planes: np.ndarray, surfaces: np.ndarray) -> None:
        count = spans.stop - spans.start
        offset = np.cumsum(count) - count - spans.start
        column = np.arange(int(count.sum())) - np.repeat(offset, count)
        plane = planes[spans.polygon]
        at_zero = plane[:, 1] * spans.row + plane[:, 2]
        inverse = (np.repeat(plane[:, 0], count) * column + np.repeat(at_zero, count)).astype(np.float32)
        index = np.repeat(spans.row * self.width, count) + column
        surface = np.repeat(surfaces[spans.polygon], count)
        self._write(index, inverse, surface, None)

    def _write(self, index: np.ndarray, inverse: np.ndarray, surface: np.ndarray, paint: np.ndarray | None) -> None:
        depth, seen, painted = self.inverse_depth.ravel(), self.surface.ravel(), self.paint.ravel()
        while len(index):
            # Of several writes to one pixel one stays; what is nearer than that tries again.
            nearer = np.flatnonzero(inverse > depth[index])
            index, inverse, surface = index[nearer], inverse[nearer], surface[nearer]
            depth[index] = inverse
            seen[index] = surface
            if paint is not None:
                paint = paint[nearer]
                painted[index] = paint
