"""Calibration: between which values a tensor lies, seen on pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.errors import ConfigError, ModelContractError
from seg_perception.training.quantization.graph import Graph

__all__ = ["METHODS", "Range", "entropy_threshold", "find_ranges"]

METHODS = ("minmax", "percentile", "entropy")

Range = tuple[float, float]
"""Lowest and highest value, zero among them."""

_BINS = 2048
_OUTSIDE = 1e-4
"""Share of the values that `percentile` gives up on each side."""
_LEVELS = 128


def find_ranges(
    graph: Graph,
    tensors: Sequence[str],
    images: Sequence[np.ndarray],
    method: str = "minmax",
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Range]:
    """Run the float graph on pictures and watch some of its tensors.

    Args:
        tensors: names of float tensors.
        images: RGB uint8 `[H, W, 3]` at the graph's size.
        method: `minmax` keeps every value; `percentile` gives up 0.01 % of them on each side; `entropy` clips where the
            distribution of the values keeps most of its information in 128 levels (Migacz 2017, 8-bit inference with
            TensorRT).
        advance: called after each picture, once or twice (`passes`).

    Raises:
        ConfigError: no pictures, or no such method.
        ModelContractError: the network's values are not finite.
    """
    if method not in METHODS or not images:
        raise ConfigError(f"calibration: expected pictures and one of {', '.join(METHODS)}, got {method!r}")
    watch = _Watch(graph, tensors)
    lows, highs = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    for image in images:
        for name, value in watch(image):
            low, high = float(value.min()), float(value.max())
            lows[name], highs[name] = min(lows[name], low), max(highs[name], high)
            if not np.isfinite(low + high):
                raise ModelContractError(f"{name}: the network's values are not finite; it cannot be calibrated")
        advance()
    if method == "minmax":
        return {name: (lows[name], highs[name]) for name in tensors}
    counts = {name: np.zeros(_BINS, np.int64) for name in tensors}
    for image in images:
        for name, value in watch(image):
            counts[name] += np.histogram(value, _BINS, (lows[name], max(highs[name], lows[name] + 1e-30)))[0]
        advance()
    clip = _percentile_range if method == "percentile" else _entropy_range
    return {name: clip(counts[name], lows[name], highs[name]) for name in tensors}


def passes(method: str) -> int:
    """How often `find_ranges` looks at every picture."""
    return 1 if method == "minmax" else 2


class _Watch:
    """Runs the graph with some inner tensors as outputs."""

    def __init__(self, graph: Graph, tensors: Sequence[str]) -> None:
        self.tensors, self.input = list(tensors), graph.inputs[0]
        model = graph.to_model([name for name in tensors if name not in graph.outputs])
        self.session = open_session(model.SerializeToString())

    def __call__(self, image: np.ndarray) -> zip[tuple[str, np.ndarray]]:
        return zip(self.tensors, self.session.run(self.tensors, {self.input: image[None]}))


def _percentile_range(counts: np.ndarray, low: float, high: float) -> Range:
    share = np.cumsum(counts) / max(1, counts.sum())
    width = (high - low) / len(counts)
    first = int(np.searchsorted(share, _OUTSIDE, side="right"))
    last = int(np.searchsorted(share, 1 - _OUTSIDE, side="left"))
    return min(0.0, low + first * width), max(0.0, low + (last + 1) * width)


def _entropy_range(counts: np.ndarray, low: float, high: float) -> Range:
    """The same limit on both sides, as far as there are values."""
    largest = max(-low, high)
    if largest <= 0:
        return low, high
    centres = np.abs(low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts))
    sizes = np.histogram(centres, _BINS, (0, largest), weights=counts)[0]
    limit = entropy_threshold(sizes) * largest
    return max(low, -limit), min(high, limit)


def entropy_threshold(counts: np.ndarray) -> float:
    """Where to clip, as a share of the histogram's whole width.

    Args:
        counts: histogram of absolute values that begins at 0, at least 128 bins.
    """
    counts = counts.copy()
    # Zero is exact whatever the scale, and behind a Relu it is most of what there is.
    counts[0] = counts[1]
    best, best_divergence = len(counts), np.inf
    for bins in range(_LEVELS, len(counts) + 1, 16):
        kept = counts[:bins].astype(float)
        clipped = kept.copy()
        clipped[-1] += counts[bins:].sum()
        divergence = _divergence(clipped, _in_levels(kept))
        if divergence < best_divergence:
            best, best_divergence = bins, divergence
    return best / len(counts)


def _in_levels(counts: np.ndarray) -> np.ndarray:
    """The histogram after rounding to 128 levels: a level's count is spread over those of its bins that hold any."""
    level = np.arange(len(counts)) * _LEVELS // len(counts)
    totals = np.bincount(level, counts, _LEVELS)
    filled = np.bincount(level, counts > 0, _LEVELS)
    spread: np.ndarray = np.where(counts > 0, (totals / np.maximum(filled, 1))[level], 0.0)
    return spread


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence of two histograms; infinite where q has nothing and p has."""
    if q.sum() == 0 or ((q == 0) & (p > 0)).any():
        return float("inf")
    there = p > 0
    p_share, q_share = p[there] / p.sum(), q[there] / q.sum()
    return float((p_share * np.log(p_share / q_share)).sum())
