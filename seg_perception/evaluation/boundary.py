"""Boundary IoU: how well the outlines fit, which plain IoU hardly sees on large objects.

After Cheng, Girshick, Dollár, Berg, Kirillov: Boundary IoU: Improving Object-Centric Image Segmentation Evaluation,
CVPR 2021 (arXiv 2103.16562). Each mask is reduced to its pixels within d of its own contour, and the IoU is that of
the two bands; d is 2 % of the image's diagonal. There it is of one object; here, as for plain IoU, intersections and
unions of a class are summed over all frames.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from seg_perception.labels import VOID_ID

__all__ = ["BoundaryCounts", "band_of", "band_width_px"]

_DIAGONAL_SHARE = 0.02


def band_width_px(frame_hw: tuple[int, int]) -> int:
    """d for frames of this height and width: 2 % of the diagonal, rounded, at least 1."""
    return max(1, round(_DIAGONAL_SHARE * math.hypot(*frame_hw)))


def band_of(ids: np.ndarray, width_px: int) -> np.ndarray:
    """Which pixels lie within `width_px` of another class, or of the image's edge, by chessboard distance.

    This is each class's mask minus its erosion by a square of 2 width + 1 pixels, zeros around the image, as the
    published code does it with `width_px` erosions by 3×3; for all classes in one pass, because a square holds
    one class alone exactly where its smallest and its largest id are equal.

    Args:
        ids: uint8 `[H, W]`; 255 is treated as one more class.

    Returns:
        bool `[H, W]`.
    """
    square = np.ones((2 * width_px + 1,) * 2, np.uint8)
    edge = cv2.BORDER_CONSTANT
    smallest = cv2.erode(ids, square, borderType=edge, borderValue=VOID_ID)
    largest = cv2.dilate(ids, square, borderType=edge, borderValue=VOID_ID)
    return np.asarray((smallest != ids) | (largest != ids))


class BoundaryCounts:
    """Pixels of the bands over many frames.

    Args:
        classes: how many there are.

    Attributes:
        hits, truth, predicted: int64 `[classes]`: in both bands, in the truth's, in the prediction's.
    """

    def __init__(self, classes: int) -> None:
        self.hits, self.truth, self.predicted = (np.zeros(classes, np.int64) for _ in range(3))

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """One frame: uint8 `[H, W]` each. Void truth cuts a hole into both, so that its edge is one for both."""
        width_px = band_width_px((truth.shape[0], truth.shape[1]))
        predicted = np.where(truth == VOID_ID, np.uint8(VOID_ID), predicted)
        in_truth, in_predicted = band_of(truth, width_px), band_of(predicted, width_px)
        self.truth += self._count(truth[in_truth])
        self.predicted += self._count(predicted[in_predicted])
        self.hits += self._count(truth[in_truth & in_predicted & (truth == predicted)])

    def iou_per_class(self) -> np.ndarray:
        """Float `[classes]`; NaN for a class that is neither there nor predicted."""
        union = self.truth + self.predicted - self.hits
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(union > 0, self.hits / union, np.nan)

    def _count(self, ids: np.ndarray) -> np.ndarray:
        return np.bincount(ids, minlength=256)[: len(self.hits)]
