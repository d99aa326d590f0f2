"""EESP units and PReLUs, exactly as they are, in operators that ONNX Runtime keeps in its blocked layout.

ONNX Runtime computes float convolutions with the channels in blocks of 16. A PRelu, a branch of 8 channels or a group
of 24 falls out of that layout, and the maps are reordered there and back: more than half of the encoder's time.
Padding with channels that stay zero, making one group of several, and writing PReLU as convolutions changes no answer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seg_perception.training.models.espnetv2 import EESP

__all__ = ["SlopedReLU", "in_blocked_layout"]

_BLOCK = 16


class SlopedReLU(nn.PReLU):
    """PReLU (He et al. 2015) with slopes of at most 1: the sum of the input and its positive part, both weighted."""

    def forward(self, x: Tensor) -> Tensor:
        slope = self.weight.clamp(max=1).view(1, -1, 1, 1).to(x.dtype)
        return x * slope + torch.relu(x) * (1 - slope)


class _AsConvolutions(nn.Module):
    """Batch normalisation, if there is one, and `SlopedReLU` as two depthwise 1×1 convolutions."""

    def __init__(self, act: SlopedReLU, norm: nn.BatchNorm2d | None = None) -> None:
        super().__init__()
        slopes = act.weight.clamp(max=1)
        channels = int(slopes.numel())
        self.linear = nn.Conv2d(channels, channels, 1, groups=channels)
        self.positive = nn.Conv2d(channels, channels, 1, groups=channels)
        scale, shift = _scale_and_shift(norm) if norm else (torch.ones(channels), torch.zeros(channels))
        for conv, share in ((self.linear, slopes), (self.positive, 1 - slopes)):
            conv.weight = nn.Parameter((scale * share).view(-1, 1, 1, 1))
            conv.bias = nn.Parameter(shift * share)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + torch.relu(self.positive(x))


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What the normalisation does in eval mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _whole_blocks(channels: int) -> int:
    return -(-channels // _BLOCK) * _BLOCK


def _spread(vector: Tensor, places: Tensor, size: int, fill: float = 0.0) -> Tensor:
    """`[n, ...]` with its rows at `places` of `[size, ...]`."""
    spread = vector.new_full((size, *vector.shape[1:]), fill)
    spread[places] = vector
    return spread


def _one_group(conv: nn.Conv2d, inputs: tuple[Tensor, int], outputs: tuple[Tensor, int]) -> nn.Conv2d:
    """A grouped 1×1 convolution as one of a single group, its channels at other (places, of so many)."""
    own_in, own_out = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    weight = conv.weight.new_zeros(conv.out_channels, conv.in_channels)
    for group in range(conv.groups):
        rows = slice(group * own_out, (group + 1) * own_out)
        weight[rows, group * own_in : (group + 1) * own_in] = conv.weight[rows, :, 0, 0]
    placed = weight.new_zeros(outputs[1], inputs[1])
    placed[outputs[0][:, None], inputs[0][None]] = weight
    single = nn.Conv2d(inputs[1], outputs[1], 1, bias=False)
    single.weight = nn.Parameter(placed[..., None, None])
    return single


def _padded_norm(norm: nn.BatchNorm2d, places: Tensor, size: int) -> nn.BatchNorm2d:
    """With channels more, which it leaves zero."""
    assert norm.running_mean is not None and norm.running_var is not None
    padded = nn.BatchNorm2d(size, eps=norm.eps)
    padded.weight = nn.Parameter(_spread(norm.weight, places, size))
    padded.bias = nn.Parameter(_spread(norm.bias, places, size))
    padded.running_mean = _spread(norm.running_mean, places, size)
    padded.running_var = _spread(norm.running_var, places, size, 1.0)
    return padded.eval()


def _padded_act(act: SlopedReLU, places: Tensor, size: int) -> SlopedReLU:
    padded = SlopedReLU(size)
    padded.weight = nn.Parameter(_spread(act.weight, places, size))
    return padded


def _padded_depthwise(conv: nn.Conv2d, places: Tensor, size: int) -> nn.Conv2d:
    padded = nn.Conv2d(
        size, size, 3, conv.stride, conv.padding, conv.dilation, groups=size, bias=False
    )  # fmt: skip
    padded.weight = nn.Parameter(_spread(conv.weight, places, size))
    return padded


def _in_whole_blocks(conv: nn.Conv2d) -> bool:
    return all(n // conv.groups % _BLOCK == 0 for n in (conv.in_channels, conv.out_channels))


def _align(unit: EESP) -> None:
    """The unit with every branch padded to whole blocks, and with no groups of anything else."""
    conv, norm, act = unit.reduce
    each, padded = conv.out_channels, _whole_blocks(conv.out_channels)
    own = torch.arange(each)
    if padded != each or not _in_whole_blocks(conv):
        conv = _one_group(conv, (torch.arange(conv.in_channels), conv.in_channels), (own, padded))
        norm, act = _padded_norm(norm, own, padded), _padded_act(act, own, padded)
    unit.reduce = nn.Sequential(conv, norm, _AsConvolutions(act))
    fuse_norm, fuse_act = unit.fuse
    expand, expand_norm = unit.expand
    branches = len(unit.branches)
    places, size = (torch.arange(branches)[:, None] * padded + own).flatten(), branches * padded
    if padded != each:
        unit.branches = nn.ModuleList(_padded_depthwise(branch, own, padded) for branch in unit.branches)
        fuse_norm, fuse_act = _padded_norm(fuse_norm, places, size), _padded_act(fuse_act, places, size)
    if padded != each or not _in_whole_blocks(expand):
        expand = _one_group(expand, (places, size), (torch.arange(expand.out_channels), expand.out_channels))
    unit.fuse = nn.Sequential(_AsConvolutions(fuse_act, fuse_norm))
    unit.expand = nn.Sequential(expand, expand_norm)


@torch.no_grad()
def in_blocked_layout(network: nn.Module) -> None:
    """Rewrite a network in eval mode, in place: its `EESP` units, and every `SlopedReLU` that is left."""
    for module in list(network.modules()):
        if isinstance(module, EESP):
            _align(module)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SlopedReLU):
                setattr(module, name, _AsConvolutions(child))
