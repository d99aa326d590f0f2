"""Lenses that distort: their pictures against rays bent by the models' own formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lens_models import distorted, undistorted
from ray_casting import ray_cast

from seg_perception.errors import ConfigError
from seg_perception.simulate import DISTORTIONS, Lens, PinholeCamera, StreetScene

BENT = [model for model in DISTORTIONS if model != "none"]


@pytest.mark.parametrize("model", BENT)
def test_ids_are_those_that_bent_rays_meet(model: str) -> None:
    scene = StreetScene(seed=1, width_px=240, height_px=180, distortion_model=model, camera_roll_rad=0.1)
    frame = scene.frame(41, shaded=False)
    rng = np.random.default_rng(5)
    rows, columns = rng.integers(0, 180, 500), rng.integers(0, 240, 500)
    pose, view = frame.world_from_base @ frame.base_from_optical, scene.lens.view
    snapshot = scene.world.at((frame.stamp_ns - scene.stamp_ns(0)) / 1e9, float(pose[0, 3]))

    def met(own: np.ndarray, right: float, down: float) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.stack([columns[own] + right, rows[own] + down], axis=-1)
        flat = undistorted(pixels, frame.camera.k, model, frame.camera.d)
        # Cards have more detail the denser the picture they are drawn in: it is asked for that picture's.
        return ray_cast(snapshot, view.k, pose, *(flat * view.fx + (view.cx, view.cy)).T)

    classes, instances = met(np.arange(500), 0.0, 0.0)
    seen = frame.class_ids[rows, columns]
    wrong = np.flatnonzero((seen != classes) | (frame.instance_ids[rows, columns] != instances))
    assert len(wrong) < 25 and len(set(classes.tolist())) >= 5
    close = [met(wrong, right, down)[0] for right in (-0.25, 0.25) for down in (-0.25, 0.25)]
    elsewhere = ~np.array([ids == seen[wrong] for ids in close]).any(axis=0)
    # What is smaller than a quarter of a pixel can be missed by all four.
    assert elsewhere.sum() <= 2


@pytest.mark.parametrize("model", BENT)
def test_the_calibration_says_what_bends(model: str) -> None:
    scene = StreetScene(width_px=64, height_px=48, focal_px=50.0, distortion_model=model)
    info = scene.frame(0, shaded=False).camera
    assert (info.distortion_model, info.d) == (model, DISTORTIONS[model])
    assert len(info.d) == {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}[model]
    assert info.k == (50.0, 0, 31.5, 0, 50.0, 23.5, 0, 0, 1)


@pytest.mark.parametrize("model", DISTORTIONS)
def test_what_is_on_the_image_is_decided_at_the_outer_edges_of_its_pixels(model: str) -> None:
    camera = PinholeCamera.of_size(320, 200, 260.0)
    lens = Lens(camera, model)
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(-0.8, 0.8, (4000, 2)), np.ones(4000)]) * rng.uniform(0.5, 60, (4000, 1))
    pixels = distorted(points, camera.camera_info().k, model, lens.coefficients)
    expected = (pixels >= -0.5).all(axis=1) & (pixels < (319.5, 199.5)).all(axis=1)
    assert 0.2 < expected.mean() < 0.9
    np.testing.assert_array_equal(lens.sees(points), expected)
    assert not lens.sees(-points).any()


@pytest.mark.parametrize("model", BENT)
def test_colours_are_where_the_classes_are(model: str) -> None:
    frame = StreetScene(seed=2, width_px=320, height_px=240, distortion_model=model).frame(20)
    assert frame.rgb.shape == (240, 320, 3) and frame.rgb.dtype == np.uint8
    sky, road = (frame.rgb[frame.class_ids == i].mean(axis=0) for i in (10, 0))
    assert sky[2] > sky[0] and sky.mean() > 150 and 50 < road.mean() < 130


def test_a_polynomial_that_turns_back_brings_nothing_into_the_image() -> None:
    """Far outside, k1 = -0.28 alone bends rays back to the middle: they are still not on the image."""
    lens = Lens(PinholeCamera.of_size(320, 200, 400.0), "plumb_bob", (-0.28, 0, 0, 0, 0))
    far = np.array([[np.sqrt(1 / 0.28), 0.0, 1.0]])
    assert (
        np.abs(distorted(far, (400, 0, 159.5, 0, 400, 99.5), "plumb_bob", lens.coefficients) - [159.5, 99.5]).max() < 1
    )
    assert not lens.sees(far).any()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"distortion_model": "brown"}, r"distortion_model must be one of none, plumb_bob, .* got 'brown'"),
        ({"distortion": (0.1,)}, r"without distortion has no coefficients, got \(0.1,\); give the model"),
        (
            {"distortion_model": "plumb_bob", "distortion": (0.1,) * 4},
            r"must be 5 finite numbers \(k1, k2, p1, p2, k3\), got \(0.1, 0.1, 0.1, 0.1\)",
        ),
        (
            {"distortion_model": "equidistant", "distortion": (float("nan"), 0, 0, 0)},
            r"equidistant must be 4 finite numbers",
        ),
        (
            {"distortion_model": "plumb_bob", "distortion": (-2.0, 0, 0, 0, 0)},
            r"distortion .* of plumb_bob (folds the image|cannot be undone).*presets",
        ),
        (
            {"distortion_model": "rational_polynomial", "distortion": (0, 0, 0, 0, 0, 0, 0, -9.0)},
            r"distortion .* of rational_polynomial .*presets",
        ),
        (
            {"distortion_model": "equidistant", "focal_px": 290.0},
            r"needs a picture of \d+ x \d+ pixels without distortion, which is more than can be drawn.*longer focal",
        ),
        ({"distortion_model": "equidistant", "focal_px": 100.0}, r"distortion .* of equidistant .*longer focal"),
    ],
)
def test_lenses_that_cannot_be_drawn_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        StreetScene(**arguments)
