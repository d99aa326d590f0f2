import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training room needs torch")

from seg_perception.datasets import CAMVID_CLASSES, CamVidItem, camvid_items, open_dataset
from seg_perception.errors import ConfigError, DatasetError
from seg_perception.training.augment import AugmentConfig, augment, paste
from seg_perception.training.config import DataConfig
from seg_perception.training.data import TrainingSet, label_counts, read_source
from seg_perception.training.sources import select, simulated_source

PLAIN = AugmentConfig(
    brightness=0, contrast=0, saturation=0, tint=0, hue_deg=0, gamma=(1, 1), shade_chance=0, blur_chance=0,
    noise_chance=0, jpeg_chance=0, zoom=(0.9, 1.9), paste_chance=0,
)  # fmt: skip


def training_set(folder, seed: int = 0, batch: int = 2, **kwargs) -> TrainingSet:
    return TrainingSet([read_source(open_dataset(folder, "train"), 1)], (128, 256), batch, 2, seed, **kwargs)


def spelled_rightly(view: np.ndarray, labels: np.ndarray) -> float:
    """The tiny frames spell their labels in red: the share of inner pixels where that still holds."""
    known = labels != 255
    inner = cv2.erode((np.abs(cv2.Laplacian(view[..., 0], cv2.CV_16S)) < 2).astype(np.uint8), np.ones((9, 9)))
    judged = known & (inner == 1)
    return float((np.abs(view[..., 0][judged].astype(int) - labels[judged].astype(int) * 20) <= 2).mean())


def test_items_are_read_as_rgb_with_void(folder) -> None:
    items = camvid_items(folder, "train")
    assert [item.name for item in items] == [f"drive_{i:03}" for i in range(5)]
    image, labels = items[0].read_image(), items[0].read_labels()
    known = labels != 255
    assert (image[..., 0][known] == labels[known] * 20).all() and (image[..., 0][~known] == 220).all()
    assert set(np.unique(labels)) <= {*range(11), 255}


def test_missing_and_corrupt_files_are_named(folder) -> None:
    with pytest.raises(DatasetError, match="no PNG images"):
        camvid_items(folder, "test")
    (folder / "trainannot" / "drive_003.png").unlink()
    with pytest.raises(DatasetError, match="1 of 5 images .* drive_003"):
        camvid_items(folder, "train")
    bad = folder / "bad.png"
    bad.write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match="bad.png"):
        CamVidItem(bad, bad).read_image()
    with pytest.raises(DatasetError, match="bad.png"):
        CamVidItem(bad, bad).read_labels()


@pytest.mark.parametrize("cut", ["train", "trainannot"])
def test_a_truncated_image_is_named(folder, cut) -> None:
    path = folder / cut / "drive_002.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DatasetError, match="drive_002.png"):
        read_source(open_dataset(folder, "train"), 1)


def test_frames_are_chosen_by_the_beginning_of_their_names(folder) -> None:
    dataset = open_dataset(folder, "train")
    assert [item.name for item in select(dataset, ["drive_00"], ["drive_003", "drive_001"]).items] == [
        "drive_000", "drive_002", "drive_004",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="leave none of its 5 frames"):
        select(dataset, ["other"], [])


def test_labels_stay_on_their_pixels(folder) -> None:
    """The picture spells its labels, so a view whose colours are left alone must still do so."""
    item = camvid_items(folder, "train")[0]
    agreements = []
    for seed in range(20):
        view, labels, _ = augment(
            np.random.default_rng(seed), item.read_image(), item.read_labels(), (128, 256), PLAIN, rare=(3, 5)
        )
        assert view.shape == (128, 256, 3) and labels.shape == (128, 256)
        agreements.append(spelled_rightly(view, labels))
    assert min(agreements) > 0.999


