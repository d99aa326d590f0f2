import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs torch")
pytest.importorskip("onnx", reason="exporting needs onnx")

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.cli import main
from seg_perception.datasets import CAMVID_OF_CITYSCAPES, open_dataset
from seg_perception.errors import ConfigError, DatasetError, TrainingError
from seg_perception.evaluation.accuracy import confusion_of, predictor_of
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import mean_iou
from seg_perception.model import zoo
from seg_perception.model.bundle import read_bundle
from seg_perception.training.checkpoint import load_checkpoint, network_of_run, save_checkpoint
from seg_perception.training.config import TrainConfig, read_config, train_config, with_steps
from seg_perception.training.data import TrainingSet, read_source
from seg_perception.training.evaluate import predictor
from seg_perception.training.export import export_run
from seg_perception.training.models import build, load_espnetv2
from seg_perception.training.sources import open_sources
from seg_perception.training.teacher import SOFT_HW
from seg_perception.training.temperature import with_temperature
from seg_perception.training.train import Trainer, run
from seg_perception.training.usual_classes import name_usual_classes


def small(folder: Path, **changes) -> TrainConfig:
    return train_config(
        {
            "data": [{"dataset": str(folder)}],
            "validation": {"dataset": str(folder), "splits": ["val"]},
            "network": {"width": 0.34, "height_px": 128, "width_px": 256},
            "schedule": {"steps": 6, "batch": 2, "warm_up_steps": 2, "fine_steps": 2, "decay_steps": 3},
            "device": "cpu",
            "mixed_precision": False,
            "out": str(folder / "run"),
            "evaluate_every": 3,
            "save_every": 3,
            **changes,
        }
    )


def trainer_of(config: TrainConfig, soft: np.ndarray | None = None) -> Trainer:
    sources = open_sources(config, lambda line: None)
    return Trainer(config, TrainingSet(sources, config.network.size_hw, 2, 2, 0, config.augment, SOFT_HW), soft)


def assert_same_weights(one: Trainer, other: Trainer) -> None:
    for which in ("network", "averaged"):
        for name, tensor in getattr(one, which).state_dict().items():
            assert torch.equal(tensor, getattr(other, which).state_dict()[name]), (which, name)


def test_resuming_gives_the_weights_of_an_uninterrupted_run(folder, tmp_path) -> None:
    """With all that a run can have: simulated streets beside the data set, pieces pasted, a teacher."""
    config = small(folder, data=[{"dataset": str(folder)}, {"dataset": "simulated", "frames": 2}])
    rng = np.random.default_rng(0)
    soft = rng.dirichlet(np.ones(19), (5, *SOFT_HW)).transpose(0, 3, 1, 2).astype(np.float16)
    straight = trainer_of(config, soft)
    for batch in straight.training_set.batches(0, 6):
        straight.train_step(batch)
    first = trainer_of(config, soft)
    for batch in first.training_set.batches(0, 3):
        first.train_step(batch)
    save_checkpoint(tmp_path / "c.pt", first.state())
    second = trainer_of(config, soft)
    second.restore(load_checkpoint(tmp_path / "c.pt"))
    for batch in second.training_set.batches(second.step, 6, 2):
        second.train_step(batch)
    assert_same_weights(straight, second)


def test_a_teacher_and_labels_pull_the_network(folder) -> None:
    """A teacher that says truck wherever the labels say car decides what the network calls it; labels alone do not."""
    truck, car, road = (CITYSCAPES.id_of(name) for name in ("truck", "car", "road"))
    for i in range(5):
        cv2.imwrite(str(folder / "trainannot" / f"drive_{i:03}.png"), np.full((120, 160), 8, np.uint8))  # car
    soft = np.zeros((5, 19, *SOFT_HW), np.float16)
    soft[:, truck], soft[:, road] = 0.3, 0.7  # wrong about the road: the labels overrule it
    config = small(folder, distill={"weight": 3.0, "raw_share": 0.0}, schedule={"steps": 60, "batch": 2,
                   "warm_up_steps": 2, "learning_rate": 0.01, "ema_decay": 0.5})  # fmt: skip
    said = {}
    for name, answer in (("taught", soft), ("labels", None)):
        trainer = trainer_of(config, answer)
        for batch in trainer.training_set.batches(0, 60):
            trainer.train_step(batch)
        image = cv2.resize(trainer.training_set.images[0], (256, 128))
        said[name] = np.bincount(predictor(trainer.averaged)(image).ravel(), minlength=19)
    assert said["taught"][truck] > 0.9 * said["taught"].sum()
    assert said["labels"][car] > 0.9 * said["labels"].sum()


