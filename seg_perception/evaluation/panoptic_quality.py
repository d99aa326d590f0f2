"""Panoptic quality: how well segments, things one by one and stuff class by class, are found and outlined.

After Kirillov, He, Girshick, Rother, Dollár: Panoptic Segmentation, CVPR 2019 (arXiv 1801.00868). A true and a
predicted segment of one class match if their IoU is above 0.5, which no two can with the same third. Then for each
class

    PQ = sum of matched IoUs / (TP + FP / 2 + FN / 2) = SQ × RQ.

Void pixels of the truth count for nobody: they are in no union, and a prediction that lies on them with more than half
of its pixels is no false positive.
"""

from __future__ import annotations

import numpy as np

from seg_perception.labels import VOID_ID

__all__ = ["PanopticQuality", "split_panoptic"]

_VOID = -1
_STEP = 1 << 32
"""Segment numbers are class × this + instance."""


def split_panoptic(panoptic: np.ndarray, divisor: int, void: int = 65535) -> tuple[np.ndarray, np.ndarray]:
    """Class ids uint8 and instances uint16, 0 for stuff, of a panoptic map; void has class 255 and instance 0."""
    known = panoptic != void
    class_ids, instances = np.divmod(panoptic, divisor)
    return (
        np.where(known, class_ids, VOID_ID).astype(np.uint8),
        np.where(known, instances, 0).astype(np.uint16),
    )


class PanopticQuality:
    """Matches of segments over many frames.

    Args:
        is_thing: bool `[classes]`. Pixels of a thing class without an instance are void, in truth and prediction.
        min_area_px: true things with fewer pixels are void: nobody has to find them, and nobody errs who does.

    Attributes:
        iou_sums: float64 `[classes]`, of the matched segments.
        matched, spurious, missed: int64 `[classes]`: TP, FP, FN.
    """

    def __init__(self, is_thing: np.ndarray, min_area_px: float = 0.0) -> None:
        self.is_thing, self.min_area_px = np.asarray(is_thing, bool), min_area_px
        classes = len(self.is_thing)
        self.iou_sums = np.zeros(classes)
        self.matched, self.spurious, self.missed = (np.zeros(classes, np.int64) for _ in range(3))

    def add(
        self, truth_ids: np.ndarray, truth_instances: np.ndarray, class_ids: np.ndarray, instances: np.ndarray
    ) -> None:
        """One frame. The class of a predicted thing is that of its cells: see `split_panoptic`.

        Args:
            truth_ids, class_ids: uint8 `[H, W]`; 255 and any id beyond the classes is void.
            truth_instances, instances: integers 0 to 2³² − 1 `[H, W]`; not looked at where the class is stuff.

        Raises:
            ValueError: shapes differ.
        """
        shapes = {array.shape for array in (truth_ids, truth_instances, class_ids, instances)}
        if len(shapes) != 1:
            raise ValueError(f"one size for all maps, got {sorted(shapes)}")
        truth, truth_areas, true_of = self._segments(truth_ids, truth_instances)
        found, found_areas, found_of = self._segments(class_ids, instances)
        if len(truth) > 1:
            small = (truth_areas < self.min_area_px) & (truth != _VOID) & self._things(truth)
            true_of = np.where(small, 0, np.arange(len(truth)))[true_of]
        pairs, shared = np.unique(true_of * len(found) + found_of, return_counts=True)
        a, b = np.divmod(pairs, len(found))
        on_void = np.zeros(len(found), np.int64)
        on_void[b[a == 0]] = shared[a == 0]
        real = (a > 0) & (b > 0)
        a, b, shared = a[real], b[real], shared[real]
        union = truth_areas[a] + found_areas[b] - shared - on_void[b]
        hit = (truth[a] // _STEP == found[b] // _STEP) & (2 * shared > union)
        self._count(self.iou_sums, truth[a[hit]], shared[hit] / union[hit])
        self._count(self.matched, truth[a[hit]])
        self._count(self.missed, truth[np.setdiff1d(true_of[true_of > 0], a[hit])])
        spurious = 2 * on_void <= found_areas
        spurious[0], spurious[b[hit]] = False, False
        self._count(self.spurious, found[spurious])

    def pq(self) -> np.ndarray:
        """Float `[classes]`; NaN for a class that is neither there nor predicted. So are `sq` and `rq`."""
        return self._share(self.iou_sums, self.matched + 0.5 * (self.spurious + self.missed))

    def sq(self) -> np.ndarray:
        """Mean IoU of the matched segments; NaN without any."""
        return self._share(self.iou_sums, self.matched)

    def rq(self) -> np.ndarray:
        """F1 of the matches."""
        return self._share(self.matched, self.matched + 0.5 * (self.spurious + self.missed))

    def mean_pq(self, classes: np.ndarray | None = None) -> float:
        """Mean PQ over those of the classes (ids, or bool `[classes]`; all by default) that occur; NaN if none does."""
        values = self.pq() if classes is None else self.pq()[classes]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")

    def pooled_pq(self, classes: np.ndarray) -> float:
        """PQ of all segments of these classes together, in which each counts alike; NaN if none occurs."""
        share = self._share(
            self.iou_sums[classes].sum(), (self.matched + 0.5 * (self.spurious + self.missed))[classes].sum()
        )
        return float(share)

    def _segments(self, class_ids: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of the segments, void first; their areas; and which of them each pixel, in a row, belongs to."""
        ids = class_ids.ravel().astype(np.int64)
        known = ids < len(self.is_thing)
        things = self.is_thing[np.where(known, ids, 0)]
        number = np.where(things, instances.ravel().astype(np.int64), 0)
        segments = np.where(known & (~things | (number > 0)), ids * _STEP + number, _VOID)
        names, of, areas = np.unique(np.append(segments, _VOID), return_inverse=True, return_counts=True)
        return names, areas, of.reshape(-1)[:-1]

    def _things(self, segments: np.ndarray) -> np.ndarray:
        return self.is_thing[np.maximum(segments, 0) // _STEP]

    @staticmethod
    def _count(totals: np.ndarray, segments: np.ndarray, by: np.ndarray | None = None) -> None:
        counted = np.bincount(segments // _STEP, by, minlength=len(totals))
        totals += counted.astype(totals.dtype)

    @staticmethod
    def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(whole > 0, part / whole, np.nan)
