"""int8 editions: exact rewrites, ranges, integers, the sweep, and what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantising needs onnx")

from datasets_on_disk import camvid
from int8_networks import HW, WILD_LAYERS, answers, hat_network, session_of, write_model, write_pictures
from onnx import TensorProto, numpy_helper

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend, open_session
from seg_perception.datasets import open_dataset
from seg_perception.errors import ConfigError, DatasetError, ModelContractError
from seg_perception.evaluation.accuracy import confusion_of, predictor_of
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import mean_iou
from seg_perception.model.bundle import load_bundle, read_bundle
from seg_perception.training.export import export_graph
from seg_perception.training.models import build
from seg_perception.training.quantization import (
    Edition,
    QuantizeConfig,
    quantize,
    why_not,
)
from seg_perception.training.quantization.graph import Graph, attribute
from seg_perception.training.quantization.measure import pictures_of
from seg_perception.training.quantization.prepare import prepared
from seg_perception.training.quantization.sensitivity import LayerError, Step, choose_float_layers

FEW = QuantizeConfig(images=6, sweep_images=6, rounds=5, threads=1, slowest_ratio=float("inf"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def images(root: Path) -> list[np.ndarray]:
    return pictures_of(open_dataset(root, "train").items[:4], HW)


def edition_of(root: Path, folder: Path, wild: float = 0.0, at: str = "fuse", config: QuantizeConfig = FEW) -> Edition:
    bundle = read_bundle(write_model(folder / "hats.onnx", hat_network(wild, at)))
    return quantize(bundle, open_dataset(root, "train"), open_dataset(root, "val"), config)


@pytest.fixture(scope="module")
def edition(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Edition:
    return edition_of(root, tmp_path_factory.mktemp("edition"))


def weights_of(model: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Integer weights and their scales, by the convolution's name."""
    graph = Graph(model)
    found = {}
    for node in graph.nodes:
        maker = graph.producer(node.input[1]) if node.op_type == "Conv" else None
        if maker is not None:
            assert maker.op_type == "DequantizeLinear" and attribute(maker, "axis") == 0
            found[node.name] = (graph.constants[maker.input[0]], graph.constants[maker.input[1]])
    return found


PYRAMID = build("pyramid", classes=19, width=0.5).eval()


def write_exported(path: Path) -> Path:
    from seg_perception.training.model_file import metadata_of, with_metadata

    path.write_bytes(with_metadata(export_graph(PYRAMID, (128, 256), 2), metadata_of("p", "1", (128, 256), 2)))
    return path


def hat_weights(layer: str) -> np.ndarray:
    array: np.ndarray = next(
        numpy_helper.to_array(t) for t in hat_network().graph.initializer if t.name == f"{layer}_w"
    )
    return array


