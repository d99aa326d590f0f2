"""Obstacles in simulated streets against the nearest contacts that are truly seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pytest

from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import ClassMap, GroundCamera
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, rotation_of_rpy
from seg_perception.labels import CITYSCAPES
from seg_perception.objects import Objects, Obstacles
from seg_perception.perception.obstacles import ObstacleFinder, PoseNoise
from seg_perception.simulate import ObjectContacts, SimulatedFrame, StreetScene

HW, CELLS_HW = (480, 640), (128, 256)
IS_GROUND = np.isin(np.arange(256), [CITYSCAPES.id_of(name) for name in ("road", "sidewalk", "terrain")])
STANDS = np.arange(256) != CITYSCAPES.id_of("rider")
LEAST_AREA = {HW: 40, CELLS_HW: 10}
CHI2_95 = 5.991
DEFAULT = PoseNoise()

SCENES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "usual": ({"seed": 1}, (0, 20, 60)),
    "low": ({"seed": 3, "camera_height_m": 0.9, "camera_pitch_rad": 0.0, "distortion_model": "plumb_bob"}, (0, 40)),
    "high": ({"seed": 2, "camera_height_m": 2.2, "camera_pitch_rad": 0.25}, (0, 37, 130)),
    "wide": ({"seed": 4, "focal_px": 420.0, "distortion_model": "equidistant"}, (0, 60)),
    "rolled": ({"seed": 5, "camera_roll_rad": 0.1, "camera_yaw_rad": -0.15, "camera_left_m": 0.4}, (0, 50, 100)),
}


@dataclass(frozen=True)
class View:
    """One frame as a class map of some size, and the truth about it."""

    camera: CameraModel
    onto: ClassMap
    pose: np.ndarray
    class_ids: np.ndarray
    objects: Objects
    numbers: np.ndarray
    truth: ObjectContacts

    def locate(self, noise: PoseNoise = DEFAULT, pose: np.ndarray | None = None) -> Obstacles:
        ground = GroundCamera(self.camera, self.pose if pose is None else pose)
        finder = finder_for(self.camera, self.onto)
        return finder.locate(self.objects, self.class_ids, IS_GROUND, ground, "base", noise, STANDS)

    def pairs(self, found: Obstacles) -> tuple[np.ndarray, np.ndarray]:
        """Which of the obstacles and which of the truth's rows are the same thing."""
        _, ours, theirs = np.intersect1d(self.numbers[found.rows], self.truth.instance_ids, return_indices=True)
        return ours, theirs


@lru_cache(maxsize=64)
def finder_for(camera: CameraModel, onto: ClassMap) -> ObstacleFinder:
    return ObstacleFinder(camera, onto)


@cache
def frames(name: str) -> list[tuple[SimulatedFrame, ObjectContacts]]:
    options, indices = SCENES[name]
    scene = StreetScene(width_px=HW[1], height_px=HW[0], kerb_m=0.0, **options)
    told = [(scene.frame(index, shaded=False), scene.ground_truth(index)) for index in indices]
    return [(frame, truth.contacts(45.0, frame.instance_ids)) for frame, truth in told]


@cache
def views(name: str, cells_hw: tuple[int, int]) -> list[View]:
    return [view_of(frame, truth, cells_hw) for frame, truth in frames(name)]


def view_of(frame: SimulatedFrame, truth: ObjectContacts, cells_hw: tuple[int, int]) -> View:
    """The class map's cells show what the picture shows at their centres."""
    fit = Fit(HW, (2 * CELLS_HW[0], 2 * CELLS_HW[1]) if cells_hw != HW else None, "stretch", 0.5, HW)
    onto = fit.class_map(cells_hw)
    rows, columns = (
        np.floor((np.arange(axis.cells) + 0.5 - axis.offset) / axis.scale + 0.5).astype(int)
        for axis in (onto.rows, onto.columns)
    )
    class_ids, ids = (image[np.ix_(rows, columns)] for image in (frame.class_ids, frame.instance_ids))
    numbers, first, places, areas = np.unique(ids, return_index=True, return_inverse=True, return_counts=True)
    kept = (numbers > 0) & (areas >= LEAST_AREA[cells_hw])
    instance_map = (np.cumsum(kept) * kept)[places.reshape(ids.shape)].astype(np.uint16)
    n = int(kept.sum())
    objects = Objects(
        instance_map, class_ids.ravel()[first[kept]], np.ones(n, np.float32), areas[kept].astype(np.int32),
        np.zeros((n, 4), np.int32),
    )  # fmt: skip
    camera = CameraModel.of(frame.camera, HW)
    return View(camera, onto, frame.base_from_optical, class_ids, objects, numbers[kept], truth)


