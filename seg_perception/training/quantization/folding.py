"""Work out at once what does not depend on the image: exporters leave sizes to be computed at run time."""

from __future__ import annotations

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

from seg_perception.training.quantization.graph import Graph, Node, attribute

__all__ = ["fold_constants"]

_MAX_ROUNDS = 20


def fold_constants(graph: Graph) -> None:
    """Replace nodes whose outputs are known by constants, and leave out Identity and Dropout."""
    for node in [n for n in graph.nodes if n.op_type in ("Identity", "Dropout")]:
        if node.output[0] not in graph.outputs:
            graph.rewire(node.output[0], node.input[0])
            graph.remove(node)
    for _ in range(_MAX_ROUNDS):
        shapes = graph.shapes()
        known = {node.name: values for node in graph.nodes if (values := _values(graph, node, shapes)) is not None}
        if not known:
            return
        for node in [n for n in graph.nodes if n.name in known]:
            graph.remove(node)
            graph.constants.update(zip(node.output, known[node.name]))


def _values(graph: Graph, node: Node, shapes: dict[str, tuple[int | None, ...]]) -> list[np.ndarray] | None:
    """A node's outputs, if they are known and no output of the graph."""
    if set(node.output) & set(graph.outputs):
        return None
    if node.op_type == "Shape":
        shape = shapes.get(node.input[0])
        if shape is None or None in shape:
            return None
        part = shape[attribute(node, "start", 0) : attribute(node, "end", None)]
        return [np.array(part, np.int64)]
    if not node.input or any(name and name not in graph.constants for name in node.input):
        return None
    return _evaluate(graph, node)


def _evaluate(graph: Graph, node: Node) -> list[np.ndarray]:
    """Run one node whose inputs are constants."""
    names = [name for name in dict.fromkeys(node.input) if name]
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(graph.constants[name].dtype), graph.constants[name].shape
        )
        for name in names
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    model = helper.make_model(
        helper.make_graph([node], "one", inputs, outputs), opset_imports=[helper.make_opsetid("", graph.opset)]
    )
    values = ReferenceEvaluator(model).run(None, {name: graph.constants[name] for name in names})
    return [np.asarray(value) for value in values]
