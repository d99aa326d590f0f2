"""Temperature of the confidence: softmax of logits / T. Needs `onnx`, not torch.

A network that is too sure has its logits divided by a T over 1 (Guo, Pleiss, Sun, Weinberger: On Calibration of
Modern Neural Networks, ICML 2017). A graph carries 1 / T as the scalar initializer `inverse_temperature`, multiplied
into what the confidence is made of and into nothing else: class ids never depend on it. ONNX Runtime removes the
multiplication by 1 when it loads a model, and any other takes microseconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.datasets import Dataset, DatasetItem, read_pair
from seg_perception.errors import DatasetError, ModelContractError
from seg_perception.evaluation.accuracy import StretchedFits
from seg_perception.evaluation.calibration import BINS
from seg_perception.labels import VOID_ID
from seg_perception.model.bundle import METADATA_KEY, ModelBundle, load_bundle
from seg_perception.training.model_file import with_metadata

__all__ = [
    "INVERSE_TEMPERATURE",
    "best_temperature",
    "check_temperature",
    "fit_temperature",
    "insert_inverse_temperature",
    "logits_graph",
    "with_temperature",
]

INVERSE_TEMPERATURE = "inverse_temperature"
"""Name of the scalar float32 initializer, 1 / T."""

TEMPERATURES = (0.1, 10.0)
"""Lowest and highest that is looked at."""

_NODE = "scale_confidence"
_SAMPLES = 400_000
_PROBES = 25
_ROUNDS = 3
"""Of looking for it, each at 25 temperatures: 4.6 in logarithms down to 0.0013."""
_HINT = "export the model again, or download a newer one"


def insert_inverse_temperature(model: onnx.ModelProto, temperature: float = 1.0) -> None:
    """Give a graph its temperature: a factor on what the exponential function of the confidence head gets.

    It is done after an export, because exporters fold a constant 1 away.

    Args:
        model: its output `confidence` is made of exp(logits - largest logit); changed in place.

    Raises:
        ValueError: there is no such head, or it has a temperature.
    """
    graph = model.graph
    if any(tensor.name == INVERSE_TEMPERATURE for tensor in graph.initializer):
        raise ValueError(f"the graph has an initializer {INVERSE_TEMPERATURE!r} already")
    maker = {name: node for node in graph.node for name in node.output}
    node = maker.get("confidence")
    while node is not None and node.op_type != "Exp":
        made = [maker[name] for name in node.input if name in maker and maker[name].op_type != "Constant"]
        node = made[0] if len(made) == 1 else None
    if node is None:
        raise ValueError("expected the output confidence as 1 / sum of exp(logits - largest logit), found no such Exp")
    scaled = f"{node.input[0]}_scaled"
    factor = helper.make_node("Mul", [node.input[0], INVERSE_TEMPERATURE], [scaled], name=_NODE)
    graph.node.insert(list(graph.node).index(node), factor)
    node.input[0] = scaled
    graph.initializer.append(helper.make_tensor(INVERSE_TEMPERATURE, TensorProto.FLOAT, [], [1 / temperature]))


def check_temperature(bundle: ModelBundle) -> None:
    """ModelContractError, unless the model's graph has a temperature that can be set."""
    _factor(bundle.path, onnx.load_model_from_string(bundle.data))


def with_temperature(
    data: bytes,
    temperature: float,
    fitted_on: str,
    ece_before: float | None = None,
    ece_after: float | None = None,
) -> bytes:
    """The same model file with another temperature, in its graph and in its metadata, sealed again.

    Args:
        data: a model file.
        temperature: over 0.
        fitted_on: data set and split, `CamVid val`.
        ece_before, ece_after: expected calibration error there, 0 to 1, at temperature 1 or whatever it was, and now.

    Raises:
        ModelContractError: the model has no temperature.
        ValueError: the temperature is not a number over 0.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"expected a temperature over 0, got {temperature}")
    model = onnx.load_model_from_string(data)
    _initializer(model).CopyFrom(numpy_helper.from_array(np.float32(1 / temperature), INVERSE_TEMPERATURE))
    metadata = json.loads(next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY))
    about: dict[str, Any] = {"temperature": round(temperature, 4), "fitted_on": fitted_on}
    about.update(
        {
            key: round(value, 5)
            for key, value in (("ece_before", ece_before), ("ece_after", ece_after))
            if value is not None
        }
    )
    return with_metadata(model, {**metadata, "confidence": about})


def fit_temperature(
    model: str | Path,
    dataset: Dataset,
    items: Sequence[DatasetItem] | None = None,
    samples: int = _SAMPLES,
    progress: Callable[[int], None] = lambda done: None,
) -> float:
    """The temperature at which the model's confidence says best how often it is right.

    Args:
        model: a name or a path, as `load_bundle` takes it.
        items: only these frames.
        samples: labelled pixels to look at, the same number from each frame, at random with a fixed seed.
        progress: told how many frames are done.

    Raises:
        ModelContractError: the model has no temperature.
        DatasetError: a frame cannot be read, nothing is labelled, or the model knows none of the classes.
    """
    frames = dataset.items if items is None else items
    probe, rng = _LogitsProbe(load_bundle(str(model)), dataset), np.random.default_rng(0)
    logits, right = [], []
    for done, item in enumerate(frames, start=1):
        image, truth = read_pair(item)
        labelled = np.flatnonzero(truth.ravel() != VOID_ID)
        chosen = rng.choice(labelled, min(len(labelled), max(1, samples // len(frames))), replace=False)
        frame_logits, frame_ids = probe.at(image, chosen)
        logits.append(frame_logits)
        right.append(frame_ids == truth.ravel()[chosen])
        progress(done)
    if not sum(map(len, right)):
        raise DatasetError(f"{dataset.name} {dataset.split}: not one labelled pixel in {len(frames)} frames")
    return best_temperature(np.concatenate(logits), np.concatenate(right))


def best_temperature(logits: np.ndarray, right: np.ndarray) -> float:
    """The T with the smallest expected calibration error (15 bins) of softmax(logits / T) of the winner.

    Fitted on one half of CamVid and judged on the other, for two networks, two splits and both halves in turn, the
    error of the other half was 3.2 % on average; with the T of the best likelihood of being right 3.6 %, and of the
    best likelihood of the label (summed over the classes that it covers) 3.8 %.

    Args:
        logits: float `[pixels, classes]`, up to a number added to all of a pixel.
        right: bool `[pixels]`.
    """
    below = np.sort(logits - logits.max(1, keepdims=True), axis=1)[:, :-1]

    def error(log_temperature: float) -> float:
        confidence = 1 / (1 + np.exp(below * np.float32(math.exp(-log_temperature))).sum(1, dtype=float))
        bins = np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)
        return float(np.abs(np.bincount(bins, right - confidence, BINS)).sum()) / len(right)

    return math.exp(_minimum(error, math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1])))


def _minimum(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function is smallest: ever finer grids, because one that counts pixels in bins is a little rough."""
    for _ in range(_ROUNDS):
        grid = np.linspace(low, high, _PROBES).tolist()
        best = int(np.argmin([loss(x) for x in grid]))
        low, high = grid[max(0, best - 1)], grid[min(_PROBES - 1, best + 1)]
    return grid[best]


