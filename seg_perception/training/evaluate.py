"""A network's accuracy on labelled frames while it is in training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from seg_perception.datasets import Dataset
from seg_perception.evaluation.accuracy import Predict, StretchedFits, confusion_of
from seg_perception.labels import CITYSCAPES

__all__ = ["confusion_on", "predictor"]


def predictor(network: nn.Module, stride: int = 4) -> Predict:
    """Argmax of a network in eval mode: float `[N, 3, H, W]` to logits `[N, classes, h, w]`.

    Args:
        stride: of the answer, in input pixels; logits are scaled to it as an exported model does.
    """
    device = next(network.parameters()).device

    @torch.no_grad()
    def predict(image: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float()
        logits = network(x)
        size = (image.shape[0] // stride, image.shape[1] // stride)
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        ids: np.ndarray = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
        return ids

    return predict


def confusion_on(
    network: nn.Module, dataset: Dataset, size_hw: tuple[int, int], pictures: int = 6
) -> tuple[np.ndarray, list[tuple[str, np.ndarray, np.ndarray]]]:
    """`confusion_of` a network with the Cityscapes classes, class ids at stride 2, and some frames to look at.

    Returns:
        the confusion, and (name, RGB image, class ids of the network at the image's size) of frames spread over
        the data set.
    """
    predict = predictor(network, 2)
    confusion = confusion_of(predict, dataset, CITYSCAPES, size_hw)
    fits, shown = StretchedFits(size_hw), []
    for i in np.linspace(0, len(dataset.items) - 1, min(pictures, len(dataset.items))).astype(int):
        image = dataset.items[i].read_image()
        fit, tensor = fits.stretch(image)
        shown.append((dataset.items[i].name, image, fit.to_camera(predict(tensor))))
    return confusion, shown
