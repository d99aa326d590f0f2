"""One pass over a labelled data set: accuracy, calibration and speed of the very same frames."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.datasets import Dataset, DatasetItem, read_pair
from seg_perception.errors import DatasetError
from seg_perception.evaluation.accuracy import StretchedFits
from seg_perception.evaluation.boundary import BoundaryCounts
from seg_perception.evaluation.calibration import CalibrationCounts
from seg_perception.evaluation.result import Evaluation, FrameScore, Subject
from seg_perception.metrics import confusion_matrix, iou_per_class

__all__ = ["WARM_UP_RUNS", "FrameRunner", "evaluate", "frame_miou", "spread", "worst_frames"]

WARM_UP_RUNS = 5


class FrameRunner:
    """A model on the frames of a data set, stretched to its input and answered at the frame's size.

    Args:
        backend: open; its session is the one whose time is taken.
        dataset: whose classes the answers are mapped to.

    Raises:
        DatasetError: the model knows none of the classes.
    """

    def __init__(self, backend: OnnxRuntimeBackend, dataset: Dataset) -> None:
        self.backend, self.class_of = backend, dataset.class_of(backend.labels)
        self._fits = StretchedFits(backend.bundle.input_hw)

    def answer(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Classes of the data set and confidence, uint8 `[H, W]` each, and the milliseconds of inference alone.

        Args:
            image: RGB uint8 `[H, W, 3]`.
        """
        fit, tensor = self._fits.stretch(image)
        started = time.perf_counter()
        heads = self.backend.infer(tensor, 0, things=False)
        inference_ms = (time.perf_counter() - started) * 1e3
        assert heads.confidence is not None  # a model file always has it
        return self.class_of[fit.to_camera(heads.class_ids)], fit.to_camera(heads.confidence, outside=0), inference_ms


def evaluate(
    backend: OnnxRuntimeBackend,
    dataset: Dataset,
    items: Sequence[DatasetItem] | None = None,
    worst: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Measure a model on a data set, frame by frame; memory does not grow with their pixels.

    Args:
        items: only these frames.
        worst: how many of the worst frames to name.
        progress: told how many frames are done.

    Raises:
        DatasetError: a frame cannot be read, nothing is labelled, or the model knows none of the classes.
        BackendError: the engine failed.
    """
    runner, classes = FrameRunner(backend, dataset), len(dataset.classes)
    backend.warm_up(WARM_UP_RUNS)
    confusion = np.zeros((classes, classes + 1), np.int64)
    boundary, calibration = BoundaryCounts(classes), CalibrationCounts(classes)
    scores = []
    for done, item in enumerate(dataset.items if items is None else items, start=1):
        image, truth = read_pair(item)
        predicted, confidence, inference_ms = runner.answer(image)
        frame = confusion_matrix(truth, predicted, classes)
        confusion += frame
        boundary.add(truth, predicted)
        calibration.add(truth, predicted, confidence)
        # A file's name may hold bytes that are no text, and no terminal or file would take them.
        name = item.name.encode("utf-8", "replace").decode()
        scores.append(FrameScore(name, frame_miou(frame), inference_ms))
        progress(done)
    if not confusion.any():
        raise DatasetError(f"{dataset.name} {dataset.split}: not one labelled pixel in {len(scores)} frames")
    chosen = worst_frames([score.miou for score in scores], worst)
    return Evaluation(_subject(backend, dataset), confusion, boundary, calibration, tuple(scores), chosen)


def _subject(backend: OnnxRuntimeBackend, dataset: Dataset) -> Subject:
    bundle, known = backend.bundle, {label.name for label in backend.labels}
    about = bundle.metadata.get("confidence")
    temperature = about.get("temperature") if isinstance(about, dict) else None
    return Subject(
        bundle.name,
        bundle.version,
        bundle.sha256,
        backend.description,
        float(temperature) if isinstance(temperature, (int, float)) else None,
        bundle.input_hw,
        dataset.name,
        dataset.split,
        dataset.classes,
        tuple(name for name, covered in zip(dataset.classes, dataset.covers) if not known & set(covered)),
    )


def frame_miou(confusion: np.ndarray) -> float:
    """Mean IoU of one frame, over the classes that it really holds; NaN if all of it is void.

    A class that is only predicted would count as zero however few its pixels: as an error they count anyway.
    """
    there = confusion.sum(1) > 0
    return float(iou_per_class(confusion)[there].mean()) if there.any() else float("nan")


def worst_frames(miou: Sequence[float], count: int) -> tuple[int, ...]:
    """Indices of the lowest values, the lowest first; NaN is left out.

    Frames that follow each other in a drive are nearly the same picture and would fill the list: one that is too
    near to a chosen one is left out. In the stretch that four times `count` equal parts have, one is enough.
    """
    apart = max(1, len(miou) // (4 * max(1, count)))
    chosen: list[int] = []
    for i in sorted((i for i, value in enumerate(miou) if not math.isnan(value)), key=lambda i: miou[i]):
        if len(chosen) >= count:
            break
        if all(abs(i - other) >= apart for other in chosen):
            chosen.append(i)
    return tuple(chosen)


def spread(items: Sequence[DatasetItem], limit: int) -> list[DatasetItem]:
    """At most `limit` of the frames, evenly over the data set: the first ones would be of one drive."""
    if limit <= 0 or limit >= len(items):
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]