def test_the_rate_rises_holds_and_falls(folder) -> None:
    trainer = trainer_of(small(folder, schedule={"steps": 100, "warm_up_steps": 10, "decay_steps": 50, "batch": 2}))
    rates = []
    for trainer.step in range(100):
        rates.append(trainer.learning_rate())
    assert rates[0] == pytest.approx(2e-4) and rates[9:50] == [2e-3] * 41
    assert all(a > b for a, b in zip(rates[50:], rates[51:])) and rates[99] < 2e-4


def test_the_labels_loss_turns_fine_at_the_end(folder) -> None:
    """Bilinear logits at half size, against the same computed here from the network's answer."""
    config = small(folder)
    trainer = trainer_of(config)
    batch = trainer.training_set.batch(0)
    values = {}
    for trainer.step in (0, 5):
        torch.manual_seed(0)
        values[trainer.step] = float(trainer._losses(batch).detach())
        torch.manual_seed(0)
        logits, auxiliary = trainer.network(torch.from_numpy(batch.images).permute(0, 3, 1, 2).float())
        counts = torch.from_numpy(batch.counts).float()
        size = (64, 128) if trainer.step == 5 else (32, 64)
        p = torch.softmax(torch.nn.functional.interpolate(logits, size=size, mode="bilinear"), 1)
        fine = counts if trainer.step == 5 else torch.nn.functional.avg_pool2d(counts, 2) * 4
        cells = torch.nn.functional.avg_pool2d(counts, 8) * 64
        expected = 0.0
        for weight, answer, n in ((1.0, p, fine), (0.4, torch.softmax(auxiliary, 1), cells)):
            weighted = n * trainer.loss.weights
            grouped = torch.stack([answer[:, list(g)].sum(1) for g in trainer.training_set.groups], 1)
            expected -= weight * float((weighted * torch.log(grouped)).sum().detach() / weighted.sum())
        assert values[trainer.step] == pytest.approx(expected, rel=1e-4)
    assert values[0] != values[5]


def test_a_run_learns_draws_its_curve_and_goes_on(folder, capsys) -> None:
    colour = dict.fromkeys(("brightness", "contrast", "saturation", "tint", "hue_deg", "shade_chance"), 0.0)
    config = small(folder, evaluate_every=50, save_every=20, augment={**colour, "gamma": [1, 1]},
                   schedule={"steps": 100, "batch": 2, "warm_up_steps": 5, "learning_rate": 5e-3})  # fmt: skip
    out = Path(config.out)
    run(config)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert history[-1]["step"] == 100 and 0 < history[-1]["val_miou"] <= 1
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert losses[1] < 0.9 * losses[0]
    assert (out / "curve.png").stat().st_size > 5000
    sheet = cv2.imread(str(out / "val.png"))
    assert sheet is not None and sheet.shape[1] == 1280
    if importlib.util.find_spec("tensorboard"):
        assert list((out / "tensorboard").glob("events*"))
    assert "min left" in capsys.readouterr().out
    run(config)
    assert "going on from step 100" in capsys.readouterr().out
    run(with_steps(config, 110))
    assert "step 110/110" in capsys.readouterr().out
    with pytest.raises(TrainingError, match="other settings"):
        run(replace(config, seed=5))


def test_it_can_start_from_another_run(folder) -> None:
    run(small(folder, out=str(folder / "first")))
    started = trainer_of(small(folder))
    network, _, steps = network_of_run(folder / "first")
    started.start_from(network)
    assert steps == 6
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, started.network.state_dict()[name]), name
        assert torch.equal(tensor, started.averaged.state_dict()[name]), name
    wider = trainer_of(small(folder, network={"width": 1.5, "height_px": 128, "width_px": 256}))
    fresh = {name: tensor.clone() for name, tensor in wider.network.state_dict().items()}
    wider.start_from(network)  # the first convolution alone has the same shape
    assert torch.equal(wider.network.state_dict()["stem.0.0.weight"], network.state_dict()["stem.0.0.weight"])
    name = "stage4.0.first.0.weight"
    assert torch.equal(wider.network.state_dict()[name], fresh[name])
    with pytest.raises(TrainingError, match="no layer"):
        wider.start_from(torch.nn.Conv2d(3, 5, 1))
    said = []
    run(small(folder, start_from=str(folder / "first")), said.append)
    assert any("starting with the weights of" in line for line in said)


