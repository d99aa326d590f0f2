"""The confidence as rows of pixels: what makes ONNX Runtime look for the largest logit where the classes lie together.

With maps over NHWC (`channels_last`), ONNX Runtime's optimiser moves the transposition behind the maximum and the
difference again, and the maximum over classes then steps through memory: 0.4 ms of a network that takes 10. It does
not move a transposition through a Reshape. The answers are the same.
"""

from __future__ import annotations

import numpy as np
import onnx

from seg_perception.training.quantization.graph import Graph, Node, attribute, set_attributes

__all__ = ["flat_confidence"]

_ELEMENTWISE = ("Add", "Cast", "Clip", "Div", "Exp", "Floor", "Log", "Mul", "Reciprocal", "Round", "Sub")
_NHWC, _CLASSES = [0, 2, 3, 1], 3
_FLAT_CLASSES = 2


def flat_confidence(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with `[N, h·w, classes]` from the logits to its output `confidence`; as it was where it does not fit.

    Args:
        model: as `channels_last_head` leaves it.
    """
    graph = Graph(model)
    shapes = graph.shapes()
    for turn in [node for node in graph.nodes if node.op_type == "Transpose"]:
        shape = shapes.get(turn.output[0], ())
        nodes = _confidence_nodes(graph, turn)
        if attribute(turn, "perm") == _NHWC and len(shape) == 4 and all(shape[1:]) and _understood(graph, nodes):
            _flatten(graph, turn, nodes, [int(n or 1) for n in shape[1:]])
            return graph.to_model()
    return model


def _confidence_nodes(graph: Graph, turn: Node) -> list[Node]:
    """The nodes between the turned logits and the confidence."""
    wanted, nodes = {"confidence"}, []
    for node in reversed(graph.after(turn)):
        if wanted & set(node.output):
            wanted |= set(node.input)
            nodes.append(node)
    return nodes[::-1]


def _understood(graph: Graph, nodes: list[Node]) -> bool:
    """Whether all of them run over the classes of one pixel, and end there."""
    for node in nodes:
        if node.op_type in ("ReduceMax", "ReduceSum"):
            if _axes(graph, node) != [_CLASSES]:
                return False
        elif node.op_type not in _ELEMENTWISE:
            return False
        if any(graph.constants[name].size > 1 for name in node.input if name in graph.constants and _is_operand(node)):
            return False
    made = {name for node in nodes for name in node.output}
    readers = [reader for name in made for reader in graph.consumers(name)]
    return bool(nodes) and all(reader in nodes for reader in readers) and made & set(graph.outputs) == {"confidence"}


def _is_operand(node: Node) -> bool:
    """Whether a constant of it is added or multiplied, rather than axes."""
    return node.op_type in _ELEMENTWISE


def _axes(graph: Graph, node: Node) -> list[int]:
    if len(node.input) > 1:
        return [int(axis) for axis in graph.constants.get(node.input[1], np.empty(0))]
    return list(attribute(node, "axes") or [])


def _flatten(graph: Graph, turn: Node, nodes: list[Node], shape: list[int]) -> None:
    rows, columns, classes = shape
    logits = turn.output[0]
    readers = [node for node in nodes if logits in node.input]
    size = graph.add_constant("logits_flat_shape", np.array([0, rows * columns, classes], np.int64))
    graph.rewire(logits, graph.add("Reshape", [logits, size], "logits_flat"), readers)
    for node in nodes:
        if node.op_type not in ("ReduceMax", "ReduceSum"):
            continue
        if len(node.input) > 1:
            node.input[1] = graph.add_constant(f"{node.name}_flat_axes", np.array([_FLAT_CLASSES], np.int64))
        else:
            set_attributes(node, axes=[_FLAT_CLASSES])
    last = next(node for node in nodes if "confidence" in node.output)
    last.output[0] = graph.unique("confidence_flat")
    map_size = graph.add_constant("confidence_shape", np.array([0, rows, columns], np.int64))
    graph.add("Reshape", [last.output[0], map_size], "confidence_map", output="confidence")
