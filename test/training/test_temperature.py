"""The temperature of the confidence: found again where it is known, and in the graph where it belongs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="a temperature is written into a model with onnx")
import onnxruntime as ort
from datasets_on_disk import folder as write_folder
from onnx import TensorProto, helper, numpy_helper
from support import tiny_onnx

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.cli import main
from seg_perception.datasets import Dataset, open_dataset
from seg_perception.errors import DatasetError, ModelContractError
from seg_perception.evaluation.run import evaluate
from seg_perception.model.bundle import read_bundle
from seg_perception.training.model_file import metadata_of, with_metadata
from seg_perception.training.temperature import (
    INVERSE_TEMPERATURE,
    best_temperature,
    check_temperature,
    fit_temperature,
    insert_inverse_temperature,
    with_temperature,
)

STEEPNESS = 12.0
CLASSES = (0, 2, 10)
"""Road, building, sky: their logits are red, green and blue, 0 to `STEEPNESS`; all others are far below."""
CITY = "classes: [{name: road, value: 0}, {name: building, value: 1}, {name: sky, value: 2}]\nvoid: [255]"
HEIGHT, WIDTH = 64, 128


def color_network(channels_last: bool = False, temperature: bool = True) -> bytes:
    """A model file whose logits anybody can work out, at stride 4, with the head that exported models have."""
    weights, bias = np.zeros((19, 3, 1, 1), np.float32), np.full(19, -50, np.float32)
    for channel, class_id in enumerate(CLASSES):
        weights[class_id, channel], bias[class_id] = STEEPNESS / 255, 0
    axis = 3 if channels_last else 1
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "weights", "bias"], ["convolved"], strides=[4, 4]),
        helper.make_node("Transpose", ["convolved"], ["logits"], perm=[0, 2, 3, 1] if channels_last else [0, 1, 2, 3]),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=axis, keepdims=0),
        helper.make_node("Cast", ["ids"], ["ids_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["ids_float"], ["class_ids"], to=TensorProto.UINT8),
        helper.make_node("ReduceMax", ["logits"], ["best"], axes=[axis], keepdims=1),
        helper.make_node("Sub", ["logits", "best"], ["below"]),
        helper.make_node("Exp", ["below"], ["exponentials"]),
        helper.make_node("ReduceSum", ["exponentials", "axis"], ["sum"], keepdims=0),
        helper.make_node("Reciprocal", ["sum"], ["chance"]),
        helper.make_node("Mul", ["chance", "full"], ["level"]),
        helper.make_node("Add", ["level", "half"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["confidence"], to=TensorProto.UINT8),
    ]
    constants = [
        numpy_helper.from_array(value, name)
        for name, value in (
            ("weights", weights), ("bias", bias), ("axis", np.array([axis])),
            ("full", np.float32(255)), ("half", np.float32(0.5)),
        )
    ]  # fmt: skip
    size = [1, HEIGHT // 4, WIDTH // 4]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, size) for name in ("class_ids", "confidence")],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if temperature:
        insert_inverse_temperature(model)
    onnx.checker.check_model(model, full_check=True)
    return with_metadata(model, metadata_of("colors", "1", (HEIGHT, WIDTH), 4, accuracy={"a": 0.5}))


def confidence_of(pixels: np.ndarray, temperature: float) -> np.ndarray:
    logits = pixels.astype(float) / 255 * STEEPNESS / temperature
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return 1 / exponentials.sum(-1)


def street(root: Path, temperature: float, frames: int = 6) -> Dataset:
    """Labels drawn at random, with the chances that softmax(logits / temperature) gives: it is the right one."""
    rng, drawn = np.random.default_rng(0), {}
    for i in range(frames):
        colors = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
        image = np.kron(colors, np.ones((4, 4, 1), np.uint8))
        logits = image / 255 * STEEPNESS / temperature
        # The largest of logits plus Gumbel noise is a draw from their softmax.
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(-1).astype(np.uint8)
        labels[:2] = 255
        drawn[f"f{i}"] = (image, labels)
    return open_dataset(write_folder(root / f"street_{temperature}", CITY, drawn))


@pytest.mark.parametrize("known", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found_in_numbers(known: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (200_000, 7)) - 40
    labels = (logits / known + rng.gumbel(size=logits.shape)).argmax(1)
    right = logits.argmax(1) == labels
    assert best_temperature(logits.astype(np.float32), right) == pytest.approx(known, rel=0.04)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_known_temperature_is_found_in_frames(tmp_path: Path, channels_last: bool) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(color_network(channels_last))
    seen: list[int] = []
    found = fit_temperature(path, street(tmp_path, 2.5), progress=seen.append)
    assert found == pytest.approx(2.5, rel=0.05) and seen == [1, 2, 3, 4, 5, 6]
    # It is of the logits, whatever the file has now; and few pixels do.
    path.write_bytes(with_temperature(path.read_bytes(), 4.0, "somewhere"))
    assert fit_temperature(path, street(tmp_path, 2.5), samples=12_000) == pytest.approx(2.5, rel=0.12)


def test_a_data_set_coarser_than_the_classes(tmp_path: Path) -> None:
    """Road and sky are one class: right more often than the winner's share says, so sharper."""
    dataset = street(tmp_path, 2.5)
    (tmp_path / "street_2.5" / "labels.yaml").write_text(
        "classes: [{name: flat, value: [0, 2], covers: [road, sky]}, {name: building, value: 1}]\nvoid: [255]"
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(color_network())
    coarse = fit_temperature(path, open_dataset(tmp_path / "street_2.5"))
    assert coarse < 2.3 < fit_temperature(path, dataset)


def test_the_error_of_the_other_half_falls(tmp_path: Path) -> None:
    dataset = street(tmp_path, 3.0, 8)
    path = tmp_path / "m.onnx"
    path.write_bytes(color_network())

    def judged() -> Any:
        return evaluate(OnnxRuntimeBackend(read_bundle(path), threads=1), dataset, dataset.items[4:])

    before = judged()
    path.write_bytes(with_temperature(path.read_bytes(), fit_temperature(path, dataset, dataset.items[:4]), "street"))
    after = judged()
    assert before.ece > 0.15 and after.ece < 0.02
    assert (before.confusion == after.confusion).all()
    assert before.subject.temperature is None and after.subject.temperature == pytest.approx(3.0, rel=0.06)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_the_graph_divides_by_it_and_leaves_the_ids_alone(tmp_path: Path, temperature: float) -> None:
    image = np.random.default_rng(3).integers(0, 256, (1, HEIGHT, WIDTH, 3)).astype(np.uint8)
    plain = ort.InferenceSession(color_network(temperature=False), providers=["CPUExecutionProvider"])
    changed = with_temperature(color_network(), temperature, "street val", 0.2, 0.01)
    session = ort.InferenceSession(changed, providers=["CPUExecutionProvider"])
    ids, confidence = session.run(["class_ids", "confidence"], {"image": image})
    np.testing.assert_array_equal(ids, plain.run(["class_ids"], {"image": image})[0])
    expected = confidence_of(image[0, ::4, ::4], temperature) * 255
    assert np.abs(confidence[0] - expected).max() <= 0.51
    path = tmp_path / "m.onnx"
    path.write_bytes(changed)
    metadata = read_bundle(path).metadata
    assert metadata["confidence"] == {
        "temperature": temperature, "fitted_on": "street val", "ece_before": 0.2, "ece_after": 0.01,
    }  # fmt: skip
    assert metadata["name"] == "colors" and metadata["accuracy"] == {"a": 0.5}


def test_an_exported_network_has_one(tmp_path: Path, folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="exporting needs torch")
    from seg_perception.training.export import export_graph
    from seg_perception.training.models import build

    torch.manual_seed(0)
    network = build("pyramid", 19, width=0.25).eval()
    graph = export_graph(network, (128, 256), 2)
    value = next(t for t in graph.graph.initializer if t.name == INVERSE_TEMPERATURE)
    assert numpy_helper.to_array(value) == 1.0 and value.dims == []
    path = tmp_path / "m.onnx"
    path.write_bytes(with_temperature(with_metadata(graph, metadata_of("m", "1", (128, 256), 2)), 2.0, "nothing"))
    image = np.random.default_rng(0).integers(0, 256, (1, 128, 256, 3)).astype(np.uint8)
    ids, confidence = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"]).run(
        ["class_ids", "confidence"], {"image": image}
    )
    with torch.no_grad():
        logits = network(torch.from_numpy(image).permute(0, 3, 1, 2).float())
    expected = torch.softmax(logits / 2, 1).amax(1).numpy() * 255
    assert np.abs(confidence - expected).max() <= 1
    before = ort.InferenceSession(
        with_metadata(graph, metadata_of("m", "1", (128, 256), 2)), providers=["CPUExecutionProvider"]
    ).run(["class_ids"], {"image": image})[0]
    np.testing.assert_array_equal(ids, before)
    assert 0.1 <= fit_temperature(path, open_dataset(folder)) <= 10


