"""Every measure once more, pixel by pixel, by its definition: slow, and with nothing of the package in it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

VOID = 255


def iou(pairs: list[tuple[np.ndarray, np.ndarray]], class_id: int) -> float:
    hits = union = 0
    for truth, predicted in pairs:
        for t, p in zip(truth.flat, predicted.flat):
            if t != VOID:
                hits += int(t == class_id and p == class_id)
                union += int(t == class_id or p == class_id)
    return hits / union if union else float("nan")


def boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """Mask minus its erosion: `width` times by 3×3, with zeros around the image, as the published code does it."""
    eroded = np.pad(mask.astype(bool), 1)
    for _ in range(width):
        before = eroded.copy()
        for y in range(1, eroded.shape[0] - 1):
            for x in range(1, eroded.shape[1] - 1):
                eroded[y, x] = before[y - 1 : y + 2, x - 1 : x + 2].all()
    return mask & ~eroded[1:-1, 1:-1]


def boundary_iou(pairs: list[tuple[np.ndarray, np.ndarray]], class_id: int) -> float:
    hits = union = 0
    for truth, predicted in pairs:
        height, width = truth.shape
        band = max(1, round(0.02 * (height**2 + width**2) ** 0.5))
        there = boundary(truth == class_id, band)
        said = boundary((predicted == class_id) & (truth != VOID), band)
        hits += int((there & said).sum())
        union += int((there | said).sum())
    return hits / union if union else float("nan")


def ece(answers: list[tuple[np.ndarray, np.ndarray, np.ndarray]], bins: int = 15) -> float:
    """Of (truth, predicted, confidence 0 … 255)."""
    inside: list[list[tuple[bool, Fraction]]] = [[] for _ in range(bins)]
    for truth, predicted, confidence in answers:
        for t, p, c in zip(truth.flat, predicted.flat, confidence.flat):
            if t != VOID:
                said = Fraction(int(c), 255)
                m = next(m for m in range(bins) if said <= Fraction(m + 1, bins))
                inside[m].append((bool(t == p), said))
    total = sum(map(len, inside))
    error = Fraction(0)
    for entries in inside:
        if entries:
            accuracy = Fraction(sum(right for right, _ in entries), len(entries))
            confidence_mean = sum((said for _, said in entries), Fraction(0)) / len(entries)
            error += abs(accuracy - confidence_mean) * len(entries) / total
    return float(error)
