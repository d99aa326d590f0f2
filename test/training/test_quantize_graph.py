"""The same network laid out for int8: every rewrite against the graph as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantising needs onnx")

from int8_networks import HW, answers, hat_network, picture_graph, write_pictures
from onnx import helper, numpy_helper

from seg_perception.datasets import open_dataset
from seg_perception.training.export import export_graph, traced_graph
from seg_perception.training.models import build
from seg_perception.training.quantization import channels_last_head
from seg_perception.training.quantization.folding import fold_constants
from seg_perception.training.quantization.graph import Graph, attribute
from seg_perception.training.quantization.measure import pictures_of
from seg_perception.training.quantization.prepare import prepared
from seg_perception.training.quantization.rewrites import fold_normalisation, fold_pools_into_convolutions, pack_pixels

PYRAMID = build("pyramid", classes=19, width=0.5).eval()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    root = write_pictures(tmp_path_factory.mktemp("pictures"))
    return pictures_of(open_dataset(root, "train").items[:4], HW)


class TestRewrites:
    @pytest.mark.parametrize("start", ["usual", "channels last"])
    def test_the_first_convolution_reads_bytes(self, start: str) -> None:
        rng = np.random.default_rng(0)
        model = picture_graph(rng.normal(size=(5, 3, 3, 3)).astype(np.float32), 2, (16, 24), start)
        image = rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)
        expected = answers(model, [image])[0][0]
        graph = Graph(model)
        convolution = fold_normalisation(graph)
        assert convolution is not None and convolution.name == "conv"
        kinds = [node.op_type for node in graph.to_model().graph.node]
        assert kinds == ["Transpose", "DequantizeLinear", "Conv", "Relu"]
        actual = answers(graph.to_model(), [image])[0][0]
        np.testing.assert_allclose(actual[:, :, 1:, 1:], expected[:, :, 1:, 1:], atol=1e-4)
        # Outside of the picture it is grey 110 instead of the mean colour, which is 10 levels away at most.
        worst = 10 / 50 * np.abs(numpy_helper.to_array(model.graph.initializer[0])).sum((1, 2, 3)).max()
        assert 0 < np.abs(actual - expected).max() <= worst

    def test_another_beginning_is_left_alone(self) -> None:
        weights = np.ones((2, 3, 1, 1), np.float32)
        graph = Graph(picture_graph(weights, 1, (4, 4), "odd"))
        before = graph.to_model().SerializeToString()
        assert fold_normalisation(graph) is None and graph.to_model().SerializeToString() == before

    @pytest.mark.parametrize(
        ("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (7, 1), (1, 2), (3, 2), (5, 2), (7, 2), (3, 4), (5, 4), (7, 4)]
    )
    def test_packed_pixels_give_the_same(self, kernel: int, stride: int) -> None:
        rng = np.random.default_rng(kernel * 10 + stride)
        weights = rng.normal(size=(6, 3, kernel, kernel)).astype(np.float32)
        model = picture_graph(weights, stride, (16, 24))
        model.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))
        model.graph.output[0].name = "z"
        image = rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)
        graph = Graph(model)
        convolution = fold_normalisation(graph)
        expected = answers(graph.to_model(), [image])[0][0]
        assert convolution is not None and pack_pixels(graph, convolution)
        assert graph.constants[convolution.input[1]].shape[:2] == (6 * 4 // stride, 12)
        onnx.checker.check_model(graph.to_model(), full_check=True)
        np.testing.assert_allclose(answers(graph.to_model(), [image])[0][0], expected, atol=2e-4)

    def test_a_width_that_does_not_divide_is_not_packed(self) -> None:
        graph = Graph(picture_graph(np.ones((2, 3, 3, 3), np.float32), 2, (16, 22)))
        convolution = fold_normalisation(graph)
        assert convolution is not None and not pack_pixels(graph, convolution)

    def test_the_hat_network_keeps_its_answers(self, images: list[np.ndarray]) -> None:
        model = hat_network()
        graph = prepared(model)
        kinds = [node.op_type for node in graph.nodes]
        assert "AveragePool" not in kinds and "Shape" not in kinds and "Sub" in kinds
        assert kinds.count("DequantizeLinear") == 1
        for (ids, sure), (other_ids, other_sure) in zip(answers(model, images), answers(graph.to_model(), images)):
            assert (ids == other_ids).mean() > 0.995  # of void, where classes are equally likely, rounding decides
            assert np.abs(sure.astype(int) - other_sure).max() <= 1

    def test_pools_are_folded_only_where_that_is_exact(self) -> None:
        def pooled(**pool: Any) -> Graph:
            graph = Graph(hat_network())
            node = next(n for n in graph.nodes if n.op_type == "AveragePool")
            for name, value in pool.items():
                node.attribute.append(helper.make_attribute(name, value))
            return graph

        assert fold_pools_into_convolutions(pooled()) == 1
        assert fold_pools_into_convolutions(pooled(pads=[1, 1, 1, 1])) == 0
        assert fold_pools_into_convolutions(pooled(ceil_mode=1)) == 0


class TestHead:
    def test_answers_are_the_same(self, images: list[np.ndarray]) -> None:
        model = hat_network()
        turned = channels_last_head(model)
        onnx.checker.check_model(turned, full_check=True)
        axes = {n.op_type: attribute(n, "axis") for n in turned.graph.node if n.op_type == "ArgMax"}
        assert axes == {"ArgMax": 3}
        for before, after in zip(answers(model, images), answers(turned, images)):
            for a, b in zip(before, after):
                np.testing.assert_array_equal(a, b)

    def test_once_is_enough(self) -> None:
        turned = channels_last_head(hat_network())
        assert channels_last_head(turned) is turned

    @pytest.mark.parametrize("stride", [2, 4])
    def test_of_an_exported_network(self, stride: int) -> None:
        model = traced_graph(PYRAMID, (128, 256), stride)
        image = np.random.default_rng(0).integers(0, 256, (128, 256, 3)).astype(np.uint8)
        turned = channels_last_head(model)
        assert turned is not model
        assert (
            channels_last_head(export_graph(PYRAMID, (128, 256), stride)).graph
            == export_graph(PYRAMID, (128, 256), stride).graph
        )  # an export has it already
        for a, b in zip(answers(model, [image])[0], answers(turned, [image])[0]):
            assert (a == b).mean() > 0.999

    def test_what_is_not_understood_is_left_alone(self) -> None:
        model = hat_network()
        exp = next(n for n in model.graph.node if n.op_type == "Exp")
        exp.op_type = "Softplus"
        assert channels_last_head(model) is model


def test_sizes_that_exporters_leave_to_run_time_are_folded() -> None:
    model = traced_graph(PYRAMID, (128, 256), 2)
    assert "Shape" in {node.op_type for node in model.graph.node}
    graph = Graph(model)
    fold_constants(graph)
    assert not {"Shape", "Slice", "Gather", "Constant"} & {node.op_type for node in graph.nodes}
    image = np.random.default_rng(1).integers(0, 256, (128, 256, 3)).astype(np.uint8)
    for a, b in zip(answers(model, [image])[0], answers(graph.to_model(), [image])[0]):
        np.testing.assert_array_equal(a, b)
