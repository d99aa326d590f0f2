import json
from dataclasses import asdict

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="the training room needs torch")
onnx = pytest.importorskip("onnx", reason="exporting needs onnx")

from seg_perception.datasets import CAMVID_OF_CITYSCAPES, camvid_items
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import mean_iou
from seg_perception.model.bundle import load_bundle, read_bundle
from seg_perception.training.data import TrainingSet
from seg_perception.training.evaluate import camvid_confusion, predictor
from seg_perception.training.export import (
    ClassIds,
    export_graph,
    metadata_of,
    name_usual_classes,
    onnx_predictor,
    with_metadata,
)
from seg_perception.training.losses import PartialLabelLoss
from seg_perception.training.models import ARCHITECTURES, build
from seg_perception.training.train import TrainConfig, Trainer, load_checkpoint, run, save_checkpoint

SMALL = TrainConfig(width=8, height_px=128, width_px=256, steps=6, batch=2, warm_up_steps=2, mixed_precision=False)


class TestLoss:
    groups = [int(CAMVID_OF_CITYSCAPES[label.id]) for label in CITYSCAPES]

    def test_against_a_loop_over_pixels(self) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, 19, 3, 4, generator=generator, dtype=torch.float64)
        counts = torch.randint(0, 17, (2, 11, 3, 4), generator=generator)
        weights = torch.linspace(0.5, 2, 11)
        total = weight_sum = 0.0
        p = torch.softmax(logits, 1)
        for n in range(2):
            for y in range(3):
                for x in range(4):
                    for label in range(11):
                        share = sum(float(p[n, c, y, x]) for c in range(19) if self.groups[c] == label)
                        weight = float(weights[label]) * float(counts[n, label, y, x])
                        total -= weight * np.log(share)
                        weight_sum += weight
        loss = PartialLabelLoss(self.groups, weights)(logits, counts.float())
        assert float(loss) == pytest.approx(total / weight_sum, rel=1e-5)

    def test_a_label_says_nothing_about_which_of_its_classes(self) -> None:
        loss = PartialLabelLoss(self.groups, torch.ones(11))
        counts = torch.zeros(1, 11, 1, 1)
        counts[0, 8] = 16  # "car" in CamVid
        values = []
        for name in ("car", "truck", "bus", "train"):
            logits = torch.zeros(1, 19, 1, 1)
            logits[0, CITYSCAPES.id_of(name)] = 9.0
            values.append(float(loss(logits, counts)))
        assert max(values) == pytest.approx(min(values), rel=1e-3) and values[0] < 0.01

    def test_void_everywhere_is_no_loss(self) -> None:
        loss = PartialLabelLoss(self.groups, torch.ones(11))(torch.randn(1, 19, 2, 2), torch.zeros(1, 11, 2, 2))
        assert float(loss) == 0.0

    def test_a_label_without_classes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="every label must cover"):
            PartialLabelLoss([0, 0, 2], torch.ones(3))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
