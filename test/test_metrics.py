import numpy as np
import pytest

from seg_perception.datasets import CAMVID_CLASSES, CAMVID_OF_CITYSCAPES
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import confusion_matrix, iou_per_class, mean_iou


def test_against_sets_of_pixels() -> None:
    """IoU by its definition, class by class, with Python sets."""
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 2, 4, 255], (40, 50)).astype(np.uint8)
    predicted = rng.choice([0, 1, 2, 3, 255], (40, 50)).astype(np.uint8)
    expected = []
    pixels = [(int(t), int(p), i) for i, (t, p) in enumerate(zip(truth.flat, predicted.flat)) if t != 255]
    for c in range(5):
        true = {i for t, _, i in pixels if t == c}
        found = {i for _, p, i in pixels if p == c}
        expected.append(len(true & found) / len(true | found) if true | found else float("nan"))
    confusion = confusion_matrix(truth, predicted, 5)
    assert confusion.sum() == len(pixels)
    np.testing.assert_allclose(iou_per_class(confusion), expected, rtol=1e-12)
    assert mean_iou(confusion) == pytest.approx(np.mean(expected), rel=1e-12)


def test_a_class_that_never_occurs_does_not_count() -> None:
    truth = np.array([[0, 0, 1]], np.uint8)
    assert np.isnan(iou_per_class(confusion_matrix(truth, truth, 3))[2])
    assert mean_iou(confusion_matrix(truth, truth, 3)) == 1.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
    with pytest.raises(ValueError, match="truth holds id 7"):
        confusion_matrix(np.full((2, 2), 7, np.uint8), np.zeros((2, 2), np.uint8), 2)


def test_camvid_covers_every_cityscapes_class() -> None:
    assert (CAMVID_OF_CITYSCAPES[: len(CITYSCAPES)] < len(CAMVID_CLASSES)).all()
    assert set(CAMVID_OF_CITYSCAPES[: len(CITYSCAPES)]) == set(range(len(CAMVID_CLASSES)))
    assert (CAMVID_OF_CITYSCAPES[len(CITYSCAPES) :] == 255).all()
    assert CAMVID_CLASSES[CAMVID_OF_CITYSCAPES[CITYSCAPES.id_of("bus")]] == "car"
