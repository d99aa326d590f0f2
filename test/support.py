"""Tiny models whose answers anybody can work out, and slow references."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from seg_perception.labels import CITYSCAPES

THINGS = {"centers": ("FLOAT", [1, 16, 32]), "offsets": ("FLOAT", [1, 2, 16, 32])}
"""What `tiny_onnx` answers about things: centres = blue / 255, offsets = (red, green), at every fourth pixel."""


def tiny_metadata(height: int = 64, width: int = 128, stride: int = 2, things: int | None = None) -> dict[str, Any]:
    head = {"stride": stride, "resize": "nearest"}
    heads = {"class_ids": dict(head), "confidence": dict(head)}
    if things is not None:
        heads.update({name: {"stride": things, "resize": "nearest"} for name in THINGS})
    return {
        "schema": 1,
        "name": "tiny",
        "version": "1",
        "license": "Apache-2.0",
        "labels": CITYSCAPES.to_json(),
        "input": {"height_px": height, "width_px": width},
        "heads": heads,
    }


def tiny_onnx(
    height: int = 64,
    width: int = 128,
    stride: int = 2,
    *,
    opset: int = 17,
    input_name: str = "image",
    output_name: str = "class_ids",
    input_type: str = "UINT8",
    metadata: dict[str, Any] | str | None = None,
    things: Mapping[str, tuple[str, list[int]]] | None = None,
) -> bytes:
    """A model whose answer anybody can work out: class = red // 16, confidence = green, at every stride-th pixel."""
    onnx = pytest.importorskip("onnx", reason="builds a tiny model file with the onnx package")
    from onnx import TensorProto, helper

    kind = getattr(TensorProto, input_type)
    constants = [
        helper.make_tensor("starts", TensorProto.INT64, [3], [0, 0, 0]),
        helper.make_tensor("red_end", TensorProto.INT64, [3], [height, width, 1]),
        helper.make_tensor("green_start", TensorProto.INT64, [3], [0, 0, 1]),
        helper.make_tensor("green_end", TensorProto.INT64, [3], [height, width, 2]),
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("steps", TensorProto.INT64, [3], [stride, stride, 1]),
        helper.make_tensor("squeeze", TensorProto.INT64, [1], [3]),
        helper.make_tensor("sixteen", TensorProto.FLOAT, [], [16.0]),
    ]
    nodes = [
        helper.make_node("Cast", [input_name], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["x", "starts", "red_end", "axes", "steps"], ["red4"]),
        helper.make_node("Slice", ["x", "green_start", "green_end", "axes", "steps"], ["green4"]),
        helper.make_node("Squeeze", ["red4", "squeeze"], ["red"]),
        helper.make_node("Squeeze", ["green4", "squeeze"], ["green"]),
        helper.make_node("Div", ["red", "sixteen"], ["quotient"]),
        helper.make_node("Floor", ["quotient"], ["ids"]),
        helper.make_node("Cast", ["ids"], [output_name], to=TensorProto.UINT8),
        helper.make_node("Cast", ["green"], ["confidence"], to=TensorProto.UINT8),
    ]
    if things:
        constants += [
            helper.make_tensor("blue_start", TensorProto.INT64, [3], [0, 0, 2]),
            helper.make_tensor("blue_end", TensorProto.INT64, [3], [height, width, 3]),
            helper.make_tensor("steps4", TensorProto.INT64, [3], [4, 4, 1]),
            helper.make_tensor("most", TensorProto.FLOAT, [], [255.0]),
        ]
        nodes += [
            helper.make_node("Slice", ["x", "blue_start", "blue_end", "axes", "steps4"], ["blue4"]),
            helper.make_node("Squeeze", ["blue4", "squeeze"], ["blue"]),
            helper.make_node("Div", ["blue", "most"], ["centers"]),
            helper.make_node("Slice", ["x", "starts", "green_end", "axes", "steps4"], ["red_green"]),
            helper.make_node("Transpose", ["red_green"], ["offsets"], perm=[0, 3, 1, 2]),
        ]
    shape = [1, height // stride, width // stride]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, kind, [1, height, width, 3])],
        [
            helper.make_tensor_value_info(output_name, TensorProto.UINT8, shape),
            helper.make_tensor_value_info("confidence", TensorProto.UINT8, shape),
            *(
                helper.make_tensor_value_info(n, getattr(TensorProto, k), list(s))
                for n, (k, s) in (things or {}).items()
            ),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if metadata is None:
        metadata = tiny_metadata(height, width, stride)
    helper.set_model_props(
        model, {"seg_perception": metadata if isinstance(metadata, str) else json.dumps(metadata)} if metadata else {}
    )
    data: bytes = model.SerializeToString()
    assert onnx.load_from_string(data)
    return data


def nearest(array: np.ndarray, out_h: int, out_w: int) -> np.ndarray:
    """Nearest neighbour by its definition, pixel by pixel: the cell in which the output pixel's centre lies."""
    in_h, in_w = array.shape[:2]
    out = np.empty((out_h, out_w), array.dtype)
    for y in range(out_h):
        for x in range(out_w):
            out[y, x] = array[int((y + 0.5) * in_h / out_h), int((x + 0.5) * in_w / out_w)]
    return out
