"""What an int8 edition is and what it costs, as JSON, as metadata and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seg_perception.training.quantization.sensitivity import LayerError, Step

__all__ = ["Frames", "QuantizationReport"]

_MOST_SENSITIVE = 8


@dataclass(frozen=True)
class Frames:
    """Which frames of what: name of the data set, split, how many."""

    dataset: str
    split: str
    count: int

    def __str__(self) -> str:
        return f"{self.dataset} {self.split}, {self.count} frames"


@dataclass(frozen=True)
class QuantizationReport:
    """Everything that was measured.

    Attributes:
        model, fp32_sha256: the float model.
        target, method, weight_bits: how it was quantised.
        calibration, sweep, evaluation: on which frames ranges, layers and accuracy were found.
        fp32_iou, int8_iou: by class of the evaluation; None where it has none.
        fp32_miou, int8_miou: their means.
        fp32_ms, int8_ms: medians of `session.run`.
        time_ratio: median of the ratios, round by round.
        threads: of a session.
        fp32_bytes, int8_bytes: sizes of the graphs.
        float_layers: left in float.
        layers: every layer's effect alone.
        steps: what was tried to choose the float layers, measured on the sweep's frames.
        onnxruntime: version.
    """

    model: str
    fp32_sha256: str
    target: str
    method: str
    weight_bits: int
    calibration: Frames
    sweep: Frames
    evaluation: Frames
    fp32_iou: Mapping[str, float | None]
    int8_iou: Mapping[str, float | None]
    fp32_miou: float
    int8_miou: float
    fp32_ms: float
    int8_ms: float
    time_ratio: float
    threads: int
    fp32_bytes: int
    int8_bytes: int
    float_layers: tuple[str, ...]
    layers: tuple[LayerError, ...]
    steps: tuple[Step, ...]
    onnxruntime: str

    @property
    def loss_points(self) -> float:
        """Percent points of mIoU that int8 costs; negative where it gains."""
        return 100 * (self.fp32_miou - self.int8_miou)

    def to_json(self) -> dict[str, Any]:
        """Plain data, `loss_points` and each layer's `sqnr_db` included."""
        layers = [{**asdict(layer), "sqnr_db": round(layer.sqnr_db, 2)} for layer in self.layers]
        return {**asdict(self), "loss_points": self.loss_points, "layers": layers}

    def metadata(self) -> dict[str, Any]:
        """What the model file says of its origin."""
        return {
            "of": self.model,
            "of_sha256": self.fp32_sha256,
            "format": "QDQ, static",
            "target": self.target,
            "weights": f"int8 per output channel, {self.weight_bits} bits used",
            "activations": "int8 symmetric" if self.target == "tensorrt" else "uint8",
            "method": self.method,
            "calibration": asdict(self.calibration),
            "evaluation": asdict(self.evaluation),
            "fp32_miou": round(self.fp32_miou, 4),
            "int8_miou": round(self.int8_miou, 4),
            "loss_points": round(self.loss_points, 2),
            "time_ratio": round(self.time_ratio, 3),
            "threads": self.threads,
            "float_layers": list(self.float_layers),
            "onnxruntime": self.onnxruntime,
        }

    def table(self) -> str:
        """For people."""
        return "\n\n".join((self._summary(), self._classes(), self._sensitive()))

    def _summary(self) -> str:
        rows = [
            (f"mIoU ({self.evaluation})", f"{self.fp32_miou:.4f}", f"{self.int8_miou:.4f}",
             f"{-self.loss_points:+.2f} points"),
            (f"time, p50 ms ({self.threads} threads)", f"{self.fp32_ms:.1f}", f"{self.int8_ms:.1f}",
             f"x {self.time_ratio:.2f}"),
            ("file, MB", f"{self.fp32_bytes / 1e6:.1f}", f"{self.int8_bytes / 1e6:.1f}",
             f"x {self.int8_bytes / self.fp32_bytes:.2f}"),
        ]  # fmt: skip
        return _markdown(("", "fp32", "int8", "int8 against fp32"), rows)

    def _classes(self) -> str:
        rows = []
        for name, before in self.fp32_iou.items():
            after = self.int8_iou[name]
            change = "" if before is None or after is None else f"{100 * (after - before):+.2f}"
            rows.append((name, _iou(before), _iou(after), change))
        return _markdown(("class", "fp32 IoU", "int8 IoU", "points"), rows)

    def _sensitive(self) -> str:
        worst = sorted(self.layers, key=lambda layer: -layer.noise)[:_MOST_SENSITIVE]
        rows = [
            (layer.name, f"{layer.sqnr_db:.1f}", f"{100 * layer.changed:.2f} %",
             "float" if layer.name in self.float_layers else "int8")
            for layer in worst
        ]  # fmt: skip
        count = len(self.float_layers)
        share = f"{len(self.layers) - count} of {len(self.layers)} layers in int8"
        table = _markdown(("layer", "SQNR dB", "pixels changed", "runs in"), rows)
        return f"{share}. The most sensitive, each alone in int8:\n\n{table}"


def iou_by_class(classes: tuple[str, ...], iou: np.ndarray) -> dict[str, float | None]:
    """Rounded, None where a class neither occurs nor is predicted."""
    return {name: None if np.isnan(value) else round(float(value), 4) for name, value in zip(classes, iou)}


def _iou(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = []
    for first, *others in (head, *rows):
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))]
        lines.append(f"| {' | '.join(cells)} |")
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])