ENCODER = {"architecture": "esp_pyramid", "width": 0.5, "blocks": [1, 1], "height_px": 64, "width_px": 128}


def test_an_encoder_that_has_learned_takes_smaller_steps(folder) -> None:
    """Adam's first step moves a weight by the learning rate, whatever its gradient, unless that is next to nothing."""
    schedule = {"steps": 6, "batch": 2, "warm_up_steps": 1, "encoder_rate": 0.1, "weight_decay": 0.0}
    trainer = trainer_of(small(folder, network=ENCODER, schedule=schedule))
    slow = set(map(id, trainer.network.encoder_parameters()))
    before = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.train_step(next(iter(trainer.training_set.batches(0, 1))))
    moved: dict[bool, float] = {}
    for p, was in zip(trainer.network.parameters(), before):
        moved[id(p) in slow] = max(moved.get(id(p) in slow, 0.0), float((p.detach() - was).abs().max()))
    rate = trainer.config.schedule.learning_rate
    assert moved[False] == pytest.approx(rate, rel=0.02) and moved[True] == pytest.approx(0.1 * rate, rel=0.02)
    with pytest.raises(TrainingError, match="pyramid has no encoder that was trained before"):
        trainer_of(small(folder, schedule=schedule))


def test_it_can_start_with_a_published_encoder(folder) -> None:
    weights = Path(__file__).resolve().parents[3] / "shared" / "models" / "espnetv2_cityscapes"
    if not weights.is_dir():
        pytest.skip(f"needs the published weights in {weights}")
    said = []
    start_from = str(weights / "espnetv2_s_0.5_city_1024x512.pth")
    schedule = {"steps": 1, "batch": 2, "warm_up_steps": 1, "learning_rate": 1e-9}
    trained = run(small(folder, network=ENCODER, schedule=schedule, start_from=start_from), said.append)
    published = load_espnetv2(Path(start_from), 0.5).state_dict()
    for name, tensor in trained.network.state_dict().items():
        if name.startswith(("stem", "down", "stage")) and tensor.ndim > 1:
            torch.testing.assert_close(tensor, published[name], rtol=0, atol=1e-6)
    assert any("starting with the weights of" in line for line in said)
    with pytest.raises(TrainingError, match="start_from: nothing_there: expected a run's folder"):
        run(small(folder, out=str(folder / "other"), start_from="nothing_there"))


def test_a_loss_that_is_no_number_stops_and_keeps_what_was(folder) -> None:
    config = small(folder, evaluate_every=100)
    trainer = trainer_of(config)
    for batch in trainer.training_set.batches(0, 2):
        trainer.train_step(batch)
    save_checkpoint_in(config, trainer)
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    poisoned = trainer.training_set.batch(2)
    trainer.loss.weights[:] = float("inf")
    with pytest.raises(TrainingError, match="step 2: the loss is nan.*learning_rate"):
        trainer.train_step(poisoned)
    assert trainer.step == 2
    for name, tensor in trainer.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def save_checkpoint_in(config: TrainConfig, trainer: Trainer) -> None:
    Path(config.out).mkdir(parents=True, exist_ok=True)
    save_checkpoint(Path(config.out) / "last.pt", trainer.state())


def test_a_run_that_diverges_says_so_and_leaves_a_checkpoint(folder) -> None:
    config = small(folder)
    trainer = trainer_of(config)
    with torch.no_grad():
        trainer.network.classify.bias.fill_(float("nan"))
    save_checkpoint_in(config, trainer)
    with pytest.raises(TrainingError, match=r"step 0: the loss is nan.*stopped\.pt"):
        run(config)
    assert load_checkpoint(Path(config.out) / "stopped.pt")["step"] == 0


def test_a_corrupt_image_is_named_before_anything_is_trained(folder) -> None:
    (folder / "train" / "drive_001.png").write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match="drive_001.png"):
        run(small(folder))


