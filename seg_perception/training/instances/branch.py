"""Centres and offsets of countable things (Panoptic-DeepLab, Cheng et al. 2020) from the maps of a finished network.

The network that tells classes stays as it is, to the bit: the branch only reads its maps. It has a decoder of its
own, since what tells two touching cars apart is of no use to one that must call both a car.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from seg_perception.errors import TrainingError
from seg_perception.training.models.esp_pyramid import ESPPyramid
from seg_perception.training.models.layers import conv_norm_relu, upsample_like

__all__ = ["InstanceBranch", "InstanceNetwork"]

_COARSE, _MIDDLE, _FINE = 48, 32, 16
_OFFSET_SCALE = 8.0
"""Cells per unit of the last layer, which then has to learn numbers of about 1."""


class InstanceBranch(nn.Module):
    """Maps of an `ESPPyramid` to centres `[N, h, w]`, linear, about 0 to 1, and offsets `[N, 2, h, w]`, in cells.

    Everything is a dense convolution over whole blocks of channels: on CPUs with wide vectors these cost least.

    Args:
        channels: of the maps at 1/4, 1/8 and 1/16, and behind the pyramid pooling, at 1/16 (`ESPPyramid.maps`).
    """

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        c2, c3, c4, pooled = channels
        self.lateral4 = _conv_norm(c4, pooled, 1)
        self.smooth4, self.widen4 = conv_norm_relu(pooled, _COARSE), _conv_norm(_COARSE, _COARSE, 3)
        self.lateral3 = _conv_norm(c3, _COARSE, 1)
        self.smooth3, self.narrow3 = conv_norm_relu(_COARSE, _MIDDLE), nn.Conv2d(_MIDDLE, _FINE, 1, bias=False)
        self.lateral2 = _conv_norm(c2, _FINE, 1)
        self.smooth2 = conv_norm_relu(_FINE, _FINE)
        self.predict, self.scaled = nn.Conv2d(_FINE, 3, 1), False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for residual in (self.lateral4, self.widen4):  # they begin as if they were not there
            nn.init.zeros_(residual[1].weight)
        nn.init.normal_(self.predict.weight, std=0.01)
        nn.init.zeros_(self.predict.bias)

    def forward(self, fine: Tensor, e3: Tensor, e4: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        # Every sum stands right behind a convolution, which ONNX Runtime then computes together with it.
        y4 = self.smooth4(torch.relu(self.lateral4(e4) + pooled))
        y4 = torch.relu(self.widen4(y4) + y4)
        # Channels are made fewer before they are made wide: most of the time goes into the map at 1/4.
        y3 = self.narrow3(self.smooth3(torch.relu(self.lateral3(e3) + upsample_like(y4, e3))))
        y2 = self.smooth2(torch.relu(self.lateral2(fine) + upsample_like(y3, fine)))
        centers, offsets = self.predict(y2).split((1, 2), 1)
        return centers.squeeze(1), offsets if self.scaled else offsets * _OFFSET_SCALE

    @torch.no_grad()
    def for_export(self) -> InstanceBranch:
        """A copy that gives the same answers with the offsets' scale in its last weights."""
        copied = copy.deepcopy(self).eval()
        for tensor in (copied.predict.weight, copied.predict.bias):
            tensor[1:] *= _OFFSET_SCALE
        copied.scaled = True
        return copied


def _conv_norm(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class InstanceNetwork(nn.Module):
    """A finished network and the branch on it. `forward` gives the logits alone, as the network always did.

    Args:
        backbone: is frozen: its weights get no gradient, its batch statistics stay, whatever mode this module is in.

    Raises:
        TrainingError: the network is of an architecture whose maps nobody has asked for yet.
    """

    heads_stride = 4
    """Of centres and offsets."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        if not isinstance(backbone, ESPPyramid):
            raise TrainingError(
                f"instances: the branch is made for the architecture esp_pyramid, the run has {type(backbone).__name__}"
            )
        self.backbone = backbone.eval().requires_grad_(False)
        self.branch = InstanceBranch(backbone.map_channels)
        self.stride, self.size_multiple = backbone.stride, backbone.size_multiple

    def train(self, mode: bool = True) -> InstanceNetwork:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.backbone(x)
        return logits

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits as of the frozen network, centres and offsets as of `InstanceBranch`."""
        with torch.no_grad():
            *maps, p2 = self.backbone.maps(x)
            logits = self.backbone.classify(p2)
        centers, offsets = self.branch(*maps)
        return logits, centers, offsets

    def for_export(self) -> InstanceNetwork:
        """A copy that gives the same answers in operators that ONNX Runtime is quick with."""
        copied = copy.copy(self)
        copied._modules = {"backbone": self.backbone.for_export(), "branch": self.branch.for_export()}
        return copied.eval()
