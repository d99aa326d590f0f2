"""A network's accuracy on labelled frames, by the same resizing rules as the pipeline's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from seg_perception.datasets import CAMVID_CLASSES, CAMVID_OF_CITYSCAPES, CamVidItem
from seg_perception.fit import Fit
from seg_perception.images import DecodedImage
from seg_perception.metrics import confusion_matrix

__all__ = ["camvid_confusion", "predictor"]

Predictor = Callable[[np.ndarray], np.ndarray]
"""RGB uint8 `[H, W, 3]` at the network's size to class ids uint8 `[h, w]` at any stride."""


def predictor(network: nn.Module) -> Predictor:
    """Argmax of a network in eval mode on the CPU: float `[N, 3, H, W]` to logits `[N, classes, h, w]`."""

    @torch.no_grad()
    def predict(image: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        ids: np.ndarray = network(x).argmax(1)[0].to(torch.uint8).numpy()
        return ids

    return predict


def camvid_confusion(predict: Predictor, items: Sequence[CamVidItem], size_hw: tuple[int, int]) -> np.ndarray:
    """Confusion over CamVid's 11 classes: argmax over 19 classes at the frame's size, then mapped.

    The whole frame is stretched to `size_hw` and the answer scaled back as the pipeline does.
    `metrics.mean_iou` makes one number of it.
    """
    total = np.zeros((len(CAMVID_CLASSES), len(CAMVID_CLASSES) + 1), np.int64)
    for item in items:
        truth = item.read_labels()
        fit = Fit(truth.shape, size_hw, "stretch", 0.5, truth.shape)
        image = fit.to_model(DecodedImage(item.read_image(), "rgb"))
        assert image is not None  # there is a model's size
        full = fit.to_camera(predict(image))
        total += confusion_matrix(truth, CAMVID_OF_CITYSCAPES[full], len(CAMVID_CLASSES))
    return total
