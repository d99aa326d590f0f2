"""A run: a configuration to a folder with a network in it.

A run's folder holds `last.pt` (network, averaged network, optimiser, step), `history.jsonl`, `curve.png`,
`val.png` and TensorBoard's events. The same configuration goes on where the folder's `last.pt` stopped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg_perception.datasets import Dataset
from seg_perception.errors import TrainingError
from seg_perception.labels import CITYSCAPES
from seg_perception.training.checkpoint import load_checkpoint, open_network
from seg_perception.training.config import TrainConfig
from seg_perception.training.data import Batch, TrainingSet
from seg_perception.training.evaluate import confusion_on
from seg_perception.training.losses import PartialLabelLoss, distillation_loss, refine, soft_jaccard_loss, soft_views
from seg_perception.training.models import build
from seg_perception.training.run_log import RunLog
from seg_perception.training.running import (
    average_into,
    device_of,
    learning_rate_at,
    require_same_settings,
    train_to_last_step,
)
from seg_perception.training.sources import SIMULATED, open_sources, open_validation
from seg_perception.training.teacher import SOFT_HW, soft_labels_of

__all__ = ["Trainer", "class_log_prior", "run"]

_CITYSCAPES_PIXEL_SHARE = {
    "road": 0.37, "sidewalk": 0.06, "building": 0.23, "wall": 0.006, "fence": 0.009, "pole": 0.012,
    "traffic light": 0.002, "traffic sign": 0.005, "vegetation": 0.16, "terrain": 0.01, "sky": 0.04,
    "person": 0.012, "rider": 0.001, "car": 0.07, "truck": 0.003, "bus": 0.002, "train": 0.002,
    "motorcycle": 0.001, "bicycle": 0.004,
}  # fmt: skip
"""Roughly how much of a Cityscapes street scene each class covers."""

FINE_STRIDE = 2
"""Labels are counted at half the input's size; the coarse loss sums their cells."""


def class_log_prior() -> Tensor:
    """Log share of each Cityscapes class, float `[19]`.

    A label that covers several classes says nothing about which of them is there. Started from this
    prior, the usual one takes the label's mass (car, not train), which is the honest guess.
    """
    share = torch.tensor([_CITYSCAPES_PIXEL_SHARE[label.name] for label in CITYSCAPES])
    return torch.log(share / share.sum())


def label_weights(frequency: np.ndarray, power: float) -> Tensor:
    """Rare classes count more: the frequency to the minus `power`, mean 1, at most 8:1 apart."""
    weights = np.maximum(frequency, 1e-4) ** -power
    weights = np.clip(weights, weights.min(), 8 * weights.min())
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def _pool(counts: Tensor, factor: int) -> Tensor:
    """Counts of `factor` × `factor` cells together."""
    return F.avg_pool2d(counts, factor) * factor**2


