from __future__ import annotations

import numpy as np
import plain_measures as plain
import pytest

from seg_perception.evaluation.boundary import BoundaryCounts, band_of, band_width_px


def blobs(seed: int, shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.choice([0, 1, 2, 255], (shape[0] // 5 + 1, shape[1] // 7 + 1)), np.ones((5, 7), int))
    return ids[: shape[0], : shape[1]].astype(np.uint8)


@pytest.mark.parametrize("width_px", [1, 2, 5])
def test_the_band_is_the_mask_without_its_erosion(width_px: int) -> None:
    ids = blobs(0, (33, 41))
    band = band_of(ids, width_px)
    for class_id in (0, 1, 2):
        np.testing.assert_array_equal(band & (ids == class_id), plain.boundary(ids == class_id, width_px))


def test_against_loops_over_frames_of_two_sizes() -> None:
    pairs = [(blobs(i, shape), blobs(i + 9, shape)) for i, shape in enumerate([(30, 40), (30, 40), (62, 81)])]
    counts = BoundaryCounts(4)
    for truth, predicted in pairs:
        counts.add(truth, predicted)
    expected = [plain.boundary_iou(pairs, class_id) for class_id in range(4)]
    np.testing.assert_allclose(counts.iou_per_class(), expected, rtol=1e-12)
    assert np.isnan(expected[3]) and 0 < expected[0] < 1


def test_a_square_that_is_one_pixel_larger() -> None:
    """Rings 3 pixels wide of squares of 40 and 42: 40² - 36² shared, 40² - 34² and 42² - 36² in all."""
    truth, predicted = np.zeros((2, 100, 100), np.uint8)
    truth[30:70, 30:70] = predicted[29:71, 29:71] = 1
    assert band_width_px((100, 100)) == 3
    counts = BoundaryCounts(2)
    counts.add(truth, predicted)
    assert (counts.hits[1], counts.truth[1], counts.predicted[1]) == (304, 444, 468)
    assert counts.iou_per_class()[1] == 0.5


def test_band_widths() -> None:
    assert band_width_px((360, 480)) == 12 and band_width_px((1024, 2048)) == 46 and band_width_px((3, 4)) == 1


def test_void_is_an_edge_for_both() -> None:
    """A prediction that goes on under void, where there is nothing to say, is as good as one that stops there."""
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 255
    counts = BoundaryCounts(1)
    counts.add(truth, np.zeros_like(truth))
    assert counts.iou_per_class()[0] == 1.0


def test_a_prediction_that_is_no_class() -> None:
    counts = BoundaryCounts(2)
    counts.add(np.zeros((10, 10), np.uint8), np.full((10, 10), 255, np.uint8))
    assert counts.hits.sum() == 0 and counts.predicted.sum() == 0 and counts.truth[0] == 36
