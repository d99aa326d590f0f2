"""From groups of cells to objects: their sizes, boxes and scores, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seg_perception.objects import Objects
from seg_perception.perception.cells import Runs, resampled, runs_of
from seg_perception.perception.panoptic_spec import PanopticSpec

__all__ = ["Groups", "keep", "objects_of"]


@dataclass(frozen=True)
class Groups:
    """Cells of a class map, group by group.

    Attributes:
        names: int32 `[h, w]`, the group of each cell, 1 … g; 0 for none.
        class_ids: uint8 `[g]`.
        sureness: float32 `[g]`, 0 to 1: how sure it is that this is one thing.
    """

    names: np.ndarray
    class_ids: np.ndarray
    sureness: np.ndarray

    @classmethod
    def none(cls, map_hw: tuple[int, ...]) -> Groups:
        """No group in a map of this size."""
        return cls(np.zeros(map_hw, np.int32), np.empty(0, np.uint8), np.empty(0, np.float32))

    def joined_with(self, others: Groups) -> Groups:
        """These and others, of cells that these have not."""
        if not len(others.class_ids):
            return self
        numbers = np.arange(len(self.class_ids), len(self.class_ids) + len(others.class_ids) + 1, dtype=np.int32)
        numbers[0] = 0
        return Groups(
            self.names + numbers.take(others.names),
            np.append(self.class_ids, others.class_ids),
            np.append(self.sureness, others.sureness),
        )


def objects_of(groups: Groups, confidence: np.ndarray | None, spec: PanopticSpec, bad_cells: int) -> Objects:
    """The groups that are objects by the spec, in the groups' order; what is left out is counted.

    A score is the mean confidence of the object's cells, 1 where there is none, × its sureness.

    Args:
        confidence: uint8 `[h', w']` of any size, or None.
        bad_cells: to be reported.
    """
    map_hw = (groups.names.shape[0], groups.names.shape[1])
    runs, count = runs_of(groups.names), len(groups.class_ids)
    areas = np.bincount(runs.values, runs.lengths, minlength=count + 1)[1:].astype(np.int32)
    scores = groups.sureness
    if confidence is not None and count:
        of_run = np.add.reduceat(resampled(confidence, map_hw).ravel(), runs.starts, dtype=np.int64)
        means = np.bincount(runs.values, of_run, minlength=count + 1)[1:] / (255.0 * np.maximum(areas, 1))
        scores = (scores * means).astype(np.float32)
    kept, left_out = keep(groups.class_ids, scores, areas, spec)
    left_out["bad_cells"] = bad_cells
    if not len(kept):
        return Objects.none(map_hw, left_out)
    number = np.zeros(count + 1, np.uint16)
    number[kept + 1] = np.arange(1, len(kept) + 1)
    boxes = _boxes(runs, number.take(runs.values), map_hw[1])
    instance_map = number.take(groups.names)
    return Objects(instance_map, groups.class_ids[kept], scores[kept], areas[kept], boxes, left_out)


def keep(
    class_ids: np.ndarray, scores: np.ndarray, areas: np.ndarray, spec: PanopticSpec
) -> tuple[np.ndarray, dict[str, int]]:
    """Which of these are objects, intp ascending, and how many are not, by why. What has no area is not counted."""
    some = areas > 0
    large = some & (areas >= spec.min_areas[class_ids])
    sure = large & (scores >= spec.min_scores[class_ids])
    kept = np.flatnonzero(sure)
    left_out = {
        "too_small": int(np.count_nonzero(some) - np.count_nonzero(large)),
        "low_score": int(np.count_nonzero(large) - len(kept)),
        "too_many": max(0, len(kept) - spec.most),
    }
    if left_out["too_many"]:
        kept = np.sort(kept[np.argsort(-areas[kept], kind="stable")[: spec.most]])
    return kept, left_out


def _boxes(runs: Runs, numbers: np.ndarray, width: int) -> np.ndarray:
    """Tight boxes int32 `[n, 4]` of the numbers 1 … n, all of which occur among the runs' uint16 `numbers`."""
    order = np.argsort(numbers, kind="stable")
    order = order[np.count_nonzero(numbers == 0) :]
    begins = np.flatnonzero(np.diff(numbers[order], prepend=0))
    ends = np.append(begins[1:], len(order)) - 1
    rows, left = np.divmod(runs.starts[order], width)  # runs come row by row
    right = np.maximum.reduceat(left + runs.lengths[order], begins)
    return np.stack([np.minimum.reduceat(left, begins), rows[begins], right, rows[ends] + 1], -1).astype(np.int32)
