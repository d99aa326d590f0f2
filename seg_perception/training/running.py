"""The training loop, and what trainers do alike: device, learning rate, averaging, whether a checkpoint is theirs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from seg_perception.errors import TrainingError
from seg_perception.training.checkpoint import save_checkpoint
from seg_perception.training.config import ScheduleConfig, TrainConfig, train_config
from seg_perception.training.run_log import RunLog

__all__ = [
    "TrainerLike",
    "average_into",
    "device_of",
    "learning_rate_at",
    "require_same_settings",
    "train_to_last_step",
]

_LOG_EVERY = 50
"""Steps between two lines of progress."""

_Batch = TypeVar("_Batch")


class TrainerLike(Protocol[_Batch]):
    """What the loop asks of a run.

    Attributes:
        step: how many are done.
    """

    config: TrainConfig
    step: int

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every frame of the first source was shown once."""

    def batches(self, stop: int, workers: int = 1) -> Iterator[_Batch]:
        """Those from this step to `stop`, made ahead by so many threads."""

    def train_step(self, batch: _Batch, /) -> float:
        """One step; its loss. TrainingError, with nothing updated, if it is no number."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""


def train_to_last_step(
    trainer: TrainerLike[_Batch], out: Path, evaluate: Callable[[RunLog], None], say: Callable[[str], None]
) -> None:
    """The loop: steps, the folder's log, and its `last.pt` as often as configured and at the end.

    Args:
        evaluate: notes how good the network is now; called as often as configured and after the last step.

    Raises:
        TrainingError: the loss became no number; `stopped.pt` then holds the state before that step.
    """
    config, steps = trainer.config, trainer.config.schedule.steps
    workers = config.workers or max(1, (os.cpu_count() or 1) // 4)
    with RunLog(out, trainer.step, steps, trainer.steps_per_epoch, say) as log:
        losses: list[float] = []
        for batch in trainer.batches(steps, workers):
            try:
                losses.append(trainer.train_step(batch))
            except TrainingError as exc:
                save_checkpoint(out / "stopped.pt", trainer.state())
                raise TrainingError(f"{exc}. The state before that step is in {out / 'stopped.pt'}") from exc
            last = trainer.step == steps
            evaluates = trainer.step % config.evaluate_every == 0 or last
            if trainer.step % _LOG_EVERY == 0 or evaluates:
                log.losses(trainer.step, losses, learning_rate_at(trainer.step, config.schedule))
                losses = []
            if evaluates:
                evaluate(log)
            if trainer.step % config.save_every == 0 or last:
                save_checkpoint(out / "last.pt", trainer.state())


def learning_rate_at(step: int, schedule: ScheduleConfig) -> float:
    """Linear warm-up, constant, then down to nothing over the decay."""
    warm = min(1.0, (step + 1) / schedule.warm_up_steps)
    left = (schedule.steps - step) / (schedule.decay_steps or schedule.steps)
    return schedule.learning_rate * warm * min(1.0, left) ** 0.9


@torch.no_grad()
def average_into(averaged: nn.Module, network: nn.Module, step: int, ema_decay: float) -> None:
    """Let the averaged network follow; in the first steps faster, so that it forgets the fresh weights."""
    decay = min(ema_decay, (1 + step) / (10 + step))
    for kept, new in zip(averaged.state_dict().values(), network.state_dict().values()):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def require_same_settings(then: dict[str, Any], now: TrainConfig) -> None:
    """TrainingError if a checkpoint's configuration decides other weights; the number of steps may change."""

    def deciding(config: TrainConfig) -> dict[str, Any]:
        settings = asdict(replace(config, out="", device="auto", workers=0, evaluate_every=1, save_every=1))
        settings["schedule"].pop("steps")
        return settings

    before, after = deciding(train_config(then)), deciding(now)
    changed = {key: (before[key], after[key]) for key in after if before[key] != after[key]}
    if changed:
        raise TrainingError(
            f"the checkpoint was made with other settings (then, now): {changed}; use another folder, "
            "with start_from if it is to begin with these weights"
        )


def device_of(config: TrainConfig) -> torch.device:
    """The device a configuration asks for; TrainingError if it is not there."""
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise TrainingError("device: cuda: torch sees no GPU; set device: cpu, or install a torch built for your GPU")
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")
