"""Textures of the street: one picture per block, and the strip of them that a camera can see.

Everything textured is sampled by where it is in the world. Along x all textures share their columns; across, each
has a band of rows: the ground by its y, house fronts and low barriers by their height. A strip holds every
picture four times, ever more squeezed along x, because that is how a street is seen: foreshortened lengthwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from seg_perception.simulate.layout import BLOCK_M

__all__ = [
    "BAND_ROW",
    "BLOCK_COLUMNS",
    "FRONT_LEFT",
    "FRONT_RIGHT",
    "FRONT_ROWS",
    "GROUND",
    "GROUND_ROWS",
    "GROUND_Y",
    "LOW_LEFT",
    "LOW_RIGHT",
    "LOW_ROWS",
    "PICTURE_ROWS",
    "STRIP_BLOCKS",
    "TEXELS_PER_M",
    "TextureStrip",
]

TEXELS_PER_M = 16
BLOCK_COLUMNS = int(BLOCK_M * TEXELS_PER_M)
STRIP_BLOCKS = 4

GROUND, FRONT_LEFT, FRONT_RIGHT, LOW_LEFT, LOW_RIGHT = range(1, 6)
"""Texture numbers of polygons; 0 is `mesh.FLAT`."""

GROUND_Y = (-15.0, 19.0)
"""The ground's band, m; beyond it its edge is repeated."""

GROUND_ROWS = int((GROUND_Y[1] - GROUND_Y[0]) * TEXELS_PER_M)
FRONT_ROWS = 360
LOW_ROWS = 48
_LOW_ROW = GROUND_ROWS + 2 * FRONT_ROWS
BAND_ROW = (0, 0, GROUND_ROWS, GROUND_ROWS + FRONT_ROWS, _LOW_ROW, _LOW_ROW + LOW_ROWS)
"""First row of every texture's band."""

PICTURE_ROWS = BAND_ROW[LOW_RIGHT] + LOW_ROWS

_SQUEEZE = ((1, 1), (4, 1), (16, 1), (64, 2))
"""How much each level is reduced: along x, across."""

_LEVEL_FROM = np.array([2.0, 8.0, 32.0], np.float32)
"""Texels per pixel along x from which the next level is used."""

_COLUMN = np.cumsum([0] + [STRIP_BLOCKS * BLOCK_COLUMNS // sx for sx, _ in _SQUEEZE])


class TextureStrip:
    """The textures of `STRIP_BLOCKS` blocks in a row.

    Args:
        paint: gives the picture of a block, uint8 `[PICTURE_ROWS, BLOCK_COLUMNS, 3]`; must always give the same.
    """

    def __init__(self, paint: Callable[[int], np.ndarray]) -> None:
        self._paint = paint
        self._first: int | None = None
        self._texels = np.zeros((PICTURE_ROWS, int(_COLUMN[-1]), 4), np.uint8)

    def show(self, first_block: int) -> None:
        """Make the strip begin with that block."""
        if self._first == first_block:
            return
        kept = self._first is not None and self._first + 1 == first_block
        if kept:
            for level, (sx, _) in enumerate(_SQUEEZE):
                width, start, stop = BLOCK_COLUMNS // sx, int(_COLUMN[level]), int(_COLUMN[level + 1])
                for column in range(start, stop - width, width):
                    self._texels[:, column : column + width] = self._texels[:, column + width : column + 2 * width]
        for slot in range(STRIP_BLOCKS - 1 if kept else 0, STRIP_BLOCKS):
            self._put(slot, self._paint(first_block + slot))
        self._first = first_block

    def _put(self, slot: int, picture: np.ndarray) -> None:
        for level, (sx, sy) in enumerate(_SQUEEZE):
            width, rows = BLOCK_COLUMNS // sx, PICTURE_ROWS // sy
            start = int(_COLUMN[level]) + slot * width
            reduced = picture if level == 0 else cv2.resize(picture, (width, rows), interpolation=cv2.INTER_AREA)
            self._texels[:rows, start : start + width, :3] = reduced

    def sample(self, x: np.ndarray, across: np.ndarray, texture: np.ndarray, density: np.ndarray) -> np.ndarray:
        """Colours, bilinearly interpolated.

        Args:
            x: float32 `[H, W]`, metres from the strip's beginning; clipped to the strip.
            across: float32 `[H, W]`, metres: y on the ground, height elsewhere.
            texture: uint8 `[H, W]`, texture numbers; where it is `FLAT` the result means nothing.
            density: float32 `[H, W]`, texels that one image pixel covers along x.

        Returns:
            uint32 `[H, W]`, packed RGB.
        """
        level = (density >= _LEVEL_FROM[0]).view(np.uint8) + (density >= _LEVEL_FROM[1]).view(np.uint8)
        level += (density >= _LEVEL_FROM[2]).view(np.uint8)
        margin = np.float32(_SQUEEZE[-1][0] / TEXELS_PER_M)
        column = np.clip(x, margin, np.float32(STRIP_BLOCKS * BLOCK_M) - margin)
        column *= cv2.LUT(level, _COLUMNS_PER_M)
        column += cv2.LUT(level, _COLUMN_ORIGIN)
        edge = np.float32(1.0 / TEXELS_PER_M)
        row = np.clip(across, np.float32(GROUND_Y[0]) + edge, np.float32(FRONT_ROWS / TEXELS_PER_M) - edge)
        np.minimum(row, np.float32(GROUND_Y[1]) - edge, out=row, where=texture == GROUND)
        row *= TEXELS_PER_M
        row += cv2.LUT(texture, _ROW_ORIGIN)
        row *= cv2.LUT(level, _ROW_SHARE)
        row -= np.float32(0.5)
        colors = cv2.remap(self._texels, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return colors.view(np.uint32)[..., 0]


def _lut(values: Sequence[float]) -> np.ndarray:
    table = np.zeros(256, np.float32)
    table[: len(values)] = values
    return table


_COLUMNS_PER_M = _lut([TEXELS_PER_M / sx for sx, _ in _SQUEEZE])
_COLUMN_ORIGIN = _lut([float(column) - 0.5 for column in _COLUMN[:-1]])
_ROW_SHARE = _lut([1 / sy for _, sy in _SQUEEZE])
_ROW_ORIGIN = _lut([row - (GROUND_Y[0] * TEXELS_PER_M if band == GROUND else 0) for band, row in enumerate(BAND_ROW)])
"""By level, and by texture: how a place in metres becomes a place in the strip."""
