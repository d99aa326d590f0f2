"""Obstacles against the same worked out cell by cell, covariances by trying what each uncertainty does."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from plain_ground import LENSES, pose
from plain_obstacles import plain_obstacles

from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.distortion import Distortion
from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.objects import Objects
from seg_perception.perception.obstacles import ObstacleFinder, PoseNoise

ROAD, WALK, SKY, CAR, VOID = 0, 1, 10, 13, 255
IS_GROUND = np.isin(np.arange(256), (ROAD, WALK))
LENSES = {**LENSES, "fisheye": Distortion.of("equidistant", (-0.02, 0.006, -0.004, 0.0008))}


def objects_of(instance_map: np.ndarray) -> Objects:
    n = int(instance_map.max())
    areas = np.bincount(instance_map.ravel(), minlength=n + 1)[1:].astype(np.int32)
    boxes = np.zeros((n, 4), np.int32)
    return Objects(instance_map, np.full(n, CAR, np.uint8), np.ones(n, np.float32), areas, boxes)


def scribbled(seed: int, hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Class map and instance map: blobs that overlap, single cells, and void on a road."""
    rng = np.random.default_rng(seed)
    class_ids, instances = np.zeros(hw, np.uint8), np.zeros(hw, np.uint16)
    for number in range(1, 13):
        at = (int(rng.integers(0, hw[1])), int(rng.integers(hw[0] // 4, hw[0])))
        size = (int(rng.integers(1, hw[1] // 6)), int(rng.integers(1, hw[0] // 5)))
        cv2.ellipse(instances, at, size, float(rng.uniform(0, 180)), 0, 360, number, cv2.FILLED)
    for other in (WALK, VOID, SKY):
        at = (int(rng.integers(0, hw[1])), int(rng.integers(hw[0] // 3, hw[0])))
        cv2.ellipse(class_ids, at, (hw[1] // 8, 3), 0.0, 0, 360, other, cv2.FILLED)
    class_ids[: hw[0] // 8] = SKY
    specks = rng.integers(0, hw, (4, 2))
    instances[specks[:, 0], specks[:, 1]] = 13 + np.arange(4)
    class_ids[instances > 0] = CAR
    class_ids[rng.random(hw) < 0.01] = ROAD  # holes in the classes: an object's cell all the same
    return class_ids, np.searchsorted(np.unique(np.append(instances, 0)), instances).astype(np.uint16)


CASES = [
    ("ideal", (0.0, 0.12, 0.0), "stretch", (40, 60), (40, 60)),
    ("plumb_bob", (0.06, 0.3, 0.5), "stretch", (40, 60), (40, 60)),
    ("fisheye", (-0.3, 0.05, -0.2), "stretch", (48, 64), (24, 32)),
    ("ideal", (1.5, 0.2, 0.1), "pad", (64, 64), (32, 32)),
    ("plumb_bob", (math.pi, 0.2, 2.0), "crop", (40, 64), (20, 32)),
    ("ideal", (0.0, math.pi / 2 - 0.02, 0.3), "stretch", (40, 60), (40, 60)),
]


def seen_by(lens: str, rpy: tuple[float, float, float], mode: str, model_hw: tuple[int, int], cells_hw: tuple[int, int]
            ) -> tuple[GroundCamera, ClassMap]:  # fmt: skip
    camera = CameraModel(200, 120, 90.0, 95.0, 101.0, 58.0, LENSES[lens])
    fit = Fit((120, 200), model_hw, mode, 0.5, (120, 200))
    return GroundCamera(camera, pose(*rpy), -0.1), fit.class_map(cells_hw)


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{case[1][0]:.1f}" for case in CASES])
def test_the_plain_way_finds_the_same(case: tuple) -> None:
    ground, onto = seen_by(*case)
    noise, found_in_all = PoseNoise(0.7, (0.01, 0.02, 0.03), (0.004, 0.006, 0.01)), 0
    finder = ObstacleFinder(ground.camera, onto)
    for seed in range(4):
        class_ids, instances = scribbled(seed, (onto.rows.cells, onto.columns.cells))
        found = finder.locate(objects_of(instances), class_ids, IS_GROUND, ground, "base", noise)
        free = IS_GROUND[class_ids] & (instances == 0)
        plain = {one.number - 1: one for one in plain_obstacles(instances, free, ground.camera, onto, ground, noise)}
        assert found.without_contact == instances.max() - len(found)
        assert set(found.rows.tolist()) <= set(plain)
        for row, index in enumerate(found.rows.tolist()):
            one = plain.pop(index)
            assert one.relative_sigma <= 0.5  # to half of the line of sight's length
            np.testing.assert_allclose(found.positions_m[row], one.position, rtol=1e-9, atol=1e-9)
            assert found.widths_m[row] == pytest.approx(
                one.width, rel=2e-5
            )  # a cell's size, from rays in single precision
            assert found.heights_m[row] == pytest.approx(one.height, rel=2e-5, abs=1e-6)
            told = found.contacts_m[found.contact_rows == row]
            reach = found.ranges_m[row] + max(2 * one.width, 1.0)
            near = [at for at in one.contacts if math.dist(at, ground.foot) <= reach + 1e-5]
            assert len(told) == len(near)
            np.testing.assert_allclose(sorted(told.tolist()), sorted(np.array(near).tolist()), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found.covariances_m2[row], one.covariance, rtol=5e-5, atol=1e-9)
        found_in_all += len(found)
        assert all(one.relative_sigma > 0.5 for one in plain.values())
    assert found_in_all >= 8
