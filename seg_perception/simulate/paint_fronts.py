"""Paints what stands upright along the street: house fronts with their roofs, walls, fences, hedges.

Pictures have one row per 1/16 m of height, the lowest first, and one column per 1/16 m along the street.
"""

from __future__ import annotations

import random
from functools import cache

import numpy as np

from seg_perception.simulate.atlas import BLOCK_COLUMNS, FRONT_ROWS, LOW_ROWS, TEXELS_PER_M
from seg_perception.simulate.layout import KERB_M, Barrier, Block, Building
from seg_perception.simulate.light import Light
from seg_perception.simulate.seeded import noise_tile, stream

__all__ = ["paint_fronts", "paint_low"]

_FRAMES = ((228, 226, 220), (206, 202, 192), (74, 58, 48), (92, 96, 100), (240, 240, 238))
_ROOFS = ((118, 66, 52), (96, 64, 56), (78, 78, 84), (104, 82, 70))
_SHOP_SIGNS = ((146, 36, 40), (34, 74, 62), (36, 52, 96), (46, 46, 50), (176, 138, 52), (206, 200, 188))


def _texels(metres: float) -> int:
    return int(round(metres * TEXELS_PER_M))


@cache
def _noise(cell: int, octaves: int) -> np.ndarray:
    tile = noise_tile(512, BLOCK_COLUMNS, cell, 0xF7, cell, octaves=octaves)[:FRONT_ROWS]
    tile.setflags(write=False)
    return tile


def paint_fronts(block: Block, sign: int, light: Light) -> np.ndarray:
    """One side's fronts, uint8 `[FRONT_ROWS, BLOCK_COLUMNS, 3]`, RGB as lit."""
    picture = np.full((FRONT_ROWS, BLOCK_COLUMNS, 3), 120, np.float32)
    facing = light.on(np.array([0.0, -float(sign), 0.0])).astype(np.float32)
    upward = light.on(np.array([0.0, -0.35 * sign, 0.94])).astype(np.float32)
    for house in block.buildings:
        if house.sign != sign:
            continue
        columns = slice(_texels(house.x0 - block.x0), _texels(house.x1 - block.x0))
        front = picture[:, columns]
        _Front(house, front, columns).paint()
        eaves = _texels(house.eaves)
        front[:eaves] *= facing
        front[eaves:] *= upward
    return np.clip(picture, 0, 255).astype(np.uint8)


