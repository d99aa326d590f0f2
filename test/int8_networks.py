"""A small network whose weights anybody can work out, and the pictures that it reads, to try int8 on.

A picture spells its labels: red is 20 times the CamVid class. The first convolution takes red apart into ramps
`relu(red / 20 - t)`, three of which make the hat function of a class, its logit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from datasets_on_disk import camvid

from seg_perception.datasets import CAMVID_CLASSES, CAMVID_OF_CITYSCAPES
from seg_perception.labels import CITYSCAPES
from seg_perception.model.bundle import METADATA_KEY, seal

HW = (64, 128)
WILD_LAYERS = {"fuse": {"fuse", "classify"}, "stem": {"stem", "down"}}
"""The layers between which the wild channel lies, by where it begins."""

PICTURE_MEAN, PICTURE_STD = np.array([120, 110, 100.0]), np.array([50, 60, 70.0])
"""Of `picture_graph`."""

_CHANNELS = 16
_FIRST = -1.0  # of the ramps' thresholds, one class apart
_MEAN = np.array([123.7, 116.3, 103.5], np.float32)
_STD = np.array([58.4, 57.1, 57.4], np.float32)


def write_pictures(root: Path, train: int = 12, val: int = 4) -> Path:
    """A tiny CamVid; the label of a pixel is its red value // 20, 11 is void."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        frames = {}
        for i in range(count):
            coarse = rng.integers(0, 12, (4, 6)).astype(np.uint8)
            labels = cv2.resize(coarse, (144, 96), interpolation=cv2.INTER_NEAREST)
            frames[f"{split}_{i:03}"] = (np.stack([labels * 20, labels * 0 + 90, labels * 0 + 50], -1), labels)
        camvid(root, frames, split)
    return root


def city_ids() -> list[int]:
    """A Cityscapes class that counts as each CamVid class."""
    return [int(np.nonzero(CAMVID_OF_CITYSCAPES == c)[0][0]) for c in range(len(CAMVID_CLASSES))]


def _identity(kernel: int, gain: float = 1.0) -> np.ndarray:
    weights = np.zeros((_CHANNELS, _CHANNELS, kernel, kernel), np.float32)
    weights[range(_CHANNELS), range(_CHANNELS), kernel // 2, kernel // 2] = gain
    return weights


def _ramps() -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of the first convolution, over a normalised picture; the last channels are dead."""
    weights, bias = np.zeros((_CHANNELS, 3, 3, 3), np.float32), np.zeros(_CHANNELS, np.float32)
    used = len(CAMVID_CLASSES) + 2
    weights[:used, 0, 1, 1] = _STD[0] / 20
    bias[:used] = _MEAN[0] / 20 - (_FIRST + np.arange(used))
    return weights, bias


def _hats() -> tuple[np.ndarray, np.ndarray]:
    weights = np.zeros((len(CITYSCAPES), _CHANNELS, 1, 1), np.float32)
    bias = np.full(len(CITYSCAPES), -1, np.float32)
    for c, city in enumerate(city_ids()):
        weights[city, c : c + 3, 0, 0] = (4, -8, 4)
        bias[city] = 0
    return weights, bias


def hat_network(wild: float = 0.0, at: str = "fuse") -> Any:
    """An `onnx.ModelProto` that keeps the model contract, at class stride 2, with a temperature.

    Args:
        wild: gain of a channel that nobody needs and that shares its int8 scale with those that are needed. Per-tensor
            scales make the others vanish beside it, unless both layers at this tensor stay in float.
        at: the layer that makes it, `fuse` or `stem`.
    """
    onnx = pytest.importorskip("onnx", reason="builds a network with the onnx package")
    from onnx import helper, numpy_helper

    constants: dict[str, np.ndarray] = {}
    nodes = []

    def add(op: str, name: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def const(name: str, value: Any) -> str:
        constants[name] = np.asarray(value)
        return name

    def conv(name: str, x: str, weights: np.ndarray, bias: np.ndarray | None = None, stride: int = 1) -> str:
        k = weights.shape[-1]
        inputs = [
            x,
            const(f"{name}_w", weights),
            const(f"{name}_b", np.zeros(len(weights), np.float32) if bias is None else bias),
        ]
        return add("Conv", name, inputs, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4)

    h, w = HW[0] // 4, HW[1] // 4
    x = add("Transpose", "nchw", [add("Cast", "to_float", ["image"], to=1)], perm=[0, 3, 1, 2])
    x = add("Sub", "centre", [x, const("mean", _MEAN.reshape(1, 3, 1, 1))])
    x = add("Div", "normalise", [x, const("std", _STD.reshape(1, 3, 1, 1))])
    ramps, down = _ramps(), _identity(3)
    down[_CHANNELS - 1] = 0
    if at == "stem":
        ramps[0][_CHANNELS - 1, 0, 1, 1] = wild
    x = add("Relu", "stem_relu", [conv("stem", x, *ramps, stride=2)])
    x = add("Relu", "down_relu", [conv("down", x, down, stride=2)])
    halves = [conv("half", x, _identity(3, 0.5)), conv("shortcut", x, _identity(1, 0.5))]
    fine = add("Relu", "block_relu", [add("Add", "block", halves)])
    pool = add("AveragePool", "pool", [fine], kernel_shape=[2, 2], strides=[2, 2])
    coarse = add("Relu", "coarse_relu", [conv("coarse", pool, _identity(1))])
    # Sizes as exporters leave them: worked out from another tensor's shape while it runs.
    sliced = add(
        "Slice",
        "batch_and_channels",
        [add("Shape", "shape", [coarse]), const("zero", np.array([0])), const("two", np.array([2]))],
    )
    sizes = add("Concat", "sizes", [sliced, const("hw", np.array([h, w]))], axis=0)
    up = add("Resize", "up", [coarse, "", "", sizes], mode="linear")
    both = add("Concat", "both", [fine, up], axis=1)
    mixing = np.concatenate([_identity(3, 0.9), _identity(3, 0.1)], 1)
    mixing[_CHANNELS - 1, 0, 1, 1] = wild if at == "fuse" else 0
    x = add("Relu", "fuse_relu", [conv("fuse", both, mixing)])
    logits = conv("classify", x, *_hats())
    scaled = add(
        "Mul",
        "scale",
        [
            add("Sub", "below", [logits, add("ReduceMax", "best", [logits], axes=[1])]),
            const("inverse_temperature", np.float32(0.5)),
        ],
    )
    total = add("ReduceSum", "total", [add("Exp", "exp", [scaled]), const("class_axis", np.array([1]))], keepdims=0)
    share = add("Mul", "percent", [add("Reciprocal", "winner", [total]), const("most", np.float32(255))])
    nodes.append(
        helper.make_node(
            "Cast", [add("Add", "round", [share, const("half_up", np.float32(0.5))])], ["confidence"], to=2
        )
    )
    big = add(
        "Resize", "enlarge", [logits, "", "", const("big", np.array([1, len(CITYSCAPES), 2 * h, 2 * w]))], mode="linear"
    )
    ids = add("Cast", "ids_float", [add("ArgMax", "argmax", [big], axis=1, keepdims=0)], to=1)
    nodes.append(helper.make_node("Cast", [ids], ["class_ids"], to=2))
    graph = helper.make_graph(
        nodes, "hats",
        [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [1, *HW, 3])],
        [helper.make_tensor_value_info("class_ids", onnx.TensorProto.UINT8, [1, 2 * h, 2 * w]),
         helper.make_tensor_value_info("confidence", onnx.TensorProto.UINT8, [1, h, w])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_model(path: Path, model: Any, name: str = "hats") -> Path:
    """Seal a graph with metadata of the house's own size and strides into a model file."""
    import json

    metadata = {
        "schema": 1, "name": name, "version": "1", "license": "Apache-2.0", "labels": CITYSCAPES.to_json(),
        "input": {"height_px": HW[0], "width_px": HW[1], "channels": "RGB"},
        "heads": {"class_ids": {"stride": 2, "resize": "nearest"}, "confidence": {"stride": 4, "resize": "nearest"}},
        "accuracy": {"camvid_val_miou": 1},
    }  # fmt: skip
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata)
    path.write_bytes(seal(model.SerializeToString()))
    return path


