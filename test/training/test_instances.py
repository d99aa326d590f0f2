"""The branch for instances: its targets, its losses, its run, and a frozen network that stays frozen."""

from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs torch")
pytest.importorskip("onnx", reason="exporting needs onnx")

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.cli import main
from seg_perception.datasets.composites import UNKNOWN, InstanceFrame, ThingBank
from seg_perception.errors import ConfigError, TrainingError
from seg_perception.labels import CITYSCAPES
from seg_perception.training.checkpoint import backbone_of_run, load_checkpoint, network_of_run, save_checkpoint
from seg_perception.training.config import TrainConfig, train_config, with_steps
from seg_perception.training.export import export_run
from seg_perception.training.instances.branch import InstanceNetwork
from seg_perception.training.instances.data import InstanceSet, InstanceSource, targets_of
from seg_perception.training.instances.judge import heads_quality
from seg_perception.training.instances.learn import InstanceTrainer, answers_of, center_loss, offset_loss, run
from seg_perception.training.models import build

SIZE_HW = (64, 128)
ROAD, CAR, PEDESTRIAN = 3, 8, 9
NETWORK = {"architecture": "esp_pyramid", "width": 0.5, "blocks": [1, 1], "height_px": 64, "width_px": 128}


def plain_targets(instances: np.ndarray, void: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Offsets, whether a centre is known, and weights: cell by cell, as the text says."""
    height, width = (n // size for n in instances.shape)
    at = {}
    for number in np.unique(instances):
        if 0 < number < UNKNOWN:
            rows, columns = np.nonzero(instances == number)
            at[number] = (rows.mean() + 0.5) / size - 0.5, (columns.mean() + 0.5) / size - 0.5
    own = instances[size // 2 :: size, size // 2 :: size]
    unclear = np.zeros((height, width), bool)
    offsets, weights = np.zeros((2, height, width)), np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            cell = np.s_[size * i : size * (i + 1), size * j : size * (j + 1)]
            if (instances[cell] == UNKNOWN).any() or void[cell].any():
                unclear[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = True
            if own[i, j] in at:
                offsets[:, i, j] = at[own[i, j]][0] - i, at[own[i, j]][1] - j
                weights[i, j] = 1 / np.sqrt(np.count_nonzero(own == own[i, j]))
    return offsets, ~unclear | np.isin(own, list(at)), weights


def test_targets_agree_with_a_plain_reference() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        instances = rng.choice([0, 0, 0, 1, 2, 7, UNKNOWN], (8, 16)).astype(np.uint16).repeat(8, 0).repeat(8, 1)
        instances = np.roll(instances, tuple(rng.integers(0, 8, 2)), (0, 1))
        void = np.zeros(SIZE_HW, bool)
        void[rng.integers(0, 64), rng.integers(0, 128)] = True
        targets = targets_of(instances, void, (16, 32))
        offsets, known, weights = plain_targets(instances, void, 4)
        np.testing.assert_allclose(targets.offsets, offsets, atol=1e-5)
        np.testing.assert_array_equal(targets.center_known > 0, known)
        np.testing.assert_allclose(targets.offset_weight, weights, rtol=1e-5)
        assert targets.centers.max() <= 1 and (targets.centers == 1).sum() >= 1


def test_what_is_not_known_gives_no_gradient() -> None:
    instances = np.zeros(SIZE_HW, np.uint16)
    instances[10:40, 20:50], instances[10:40, 80:120] = 1, UNKNOWN
    targets = targets_of(instances, np.zeros(SIZE_HW, bool), (16, 32))
    centers, offsets = torch.randn(1, 16, 32, requires_grad=True), torch.randn(1, 2, 16, 32, requires_grad=True)
    truth = [torch.from_numpy(array)[None] for array in vars(targets).values()]
    (center_loss(centers, truth[0], truth[2]) + offset_loss(offsets, truth[1], truth[3])).backward()
    cells = instances[2::4, 2::4]
    assert not centers.grad[0].numpy()[cells == UNKNOWN].any()
    assert not offsets.grad[0].numpy()[:, cells != 1].any()
    assert centers.grad[0].numpy()[cells == 1].all() and offsets.grad[0].numpy()[:, cells == 1].all()
    empty = torch.zeros(1, 16, 32)
    assert float(offset_loss(torch.ones(1, 2, 16, 32), torch.zeros(1, 2, 16, 32), empty)) == 0
    assert float(center_loss(torch.ones(1, 16, 32), empty, empty)) == 0


def test_the_quality_of_true_heads_is_perfect_and_of_others_is_not() -> None:
    from seg_perception.perception.truth_heads import true_heads

    instances = np.zeros(SIZE_HW, np.uint16)
    instances[10:40, 20:50], instances[10:40, 50:70], instances[50:60, 90:100] = 1, 2, UNKNOWN
    frame = InstanceFrame(np.zeros((*SIZE_HW, 3), np.uint8), np.zeros(SIZE_HW, np.uint8), instances)
    centers, offsets = true_heads(np.where(instances == UNKNOWN, 0, instances), (16, 32))
    on_unknown = centers.copy()
    on_unknown[13, 23] = 1
    for heat in (centers, on_unknown):
        figures = heads_quality(lambda image, heat=heat: (heat, offsets), [frame], SIZE_HW)
        assert figures["offset_error_cells"] < 1e-6
        assert (figures["center_recall"], figures["center_precision"]) == (1, 1)
    wrong = centers.copy()
    wrong[2, 2] = 1
    figures = heads_quality(lambda image: (wrong, offsets + np.float32(1)), [frame], SIZE_HW)
    assert figures["offset_error_cells"] == pytest.approx(np.sqrt(2), rel=1e-5)
    assert figures["center_precision"] == pytest.approx(2 / 3)
    figures = heads_quality(lambda image: (centers * 0, offsets), [frame], SIZE_HW)
    assert figures["center_recall"] == 0 and np.isnan(figures["center_precision"])


@pytest.fixture
def backbone(tmp_path) -> Path:
    """A run's folder with a network that nobody has trained."""
    torch.manual_seed(1)
    config = train_config({"network": NETWORK, "distill": {"teachers": [{"model": "nobody"}]}})
    network = build("esp_pyramid", len(CITYSCAPES), **config.network.options)
    with torch.no_grad():
        for _ in range(3):  # so that the batch statistics are some
            network.train()(torch.rand(2, 3, *SIZE_HW) * 255)
    folder = tmp_path / "backbone"
    folder.mkdir()
    save_checkpoint(folder / "last.pt", {"config": asdict(config), "step": 5, "averaged": network.state_dict()})
    return folder


def picture(seed: int) -> InstanceFrame:
    """Two touching cars and a person, each in a colour of its own."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 90, (*SIZE_HW, 3)).astype(np.uint8)
    labels, instances = np.full(SIZE_HW, ROAD, np.uint8), np.zeros(SIZE_HW, np.uint16)
    boxes = ((CAR, 20, 20, 24, 24), (CAR, 44, 20, 24, 24), (PEDESTRIAN, 90 + 4 * seed, 16, 12, 36))
    for number, (label, left, top, width, height) in enumerate(boxes, 1):
        part = np.s_[top : top + height, left : left + width]
        image[part], labels[part], instances[part] = rng.integers(0, 256, 3), label, number
    return InstanceFrame(image, labels, instances)


def config_of(backbone: Path, out: Path, **changes) -> TrainConfig:
    return train_config(
        {
            "instances": {"run": str(backbone), "composite_chance": [0.0, 0.0]},
            "network": NETWORK,
            "schedule": {"steps": 6, "batch": 2, "warm_up_steps": 2, "learning_rate": 0.005, "ema_decay": 0.9},
            "augment": {"zoom": [1, 1], "aspect": [1, 1], "usual_aspect": 1},
            "device": "cpu", "mixed_precision": False, "out": str(out), **changes,
        }
    )  # fmt: skip


def trainer_of(config: TrainConfig) -> InstanceTrainer:
    torch.manual_seed(config.seed)
    frames = [picture(0), picture(1)]
    source = InstanceSource("boxes", 1, frames, ThingBank(frames, {}), 0.0, (CAR, PEDESTRIAN))
    data = InstanceSet([source], SIZE_HW, 2, config.seed, config.augment, 5)
    network, learned, steps = network_of_run(Path(config.instances.run))
    return InstanceTrainer(config, InstanceNetwork(network), data, {"config": asdict(learned), "step": steps})


def train(trainer: InstanceTrainer, stop: int) -> None:
    for seen in trainer.batches(stop):
        trainer.train_step(seen)


def test_the_frozen_network_is_never_touched(backbone, tmp_path) -> None:
    trainer = trainer_of(config_of(backbone, tmp_path))
    before = load_checkpoint(backbone / "last.pt")["averaged"]
    branch = {name: value.clone() for name, value in trainer.network.branch.state_dict().items()}
    train(trainer, 4)
    after = trainer.network.backbone.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(branch["predict.weight"], trainer.network.branch.state_dict()["predict.weight"])
    assert not any(parameter.requires_grad for parameter in trainer.network.backbone.parameters())
    x = torch.rand(1, 3, *SIZE_HW) * 255
    network = trainer.averaged_network()
    with torch.no_grad():
        torch.testing.assert_close(network.heads(x)[0], network(x), rtol=0, atol=0)


def test_the_maps_are_those_that_torch_computes(backbone, tmp_path) -> None:
    trainer = trainer_of(config_of(backbone, tmp_path))
    batch, maps = trainer.seen(0)
    with torch.no_grad():
        theirs = trainer.network.backbone.maps(torch.from_numpy(batch.images).permute(0, 3, 1, 2).float())
    for ours, expected in zip(maps, theirs):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_it_learns_two_scenes_by_heart(backbone, tmp_path) -> None:
    config = with_steps(config_of(backbone, tmp_path), 160)
    plain = dict.fromkeys(("brightness", "contrast", "saturation", "tint", "hue_deg", "shade_chance", "blur_chance",
                           "noise_chance", "jpeg_chance"), 0.0)  # fmt: skip
    trainer = trainer_of(replace(config, augment=replace(config.augment, gamma=(1, 1), **plain)))
    train(trainer, 160)
    figures = heads_quality(answers_of(trainer.averaged_network()), [picture(0), picture(1)], SIZE_HW)
    assert figures["offset_error_cells"] < 1 and figures["center_recall"] == 1
    assert figures["center_precision"] >= 0.75


def test_a_resumed_run_ends_with_the_same_weights(backbone, tmp_path) -> None:
    straight = trainer_of(config_of(backbone, tmp_path))
    train(straight, 6)
    first = trainer_of(config_of(backbone, tmp_path))
    train(first, 3)
    save_checkpoint(tmp_path / "half.pt", first.state())
    second = trainer_of(config_of(backbone, tmp_path))
    second.restore(load_checkpoint(tmp_path / "half.pt"))
    train(second, 6)
    for one, other in (
        (straight.network.branch, second.network.branch), (straight.averaged, second.averaged),
    ):  # fmt: skip
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    with pytest.raises(TrainingError, match="made with other settings"):
        trainer_of(config_of(backbone, tmp_path, seed=3)).restore(load_checkpoint(tmp_path / "half.pt"))


def test_a_loss_that_is_no_number_changes_nothing(backbone, tmp_path) -> None:
    trainer = trainer_of(config_of(backbone, tmp_path))
    batch, maps = trainer.seen(0)
    before = {name: value.clone() for name, value in trainer.network.branch.state_dict().items()}
    with pytest.raises(TrainingError, match="step 0: the loss is nan"):
        trainer.train_step((replace(batch, offsets=batch.offsets * np.float32("nan")), maps))
    for name, value in trainer.network.branch.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert trainer.step == 0


def test_exported_class_ids_are_those_without_the_branch(backbone, tmp_path) -> None:
    trainer = trainer_of(config_of(backbone, tmp_path))
    train(trainer, 3)
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "last.pt", trainer.state())
    assert backbone_of_run(tmp_path / "run")[1] == 5
    plain = export_run(backbone, tmp_path / "plain.onnx", "plain", "1", 2)
    both = export_run(tmp_path / "run", tmp_path / "both.onnx", "both", "1", 2)
    assert dict(both.strides) == {"class_ids": 2, "confidence": 4, "centers": 4, "offsets": 4}
    assert not plain.tells_things_apart and both.tells_things_apart
    assert both.metadata["training"]["steps"] == 5 and both.metadata["training"]["instances"]["steps"] == 3
    backends = [OnnxRuntimeBackend(bundle, threads=1) for bundle in (plain, both)]
    network = trainer.averaged_network()
    for seed in range(3):
        image = picture(seed).image
        without, with_things = (backend.infer(image, 0) for backend in backends)
        np.testing.assert_array_equal(with_things.class_ids, without.class_ids)
        np.testing.assert_array_equal(with_things.confidence, without.confidence)
        assert without.centers is None
        centers, offsets = answers_of(network)(image)
        np.testing.assert_allclose(with_things.centers, centers, atol=1e-3)
        np.testing.assert_allclose(with_things.offsets, offsets, atol=1e-2)


def write_camvid(folder: Path) -> None:
    for split, count in (("train", 3), ("val", 1)):
        (folder / split).mkdir(parents=True)
        (folder / f"{split}annot").mkdir()
        for i in range(count):
            labels = np.full((120, 160), ROAD, np.uint8)
            labels[40:64, 30:62], labels[50:80, 100:110] = CAR, PEDESTRIAN
            image = (labels[..., None] * np.array([20, 10, 5]) + i).astype(np.uint8)
            cv2.imwrite(str(folder / split / f"drive_{i:03}.png"), image)
            cv2.imwrite(str(folder / f"{split}annot" / f"drive_{i:03}.png"), labels)


def test_the_verbs_train_and_export(backbone, tmp_path, capsys) -> None:
    write_camvid(tmp_path / "camvid")
    out, yaml = tmp_path / "things", tmp_path / "things.yaml"
    yaml.write_text(
        f"""
instances: {{run: {backbone}, validation_frames: 2}}
data:
  - {{dataset: {tmp_path / "camvid"}, share: 1}}
  - {{dataset: simulated, frames: 1, share: 1, busy_share: 1.0}}
validation: {{dataset: {tmp_path / "camvid"}, splits: [val]}}
schedule: {{steps: 2, batch: 2, warm_up_steps: 1}}
out: {out}
"""
    )
    assert main(["train", str(yaml)]) == 0
    said = capsys.readouterr().out
    assert "standing alone: 3 car, 3 pedestrian" in said and "validation offset_error_cells" in said
    assert main(["train", str(yaml), "--steps", "3"]) == 0
    assert "going on from step 2" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} >= {"last.pt", "history.jsonl", "curve.png"}
    assert main(["export", str(out), "--out", str(tmp_path / "m.onnx"), "--name", "m"]) == 0


def test_a_branch_can_begin_with_another_ones_weights(backbone, tmp_path) -> None:
    first = trainer_of(config_of(backbone, tmp_path))
    train(first, 2)
    second = trainer_of(config_of(backbone, tmp_path))
    second.start_from(first.averaged_network())
    for branch in (second.network.branch, second.averaged):
        for name, value in branch.state_dict().items():
            assert torch.equal(value, first.averaged.state_dict()[name]), name


def test_what_cannot_carry_a_branch_is_refused(backbone, tmp_path) -> None:
    with pytest.raises(TrainingError, match="made for the architecture esp_pyramid, the run has PyramidNet"):
        InstanceNetwork(build("pyramid", 19))
    trainer = trainer_of(config_of(backbone, tmp_path))
    with pytest.raises(TrainingError, match="no branch for instances"):
        trainer.start_from(network_of_run(backbone)[0])
    other = config_of(backbone, tmp_path / "out", network={**NETWORK, "width": 1.0})
    with pytest.raises(ConfigError, match="has another one; leave it out"):
        run(other)
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run" / "last.pt", trainer.state())
    with pytest.raises(ConfigError, match="has a branch already; name the run that it stands on"):
        run(config_of(tmp_path / "run", tmp_path / "out"))
