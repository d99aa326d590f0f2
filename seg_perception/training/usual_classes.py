"""Which of a label's classes a network calls it, where labels alone could not say."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from seg_perception.datasets import Dataset
from seg_perception.evaluation.accuracy import StretchedFits
from seg_perception.labels import CITYSCAPES
from seg_perception.training.evaluate import predictor

__all__ = ["name_usual_classes"]

_FRAMES = 100


@torch.no_grad()
def name_usual_classes(network: nn.Module, dataset: Dataset, size_hw: tuple[int, int]) -> dict[str, str]:
    """Exchange classifier rows so that what the network says for a label goes by the label's usual class.

    A label supervises the sum of its classes, and the loss is the same when two of them change places: which
    one the network came to use is chance. The row that is used most on some of the frames becomes that of the
    first class that the label covers (`Dataset.covers`). A teacher's word settles it better.

    Returns:
        the names that changed places, used to usual.
    """
    predict, used, fits = predictor(network), np.zeros(len(CITYSCAPES), np.int64), StretchedFits(size_hw)
    for item in dataset.items[:: max(1, len(dataset.items) // _FRAMES)]:
        tensor = fits.stretch(item.read_image())[1]
        used += np.bincount(predict(tensor).ravel(), minlength=len(CITYSCAPES))[: len(CITYSCAPES)]
    swapped, class_of = {}, dataset.class_of(CITYSCAPES)
    for label, covered in enumerate(dataset.covers):
        members = np.flatnonzero(class_of == label).tolist()
        known = [CITYSCAPES.id_of(name) for name in covered if any(entry.name == name for entry in CITYSCAPES)]
        if not known:
            continue
        most = max(members, key=lambda c: int(used[c]))
        if used[most] > used[known[0]]:
            for tensor in (network.classify.weight, network.classify.bias):
                tensor[[known[0], most]] = tensor[[most, known[0]]]
            swapped[CITYSCAPES.labels[most].name] = CITYSCAPES.labels[known[0]].name
    return swapped
