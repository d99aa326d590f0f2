"""From cells that were put into groups to objects: their sizes, boxes and scores, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seg_perception.objects import Objects
from seg_perception.perception.cells import cell_under
from seg_perception.perception.panoptic_spec import PanopticSpec

__all__ = ["Groups", "keep", "objects_of"]


@dataclass(frozen=True)
class Groups:
    """Cells of a class map, group by group.

    Attributes:
        cells: intp `[c]`, flat indices of the map, ascending.
        of: intp `[c]`, number of the group each cell belongs to, 1 … g; 0 for none.
        class_ids: uint8 `[g]`.
        sureness: float32 `[g]`, 0 to 1: how sure it is that this is one thing.
    """

    cells: np.ndarray
    of: np.ndarray
    class_ids: np.ndarray
    sureness: np.ndarray


def objects_of(
    groups: Groups, map_hw: tuple[int, int], confidence: np.ndarray | None, spec: PanopticSpec, bad_cells: int
) -> Objects:
    """The groups that are objects by the spec, in the groups' order; what is left out is counted.

    A score is the mean confidence of the object's cells, 1 where there is none, × its sureness.

    Args:
        map_hw: size of the class map.
        confidence: uint8 `[h', w']` of any size, or None.
        bad_cells: to be reported.
    """
    count = len(groups.class_ids)
    areas = np.bincount(groups.of, minlength=count + 1)[1:]
    scores = groups.sureness
    if confidence is not None and count:
        sums = np.bincount(groups.of, cell_under(confidence, map_hw, groups.cells), minlength=count + 1)[1:]
        scores = (scores * (sums / (255.0 * np.maximum(areas, 1)))).astype(np.float32)
    kept, left_out = keep(groups.class_ids, scores, areas, spec)
    left_out["bad_cells"] = bad_cells
    if not len(kept):
        return Objects.none(map_hw, left_out)
    number = np.zeros(count + 1, np.uint16)
    number[kept + 1] = np.arange(1, len(kept) + 1)
    numbers = number.take(groups.of)
    instance_map = np.zeros(map_hw, np.uint16)
    instance_map.ravel()[groups.cells] = numbers
    areas = areas[kept]
    boxes = _boxes(groups.cells, numbers, areas, map_hw[1])
    return Objects(
        instance_map, groups.class_ids[kept], scores[kept], areas.astype(np.int32), boxes, left_out
    )  # fmt: skip


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


def _boxes(cells: np.ndarray, numbers: np.ndarray, areas: np.ndarray, width: int) -> np.ndarray:
    """Tight boxes int32 `[n, 4]` of the numbers 1 … n, all of which occur; cells ascend, so that rows do."""
    order = np.argsort(numbers, kind="stable")[len(numbers) - int(areas.sum()) :]
    rows, columns = np.divmod(cells[order], width)
    ends = np.cumsum(areas)
    begins = ends - areas
    return np.stack(
        [
            np.minimum.reduceat(columns, begins),
            rows[begins],
            np.maximum.reduceat(columns, begins) + 1,
            rows[ends - 1] + 1,
        ],
        -1,
    ).astype(np.int32)
