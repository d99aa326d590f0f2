"""Grid and boundary of simulated streets against what the camera truly sees there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from seg_perception.evaluation.ground import GroundScore
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import GridSpec, GroundCamera
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.drivable import FREE, OCCUPIED, GroundTables
from seg_perception.perception.fan import FanSpec
from seg_perception.perception.roles import role_table
from seg_perception.simulate import DISTORTIONS, StreetScene
from seg_perception.types import CameraInfo, RegionOfInterest

SIZE, FINE = (1280, 960), (2240, 1680)
GRID, FAN = GridSpec((0.0, 17.0), (-15.0, 15.0), 0.1), FanSpec(math.radians(1.0), 30.0)
CONTACT_M = 0.5
ROLES = role_table(CITYSCAPES)


def tables_for(camera: CameraInfo, base_from_optical: np.ndarray, class_ids: np.ndarray) -> GroundTables:
    hw = class_ids.shape
    ground = GroundCamera(CameraModel.of(camera, hw), base_from_optical)
    tables = GroundTables(ground, Fit(hw, None, "stretch", 0.5, hw).class_map(hw), GRID, FAN, CONTACT_M)
    tables.read(class_ids, ROLES)
    return tables


def score(seeds: range, indices: range, **scene: float) -> GroundScore:
    total = GroundScore(GRID, CONTACT_M)
    for seed in seeds:
        street = StreetScene(seed, *SIZE, kerb_m=0.0, **scene)
        for index in indices:
            frame = street.frame(index, shaded=False)
            tables = tables_for(frame.camera, frame.base_from_optical, frame.class_ids)
            total.add(tables.ground, tables.grid(caution_value=50), tables.boundary(), street.ground_truth(index))
    return total


def check(total: GroundScore) -> None:
    assert total.free_behind == 0
    assert total.iou(FREE) >= 0.97
    assert total.iou(OCCUPIED) >= 0.90
    assert total.error_px(95) <= 0.75
    assert total.error_m(95) <= 0.15
    # Where the last strip of road before range_max is thinner than a pixel, either answer is right.
    assert total.rays > 1000 and total.disputed <= 0.015 * total.rays and total.overrun <= 0.003 * total.rays


def test_a_score_sees_what_is_wrong() -> None:
    """Masks that are off by two pixels, and a camera that is half a degree off, do not pass."""
    street = StreetScene(2, *SIZE, kerb_m=0.0)
    frame, truth = street.frame(30, shaded=False), street.ground_truth(30)
    tilted = frame.base_from_optical.copy()
    c, s = math.cos(math.radians(0.5)), math.sin(math.radians(0.5))
    tilted[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ tilted[:3, :3]
    for pose, class_ids in ((tilted, frame.class_ids), (frame.base_from_optical, np.roll(frame.class_ids, -3, axis=0))):
        tables, total = tables_for(frame.camera, pose, class_ids), GroundScore(GRID, CONTACT_M)
        ground = tables_for(frame.camera, frame.base_from_optical, frame.class_ids).ground
        total.add(ground, tables.grid(50), tables.boundary(), truth)
        assert total.error_px(95) > 0.75 and total.iou(OCCUPIED) < 0.90


def test_twenty_streets() -> None:
    """With true masks nothing but the pixels' size is lost."""
    check(score(range(20), range(0, 250, 10)))


@pytest.mark.parametrize(
    "scene",
    [
        {"camera_pitch_rad": 0.03 + math.radians(5)},
        {"camera_height_m": 1.95},
        {"camera_roll_rad": 0.06, "camera_yaw_rad": -0.15, "camera_left_m": 0.4},
        {"bump_pitch_rad": 0.02, "bump_height_m": 0.05, "weave_m": 0.3},
        {"curvature_per_m": -0.012},
    ],
    ids=["pitched", "raised", "rolled", "bumps", "bend"],
)
def test_the_answer_moves_with_the_camera(scene: dict[str, float]) -> None:
    check(score(range(4), range(0, 250, 50), **scene))


def test_lenses_and_an_ideal_camera_agree() -> None:
    """The same street through three lenses: what one calls free or occupied no other contradicts near by."""
    ideal = StreetScene(3, *FINE, kerb_m=0.0)
    for model in sorted(set(DISTORTIONS) - {"none"}):
        other, differences = StreetScene(3, *FINE, kerb_m=0.0, distortion_model=model), []
        for index in (30, 130):
            ranges = []
            for scene in (ideal, other):
                frame = scene.frame(index, shaded=False)
                assert any(frame.camera.d) == (scene is other)
                found = tables_for(frame.camera, frame.base_from_optical, frame.class_ids).boundary()
                degrees = np.round(np.degrees(found.bearings_rad), 3)
                ranges.append({d: r for d, r in zip(degrees.tolist(), found.ranges_m.tolist()) if r <= 10.0})
            common = sorted(set(ranges[0]) & set(ranges[1]))
            differences += [ranges[0][d] - ranges[1][d] for d in common]
        assert len(differences) > 40
        # Each sees the end of the road to half a pixel, up to 1.7 cm here; more would be a wrong lens.
        assert abs(float(np.median(differences))) < 0.02
        assert np.percentile(np.abs(differences), 75) < 0.02


def test_a_cropped_picture_says_the_same_of_what_it_shows() -> None:
    """A region of interest, as camera_info tells it."""
    scene = StreetScene(4, *SIZE, kerb_m=0.0)
    frame = scene.frame(60, shaded=False)
    x, y, width, height = 200, 300, 800, 660
    roi = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
    part = np.ascontiguousarray(frame.class_ids[y : y + height, x : x + width])
    whole = tables_for(frame.camera, frame.base_from_optical, frame.class_ids).grid(50)
    cropped = tables_for(replace(frame.camera, roi=roi), frame.base_from_optical, part).grid(50)
    shown = cropped != -1
    assert shown.sum() > 5000
    assert (cropped[shown] == whole[shown]).mean() > 0.999  # but for its own edges