class TestEveryArchitecture:
    """What each must do: forward, backward, export with the same answers."""

    def test_shapes_and_gradients(self, architecture) -> None:
        network = build(architecture, 19, 8).train()
        logits, auxiliary = network(torch.rand(2, 3, 128, 256) * 255)
        assert logits.shape == (2, 19, 32, 64) and auxiliary.shape == (2, 19, 8, 16)
        (logits.square().mean() + auxiliary.square().mean()).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert network.eval()(torch.zeros(1, 3, 128, 128)).shape == (1, 19, 32, 32)

    def test_a_size_it_cannot_take(self, architecture) -> None:
        with pytest.raises(ValueError, match="multiples of 128"):
            build(architecture, 19, 8)(torch.zeros(1, 3, 100, 128))

    @pytest.mark.parametrize("stride", [1, 2, 4])
    def test_export_answers_as_torch_does(self, architecture, stride) -> None:
        torch.manual_seed(1)
        network = build(architecture, 19, 8).eval()
        image = torch.randint(0, 256, (1, 128, 256, 3), dtype=torch.uint8)
        session = ort.InferenceSession(
            export_graph(network, (128, 256), stride).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        ids, confidence = session.run(["class_ids", "confidence"], {"image": image.numpy()})
        with torch.no_grad():
            logits = network(image.permute(0, 3, 1, 2).float())
            size = (128 // stride, 256 // stride)
            p = torch.softmax(logits, 1).amax(1)
            expected = torch.nn.functional.interpolate(logits, size=size, mode="bilinear").argmax(1)
        assert ids.shape == (1, *size) and confidence.shape == (1, 32, 64)
        assert (ids == expected.numpy()).mean() > 0.999
        assert np.abs(confidence.astype(int) - (p * 255).round().int().numpy()).max() <= 1


def test_the_graph_is_friendly_to_tensorrt() -> None:
    """uint8 turns to float before anything else touches it, and comes back from float only."""
    model = export_graph(build("pyramid", 19, 8).eval(), (128, 256), 2)
    types = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for node in model.graph.node:
        if "image" in node.input:
            assert node.op_type == "Cast"
        if set(node.output) & {"class_ids", "confidence"}:
            assert node.op_type == "Cast" and types[node.input[0]] == onnx.TensorProto.FLOAT


def test_file_and_metadata(tmp_path) -> None:
    graph = export_graph(build("pyramid", 19, 8).eval(), (128, 256), 4)
    path = tmp_path / "m.onnx"
    path.write_bytes(with_metadata(graph, metadata_of("m", "2", (128, 256), 4, accuracy={"a": 0.5})))
    bundle = read_bundle(path)
    assert (bundle.name, bundle.version, bundle.input_hw) == ("m", "2", (128, 256))
    assert bundle.labels == CITYSCAPES and bundle.metadata["accuracy"] == {"a": 0.5}


def test_the_usual_class_gets_the_row_that_is_used(folder) -> None:
    """A network that says motorcycle everywhere."""
    network = build("pyramid", 19, 8).eval()
    city = {label.name: label.id for label in CITYSCAPES}
    with torch.no_grad():
        network.classify.weight.zero_()
        network.classify.bias.fill_(-5.0)
        network.classify.bias[city["motorcycle"]] = 3.0
    items = camvid_items(folder, "train")
    assert name_usual_classes(network, items, (128, 256)) == {"motorcycle": "rider"}
    bias = network.classify.bias.detach()
    assert bias[city["rider"]] == 3.0 and bias[city["motorcycle"]] == -5.0
    assert name_usual_classes(network, items, (128, 256)) == {}
    before = camvid_confusion(predictor(network), items, (128, 256))
    assert before[:, 10].sum() == before.sum()  # cyclist, whichever of its classes


def test_resuming_gives_the_weights_of_an_uninterrupted_run(folder, tmp_path) -> None:
    def training_set() -> TrainingSet:
        return TrainingSet(camvid_items(folder, "train"), SMALL.size_hw, SMALL.batch, 4, SMALL.seed)

    straight = Trainer(SMALL, training_set())
    for batch in straight.training_set.batches(0, 6):
        straight.train_step(*batch)
    first = Trainer(SMALL, training_set())
    for batch in first.training_set.batches(0, 3):
        first.train_step(*batch)
    save_checkpoint(tmp_path / "c.pt", first.state())
    second = Trainer(SMALL, training_set())
    second.restore(load_checkpoint(tmp_path / "c.pt"))
    for batch in second.training_set.batches(second.step, 6):
        second.train_step(*batch)
    for which in ("network", "averaged"):
        for name, tensor in getattr(straight, which).state_dict().items():
            assert torch.equal(tensor, getattr(second, which).state_dict()[name]), (which, name)


def test_a_run_learns_draws_its_curve_and_goes_on(folder, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    config = TrainConfig(width=8, height_px=128, width_px=256, steps=50, batch=2, warm_up_steps=5, learning_rate=5e-3)
    run(config, folder, out, evaluate_every=50, save_every=20)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert history[-1]["step"] == 50 and 0 < history[-1]["val_miou"] <= 1
    assert (out / "curve.png").stat().st_size > 5000
    assert "min left" in capsys.readouterr().out
    run(config, folder, out, evaluate_every=50, save_every=20)
    assert "going on from step 50" in capsys.readouterr().out
    longer = TrainConfig(**{**asdict(config), "steps": 60})
    run(longer, folder, out, evaluate_every=50, save_every=20)
    assert "step 60/60" in capsys.readouterr().out
    with pytest.raises(ValueError, match="other settings"):
        run(TrainConfig(width=16), folder, out, evaluate_every=50, save_every=20)


def test_a_loss_that_is_no_number_stops_with_the_step(folder) -> None:
    trainer = Trainer(SMALL, TrainingSet(camvid_items(folder, "train"), SMALL.size_hw, 2, 4, 0))
    with torch.no_grad():
        trainer.network.classify.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0; lower the learning rate"):
        trainer.train_step(*trainer.training_set.batch(0))


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('boom')",))

    (tmp_path / "bomb.pt").write_bytes(pickle.dumps({"step": Bomb()}))
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported|invalid"):
        load_checkpoint(tmp_path / "bomb.pt")


def test_confusion_of_a_known_predictor(folder) -> None:
    """The tiny frames spell their labels in red: a predictor that reads them is nearly right, at any stride."""
    city = np.array([np.nonzero(CAMVID_OF_CITYSCAPES == c)[0][0] for c in range(11)], np.uint8)

    def read_red(image: np.ndarray) -> np.ndarray:
        ids = city[np.clip((image[..., 0].astype(int) + 10) // 20, 0, 10)]
        return ids[1::2, 1::2]

    miou = mean_iou(camvid_confusion(read_red, camvid_items(folder, "val"), (128, 256)))
    # Only pixels that bilinear scaling mixes may be wrong: at most one on each side of a 20-pixel cell.
    assert miou > 0.9**2 and miou < 1
    always_road = camvid_confusion(lambda image: np.zeros((2, 2), np.uint8), camvid_items(folder, "val"), (128, 256))
    assert always_road[:, 3].sum() == always_road.sum()


def test_the_predictor_is_the_networks_argmax() -> None:
    network = build("pyramid", 19, 8).eval()
    image = np.random.default_rng(0).integers(0, 256, (128, 256, 3)).astype(np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None].float()).argmax(1)[0].numpy()
    np.testing.assert_array_equal(predictor(network)(image), expected)
    assert ClassIds(network, 4).scale == 1


def test_the_shipped_model_keeps_what_its_file_says(camvid_root) -> None:
    bundle = load_bundle("street_pyramid")
    confusion = camvid_confusion(onnx_predictor(bundle.data), camvid_items(camvid_root, "val"), bundle.input_hw)
    assert mean_iou(confusion) == pytest.approx(bundle.metadata["accuracy"]["camvid_val_miou"], abs=0.002)
    assert mean_iou(confusion) >= 0.50
