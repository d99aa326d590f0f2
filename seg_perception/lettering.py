"""Short texts in a picture: legible over anything, inside its edges, never over each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

__all__ = ["Lettering"]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE_PER_PX = 1 / 1050
"""Capitals of about a fiftieth of the picture's height."""
_LEAST_SCALE, _LARGEST_SCALE = 0.42, 4.0
_LONGEST = 48
_CELL_PX = 4


def _strokes(scale: float) -> tuple[int, int]:
    """Thickness of the letters, and width of the dark halo around them, pixels."""
    return max(1, round(scale * 1.5)), max(1, round(scale * 2.5))


@lru_cache(maxsize=512)
def _size(text: str, scale: float) -> tuple[int, int, int]:
    """Width, height and height of the base line, halo included, pixels."""
    thickness, halo = _strokes(scale)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    return width + 2 * halo, height + below + 2 * halo, height + halo


@lru_cache(maxsize=512)
def _stamp(text: str, scale: float, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(letters, left) uint8 `[h, w, 3]`: what is added, and 255ths of what was there before that are left.

    The halo is dilated: OpenCV 5 has no thicker strokes of the same width to lay underneath.
    """
    thickness, halo = _strokes(scale)
    width, height, base = _size(text, scale)
    ink = np.zeros((height, width), np.uint8)
    cv2.putText(ink, text, (halo, base), _FONT, scale, 255, thickness, cv2.LINE_AA)
    dark = cv2.dilate(ink, np.ones((2 * halo + 1, 2 * halo + 1), np.uint8))
    left = cv2.bitwise_not(cv2.convertScaleAbs(dark, alpha=2.0))  # thin letters between pixels are grey
    return cv2.merge([cv2.convertScaleAbs(ink, alpha=c / 255) for c in colour]), cv2.merge([left] * 3)


class Lettering:
    """The texts in one picture.

    Args:
        rgb: uint8 `[H, W, 3]`; it is written into this array.
    """

    def __init__(self, rgb: np.ndarray) -> None:
        self._rgb = rgb
        self.height_px, self.width_px = rgb.shape[:2]
        self._scale = round(min(_LARGEST_SCALE, max(_LEAST_SCALE, self.height_px * _SCALE_PER_PX)), 2)
        self._taken = np.zeros((self.height_px // _CELL_PX + 1, self.width_px // _CELL_PX + 1), bool)

    def size(self, text: str) -> tuple[int, int]:
        """Width and height that a text takes, halo included, pixels; (0, 0) of one that is empty."""
        return _size(_drawable(text), self._scale)[:2] if text else (0, 0)

    def write(self, text: str, corners: Sequence[tuple[float, float]], colour: tuple[int, int, int]) -> bool:
        """Write a text at the first of some places where none is yet.

        Args:
            text: one line; empty is never written, a very long one is cut.
            corners: (column, row) of its upper left corner, best first; moved as far as it takes to stay inside.
            colour: RGB.

        Returns:
            False where there was no room.
        """
        if not text:
            return False
        width, height = self.size(text)
        if width > self.width_px or height > self.height_px:
            return False
        for column, row in corners:
            left = int(min(max(column, 0), self.width_px - width))
            top = int(min(max(row, 0), self.height_px - height))
            cells = self._taken[
                top // _CELL_PX : (top + height - 1) // _CELL_PX + 1,
                left // _CELL_PX : (left + width - 1) // _CELL_PX + 1,
            ]
            if not cells.any():
                cells[:] = True
                part = self._rgb[top : top + height, left : left + width]
                letters, left_over = _stamp(_drawable(text), self._scale, colour)
                part[:] = cv2.add(cv2.multiply(part, left_over, scale=1 / 255), letters)
                return True
        return False


def _drawable(text: str) -> str:
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 2] + ".."
    # A label set's names come from a file: what is no Unicode would be an error of OpenCV's.
    return text.encode("utf-8", "replace").decode("utf-8")
