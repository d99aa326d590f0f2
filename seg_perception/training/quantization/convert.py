"""Float to int8: QuantizeLinear and DequantizeLinear around what shall run in integers (QDQ), standard operators only.

An engine recognises `DequantizeLinear, Conv, QuantizeLinear` and runs one integer convolution in its place. Weights
are int8, symmetric, with a scale for each output channel; a bias is int32 with the product of both scales.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from seg_perception.training.quantization.graph import Graph, Node
from seg_perception.training.quantization.ranges import Range

__all__ = ["Layer", "Scheme", "layers_of", "quantized", "watched_tensors"]

_ALIKE = ("MaxPool", "Reshape", "Transpose")
"""Operators that hand values on unchanged: their output has their input's scale."""
_OWN_SCALE = ("Add", "AveragePool", "Concat", "Conv", "GlobalAveragePool")
_LARGEST_BIAS = 2.0**30


@dataclass(frozen=True)
class Scheme:
    """How numbers are written.

    Attributes:
        signed: activations as int8 around zero, which TensorRT wants, instead of uint8 with a zero point, for which
            x86 has an instruction (`VPDPBUSD`).
        weight_bits: 8, or 7: without VNNI, AVX2 adds two products in 16 bits, and only with 7 bits they always fit.
        float_bias: leave biases in float, as TensorRT wants them.
    """

    signed: bool = False
    weight_bits: int = 8
    float_bias: bool = False

    def activation(self, limits: Range) -> tuple[np.ndarray, np.ndarray]:
        """Scale, float32, and zero point, uint8 or int8, of values between limits."""
        low, high = min(limits[0], 0.0), max(limits[1], 0.0)
        if self.signed:
            return np.array(max(-low, high, 1e-6) / 127, np.float32), np.array(0, np.int8)
        scale = np.array(max(high - low, 1e-6) / 255, np.float32)
        return scale, np.array(np.clip(np.rint(-low / scale), 0, 255), np.uint8)


@dataclass(frozen=True)
class Layer:
    """What is quantised, or left in float, as one: an operator and the Relu behind it.

    Attributes:
        name: of the operator's node.
        op: its type.
        inputs: activations that it reads.
        output: its result, behind the Relu.
        macs: multiply-adds of one picture, 0 where unknown or none.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    relu: str | None
    macs: int

    @property
    def follows(self) -> bool:
        """It hands on what its input is, integers or float; a sweep need not ask about it."""
        return self.op in _ALIKE


def layers_of(graph: Graph) -> list[Layer]:
    """The layers that can run in integers, in order: all of these operators up to the logits."""
    last = graph.last_convolutions()
    heads = {node.name for convolution in last for node in graph.after(convolution)}
    shapes = graph.shapes()
    found: list[Layer] = []
    made: set[str] = set()
    for node in graph.sorted_nodes():
        if node.name in heads or not _can(graph, node, made):
            continue
        inputs = tuple(dict.fromkeys(name for name in node.input if name and name not in graph.constants))
        relu = graph.only_consumer(node.output[0])
        has_relu = relu is not None and relu.op_type == "Relu" and relu.name not in heads
        output = relu.output[0] if has_relu and relu is not None else node.output[0]
        made.add(output)
        name = relu.name if has_relu and relu is not None else None
        found.append(Layer(node.name, node.op_type, inputs, output, name, _macs(graph, node, shapes)))
    return found


def _can(graph: Graph, node: Node, made: set[str]) -> bool:
    if node.op_type in _ALIKE:
        return node.input[0] in made and len(node.output) == 1
    if node.op_type == "Conv":
        return all(name in graph.constants for name in node.input[1:] if name)
    return node.op_type in _OWN_SCALE and not set(node.input) & set(graph.constants)


def _macs(graph: Graph, node: Node, shapes: Mapping[str, tuple[int | None, ...]]) -> int:
    shape = shapes.get(node.output[0], ())
    if node.op_type != "Conv" or len(shape) != 4 or shape[2] is None or shape[3] is None:
        return 0
    return int(graph.constants[node.input[1]].size) * shape[2] * shape[3]


def watched_tensors(layers: list[Layer], graph: Graph) -> list[str]:
    """The tensors whose ranges `quantized` needs."""
    names = dict.fromkeys(name for layer in layers for name in (*layer.inputs, layer.output))
    return [name for name in names if _given_scale(graph, name) is None]


def _given_scale(graph: Graph, tensor: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and zero point of a tensor that comes out of DequantizeLinear already: the picture's."""
    node = graph.producer(tensor)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return graph.constants[node.input[1]], graph.constants[node.input[2]]


