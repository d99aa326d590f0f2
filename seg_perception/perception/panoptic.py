"""Which countable things a class map shows: whole ones, each with its cells, and the panoptic map made of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from seg_perception.labels import VOID_ID
from seg_perception.objects import Objects
from seg_perception.perception.grouping import group
from seg_perception.perception.object_rows import Groups, keep, objects_of
from seg_perception.perception.panoptic_spec import VOID_PANOPTIC, PanopticSpec, check_divisor, spec_for
from seg_perception.perception.splitting import regions
from seg_perception.perception.whole_things import objects_of_detections
from seg_perception.types import Heads

__all__ = [
    "VOID_PANOPTIC",
    "PanopticSpec",
    "check_divisor",
    "find_objects",
    "objects_of_detections",
    "panoptic_map",
    "spec_for",
]


def find_objects(heads: Heads, spec: PanopticSpec) -> Objects:
    """Countable things in what a model answered for one image.

    Whole ones that the model found itself are sifted by the spec. Else cells are grouped by `centers` and `offsets`
    (`grouping`); a score is then the mean confidence of the thing's cells × the heat of its centre, × 0.5 without one.
    Without these, connected regions are parted where things touch (`splitting`), and a score is a mean confidence.

    Whatever is in the heads, this answers, in about the same time: numbers that are none count as `bad_cells`.

    Raises:
        ValueError: the model's own instances are of another map.
    """
    if heads.instances is not None:
        return _sifted(heads.instances, heads.class_ids, spec)
    heads = replace(heads, class_ids=np.ascontiguousarray(heads.class_ids))  # mirrored views are none of OpenCV's
    if heads.centers is not None:
        heads = replace(heads, centers=np.ascontiguousarray(heads.centers))
        groups, bad_cells = group(heads, spec)
    else:
        names, class_ids = regions(heads.class_ids, spec)
        groups, bad_cells = Groups(names, class_ids, np.ones(len(class_ids), np.float32)), 0
    return objects_of(groups, heads.confidence, spec, bad_cells)


def panoptic_map(class_ids: np.ndarray, objects: Objects, spec: PanopticSpec, divisor: int) -> np.ndarray:
    """uint16 `[h, w]`: class × divisor for stuff, class × divisor + i + 1 for the object of row i, 65535 for void.

    Void are unlabelled cells, cells of things that belong to no object, and what would not fit (see `check_divisor`).

    Args:
        class_ids: uint8 `[h, w]`, of which the objects were found.
    """
    values = np.minimum(np.arange(256, dtype=np.int64) * divisor, VOID_PANOPTIC)
    values[spec.is_thing] = values[VOID_ID] = VOID_PANOPTIC
    panoptic = np.ascontiguousarray(cv2.LUT(class_ids, values.astype(np.uint16)))
    if len(objects):
        numbers = np.arange(1, len(objects) + 1)
        own = np.where(numbers < divisor, objects.class_ids.astype(np.int64) * divisor + numbers, VOID_PANOPTIC)
        own = np.minimum(np.append(0, own), VOID_PANOPTIC).astype(np.uint16)
        cells = np.flatnonzero(objects.instance_map)
        panoptic.ravel()[cells] = own.take(objects.instance_map.ravel().take(cells))
    return panoptic


def _sifted(found: Objects, class_ids: np.ndarray, spec: PanopticSpec) -> Objects:
    """Those that are objects by the spec."""
    if found.instance_map.shape != class_ids.shape:
        raise ValueError(f"instances must be of the class map {class_ids.shape}, got {found.instance_map.shape}")
    areas = np.where(spec.is_thing[found.class_ids], found.areas, 0)
    kept, left_out = keep(found.class_ids, found.scores, areas, spec)
    counts = {why: found.left_out.get(why, 0) + left_out.get(why, 0) for why in {**left_out, **found.left_out}}
    if len(kept) == len(found):
        return replace(found, left_out=counts)
    number = np.zeros(len(found) + 1, np.uint16)
    number[kept + 1] = np.arange(1, len(kept) + 1)
    return replace(
        found,
        instance_map=number.take(found.instance_map, mode="clip"),
        class_ids=found.class_ids[kept],
        scores=found.scores[kept],
        areas=found.areas[kept],
        boxes=found.boxes[kept],
        left_out=counts,
        track_ids=None if found.track_ids is None else found.track_ids[kept],
        boxes_px=None if found.boxes_px is None else found.boxes_px[kept],
    )
