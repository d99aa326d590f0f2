"""Places of the ground and the cells in which they are seen, against a plain computation with OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from seg_perception.errors import GeometryError
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.distortion import Distortion
from seg_perception.geometry.ground import ClassMap, GridSpec, GroundCamera
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, rotation_of_rpy

GRID = GridSpec((-1.0, 14.0), (-6.0, 6.0), 0.25)
LENSES = {
    "ideal": Distortion(),
    "plumb_bob": Distortion.of("plumb_bob", (-0.31, 0.12, 0.0011, -0.0007, -0.02)),
    "rational": Distortion.of("rational_polynomial", (2.1, 1.2, 0.0005, -0.0003, 0.05, 2.4, 1.7, 0.3)),
    "fisheye": Distortion.of("equidistant", (0.021, -0.012, 0.004, -0.001)),
}


def camera_with(lens: Distortion) -> CameraModel:
    return CameraModel(640, 480, 420.0, 415.0, 310.5, 236.25, lens)


def pose(x: float, y: float, z: float, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_of_rpy(roll, pitch, yaw) @ OPTICAL_FROM_BODY.T
    matrix[:3, 3] = (x, y, z)
    return matrix


POSES = {"level": pose(1.0, 0.2, 1.5, 0.0, 0.05, 0.0), "tilted": pose(0.5, -0.3, 1.2, 0.08, 0.35, -0.4)}


def pixels_by_opencv(camera: CameraModel, ground_from_optical: np.ndarray, places: np.ndarray, z: float) -> np.ndarray:
    """Pixels [N, 2] of places [N, 2] of the ground; NaN behind the camera, and where the lens folds."""
    points = np.column_stack([places, np.full(len(places), z)])
    optical = (np.linalg.inv(ground_from_optical) @ np.column_stack([points, np.ones(len(points))]).T).T[:, :3]
    k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    none, d = np.zeros(3), np.array(camera.lens.d)
    pixels = np.full((len(places), 2), np.nan)
    ahead = optical[:, 2] > 1e-6
    ahead &= np.hypot(optical[:, 0], optical[:, 1]) < camera.lens.largest * np.abs(optical[:, 2])
    if camera.lens.model == "equidistant":
        seen = cv2.fisheye.projectPoints(optical[ahead][None], none, none, k, d)[0]
    else:
        seen = cv2.projectPoints(optical[ahead], none, none, k, d if len(d) else None)[0]
    pixels[ahead] = seen.reshape(-1, 2)
    return pixels


def cells_around(pixel: np.ndarray, fit: Fit, onto: ClassMap, slack_px: float = 2e-3) -> set[int]:
    """Every cell of the model's map that this pixel can be in, told as the fit tells it: crop, scale, divide."""
    cells = set()
    for dx in (-slack_px, slack_px):
        for dy in (-slack_px, slack_px):
            column, row = pixel[0] + dx + 0.5, pixel[1] + dy + 0.5
            used, filled, (model_h, model_w) = fit.used, fit.filled, fit.model_hw
            inside = used.x <= column < used.x + used.width and used.y <= row < used.y + used.height
            if not inside:
                cells.add(onto.size)
                continue
            u = filled.x + (column - used.x) * filled.width / used.width
            v = filled.y + (row - used.y) * filled.height / used.height
            i = math.floor(v * onto.rows.cells / model_h), math.floor(u * onto.columns.cells / model_w)
            cells.add(i[0] * onto.columns.cells + i[1])
    return cells


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("where", list(POSES))
@pytest.mark.parametrize("lens", list(LENSES))
def test_every_cell_of_the_grid_is_seen_where_a_plain_computation_sees_it(lens: str, where: str, mode: str) -> None:
    camera, nearer_m = camera_with(LENSES[lens]), 0.4
    fit = Fit((480, 640), (128, 256), mode, 0.3, (480, 640))
    onto = fit.class_map((64, 128))
    ground = GroundCamera(camera, POSES[where], height_m=-0.1)
    here = np.empty(GRID.shape, np.int32)
    ground.grid_cells(GRID, onto, out=here)
    x, y = GRID.centres()
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    away = places - ground.foot
    distance = np.hypot(*away.T)[:, None]
    nearer = ground.foot + away * np.maximum(distance - nearer_m, 0) / np.maximum(distance, 1e-9)
    np.testing.assert_allclose(np.stack(ground.nearer(*places.T, nearer_m), -1), nearer, rtol=0, atol=1e-9)
    nearer_cells = ground.cells_at(*nearer.T, onto)
    seen = 0
    for name, points, found in (("here", places, here.ravel()), ("nearer", nearer, nearer_cells)):
        pixels = pixels_by_opencv(camera, POSES[where], points, -0.1)
        for index, pixel in enumerate(pixels):
            expected = {onto.size} if np.isnan(pixel).any() else cells_around(pixel, fit, onto)
            assert found[index] in expected, (name, points[index], pixel)
            seen += found[index] != onto.size
    assert seen > 500


def test_places_and_pixels_are_each_others_inverse() -> None:
    for lens in LENSES.values():
        for where in POSES.values():
            ground = GroundCamera(camera_with(lens), where, height_m=0.3)
            places = np.stack(np.meshgrid(np.linspace(3, 9, 13), np.linspace(-1.5, 1.5, 7)), -1)
            pixels = ground.project(places)
            expected = pixels_by_opencv(ground.camera, where, places.reshape(-1, 2), 0.3).reshape(pixels.shape)
            np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-9)
            known = ~np.isnan(pixels[..., 0])
            assert known.sum() > 60
            np.testing.assert_allclose(ground.ground_at(pixels)[known], places[known], rtol=0, atol=1e-7)


def test_nothing_of_the_ground_is_above_the_horizon() -> None:
    ground = GroundCamera(camera_with(Distortion()), pose(0, 0, 1.5, 0.0, 0.0, 0.0))
    at = ground.ground_at(np.array([[310.5, 236.25], [310.5, 100.0], [310.5, 237.25]]))
    assert np.isnan(at[:2]).all()
    np.testing.assert_allclose(at[2], (1.5 * 415.0, 0.0), atol=1e-6)  # a pixel below the horizon: height times focal


def test_foot_heading_and_height() -> None:
    ground = GroundCamera(camera_with(Distortion()), POSES["tilted"], height_m=-0.25)
    assert ground.foot == (0.5, -0.3) and ground.eye_height_m == pytest.approx(1.45)
    assert ground.heading_rad == pytest.approx(-0.4)
    down = GroundCamera(camera_with(Distortion()), pose(0, 0, 2.0, 0.0, math.pi / 2, 0.7))
    assert down.heading_rad == pytest.approx(0.7)  # looking straight down, the image's upper edge is ahead


@pytest.mark.parametrize(
    ("matrix", "reason", "text"),
    [
        (pose(0, 0, -0.2), "below_ground", "-0.200 m above the ground"),
        (pose(0, 0, math.nan), "bad_pose", "finite numbers"),
        (np.diag([2.0, 2.0, 2.0, 1.0]), "bad_pose", "unit quaternion"),
        (np.diag([1.0, 1.0, -1.0, 1.0]), "bad_pose", "unit quaternion"),
    ],
)
def test_what_is_no_pose_is_refused(matrix: np.ndarray, reason: str, text: str) -> None:
    with pytest.raises(GeometryError, match=text) as caught:
        GroundCamera(camera_with(Distortion()), matrix)
    assert caught.value.reason == reason
