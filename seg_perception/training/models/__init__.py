"""Network architectures, by the name that a training configuration and a checkpoint use."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from seg_perception.training.models.pyramid import PyramidNet

__all__ = ["ARCHITECTURES", "PyramidNet", "build"]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"pyramid": PyramidNet}


def build(architecture: str, classes: int, width: int) -> nn.Module:
    """A network with fresh weights; ValueError lists the architectures there are."""
    try:
        constructor = ARCHITECTURES[architecture]
    except KeyError:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ValueError(f"no architecture {architecture!r}; there are: {known}") from None
    return constructor(classes=classes, width=width)
