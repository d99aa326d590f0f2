"""Losses for labels that are coarser than the network's classes, and for what a teacher says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PartialLabelLoss", "distillation_loss", "refine", "soft_jaccard_loss", "soft_views"]

_HIDDEN_SHARE = 0.1
"""From this share on, a cell of a view that shows something the teacher did not see is left to the labels."""


class PartialLabelLoss(torch.nn.Module):
    """Negative log of the summed probability of the classes that a label covers.

    A CamVid "car" pixel says that the network's car, truck, bus and train together must be probable,
    and nothing about which. Labels come as counts per cell of the logits' grid, so that every labelled
    pixel takes part although the loss is computed at the logits' stride:
    ``- sum_g w_g n_g log(sum_{c in g} p_c) / sum_g w_g n_g``.

    Args:
        groups: for each label the network's classes that it covers, at least one.
        weights: one per label.
    """

    def __init__(self, groups: Sequence[Sequence[int]], weights: Tensor) -> None:
        super().__init__()
        self.groups = [list(members) for members in groups]
        if any(not members for members in self.groups):
            raise ValueError(f"every label must cover a class, got {self.groups}")
        self.register_buffer("weights", weights.view(1, -1, 1, 1))

    def forward(self, log_p: Tensor, counts: Tensor) -> Tensor:
        """Log probabilities float `[N, classes, h, w]`, counts float `[N, labels, h, w]`, to a scalar."""
        grouped = torch.stack(
            [
                log_p[:, members[0]] if len(members) == 1 else torch.logsumexp(log_p[:, members], 1)
                for members in self.groups
            ],
            1,
        )
        weighted = counts * self.weights
        return -(weighted * grouped).sum() / weighted.sum().clamp_min(1.0)


def soft_jaccard_loss(log_p: Tensor, counts: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """One minus the mean soft IoU of the labels that are there (Rahman and Wang 2016), over the whole batch.

    What is judged in the end is IoU, in which a wrong pixel of a rare class weighs more than one of a common class.
    ``J_g = sum p_g y_g / sum (p_g v + y_g - p_g y_g)``, with p_g the summed probability of the classes that the label
    covers, y_g the label's share of a cell's pixels and v the labelled share.

    Args:
        log_p: float `[N, classes, h, w]`.
        counts: float `[N, labels, h, w]`, pixels of each label in a cell.
    """
    size = counts.sum(1, keepdim=True).amax().clamp_min(1.0)
    y = counts / size
    labelled, p = y.sum(1, keepdim=True), log_p.exp()
    total = log_p.new_zeros(())
    present = 0
    for label, members in enumerate(groups):
        truth = y[:, label]
        if not bool(truth.any()):
            continue
        said = p[:, list(members)].sum(1) * labelled[:, 0]
        both = (said * truth).sum()
        total = total + both / (said.sum() + truth.sum() - both)
        present += 1
    return 1 - total / max(1, present) if present else total


def soft_views(
    soft: Tensor,
    frames: Tensor,
    pasted: Tensor,
    masks: Tensor,
    frame_of_view: Tensor,
    untaught: Tensor,
    size_hw: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """The teacher's answer to the views: its answer to the frames, warped as they were.

    Args:
        soft: `[frames, classes, h, w]`, the teacher's probabilities of every frame.
        frames, pasted, masks, frame_of_view, untaught: as in `data.Batch`.
        size_hw: of the answer.

    Returns:
        probabilities float `[N, classes, *size_hw]`, and bool `[N, 1, *size_hw]`, where the view shows the frame
        as the teacher saw it.
    """
    own = soft[frames].float()
    others = torch.where((pasted >= 0).view(-1, 1, 1), masks, False)
    if bool(others.any()):
        own = torch.where(others[:, None], soft[pasted.clamp_min(0)].float(), own)
    grid = F.affine_grid(frame_of_view, [len(own), 1, *size_hw], align_corners=False)
    warped = F.grid_sample(own, grid, mode="bilinear", padding_mode="border", align_corners=False)
    hidden = F.grid_sample(untaught.float()[:, None], grid, align_corners=False)
    return warped, (grid.abs().amax(3) <= 1)[:, None] & (hidden < _HIDDEN_SHARE)


def refine(teacher: Tensor, counts: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """The teacher's answer made to agree with the labels: its word stands within a label's classes, theirs among them.

    ``t'(c) = sum_g n_g / n * t(c) / sum_{d in g} t(d)`` where a cell has labels; unlabelled cells keep the teacher's.

    Args:
        teacher: probabilities, float `[N, classes, h, w]`.
        counts: float `[N, labels, h, w]`.
    """
    labelled = counts.sum(1, keepdim=True)
    refined = torch.zeros_like(teacher)
    for label, members in enumerate(groups):
        share = counts[:, label : label + 1] / labelled.clamp_min(1.0)
        within = teacher[:, list(members)]
        # A teacher that rules out every class of the label is no guide among them: as good as even.
        within = (within + 1e-4) / (within + 1e-4).sum(1, keepdim=True)
        refined[:, list(members)] += share * within
    return torch.where(labelled > 0, refined, teacher)


def distillation_loss(log_p: Tensor, teacher: Tensor, seen: Tensor, weights: Tensor | None = None) -> Tensor:
    """Kullback-Leibler divergence from the teacher, weighted mean over the cells that are `seen`.

    Args:
        log_p: float `[N, classes, h, w]`.
        teacher: probabilities of the same shape.
        seen: bool `[N, 1, h, w]`.
        weights: one per class; a cell weighs their mean by the teacher's probabilities. None: all alike.
    """
    entropy = torch.xlogy(teacher, teacher)
    each = (entropy - teacher * log_p).sum(1, keepdim=True)
    cells = seen.float() if weights is None else seen * torch.einsum("nchw,c->nhw", teacher, weights)[:, None]
    return (each * cells).sum() / cells.sum().clamp_min(1.0)
