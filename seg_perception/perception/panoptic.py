"""Which countable things a class map shows: whole ones, each with its cells, and the panoptic map made of them."""

from __future__ import annotations

import cv2
import numpy as np

from seg_perception.labels import VOID_ID
from seg_perception.objects import Objects
from seg_perception.perception.components import components
from seg_perception.perception.grouping import group
from seg_perception.perception.object_rows import Groups, objects_of
from seg_perception.perception.panoptic_spec import VOID_PANOPTIC, PanopticSpec, check_divisor, spec_for
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
    map_hw = heads.class_ids.shape
    mask = cv2.LUT(heads.class_ids, spec.is_thing.view(np.uint8))
    cells = np.flatnonzero(mask)
    bad = 0
    if heads.centers is not None:
        groups, bad = group(heads, spec, cells)
    else:
        own = heads.class_ids.ravel().take(cells)
        of, classes = components(cells, own, map_hw)
        groups = Groups(cells, of, classes, np.ones(len(classes), np.float32))
    return objects_of(groups, map_hw, heads.confidence, spec, bad)


def panoptic_map(class_ids: np.ndarray, objects: Objects, spec: PanopticSpec, divisor: int) -> np.ndarray:
    values = np.arange(256) * divisor
    values[spec.is_thing | (values >= VOID_PANOPTIC)] = VOID_PANOPTIC
    values[VOID_ID] = VOID_PANOPTIC
    out = cv2.LUT(class_ids, values.astype(np.uint16))
    if len(objects):
        cells = np.flatnonzero(objects.instance_map)
        own = np.empty(len(objects) + 1, np.uint16)
        own[1:] = objects.class_ids.astype(np.int64) * divisor + np.arange(1, len(objects) + 1)
        out.ravel()[cells] = own.take(objects.instance_map.ravel().take(cells))
    return out