class Trainer:
    """One run: its networks, optimiser and step. `state` and `restore` are everything a resume needs.

    Args:
        soft: the teachers' answers, see `teacher.soft_labels`; None to learn from labels alone.
    """

    def __init__(self, config: TrainConfig, training_set: TrainingSet, soft: np.ndarray | None = None) -> None:
        torch.manual_seed(config.seed)
        self.config, self.training_set, self.step = config, training_set, 0
        self.device = device_of(config)
        self.network = build(config.network.architecture, len(CITYSCAPES), **config.network.options)
        if hasattr(self.network, "set_class_prior"):
            self.network.set_class_prior(class_log_prior())
        self.layout = torch.channels_last if getattr(self.network, "channels_last", True) else torch.contiguous_format
        self.network.to(self.device, memory_format=self.layout).train()
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        weights = [label_weights(s.frequency(), config.schedule.label_power) for s in training_set.sources]
        self.loss = PartialLabelLoss(training_set.groups, torch.cat(weights)).to(self.device)
        self.soft = None if soft is None else torch.from_numpy(soft).to(self.device)
        self.soft_weights = None if soft is None else self._class_weights(soft).to(self.device)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=config.schedule.learning_rate)

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by how fast they learn (`rate`, relative) and whether they decay: vectors do not."""
        schedule = self.config.schedule
        slow = set()
        if schedule.encoder_rate != 1:
            if not hasattr(self.network, "encoder_parameters"):
                raise TrainingError(
                    f"schedule.encoder_rate: {self.config.network.architecture} has no encoder that was trained before"
                )
            slow = set(map(id, self.network.encoder_parameters()))
        groups = []
        for rate in (1.0, schedule.encoder_rate) if slow else (1.0,):
            members = [p for p in self.network.parameters() if (id(p) in slow) == (rate != 1)]
            for decay, matrix in ((schedule.weight_decay, True), (0.0, False)):
                params = [p for p in members if (p.ndim > 1) == matrix]
                groups.append({"params": params, "weight_decay": decay, "rate": rate})
        return groups

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every frame of the first source was shown once."""
        return self.training_set.steps_per_epoch

    def batches(self, stop: int, workers: int = 1) -> Iterator[Batch]:
        """Those from this step to `stop`, made ahead by so many threads."""
        return self.training_set.batches(self.step, stop, workers)

    def learning_rate(self) -> float:
        """Of this step."""
        return learning_rate_at(self.step, self.config.schedule)

    def _to_device(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _losses(self, batch: Batch) -> Tensor:
        schedule = self.config.schedule
        x = self._to_device(batch.images).permute(0, 3, 1, 2).float().contiguous(memory_format=self.layout)
        counts = self._to_device(batch.counts).float()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            answer = self.network(x)
        logits, auxiliary = answer if isinstance(answer, tuple) else (answer, None)
        factor = x.shape[-1] // logits.shape[-1] // FINE_STRIDE
        coarse = _pool(counts, factor) if factor > 1 else counts
        log_p = torch.log_softmax(logits.float(), 1)
        if self.step >= schedule.steps - schedule.fine_steps and factor > 1:
            fine = F.interpolate(logits.float(), size=counts.shape[-2:], mode="bilinear", align_corners=False)
            loss = self._label_loss(torch.log_softmax(fine, 1), counts)
        else:
            loss = self._label_loss(log_p, coarse)
        if auxiliary is not None and schedule.auxiliary_weight:
            cells = _pool(counts, x.shape[-1] // auxiliary.shape[-1] // FINE_STRIDE)
            loss = loss + schedule.auxiliary_weight * self.loss(torch.log_softmax(auxiliary.float(), 1), cells)
        if self.soft is not None:
            loss = loss + self.config.distill.weight * self._distillation(log_p, coarse, batch)
        return loss

    def _label_loss(self, log_p: Tensor, counts: Tensor) -> Tensor:
        loss: Tensor = self.loss(log_p, counts)
        weight = self.config.schedule.jaccard_weight
        return loss + weight * soft_jaccard_loss(log_p, counts, self.training_set.groups) if weight else loss

    def _distillation(self, log_p: Tensor, counts: Tensor, batch: Batch) -> Tensor:
        assert self.soft is not None
        frames = self._to_device(batch.frames)
        taught = frames < len(self.soft)  # the teachers were asked about the first sources alone
        if not bool(taught.any()):
            return log_p.new_zeros(())
        parts = (batch.pasted, batch.paste_masks, batch.frame_of_view, batch.untaught)
        pasted, masks, grid, untaught = (self._to_device(part)[taught] for part in parts)
        size = (int(log_p.shape[-2]), int(log_p.shape[-1]))
        teacher, seen = soft_views(self.soft, frames[taught], pasted, masks, grid, untaught, size)
        share = self.config.distill.raw_share
        target = share * teacher + (1 - share) * refine(teacher, counts[taught], self.training_set.groups)
        return distillation_loss(log_p[taught], target, seen, self.soft_weights)

    def _class_weights(self, soft: np.ndarray) -> Tensor:
        frequency = soft.mean((0, 2, 3), dtype=np.float64)
        return label_weights(frequency / frequency.sum(), self.config.distill.class_power)

    def train_step(self, batch: Batch) -> float:
        """One update; returns the loss. TrainingError, with nothing updated, if it is no number."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate() * group.get("rate", 1.0)
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout, the same after a resume
        before = self._batch_statistics()
        loss = self._losses(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(norm)):
            self._put_back(before)
            raise TrainingError(
                f"step {self.step}: the loss is {value}, its gradient's norm {float(norm)}, expected numbers; nothing "
                f"of this step was kept. Lower schedule.learning_rate ({self.config.schedule.learning_rate}), or set "
                "mixed_precision: false"
            )
        self.optimiser.step()
        self.step += 1
        average_into(self.averaged, self.network, self.step, self.config.schedule.ema_decay)
        return value

    def _batch_statistics(self) -> list[Tensor]:
        """Copies of what a forward pass alone changes."""
        return [buffer.clone() for buffer in self.network.buffers()]

    def _put_back(self, kept: list[Tensor]) -> None:
        for buffer, value in zip(self.network.buffers(), kept):
            buffer.copy_(value)

    def state(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; TrainingError if the run was configured differently.

        The number of steps may change, and what does not touch the weights: a run can be shortened or prolonged.
        """
        require_same_settings(state["config"], self.config)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def start_from(self, network: nn.Module) -> None:
        """Begin with another run's network: what has the same name and shape; the rest stays fresh.

        Raises:
            TrainingError: nothing fits.
        """
        own = self.network.state_dict()
        fitting = {k: v for k, v in network.state_dict().items() if k in own and own[k].shape == v.shape}
        if not any(v.ndim > 1 for v in fitting.values()):
            raise TrainingError("start_from: no layer of that run has the name and shape of one of this network's")
        for kept in (self.network, self.averaged):
            kept.load_state_dict({**own, **fitting})


def _prepare(config: TrainConfig, out: Path, say: Callable[[str], None]) -> tuple[Trainer, Dataset | None]:
    sources = open_sources(config, say)
    validation = open_validation(config)
    schedule = config.schedule
    training_set = TrainingSet(
        sources, config.network.size_hw, schedule.batch, FINE_STRIDE, config.seed, config.augment, SOFT_HW
    )
    recorded = [image for source in sources if source.name != SIMULATED for image in source.images]
    soft = soft_labels_of(config.distill.teachers, recorded, out.parent / "soft_labels", device_of(config), say)
    trainer = Trainer(config, training_set, soft)
    checkpoint = out / "last.pt"
    if checkpoint.is_file():
        trainer.restore(load_checkpoint(checkpoint))
        say(f"going on from step {trainer.step}")
    elif config.start_from:
        named = open_network(config.start_from)
        if named is None:
            raise TrainingError(
                f"start_from: {config.start_from}: expected a run's folder, or a published checkpoint's name or file"
            )
        trainer.start_from(named.network)
        say(f"starting with the weights of {config.start_from}")
    return trainer, validation


def run(config: TrainConfig, say: Callable[[str], None] = print) -> Trainer:
    """Train to the last step, from the folder's `last.pt` if it is there.

    Raises:
        TrainingError: the loss became no number (`stopped.pt` then holds the state before that step), or the folder
            holds another run.
        DatasetError: a frame cannot be read; it is named.
    """
    out = Path(config.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    trainer, validation = _prepare(config, out, say)

    def evaluate(log: RunLog) -> None:
        if validation is not None:
            judged = confusion_on(trainer.averaged, validation, config.network.size_hw)
            log.judged(trainer.step, validation, *judged)

    train_to_last_step(trainer, out, evaluate, say)
    return trainer
