"""Flat pictures of what polygons draw badly: foliage, people, cyclists.

A picture is made of codes, one byte each: part · 32 + brightness, with part 0 for holes. What a part is (its
class, its colour) is decided by whoever places the picture. Every picture comes in halved sizes, so that a
distant tree is not a random choice of its leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Sprite", "card_colors", "finish", "shade_of"]

SHADES = 32
_SMALLEST_PX = 6


@dataclass(frozen=True)
class Sprite:
    """One picture at falling sizes.

    Attributes:
        levels: uint8 `[h, w]` codes, level 0 the largest, each next one half as large.
        aspect: width divided by height.
    """

    levels: tuple[np.ndarray, ...]

    @property
    def aspect(self) -> float:
        return self.levels[0].shape[1] / self.levels[0].shape[0]

    def level_for(self, height_px: float) -> int:
        """The level to draw when the picture is to be `height_px` image pixels high: the smallest that is not less."""
        level = 0
        while level + 1 < len(self.levels) and self.levels[level + 1].shape[0] >= height_px:
            level += 1
        return level

    def mirrored(self) -> Sprite:
        """The same picture, left and right exchanged."""
        return Sprite(tuple(np.ascontiguousarray(level[:, ::-1]) for level in self.levels))


def finish(parts: np.ndarray, brightness: np.ndarray) -> Sprite:
    """A sprite from its largest picture.

    Args:
        parts: uint8 `[h, w]`, 0 (hole) to 7.
        brightness: float32 `[h, w]`, 0 to 2, 1 = the part's own colour.
    """
    levels = []
    solid: np.ndarray = (parts > 0).astype(np.float32)
    light: np.ndarray = brightness.astype(np.float32) * solid
    while True:
        mean = light / np.maximum(solid, 1e-6)
        shade = np.clip(mean * (SHADES / 2), 0, SHADES - 1).astype(np.uint8)
        shown = np.where((solid >= 0.5) & (parts > 0), parts * SHADES + shade, 0).astype(np.uint8)
        shown.setflags(write=False)
        levels.append(shown)
        height, width = parts.shape
        if min(height, width) < 2 * _SMALLEST_PX:
            return Sprite(tuple(levels))
        height, width = height // 2 * 2, width // 2 * 2
        quads = parts[:height, :width].reshape(height // 2, 2, width // 2, 2)
        parts = quads.max(axis=(1, 3))
        size = (width // 2, height // 2)
        solid = _halved(solid[:height, :width], size)
        light = _halved(light[:height, :width], size)


def _halved(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def shade_of(parts: np.ndarray, sun_from_left: float, roundness_px: float) -> np.ndarray:
    """Brightness as if every part were rounded: lit from above and from one side, darker at its edges.

    Args:
        parts: uint8 `[h, w]`.
        sun_from_left: −1 to 1: how far left the light comes from.
        roundness_px: how many pixels from an edge the surface faces the viewer.
    """
    brightness = np.ones(parts.shape, np.float32)
    for part in np.unique(parts[parts > 0]):
        mask = (parts == part).astype(np.uint8)
        inner = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 3), roundness_px)
        smooth = cv2.GaussianBlur(inner, (0, 0), max(1.0, roundness_px / 4))
        slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3) / 8
        slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3) / 8
        lit = 0.88 + 0.42 * sun_from_left * slope_x + 0.30 * slope_y
        brightness = np.where(mask > 0, lit, brightness)
    return np.clip(brightness, 0.3, 1.6).astype(np.float32)


def card_colors(parts: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """Packed colours by code, uint32 `[256]`, for parts 1, 2, … with these RGB colours (0 to 255)."""
    table = np.zeros((256, 4), np.uint8)
    gain = (np.arange(SHADES) + 0.5) / (SHADES / 2)
    for part, color in enumerate(parts, start=1):
        rows = np.clip(gain[:, None] * np.asarray(color)[None, :], 0, 255)
        table[part * SHADES : (part + 1) * SHADES, :3] = rows.astype(np.uint8)
    return table.view(np.uint32).ravel()