def test_a_multiplication_by_one_is_gone_when_it_runs(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    counts = []
    for data in (color_network(), with_temperature(color_network(), 1.5, "x")):
        ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
        counts.append(sum(node.op_type == "Mul" for node in nodes))
    assert counts == [1, 2]


def test_models_without_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.onnx"
    path.write_bytes(color_network(temperature=False))
    for refused in (
        lambda: check_temperature(read_bundle(path)),
        lambda: fit_temperature(path, street(tmp_path, 1.0, 1)),
        lambda: with_temperature(path.read_bytes(), 2.0, "x"),
    ):
        with pytest.raises(
            ModelContractError, match="no scalar initializer 'inverse_temperature'.*export the model again"
        ):
            refused()


def test_an_initializer_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(color_network(temperature=False))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1), INVERSE_TEMPERATURE))
    path = tmp_path / "m.onnx"
    path.write_bytes(with_metadata(model, metadata_of("m", "1", (HEIGHT, WIDTH), 4)))
    with pytest.raises(ModelContractError, match="m.onnx: expected one Mul of"):
        check_temperature(read_bundle(path))


def test_a_graph_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="found no such Exp"):
        insert_inverse_temperature(onnx.load_model_from_string(tiny_onnx()))
    with pytest.raises(ValueError, match="has an initializer 'inverse_temperature' already"):
        insert_inverse_temperature(onnx.load_model_from_string(color_network()))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none(temperature: float) -> None:
    with pytest.raises(ValueError, match="expected a temperature over 0"):
        with_temperature(color_network(), temperature, "x")


