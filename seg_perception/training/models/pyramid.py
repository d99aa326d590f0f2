"""A pyramid-pooling network of dense convolutions, quick where multiply-adds are cheap and memory is not.

The encoder is a small ResNet (He et al. 2016) to 1/32 of the input, the pyramid pools its last map at
several bin sizes (Zhao et al. 2017, PSPNet), and a light top-down decoder adds the encoder's maps back
in (Lin et al. 2017, FPN) to 1/4. On CPUs with wide vectors a dense 3×3 convolution runs many times
closer to the machine's peak than a depthwise or dilated one, so there is none of either.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg_perception.training.models.layers import (
    MEAN_RGB,
    STD_RGB,
    PyramidPooling,
    conv_norm_relu,
    require_multiples,
    upsample_like,
)

__all__ = ["PyramidNet"]


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm_relu(inputs, outputs, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            pool: list[nn.Module] = [nn.AvgPool2d(stride)] if stride != 1 else []
            self.shortcut = nn.Sequential(*pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def _channels(base: int, width: float) -> int:
    """`base` times `width`, in whole vectors of 16: a convolution of 24 channels takes as long as one of 32."""
    return max(16, round(base * width / 16) * 16)


class PyramidNet(nn.Module):
    """RGB image, float `[N, 3, H, W]` in 0 … 255, to logits `[N, classes, H/4, W/4]`.

    In training mode it returns (logits, auxiliary logits at 1/16). H and W are multiples of 128.

    Args:
        classes: number of output classes.
        width: width multiplier of every layer; 1 is 16, 48, 96 and 192 channels at 1/4 to 1/32.
        blocks: residual blocks at 1/4, 1/8, 1/16 and 1/32.
    """

    stride = 4
    size_multiple = 128
    scaled = False
    """Whether the first weights contain the division by the standard deviation."""

    def __init__(self, classes: int, width: float = 1.0, blocks: Sequence[int] = (1, 2, 2, 2)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD_RGB).view(1, 3, 1, 1))
        w1, w2, w3, w4 = (_channels(base, width) for base in (16, 48, 96, 192))
        coarse, fine = _channels(48, width), _channels(32, width)
        self.stem = nn.Sequential(conv_norm_relu(3, 16, stride=2), conv_norm_relu(16, w1, stride=2))
        self.stage1 = _stage(w1, w1, blocks[0], 1)
        self.stage2 = _stage(w1, w2, blocks[1], 2)
        self.stage3 = _stage(w2, w3, blocks[2], 2)
        self.stage4 = _stage(w3, w4, blocks[3], 2)
        self.pyramid = PyramidPooling(w4, coarse)
        self.lateral3 = conv_norm_relu(w3, coarse, 1)
        self.lateral2 = conv_norm_relu(w2, coarse, 1)
        self.lateral1 = conv_norm_relu(w1, fine, 1)
        self.smooth3 = conv_norm_relu(coarse, coarse)
        self.smooth2 = conv_norm_relu(coarse, fine)
        self.smooth1 = conv_norm_relu(fine, fine)
        self.drop = nn.Dropout2d(0.05)
        self.classify = nn.Conv2d(fine, classes, 1)
        self.auxiliary = nn.Sequential(conv_norm_relu(w3, coarse), nn.Conv2d(coarse, classes, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        require_multiples(x, self.size_multiple)
        x = x - self.mean if self.scaled else (x - self.mean) / self.std
        c1 = self.stage1(self.stem(x))
        c2 = self.stage2(c1)
        c3 = self.stage3(c2)
        c4 = self.stage4(c3)
        p3 = self.smooth3(upsample_like(self.pyramid(c4), c3) + self.lateral3(c3))
        p2 = self.smooth2(upsample_like(p3, c2) + self.lateral2(c2))
        p1 = self.smooth1(upsample_like(p2, c1) + self.lateral1(c1))
        logits = self.classify(self.drop(p1))
        return (logits, self.auxiliary(c3)) if self.training else logits

    @torch.no_grad()
    def for_export(self) -> PyramidNet:
        """A copy that gives the same answers with the division by the standard deviation in its first weights."""
        copied = copy.deepcopy(self)
        copied.stem[0][0].weight /= copied.std
        copied.scaled = True
        return copied

    @torch.no_grad()
    def set_class_prior(self, log_prior: Tensor) -> None:
        """Start from a class prior: float `[classes]`, log probabilities, as bias of small classifiers."""
        for layer in (self.classify, self.auxiliary[-1]):
            nn.init.normal_(layer.weight, std=0.01)
            layer.bias.copy_(log_prior)
