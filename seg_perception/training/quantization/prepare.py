"""From a model file's graph to the float graph that is quantised: the same answers, laid out for int8."""

from __future__ import annotations

import onnx

from seg_perception.errors import ModelContractError
from seg_perception.training.quantization.channels_last import turn_head
from seg_perception.training.quantization.folding import fold_constants
from seg_perception.training.quantization.graph import Graph
from seg_perception.training.quantization.rewrites import fold_normalisation, fold_pools_into_convolutions, pack_pixels

__all__ = ["prepared"]


def prepared(model: onnx.ModelProto, target: str = "x86", pack: bool = True) -> Graph:
    """The float graph in the form that is quantised.

    Args:
        target: see `QuantizeConfig`.
        pack: whether the first convolution may be laid out anew, which pays in int8 only.

    Raises:
        ModelContractError: there is nothing to quantise, or it has been done already.
    """
    graph = Graph(model)
    kinds = {node.op_type for node in graph.nodes}
    if graph.foreign_domains:
        raise ModelContractError(
            f"the graph has operators of {', '.join(graph.foreign_domains)}; quantising needs standard ONNX operators"
        )
    if kinds & {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"}:
        raise ModelContractError("the model is quantised already; quantise the float model that it was made of")
    if "Conv" not in kinds:
        raise ModelContractError("the graph has no convolution: there is nothing to quantise")
    fold_constants(graph)
    fold_pools_into_convolutions(graph)
    if target == "x86":
        first = fold_normalisation(graph)
        if first is not None and pack:
            pack_pixels(graph, first)
        turn_head(graph)
    return graph
