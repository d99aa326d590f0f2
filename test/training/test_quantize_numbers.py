"""Ranges against NumPy, and integers against a calculation by the book."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantising needs onnx")

from int8_networks import (
    HW,
    PICTURE_MEAN,
    PICTURE_STD,
    answers,
    hat_network,
    picture_graph,
    session_of,
    write_pictures,
)
from onnx import helper, numpy_helper

from seg_perception.datasets import open_dataset
from seg_perception.errors import ConfigError, ModelContractError
from seg_perception.training.quantization import QuantizeConfig
from seg_perception.training.quantization.convert import Scheme, layers_of, quantized, watched_tensors
from seg_perception.training.quantization.graph import Graph
from seg_perception.training.quantization.measure import pictures_of
from seg_perception.training.quantization.ranges import entropy_threshold, find_ranges, passes
from seg_perception.training.quantization.rewrites import fold_normalisation


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    root = write_pictures(tmp_path_factory.mktemp("pictures"))
    return pictures_of(open_dataset(root, "train").items[:4], HW)


class TestRanges:
    def ramp(self, images: list[np.ndarray], method: str) -> tuple[np.ndarray, tuple[float, float]]:
        """All values of one inner tensor, and the range that is found for it."""
        graph = Graph(hat_network())
        session = session_of(graph.to_model(["stem_relu_out"]))
        values = np.concatenate([session.run(["stem_relu_out"], {"image": i[None]})[0].ravel() for i in images])
        count = 0

        def advance() -> None:
            nonlocal count
            count += 1

        found = find_ranges(graph, ["stem_relu_out"], images, method, advance)["stem_relu_out"]
        assert count == passes(method) * len(images)
        return values, found

    def test_minmax(self, images: list[np.ndarray]) -> None:
        values, found = self.ramp(images, "minmax")
        assert found == (0.0, pytest.approx(values.max()))

    def test_percentile(self, images: list[np.ndarray]) -> None:
        values, found = self.ramp(images, "percentile")
        bin_width = float(values.max()) / 2048
        assert found[0] == 0 and found[1] == pytest.approx(np.quantile(values, 1 - 1e-4), abs=2 * bin_width)

    def test_entropy_clips_what_is_rare_and_not_what_is_usual(self) -> None:
        rng = np.random.default_rng(0)
        usual = np.abs(rng.normal(size=200_000))
        whole = np.histogram(usual, 2048, (0, usual.max()))[0]
        assert entropy_threshold(whole) > 0.6
        with_outliers = np.histogram(np.append(usual, [50.0, 60.0]), 2048, (0, 60.0))[0]
        assert 3 < entropy_threshold(with_outliers) * 60 < 12
        # Behind a Relu most values are zero: that must not draw the limit down.
        with_zeros = whole.copy()
        with_zeros[0] += 10_000_000
        assert entropy_threshold(with_zeros) == entropy_threshold(whole)

    def test_values_that_are_no_numbers_are_refused(self, images: list[np.ndarray]) -> None:
        graph = Graph(hat_network())
        graph.constants["stem_b"] = graph.constants["stem_b"] * np.float32(np.nan)
        with pytest.raises(ModelContractError, match="stem_out: .* not finite"):
            find_ranges(graph, ["stem_out"], images)

    def test_what_cannot_be_calibrated(self) -> None:
        graph = Graph(hat_network())
        with pytest.raises(ConfigError, match="minmax, percentile, entropy"):
            find_ranges(graph, ["stem_relu_out"], [])
        with pytest.raises(ConfigError, match="method"):
            QuantizeConfig(method="guess")


def in_steps(values: np.ndarray, scale: float, low: int, high: int, zero: int = 0) -> np.ndarray:
    """Rounded to a scale and clipped, as real numbers."""
    return (np.clip(np.rint(values / scale) + zero, low, high) - zero) * scale


class TestIntegers:
    @pytest.mark.parametrize("bits", [7, 8])
    def test_two_convolutions_against_numpy(self, bits: int) -> None:
        """Weights, biases and activations rounded by the book in float64; the engine may differ by one step in ties."""
        rng = np.random.default_rng(bits)
        weights = (rng.normal(size=(8, 3, 1, 1)) * 10.0 ** rng.uniform(-2, 0, (8, 1, 1, 1))).astype(np.float32)
        second = rng.normal(size=(4, 8, 1, 1)).astype(np.float32)
        model = picture_graph(weights, 1, (16, 24))
        model.graph.initializer.append(numpy_helper.from_array(second, "w2"))
        model.graph.node.append(helper.make_node("Conv", ["y", "w2"], ["z"], name="second"))
        model.graph.output[0].name = "z"
        image = rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)
        graph = Graph(model)
        assert fold_normalisation(graph) is not None
        layers = layers_of(graph)
        ranges = find_ranges(graph, watched_tensors(layers, graph), [image])
        integers, _ = quantized(graph, layers, ranges, Scheme(weight_bits=bits))
        actual = answers(integers.to_model(), [image])[0][0]

        top = {7: 64, 8: 127}[bits]
        w = weights[:, :, 0, 0].astype(np.float64) / PICTURE_STD
        b = np.linspace(-1, 1, 8) + (w * (110 - PICTURE_MEAN)).sum(1)
        scales = np.maximum(np.abs(w).max(1) / top, np.abs(b) / 2**30)
        pixels = image.reshape(-1, 3).astype(float) - 110
        hidden = pixels @ in_steps(w, scales[:, None], -top, top).T + in_steps(b, scales, -(2**31), 2**31)
        hidden = in_steps(hidden, ranges["y"][1] / 255, 0, 255)
        w2 = second[:, :, 0, 0].astype(np.float64)
        out = hidden @ in_steps(w2, np.abs(w2).max(1)[:, None] / top, -top, top).T
        low, high = ranges["z"]
        step = (high - low) / 255
        expected = in_steps(out, step, 0, 255, round(-low / step)).T.reshape(1, 4, 16, 24)
        difference = np.abs(actual - expected)
        assert difference.max() <= step * 1.01 and (difference > step / 2).mean() < 0.02

    def test_seven_bits_fit_where_products_are_added_in_sixteen(self) -> None:
        """AVX2 adds two products of a byte and a weight in 16 bits; with 8 bits they may not fit."""
        assert 255 * 64 * 2 <= 2**15 - 1 < 255 * 127 * 2

    def test_a_large_bias_on_tiny_weights_still_fits(self) -> None:
        graph = Graph(picture_graph(np.full((2, 3, 1, 1), 1e-12, np.float32), 1, (4, 4)))
        graph.constants["b"] = np.array([1000, -1000], np.float32)
        layers = layers_of(graph)
        image = np.zeros((4, 4, 3), np.uint8)
        ranges = find_ranges(graph, watched_tensors(layers, graph), [image])
        integers, _ = quantized(graph, layers, ranges, Scheme())
        out = answers(integers.to_model(), [image])[0][0]
        assert out[0, 0].min() == pytest.approx(1000, rel=0.01) and out[0, 1].max() == 0
