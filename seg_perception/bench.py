"""Bare inference, the pipeline and the live node, measured alternately in one run.

On a busy machine times drift by tens of percent from one minute to the next; what is measured within the
same tenth of a second does not. The differences are therefore the figures to trust.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.config import PipelineConfig
from seg_perception.latency import percentiles
from seg_perception.model.bundle import load_bundle
from seg_perception.pipeline import Pipeline
from seg_perception.types import Frame, RawImage

__all__ = ["WARM_UP_ROUNDS", "BenchResult", "RoundTripLike", "run_bench", "test_picture"]


WARM_UP_ROUNDS = 5


class RoundTripLike(Protocol):
    """A live node to send pictures to."""

    def measure(self, picture: np.ndarray) -> float:
        """Milliseconds from image to mask."""


@dataclass
class BenchResult:
    """Milliseconds of every run, by what was run.

    Attributes:
        about: model, engine, picture: what the figures hold for.
        bare: `session.run` alone.
        stages: the pipeline's, `total` last.
        node: from an image's stamp to its mask in another process; empty where no node ran.
        overhead: pipeline minus the bare run beside it.
        node_overhead: node minus the bare run beside it.
    """

    about: dict[str, Any]
    bare: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    node: list[float] = field(default_factory=list)

    @property
    def overhead(self) -> list[float]:
        return [total - bare for total, bare in zip(self.stages.get("total", ()), self.bare)]

    @property
    def node_overhead(self) -> list[float]:
        return [node - bare for node, bare in zip(self.node, self.bare)]

    def rows(self) -> dict[str, tuple[float, float, float]]:
        """(p50, p95, max) by what was measured, in a good order to read."""
        named = {"bare session.run": self.bare}
        named.update({f"pipeline {stage}": values for stage, values in self.stages.items()})
        named["pipeline - bare"] = self.overhead
        if self.node:
            named["node end to end"] = self.node
            named["node - bare"] = self.node_overhead
        return {name: percentiles(values) for name, values in named.items()}

    def ratios(self) -> dict[str, float]:
        """Medians over the bare median."""
        bare = percentiles(self.bare)[0]
        ratios = {"pipeline / bare": percentiles(self.stages["total"])[0] / bare}
        if self.node:
            ratios["node / bare"] = percentiles(self.node)[0] / bare
        return ratios

    def forget(self) -> None:
        """Drop what was measured so far: the warm-up."""
        for values in (self.bare, self.stages, self.node):
            values.clear()

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries: what was measured, percentiles in milliseconds, ratios."""
        table = {
            name: {"p50_ms": round(p50, 3), "p95_ms": round(p95, 3), "max_ms": round(top, 3)}
            for name, (p50, p95, top) in self.rows().items()
        }
        return {**self.about, "runs": len(self.bare), "times": table, "ratios": self.ratios()}


def test_picture(height: int, width: int) -> np.ndarray:
    """A BGR picture with structure in it, the same every time, uint8 `[height, width, 3]`."""
    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


test_picture.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def run_bench(
    config: PipelineConfig,
    size_hw: tuple[int, int] = (480, 640),
    runs: int = 100,
    rate_hz: float = 10.0,
    node: RoundTripLike | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> BenchResult:
    """Measure `runs` times, alternating, one round every 1 / `rate_hz` seconds.

    Bare inference runs in the pipeline's own session, on the same picture: another session's threads would
    wake up on other cores. The pipeline answers with mask and confidence at the camera's size.
    """
    bundle = load_bundle(config.model)
    backend = OnnxRuntimeBackend(bundle, config.threads, config.spinning)
    pipeline = Pipeline(config, backend)
    picture = test_picture(*size_hw)
    height, width = size_hw
    frame = Frame(0, "camera", RawImage(height, width, "bgr8", width * 3, picture.tobytes()))
    tensor = cv2.cvtColor(cv2.resize(picture, bundle.input_hw[::-1]), cv2.COLOR_BGR2RGB)[None]
    result = BenchResult({"backend": backend.description, "picture": f"{width}x{height} bgr8", "rate_hz": rate_hz})

    def measure_bare() -> None:
        assert backend.session is not None
        started = time.perf_counter()
        backend.session.run(None, {"image": tensor})
        result.bare.append((time.perf_counter() - started) * 1e3)

    def measure_pipeline() -> None:
        for stage, value in pipeline.process(frame).stage_ms.items():
            result.stages.setdefault(stage, []).append(value)

    def measure_node() -> None:
        if node is not None:
            result.node.append(node.measure(picture))

    # Who comes after a pause, or after another process had the cores, finds them asleep and the caches cold:
    # every order in turn, so that it hits all alike.
    orders = list(itertools.permutations((measure_bare, measure_pipeline, measure_node)))
    for i in range(-WARM_UP_ROUNDS, runs):
        if i == 0:
            result.forget()
        round_started = time.perf_counter()
        for measure in orders[i % len(orders)]:
            measure()
        progress(i + 1 + WARM_UP_ROUNDS)
        time.sleep(max(0.0, 1 / rate_hz - (time.perf_counter() - round_started)))
    pipeline.close()
    return result