def _initializer(model: onnx.ModelProto) -> Any:
    for tensor in model.graph.initializer:
        if tensor.name == INVERSE_TEMPERATURE and tensor.data_type == TensorProto.FLOAT and not tensor.dims:
            return tensor
    raise ModelContractError(f"the graph has no scalar initializer {INVERSE_TEMPERATURE!r} to set; {_HINT}")


def _factor(path: Path, model: onnx.ModelProto) -> str:
    """The tensor that the inverse temperature is multiplied with: logits minus the largest one."""
    try:
        _initializer(model)
    except ModelContractError as exc:
        raise ModelContractError(f"{path}: {exc}") from exc
    readers = [node for node in model.graph.node if INVERSE_TEMPERATURE in node.input]
    if len(readers) != 1 or readers[0].op_type != "Mul":
        raise ModelContractError(f"{path}: expected one Mul of {INVERSE_TEMPERATURE!r} in the graph; {_HINT}")
    return next(str(name) for name in readers[0].input if name != INVERSE_TEMPERATURE)


def logits_graph(bundle: ModelBundle) -> tuple[bytes, str]:
    """The model's graph with one more output, what its confidence is made of, and that output's name.

    It holds logits less the largest of their cell, float32 `[1, classes, h, w]` or `[1, h, w, classes]`.

    Raises:
        ModelContractError: the model has no temperature, and so nothing to find them by.
    """
    model = onnx.load_model_from_string(bundle.data)
    output = _factor(bundle.path, model)
    model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    return model.SerializeToString(), output


class _LogitsProbe:
    """A model with what its confidence is made of as one more output, in memory only.

    Raises:
        ModelContractError: the model has no temperature.
        DatasetError: it knows none of the classes.
    """

    def __init__(self, bundle: ModelBundle, dataset: Dataset) -> None:
        graph, self._output = logits_graph(bundle)
        self._session = open_session(graph)
        self._class_of, self._classes = dataset.class_of(bundle.labels), len(bundle.labels)
        stride = bundle.strides["confidence"]
        self._cells_hw = (bundle.input_hw[0] // stride, bundle.input_hw[1] // stride)
        self._fits = StretchedFits(bundle.input_hw)

    def at(self, image: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32 `[pixels, classes]` and classes of the data set uint8 `[pixels]`.

        Args:
            image: RGB uint8 `[H, W, 3]`.
            pixels: flat indices into it.
        """
        fit, tensor = self._fits.stretch(image)
        ids, logits = self._session.run(["class_ids", self._output], {"image": tensor[None]})
        cells = fit.to_camera(np.arange(math.prod(self._cells_hw)).reshape(self._cells_hw)).ravel()[pixels]
        return self._by_cell(logits[0])[cells], self._class_of[fit.to_camera(ids[0])].ravel()[pixels]

    def _by_cell(self, logits: np.ndarray) -> np.ndarray:
        """`[cells, classes]` of `[classes, h, w]` or `[h, w, classes]`."""
        if logits.shape == (self._classes, *self._cells_hw):
            return logits.reshape(self._classes, -1).T
        if logits.shape == (*self._cells_hw, self._classes):
            return logits.reshape(-1, self._classes)
        raise ModelContractError(
            f"logits {list(logits.shape)}: expected {self._classes} classes and {self._cells_hw} cells; {_HINT}"
        )
