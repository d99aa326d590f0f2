"""What was measured, as numbers, as JSON and as a table for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seg_perception.evaluation.boundary import BoundaryCounts
from seg_perception.evaluation.calibration import CalibrationCounts
from seg_perception.latency import percentiles
from seg_perception.metrics import iou_per_class, mean_iou

__all__ = ["ClassScore", "Evaluation", "FrameScore", "Subject"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Subject:
    """Which model was judged on what.

    Attributes:
        model, version, sha256: of the model file.
        engine: what ran it, with threads.
        temperature: of the confidence, as the file says; None if it says nothing.
        input_hw: height and width of the model's input, pixels.
        dataset, split: names.
        classes: of the data set.
        unknown: those of them that the model has no class for; they count, with an IoU of 0.
    """

    model: str
    version: str
    sha256: str
    engine: str
    temperature: float | None
    input_hw: tuple[int, int]
    dataset: str
    split: str
    classes: tuple[str, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameScore:
    """One frame: its name, its mean IoU over the classes that it holds (NaN if all is void), and its time."""

    name: str
    miou: float
    inference_ms: float


@dataclass(frozen=True)
class ClassScore:
    """One class; each value is 0 to 1, NaN where there is nothing to judge.

    Attributes:
        share: of the labelled pixels.
        recall: of its pixels, how many were found.
        accuracy: of the pixels that were called so, how many are (precision).
        confidence: mean of those pixels; it should be the accuracy.
    """

    name: str
    iou: float
    boundary_iou: float
    share: float
    recall: float
    accuracy: float
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """Everything that one pass over a data set showed.

    Attributes:
        confusion: int64 `[classes, classes + 1]`, rows are the truth; see `metrics.confusion_matrix`.
        frames: in the order in which they came.
        worst: indices of the frames with the lowest mean IoU, the worst one first, see `run.worst_frames`.
    """

    subject: Subject
    confusion: np.ndarray = field(repr=False)
    boundary: BoundaryCounts = field(repr=False)
    calibration: CalibrationCounts = field(repr=False)
    frames: tuple[FrameScore, ...] = field(repr=False)
    worst: tuple[int, ...]

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur."""
        return mean_iou(self.confusion)

    @property
    def boundary_miou(self) -> float:
        """Mean boundary IoU over the classes that occur."""
        return float(np.nanmean(self.boundary.iou_per_class()))

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def ece(self) -> float:
        """Expected calibration error with 15 bins, 0 to 1."""
        return self.calibration.reliability().ece

    @property
    def inference_ms(self) -> tuple[float, float, float]:
        """(p50, p95, max) of `session.run`, milliseconds."""
        return percentiles([frame.inference_ms for frame in self.frames])

    def class_scores(self) -> list[ClassScore]:
        """One for each class, in their order."""
        iou, boundary = iou_per_class(self.confusion), self.boundary.iou_per_class()
        accuracy, confidence = self.calibration.accuracy_and_confidence()
        pixels = self.confusion.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = np.diagonal(self.confusion) / pixels
        columns = zip(iou, boundary, pixels / pixels.sum(), recall, accuracy, confidence)
        return [ClassScore(name, *map(float, row)) for name, row in zip(self.subject.classes, columns)]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and null (for NaN)."""
        subject, (p50, p95, top) = self.subject, self.inference_ms
        return {
            "schema": SCHEMA_VERSION,
            "model": {
                "name": subject.model,
                "version": subject.version,
                "sha256": subject.sha256,
                "input": {"height_px": subject.input_hw[0], "width_px": subject.input_hw[1]},
                "temperature": subject.temperature,
            },
            "dataset": {
                "name": subject.dataset,
                "split": subject.split,
                "frames": len(self.frames),
                "classes": list(subject.classes),
                "unknown_to_the_model": list(subject.unknown),
                "labelled_pixels": int(self.confusion.sum()),
            },
            "miou": _rounded(self.miou),
            "boundary_miou": _rounded(self.boundary_miou),
            "pixel_accuracy": _rounded(self.pixel_accuracy),
            "calibration": {"ece": _rounded(self.ece), "bins": self.calibration.reliability().to_json()},
            "inference": {"engine": subject.engine, "p50_ms": round(p50, 3), "p95_ms": round(p95, 3),
                          "max_ms": round(top, 3)},
            "classes": {
                score.name: {key: _rounded(value) for key, value in vars(score).items() if key != "name"}
                for score in self.class_scores()
            },
            "confusion": self.confusion.tolist(),
            "worst_frames": [self.frames[i].name for i in self.worst],
            "frames": [
                {"name": f.name, "miou": _rounded(f.miou), "inference_ms": round(f.inference_ms, 3)}
                for f in self.frames
            ],
        }  # fmt: skip

    def table(self) -> str:
        """For a terminal; percent, one line for each class."""
        titles = ("class", "IoU", "boundary", "pixels", "found", "right", "confidence")
        scores = self.class_scores()
        rows = [[s.iou, s.boundary_iou, s.share, s.recall, s.accuracy, s.confidence] for s in scores]
        rows.append([self.miou, self.boundary_miou, float("nan"), *(_mean([r[i] for r in rows]) for i in (3, 4, 5))])
        names = [s.name + (" *" if s.name in self.subject.unknown else "") for s in scores] + ["mean"]
        body = [(name, *(_percent(value) for value in row)) for name, row in zip(names, rows)]
        widths = [max(len(row[i]) for row in (titles, *body)) for i in range(len(titles))]
        rule = "  ".join("-" * width for width in widths)
        lines = [_line(titles, widths), rule, *(_line(row, widths) for row in body[:-1]), rule, _line(body[-1], widths)]
        if self.subject.unknown:
            lines.append("* the model has no such class")
        return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join((row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))))


def _mean(values: Sequence[Any]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)
