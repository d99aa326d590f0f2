"""Train a network on CamVid's labels: `python -m seg_perception.training.train --data CAMVID --out RUN`.

A run's folder holds `last.pt` (network, averaged network, optimiser, step), `history.jsonl` and
`curve.png`. The same command goes on where the folder's `last.pt` stopped.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seg_perception.datasets import CAMVID_CLASSES, CAMVID_OF_CITYSCAPES, camvid_items
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import iou_per_class, mean_iou
from seg_perception.training.data import TrainingSet
from seg_perception.training.evaluate import camvid_confusion, predictor
from seg_perception.training.losses import PartialLabelLoss
from seg_perception.training.models import build

__all__ = ["RunLog", "TrainConfig", "Trainer", "class_log_prior", "main"]

_CITYSCAPES_PIXEL_SHARE = {
    "road": 0.37, "sidewalk": 0.06, "building": 0.23, "wall": 0.006, "fence": 0.009, "pole": 0.012,
    "traffic light": 0.002, "traffic sign": 0.005, "vegetation": 0.16, "terrain": 0.01, "sky": 0.04,
    "person": 0.012, "rider": 0.001, "car": 0.07, "truck": 0.003, "bus": 0.002, "train": 0.002,
    "motorcycle": 0.001, "bicycle": 0.004,
}  # fmt: skip
"""Roughly how much of a Cityscapes street scene each class covers."""


LOG_EVERY = 50
"""Steps between two lines of progress."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights, beside the data."""

    architecture: str = "pyramid"
    width: int = 24
    height_px: int = 256
    width_px: int = 512
    steps: int = 12000
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up_steps: int = 300
    ema_decay: float = 0.998
    auxiliary_weight: float = 0.4
    seed: int = 0
    mixed_precision: bool = True

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.height_px, self.width_px


def class_log_prior() -> Tensor:
    """Log share of each Cityscapes class, float `[19]`.

    A label that covers several classes says nothing about which of them is there. Started from this
    prior, the usual one takes the label's mass (car, not train), which is the honest guess.
    """
    share = torch.tensor([_CITYSCAPES_PIXEL_SHARE[label.name] for label in CITYSCAPES])
    return torch.log(share / share.sum())


def label_weights(frequency: np.ndarray) -> Tensor:
    """Rare classes count more: inverse square root of the frequency, mean 1, at most 8:1 apart."""
    weights = 1 / np.sqrt(np.maximum(frequency, 1e-4))
    weights = np.clip(weights, weights.min(), 8 * weights.min())
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


