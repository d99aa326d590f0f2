"""Pixels, rays and lenses against OpenCV's own calibration functions."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from seg_perception.errors import GeometryError
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.distortion import Distortion
from seg_perception.types import CameraInfo, RegionOfInterest

K = (420.0, 0.0, 310.5, 0.0, 415.0, 236.25, 0.0, 0.0, 1.0)
P = (400.0, 0.0, 320.0, 0.0, 0.0, 400.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0)
LENSES = {
    "": (),
    "plumb_bob": (-0.31, 0.12, 0.0011, -0.0007, -0.02),
    "rational_polynomial": (2.1, 1.2, 0.0005, -0.0003, 0.05, 2.4, 1.7, 0.3),
    "equidistant": (0.021, -0.012, 0.004, -0.001),
}


def info(model: str = "", **changes: object) -> CameraInfo:
    full = CameraInfo(480, 640, model, LENSES[model], K, tuple(np.eye(3).ravel()), P)
    return replace(full, **changes)


def seen_by_opencv(model: str, points: np.ndarray) -> np.ndarray:
    """Pixels [N, 2] of optical points [N, 3]."""
    k, d, none = np.array(K).reshape(3, 3), np.array(LENSES[model]), np.zeros(3)
    if model == "equidistant":
        return cv2.fisheye.projectPoints(points[None], none, none, k, d)[0].reshape(-1, 2)
    return cv2.projectPoints(points, none, none, k, d if len(d) else None)[0].reshape(-1, 2)


@pytest.fixture(params=list(LENSES))
def model(request: pytest.FixtureRequest) -> str:
    return request.param


def test_points_are_seen_where_opencv_sees_them(model: str) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform((-0.9, -0.6, 1.0), (0.9, 0.6, 1.0), (500, 3)) * rng.uniform(0.5, 50, (500, 1))
    camera = CameraModel.of(info(model), (480, 640))
    np.testing.assert_allclose(camera.project(points), seen_by_opencv(model, points), rtol=0, atol=1e-9)


def test_the_ray_of_a_pixel_is_seen_at_that_pixel(model: str) -> None:
    camera = CameraModel.of(info(model), (480, 640))
    pixels = np.stack(np.meshgrid(np.arange(0, 640, 7.3), np.arange(0, 480, 6.1)), -1)
    rays = camera.rays(pixels)
    assert rays.shape == (*pixels.shape[:-1], 3) and np.isfinite(rays).all()
    there = seen_by_opencv(model, rays.reshape(-1, 3)).reshape(pixels.shape)
    np.testing.assert_allclose(there, pixels, rtol=0, atol=1e-7)


def test_nothing_is_seen_behind_the_camera_or_beyond_the_fold() -> None:
    camera = CameraModel.of(info("plumb_bob"), (480, 640))
    assert np.isnan(camera.project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))).all()
    # k1 < 0: r + k1 r³ + … turns back, and what lies further out would seem to be in the picture again.
    assert math.isfinite(camera.lens.largest)
    beyond = np.array([camera.lens.largest * 1.01, 0.0, 1.0])
    assert np.isnan(camera.project(beyond)).all()
    turned_back = Distortion.of("plumb_bob", (-0.3,))
    assert turned_back.largest == pytest.approx(math.sqrt(1 / 0.9), rel=2e-2)  # 1 + 3 k1 r² = 0
    # A pixel that no ray reaches.
    assert np.isnan(CameraModel(640, 480, 100, 100, 320, 240, turned_back).rays(np.array([639.0, 240.0]))).all()


def test_region_binning_and_scale_are_resolved() -> None:
    """A cropped and binned picture shows the same ray at (pixel − offset) / binning."""
    whole = CameraModel.of(info("plumb_bob"), (480, 640))
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=300)
    part = info("plumb_bob", binning_x=2, binning_y=2, roi=roi)
    small = CameraModel.of(part, (150, 200))
    rays = whole.rays(np.array([[100.0, 40.0], [299.0, 201.0], [499.0, 339.0]]))
    # image_geometry's rule, which has the first pixel's centre stay where it is: offset, then divide.
    expected = (whole.project(rays) - (100, 40)) / 2
    np.testing.assert_allclose(small.project(rays), expected, rtol=0, atol=1e-9)
    half = CameraModel.of(info("plumb_bob"), (240, 320))
    np.testing.assert_allclose(half.project(rays), (whole.project(rays) + 0.5) / 2 - 0.5, rtol=0, atol=1e-9)


def test_a_rectified_image_has_no_distortion_and_uses_p() -> None:
    camera = CameraModel.of(info("plumb_bob"), (480, 640), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (400.0, 400.0, 320.0, 240.0) and camera.lens.is_ideal


def test_zeros_are_an_ideal_lens_but_not_for_a_fisheye() -> None:
    assert Distortion.of("plumb_bob", (0.0,) * 5).is_ideal and Distortion.of("", ()).is_ideal
    x, y = Distortion.of("equidistant", (0.0,) * 4).apply(np.array([1.0]), np.array([0.0]))
    np.testing.assert_allclose((x[0], y[0]), (math.pi / 4, 0.0), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"k": (0.0, *K[1:])}, "focal lengths in K must be positive, got fx = 0"),
        ({"k": (-420.0, *K[1:])}, "focal lengths in K must be positive, got fx = -420"),
        ({"k": (math.nan, *K[1:])}, "K must be finite"),
        ({"d": (math.nan,) * 5}, "distortion coefficients must be finite"),
        ({"d": (0.1,) * 9}, "plumb_bob has 5 distortion coefficients, got 9"),
        ({"distortion_model": "thin_prism"}, "'thin_prism' is not known; expected one of plumb_bob"),
        ({"distortion_model": ""}, "no distortion_model to use them"),
        ({"k": (420.0, 3.0, *K[2:])}, "skew of 3"),
        ({"width": 0}, "width and height must be above 0, got 0x480"),
    ],
)
def test_what_is_no_calibration_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(GeometryError, match=text) as caught:
        CameraModel.of(info("plumb_bob", **changes), (480, 640))
    assert caught.value.reason == "bad_calibration"
