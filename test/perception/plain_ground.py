"""A camera over a road with things on it, and what it sees of the ground, worked out place by place."""

from __future__ import annotations

import math

import cv2
import numpy as np

from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.distortion import Distortion
from seg_perception.geometry.ground import GridSpec, GroundCamera
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, rotation_of_rpy
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.drivable import GroundTables
from seg_perception.perception.fan import FanSpec
from seg_perception.perception.roles import role_table

ROAD, WALK, WALL, SKY, VOID = 0, 1, 3, 10, 255
THINGS = {WALL, 13, 11}
HW = (120, 200)
GRID, FAN = GridSpec((0.0, 12.0), (-5.0, 5.0), 0.2), FanSpec(math.radians(1.0), 15.0)
CONTACT_M = 0.5
ROLES = role_table(CITYSCAPES)
LENSES = {"ideal": Distortion(), "plumb_bob": Distortion.of("plumb_bob", (-0.28, 0.09, 0.001, -0.001, -0.01))}
POSES = {"level": (0.0, 0.12, 0.0), "tilted": (0.06, 0.3, 0.5)}


def pose(roll: float, pitch: float, yaw: float, place: tuple[float, float, float] = (0.8, 0.1, 1.4)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of_rpy(roll, pitch, yaw) @ OPTICAL_FROM_BODY.T
    matrix[:3, 3] = place
    return matrix


def tables(matrix: np.ndarray, lens: Distortion = LENSES["ideal"], grid: GridSpec = GRID) -> GroundTables:
    camera = CameraModel(HW[1], HW[0], 130.0, 130.0, 99.5, 59.5, lens)
    onto = Fit(HW, None, "stretch", 0.5, HW).class_map(HW)
    return GroundTables(GroundCamera(camera, matrix), onto, grid, FAN, CONTACT_M)


def scribbled(seed: int) -> np.ndarray:
    """A road with things and other ground on it at random, and sky above."""
    rng = np.random.default_rng(seed)
    picture = np.zeros(HW, np.uint8)
    for kind in [WALL, WALK, 13, VOID, 11, WALK] * 3:
        centre = (int(rng.integers(0, HW[1])), int(rng.integers(20, HW[0])))
        size = (int(rng.integers(1, 25)), int(rng.integers(1, 12)))
        cv2.ellipse(picture, centre, size, float(rng.uniform(0, 180)), 0, 360, kind, cv2.FILLED)
    picture[:25] = SKY
    return picture


def seen_at(ground: GroundCamera, picture: np.ndarray, place: np.ndarray) -> tuple[int | None, tuple[int, int], float]:
    """Class at a place of the ground (None: out of the picture), its pixel, and how far the pixel's edge is."""
    column, row = ground.project(place)
    if not (-0.5 <= column < HW[1] - 0.5 and -0.5 <= row < HW[0] - 0.5):  # NaN too
        return None, (-1, -1), 1.0
    i, j = math.floor(row + 0.5), math.floor(column + 0.5)
    margin = min(abs(value + 0.5 - round(value + 0.5)) for value in (row, column))
    return int(picture[i, j]), (i, j), margin


def a_little_nearer(ground: GroundCamera, place: np.ndarray) -> np.ndarray:
    away = place - ground.foot
    distance = float(np.hypot(*away))
    return ground.foot + away * max(0.0, distance - CONTACT_M) / max(distance, 1e-9)


def plain_contacts(ground: GroundCamera, picture: np.ndarray) -> list[np.ndarray]:
    """Where things beside ground stand, pixel by pixel."""
    found = []
    for i, j in np.ndindex(picture.shape):
        beside = {int(picture[a, b]) for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
                  if 0 <= a < HW[0] and 0 <= b < HW[1]}  # fmt: skip
        if picture[i, j] in THINGS and beside & {ROAD, WALK}:
            place = ground.ground_at(np.array([float(j), float(i)]))
            if not np.isnan(place).any() and seen_at(ground, picture, a_little_nearer(ground, place))[0] in (
                ROAD,
                WALK,
                None,
            ):
                found.append(place)
    return found


def plain_stops(
    ground: GroundCamera, picture: np.ndarray, bearing: float, range_min_m: float, range_max_m: float
) -> list[tuple[float, float]]:
    """Where a ray may be said to stop: (distance, 0), or (inf, what is then its range).

    That is the first place that is not road; and the next ones, as long as the ray only grazed a pixel's corner.
    """
    along = np.array([math.cos(bearing), math.sin(bearing)])
    distances = 1 / np.arange(1 / range_min_m * 1.05, 1 / range_max_m, -2e-4)
    pixels = ground.project(ground.foot + along * distances[:, None])
    i, j = (np.floor(np.nan_to_num(pixels[:, k], nan=-9.0) + 0.5).astype(int) for k in (1, 0))
    seen = (i >= 0) & (i < HW[0]) & (j >= 0) & (j < HW[1])
    if not seen.any():
        return [(math.inf, math.nan)]
    kinds = np.where(seen, picture[np.clip(i, 0, HW[0] - 1), np.clip(j, 0, HW[1] - 1)], 254)[int(seen.argmax()) :]
    pixels, distances = pixels[int(seen.argmax()) :], distances[int(seen.argmax()) :]
    stops: list[tuple[float, float]] = []
    at = 0
    while True:
        blocked = np.flatnonzero(kinds[at:] != ROAD)
        if not len(blocked):
            return [*stops, (math.inf, math.inf)]
        at += int(blocked[0])
        run = int((kinds[at:] != ROAD).argmin()) or len(kinds) - at
        for kind in dict.fromkeys(kinds[at : at + run].tolist()):
            stops.append((float(distances[at]), 0.0) if kind in (WALK, WALL, 13, 11) else (math.inf, math.nan))
        if math.dist(pixels[at], pixels[at + run - 1]) > 0.55 or at + run == len(kinds):
            return stops
        at += run