class Trainer:
    """One run: its networks, optimiser and step. `state` and `restore` are everything a resume needs."""

    def __init__(self, config: TrainConfig, training_set: TrainingSet) -> None:
        torch.manual_seed(config.seed)
        self.config, self.training_set, self.step = config, training_set, 0
        self.network = build(config.architecture, len(CITYSCAPES), config.width)
        self.network.set_class_prior(class_log_prior())
        self.network.to(memory_format=torch.channels_last).train()
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        groups = [int(CAMVID_OF_CITYSCAPES[label.id]) for label in CITYSCAPES]
        self.loss = PartialLabelLoss(groups, label_weights(training_set.class_frequency()))
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=config.learning_rate,
        )

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.config.warm_up_steps)
        return self.config.learning_rate * warm * (1 - self.step / self.config.steps) ** 0.9

    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.averaged.state_dict().values(), self.network.state_dict().values()):
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)

    def train_step(self, images: np.ndarray, counts: np.ndarray) -> float:
        """One update from `TrainingSet.batch`'s arrays; returns the loss. FloatingPointError if it is no number."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout, the same after a resume
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float()  # channels last already
        target = torch.from_numpy(counts).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.mixed_precision):
            logits, auxiliary = self.network(x)
        cells = nn.functional.avg_pool2d(target, 4) * 16
        loss = self.loss(logits, target) + self.config.auxiliary_weight * self.loss(auxiliary, cells)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"loss is {value} at step {self.step}; lower the learning rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self._average()
        return value

    def state(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; ValueError if the run was configured differently.

        The number of steps alone may change: a run can be shortened or prolonged, and the learning rate follows.
        """
        now = asdict(self.config)
        changed = {k: (then, now.get(k)) for k, then in state["config"].items() if k != "steps" and then != now.get(k)}
        if changed:
            raise ValueError(f"the checkpoint was made with other settings (then, now): {changed}; use another folder")
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Written beside and then moved, so that a power cut leaves the old one whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors, numbers and strings only: a checkpoint that holds code is refused by torch."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def draw_curve(history: list[dict[str, Any]], path: Path) -> None:
    """Loss and validation mIoU over steps, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, loss_axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    losses = [(h["step"], h["loss"]) for h in history if "loss" in h]
    if losses:
        loss_axis.plot(*zip(*losses), color="tab:gray", label="training loss")
    loss_axis.set(xlabel="step", ylabel="training loss")
    accuracy = [(h["step"], h["val_miou"]) for h in history if "val_miou" in h]
    if accuracy:
        right = loss_axis.twinx()
        right.plot(*zip(*accuracy), color="tab:blue", marker=".", label="val mIoU")
        right.set(ylabel="CamVid val mIoU (11 classes)", ylim=(0, 1))
        right.grid(alpha=0.3)
    figure.legend(loc="upper left", bbox_to_anchor=(0.1, 0.95))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


class RunLog:
    """What is known of a run: lines on standard output, `history.jsonl` and `curve.png` in its folder."""

    def __init__(self, out: Path, trainer: Trainer) -> None:
        self._path, self._curve, self._trainer = out / "history.jsonl", out / "curve.png", trainer
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        self._history = [entry for entry in map(json.loads, lines) if entry["step"] <= trainer.step]
        self._started, self._first_step = time.monotonic(), trainer.step

    def add(self, losses: list[float], confusion: np.ndarray | None) -> None:
        """Note the steps since the last call, and how accurate the averaged network is now."""
        step, steps = self._trainer.step, self._trainer.config.steps
        seconds = (time.monotonic() - self._started) / (step - self._first_step)
        entry: dict[str, Any] = {"step": step, "loss": round(float(np.mean(losses)), 4)}
        text = f"step {step}/{steps}  epoch {step / self._trainer.training_set.steps_per_epoch:.1f}"
        text += f"  loss {entry['loss']:.3f}  {seconds:.2f} s/step  {seconds * (steps - step) / 60:.0f} min left"
        if confusion is not None:
            entry["val_miou"] = round(mean_iou(confusion), 4)
            entry["val_iou"] = [round(float(iou), 3) for iou in iou_per_class(confusion)]
            named = ", ".join(f"{name} {iou:.2f}" for name, iou in zip(CAMVID_CLASSES, entry["val_iou"]))
            text += f"  val mIoU {entry['val_miou']:.4f}\n  {named}"
        print(text, flush=True)
        self._history.append(entry)
        self._path.write_text("".join(json.dumps(line) + "\n" for line in self._history))
        if confusion is not None:
            draw_curve(self._history, self._curve)


def run(config: TrainConfig, data: Path, out: Path, evaluate_every: int, save_every: int) -> None:
    """Train to the last step, from `out/last.pt` if it is there, saying how it goes on standard output."""
    out.mkdir(parents=True, exist_ok=True)
    print(f"reading {data}", flush=True)
    training_set = TrainingSet(camvid_items(data, "train"), config.size_hw, config.batch, 4, config.seed)
    val_items = camvid_items(data, "val")
    trainer, checkpoint = Trainer(config, training_set), out / "last.pt"
    if checkpoint.is_file():
        trainer.restore(load_checkpoint(checkpoint))
        print(f"going on from step {trainer.step}", flush=True)
    log, losses = RunLog(out, trainer), []
    for images, counts in training_set.batches(trainer.step, config.steps):
        losses.append(trainer.train_step(images, counts))
        last = trainer.step == config.steps
        evaluates = trainer.step % evaluate_every == 0 or last
        if trainer.step % LOG_EVERY == 0 or evaluates:
            judged = camvid_confusion(predictor(trainer.averaged), val_items, config.size_hw) if evaluates else None
            log.add(losses, judged)
            losses = []
        if trainer.step % save_every == 0 or last:
            save_checkpoint(checkpoint, trainer.state())


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    defaults = TrainConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CamVid: <data>/train, trainannot, val, valannot")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder; goes on if it holds a run")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--width", type=int, default=defaults.width, help="base width of the network")
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--full-precision", action="store_true", help="float32 instead of bfloat16 autocast")
    parser.add_argument("--evaluate-every", type=int, default=500, help="steps")
    parser.add_argument("--save-every", type=int, default=200, help="steps")
    args = parser.parse_args(argv)
    config = TrainConfig(
        steps=args.steps, width=args.width, batch=args.batch, seed=args.seed,
        mixed_precision=not args.full_precision,
    )  # fmt: skip
    run(config, args.data, args.out, args.evaluate_every, args.save_every)


if __name__ == "__main__":
    main()
