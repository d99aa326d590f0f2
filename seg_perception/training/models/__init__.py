"""Network architectures, by the name that a training configuration and a checkpoint use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from seg_perception.training.models.esp_pyramid import ESPPyramid
from seg_perception.training.models.espnetv2 import ESPNetv2
from seg_perception.training.models.espnetv2_weights import load_espnetv2
from seg_perception.training.models.pyramid import PyramidNet

__all__ = ["ARCHITECTURES", "ESPNetv2", "ESPPyramid", "PyramidNet", "build", "load_espnetv2"]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "esp_pyramid": ESPPyramid,
    "espnetv2": ESPNetv2,
    "pyramid": PyramidNet,
}


def build(architecture: str, classes: int, **options: Any) -> nn.Module:
    """A network with fresh weights; ValueError lists the architectures there are.

    Args:
        options: as the architecture's class has them: its width multiplier, mostly.
    """
    try:
        constructor = ARCHITECTURES[architecture]
    except KeyError:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ValueError(f"no architecture {architecture!r}; there are: {known}") from None
    return constructor(classes=classes, **options)
