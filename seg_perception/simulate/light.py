"""Sun, sky and haze: how bright a surface is, and what lies between it and the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.simulate.mesh import Mesh
from seg_perception.simulate.seeded import stream

__all__ = ["Light"]

_SUN = np.array([0.66, 0.62, 0.53])
_SKY = np.array([0.50, 0.525, 0.56])


@dataclass(frozen=True)
class Light:
    """One clear afternoon.

    Attributes:
        sun: unit vector towards the sun, world axes.
        haze_rgb: colour of air far away and of the sky at the horizon, 0 to 255.
        haze_m: distance at which a surface keeps 1/e of its contrast.
    """

    sun: tuple[float, float, float]
    haze_rgb: tuple[float, float, float] = (205.0, 215.0, 226.0)
    haze_m: float = 420.0

    @classmethod
    def of_seed(cls, seed: int) -> Light:
        """The sun stands behind the camera, over the left shoulder, so that most of what is seen is lit."""
        rng = stream(seed, 0x5A)
        azimuth = math.pi - math.radians(28 + 22 * rng.random())
        elevation = math.radians(38 + 12 * rng.random())
        flat = math.cos(elevation)
        return cls((flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)))

    def on(self, normals: np.ndarray) -> np.ndarray:
        """Brightness of matt surfaces facing along unit `normals`: RGB factors, `[..., 3]` both; about 0.3 to 1.1."""
        direct = np.clip(normals @ np.asarray(self.sun), 0, None)[..., None]
        open_sky = (0.72 + 0.28 * normals[..., 2])[..., None]
        return direct * _SUN + open_sky * _SKY

    @property
    def ground(self) -> np.ndarray:
        """RGB factors on level ground in the sun."""
        return self.on(np.array([0.0, 0.0, 1.0]))

    @property
    def ground_shadow(self) -> np.ndarray:
        """What a shadow leaves of `ground`, RGB factors below 1."""
        return _SKY / self.ground

    def lit(self, mesh: Mesh, headings: np.ndarray | None = None) -> np.ndarray:
        """Colours of a mesh's polygons as they look from near by: uint8 `[P, 3]`, RGB.

        `headings` (float64 `[P]`, radians) are those of the street at the polygons, where it bends: the sun turns with
        it, so that shadows stay where they are painted.
        """
        normals = mesh.normals if headings is None else _turned_back(mesh.normals, headings)
        matt = mesh.albedo * self.on(normals)
        # A glossy surface mirrors more sky the more it leans back; upright panes mirror the street.
        mirrored = np.array([168.0, 190.0, 214.0]) * (0.30 + 0.70 * np.clip(mesh.normals[:, 2:], 0, 1))
        gloss = mesh.gloss[:, None]
        return np.clip(matt * (1 - gloss) + mirrored * gloss, 0, 255).astype(np.uint8)

    def clarity_at(self, inverse_depth: np.ndarray) -> np.ndarray:
        """Share of a surface's own colour in what is seen of it, float32 0 to 1; inverse depths in 1/m."""
        haze = np.float32(-1 / self.haze_m) / np.maximum(inverse_depth, np.float32(1e-6))
        return np.exp(haze, out=haze)


def _turned_back(normals: np.ndarray, headings: np.ndarray) -> np.ndarray:
    c, s, (x, y, z) = np.cos(headings), np.sin(headings), normals.T
    return np.stack([c * x + s * y, c * y - s * x, z], axis=1)
