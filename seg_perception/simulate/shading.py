"""Turns what is nearest at every pixel into colours: textures, shadows of what moves, haze, sky."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.simulate.atlas import GROUND, TEXELS_PER_M, TextureStrip
from seg_perception.simulate.camera import View
from seg_perception.simulate.layout import BLOCK_M
from seg_perception.simulate.light import Light
from seg_perception.simulate.raster import Raster
from seg_perception.simulate.seeded import noise_tile
from seg_perception.simulate.sky import Sky
from seg_perception.simulate.world import Shade, Snapshot

__all__ = ["Shader", "SurfaceTable"]

_GRAIN_PX = 512
_GRAIN_PER_M = 64
_GRAIN_REACH_M = 12.0
_SHADE_REACH_M = 60.0


@dataclass(frozen=True)
class SurfaceTable:
    """What the numbers in `Raster.surface` stand for, S surfaces; 0 is the sky.

    Attributes:
        labels: uint32 `[S]`, instance id · 65536 + class id · 256 + texture.
        paint: uint32 `[S]`, packed RGB.
        distance: float32 `[S]`, from the camera to the surface's plane, m; cards: any positive number.
        first_card: from this number on surfaces are cards, whose colours are in `Raster.paint`.
    """

    labels: np.ndarray
    paint: np.ndarray
    distance: np.ndarray
    first_card: int


class Shader:
    """Colours for one world."""

    def __init__(self, light: Light, strip: TextureStrip, sky: Sky) -> None:
        self._light = light
        self._strip = strip
        self._sky = sky
        self._air: np.ndarray | None = None
        grain = noise_tile(_GRAIN_PX, _GRAIN_PX, 2, 0x67A1, octaves=2)
        self._grain = (grain * 20).astype(np.float32).ravel()

    def shade(
        self, raster: Raster, table: SurfaceTable, texture: np.ndarray, view: View, snapshot: Snapshot
    ) -> np.ndarray:
        """The colour image, uint8 `[H, W, 3]`, RGB; `texture` is uint8 `[H, W]`."""
        x0 = snapshot.first_block * BLOCK_M
        self._strip.show(snapshot.first_block)
        depth = 1 / np.maximum(raster.inverse_depth, np.float32(1e-5))
        x, y = _on_street(depth, view, snapshot, x0)
        across = depth * view.rays[2] + np.float32(view.eye[2])
        on_ground = texture == GROUND
        np.copyto(across, y, where=on_ground)
        density = np.take((TEXELS_PER_M / view.camera.fx / table.distance).astype(np.float32), raster.surface)
        density *= depth
        density *= depth
        paint = np.take(table.paint, raster.surface)
        np.copyto(paint, raster.paint, where=raster.surface >= table.first_card)
        np.copyto(paint, self._strip.sample(x, across, texture, density), where=texture > 0)
        rgb = cv2.cvtColor(paint.view(np.uint8).reshape(*paint.shape, 4), cv2.COLOR_RGBA2RGB)
        self._add_grain(rgb, x, y, depth, on_ground)
        for shade in _in_reach(snapshot, view):
            box = view.box_around(snapshot.bend.points(_spread(shade, self._drift(shade), bool(snapshot.bend))))
            if box is not None:
                dx, dy = x[box] - np.float32(shade.x - x0), y[box] - np.float32(shade.y)
                self._darken(rgb[box], shade, dx, dy, on_ground[box])
        return self._through_air(rgb, raster, view)

    def _drift(self, shade: Shade) -> tuple[float, float]:
        """How far the sun throws the shadow of its owner's top."""
        sun = self._light.sun
        return -sun[0] / sun[2] * shade.height, -sun[1] / sun[2] * shade.height

    def _darken(self, rgb: np.ndarray, shade: Shade, dx: np.ndarray, dy: np.ndarray, ground: np.ndarray) -> None:
        """One soft shadow, close under its owner and where the sun throws it, in a part of the picture.

        `dx` and `dy` are how far what is seen lies from the owner, along the street and across.
        """
        drift = self._drift(shade)
        under = _soft_rectangle(dx, dy, shade.half_length, shade.half_width, 0.16)
        half = (shade.half_length + abs(drift[0]) * 0.5, shade.half_width + abs(drift[1]) * 0.3)
        thrown = _soft_rectangle(dx - drift[0] * 0.5, dy - drift[1] * 0.5, half[0] - 0.2, half[1] - 0.1, 0.28)
        amount = np.maximum(1.35 * under, 0.95 * thrown) * ground
        left = (1 - self._light.ground_shadow).astype(np.float32)
        rgb[:] = rgb * (1 - np.minimum(amount, 1.4)[..., None] * left)

    def _add_grain(self, rgb: np.ndarray, x: np.ndarray, y: np.ndarray, depth: np.ndarray, ground: np.ndarray) -> None:
        """Stones in the asphalt, too small for the textures: only near by, fixed to the world."""
        near = ground & (depth < _GRAIN_REACH_M)
        rows = np.flatnonzero(near.any(axis=1))
        if not len(rows):
            return
        own = slice(rows[0], rows[-1] + 1)
        column = (x[own] * _GRAIN_PER_M).astype(np.int32) & (_GRAIN_PX - 1)
        row = (y[own] * _GRAIN_PER_M).astype(np.int32) & (_GRAIN_PX - 1)
        strength = (1 - depth[own] / np.float32(_GRAIN_REACH_M)) * near[own]
        grain = self._grain[row * _GRAIN_PX + column] * strength
        rgb[own] = cv2.add(rgb[own], cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB), dtype=cv2.CV_8U)

    def _through_air(self, rgb: np.ndarray, raster: Raster, view: View) -> np.ndarray:
        if self._air is None or self._air.shape != rgb.shape:
            self._air = np.empty_like(rgb)
            self._air[:] = np.array(self._light.haze_rgb, np.uint8)
        clear = self._light.clarity_at(raster.inverse_depth)
        rgb = cv2.blendLinear(rgb, self._air, clear, 1 - clear)
        cv2.copyTo(self._sky.image(view.rays, view.heading_rad), (raster.surface == 0).view(np.uint8), rgb)
        # A lens is never perfectly sharp.
        return cv2.GaussianBlur(rgb, (3, 3), 0.55)


