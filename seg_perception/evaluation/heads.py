"""How far a network's centres and offsets are from the truth, and true ones made as wrong as that."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from seg_perception.perception.cells import resampled
from seg_perception.perception.truth_heads import true_heads

__all__ = ["HeadErrors", "HeadNoise"]

_PEAK = 0.1
"""Less heat is no centre."""
_NEAR_ROOTS, _NEAR_CELLS = 0.25, 1.5
"""A peak so near to a true middle, roots of the thing's area and cells, is that thing's centre."""
_SHOWN = 0.5


@dataclass(frozen=True)
class HeadNoise:
    """What is wrong with heads, for making others so.

    Attributes:
        shift: of the offsets of a whole thing, standard deviation of each axis, roots of its area.
        scatter: of its cells' offsets about that, the same.
        missed: share of things without a centre.
        invented: centres in a frame that are nobody's.
        heats: float32 `[k]`, how hot those are; one of them at random is taken for each.
    """

    shift: float
    scatter: float
    missed: float
    invented: float
    heats: np.ndarray

    def spoil(
        self, instance_map: np.ndarray, heads_hw: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Centres and offsets as `true_heads` makes them, as wrong as this.

        Args:
            instance_map: integers `[H, W]`, 0 where there is none.
        """
        numbers = np.unique(instance_map)
        kept = numbers[rng.random(len(numbers)) >= self.missed]
        centers, _ = true_heads(np.where(np.isin(instance_map, kept), instance_map, 0), heads_hw)
        _, offsets = true_heads(instance_map, heads_hw)
        own, away = resampled(instance_map, heads_hw), np.hypot(*offsets)
        far = np.zeros(heads_hw, bool)
        for number in numbers[numbers > 0]:
            cells = own == number
            root = np.sqrt(np.count_nonzero(cells))
            far |= cells & (away > _NEAR_CELLS + _NEAR_ROOTS * root)
            shift = rng.normal(0, self.shift * root, (2, 1))
            offsets[:, cells] += shift + rng.normal(0, self.scatter * root, (2, np.count_nonzero(cells)))
        places = np.flatnonzero(far)
        count = min(len(places), int(rng.poisson(self.invented))) if len(self.heats) else 0
        for place in rng.choice(places, count, replace=False):
            centers[np.unravel_index(place, heads_hw)] = rng.choice(self.heats)
        return centers, offsets


@dataclass
class HeadErrors:
    """What is wrong with a network's heads over many frames.

    Attributes:
        things, found: true things of at least `least_cells` cells, and those with a centre near their middle.
        invented: centres on things that are near nobody's middle.
        frames: how many there were.
    """

    least_cells: int = 6
    things: int = 0
    found: int = 0
    invented: int = 0
    frames: int = 0
    _shifts: list[np.ndarray] = field(default_factory=list)
    _scatters: list[float] = field(default_factory=list)
    _heats: list[np.ndarray] = field(default_factory=list)

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
        claimed = np.zeros(len(peaks), bool)
        for number in np.unique(own[own > 0]):
            cells = own == number
            area = np.count_nonzero(cells)
            rows, columns = np.nonzero(cells)
            middle = np.array([rows[0], columns[0]]) + truth[:, rows[0], columns[0]]
            near = np.hypot(*(peaks - middle).T) <= _NEAR_CELLS + _NEAR_ROOTS * np.sqrt(area)
            claimed |= near
            if area < self.least_cells:
                continue
            self.things += 1
            self.found += bool(near.any())
            wrong = (offsets[:, cells] - truth[:, cells]) / np.sqrt(area)
            self._shifts.append(np.median(wrong, axis=1))
            self._scatters.append(float(np.abs(wrong - np.median(wrong, axis=1)[:, None]).mean() * 1.25))
        self.invented += int(np.count_nonzero(~claimed))
        self._heats.append(centers[tuple(peaks[~claimed].T)])
        self.frames += 1

    def noise(self) -> HeadNoise:
        """What makes true heads as wrong; of a normal distribution with the same mean magnitude."""
        if not self.things:
            raise ValueError("no frame with a thing was added")
        return HeadNoise(
            shift=float(np.abs(np.array(self._shifts)).mean() * 1.25),
            scatter=float(np.mean(self._scatters)),
            missed=1 - self.found / self.things,
            invented=self.invented / self.frames,
            heats=np.concatenate(self._heats),
        )
