"""Laying a piece of one picture over another."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["blend", "overlap", "resized"]


def resized(patch: np.ndarray, mask: np.ndarray, size: tuple[int, int], shrinks: bool) -> tuple[np.ndarray, np.ndarray]:
    """A piece at another size.

    Args:
        patch: RGB uint8 `[h, w, 3]`.
        mask: bool `[h, w]`: which pixels are the thing's.
        size: (width, height).

    Returns:
        RGB uint8, and float32: how much of each pixel is the thing's, 0 to 1.
    """
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    alpha: np.ndarray = cv2.resize(mask.astype(np.float32), size, interpolation=how)
    return cv2.resize(patch, size, interpolation=how), alpha


def overlap(
    corner: tuple[int, int], size: tuple[int, int], frame_hw: tuple[int, ...], least_px: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Which part of a frame a piece covers, and which part of the piece that is; None if it is too narrow or too low.

    Args:
        corner: (left, top) of the piece in the frame.
        size: (width, height) of the piece.
    """
    (left, top), (width, height) = corner, size
    x0, y0, x1, y1 = max(0, left), max(0, top), min(frame_hw[1], left + width), min(frame_hw[0], top + height)
    if x1 - x0 < least_px or y1 - y0 < least_px:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def blend(image: np.ndarray, lit: np.ndarray, alpha: np.ndarray) -> None:
    """Lay colours, float `[h, w, 3]`, over an image, uint8 of that size, in place; alpha float `[h, w]`, 0 to 1."""
    share = alpha[..., None]
    image[:] = np.clip(image * (1 - share) + lit * share, 0, 255).astype(np.uint8)
