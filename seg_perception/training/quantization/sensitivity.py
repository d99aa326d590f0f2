"""Which layers int8 hurts, by measuring, and which of them to leave in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.training.quantization.convert import Layer, Scheme, quantized
from seg_perception.training.quantization.graph import Graph
from seg_perception.training.quantization.ranges import Range

__all__ = ["Choice", "LayerError", "Step", "choose_float_layers", "layer_errors"]


@dataclass(frozen=True)
class LayerError:
    """What one layer in int8 does to an otherwise float network.

    Attributes:
        name, op, macs: the layer's.
        noise: mean squared error of the logits, as a share of their mean square.
        changed: share of the pixels that get another class.
    """

    name: str
    op: str
    macs: int
    noise: float
    changed: float

    @property
    def sqnr_db(self) -> float:
        """Signal to quantisation noise of the logits."""
        return float(-10 * np.log10(max(self.noise, 1e-12)))


def layer_errors(
    graph: Graph,
    layers: Sequence[Layer],
    ranges: Mapping[str, Range],
    scheme: Scheme,
    images: Sequence[np.ndarray],
    threads: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[LayerError]:
    """Every layer alone in int8, against the float graph; in the network's order.

    Args:
        images: RGB uint8 `[H, W, 3]` at the graph's size.
        advance: called after each layer.
    """
    everything = frozenset(layer.name for layer in layers)
    reference = _answers(graph, {}, images, threads)
    found = []
    for layer in layers:
        if layer.follows:
            continue
        candidate, rounded = quantized(graph, list(layers), ranges, scheme, everything - {layer.name})
        answers = _answers(candidate, rounded, images, threads)
        found.append(LayerError(layer.name, layer.op, layer.macs, *_distance(reference, answers)))
        advance()
    return found


def _answers(
    graph: Graph, rounded: Mapping[str, str], images: Sequence[np.ndarray], threads: int
) -> list[list[np.ndarray]]:
    """For each picture the class ids, then the logits."""
    logits = [rounded.get(node.output[0], node.output[0]) for node in graph.last_convolutions()]
    session = open_session(graph.to_model(logits).SerializeToString(), threads)
    return [session.run(["class_ids", *logits], {"image": image[None]}) for image in images]


def _distance(reference: list[list[np.ndarray]], answers: list[list[np.ndarray]]) -> tuple[float, float]:
    """(noise, changed) over all pictures."""
    error = signal = 0.0
    changed = []
    for (ids, *logits), (other_ids, *other_logits) in zip(reference, answers):
        changed.append(float((ids != other_ids).mean()))
        for a, b in zip(logits, other_logits):
            error += float(np.square(a - b, dtype=np.float64).sum())
            signal += float(np.square(a, dtype=np.float64).sum())
    return error / max(signal, 1e-30), float(np.mean(changed))


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        float_layers: names of the layers in float.
        loss_points: mIoU of the float network minus that of this one, in percent points.
        time_ratio: this one's time over the float network's.
    """

    float_layers: tuple[str, ...]
    loss_points: float
    time_ratio: float


@dataclass(frozen=True)
class Choice:
    """The layers to leave in float, and everything that was tried on the way."""

    float_layers: tuple[str, ...]
    steps: tuple[Step, ...]


def choose_float_layers(
    errors: Sequence[LayerError],
    try_out: Callable[[tuple[str, ...]], Step],
    target_points: float,
    slowest_ratio: float = 0.95,
) -> Choice:
    """Put layers back into float, the noisiest first, until the loss is small enough or nothing is gained any more.

    Layers that turn out not to have been needed for it go back to int8.

    Args:
        try_out: measures the network with these layers in float.
        target_points: the loss that is small enough.
        slowest_ratio: from this time ratio on int8 gains nothing.
    """
    steps = [try_out(())]
    kept: tuple[str, ...] = ()
    for error in sorted(errors, key=lambda e: -e.noise):
        if steps[-1].loss_points <= target_points or steps[-1].time_ratio >= slowest_ratio:
            break
        kept = (*kept, error.name)
        steps.append(try_out(kept))
    if steps[-1].loss_points > target_points:
        best = min((s for s in steps if s.time_ratio < slowest_ratio), key=lambda s: s.loss_points, default=steps[0])
        return Choice(best.float_layers, tuple(steps))
    for name in kept[:-1]:  # the last one was needed, or the loop would have ended before
        without = tuple(other for other in kept if other != name)
        steps.append(try_out(without))
        if steps[-1].loss_points <= target_points:
            kept = without
    return Choice(kept, tuple(steps))
