"""Pictures of trees and bushes: many small leaves around a trunk, lit from the upper left."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from seg_perception.simulate.seeded import noise_tile, stream
from seg_perception.simulate.sprites import Sprite, finish

__all__ = ["BUSHES", "LEAF", "TREES", "TRUNK", "bush_sprite", "tree_sprite"]

LEAF, TRUNK = 1, 2
"""Parts of these pictures."""

TREES = 6
BUSHES = 3
_HEIGHT_PX, _WIDTH_PX = 640, 448


@dataclass(frozen=True)
class _Crown:
    """An ellipse in shares of the picture: centre, half-axes; and how tightly it is filled."""

    x: float
    y: float
    half_width: float
    half_height: float
    clusters: int
    leaf_px: int


@cache
def tree_sprite(variant: int) -> Sprite:
    """One of `TREES` trees; it stands at the middle of the picture's lower edge."""
    rng = stream(0x7E, variant)
    slender = variant % 3 == 2
    crown = _Crown(0.5, 0.43, 0.25, 0.40, 64, 4) if slender else _Crown(0.5, 0.36, 0.43, 0.33, 84, 4)
    parts = np.zeros((_HEIGHT_PX, _WIDTH_PX), np.uint8)
    light = np.ones((_HEIGHT_PX, _WIDTH_PX), np.float32)
    _draw_trunk(parts, light, rng, crown)
    _draw_crown(parts, light, rng, crown)
    return finish(parts, light)


@cache
def bush_sprite(variant: int) -> Sprite:
    """One of `BUSHES` bushes, filling the picture down to its lower edge."""
    rng = stream(0xB5, variant)
    parts = np.zeros((200, 280), np.uint8)
    light = np.ones(parts.shape, np.float32)
    _draw_crown(parts, light, rng, _Crown(0.5, 0.60, 0.42, 0.46, 44, 4))
    return finish(parts, light)


def _draw_trunk(parts: np.ndarray, light: np.ndarray, rng: random.Random, crown: _Crown) -> None:
    height, width = parts.shape
    middle, foot = width / 2, height - 1
    fork = height * (crown.y + 0.55 * crown.half_height)
    thick = width * (0.030 + 0.012 * rng.random())
    lean = (rng.random() - 0.5) * 0.04 * width
    outline = [
        (middle - thick * 1.25, foot),
        (middle - thick * 0.8, foot - 0.04 * height),
        (middle + lean - thick * 0.55, fork),
        (middle + lean + thick * 0.55, fork),
        (middle + thick * 0.8, foot - 0.04 * height),
        (middle + thick * 1.25, foot),
    ]
    cv2.fillPoly(parts, [np.round(outline).astype(np.int32)], TRUNK)
    for _ in range(9):
        angle = math.radians(-90 + 120 * (rng.random() - 0.5))
        reach = 0.8 * math.hypot(
            width * crown.half_width * math.cos(angle), height * crown.half_height * math.sin(angle)
        )
        start = (middle + lean * 0.9, fork - 0.05 * height * rng.random())
        bend = (start[0] + 0.55 * reach * math.cos(angle), start[1] + 0.55 * reach * math.sin(angle))
        tip = (bend[0] + 0.4 * reach * math.cos(angle * 0.9 - 0.16), bend[1] + 0.5 * reach * math.sin(angle))
        cv2.line(parts, _px(start), _px(bend), TRUNK, 5)
        cv2.line(parts, _px(bend), _px(tip), TRUNK, 3)
    columns = np.arange(width, dtype=np.float32)
    bark = noise_tile(height, width, 32, 0xBA, octaves=4) * 0.25
    light[:] = 0.9 - 0.5 * np.clip((columns - middle) / max(thick, 1), -1, 1) + bark
    # Branches and the trunk's upper end stand in the crown's shade.
    light[: int(fork)] = 0.55 + bark[: int(fork)]


def _px(point: tuple[float, float]) -> tuple[int, int]:
    return int(round(point[0])), int(round(point[1]))


def _draw_crown(parts: np.ndarray, light: np.ndarray, rng: random.Random, crown: _Crown) -> None:
    height, width = parts.shape
    leaves = np.zeros((height, width), np.float32)
    draws = np.random.RandomState(int(rng.random() * 2**31))
    clusters = sorted((_cluster(rng) for _ in range(crown.clusters)), key=lambda cluster: cluster[2])
    for x, y, z, size in clusters:
        # Towards the viewer, the left and the top it is brighter; inside and below, darker.
        tone = 0.78 + 0.24 * z - 0.24 * x - 0.30 * y + 0.22 * (rng.random() - 0.5)
        centre = np.array([width * (crown.x + crown.half_width * x), height * (crown.y + crown.half_height * y)])
        radius = size * width * min(crown.half_width, 0.4)
        count = int(110 * size / 0.3)
        away, angle, spread, large, turn = draws.random_sample((5, count))
        away, angle = np.sqrt(away), 2 * math.pi * angle
        places = centre + (radius * away * np.array([np.cos(angle), 0.82 * np.sin(angle)])).T
        lit = np.clip(tone - 0.22 * away * np.sin(angle) + 0.30 * (spread - 0.5), 0.28, 1.6)
        blobs = np.maximum(2, crown.leaf_px * (0.6 + 0.9 * large)).astype(int)
        columns = (
            np.round(places).astype(int).tolist(),
            lit.tolist(),
            blobs.tolist(),
            (180 * turn).astype(int).tolist(),
        )
        for place, bright, blob, tilt in zip(*columns):
            cv2.ellipse(leaves, place, (blob, max(1, int(0.6 * blob))), tilt, 0, 360, bright, -1)
    grown = leaves > 0
    parts[grown] = LEAF
    light[grown] = leaves[grown]


def _cluster(rng: random.Random) -> tuple[float, float, float, float]:
    """A place in the unit ball, more often near its surface, z towards the viewer; and a size."""
    azimuth = 2 * math.pi * rng.random()
    up = 2 * rng.random() - 1
    away = 0.86 * rng.random() ** 0.4
    flat = math.sqrt(1 - up * up)
    size = 0.20 + 0.18 * rng.random()
    return away * flat * math.cos(azimuth), -away * up, away * flat * math.sin(azimuth), size