def session_of(model: Any, optimized: Path | None = None) -> ort.InferenceSession:
    """A session of an `onnx.ModelProto`; what ONNX Runtime makes of the graph goes into a file."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def answers(model: Any, images: list[np.ndarray]) -> list[list[np.ndarray]]:
    """All outputs for each picture."""
    session = session_of(model)
    return [session.run(None, {"image": image[None]}) for image in images]


def picture_graph(weights: np.ndarray, stride: int, hw: tuple[int, int], start: str = "usual") -> Any:
    """Bytes, normalised, then one padded convolution and Relu as the output `y`: an `onnx.ModelProto`.

    Args:
        start: `usual`, `channels last` (the same before the transpose), or `odd` (no normalisation at all).
    """
    from onnx import TensorProto, helper, numpy_helper

    starts = {
        "usual": [("Transpose", ["f"], "t"), ("Sub", ["t", "mean"], "s"), ("Div", ["s", "std"], "x")],
        "channels last": [
            ("Sub", ["f", "mean_last"], "s"), ("Mul", ["inverse_std_last", "s"], "n"), ("Transpose", ["n"], "x")
        ],
        "odd": [("Transpose", ["f"], "t"), ("Sub", ["t", "mean"], "s"), ("Exp", ["s"], "x")],
    }  # fmt: skip
    mean, std = PICTURE_MEAN.astype(np.float32), PICTURE_STD.astype(np.float32)
    constants = {
        "w": weights, "b": np.linspace(-1, 1, len(weights), dtype=np.float32),
        "mean": mean.reshape(1, 3, 1, 1), "std": std.reshape(1, 3, 1, 1),
        "mean_last": mean, "inverse_std_last": 1 / std,
    }  # fmt: skip
    kernel = weights.shape[-1]
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        *(
            helper.make_node(op, i, [o], **({"perm": [0, 3, 1, 2]} if op == "Transpose" else {}))
            for op, i, o in starts[start]
        ),
        helper.make_node(
            "Conv",
            ["x", "w", "b"],
            ["c"],
            name="conv",
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
        ),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "picture",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *hw, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
