"""Where every pixel goes, against slow arithmetic in exact fractions."""

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest

from seg_perception.fit import PAD_RGB, Fit
from seg_perception.images import DecodedImage
from seg_perception.types import CameraInfo

CAMERAS = [(48, 64), (30, 100), (37, 53), (64, 64)]
MODEL = (32, 64)


def gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


def reference_cell(
    i: int, out: int, camera: int, used0: int, used: int, model: int, filled0: int, filled: int, cells: int
):
    """The model's cell for output pixel i along one axis, or None where the model saw nothing."""
    centre = Fraction(2 * i + 1, 2) * Fraction(camera, out)  # in camera pixels
    if not used0 <= centre < used0 + used:
        return None
    in_model = filled0 + (centre - used0) * Fraction(filled, used)
    return math.floor(in_model * Fraction(cells, model))


@pytest.mark.parametrize("camera_hw", CAMERAS)
@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("anchor", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("output_hw", [None, (24, 32), (96, 100)])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_masks_come_back_where_they_were(camera_hw, mode, anchor, output_hw, stride) -> None:
    output_hw = output_hw or camera_hw
    fit = Fit(camera_hw, MODEL, mode, anchor, output_hw)
    cells = np.arange(MODEL[0] // stride * (MODEL[1] // stride)) % 200
    cells = cells.astype(np.uint8).reshape(MODEL[0] // stride, MODEL[1] // stride)
    got = fit.to_camera(cells)
    used, filled = fit.used, fit.filled
    expected = np.full(output_hw, 255, np.uint8)
    for y in range(output_hw[0]):
        row = reference_cell(
            y, output_hw[0], camera_hw[0], used.y, used.height, MODEL[0], filled.y, filled.height, cells.shape[0]
        )
        for x in range(output_hw[1]):
            column = reference_cell(
                x, output_hw[1], camera_hw[1], used.x, used.width, MODEL[1], filled.x, filled.width, cells.shape[1]
            )
            if row is not None and column is not None:
                expected[y, x] = cells[row, column]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("camera_hw", CAMERAS)
def test_crop_keeps_shape_and_pad_keeps_everything(camera_hw) -> None:
    crop = Fit(camera_hw, MODEL, "crop", 0.5, camera_hw)
    aspect = MODEL[1] / MODEL[0]
    assert abs(crop.used.width - crop.used.height * aspect) <= aspect  # within one row
    assert crop.used.height == camera_hw[0] or crop.used.width == camera_hw[1]
    pad = Fit(camera_hw, MODEL, "pad", 0.5, camera_hw)
    assert (pad.used.width, pad.used.height) == camera_hw[::-1]
    assert abs(pad.filled.width * camera_hw[0] - pad.filled.height * camera_hw[1]) <= max(camera_hw)
    assert not (pad.to_camera(np.zeros((8, 16), np.uint8)) == 255).any()


def test_the_anchor_chooses_what_crop_keeps() -> None:
    picture = gradient(48, 64)
    for anchor, rows in ((0.0, slice(0, 32)), (0.5, slice(8, 40)), (1.0, slice(16, 48))):
        fit = Fit((48, 64), MODEL, "crop", anchor, (48, 64))
        np.testing.assert_array_equal(fit.to_model(DecodedImage(picture, "rgb")), picture[rows])
        mask = fit.to_camera(np.zeros(MODEL, np.uint8))
        assert (mask[rows] == 0).all() and (mask == 255).sum() == 16 * 64


def test_pad_puts_the_picture_in_the_middle_of_the_mean_colour() -> None:
    picture = np.full((64, 64, 3), 7, np.uint8)
    tensor = Fit((64, 64), MODEL, "pad", 0.5, (64, 64)).to_model(DecodedImage(picture, "rgb"))
    assert (tensor[:, 16:48] == 7).all()
    assert (tensor[:, :16] == PAD_RGB).all() and (tensor[:, 48:] == PAD_RGB).all()


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_stretch_is_opencvs_bilinear_in_rgb(order) -> None:
    picture = gradient(48, 80)
    source = picture if order == "rgb" else np.ascontiguousarray(picture[..., ::-1])
    tensor = Fit((48, 80), MODEL, "stretch", 0.5, (48, 80)).to_model(DecodedImage(source, order))
    np.testing.assert_array_equal(tensor, cv2.resize(picture, (64, 32), interpolation=cv2.INTER_LINEAR))
    assert tensor.flags.c_contiguous and tensor.dtype == np.uint8


def test_large_pictures_are_averaged_not_skipped() -> None:
    """Single bright columns between black ones: bilinear sampling at 1/8 would see all of them or none."""
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[:, ::8] = 240
    tensor = Fit((256, 512), MODEL, "stretch", 0.5, (256, 512)).to_model(DecodedImage(picture, "rgb"))
    assert (tensor == 30).all()


def test_a_backend_without_input_covers_the_whole_image() -> None:
    fit = Fit((48, 64), None, "crop", 0.5, (48, 64))
    assert fit.to_model(DecodedImage(gradient(48, 64), "rgb")) is None
    mask = np.random.default_rng(0).integers(0, 19, (48, 64)).astype(np.uint8)
    np.testing.assert_array_equal(fit.to_camera(mask), mask)


def test_camera_info_only_when_sizes_differ() -> None:
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    info = CameraInfo(48, 64, "plumb_bob", (), identity, identity, (*identity, 0.0, 0.0, 0.0))
    assert Fit((48, 64), MODEL, "stretch", 0.5, (48, 64)).scaled_camera(info) is None
    scaled = Fit((48, 64), MODEL, "stretch", 0.5, (24, 32)).scaled_camera(info)
    assert (scaled.height, scaled.width) == (24, 32)
    assert Fit((48, 64), MODEL, "stretch", 0.5, (24, 32)).scaled_camera(None) is None


SIZES = [((480, 640), (128, 256)), ((97, 61), (32, 64)), ((20, 24), (64, 128))]


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("camera_hw", "cells_hw"), SIZES)
def test_a_box_is_just_around_the_pixels_that_show_its_cells(
    mode: str, camera_hw: tuple[int, int], cells_hw: tuple[int, int]
) -> None:
    fit = Fit(camera_hw, (256, 512), mode, 0.5, camera_hw)
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(60):
        (x0, x1), (y0, y1) = (sorted(rng.choice(n + 1, 2, replace=False)) for n in cells_hw[::-1])
        cells = np.zeros(cells_hw, np.uint8)
        cells[y0:y1, x0:x1] = 1
        (box,) = fit.boxes_px(np.array([[x0, y0, x1, y1]]), cells_hw)
        assert (box[2:] >= box[:2]).all()
        assert (box >= -0.5).all() and (box <= [camera_hw[1] - 0.5, camera_hw[0] - 0.5] * 2).all()
        rows, columns = np.nonzero(fit.at_camera_size(cells, outside=0))
        if len(rows):
            compared += 1
            expected = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
            np.testing.assert_array_equal(box, expected)
    assert compared > 20


def test_margins_are_void_and_nothing_else() -> None:
    ids = np.random.default_rng(1).integers(0, 19, (128, 256)).astype(np.uint8)
    whole = Fit((480, 640), (256, 512), "stretch", 0.5, (480, 640))
    assert whole.without_margins(ids) is ids
    padded = Fit((480, 640), (256, 512), "pad", 0.5, (480, 640))
    cut = padded.without_margins(ids)
    seen = np.unique(padded.at_camera_size(np.arange(ids.size).reshape(ids.shape), outside=-1))
    inside = np.isin(np.arange(ids.size).reshape(ids.shape), seen)
    np.testing.assert_array_equal(cut[inside], ids[inside])
    assert (cut[~inside] == 255).mean() > 0.95 and (~inside).mean() > 0.3