@pytest.mark.parametrize("damage", ["pickle", "cut", "empty", "other"])
def test_a_checkpoint_that_is_none_is_refused(tmp_path, damage) -> None:
    import pickle

    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('boom')",))

    path = tmp_path / "bad.pt"
    if damage == "pickle":
        path.write_bytes(pickle.dumps({"step": Bomb()}))
    elif damage == "other":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        torch.save({"config": {}, "step": 1, "averaged": {}}, path)
        path.write_bytes(path.read_bytes()[: 200 if damage == "cut" else 0])
    with pytest.raises(TrainingError, match="bad.pt"):
        load_checkpoint(path)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(tmp_path / "missing.pt")


def test_the_usual_class_gets_the_row_that_is_used(folder) -> None:
    """A network that says motorcycle everywhere."""
    network = build("pyramid", 19, width=0.34).eval()
    city = {label.name: label.id for label in CITYSCAPES}
    with torch.no_grad():
        network.classify.weight.zero_()
        network.classify.bias.fill_(-5.0)
        network.classify.bias[city["motorcycle"]] = 3.0
    dataset = open_dataset(folder, "train")
    assert name_usual_classes(network, dataset, (128, 256)) == {"motorcycle": "rider"}
    bias = network.classify.bias.detach()
    assert bias[city["rider"]] == 3.0 and bias[city["motorcycle"]] == -5.0
    assert name_usual_classes(network, dataset, (128, 256)) == {}
    before = confusion_of(predictor(network), dataset, CITYSCAPES, (128, 256))
    assert before[:, 10].sum() == before.sum()  # cyclist, whichever of its classes


def test_confusion_of_a_known_predictor(folder) -> None:
    """The tiny frames spell their labels in red: a predictor that reads them is nearly right, at any stride."""
    city = np.array([np.nonzero(CAMVID_OF_CITYSCAPES == c)[0][0] for c in range(11)], np.uint8)

    def read_red(image: np.ndarray) -> np.ndarray:
        ids = city[np.clip((image[..., 0].astype(int) + 10) // 20, 0, 10)]
        return ids[1::2, 1::2]

    miou = mean_iou(confusion_of(read_red, open_dataset(folder), CITYSCAPES, (128, 256)))
    # Only pixels that bilinear scaling mixes may be wrong: at most one on each side of a 20-pixel cell.
    assert miou > 0.9**2 and miou < 1
    always_road = confusion_of(lambda image: np.zeros((2, 2), np.uint8), open_dataset(folder), CITYSCAPES, (128, 256))
    assert always_road[:, 3].sum() == always_road.sum()


def test_from_the_command_line(folder, tmp_path, capsys) -> None:
    """A newcomer's way: a YAML file with an environment variable in it, `train`, `export`, and the model runs."""
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "extends: base.yaml\ndata: [{dataset: $TINY_CAMVID}]\nschedule: {steps: 4}\n"
        f"out: {tmp_path / 'run'}\nvalidation: {{dataset: $TINY_CAMVID}}\n"
    )
    (tmp_path / "base.yaml").write_text(
        "network: {width: 0.34, height_px: 128, width_px: 256}\n"
        "schedule: {steps: 9, batch: 2, warm_up_steps: 2}\ndevice: cpu\n"
    )
    command = [sys.executable, "-m", "seg_perception"]
    environment = {"PATH": "/usr/bin:/bin", "TINY_CAMVID": str(folder), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [*command, "train", str(config)], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "step 4/4" in done.stdout and "validation mIoU" in done.stdout and "seg_perception export" in done.stdout
    out = tmp_path / "my_model.onnx"
    (tmp_path / "about.json").write_text('{"license": "MIT", "accuracy": {"camvid_val_miou": 0.5}}')
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), "--out", str(out), "--name", "mine", "--stride", "4",
                 "--about", str(tmp_path / "about.json")]) == 0  # fmt: skip
    bundle = read_bundle(out)
    assert (bundle.name, bundle.input_hw, bundle.strides["class_ids"]) == ("mine", (128, 256), 4)
    assert bundle.metadata["training"]["steps"] == 4 and bundle.metadata["license"] == "MIT"
    image = np.random.default_rng(0).integers(0, 256, (128, 256, 3)).astype(np.uint8)
    network, _, _ = network_of_run(tmp_path / "run")
    agreement = predictor_of(open_session(bundle.data))(image) == predictor(network)(image)
    assert agreement.mean() > 0.99


