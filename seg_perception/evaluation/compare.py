"""Several models on one data set and one machine: accuracy, and time measured side by side."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.datasets import Dataset
from seg_perception.errors import ConfigError
from seg_perception.evaluation.accuracy import confusion_of, predictor_of
from seg_perception.files import write_whole
from seg_perception.latency import percentiles
from seg_perception.metrics import mean_iou
from seg_perception.model.bundle import ModelBundle

__all__ = ["TABLE_BEGIN", "TABLE_END", "ModelFigures", "compare_models", "markdown_table", "write_into"]

TABLE_BEGIN, TABLE_END = "<!-- comparison begins -->", "<!-- comparison ends -->"
"""Between these lines of a Markdown file `write_into` puts the table."""

_NUMBER = r"_\d+(\.\d+)?$"
_RUNS_IN_A_ROW = 6
_UNTIMED_RUNS = 2


@dataclass(frozen=True)
class ModelFigures:
    """What was measured of one model.

    Attributes:
        name: the model's.
        file_mb: size of the file, 10⁶ bytes.
        width_px, height_px: of the input.
        miou: mean IoU over the data set's classes.
        p50_ms, p95_ms: of `session.run`.
    """

    name: str
    file_mb: float
    width_px: int
    height_px: int
    miou: float
    p50_ms: float
    p95_ms: float

    @property
    def family(self) -> str:
        """Name without its trailing number, with the input size: what a plot joins by a line."""
        return f"{re.sub(_NUMBER, '', self.name)} {self.width_px}x{self.height_px}"

    def to_json(self) -> dict[str, Any]:
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def _times_ms(backends: Sequence[OnnxRuntimeBackend], rounds: int, progress: Callable[[], None]) -> list[list[float]]:
    """`session.run` of all, in turns of a few runs in a row: what slows the machine for a while hits all alike."""
    times: list[list[float]] = [[] for _ in backends]
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for backend, measured in zip(backends, times):
            assert backend.session is not None
            image = rng.integers(0, 256, (1, *backend.bundle.input_hw, 3)).astype(np.uint8)
            for i in range(-_UNTIMED_RUNS, _RUNS_IN_A_ROW):
                started = time.perf_counter()
                backend.session.run(None, {"image": image})
                if i >= 0:
                    measured.append((time.perf_counter() - started) * 1e3)
            progress()
    return times


def compare_models(
    bundles: Sequence[ModelBundle],
    dataset: Dataset,
    rounds: int = 20,
    threads: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> list[ModelFigures]:
    """Measure every model, in the order given.

    Args:
        rounds: turns of the time measurement.
        threads: for one inference; 0 is one for each usable core.
        progress: called once per model after its accuracy, and once per model and round.

    Raises:
        DatasetError: a frame cannot be read, or a model knows none of the classes.
        BackendError: ONNX Runtime refuses a model.
    """
    backends = [OnnxRuntimeBackend(bundle, threads) for bundle in bundles]
    try:
        accuracy = []
        for backend in backends:
            bundle = backend.bundle
            assert backend.session is not None
            predict = predictor_of(backend.session)
            accuracy.append(mean_iou(confusion_of(predict, dataset, bundle.labels, bundle.input_hw)))
            progress()
        times = _times_ms(backends, rounds, progress)
    finally:
        for backend in backends:
            backend.close()
    figures = []
    for bundle, miou, measured in zip(bundles, accuracy, times):
        p50, p95, _ = percentiles(measured)
        height, width = bundle.input_hw
        figures.append(ModelFigures(bundle.name, len(bundle.data) / 1e6, width, height, miou, p50, p95))
    return figures


def markdown_table(figures: Sequence[ModelFigures], dataset: Dataset) -> str:
    """The figures as a Markdown table; times also relative to the first model's."""
    lines = [
        f"| model | input | file | {dataset.name} {dataset.split} mIoU | p50 | p95 | of the first's time |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in figures:
        lines.append(
            f"| `{row.name}` | {row.width_px}x{row.height_px} | {row.file_mb:.1f} MB | {row.miou:.3f} | "
            f"{row.p50_ms:.1f} ms | {row.p95_ms:.1f} ms | {row.p50_ms / figures[0].p50_ms:.2f} |"
        )
    return "\n".join(lines)


def write_into(path: Path, table: str) -> None:
    """Put the table between the marks of a Markdown file; ConfigError if they are not there."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise ConfigError(f"{path}: expected the lines {TABLE_BEGIN!r} and {TABLE_END!r}, where the table belongs")
    write_whole(path, f"{before}{begin}\n{table}\n{end}{after}".encode())
