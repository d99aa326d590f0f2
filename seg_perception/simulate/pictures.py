"""Paints the textures of blocks, keeps the recent ones, and works ahead a little at a time."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from seg_perception.simulate.atlas import (
    BAND_ROW,
    BLOCK_COLUMNS,
    FRONT_LEFT,
    FRONT_RIGHT,
    GROUND,
    LOW_LEFT,
    LOW_RIGHT,
    PICTURE_ROWS,
)
from seg_perception.simulate.bustle import QUIET, Bustle
from seg_perception.simulate.layout import Block, Street
from seg_perception.simulate.light import Light
from seg_perception.simulate.paint_fronts import paint_fronts, paint_low
from seg_perception.simulate.paint_ground import paint_ground
from seg_perception.simulate.planner import plan_block

__all__ = ["Pictures"]

_KEPT = 6
_BANDS = (GROUND, FRONT_LEFT, FRONT_RIGHT, LOW_LEFT, LOW_RIGHT)


class Pictures:
    """The textures of one street's blocks."""

    def __init__(self, seed: int, street: Street, light: Light, bustle: Bustle = QUIET) -> None:
        self._seed = seed
        self._bustle = bustle
        self._street = street
        self._light = light
        self._pictures: OrderedDict[int, tuple[np.ndarray, list[int]]] = OrderedDict()

    def picture(self, index: int) -> np.ndarray:
        """The textures of a block, uint8 `[PICTURE_ROWS, BLOCK_COLUMNS, 3]` (see atlas)."""
        while self.prepare(index):
            pass
        return self._pictures[index][0]

    def prepare(self, index: int) -> bool:
        """Paint one band of a block that will be wanted soon; whether there was one left to paint.

        A whole picture takes longer than a frame may: called once a frame, this has it ready in time.
        """
        if index not in self._pictures:
            self._pictures[index] = (np.empty((PICTURE_ROWS, BLOCK_COLUMNS, 3), np.uint8), list(_BANDS))
            while len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)
        picture, missing = self._pictures[index]
        if not missing:
            return False
        band = missing.pop()
        painted = self._paint(index, band)
        picture[BAND_ROW[band] : BAND_ROW[band] + len(painted)] = painted
        return True

    def _paint(self, index: int, band: int) -> np.ndarray:
        plan = self._plan(index)
        if band == GROUND:
            around = (self._plan(index - 1), self._plan(index + 1))
            return paint_ground(self._street, plan, around, self._light)
        sign = 1 if band in (FRONT_LEFT, LOW_LEFT) else -1
        paint = paint_fronts if band in (FRONT_LEFT, FRONT_RIGHT) else paint_low
        return paint(plan, sign, self._light)

    def _plan(self, index: int) -> Block:
        return plan_block(self._seed, index, self._street.kerb_height_m, self._bustle)