class TestEdition:
    def test_it_is_a_model_file(self, edition: Edition, tmp_path: Path, images: list[np.ndarray]) -> None:
        path = tmp_path / "int8.onnx"
        path.write_bytes(edition.data)
        bundle = read_bundle(path)
        assert bundle.name == "hats_int8" and bundle.opset == 17
        about = bundle.metadata["quantization"]
        assert about["of"] == "hats" and len(about["of_sha256"]) == 64 and about["float_layers"] == []
        assert about["calibration"] == {"dataset": "CamVid", "split": "train", "count": 6}
        assert about["evaluation"] == {"dataset": "CamVid", "split": "val", "count": 4}
        assert bundle.metadata["accuracy"]["camvid_val_miou"] == pytest.approx(edition.report.int8_miou, abs=1e-4)
        assert bundle.metadata["accuracy"]["of_the_float_model"] == {"camvid_val_miou": 1}  # kept, and kept apart
        backend = OnnxRuntimeBackend(bundle, threads=1)
        heads = backend.infer(np.ascontiguousarray(images[0]), 0)
        assert heads.class_ids.shape == (32, 64) and set(np.unique(heads.class_ids)) <= set(range(19))
        backend.close()

    def test_standard_operators_alone(self, edition: Edition) -> None:
        model = onnx.load_model_from_string(edition.data)
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]

    def test_weights_have_a_scale_for_each_channel(self, edition: Edition) -> None:
        weights = weights_of(onnx.load_model_from_string(edition.data))
        assert set(weights) == {"stem", "down", "half", "shortcut", "coarse", "fuse", "classify"}
        for integers, scales in weights.values():
            assert integers.dtype == np.int8 and scales.shape == (len(integers),) and np.abs(integers).max() <= 64
        classify, scales = weights["classify"]
        np.testing.assert_allclose(classify[0] * scales[0], hat_weights("classify")[0], atol=float(scales[0]) / 2)

    def test_the_engine_runs_integers(self, edition: Edition, tmp_path: Path) -> None:
        """What ONNX Runtime makes of it when it loads it."""
        session_of(onnx.load_model_from_string(edition.data), tmp_path / "optimized.onnx")
        kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
        assert kinds.count("QLinearConv") == 7 and not {"Conv", "FusedConv"} & set(kinds)
        assert "QLinearAdd" in kinds and "QLinearConcat" in kinds and "Relu" not in kinds

    def test_accuracy_is_what_another_measurement_says(self, edition: Edition, root: Path) -> None:
        val = open_dataset(root, "val")
        confusion = confusion_of(predictor_of(open_session(edition.data, 1)), val, CITYSCAPES, HW)
        assert mean_iou(confusion) == pytest.approx(edition.report.int8_miou)
        assert edition.report.fp32_miou > 0.9 and abs(edition.report.loss_points) < 0.5

    def test_the_temperature_stays_and_stays_float(self, edition: Edition, images: list[np.ndarray]) -> None:
        model = onnx.load_model_from_string(edition.data)
        (factor,) = [t for t in model.graph.initializer if t.name == "inverse_temperature"]
        assert factor.data_type == TensorProto.FLOAT and not factor.dims and numpy_helper.to_array(factor) == 0.5
        before = answers(model, images[:1])[0]
        factor.CopyFrom(numpy_helper.from_array(np.float32(0.05), "inverse_temperature"))
        after = answers(model, images[:1])[0]
        np.testing.assert_array_equal(before[0], after[0])
        assert after[1].mean() < before[1].mean() / 2

    def test_the_same_seed_gives_the_same_file_but_for_times(
        self, edition: Edition, root: Path, tmp_path: Path
    ) -> None:
        again = onnx.load_model_from_string(edition_of(root, tmp_path).data)
        first = onnx.load_model_from_string(edition.data)
        assert again.graph.SerializeToString(deterministic=True) == first.graph.SerializeToString(deterministic=True)

    def test_an_exported_network(self, tmp_path: Path, folder: Path) -> None:
        path = write_exported(tmp_path / "pyramid.onnx")
        config = replace(FEW, images=2, sweep_images=2, rounds=2)
        made = quantize(read_bundle(path), open_dataset(folder, "train"), open_dataset(folder, "val"), config)
        convolutions = [n.name for n in Graph(export_graph(PYRAMID, (128, 256), 2)).nodes if n.op_type == "Conv"]
        assert set(weights_of(onnx.load_model_from_string(made.data))) == set(convolutions)
        assert min(layer.sqnr_db for layer in made.report.layers) > 20


class TestSweep:
    @pytest.mark.parametrize("at", sorted(WILD_LAYERS))
    def test_the_layers_that_int8_hurts_are_found_and_left_in_float(self, root: Path, tmp_path: Path, at: str) -> None:
        wild = edition_of(root, tmp_path, wild=3000.0, at=at)
        report, hurt = wild.report, WILD_LAYERS[at]
        assert set(report.float_layers) == hurt
        assert report.steps[0].loss_points > 50 and abs(report.loss_points) < 0.5
        noisiest = sorted(report.layers, key=lambda layer: -layer.noise)[:2]
        assert {layer.name for layer in noisiest} == hurt
        model = onnx.load_model_from_string(wild.data)
        assert set(weights_of(model)) == {"stem", "down", "half", "shortcut", "coarse", "fuse", "classify"} - hurt
        # Laying out its pixels anew would make a first convolution slower in float.
        assert ("pack_pixels" in {node.name for node in model.graph.node}) == ("stem" not in hurt)
        assert "float" in report.table() and set(report.to_json()["float_layers"]) == hurt

    def test_a_loss_is_a_reason_to_refuse(self, root: Path, tmp_path: Path) -> None:
        report = edition_of(root, tmp_path, wild=3000.0, config=replace(FEW, target_points=1000.0)).report
        reason = why_not(report, 1.0)
        assert reason is not None and "loses 90" in reason and "more than 1" in reason and "--force" in reason
        assert why_not(report, 100.0) is None or report.time_ratio >= 1

    def test_slowness_is_one_but_not_for_another_engine(self, edition: Edition) -> None:
        slow = replace(edition.report, time_ratio=1.2)
        assert "no faster" in (why_not(slow, 1.0) or "")
        assert why_not(replace(slow, target="tensorrt"), 1.0) is None
        assert why_not(replace(edition.report, time_ratio=0.5), 1.0) is None
        assert why_not(replace(edition.report, time_ratio=0.5, int8_miou=float("nan")), 1.0) is not None

    @staticmethod
    def errors(**noise: float) -> list[LayerError]:
        return [LayerError(name, "Conv", 1, value, 0.0) for name, value in noise.items()]

    def test_nothing_is_put_back_without_need(self) -> None:
        choice = choose_float_layers(self.errors(a=1), lambda kept: Step(kept, 0.1, 0.5), 0.3)
        assert choice.float_layers == () and len(choice.steps) == 1

    def test_layers_that_were_not_needed_go_back_to_int8(self) -> None:
        """b is the culprit, a is noisier but harmless."""
        choice = choose_float_layers(
            self.errors(c=0.1, a=0.9, b=0.5), lambda kept: Step(kept, 0.0 if "b" in kept else 5.0, 0.5), 0.3
        )
        assert choice.float_layers == ("b",)
        assert [step.float_layers for step in choice.steps] == [(), ("a",), ("a", "b"), ("b",)]

    def test_it_ends_where_int8_gains_nothing_any_more(self) -> None:
        losses = {0: 9.0, 1: 4.0, 2: 6.0}
        choice = choose_float_layers(
            self.errors(a=3, b=2, c=1),
            lambda kept: Step(kept, losses[len(kept)], 0.5 + 0.25 * len(kept)),
            0.3,
            slowest_ratio=0.95,
        )
        assert len(choice.steps) == 3 and choice.float_layers == ("a",)


