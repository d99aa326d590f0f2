"""Segmentation accuracy from one confusion matrix over a whole data set."""

from __future__ import annotations

import numpy as np

from seg_perception.labels import VOID_ID

__all__ = ["confusion_matrix", "iou_per_class", "mean_iou"]


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixel counts, int64 `[classes, classes + 1]`: rows are the truth, columns the prediction.

    Pixels whose truth is void (255) do not count. The last column holds predictions that are no class.

    Args:
        truth, predicted: uint8 of one shape.

    Raises:
        ValueError: shapes differ, or the truth holds an id that is neither a class nor void.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth {truth.shape} and prediction {predicted.shape} must have one shape")
    labelled = truth != VOID_ID
    rows = truth[labelled].astype(np.int64)
    if rows.size and rows.max() >= classes:
        raise ValueError(f"truth holds id {rows.max()}; expected 0 to {classes - 1} or void {VOID_ID}")
    columns = np.minimum(predicted[labelled], classes)
    counts = np.bincount(rows * (classes + 1) + columns, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def iou_per_class(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union, float `[classes]`; NaN for a class that is neither there nor predicted."""
    classes = confusion.shape[0]
    hits = np.diagonal(confusion).astype(float)
    union = confusion.sum(1) + confusion[:, :classes].sum(0) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(union > 0, hits / union, np.nan)


def mean_iou(confusion: np.ndarray) -> float:
    """Mean of `iou_per_class` over the classes that occur."""
    return float(np.nanmean(iou_per_class(confusion)))
