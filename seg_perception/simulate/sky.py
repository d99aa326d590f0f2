"""The sky as a panorama: a gradient from zenith to horizon, and fair-weather clouds seen from below."""

from __future__ import annotations

import math

import cv2
import numpy as np

from seg_perception.simulate.light import Light
from seg_perception.simulate.seeded import mix, noise_tile

__all__ = ["Sky"]

_ZENITH = np.array([86.0, 134.0, 196.0], np.float32)
_CLOUD = np.array([250.0, 250.0, 250.0], np.float32)
_CLOUD_SHADE = np.array([190.0, 198.0, 210.0], np.float32)
_TILE_PX = 1024


class Sky:
    """One sky for the whole drive: clouds are so far away that they stand still.

    Args:
        seed, light: what it looks like.
        step_px: draw only every so many rows and columns, and what is between from those: for a camera that turns.
    """

    def __init__(self, seed: int, light: Light, step_px: int = 1) -> None:
        self._light = light
        self._step_px = step_px
        # Tall against wide, because clouds are flat and seen from below.
        self._cover = noise_tile(_TILE_PX, _TILE_PX, 256, mix(seed, 0x5C), octaves=7)
        self._seen: tuple[tuple[bytes, float], np.ndarray] | None = None

    def image(self, rays: np.ndarray, heading_rad: float = 0.0) -> np.ndarray:
        """The sky in some directions, as uint8 `[H, W, 3]`, RGB; remembers the last answer.

        `rays`, float32 `[3, H, W]`, are in the world's axes turned to the left by `heading_rad`.
        """
        key = (rays[:, ::40, ::40].tobytes(), heading_rad)
        if self._seen is None or self._seen[0] != key:
            self._seen = (key, self._drawn(rays, heading_rad))
        return self._seen[1]

    def _drawn(self, rays: np.ndarray, heading_rad: float) -> np.ndarray:
        some = rays[:, :: self._step_px, :: self._step_px]
        if heading_rad:
            c, s = np.float32(math.cos(heading_rad)), np.float32(math.sin(heading_rad))
            some = np.stack([c * some[0] - s * some[1], s * some[0] + c * some[1], some[2]])
        drawn = self._draw(some)
        if self._step_px == 1:
            return drawn
        return cv2.resize(drawn, (rays.shape[2], rays.shape[1]), interpolation=cv2.INTER_LINEAR)

    def _draw(self, rays: np.ndarray) -> np.ndarray:
        length = np.sqrt((rays * rays).sum(axis=0))
        up = np.clip(rays[2] / length, 0.0, 1.0)
        height = np.clip(up / math.sin(math.radians(38)), 0, 1) ** 0.62
        haze = np.array(self._light.haze_rgb, np.float32)
        rgb = haze + height[..., None] * (_ZENITH - haze)
        # A cloud layer at a constant altitude; towards the horizon it gathers and fades into haze.
        scale = 200.0 / np.maximum(up + 0.10, 0.10)
        x, y = rays[0] / length * scale, rays[1] / length * scale
        cover = self._cloud(x, y)
        lit = self._cloud(x - 10.0 * self._light.sun[0], y - 10.0 * self._light.sun[1])
        opacity = np.clip((cover - 0.09) * 4.6, 0, 1) * np.clip(up * 9.0, 0, 0.92)
        bright = np.clip(0.72 + 1.6 * (cover - lit), 0, 1)[..., None]
        cloud = _CLOUD_SHADE + bright * (_CLOUD - _CLOUD_SHADE)
        rgb += opacity[..., None] * (cloud - rgb)
        return np.clip(rgb, 0, 255).astype(np.uint8)

    def _cloud(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        u = np.mod(x, _TILE_PX).astype(np.float32)
        v = np.mod(y, _TILE_PX).astype(np.float32)
        return cv2.remap(self._cover, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