def quantized(
    graph: Graph,
    layers: list[Layer],
    ranges: Mapping[str, Range],
    scheme: Scheme,
    keep_float: Collection[str] = (),
) -> tuple[Graph, dict[str, str]]:
    """A copy of the graph with its layers in integers, but for some.

    Args:
        layers: as `layers_of` found them.
        ranges: of `watched_tensors`.
        keep_float: names of layers to leave in float.

    Returns:
        the graph, and by name of a tensor the name of its rounded values.
    """
    work = _Conversion(graph.copy(), ranges, scheme)
    for layer in layers:
        if layer.name not in keep_float:
            work.convert(layer)
    return work.graph, work.rounded


class _Conversion:
    def __init__(self, graph: Graph, ranges: Mapping[str, Range], scheme: Scheme) -> None:
        self.graph, self.ranges, self.scheme = graph, ranges, scheme
        self.nodes = {node.name: node for node in graph.nodes}
        self.rounded: dict[str, str] = {}
        self._parameters: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._made: set[str] = set()

    def convert(self, layer: Layer) -> None:
        """Read rounded inputs, round the output."""
        if layer.follows and layer.inputs[0] not in self._made:
            return
        node = self.nodes[layer.name]
        for name in layer.inputs:
            source = name if name not in self._made else self.rounded[name]
            self.graph.rewire(source, self._rounded(name), [node])
        if layer.op == "Conv":
            self._convert_weights(node, self._parameters[layer.inputs[0]][0])
        if layer.follows:
            self._parameters[layer.output] = self._parameters[layer.inputs[0]]
        self._absorb_relu(layer, node)
        readers = self.graph.consumers(layer.output)
        rounded = self._rounded(layer.output)
        self._made.add(layer.output)
        self.graph.rewire(layer.output, rounded, [n for n in readers if n.op_type != "QuantizeLinear"])

    def _rounded(self, tensor: str) -> str:
        """The name of a tensor's rounded values; made when it is asked for the first time."""
        given = _given_scale(self.graph, tensor)
        if given is not None:
            self._parameters[tensor], self.rounded[tensor] = given, tensor
        if tensor not in self.rounded:
            if tensor not in self._parameters:
                self._parameters[tensor] = self.scheme.activation(self.ranges[tensor])
            scale, zero = self._parameters[tensor]
            constants = [
                self.graph.add_constant(f"{tensor}_scale", scale),
                self.graph.add_constant(f"{tensor}_zero", zero),
            ]
            integers = self.graph.add("QuantizeLinear", [tensor, *constants], f"{tensor}_quantize")
            self.rounded[tensor] = self.graph.add("DequantizeLinear", [integers, *constants], f"{tensor}_dequantize")
        return self.rounded[tensor]

    def _absorb_relu(self, layer: Layer, node: Node) -> None:
        """Clipping at a zero point of 0 is a Relu."""
        if layer.relu is None or self.scheme.signed or self.ranges[layer.output][0] < 0:
            return
        relu = self.nodes[layer.relu]
        self.graph.remove(relu)
        node.output[0] = layer.output

    def _convert_weights(self, node: Node, input_scale: np.ndarray) -> None:
        weights = self.graph.constants[node.input[1]].astype(np.float64)
        bias = self.graph.constants[node.input[2]].astype(np.float64) if len(node.input) > 2 and node.input[2] else None
        levels = 127 if self.scheme.weight_bits == 8 else 64
        scales = np.abs(weights).reshape(len(weights), -1).max(1) / levels
        if bias is not None:
            # A channel of tiny weights and a large bias: its bias has to fit into 32 bits as well.
            scales = np.maximum(scales, np.abs(bias) / (_LARGEST_BIAS * float(input_scale)))
        scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
        integers = np.clip(np.rint(weights / scales[:, None, None, None]), -levels, levels).astype(np.int8)
        node.input[1] = self._dequantize(f"{node.name}_weight", integers, scales)
        if bias is not None and not self.scheme.float_bias:
            bias_scales = (scales * np.float32(input_scale)).astype(np.float32)
            node.input[2] = self._dequantize(
                f"{node.name}_bias", np.rint(bias / bias_scales).astype(np.int32), bias_scales
            )

    def _dequantize(self, name: str, integers: np.ndarray, scales: np.ndarray) -> str:
        constants = [
            self.graph.add_constant(f"{name}_int{8 * integers.itemsize}", integers),
            self.graph.add_constant(f"{name}_scale", scales),
            self.graph.add_constant(f"{name}_zero", np.zeros(len(scales), integers.dtype)),
        ]
        return self.graph.add("DequantizeLinear", constants, f"{name}_dequantize", axis=0)