class TestTensorRT:
    def test_everything_is_around_zero_and_bytes_are_cast_first(self, root: Path, tmp_path: Path) -> None:
        made = edition_of(root, tmp_path, config=replace(FEW, target="tensorrt"))
        graph = Graph(onnx.load_model_from_string(made.data))
        assert [node.op_type for node in graph.consumers("image")] == ["Cast"]
        for node in graph.nodes:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                zero = graph.constants[node.input[2]]
                assert zero.dtype == np.int8 and not zero.any()
            if node.op_type == "Conv":
                assert graph.constants[node.input[2]].dtype == np.float32
        assert abs(made.report.loss_points) < 1.0
        assert made.report.metadata()["activations"] == "int8 symmetric"


class TestRefusals:
    def test_frames_to_judge_on_must_be_others(self, root: Path, tmp_path: Path) -> None:
        bundle = read_bundle(write_model(tmp_path / "m.onnx", hat_network()))
        train = open_dataset(root, "train")
        with pytest.raises(ConfigError, match="12 frames of CamVid train would be calibrated on and judged on"):
            quantize(bundle, train, train, FEW)

    def test_an_int8_edition_is_not_quantised_again(self, edition: Edition, root: Path, tmp_path: Path) -> None:
        path = tmp_path / "int8.onnx"
        path.write_bytes(edition.data)
        with pytest.raises(ModelContractError, match="int8.onnx: the model is quantised already"):
            quantize(read_bundle(path), open_dataset(root, "train"), open_dataset(root, "val"), FEW)

    def test_frames_without_labels(self, root: Path, tmp_path: Path) -> None:
        bundle = read_bundle(write_model(tmp_path / "m.onnx", hat_network()))
        void = {"v": (np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 11, np.uint8))}
        nothing = open_dataset(camvid(tmp_path / "void", void), "val")
        with pytest.raises(DatasetError, match="CamVid val: not one labelled pixel in 1 frames"):
            quantize(bundle, open_dataset(root, "train"), nothing, FEW)

    def test_graphs_that_cannot_be(self) -> None:
        model = hat_network()
        next(n for n in model.graph.node if n.op_type == "Exp").domain = "com.example"
        with pytest.raises(ModelContractError, match="com.example"):
            prepared(model)
        no_convolution = hat_network()
        for node in no_convolution.graph.node:
            node.op_type = "Identity" if node.op_type == "Conv" else node.op_type
        with pytest.raises(ModelContractError, match="no convolution"):
            prepared(no_convolution)

    @pytest.mark.parametrize("wrong", [{"target": "gpu"}, {"weight_bits": 4}, {"images": 0}, {"rounds": -1}])
    def test_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            QuantizeConfig(**wrong)


def test_the_shipped_model_on_real_streets(camvid_root: Path) -> None:
    """A part of val, to be quick: both editions see the same frames."""
    val, train = open_dataset(camvid_root, "val"), open_dataset(camvid_root, "train")
    config = QuantizeConfig(images=6, sweep_images=12, rounds=10)
    made = quantize(load_bundle("street_pyramid"), train, replace(val, items=val.items[::4]), config)
    assert made.report.loss_points < 0.5
    assert made.report.int8_bytes < 0.4 * made.report.fp32_bytes