def errors(some: list[View], within_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(along, across) in metres and (columns, rows) in cells, `[n, 2]` each, of contacts so near."""
    metres, cells = [], []
    for view in some:
        found, ground = view.locate(), GroundCamera(view.camera, view.pose)
        ours, theirs = view.pairs(found)
        near = view.truth.range_m[theirs] <= within_m
        at, true = found.positions_m[ours[near]], view.truth.contact_xy[theirs[near]]
        unit = (true - ground.foot) / view.truth.range_m[theirs[near], None]
        off = at - true
        metres.append(np.stack([(off * unit).sum(1), off[:, 1] * unit[:, 0] - off[:, 0] * unit[:, 1]], 1))
        scale = (view.onto.columns.scale, view.onto.rows.scale)
        cells.append((ground.project(at) - ground.project(true)) * scale)
    return np.concatenate(metres), np.concatenate(cells)


@pytest.mark.parametrize("cells_hw", [HW, CELLS_HW], ids=["pixels", "cells"])
def test_positions(cells_hw: tuple[int, int]) -> None:
    some = [view for name in SCENES for view in views(name, cells_hw)]
    metres, _ = errors(some, 10.0)
    assert len(metres) >= 15
    assert np.median(np.abs(metres), axis=0).max() <= 0.10 and np.median(np.hypot(*metres.T)) <= 0.10
    _, cells = errors(some, 40.0)
    assert len(cells) >= 100
    # Cells of the coarse map are larger than pixels: 2.5 by 3.75.
    assert np.median(np.hypot(*cells.T)) <= (0.75 if cells_hw == HW else 0.9)
    assert abs(np.median(cells[:, 1])) <= 0.15  # neither too near nor too far


@pytest.mark.parametrize("cells_hw", [HW, CELLS_HW], ids=["pixels", "cells"])
def test_who_is_found(cells_hw: tuple[int, int]) -> None:
    """All that truly have a contact, and nobody else: what is hidden or cut off is counted."""
    missed = wrong = total = 0
    for view in (view for name in SCENES for view in views(name, cells_hw)):
        found = view.locate()
        assert found.without_contact == len(view.objects) - len(found)
        ids = set(view.numbers[found.rows[found.ranges_m <= 40]].tolist())
        wanted = set(view.truth.instance_ids[view.truth.range_m <= 40].tolist()) & set(view.numbers.tolist())
        total += len(wanted)
        missed += len(wanted - set(view.numbers[found.rows].tolist()))
        wrong += len(ids - set(view.truth.instance_ids.tolist()))
    assert total >= 100 and missed <= 0.03 * total and wrong <= 0.01 * total


def test_sizes() -> None:
    """Of things that nothing hides much: no part of them is further down than their contact, or nearer."""
    higher, wider = [], []
    for view in (view for name in SCENES for view in views(name, HW)):
        found = view.locate()
        ours, theirs = view.pairs(found)
        near = view.truth.range_m[theirs] < 25
        higher.append((found.heights_m[ours] - view.truth.height_m[theirs])[near])
        wider.append((found.widths_m[ours] - view.truth.width_m[theirs])[near])
    higher, wider = np.concatenate(higher), np.concatenate(wider)
    assert len(higher) >= 30 and abs(np.median(higher)) < 0.03 and np.median(np.abs(higher)) < 0.08
    assert (wider < 0.25).all() and np.median(wider[wider > -0.5]) > -0.15


@pytest.mark.parametrize("cells_hw", [HW, CELLS_HW], ids=["pixels", "cells"])
@pytest.mark.parametrize(
    "noise", [DEFAULT, PoseNoise(1.0, (0.05, 0.03, 0.02), (0.004, 0.002, 0.01))], ids=["default", "other"]
)
def test_ellipses_hold_the_truth(cells_hw: tuple[int, int], noise: PoseNoise) -> None:
    """When pose and pixels are as wrong as it was declared."""
    rng, inside = np.random.default_rng(7), []
    for name in SCENES:
        some = views(name, cells_hw)
        if cells_hw == HW and not some[0].camera.lens.is_ideal:
            continue  # to undo a lens for every draw is slow
        for _ in range(6):
            onto = shifted(some[0].onto, rng.normal(size=2) * noise.pixel_sigma_px)
            for view in some:
                found = replace(view, onto=onto).locate(noise, perturbed(view.pose, noise, rng))
                ours, theirs = view.pairs(found)
                off = found.positions_m[ours] - view.truth.contact_xy[theirs]
                scaled = np.linalg.solve(found.covariances_m2[ours], off[..., None])[..., 0]
                inside.append((off * scaled).sum(1) <= CHI2_95)
    held = np.concatenate(inside)
    assert len(held) >= 400 and 0.90 <= held.mean() <= 0.99


def shifted(onto: ClassMap, by_px: np.ndarray) -> ClassMap:
    """As if the whole picture were so much further right and down."""
    columns, rows = onto.columns, onto.rows
    return ClassMap(
        replace(rows, offset=rows.offset + by_px[1] * rows.scale),
        replace(columns, offset=columns.offset + by_px[0] * columns.scale),
    )


def perturbed(pose: np.ndarray, noise: PoseNoise, rng: np.random.Generator) -> np.ndarray:
    body = pose[:3, :3] @ OPTICAL_FROM_BODY
    rpy = np.array([math.atan2(body[2, 1], body[2, 2]), -math.asin(body[2, 0]), math.atan2(body[1, 0], body[0, 0])])
    told = pose.copy()
    told[:3, :3] = rotation_of_rpy(*(rpy + rng.normal(size=3) * noise.rotation_sigma_rad)) @ OPTICAL_FROM_BODY.T
    told[:3, 3] += rng.normal(size=3) * noise.position_sigma_m
    return told
