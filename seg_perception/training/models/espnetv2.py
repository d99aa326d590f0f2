"""ESPNetv2 for segmentation (Mehta et al. 2019, https://arxiv.org/abs/1811.11431), with published Cityscapes weights.

The encoder reduces, convolves depthwise at four dilations, sums the branches hierarchically and expands
again (EESP); every halving also sees the shrunken image. The decoder pools each map at five scales and adds
the encoder's gated maps back in, up to 1/2 of the input. The parts are named for what they do;
`espnetv2_weights` says which of the published names is which.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg_perception.training.models.layers import MEAN_RGB, STD_RGB, require_multiples

__all__ = ["EESP", "WIDTHS", "ESPNetv2", "ESPNetv2Encoder", "resize_corners"]

WIDTHS = {0.5: (16, 32, 64, 128), 1.0: (32, 64, 128, 256), 1.5: (32, 96, 192, 384), 2.0: (32, 128, 256, 512)}
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the input, by width multiplier."""

_BRANCHES = 4
_DECODER = (64, 48, 32)
_SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
_SMALLEST_BINS = 5


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _conv_norm_act(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(*_conv_norm(inputs, outputs, kernel, stride, groups), nn.PReLU(outputs))


def resize_corners(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bilinear, the corner pixels' centres staying where they are: how these weights were trained to be scaled."""
    return F.interpolate(x, size=size_hw, mode="bilinear", align_corners=True)


def _size(x: Tensor) -> tuple[int, int]:
    return int(x.shape[-2]), int(x.shape[-1])


@lru_cache(maxsize=256)
def _averaging(inputs: int, outputs: int) -> np.ndarray:
    """Matrix float32 `[outputs, inputs]` of adaptive average pooling along one axis; bins overlap where they must."""
    first = np.arange(outputs) * inputs // outputs
    last = -(-np.arange(1, outputs + 1) * inputs // outputs)
    column = np.arange(inputs)
    inside = (column >= first[:, None]) & (column < last[:, None])
    matrix: np.ndarray = (inside / (last - first)[:, None]).astype(np.float32)
    return matrix


def _three_to_two(x: Tensor) -> Tensor:
    """Adaptive average of maps 3h × 3w to 2h × 2w: every 3×3 tile's four 2×2 windows, in one small convolution."""
    windows = np.zeros((2, 2, 3, 3), np.float32)
    for i, j in np.ndindex(2, 2):
        windows[i, j, i : i + 2, j : j + 2] = 0.25
    channels = int(x.shape[1])
    kernels = torch.tensor(np.tile(windows.reshape(4, 1, 3, 3), (channels, 1, 1, 1)), device=x.device)
    return F.pixel_shuffle(F.conv2d(x, kernels, stride=3, groups=channels), 2)


def _adaptive_average(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Adaptive average pooling as fixed kernels, and as constant matrices where bins are of unequal size.

    ONNX has no adaptive pooling, and its exporter refuses sizes that do not divide.
    """
    (height, width), (rows, columns) = _size(x), size_hw
    if (2 * height, 2 * width) == (3 * rows, 3 * columns) and height % 3 == width % 3 == 0:
        return _three_to_two(x)
    kernel = height // rows if height % rows == 0 else 1, width // columns if width % columns == 0 else 1
    if kernel != (1, 1):
        x = F.avg_pool2d(x, kernel, kernel)
    if height % rows:
        x = torch.tensor(_averaging(height, rows), device=x.device) @ x
    if width % columns:
        x = x @ torch.tensor(_averaging(width, columns), device=x.device).T
    return x


class EESP(nn.Module):
    """Grouped reduction, depthwise 3×3 at several dilations, hierarchical sums, grouped expansion."""

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...], stride: int = 1) -> None:
        super().__init__()
        each = outputs // _BRANCHES
        self.reduce = _conv_norm_act(inputs, each, 1, groups=_BRANCHES)
        self.branches = nn.ModuleList(
            nn.Conv2d(each, each, 3, stride, dilation, dilation, groups=each, bias=False) for dilation in dilations
        )
        self.fuse = _norm_act(outputs)
        self.expand = _conv_norm(outputs, outputs, 1, groups=_BRANCHES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        sums = [self.branches[0](x)]
        for branch in list(self.branches)[1:]:
            sums.append(branch(x) + sums[-1])
        return self.expand(self.fuse(torch.cat(sums, 1)))


class _Block(nn.Module):
    """A pyramid with a shortcut."""

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.pyramid = EESP(channels, channels, dilations)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.pyramid(x) + x)


class _Down(nn.Module):
    """To half the size: the averaged input beside a strided pyramid, plus what the shrunken image says."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pyramid = EESP(inputs, outputs - inputs, (1, 2, 3, 4), stride=2)
        self.image = nn.Sequential(_conv_norm_act(3, 3, 3), _conv_norm(3, outputs, 1))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        return self.act(torch.cat([_shrink(x), self.pyramid(x)], 1) + self.image(image))


def _shrink(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 2, 1)


class _ScalePooling(nn.Module):
    """A depthwise 3×3 at five scales of a few channels, mixed by scale, then expanded."""

    def __init__(self, inputs: int, inner: int, outputs: int, classifies: bool = False) -> None:
        super().__init__()
        self.reduce = _conv_norm_act(inputs, inner, 1)
        self.scales = nn.ModuleList(nn.Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False) for _ in _SCALES)
        self.fuse = _norm_act(inner * len(_SCALES))
        self.mix = _conv_norm_act(inner * len(_SCALES), inner, 3, groups=inner)
        self.expand = nn.Conv2d(inner, outputs, 1, bias=classifies)
        self.act: nn.Module = nn.Identity() if classifies else _norm_act(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        here = _size(x)
        parts = []
        for scale, conv in zip(_SCALES, self.scales):
            height, width = (max(_SMALLEST_BINS, math.ceil(n * scale)) for n in here)
            if scale > 1:
                parts.append(_adaptive_average(conv(resize_corners(x, (height, width))), here))
            elif scale < 1:
                parts.append(resize_corners(conv(_adaptive_average(x, (height, width))), here))
            else:
                parts.append(conv(x))
        # Stacked behind the channel: the grouped convolution finds one channel's scales side by side.
        return self.act(self.expand(self.mix(self.fuse(torch.stack(parts, 2).flatten(1, 2)))))


class _Skip(nn.Module):
    """An encoder map on its way to the decoder, each channel weighed by what the whole picture holds."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.expand = _conv_norm_act(inputs, outputs, 3, groups=math.gcd(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(x) * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))


class ESPNetv2Encoder(nn.Module):
    """The encoder alone, and what every network around it shares: the normalisation and the first weights.

    Args:
        width: width multiplier, one of `WIDTHS`.
        blocks: blocks with a shortcut at 1/8 and at 1/16; fewer than the 3 and 7 that were published are the first.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: float, blocks: tuple[int, int] = (3, 7)) -> None:
        super().__init__()
        if width not in WIDTHS:
            raise ValueError(f"ESPNetv2 width {width}: expected one of {', '.join(map(str, WIDTHS))}")
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD_RGB).view(1, 3, 1, 1), persistent=False)
        w1, w2, w3, w4 = self.channels = WIDTHS[width]
        self.stem = _conv_norm_act(3, w1, 3, stride=2)
        self.down2, self.down3, self.down4 = _Down(w1, w2), _Down(w2, w3), _Down(w3, w4)
        self.stage3 = nn.Sequential(*(_Block(w3, (1, 2, 3, 4)) for _ in range(blocks[0])))
        self.stage4 = nn.Sequential(*(_Block(w4, (1, 1, 2, 3)) for _ in range(blocks[1])))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised RGB `[N, 3, H, W]` to the maps at 1/2, 1/4, 1/8 and 1/16."""
        e1 = self.stem(x)
        image = _shrink(_shrink(x))
        e2 = self.down2(e1, image)
        image = _shrink(image)
        e3 = self.stage3(self.down3(e2, image))
        e4 = self.stage4(self.down4(e3, _shrink(image)))
        return e1, e2, e3, e4


class ESPNetv2(ESPNetv2Encoder):
    """RGB image, float `[N, 3, H, W]` in 0 … 255, to logits `[N, classes, H/2, W/2]`, in every mode.

    H and W are multiples of 4. The logits' grid is corner-aligned with the image: `resize_corners` takes it
    to another size. There is no auxiliary output, unlike `PyramidNet`'s in training mode.

    Args:
        classes: number of output classes; the published weights have 20: Cityscapes' 19 train ids, then
            background, which Cityscapes does not evaluate.
        width: width multiplier, one of `WIDTHS`.
    """

    stride = 2
    size_multiple = 4

    def __init__(self, classes: int = 20, width: float = 2.0) -> None:
        super().__init__(width)
        w1, w2, w3, w4 = self.channels
        d3, d2, d1 = _DECODER
        inner = min(classes // 2, 16)
        self.decode4, self.decode3 = _ScalePooling(w4, inner, d3), _ScalePooling(d3, inner, d2)
        self.decode2, self.decode1 = _ScalePooling(d2, inner, d1), _ScalePooling(d1, inner, classes, classifies=True)
        self.skip3, self.skip2, self.skip1 = _Skip(w3, d3), _Skip(w2, d2), _Skip(w1, d1)
        self.join3, self.join2, self.join1 = _norm_act(d3), _norm_act(d2), _norm_act(d1)
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        require_multiples(x, self.size_multiple)
        e1, e2, e3, e4 = self.encode((x - self.mean) / self.std)
        y = self.decode4(e4)
        y = self.decode3(self.join3(self.skip3(e3) + resize_corners(y, _size(e3))))
        y = self.decode2(self.join2(self.skip2(e2) + resize_corners(y, _size(e2))))
        logits: Tensor = self.decode1(self.join1(self.skip1(e1) + resize_corners(y, _size(e1))))
        return logits
