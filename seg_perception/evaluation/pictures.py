"""The worst frames, to be looked at: image, truth, prediction, and where they differ."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from seg_perception.datasets import Dataset, DatasetItem, read_pair
from seg_perception.evaluation.run import FrameRunner
from seg_perception.labels import VOID_ID, LabelSet
from seg_perception.metrics import confusion_matrix, iou_per_class
from seg_perception.visualise import colour_mask

__all__ = ["FramePictures", "class_palette", "error_picture", "frame_pictures"]

_MAX_WIDTH = 480
_UNSURE, _SURE = (255, 190, 60), (215, 25, 40)
_GOLDEN = 0.618


@dataclass(frozen=True)
class FramePictures:
    """One frame, RGB uint8 `[h, w, 3]` each, at most 480 pixels wide.

    Attributes:
        weakest: the classes of the frame with the lowest IoU, and that IoU.
        present: ids of the classes that its truth or its prediction holds.
    """

    name: str
    image: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    prediction: np.ndarray = field(repr=False)
    error: np.ndarray = field(repr=False)
    weakest: tuple[tuple[str, float], ...]
    present: frozenset[int]


def class_palette(dataset: Dataset, labels: LabelSet) -> np.ndarray:
    """RGB colour by class id of the data set, uint8 `[256, 3]`, 255 black.

    Each class has the model's colour of the usual class that it covers, or one of its own.
    """
    colors = {label.name: label.color for label in labels}
    palette = np.zeros((256, 3), np.uint8)
    for class_id, covered in enumerate(dataset.covers):
        known = next((colors[name] for name in covered if name in colors), None)
        own = [round(255 * c) for c in colorsys.hsv_to_rgb(class_id * _GOLDEN % 1, 0.6, 0.9)]
        palette[class_id] = own if known is None else known
    return palette


def error_picture(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The image in pale gray; what is wrong in amber, and the redder the surer the model was; void is dark.

    Args:
        image: RGB uint8 `[H, W, 3]`.
        truth, predicted, confidence: uint8 `[H, W]`.

    Returns:
        RGB uint8 `[H, W, 3]`.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    out = cv2.cvtColor(cv2.addWeighted(gray, 0.45, np.full_like(gray, 255), 0.42, 0), cv2.COLOR_GRAY2RGB)
    ramp = np.linspace(_UNSURE, _SURE, 256).round().astype(np.uint8)
    void = truth == VOID_ID
    wrong = (truth != predicted) & ~void
    out[wrong] = ramp[confidence[wrong]]
    out[void] = gray[void, None] // 4
    return out


def frame_pictures(
    runner: FrameRunner, dataset: Dataset, items: Sequence[DatasetItem], weakest: int = 3
) -> list[FramePictures]:
    """Run the model once more on these frames and draw what came out.

    Raises:
        DatasetError: a frame cannot be read.
    """
    palette, drawn = class_palette(dataset, runner.backend.labels), []
    for item in items:
        image, truth = read_pair(item)
        predicted, confidence, _ = runner.answer(image)
        confusion = confusion_matrix(truth, predicted, len(dataset.classes))
        iou = iou_per_class(confusion)
        there = np.flatnonzero(confusion.sum(1))
        lowest = sorted(there.tolist(), key=lambda c: float(iou[c]))[:weakest]
        drawn.append(
            FramePictures(
                item.name,
                _small(image, cv2.INTER_AREA),
                _small(colour_mask(truth, palette), cv2.INTER_NEAREST),
                _small(colour_mask(predicted, palette), cv2.INTER_NEAREST),
                _small(error_picture(image, truth, predicted, confidence), cv2.INTER_AREA),
                tuple((dataset.classes[c], float(iou[c])) for c in lowest),
                frozenset(np.union1d(truth, predicted).tolist()) - {VOID_ID},
            )
        )
    return drawn


def _small(picture: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= _MAX_WIDTH:
        return picture
    return cv2.resize(picture, (_MAX_WIDTH, max(1, round(height * _MAX_WIDTH / width))), interpolation=interpolation)