def test_nothing_labelled(tmp_path: Path) -> None:
    frames = {"a": (np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8))}
    dataset = open_dataset(write_folder(tmp_path / "void", CITY, frames))
    path = tmp_path / "m.onnx"
    path.write_bytes(color_network())
    with pytest.raises(DatasetError, match="not one labelled pixel in 1 frames"):
        fit_temperature(path, dataset)


def test_the_verb_fits_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = tmp_path / "m.onnx", tmp_path / "fitted" / "m.onnx"
    model.write_bytes(color_network())
    dataset = street(tmp_path, 3.0, 4)
    assert len(dataset.items) == 4
    arguments = ["evaluate", str(model), str(tmp_path / "street_3.0"), "--json", "--threads", "1"]
    assert main([*arguments, "--limit", "3", "--fit-temperature", str(out)]) == 0
    said = capsys.readouterr()
    first = json.loads(said.out)
    assert "temperature 3." in said.err or "temperature 2.9" in said.err
    about = read_bundle(out).metadata["confidence"]
    assert about["fitted_on"] == "street_3.0 all, 3 of 4 frames"
    assert about["ece_before"] == pytest.approx(first["calibration"]["ece"], abs=1e-5) and about["ece_after"] < 0.03
    assert main(["evaluate", str(out), str(tmp_path / "street_3.0"), "--limit", "3", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["calibration"]["ece"] == pytest.approx(about["ece_after"], abs=1e-5)
    assert second["model"]["temperature"] == about["temperature"] and second["miou"] == first["miou"]
    assert [p.name for p in out.parent.iterdir()] == ["m.onnx"]
