"""What every training loop does alike: device, learning rate, averaging, and whether a checkpoint is its own."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from seg_perception.errors import TrainingError
from seg_perception.training.config import ScheduleConfig, TrainConfig, train_config

__all__ = ["LOG_EVERY", "average_into", "device_of", "learning_rate_at", "require_same_settings"]

LOG_EVERY = 50
"""Steps between two lines of progress."""


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