def test_another_architecture_trains_and_exports(folder, tmp_path) -> None:
    """ESPNetv2 has its logits at stride 2 and no second output."""
    network = {"architecture": "espnetv2", "width": 0.5, "height_px": 128, "width_px": 256}
    run(small(folder, network=network, schedule={"steps": 2, "batch": 2, "warm_up_steps": 1}, evaluate_every=2))
    bundle = export_run(folder / "run", tmp_path / "e.onnx", "e", "1", 2)
    assert dict(bundle.strides) == {"class_ids": 2, "confidence": 2}
    with pytest.raises(ConfigError, match="answers at 2"):
        export_run(folder / "run", tmp_path / "e.onnx", "e", "1", 4)


def test_an_export_can_have_the_temperature_of_another(folder, tmp_path) -> None:
    run(small(folder))
    plain = export_run(folder / "run", tmp_path / "plain.onnx", "m", "1", 4)
    fitted = tmp_path / "fitted.onnx"
    fitted.write_bytes(with_temperature(plain.data, 2.0, "some val", 0.2, 0.1))
    again = export_run(folder / "run", tmp_path / "again.onnx", "m", "1", 4, {}, str(fitted))
    assert (
        again.metadata["confidence"]["temperature"] == 2.0 and "some val" in again.metadata["confidence"]["fitted_on"]
    )
    image = {"image": np.random.default_rng(0).integers(0, 256, (1, 128, 256, 3)).astype(np.uint8)}
    expected, answer = open_session(fitted.read_bytes()).run(None, image), open_session(again.data).run(None, image)
    assert all((a == b).all() for a, b in zip(expected, answer))
    assert (open_session(plain.data).run(None, image)[1] != answer[1]).any()
    with pytest.raises(ConfigError, match="no fitted temperature"):
        export_run(folder / "run", tmp_path / "again.onnx", "m", "1", 4, {}, str(tmp_path / "plain.onnx"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: [{dataset: $NOT_SET}]", "NOT_SET"),
        ("data: []", "at least one data set"),
        ("schedule: {stepz: 3}", "stepz"),
        ("schedule: {steps: many}", "schedule.steps"),
        ("schedule: {steps: 0}", "schedule.steps"),
        ("network: 3", "expected keys and values"),
        ("augment: {zoom: [1]}", "augment.zoom: expected 2"),
        ("[1, 2]", "expected a mapping"),
        ("a: [", "not YAML"),
        ("extends: me.yaml", "extends"),
        ("device: tpu", "tpu"),
        ("data: [{dataset: a, share: 0}]", "data[0].share"),
        ("data: [{dataset: simulated}]", "frames"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_one_line(tmp_path, capsys, text, said) -> None:
    (tmp_path / "me.yaml").write_text(text)
    assert main(["train", str(tmp_path / "me.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"] if "device" not
                in text else ["train", str(tmp_path / "me.yaml")]) == 1  # fmt: skip
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_source_keeps_only_labels_that_the_classes_cover(folder) -> None:
    source = read_source(open_dataset(folder, "train"), 1)
    assert source.classes[8] == "car" and set(source.groups[8]) == {13, 14, 15, 16}
    assert source.frequency().sum() == pytest.approx(1)


RECIPES = sorted((Path(__file__).resolve().parents[2] / "config" / "training").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_of_a_shipped_model_can_be_run(path, monkeypatch) -> None:
    """It reads, builds its network, never judges on what it learns from, and starts where another recipe ends."""
    monkeypatch.setenv("CAMVID", "/data/camvid")
    config = read_config(path)
    assert path.stem == Path(config.out).name
    build(config.network.architecture, 19, **config.network.options)
    if path.stem.endswith("_base"):
        assert config.start_from in ("", *zoo.FETCHABLE)
    else:
        start = read_config(path.parent / f"{Path(config.start_from).name}.yaml")
        assert start.out == config.start_from and start.network == config.network
    learned = [entry for entry in config.data if not entry.frames]
    judged = config.validation
    for entry in learned:
        shared = set(entry.splits) & set(judged.splits)
        assert not shared or set(judged.only) <= set(entry.without) or path.stem.endswith("_ship")
