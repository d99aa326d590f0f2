"""Shadows that lie still on a block's ground: of houses, trees, street furniture and parked vehicles."""

from __future__ import annotations

import cv2
import numpy as np

from seg_perception.simulate.atlas import BLOCK_COLUMNS, GROUND_ROWS, GROUND_Y, TEXELS_PER_M
from seg_perception.simulate.layout import Block, Parked, Plant, Street
from seg_perception.simulate.light import Light
from seg_perception.simulate.seeded import stream
from seg_perception.simulate.vehicles import VEHICLES

__all__ = ["ground_shadows"]

_SHADOW_STEP = 2
"""Texels per pixel of the shadow masks: shadows are soft."""


class _Shadows:
    """Shadow masks at half the textures' resolution: what is thrown by the sun, and what is dark beneath vehicles."""

    def __init__(self, block: Block, light: Light) -> None:
        self.thrown = np.zeros((GROUND_ROWS // _SHADOW_STEP, BLOCK_COLUMNS // _SHADOW_STEP), np.float32)
        self.beneath = np.zeros_like(self.thrown)
        self._origin = np.array([block.x0, GROUND_Y[0]])
        self._per_m = TEXELS_PER_M / _SHADOW_STEP
        self._drift = np.array([-light.sun[0], -light.sun[1]]) / light.sun[2]

    def px(self, points: np.ndarray) -> np.ndarray:
        return np.round((points - self._origin) * self._per_m).astype(np.int32)

    def box(self, x: tuple[float, float], y: tuple[float, float], height: float) -> None:
        """The shadow of an upright box."""
        foot = np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]])
        hull = cv2.convexHull(self.px(np.vstack([foot, foot + self._drift * height])))
        cv2.fillConvexPoly(self.thrown, hull, 1.0)

    def vehicle(self, car: Parked) -> None:
        kind = VEHICLES[car.kind]
        x = (car.x - kind.length / 2 + 0.15, car.x + kind.length / 2 - 0.15)
        y = (car.y - kind.width / 2 + 0.05, car.y + kind.width / 2 - 0.05)
        self.box(x, y, 0.85 * kind.height)
        (left, low), (right, high) = self.px(np.array([[x[0], y[0]], [x[1], y[1]]])).tolist()
        cv2.rectangle(self.beneath, (left, low), (right, high), 1.0, -1)

    def plant(self, plant: Plant) -> None:
        """A trunk's line and a crown made of round patches that let some light through."""
        rng = stream(int(plant.x * 16), int(plant.y * 16), 0xC0)
        is_tree = plant.kind == "tree"
        radius, middle = (0.26 * plant.height, 0.64 * plant.height) if is_tree else (0.5 * plant.height,) * 2
        foot = np.array([plant.x, plant.y])
        if is_tree:
            start, end = self.px(np.vstack([foot, foot + self._drift * middle])).tolist()
            cv2.line(self.thrown, tuple(start), tuple(end), 1.0, 2)
        offsets = (
            np.array([(rng.random() + rng.random() - 1, rng.random() + rng.random() - 1) for _ in range(26)]) * radius
        )
        centres = self.px(foot + self._drift * middle + offsets + 0.6 * self._drift * offsets[:, :1])
        for centre in centres.tolist():
            size = max(1, int(radius * (0.16 + 0.22 * rng.random()) * self._per_m))
            cv2.circle(self.thrown, tuple(centre), size, 1.0, -1)


def ground_shadows(street: Street, blocks: tuple[Block, Block, Block], light: Light) -> np.ndarray:
    """How much sun is missing on the ground of the second of three neighbouring blocks.

    Returns:
        float32 `[GROUND_ROWS, BLOCK_COLUMNS]`, 0 to 1.3: beneath a vehicle not even the sky shines.
    """
    shadows = _Shadows(blocks[1], light)
    for other in blocks:
        for house in other.buildings:
            near = house.sign * (street.side(house.sign).front + house.setback)
            shadows.box((house.x0, house.x1), (near, near + house.sign * 12), house.eaves + 0.6 * house.roof_m)
        for barrier in other.barriers:
            y = barrier.sign * street.side(barrier.sign).front
            shadows.box((barrier.x0, barrier.x1), (y, y + 0.1), barrier.height)
        for post in other.posts:
            sides = (post.x - 0.05, post.x + 0.05), (post.y - 0.05, post.y + 0.05)
            shadows.box(*sides, 7.4 if post.kind == "lamp" else 3.0)
        for plant in other.plants:
            shadows.plant(plant)
        for car in other.parked:
            shadows.vehicle(car)
        for person in other.crowd:
            shadows.box((person.x - 0.12, person.x + 0.12), (person.y - 0.16, person.y + 0.16), 1.5)
    soft = cv2.GaussianBlur(shadows.thrown, (0, 0), 1.3)
    soft = np.maximum(soft, 1.4 * cv2.GaussianBlur(shadows.beneath, (0, 0), 1.6))
    return np.clip(cv2.resize(soft, (BLOCK_COLUMNS, GROUND_ROWS), interpolation=cv2.INTER_LINEAR), 0, 1.3)