class _Front:
    """One house; `rgb` is its part of the picture, painted in place, unlit."""

    def __init__(self, house: Building, rgb: np.ndarray, columns: slice) -> None:
        self.house = house
        self.rgb = rgb
        self.columns = columns
        self.rng = stream(house.key, 0xFA)
        self.frame = np.array(_pick(self.rng, _FRAMES), np.float32)

    def paint(self) -> None:
        house, rng = self.house, self.rng
        self._wall()
        width = self.rgb.shape[1]
        pitch = 2.0 + 0.9 * rng.random() if house.style != "modern" else 2.2
        count = max(1, int((house.x1 - house.x0 - 0.6) / pitch))
        size = (1.05 + 0.3 * rng.random(), 1.55 + 0.3 * rng.random())
        if house.style == "modern":
            size = (pitch - 0.25, 1.6)
        window = [self._window(size) for _ in range(4)]
        for storey in range(house.storeys):
            base = KERB_M + (house.ground_floor_m + (storey - 1) * house.floor_m if storey else 0.0)
            if storey == 0 and house.shop:
                self._shop(base)
                continue
            door = int(rng.random() * count) if storey == 0 else -1
            for i in range(count):
                middle = int(width * (i + 0.5) / count)
                if i == door:
                    self._door(middle, base)
                else:
                    self._paste(window[int(rng.random() * 4)], middle, _texels(base + 0.95))
            if storey and house.style in ("stone", "plaster"):
                self.rgb[_texels(base - 0.12) : _texels(base + 0.06)] *= 1.08
                self.rgb[_texels(base - 0.18) : _texels(base - 0.12)] *= 0.80
        self._top()

    def _wall(self) -> None:
        house = self.house
        grain = 1 + 0.05 * _noise(128, 5)[:, self.columns] + 0.03 * _noise(2, 1)[:, self.columns]
        height = np.arange(FRONT_ROWS, dtype=np.float32)[:, None] / TEXELS_PER_M
        grain *= 1 - 0.16 * np.exp(-height / 0.7)
        self.rgb[:] = grain[..., None] * np.array(house.color, np.float32)
        if house.style == "brick":
            self.rgb *= (1 + 0.10 * _noise(4, 1)[:, self.columns])[..., None]
            self.rgb[::3] *= 0.93
        elif house.style == "stone":
            self.rgb[::9] *= 0.86
            self.rgb[:, ::18] *= 0.93
        elif house.style == "modern":
            self.rgb[:, ::24] *= 0.86
            self.rgb[::26] *= 0.88
        edge = 0.90
        self.rgb[:, :2] *= edge
        self.rgb[:, -2:] *= edge
        pipe = 4 + int(self.rng.random() * 4)
        self.rgb[_texels(KERB_M) :, pipe : pipe + 2] *= 0.66

    def _glass(self, rows: int, columns: int, base: float) -> np.ndarray:
        """Panes mirror the sky above and the street below."""
        ramp = np.linspace(0.55, 1.35, rows, dtype=np.float32)[:, None, None]
        glass = ramp * np.array([base * 0.92, base, base * 1.10], np.float32)
        slant = (np.arange(columns)[None, :] + 0.7 * np.arange(rows)[:, None]) % 37 < 7
        glass = np.broadcast_to(glass, (rows, columns, 3)).copy()
        glass[slant] *= 1.12
        return glass

    def _window(self, size_m: tuple[float, float]) -> np.ndarray:
        rng, (columns, rows) = self.rng, (_texels(size_m[0]), _texels(size_m[1]))
        tile = self._glass(rows, columns, 62 + 30 * rng.random())
        draw = rng.random()
        if draw < 0.35:
            drawn = int(columns * (0.18 + 0.2 * rng.random()))
            curtain = np.array([206, 200, 190], np.float32) * 0.8
            tile[:, :drawn] = 0.25 * tile[:, :drawn] + 0.75 * curtain
            tile[:, -drawn:] = 0.25 * tile[:, -drawn:] + 0.75 * curtain
        elif draw < 0.55:
            tile[int(rows * (0.4 + 0.4 * rng.random())) :] = np.array([188, 184, 172], np.float32) * 0.85
        border = 1 if self.house.style == "modern" else 2
        tile[:border] = tile[-border:] = self.frame
        tile[:, :border] = tile[:, -border:] = self.frame
        if self.house.style != "modern":
            tile[:, columns // 2] = self.frame
            tile[int(rows * 0.66)] = self.frame
        # The reveal above throws a shadow on the pane; the sill below catches light.
        tile[-border - 2 : -border] *= 0.45
        tile[:, border : border + 1] *= 0.7
        return tile

    def _paste(self, tile: np.ndarray, middle: int, bottom: int) -> None:
        rows, columns = tile.shape[:2]
        left = max(0, min(middle - columns // 2, self.rgb.shape[1] - columns))
        self.rgb[bottom : bottom + rows, left : left + columns] = tile[:, : self.rgb.shape[1] - left]
        if self.house.style == "modern":
            return
        a, b = max(0, left - 2), left + columns + 2
        self.rgb[bottom - 2 : bottom, a:b] = np.minimum(self.rgb[bottom - 2 : bottom, a:b] * 1.25 + 14, 250)
        self.rgb[bottom - 5 : bottom - 2, a:b] *= 0.78
        top = bottom + rows
        if self.house.style in ("brick", "stone"):
            self.rgb[top : top + 3, a:b] = np.minimum(self.rgb[top : top + 3, a:b] * 1.18 + 10, 245)

    def _door(self, middle: int, base: float) -> None:
        rows, columns = _texels(2.3), _texels(1.1)
        tint = np.array(
            _pick(self.rng, ((72, 46, 36), (38, 58, 52), (44, 52, 82), (110, 34, 34), (60, 60, 62))), np.float32
        )
        tile = np.broadcast_to(tint, (rows, columns, 3)).copy()
        tile[rows // 2 + 2 : rows - 6, 4:-4] *= 0.7
        tile[-5:-2, 3:-3] = (120, 132, 142)
        tile[:, :2] = tile[:, -2:] = self.frame * 0.8
        tile[-2:] = self.frame * 0.8
        left = max(0, min(middle - columns // 2, self.rgb.shape[1] - columns))
        bottom = _texels(base)
        self.rgb[bottom : bottom + rows, left : left + columns] = tile[:, : self.rgb.shape[1] - left]

    def _shop(self, base: float) -> None:
        rng, width = self.rng, self.rgb.shape[1]
        bottom, lintel, top = _texels(base), _texels(base + 2.75), _texels(base + 3.45)
        panes = max(2, int(width / TEXELS_PER_M / 2.6))
        door = int(rng.random() * panes)
        self.rgb[bottom:lintel, 4:-4] = np.array([70, 66, 62], np.float32)
        for i in range(panes):
            left, right = 8 + (width - 16) * i // panes + 2, 8 + (width - 16) * (i + 1) // panes - 2
            low = bottom + (0 if i == door else _texels(0.5))
            glass = self._glass(lintel - 3 - low, right - left, 58)
            _display(rng, glass)
            self.rgb[low : lintel - 3, left:right] = glass
        sign = np.array(_pick(rng, _SHOP_SIGNS), np.float32)
        self.rgb[lintel:top, 3:-3] = sign
        self.rgb[lintel : lintel + 2, 3:-3] *= 0.6
        ink = np.array([240, 236, 224] if sign.mean() < 130 else [40, 38, 40], np.float32)
        _lettering(rng, self.rgb[lintel + 3 : top - 3, width // 4 : width - width // 4], ink)

    def _top(self) -> None:
        house = self.house
        eaves = _texels(house.eaves)
        self.rgb[eaves - 6 : eaves - 3] *= 0.66
        cornice = self.rgb[eaves - 3 : eaves]
        cornice[:] = np.minimum(cornice * 1.15 + 10, 240)
        if house.roof_m:
            tiles = np.array(_pick(self.rng, _ROOFS), np.float32)
            grain = 1 + 0.10 * _noise(4, 1)[eaves:, self.columns] + 0.10 * _noise(64, 4)[eaves:, self.columns]
            self.rgb[eaves:] = grain[..., None] * tiles
            self.rgb[eaves::3] *= 0.86
            self.rgb[eaves : eaves + 2] = (88, 90, 94)


def _display(rng: random.Random, glass: np.ndarray) -> None:
    """Dim things behind a shop window, and a lamp or two."""
    rows, columns = glass.shape[:2]
    for _ in range(int(2 + 4 * rng.random())):
        x, width = int(columns * rng.random()), 3 + int(10 * rng.random())
        height = int(rows * (0.15 + 0.4 * rng.random()))
        tint = np.array([60 + 120 * rng.random(), 50 + 100 * rng.random(), 50 + 80 * rng.random()], np.float32)
        glass[2 : 2 + height, x : x + width] = 0.6 * tint + 0.4 * glass[2 : 2 + height, x : x + width]
    x = int((columns - 4) * rng.random())
    glass[-7:-5, x : x + 4] = (236, 220, 170)


def _lettering(rng: random.Random, panel: np.ndarray, ink: np.ndarray) -> None:
    """Strokes that look like a name from across the street."""
    rows, columns = panel.shape[:2]
    if rows < 3:
        return
    x = 2
    while x < columns - 6:
        if rng.random() < 0.14:
            x += 4
            continue
        width = 2 + int(rng.random() * 3)
        panel[:, x] = ink
        if rng.random() < 0.7:
            panel[int(rng.random() * rows), x : x + width] = ink
        if rng.random() < 0.6:
            panel[:, x + width - 1] = 0.5 * (panel[:, x + width - 1] + ink)
        x += width + 2


def paint_low(block: Block, sign: int, light: Light) -> np.ndarray:
    """One side's barriers, uint8 `[LOW_ROWS, BLOCK_COLUMNS, 3]`, RGB as lit."""
    picture = np.full((LOW_ROWS, BLOCK_COLUMNS, 3), 110, np.float32)
    for barrier in block.barriers:
        if barrier.sign == sign:
            columns = slice(_texels(barrier.x0 - block.x0), _texels(barrier.x1 - block.x0))
            _barrier(barrier, picture[:, columns], columns)
    picture *= light.on(np.array([0.0, -float(sign), 0.0])).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _barrier(barrier: Barrier, rgb: np.ndarray, columns: slice) -> None:
    rng = stream(int(barrier.x0 * 16), barrier.sign, 0xBA)
    top = _texels(KERB_M + barrier.height)
    fine, broad = _noise(2, 1)[:LOW_ROWS, columns], _noise(64, 4)[:LOW_ROWS, columns]
    if barrier.kind == "wall":
        color = np.array(_pick(rng, ((150, 108, 88), (164, 158, 146), (188, 180, 166))), np.float32)
        rgb[:] = (1 + 0.10 * broad + 0.07 * fine)[..., None] * color
        rgb[::4] *= 0.84
        rgb[:, ::10] *= 0.92
        rgb[top - 3 : top] = (186, 182, 174)
        rgb[top - 5 : top - 3] *= 0.7
    elif barrier.kind == "hedge":
        rgb[:] = (1 + 0.22 * broad + 0.38 * fine)[..., None] * np.array((66, 92, 42), np.float32)
        rgb[:4] *= 0.6
        rgb[top - 4 :] *= 1.25
    else:
        color = np.array(_pick(rng, ((86, 80, 70), (120, 98, 72), (66, 74, 72))), np.float32)
        rgb[:] = (1 + 0.08 * broad)[..., None] * color
        rgb[:, ::4] *= 0.45
        rgb[:, 1::4] *= 0.85
        for rail in (0.3, barrier.height - 0.15):
            row = _texels(KERB_M + rail)
            rgb[row : row + 2] = color * 1.15
        rgb[:, ::40] = rgb[:, 1::40] = color * 1.2


def _pick(rng: random.Random, options: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    return options[int(rng.random() * len(options))]
