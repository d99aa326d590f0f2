import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training room needs torch")

from seg_perception.datasets import CAMVID_CLASSES, CamVidItem, camvid_items
from seg_perception.errors import BagError
from seg_perception.training.data import AugmentConfig, TrainingSet, augment, label_counts


def test_items_are_read_as_rgb_with_void(folder) -> None:
    items = camvid_items(folder, "train")
    assert [item.name for item in items] == [f"drive_{i:03}" for i in range(5)]
    image, labels = items[0].read_image(), items[0].read_labels()
    known = labels != 255
    assert (image[..., 0][known] == labels[known] * 20).all() and (image[..., 0][~known] == 220).all()
    assert set(np.unique(labels)) <= {*range(11), 255}


def test_missing_and_corrupt_files_are_named(folder) -> None:
    with pytest.raises(BagError, match="no PNG images"):
        camvid_items(folder, "test")
    (folder / "trainannot" / "drive_003.png").unlink()
    with pytest.raises(BagError, match="1 of 5 images .* drive_003"):
        camvid_items(folder, "train")
    bad = folder / "bad.png"
    bad.write_bytes(b"rubbish")
    with pytest.raises(BagError, match="bad.png"):
        CamVidItem(bad, bad).read_image()
    with pytest.raises(BagError, match="bad.png"):
        CamVidItem(bad, bad).read_labels()


def test_labels_stay_on_their_pixels(folder) -> None:
    """The picture spells its labels, so a view whose colours are left alone must still do so."""
    item = camvid_items(folder, "train")[0]
    plain = AugmentConfig(
        brightness=0, contrast=0, saturation=0, tint=0, gamma=(1, 1), blur_chance=0, noise_chance=0, zoom=(0.9, 1.9)
    )
    agreements = []
    for seed in range(20):
        view, labels = augment(np.random.default_rng(seed), item.read_image(), item.read_labels(), (128, 256), plain)
        assert view.shape == (128, 256, 3) and labels.shape == (128, 256)
        known = labels != 255
        inner = cv2.erode((np.abs(cv2.Laplacian(view[..., 0], cv2.CV_16S)) < 2).astype(np.uint8), np.ones((9, 9)))
        judged = known & (inner == 1)
        agreements.append((np.abs(view[..., 0][judged].astype(int) - labels[judged].astype(int) * 20) <= 2).mean())
    assert min(agreements) > 0.999


def test_counts_against_a_loop() -> None:
    labels = np.random.default_rng(1).choice([0, 3, 10, 255], (16, 24)).astype(np.uint8)
    counts = label_counts(labels, 4, len(CAMVID_CLASSES))
    for c in range(11):
        for y in range(4):
            for x in range(6):
                cell = labels[4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                assert counts[c, y, x] == sum(int(v) == c for v in cell.flat)


def test_a_batch_depends_on_seed_and_step_alone(folder) -> None:
    first = TrainingSet(camvid_items(folder, "train"), (128, 256), 2, 4, seed=7)
    again = TrainingSet(camvid_items(folder, "train"), (128, 256), 2, 4, seed=7)
    straight = list(first.batches(0, 6))
    for (images, counts), (other_images, other_counts) in zip(straight[3:], again.batches(3, 6)):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(counts, other_counts)
    other = TrainingSet(camvid_items(folder, "train"), (128, 256), 2, 4, seed=8).batch(0)
    assert not np.array_equal(straight[0][0], other[0])


def test_every_epoch_shows_every_frame_once(folder) -> None:
    training_set = TrainingSet(camvid_items(folder, "train"), (128, 256), 2, 4, seed=0)
    shown = np.concatenate([training_set._indices(step) for step in range(10)])
    for epoch in range(4):
        assert sorted(shown[5 * epoch : 5 * epoch + 5]) == list(range(5))


def test_an_error_in_the_loader_reaches_the_trainer(folder) -> None:
    training_set = TrainingSet(camvid_items(folder, "train"), (128, 256), 2, 4, seed=0)
    training_set.images[2] = None
    with pytest.raises((TypeError, AttributeError)):
        list(training_set.batches(0, 5))
