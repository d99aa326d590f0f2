"""Models that find whole things by themselves: boxes, labels, scores and masks become a class map and its objects."""

from __future__ import annotations

import numpy as np

from seg_perception.labels import VOID_ID
from seg_perception.objects import Objects

__all__ = ["objects_of_detections"]


def objects_of_detections(
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    masks: np.ndarray,
    map_hw: tuple[int, int],
    class_of_label: np.ndarray | None = None,
    background: int = VOID_ID,
) -> tuple[np.ndarray, np.ndarray, Objects]:
    raise NotImplementedError
