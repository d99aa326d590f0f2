from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the training room needs torch")

from seg_perception.datasets import CAMVID_CLASSES, CamVidItem, camvid_items, open_dataset
from seg_perception.errors import ConfigError, DatasetError
from seg_perception.training.augment import AugmentConfig, augment, paste
from seg_perception.training.config import DataConfig
from seg_perception.training.data import Source, TrainingSet, label_counts, read_source
from seg_perception.training.objects import ObjectBank, scatter
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


def test_scattered_things_bring_their_labels() -> None:
    """White things on black: whatever size, place and light they get, what is bright is the thing, and nothing else."""
    label, at_most = 3, 6
    labels = np.zeros((120, 160), np.uint8)
    labels[70:90, 20:40], labels[60:100, 90:105] = label, label
    labels[0:3, 0:3] = label  # too small to be one
    labels[10:118, 150:158] = label  # as tall as the frame
    image = np.repeat((labels == label)[..., None] * np.uint8(255), 3, 2)
    bank = ObjectBank([image], [labels], [1, label])
    assert {which: len(things) for which, things in bank.by_label.items()} == {label: 2}
    empty, nothing = np.zeros_like(image), np.zeros_like(labels)
    areas = []
    for seed in range(60):
        laid, marks, covered = scatter(np.random.default_rng(seed), bank, empty, nothing, at_most)
        assert not empty.any() and not nothing.any()
        assert set(np.unique(marks)) <= {0, label}
        bright = laid.max(2)
        assert not bright[~covered].any() and not marks[~covered].any()
        assert bright[marks == label].min(initial=255) > 0.5 * 0.6 * 255 - 2
        assert bright[(marks == 0) & covered].max(initial=0) <= 0.5 * 1.4 * 255 + 2
        areas.append((marks == label).sum())
        if areas[-1]:
            assert label in marks[covered]
    assert min(areas) < 20 * 20 < 2 * 40 * 15 < max(areas)  # smaller than the smaller, larger than both


def test_a_bicycle_stands_without_its_rider_at_times() -> None:
    """The rider is white, the bicycle grey: half of what is laid out has no white, and none has a rider alone."""
    labels = np.zeros((120, 160), np.uint8)
    labels[40:80, 50:70] = 5
    image = np.repeat((labels == 5)[..., None] * np.uint8(255), 3, 2)
    image[58:80, 50:70] //= 2
    empty = np.zeros_like(image)

    def with_rider(ridden: list[int]) -> np.ndarray:
        bank = ObjectBank([image], [labels], [5], ridden)
        found = []
        for seed in range(200):
            laid, marks, _ = scatter(np.random.default_rng(seed), bank, empty, np.zeros_like(labels), 1)
            rows, columns = np.nonzero(marks == 5)
            if len(rows) > 100 and rows.min() > 1 and columns.min() > 1 and columns.max() < 158:
                column = laid[rows.min() : rows.max() + 1, int(np.median(columns))].max(1).astype(float)
                found.append(column[: len(column) // 4].max() > 1.4 * column[-len(column) // 4 :].mean())
        return np.array(found)

    assert with_rider([]).mean() > 0.95
    assert 0.3 < with_rider([5]).mean() < 0.7 and len(with_rider([5])) > 50


def test_what_is_scattered_is_hidden_from_the_teachers(folder) -> None:
    names = ("building", "car")
    frames = [np.zeros((120, 160, 3), np.uint8)], [np.zeros((120, 160), np.uint8)]
    frames[1][0][60:90, 30:80] = 1
    source = Source("street", 1, names, ((2,), (13,)), *frames)
    config = replace(PLAIN, scatter_chance=1.0)
    batch = TrainingSet([source], (128, 256), 4, 2, 0, config).batch(0)
    assert batch.untaught.shape == (4, 96, 128) and batch.untaught.any((1, 2)).sum() >= 3
    plain = TrainingSet([source], (128, 256), 4, 2, 0, PLAIN).batch(0)
    assert not plain.untaught.any() and batch.counts[:, 1].sum() > plain.counts[:, 1].sum()
    no_things = replace(source, classes=("building", "road"))
    assert not TrainingSet([no_things], (128, 256), 4, 2, 0, config).batch(0).untaught.any()


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
    frames = [frame for step in range(10) for _, frame in training_set(folder)._order.at(step)]
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


def test_a_source_that_would_never_be_shown_is_refused(folder) -> None:
    streets = simulated_source(DataConfig(dataset="simulated", frames=1), lambda line: None)
    with pytest.raises(ConfigError, match="no place for simulated with a share of 1 in 101"):
        TrainingSet([read_source(open_dataset(folder, "train"), 100), streets], (128, 256), 4, 2, 0)


def test_an_error_in_the_loader_reaches_the_trainer(folder) -> None:
    broken = training_set(folder)
    broken.sources[0].images[2] = None
    with pytest.raises((TypeError, AttributeError, cv2.error)):
        list(broken.batches(0, 5))
