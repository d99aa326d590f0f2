"""How far a network's centres and offsets are from the truth, and true ones made as wrong as that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.perception.cells import resampled
from seg_perception.perception.truth_heads import true_heads

__all__ = ["HeadErrors", "HeadNoise", "ThingErrors"]

_PEAK = 0.1
"""Less heat is no centre."""
_NEAR_ROOTS, _NEAR_CELLS = 0.25, 1.5
"""A peak so near to a true middle, roots of the thing's area and cells, is that thing's centre."""
_SHOWN = 0.5
_ALIKE = 20


@dataclass(frozen=True)
class ThingErrors:
    """What is wrong with a network's heads on one thing. A root is that of the thing's area in cells of the heads.

    Attributes:
        area_cells: cells of the thing.
        heat: of the hottest centre near its middle; 0: there is none.
        shift: float64 `[2]`, median error of its offsets, (rows, columns), roots.
        scatter: of its cells' offsets about that, roots: standard deviation of a normal distribution with the same
            mean magnitude.
        grain: how far the scatter is blurred, standard deviation of a Gaussian, roots; 0: every cell errs for itself.
        invented: float32 `[k]`, heats of centres on it that are nobody's.
    """

    area_cells: int
    heat: float
    shift: np.ndarray
    scatter: float
    grain: float
    invented: np.ndarray


class HeadNoise:
    """Makes true heads as wrong as a network's: each thing errs like one of the 20 nearest to it in size.

    Errors go by size: small things lose their centres, large ones have several.

    Args:
        things: what was measured; at least one.
    """

    def __init__(self, things: Sequence[ThingErrors]) -> None:
        if not things:
            raise ValueError("no thing was measured: there is nothing to be as wrong as")
        self.things = tuple(things)
        self._logs = np.log([thing.area_cells for thing in things])

    @property
    def shift(self) -> float:
        """Standard deviation of each axis of a normal distribution with the same mean magnitude, roots."""
        return _deviation(np.stack([thing.shift for thing in self.things]))

    @property
    def scatter(self) -> float:
        """Mean over the things, roots."""
        return float(np.mean([thing.scatter for thing in self.things]))

    @property
    def missed(self) -> float:
        """Share of things without a centre."""
        return float(np.mean([thing.heat == 0 for thing in self.things]))

    @property
    def invented(self) -> float:
        """Centres on a thing that are nobody's."""
        return float(np.mean([len(thing.invented) for thing in self.things]))

    def spoil(
        self, instance_map: np.ndarray, heads_hw: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Centres and offsets as `true_heads` makes them, as wrong as this.

        Args:
            instance_map: integers `[H, W]`, 0 where there is none.
        """
        _, offsets = true_heads(instance_map, heads_hw)
        own, away = resampled(instance_map, heads_hw), np.hypot(*offsets)
        centers, invented = np.zeros(heads_hw, np.float32), []
        for number in np.unique(instance_map[instance_map > 0]):
            cells = own == number
            area = int(np.count_nonzero(cells))
            like = self._like(max(area, 1), rng)
            np.maximum(centers, np.float32(like.heat) * true_heads(instance_map == number, heads_hw)[0], out=centers)
            if area:
                root = float(np.sqrt(area))
                shift = like.shift * rng.choice((-1, 1), 2) * root
                offsets[:, cells] += shift[:, None] + _scattered(like, cells, rng)
                far = np.flatnonzero(cells & (away > _NEAR_CELLS + _NEAR_ROOTS * root))
                count = min(len(far), len(like.invented))
                invented += list(zip(rng.choice(far, count, replace=False), like.invented)) if count else []
        for place, heat in invented:
            centers.ravel()[place] = heat
        return centers, offsets

    def _like(self, area_cells: int, rng: np.random.Generator) -> ThingErrors:
        nearest = np.argsort(np.abs(self._logs - np.log(area_cells)), kind="stable")[:_ALIKE]
        return self.things[rng.choice(nearest)]


class HeadErrors:
    """What is wrong with a network's heads over many frames.

    Attributes:
        things: true things of at least `least_cells` cells.
        invented: centres on things of any size that are near nobody's middle.
        frames: how many there were.
    """

    def __init__(self, least_cells: int = 6) -> None:
        self.least_cells = least_cells
        self.things: list[ThingErrors] = []
        self.invented = self.frames = 0

    @property
    def found(self) -> int:
        """Things with a centre near their middle."""
        return sum(thing.heat > 0 for thing in self.things)

    def add(
        self,
        centers: np.ndarray,
        offsets: np.ndarray,
        instance_map: np.ndarray,
        seen: np.ndarray,
        nms_cells: int = 3,
    ) -> None:
        """One frame.

        Args:
            instance_map: 0 where there is no thing, or nobody knows which.
            seen: bool, of the map's size: the class map says so as well. Things of which it shows less than a half are
                not looked at: no heads could tell them apart.
        """
        numbers, inverse = np.unique(instance_map, return_inverse=True)
        share = np.bincount(inverse.ravel(), seen.ravel()) / np.bincount(inverse.ravel())
        instance_map = np.where(np.isin(instance_map, numbers[share >= _SHOWN]) & seen, instance_map, 0)
        _, truth = true_heads(instance_map, (centers.shape[0], centers.shape[1]))
        own = resampled(instance_map, (centers.shape[0], centers.shape[1]))
        highest = cv2.dilate(centers, np.ones((nms_cells, nms_cells), np.uint8))
        peaks = np.argwhere((centers == highest) & (centers > _PEAK) & (own > 0))
        on, heats = own[tuple(peaks.T)], centers[tuple(peaks.T)]
        claimed, measured = np.zeros(len(peaks), bool), []
        for number in np.unique(own[own > 0]):
            cells = own == number
            area = int(np.count_nonzero(cells))
            rows, columns = np.nonzero(cells)
            middle = np.array([rows[0], columns[0]]) + truth[:, rows[0], columns[0]]
            near = np.hypot(*(peaks - middle).T) <= _NEAR_CELLS + _NEAR_ROOTS * np.sqrt(area)
            claimed |= near
            if area >= self.least_cells:
                measured.append((number, float(heats[near].max(initial=0)), cells))
        for number, heat, cells in measured:
            wrong = (offsets[:, cells] - truth[:, cells]) / np.sqrt(np.count_nonzero(cells))
            shift = np.median(wrong, axis=1)
            wrong -= shift[:, None]
            invented = heats[~claimed & (on == number)]
            area = int(np.count_nonzero(cells))
            self.things.append(ThingErrors(area, heat, shift, _deviation(wrong), _grain(wrong, cells), invented))
        self.invented += int(np.count_nonzero(~claimed))
        self.frames += 1

    def noise(self) -> HeadNoise:
        """What makes true heads as wrong."""
        return HeadNoise(self.things)


def _scattered(like: ThingErrors, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float64 `[2, n]`, cells: errors of a thing's n cells about their median, as large and as blurred as said."""
    rows, columns = np.nonzero(cells)
    root = float(np.sqrt(len(rows)))
    rows, columns = rows - rows.min(), columns - columns.min()
    errors = rng.normal(size=(2, rows.max() + 1, columns.max() + 1))
    if like.grain > 0:
        errors = np.stack([cv2.GaussianBlur(axis, (0, 0), like.grain * root) for axis in errors])
    errors = errors[:, rows, columns]
    errors -= np.median(errors, axis=1)[:, None]
    return np.asarray(errors * (like.scatter * root / max(_deviation(errors), 1e-9)))


def _deviation(errors: np.ndarray) -> float:
    """Standard deviation of a normal distribution with the errors' mean magnitude."""
    return float(np.abs(errors).mean() * 1.25)


def _grain(errors: np.ndarray, cells: np.ndarray) -> float:
    """How far white noise is blurred, roots of the area, if neighbours are as much alike as those of a thing.

    White noise behind a Gaussian of σ has the autocorrelation exp(−d² / 4σ²), d the distance. Taken at the next cell:
    whether neighbours point at the same place is what grouping goes by.

    Args:
        errors: `[2, n]`, about their median, of the n cells in `cells`.
        cells: bool `[h, w]`.
    """
    there = np.zeros((2, *cells.shape))
    there[:, cells] = errors
    products = squares = 0.0
    for axis in (0, 1):
        known, values = np.moveaxis(cells, axis, 0), np.moveaxis(there, axis + 1, 1)
        both = known[1:] & known[:-1]
        here, beside = values[:, 1:][:, both], values[:, :-1][:, both]
        products += float((here * beside).sum())
        squares += float((here**2 + beside**2).sum()) / 2
    if products <= 0:
        return 0.0
    alike = min(products / squares, 1 - 1e-6)
    return float(0.5 / np.sqrt(-np.log(alike) * np.count_nonzero(cells)))
