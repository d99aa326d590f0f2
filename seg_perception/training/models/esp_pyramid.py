"""ESPNetv2's encoder, which was trained on many cities, with a decoder that is quick to run.

Three parts in four of ESPNetv2's time go into its decoder. Here its encoder's maps meet a pyramid pooling (Zhao et al.
2017, PSPNet) and a top-down decoder of dense convolutions (Lin et al. 2017, FPN), as in `PyramidNet`, and
the published weights are where the encoder starts: what 3,000 scenes of 18 cities taught it, a robot's own few
hundred frames cannot teach.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg_perception.training.models.blocked_layout import SlopedReLU, in_blocked_layout
from seg_perception.training.models.espnetv2 import ESPNetv2Encoder
from seg_perception.training.models.layers import PyramidPooling, conv_norm_relu, require_multiples, upsample_like

__all__ = ["ESPPyramid"]

_POOLED, _COARSE, _FINE = 96, 64, 32


class ESPPyramid(ESPNetv2Encoder):
    """RGB image, float `[N, 3, H, W]` in 0 … 255, to logits `[N, classes, H/4, W/4]`.

    H and W are multiples of 64.

    Args:
        classes: number of output classes.
        width: width multiplier of the encoder, one of `espnetv2.WIDTHS`.
        blocks: of the encoder at 1/8 and at 1/16; fewer than 3 and 7 are the published network's first.
    """

    stride = 4
    size_multiple = 64
    channels_last = False
    """Depthwise convolutions learn faster in torch with channels first."""

    def __init__(self, classes: int, width: float = 1.0, blocks: Sequence[int] = (3, 7)) -> None:
        super().__init__(width, (blocks[0], blocks[1]))
        _, w2, w3, w4 = self.channels
        self.reduce4 = conv_norm_relu(w4, _POOLED, 1)
        self.pyramid = PyramidPooling(_POOLED, _COARSE)
        self.lateral3 = conv_norm_relu(w3, _COARSE, 1)
        self.lateral2 = conv_norm_relu(w2, _FINE, 1)
        self.smooth3 = conv_norm_relu(_COARSE, _FINE)
        self.smooth2 = conv_norm_relu(_FINE, _FINE)
        self.drop = nn.Dropout2d(0.05)
        self.classify = nn.Conv2d(_FINE, classes, 1)
        self._initialise()
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.PReLU):
                    setattr(module, name, SlopedReLU(child.num_parameters))
        self.scaled = False

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Those that the published weights fill."""
        parts = (self.stem, self.down2, self.down3, self.down4, self.stage3, self.stage4)
        return [parameter for part in parts for parameter in part.parameters()]

    @property
    def map_channels(self) -> tuple[int, int, int, int]:
        """Of the first four of `maps`."""
        return _FINE, self.channels[2], self.channels[3], _COARSE

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What the decoder takes of the encoder's map at 1/4, the encoder's maps at 1/8 and 1/16, what the pyramid
        pooling makes of the last, and what classes are told from."""
        require_multiples(x, self.size_multiple)
        x = x - self.mean if self.scaled else (x - self.mean) / self.std
        _, e2, e3, e4 = self.encode(x)
        pooled, fine = self.pyramid(self.reduce4(e4)), self.lateral2(e2)
        p3 = self.smooth3(upsample_like(pooled, e3) + self.lateral3(e3))
        return fine, e3, e4, pooled, self.smooth2(upsample_like(p3, e2) + fine)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.drop(self.maps(x)[-1]))
        return logits

    @torch.no_grad()
    def for_export(self) -> ESPPyramid:
        """A copy that gives the same answers in operators that ONNX Runtime is quick with.

        The division by the standard deviation goes into the first weights; for the rest see `blocked_layout`.
        """
        copied = copy.deepcopy(self)
        for first in (copied.stem[0], *(down.image[0][0] for down in (copied.down2, copied.down3, copied.down4))):
            first.weight /= copied.std
        copied.scaled = True
        copied.eval()
        in_blocked_layout(copied)
        return copied

    @torch.no_grad()
    def set_class_prior(self, log_prior: Tensor) -> None:
        """Start from a class prior: float `[classes]`, log probabilities, as bias of a small classifier."""
        nn.init.normal_(self.classify.weight, std=0.01)
        self.classify.bias.copy_(log_prior)