def _on_street(depth: np.ndarray, view: View, snapshot: Snapshot, x0: float) -> tuple[np.ndarray, np.ndarray]:
    """Street coordinates of what is seen, float32 `[H, W]`: x counted from `x0`, and y."""
    eye_x, eye_y = snapshot.street_place(view.eye)
    # x is not counted from the world's origin: it stays exact at the far end of a long drive.
    begin = np.float32(eye_x - x0)
    if not snapshot.bend:
        return depth * view.rays[0] + begin, depth * view.rays[1] + np.float32(eye_y)
    x, y = snapshot.bend.street_around(depth * view.rays[0], depth * view.rays[1] + np.float32(eye_y))
    x += begin
    return x, y


def _in_reach(snapshot: Snapshot, view: View) -> list[Shade]:
    """Those near enough to matter and not behind the camera."""
    shades = snapshot.shades
    if not shades:
        return []
    places = view.to_optical(snapshot.bend.points(np.array([(shade.x, shade.y, 0.0) for shade in shades])))
    depth, aside = places[:, 2], np.abs(places[:, 0])
    reach = view.camera.width_px / view.camera.fx * np.maximum(depth, 0) + 10.0
    near = (depth > -8.0) & (depth < _SHADE_REACH_M) & (aside < reach)
    return [shade for shade, reached in zip(shades, near.tolist()) if reached]


def _soft_rectangle(dx: np.ndarray, dy: np.ndarray, half_x: float, half_y: float, soft: float) -> np.ndarray:
    """1 inside, 0 outside, with an edge 2 `soft` wide; float32."""
    outside = np.maximum(np.abs(dx) - np.float32(half_x), np.abs(dy) - np.float32(half_y))
    edge = np.clip(0.5 - outside * np.float32(0.5 / soft), 0, 1)
    return edge * edge * (3 - 2 * edge)


def _spread(shade: Shade, drift: tuple[float, float], bends: bool) -> np.ndarray:
    """Corners of the ground that the shadow can reach, in street coordinates, `[P, 3]`."""
    margin = 0.5
    along = (-1, -0.5, 0, 0.5, 1) if bends else (-1, 1)
    near = [(sx * (shade.half_length + margin), sy * (shade.half_width + margin)) for sx in along for sy in (-1, 1)]
    far = [(px + drift[0], py + drift[1]) for px, py in near]
    return np.array([(shade.x + px, shade.y + py, 0.0) for px, py in near + far])
