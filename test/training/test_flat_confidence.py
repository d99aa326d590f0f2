"""Confidence over rows of pixels: the very same answers, and left alone what is not understood."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs torch")
onnx = pytest.importorskip("onnx", reason="exporting needs onnx")

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.model.bundle import read_bundle
from seg_perception.training.export import export_graph, traced_graph
from seg_perception.training.model_file import metadata_of, with_metadata
from seg_perception.training.models import build
from seg_perception.training.quantization import channels_last_head
from seg_perception.training.quantization.flat_confidence import flat_confidence
from seg_perception.training.temperature import logits_graph

SIZE_HW = (64, 128)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = build("esp_pyramid", 19, width=0.5, blocks=(1, 1))
    with torch.no_grad():
        network.classify.weight.mul_(20)
    return network.eval()


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3)).astype(np.uint8)


def answers(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    return open_session(model.SerializeToString(), 1).run(["class_ids", "confidence"], {"image": image})


@pytest.mark.parametrize("stride", [2, 4])
def test_the_answers_are_the_same_to_the_bit(network, image, stride) -> None:
    before = channels_last_head(traced_graph(network, SIZE_HW, stride))
    after = export_graph(network, SIZE_HW, stride)
    assert [node.op_type for node in after.graph.node].count("Reshape") == 2
    assert "Reshape" not in [node.op_type for node in before.graph.node]
    for old, new in zip(answers(before, image), answers(after, image)):
        assert len(np.unique(old)) > 3 and old.shape == new.shape
        np.testing.assert_array_equal(new, old)
    again = flat_confidence(after)
    assert again.SerializeToString() == after.SerializeToString()


def test_a_head_that_is_not_understood_is_left_alone(network) -> None:
    first = traced_graph(network, SIZE_HW, 2)  # channels first
    assert flat_confidence(first) is first
    strange = channels_last_head(first)
    maximum = next(node for node in strange.graph.node if node.op_type == "ReduceMax")
    maximum.op_type = "ReduceMean"
    assert flat_confidence(strange) is strange


def test_the_temperature_finds_its_logits(network, image, tmp_path) -> None:
    path = tmp_path / "flat.onnx"
    path.write_bytes(with_metadata(export_graph(network, SIZE_HW, 2), metadata_of("flat", "1", SIZE_HW, 2)))
    graph, output = logits_graph(read_bundle(path))
    confidence, logits = open_session(graph, 1).run(["confidence", output], {"image": image})
    assert logits.shape == (1, 16 * 32, 19) and logits.max() == 0
    expected = 255 / np.exp(logits.astype(np.float64)).sum(-1)
    np.testing.assert_allclose(confidence.reshape(1, -1), expected, atol=0.51)
