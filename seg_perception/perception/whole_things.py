"""Models that find whole things by themselves (Mask R-CNN): boxes, labels, scores and masks become a class map and its
objects."""

from __future__ import annotations

import numpy as np

from seg_perception.errors import ModelContractError
from seg_perception.labels import VOID_ID
from seg_perception.objects import Objects

__all__ = ["objects_of_detections"]

_INSIDE = 0.5
_FARTHEST = 1e9


def objects_of_detections(
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    masks: np.ndarray,
    map_hw: tuple[int, int],
    class_of_label: np.ndarray | None = None,
    background: int = VOID_ID,
    at_most: int = 1000,
) -> tuple[np.ndarray, np.ndarray, Objects]:
    """What a detector found, as a class map: the surest detection has a cell that several claim.

    A detection counts as `unusable` in `left_out` if its box or score is no number (or its box a
    billion cells away), its box is empty, its score is
    beyond 0 to 1, or its label stands for no class; as `hidden` if no cell is left to it.

    Args:
        boxes: `[n, 4]`, (x begin, y begin, x end, y end), edges in cells of the map: the first cell is from 0 to 1.
        labels: integers `[n]`, any type.
        scores: `[n]`, 0 to 1.
        masks: `[n, h, w]` or `[n, 1, h, w]`. Of the map's size, they are masks of the whole map, looked at within
            their boxes; of any other (28 × 28), each is stretched over its box, bilinearly. Inside is 0.5 or more of
            floating-point numbers, anything but 0 of others; what is no number is outside.
        map_hw: size of the map to make.
        class_of_label: uint8 by label, 255 for no class; None where labels are class ids.
        background: class of the cells that nothing claims.
        at_most: detections looked at, the surest ones; 1 to 65534. The others count as `too_many`.

    Returns:
        class_ids: uint8 `[h, w]`; confidence: uint8 `[h, w]`, the score × 255, 0 where nothing is; and the objects, the
        surest first. Together: ``Heads(class_ids, confidence, instances=objects)``.

    Raises:
        ModelContractError: the arrays' shapes do not fit together.
    """
    masks = _checked(boxes, labels, scores, masks)
    class_ids, usable = _usable(boxes, labels, scores, class_of_label)
    order = np.flatnonzero(usable)
    order = order[np.argsort(-scores[order].astype(np.float64), kind="stable")]
    left_out = {"unusable": int(len(usable) - len(order)), "too_many": max(0, len(order) - at_most), "hidden": 0}
    of_class, instance_map = np.full(map_hw, background, np.uint8), np.zeros(map_hw, np.uint16)
    kept, areas, tight = [], [], []
    for row in order[:at_most].tolist():
        top, left, inside = _pasted(boxes[row].astype(np.float64), masks[row], map_hw)
        part = np.s_[top : top + inside.shape[0], left : left + inside.shape[1]]
        inside &= instance_map[part] == 0
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            left_out["hidden"] += 1
            continue
        kept.append(row)
        areas.append(np.count_nonzero(inside))
        tight.append((left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))
        np.copyto(instance_map[part], np.uint16(len(kept)), where=inside)
        np.copyto(of_class[part], class_ids[row], where=inside)
    sure = scores[kept].astype(np.float32) if kept else np.empty(0, np.float32)
    confidence = np.append(0, np.rint(sure * 255)).astype(np.uint8).take(instance_map)
    objects = Objects(
        instance_map, class_ids[kept] if kept else np.empty(0, np.uint8), sure, np.array(areas, np.int32),
        np.array(tight, np.int32).reshape(-1, 4), left_out,
    )  # fmt: skip
    return of_class, confidence, objects


def _checked(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Masks `[n, h, w]`."""
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    n = len(scores) if scores.ndim else -1
    shapes_fit = boxes.shape == (n, 4) and labels.shape == (n,) and scores.shape == (n,)
    if not (shapes_fit and masks.ndim == 3 and len(masks) == n and (masks.size or not n)):
        raise ModelContractError(
            "detections: expected boxes [n, 4], labels [n], scores [n], masks [n, h, w] or [n, 1, h, w], got "
            f"{boxes.shape}, {labels.shape}, {scores.shape}, {masks.shape}; give one image's outputs in this order"
        )
    for name, array in (("boxes", boxes), ("labels", labels), ("scores", scores), ("masks", masks)):
        if array.dtype.kind not in "fiub":
            raise ModelContractError(f"detections: expected numbers in {name}, got {array.dtype}; give numbers")
    return masks


def _usable(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, class_of_label: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Class ids uint8 `[n]`, and bool `[n]`."""
    table = np.arange(256, dtype=np.uint8) if class_of_label is None else np.asarray(class_of_label, np.uint8)
    with np.errstate(invalid="ignore"):  # False for what is no number
        known = (labels >= 0) & (labels < len(table))
        sound = (np.abs(boxes) < _FARTHEST).all(1) & (scores >= 0) & (scores <= 1)
        filled = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    class_ids = np.full(len(labels), VOID_ID, np.uint8)
    class_ids[known] = table[labels[known].astype(np.intp)]
    return class_ids, sound & filled & (class_ids != VOID_ID)


def _pasted(box: np.ndarray, mask: np.ndarray, map_hw: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    """First row and column of the part of the map that a box covers, and bool of it: what is inside the mask."""
    (left, top), (right, bottom) = (np.clip(edges, 0, map_hw[::-1]) for edges in (box[:2], box[2:]))
    begin, end = (int(top), int(left)), (int(np.ceil(bottom)), int(np.ceil(right)))
    if mask.shape == map_hw:
        return (*begin, _inside(mask[begin[0] : end[0], begin[1] : end[1]]))
    values = (mask != 0).astype(np.float64) if mask.dtype.kind in "iub" else np.nan_to_num(mask.astype(np.float64))
    down, across = (
        _weights(first, last, low, high, cells)
        for first, last, low, high, cells in zip(begin, end, box[1::-1], box[:1:-1], mask.shape)
    )
    return (*begin, np.asarray(down @ np.clip(values, 0, 1) @ across.T >= _INSIDE))


def _inside(mask: np.ndarray) -> np.ndarray:
    return np.asarray(mask >= _INSIDE if mask.dtype.kind == "f" else mask != 0)


def _weights(first: int, last: int, low: float, high: float, cells: int) -> np.ndarray:
    """Bilinear weights float64 `[last − first, cells]` of the cells stretched from `low` to `high`; 0 beyond."""
    places = (np.arange(first, last) + 0.5 - low) * (cells / (high - low)) - 0.5
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(cells)[None]))
