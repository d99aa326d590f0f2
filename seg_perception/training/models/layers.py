"""Layers that more than one of our networks is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MEAN_RGB", "STD_RGB", "PyramidPooling", "conv_norm_relu", "require_multiples", "upsample_like"]

MEAN_RGB = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD_RGB = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""ImageNet's, for values of 0 to 255: what the published weights were trained with."""


def conv_norm_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def require_multiples(x: Tensor, multiple: int) -> None:
    """ValueError unless height and width of `[N, C, H, W]` are multiples of it."""
    height, width = int(x.shape[-2]), int(x.shape[-1])
    if height % multiple or width % multiple:
        raise ValueError(f"input {height}x{width}: height and width must be multiples of {multiple}")


def upsample_like(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class PyramidPooling(nn.Module):
    """Averages over 1×1, 2×2 and 4×4 bins, each reduced to a few channels and spread out again.

    Kernels are fixed by the input's size, so that the exported graph holds plain AveragePool nodes;
    height and width at 1/32 must be multiples of 4 (an input of 256×512 gives 8×16).
    """

    BINS = (1, 2, 4)

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        each = channels // 4
        self.branches = nn.ModuleList(conv_norm_relu(channels, each, 1) for _ in self.BINS)
        self.fuse = conv_norm_relu(channels + each * len(self.BINS), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[-2]), int(x.shape[-1])
        parts = [x]
        for bins, branch in zip(self.BINS, self.branches):
            kernel = (height // bins, width // bins)
            parts.append(upsample_like(branch(F.avg_pool2d(x, kernel, kernel)), x))
        return self.fuse(torch.cat(parts, 1))
