"""Paints a block's ground as seen from above: asphalt, markings, paving, grass, and the shadows that lie on it."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from seg_perception.simulate.atlas import BLOCK_COLUMNS, GROUND_ROWS, GROUND_Y, TEXELS_PER_M
from seg_perception.simulate.layout import BLOCK_M, Block, SidePlan, Street
from seg_perception.simulate.light import Light
from seg_perception.simulate.paint_shadows import ground_shadows
from seg_perception.simulate.seeded import noise_tile, stream

__all__ = ["paint_ground"]

_PAINT = (222, 222, 216)


@cache
def _noise(cell: int, octaves: int) -> np.ndarray:
    """Noise that continues from one block to the next (and repeats in every block)."""
    tile = noise_tile(1024, BLOCK_COLUMNS, cell, 0x6D, cell, octaves=octaves)[:GROUND_ROWS]
    tile.setflags(write=False)
    return tile


def paint_ground(street: Street, block: Block, neighbours: tuple[Block, Block], light: Light) -> np.ndarray:
    """The ground's band of a block's picture, uint8 `[GROUND_ROWS, BLOCK_COLUMNS, 3]`; rows go to the left (+y)."""
    canvas = _Canvas(block)
    canvas.asphalt(street)
    for sign, kind in zip((-1, 1), block.side_kinds):
        canvas.pave(street.side(sign), kind)
    canvas.mark(street)
    shadow = ground_shadows(street, (neighbours[0], block, neighbours[1]), light)
    lit = np.empty(canvas.rgb.shape, np.uint8)
    for channel, (sun, left) in enumerate(zip(light.ground.tolist(), light.ground_shadow.tolist())):
        shade = shadow * np.float32(-sun * (1 - left))
        shade += np.float32(sun)
        shade *= canvas.rgb[..., channel]
        lit[..., channel] = np.clip(shade, 0, 255, out=shade)
    return lit


class _Canvas:
    """A block's ground, addressed in metres: x from the block's beginning, y as in the world."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.rgb = np.empty((GROUND_ROWS, BLOCK_COLUMNS, 3), np.float32)

    def area(self, x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice]:
        """Rows and columns of a rectangle, cut off at the picture's edges."""
        y0, y1 = sorted(y)
        rows = [int(round((value - GROUND_Y[0]) * TEXELS_PER_M)) for value in (y0, y1)]
        columns = [int(round(value * TEXELS_PER_M)) for value in x]
        return (
            slice(max(0, rows[0]), max(0, min(GROUND_ROWS, rows[1]))),
            slice(max(0, columns[0]), max(0, min(BLOCK_COLUMNS, columns[1]))),
        )

    def asphalt(self, street: Street) -> None:
        rng = stream(self.block.key, 0xA5)
        tone = 94 + 7 * _noise(256, 5) + 3.5 * _noise(4, 2) + 4 * _noise(1, 1)
        y = GROUND_Y[0] + (np.arange(GROUND_ROWS, dtype=np.float32) + 0.5) / TEXELS_PER_M
        for centre in (0.0, street.lane_m):
            for track in (-0.78, 0.78):
                # Tyres polish the asphalt, oil darkens the middle of the lane.
                tone += (5.0 * np.exp(-(((y - centre - track) / 0.32) ** 2)))[:, None]
            tone -= (5.0 * np.exp(-(((y - centre) / 0.4) ** 2)))[:, None]
        for kerb in (street.kerb_right, street.kerb_left):
            tone -= (9.0 * np.exp(-(((y - kerb) / 0.35) ** 2)))[:, None]
        for _ in range(3):
            x0, y0 = 60 * rng.random(), street.kerb_right + 9 * rng.random()
            tone[self.area((x0, x0 + 1 + 7 * rng.random()), (y0, y0 + 0.6 + 1.2 * rng.random()))] += (
                20 * rng.random() - 14
            )
        for channel, tint in enumerate((1.0, 1.0, 1.015)):
            self.rgb[..., channel] = tone * np.float32(tint)
        for _ in range(2):
            x0, y0 = 62 * rng.random(), street.lane_m * rng.random()
            centre_px = (int(x0 * TEXELS_PER_M), int((y0 - GROUND_Y[0]) * TEXELS_PER_M))
            cv2.circle(self.rgb, centre_px, 6, (70.0, 68.0, 66.0), -1, cv2.LINE_AA)
            cv2.circle(self.rgb, centre_px, 6, (56.0, 55.0, 54.0), 1, cv2.LINE_AA)

    def pave(self, side: SidePlan, kind: str) -> None:
        low, high = (value - self.block.x0 for value in self.block.kerb_span)
        plot = tuple(value - self.block.x0 for value in self.block.plot_span)
        outer = side.sign * 100.0
        self._fill((low, high), (side.sign * side.kerb, outer), _paving())
        if kind != "street":
            self._fill((plot[0], plot[1]), (side.sign * side.front, outer), _grass())
        if side.verge:
            inset = (5.0 if self.block.junction else 0.0, 5.0 if self.block.junction_follows else 0.0)
            across = (side.sign * side.kerb, side.sign * (side.kerb + side.verge))
            self._fill((low + inset[0], high - inset[1]), across, _grass())
        stone = (side.sign * side.kerb, side.sign * (side.kerb + 0.1875))
        self.rgb[self.area((low, high), stone)] = 170.0
        for wanted, x in ((self.block.junction, low), (self.block.junction_follows, high - 0.1875)):
            if wanted:
                self.rgb[self.area((x, x + 0.1875), (side.sign * side.kerb, outer))] = 170.0

    def _fill(self, x: tuple[float, float], y: tuple[float, float], source: np.ndarray) -> None:
        where = self.area(x, y)
        self.rgb[where] = source[where]

    def mark(self, street: Street) -> None:
        """Markings are worn: they let the asphalt through where the noise is high."""
        mask = np.zeros((GROUND_ROWS, BLOCK_COLUMNS), np.float32)
        low, high = (value - self.block.x0 for value in self.block.kerb_span)
        begin = low + (7.5 if self.block.junction else 0.0)
        end = high - (7.0 if self.block.junction_follows else 0.0)
        middle = street.lane_m / 2
        for dash in np.arange(0.0, BLOCK_M, 8.0):
            if begin <= dash and dash + 3.5 <= end:
                mask[self.area((dash, dash + 3.5), (middle - 0.0625, middle + 0.0625))] = 1
        bays = (street.kerb_right + 2.25, street.kerb_left - 2.25)
        for y in bays:
            for dash in np.arange(0.0, BLOCK_M, 2.0):
                if begin <= dash and dash + 1.0 <= end:
                    mask[self.area((dash, dash + 1.0), (y - 0.0625, y + 0.0625))] = 1
        if self.block.junction:
            self._crossing(mask, street, low + 1.0, middle, 1)
        if self.block.junction_follows:
            self._crossing(mask, street, high - 4.25, middle, -1)
        road = self.area((0.0, BLOCK_M), (street.kerb_right, street.kerb_left))
        broad, fine = np.clip(_noise(32, 4)[road], 0, 0.6), np.clip(_noise(4, 1)[road], 0, 1)
        strength = (mask[road] * (0.90 - 0.45 * broad - 0.25 * fine))[..., None]
        self.rgb[road] += strength * (np.array(_PAINT, np.float32) - self.rgb[road])

    def _crossing(self, mask: np.ndarray, street: Street, x0: float, middle: float, leaving: int) -> None:
        """Zebra stripes from kerb to kerb, a stop line before them, an arrow for the ego lane."""
        y = street.kerb_right + 0.5
        while y + 0.5 < street.kerb_left:
            mask[self.area((x0, x0 + 3.25), (y, y + 0.5))] = 1
            y += 1.0
        if leaving < 0:
            mask[self.area((x0 - 1.5, x0 - 1.125), (-street.lane_m / 2, middle - 0.125))] = 1
            self._arrow(mask, x0 - 9.0)
        else:
            mask[self.area((x0 + 4.4, x0 + 4.75), (middle + 0.125, middle + street.lane_m))] = 1

    def _arrow(self, mask: np.ndarray, x0: float) -> None:
        mask[self.area((x0, x0 + 2.6), (-0.0625, 0.0625))] = 1
        head = np.array([[x0 + 2.4, -0.4], [x0 + 2.4, 0.4], [x0 + 4.0, 0.0]]) - (0.0, GROUND_Y[0])
        smooth = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(smooth, [np.round(head * TEXELS_PER_M * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        np.maximum(mask, smooth.astype(np.float32) / 255, out=mask)


@cache
def _paving() -> np.ndarray:
    """Half-metre slabs, float32 RGB, for the whole band."""
    tone = 152 + 7 * _noise(64, 4) + 5 * _noise(4, 1)
    slabs = np.random.RandomState(0x51AB).random_sample((GROUND_ROWS // 8, BLOCK_COLUMNS // 8)) * 14 - 7
    tone += np.kron(slabs, np.ones((8, 8))).astype(np.float32)
    tone[::8] -= 24
    tone[:, ::8] -= 20
    return tone[..., None] * np.array([1.0, 0.975, 0.94], np.float32)


@cache
def _grass() -> np.ndarray:
    """Lawn, here and there dry, float32 RGB, for the whole band."""
    tone = 1.0 + 0.16 * _noise(64, 4) + 0.22 * _noise(2, 1)
    dry = np.clip(0.5 + 0.9 * _noise(128, 3), 0, 1)[..., None]
    green, straw = np.array([84, 112, 50], np.float32), np.array([126, 126, 74], np.float32)
    return tone[..., None] * (green * (1 - 0.6 * dry) + straw * 0.6 * dry)
