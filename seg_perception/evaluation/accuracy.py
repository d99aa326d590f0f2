"""Accuracy on labelled frames, by the same resizing rules as the pipeline's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnxruntime as ort

from seg_perception.datasets import Dataset, DatasetItem, read_pair
from seg_perception.fit import Fit
from seg_perception.images import DecodedImage
from seg_perception.labels import LabelSet
from seg_perception.metrics import confusion_matrix

__all__ = ["Predict", "StretchedFits", "confusion_of", "predictor_of"]

Predict = Callable[[np.ndarray], np.ndarray]
"""RGB uint8 `[H, W, 3]` at the network's size to class ids uint8 `[h, w]` at any stride."""


class StretchedFits:
    """The tables that stretch frames to the network's size and its answers back, kept for the last frame size."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.size_hw = size_hw
        self._fit: Fit | None = None

    def of(self, frame_hw: tuple[int, int]) -> Fit:
        """For frames of this height and width; answers come back at the frame's own size."""
        if self._fit is None or self._fit.camera_hw != frame_hw:
            self._fit = Fit(frame_hw, self.size_hw, "stretch", 0.5, frame_hw)
        return self._fit

    def stretch(self, image: np.ndarray) -> tuple[Fit, np.ndarray]:
        """The fit of an RGB frame, uint8 `[H, W, 3]`, and the frame at the network's size."""
        fit = self.of((image.shape[0], image.shape[1]))
        tensor = fit.to_model(DecodedImage(image, "rgb"))
        assert tensor is not None  # there is a model's size
        return fit, tensor


def predictor_of(session: ort.InferenceSession, advance: Callable[[], None] = lambda: None) -> Predict:
    """The class ids of a model file's session; `advance` is called after each picture."""

    def predict(image: np.ndarray) -> np.ndarray:
        ids: np.ndarray = session.run(["class_ids"], {"image": image[None]})[0][0]
        advance()
        return ids

    return predict


def confusion_of(
    predict: Predict,
    dataset: Dataset,
    labels: LabelSet,
    size_hw: tuple[int, int],
    items: Iterable[DatasetItem] | None = None,
) -> np.ndarray:
    """Confusion over the data set's classes: argmax over the model's classes at the frame's size, then mapped.

    The whole frame is stretched to `size_hw` and the answer scaled back as the pipeline does.
    `metrics.mean_iou` makes one number of it.

    Args:
        labels: what the ids mean that `predict` gives.
        items: only these frames of the data set.

    Returns:
        int64 `[classes, classes + 1]`, see `metrics.confusion_matrix`.

    Raises:
        DatasetError: a frame cannot be read, or the model knows none of the classes.
    """
    class_of, classes, fits = dataset.class_of(labels), len(dataset.classes), StretchedFits(size_hw)
    total = np.zeros((classes, classes + 1), np.int64)
    for item in dataset.items if items is None else items:
        image, truth = read_pair(item)
        fit, tensor = fits.stretch(image)
        total += confusion_matrix(truth, class_of[fit.to_camera(predict(tensor))], classes)
    return total
