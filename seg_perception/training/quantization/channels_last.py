"""Classes last: what follows the logits runs over the classes of one pixel, and is quick where these lie together.

ONNX Runtime's ArgMax, ReduceMax and ReduceSum over the second of four axes take three to six times as long as over
the last one, in float as in int8. The answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from seg_perception.training.quantization.folding import fold_constants
from seg_perception.training.quantization.graph import Graph, Node, attribute, set_attributes

__all__ = ["channels_last_head", "turn_head"]

_TO_NHWC = (0, 2, 3, 1)
_NEW_AXIS = (0, 3, 1, 2)
"""Where each axis of NCHW is in NHWC."""
_UNARY = ("Cast", "Clip", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sqrt")
_BINARY = ("Add", "Div", "Mul", "Pow", "Sub")
_REDUCTIONS = ("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")

Edit = Callable[[], None]


class _NotUnderstoodError(Exception):
    """The head holds something that is better left alone."""


def channels_last_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with everything behind its last convolution over NHWC; as it was where that part is not understood.

    Understood are `logits, Resize, ArgMax, Cast` beside `logits, ReduceMax, Sub, Exp, ReduceSum, Reciprocal` and what
    is made of the same operators, a factor on the logits among them.
    """
    graph = Graph(model)
    fold_constants(graph)
    return graph.to_model() if turn_head(graph) else model


def turn_head(graph: Graph) -> bool:
    """`channels_last_head` on a graph with folded constants; False, and nothing changed, where it cannot be done."""
    last = [
        conv for conv in graph.last_convolutions() if any(node.op_type == "ArgMax" for node in graph.after(conv))
    ]  # other heads, of centres and offsets, stay as they are
    if len(last) != 1:
        return False
    logits, readers = last[0].output[0], graph.consumers(last[0].output[0])
    head = graph.after(last[0])
    # Tensors of four axes that are turned; those of three have lost the classes and are the same either way.
    turned, edits = {logits}, []
    try:
        for node in head:
            edits.append(_edit(graph, node, turned))
    except _NotUnderstoodError:
        return False
    if turned & set(graph.outputs):
        return False
    for edit in edits:
        edit()
    graph.rewire(logits, graph.add("Transpose", [logits], "logits_nhwc", perm=list(_TO_NHWC)), readers)
    return True


def _edit(graph: Graph, node: Node, turned: set[str]) -> Edit:
    """What has to be changed in one node when its inputs among `turned` are; adds its output to them if it is, too."""
    inputs = [name for name in node.input if name and name not in graph.constants]
    if not turned & set(inputs):
        return lambda: None
    if not set(inputs) <= turned or len(node.output) != 1:
        raise _NotUnderstoodError
    if node.op_type in _UNARY:
        turned.add(node.output[0])
        return lambda: None
    if node.op_type in _BINARY:
        turned.add(node.output[0])
        return _turn_constants(graph, node)
    if node.op_type == "Resize":
        turned.add(node.output[0])
        return _turn_sizes(graph, node)
    return _turn_axes(graph, node, turned)


def _turn_constants(graph: Graph, node: Node) -> Edit:
    constants = {name: graph.constants[name] for name in node.input if name in graph.constants}
    if any(value.size > 1 and value.ndim != 4 for value in constants.values()):
        raise _NotUnderstoodError

    def edit() -> None:
        for name, value in constants.items():
            if value.size > 1:
                graph.rewire(name, graph.add_constant(f"{name}_nhwc", value.transpose(_TO_NHWC)), [node])

    return edit


def _turn_sizes(graph: Graph, node: Node) -> Edit:
    """Scales or sizes of a Resize, one number per axis."""
    names = [name for name in node.input[1:] if name and graph.constants.get(name, np.empty(1)).size]
    if attribute(node, "axes") is not None or len(names) != 1 or graph.constants.get(names[0], np.empty(0)).size != 4:
        raise _NotUnderstoodError
    value = graph.constants[names[0]][list(_TO_NHWC)]
    return lambda: graph.rewire(names[0], graph.add_constant(f"{names[0]}_nhwc", value), [node])


def _turn_axes(graph: Graph, node: Node, turned: set[str]) -> Edit:
    """Reductions, ArgMax and Softmax, over the classes only if they take the axis away."""
    axes, from_input = _axes_of(graph, node)
    if any(not -4 <= axis < 4 for axis in axes):
        raise _NotUnderstoodError
    keeps = node.op_type == "Softmax" or attribute(node, "keepdims", 1) != 0
    if keeps:
        turned.add(node.output[0])
    elif [axis % 4 for axis in axes] != [1]:
        raise _NotUnderstoodError
    new = [_NEW_AXIS[axis % 4] for axis in axes]

    def edit() -> None:
        if from_input:
            node.input[1] = graph.add_constant(f"{node.name}_axes", np.array(new, np.int64))
        elif node.op_type in ("ArgMax", "Softmax"):
            set_attributes(node, axis=new[0])
        else:
            set_attributes(node, axes=new)

    return edit


def _axes_of(graph: Graph, node: Node) -> tuple[list[int], bool]:
    """Axes, and whether they are the second input: the operators changed over from an attribute one by one."""
    if node.op_type in ("ArgMax", "Softmax"):
        return [attribute(node, "axis", 0 if node.op_type == "ArgMax" else -1)], False
    if node.op_type not in _REDUCTIONS:
        raise _NotUnderstoodError
    if len(node.input) > 1:
        return [int(axis) for axis in graph.constants[node.input[1]]], True
    axes = attribute(node, "axes")
    if not axes:
        raise _NotUnderstoodError
    return list(axes), False