def test_pasted_pieces_bring_their_labels(folder) -> None:
    config = AugmentConfig(**{**PLAIN.__dict__, "paste_chance": 1.0})
    with_pieces = training_set(folder, batch=5, augment=config)
    batch = with_pieces.batch(0)
    assert (batch.pasted >= 0).sum() >= 3 and batch.paste_masks[batch.pasted >= 0].any((1, 2)).all()
    assert not batch.paste_masks[batch.pasted < 0].any()
    majority = batch.counts.argmax(1).repeat(2, 1).repeat(2, 2).astype(np.uint8)
    majority[batch.counts.sum(1).repeat(2, 1).repeat(2, 2) < 4] = 255
    for view, labels in zip(batch.images, majority):
        assert spelled_rightly(view, labels) > 0.99


def test_a_class_is_pasted_whole_or_not_at_all() -> None:
    other = np.random.default_rng(0).integers(0, 6, (20, 30)).astype(np.uint8)
    seen = set()
    for seed in range(30):
        mask = paste(np.random.default_rng(seed), other * 0, other, (2, 4))
        if mask is None:
            seen.add(())
            continue
        classes = tuple(c for c in range(6) if mask[other == c].any())
        assert all(mask[other == c].all() for c in classes)
        seen.add(classes)
    assert seen == {(), (2,), (4,), (2, 4)}


def test_crops_are_chosen_for_rare_classes() -> None:
    labels = np.zeros((360, 480), np.uint8)
    labels[100:106, 60:66] = 9
    image = np.zeros((360, 480, 3), np.uint8)
    shown = {}
    for chance in (0.0, 1.0):
        config = AugmentConfig(**{**PLAIN.__dict__, "rare_chance": chance, "zoom": (2.5, 3.0)})
        views = (augment(np.random.default_rng(s), image, labels, (256, 512), config, (9,)) for s in range(60))
        shown[chance] = sum((marks == 9).any() for _, marks, _ in views)
    assert shown[1.0] == 60 and shown[0.0] < 40


def test_counts_against_a_loop() -> None:
    labels = np.random.default_rng(1).choice([0, 3, 10, 255], (16, 24)).astype(np.uint8)
    counts = label_counts(labels, 4, len(CAMVID_CLASSES))
    for c in range(11):
        for y in range(4):
            for x in range(6):
                cell = labels[4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                assert counts[c, y, x] == sum(int(v) == c for v in cell.flat)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_batch_depends_on_seed_and_step_alone(folder, workers) -> None:
    straight = list(training_set(folder, 7).batches(0, 6))
    for one, other in zip(straight[3:], training_set(folder, 7).batches(3, 6, workers)):
        for name, array in vars(one).items():
            np.testing.assert_array_equal(array, getattr(other, name), err_msg=name)
    assert not np.array_equal(straight[0].images, training_set(folder, 8).batch(0).images)


def test_every_epoch_shows_every_frame_once(folder) -> None:
    frames = [frame for step in range(10) for _, frame in training_set(folder)._indices(step)]
    for epoch in range(4):
        assert sorted(frames[5 * epoch : 5 * epoch + 5]) == list(range(5))


def test_simulated_streets_join_with_labels_of_their_own(folder) -> None:
    streets = simulated_source(DataConfig(dataset="simulated", frames=3, share=1), lambda line: None)
    mixed = TrainingSet([read_source(open_dataset(folder, "train"), 3), streets], (128, 256), 4, 2, 0)
    batch = mixed.batch(0)
    assert len(mixed.groups) == 11 + 19 and mixed.steps_per_epoch == pytest.approx(5 / 3)
    assert [frame >= 5 for frame in batch.frames] == [False, False, False, True]
    assert batch.counts[:3, 11:].sum() == 0 and batch.counts[3, :11].sum() == 0
    assert batch.counts[3, 11 + 0].sum() > 0  # road
    assert mixed.images[5] is streets.images[0]


def test_an_error_in_the_loader_reaches_the_trainer(folder) -> None:
    broken = training_set(folder)
    broken.sources[0].images[2] = None
    with pytest.raises((TypeError, AttributeError, cv2.error)):
        list(broken.batches(0, 5))
