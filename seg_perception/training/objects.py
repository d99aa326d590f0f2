"""Things cut out of labelled frames, and laid over others at other sizes and places (after Dwibedi et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from seg_perception.datasets.pasting import blend, overlap, resized

__all__ = ["SCATTERED", "STANDS_WITHOUT_RIDER", "ObjectBank", "scatter"]

SCATTERED = ("sign", "pedestrian", "cyclist", "car", "traffic sign", "traffic light", "person", "rider", "bicycle",
             "motorcycle", "truck", "bus")  # fmt: skip
"""Classes that are things one can move."""

STANDS_WITHOUT_RIDER = ("cyclist",)
"""Classes that are a rider and what is ridden, which is there without a rider as well."""

_SMALLEST_PX = 40
_TALLEST, _WIDEST = 0.8, 0.7
"""Of the frame's height and width."""
_SCALES = (0.5, 3.0)
_RIDERLESS_CHANCE, _RIDERLESS_PART = 0.5, 0.55
"""How often the rider is left out, and how much of the height, from below, is then there."""
_HORIZON = 0.45
"""Of the frame's height, from its top: where a camera that looks ahead has it, roughly."""


@dataclass(frozen=True)
class _Thing:
    frame: int
    label: int
    left: int
    top: int
    width: int
    height: int


class ObjectBank:
    """Connected regions of some labels in labelled frames, by label.

    Args:
        images: RGB uint8 `[H, W, 3]`.
        labels: uint8 `[H, W]`.
        things: labels of which to keep regions.
        ridden: those of `things` whose lower half is drawn alone at times.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        things: Sequence[int],
        ridden: Sequence[int] = (),
    ) -> None:
        self._images, self._labels, self._ridden = images, labels, frozenset(ridden)
        self.by_label: dict[int, list[_Thing]] = {}
        for frame, marks in enumerate(labels):
            for label in things:
                mask = (marks == label).astype(np.uint8)
                if not mask.any():
                    continue
                count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
                for left, top, width, height, area in stats[1:count].tolist():
                    whole = height < marks.shape[0] * _TALLEST and width < marks.shape[1] * _WIDEST
                    if area >= _SMALLEST_PX and whole:
                        self.by_label.setdefault(label, []).append(_Thing(frame, label, left, top, width, height))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, _Thing]:
        """A thing of a label at random, all labels alike: RGB patch, its mask bool, and where it was."""
        label = int(rng.choice(sorted(self.by_label)))
        things = self.by_label[label]
        thing = things[int(rng.integers(len(things)))]
        if label in self._ridden and rng.random() < _RIDERLESS_CHANCE:
            height = max(1, round(thing.height * _RIDERLESS_PART))
            thing = replace(thing, top=thing.top + thing.height - height, height=height)
        part = np.s_[thing.top : thing.top + thing.height, thing.left : thing.left + thing.width]
        return self._images[thing.frame][part], self._labels[thing.frame][part] == label, thing


def scatter(
    rng: np.random.Generator, bank: ObjectBank, image: np.ndarray, labels: np.ndarray, at_most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frame with one to `at_most` things of a bank on it: half to three times as large, mirrored, in another light.

    Most stand where a thing of that size stands: their foot moves with their size about the horizon.

    Args:
        bank: with something in it.
        image: RGB uint8 `[H, W, 3]`; left as it is.
        labels: uint8 `[H, W]`; left as they are.

    Returns:
        image, labels, and bool `[H, W]`: where the things are.
    """
    image, labels, covered = image.copy(), labels.copy(), np.zeros(labels.shape, bool)
    height, width = labels.shape
    for _ in range(int(rng.integers(1, at_most + 1))):
        patch, mask, thing = bank.draw(rng)
        scale = float(np.exp(rng.uniform(*np.log(_SCALES))))
        size = (max(2, round(mask.shape[1] * scale)), max(3, round(mask.shape[0] * scale)))
        if size[0] > width * _WIDEST or size[1] > height * _TALLEST:
            continue
        patch, alpha = resized(patch, mask, size, scale < 1)
        if rng.random() < 0.5:
            patch, alpha = patch[:, ::-1], alpha[:, ::-1]
        gain = rng.uniform(0.6, 1.4, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0.7, 1.3))
        lit = patch.astype(np.float32) * gain
        if rng.random() < 0.3:
            lit = lit[..., rng.permutation(3)]
        foot = height * _HORIZON + (thing.top + thing.height - height * _HORIZON) * scale
        if rng.random() < 0.3:
            foot = rng.uniform(0.3, 1.0) * height
        top = round(foot + rng.normal(0, 0.03) * height) - size[1]
        left = round(rng.uniform(-0.3 * size[0], width - 0.7 * size[0]))
        seen = overlap((left, top), size, labels.shape, 2)
        if seen is None:
            continue
        part, cut = seen
        blend(image[part], lit[cut], alpha[cut])
        labels[part][alpha[cut] > 0.5] = thing.label
        covered[part] |= alpha[cut] > 0.05
    return image, labels, covered
