"""An ONNX graph that can be changed: who makes a tensor, who reads it, constants as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

__all__ = ["Graph", "attribute", "set_attributes"]

Node = Any
"""onnx.NodeProto; onnx has no type information."""


def attribute(node: Node, name: str, default: Any = None) -> Any:
    """An attribute's value, numbers and lists of them as Python's own; `default` where it is not set."""
    for entry in node.attribute:
        if entry.name == name:
            value = helper.get_attribute_value(entry)
            return value.decode() if isinstance(value, bytes) else value
    return default


def set_attributes(node: Node, **values: Any) -> None:
    """Set or replace attributes."""
    kept = [entry for entry in node.attribute if entry.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])


_CONVOLUTIONS = ("Conv", "ConvTranspose")


class Graph:
    """A changeable copy of a model's graph. Every node has a name of its own, every constant is an initializer.

    Attributes:
        nodes: in no certain order; `to_model` sorts them.
        constants: array by tensor name.
        inputs, outputs: names.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.nodes: list[Node] = []
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _constant_value(node)
            else:
                self.nodes.append(node)
        taken: set[str] = set()
        for i, node in enumerate(self.nodes):
            if not node.name or node.name in taken:
                node.name = f"{node.op_type}_{i}"
            taken.add(node.name)

    @property
    def opset(self) -> int:
        return max((entry.version for entry in self._model.opset_import if entry.domain in ("", "ai.onnx")), default=0)

    @property
    def foreign_domains(self) -> list[str]:
        """Domains of nodes that are not of the standard operator set."""
        return sorted({node.domain for node in self.nodes} - {"", "ai.onnx"})

    def producer(self, tensor: str) -> Node | None:
        """The node that makes a tensor; None for inputs and constants."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[Node]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def only_consumer(self, tensor: str) -> Node | None:
        """The node that reads a tensor, if it is one and the tensor is no output of the graph."""
        readers = self.consumers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def sorted_nodes(self) -> list[Node]:
        """The nodes that the outputs depend on, in an order in which they can run."""
        return self._needed(())[1]

    def after(self, start: Node) -> list[Node]:
        """The nodes that depend on a node's outputs, in an order in which they can run."""
        reached, found = set(start.output), []
        for node in self.sorted_nodes():
            if reached & set(node.input):
                found.append(node)
                reached |= set(node.output)
        return found

    def last_convolutions(self) -> list[Node]:
        """The convolutions that no other one follows: their outputs are the logits."""
        last: list[Node] = []
        lead_to_one: set[str] = set()
        for node in reversed(self.sorted_nodes()):
            leads = bool(lead_to_one & set(node.output))
            if node.op_type in _CONVOLUTIONS and not leads:
                last.append(node)
            if node.op_type in _CONVOLUTIONS or leads:
                lead_to_one |= set(node.input)
        return last[::-1]

    def unique(self, name: str) -> str:
        """A tensor name that is not taken: `name`, or that with a number."""
        taken = {*self.inputs, *self.constants, *(t for node in self.nodes for t in node.output)}
        candidates = (name if i == 0 else f"{name}_{i}" for i in range(len(taken) + 1))
        return next(candidate for candidate in candidates if candidate not in taken)

    def add_constant(self, name: str, value: Any) -> str:
        """A new constant; returns the name it got."""
        name = self.unique(name)
        self.constants[name] = np.asarray(value)
        return name

    def add(self, op: str, inputs: Sequence[str], name: str, output: str | None = None, **attributes: Any) -> str:
        """A new node with one output; returns the output's name."""
        result = output if output is not None else self.unique(f"{name}_output")
        names = {node.name for node in self.nodes}
        if name in names:
            name = next(f"{name}_{i}" for i in range(1, len(names) + 2) if f"{name}_{i}" not in names)
        self.nodes.append(helper.make_node(op, list(inputs), [result], name=name, **attributes))
        return result

    def remove(self, node: Node) -> None:
        """Take a node out; whoever reads its outputs has to be rewired."""
        self.nodes = [other for other in self.nodes if other is not node]

    def rewire(self, old: str, new: str, nodes: Iterable[Node] | None = None) -> None:
        """Let readers of `old`, all or these, read `new`."""
        for node in self.consumers(old) if nodes is None else nodes:
            node.input[:] = [new if tensor == old else tensor for tensor in node.input]

    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """What is known of every tensor's shape."""
        inferred = shape_inference.infer_shapes(self.to_model(), data_prop=True).graph
        known = {
            value.name: tuple(
                d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim
            )
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
            if value.type.tensor_type.HasField("shape")
        }
        return {**known, **{name: value.shape for name, value in self.constants.items()}}

    def copy(self) -> Graph:
        """Another graph with the same content; arrays are shared."""
        other = Graph.__new__(Graph)
        other._model, other.inputs, other.outputs = self._model, self.inputs, self.outputs
        other.constants, other.nodes = dict(self.constants), []
        for node in self.nodes:
            twin = onnx.NodeProto()
            twin.CopyFrom(node)
            other.nodes.append(twin)
        return other

    def to_model(self, extra_outputs: Sequence[str] = ()) -> onnx.ModelProto:
        """The model, nodes sorted, without what nobody reads.

        Args:
            extra_outputs: float tensors that shall be outputs as well.
        """
        needed, nodes = self._needed(extra_outputs)
        model = onnx.ModelProto()
        model.ir_version = min(self._model.ir_version, 10) or 8
        model.opset_import.append(helper.make_opsetid("", self.opset))
        model.metadata_props.extend(self._model.metadata_props)
        source = self._model.graph
        graph = helper.make_graph(
            nodes,
            source.name or "graph",
            list(source.input),
            [*source.output, *(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in extra_outputs)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in needed],
        )
        model.graph.CopyFrom(graph)
        return model

    def _needed(self, extra_outputs: Sequence[str]) -> tuple[set[str], list[Node]]:
        """Tensors that the outputs depend on, and the nodes that make them, sorted."""
        makers = {tensor: node for node in self.nodes for tensor in node.output if tensor}
        needed: set[str] = set()
        ordered: dict[str, Node] = {}
        stack = [(name, False) for name in reversed([*self.outputs, *extra_outputs])]
        while stack:
            tensor, made = stack.pop()
            node = makers.get(tensor)
            if made and node is not None:
                ordered[node.name] = node
            elif tensor not in needed:
                needed.add(tensor)
                if node is not None:
                    stack.append((tensor, True))
                    stack.extend((t, False) for t in reversed(node.input) if t)
        return needed, list(ordered.values())


def _constant_value(node: Node) -> np.ndarray:
    entry = node.attribute[0]
    if entry.name == "value":
        value: np.ndarray = numpy_helper.to_array(entry.t)
        return value
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if entry.name not in kinds:
        raise ValueError(f"{node.name}: a Constant with {entry.name} is not supported")
    return np.asarray(helper.get_attribute_value(entry), kinds[entry.name])
