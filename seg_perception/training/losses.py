"""Losses for labels that are coarser than the network's classes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PartialLabelLoss"]


class PartialLabelLoss(torch.nn.Module):
    """Negative log of the summed probability of the classes that a label covers.

    A CamVid "car" pixel says that the network's car, truck, bus and train together must be probable,
    and nothing about which. Labels come as counts per cell of the logits' grid, so that every labelled
    pixel takes part although the loss is computed at the logits' stride:
    ``- sum_g w_g n_g log(sum_{c in g} p_c) / sum_g w_g n_g``.

    Args:
        group_of_class: for each network class the label that covers it; each label covers at least one.
        weights: one per label.
    """

    def __init__(self, group_of_class: list[int], weights: Tensor) -> None:
        super().__init__()
        self.groups = [[c for c, g in enumerate(group_of_class) if g == label] for label in range(len(weights))]
        if any(not members for members in self.groups):
            raise ValueError(f"every label must cover a class, got {self.groups}")
        self.register_buffer("weights", weights.view(1, -1, 1, 1))

    def forward(self, logits: Tensor, counts: Tensor) -> Tensor:
        """Logits float `[N, classes, h, w]`, counts float `[N, labels, h, w]`, to a scalar."""
        log_p = torch.log_softmax(logits.float(), 1)
        grouped = torch.stack(
            [
                log_p[:, members[0]] if len(members) == 1 else torch.logsumexp(log_p[:, members], 1)
                for members in self.groups
            ],
            1,
        )
        weighted = counts * self.weights
        return -(weighted * grouped).sum() / weighted.sum().clamp_min(1.0)
