"""A run of the branch: a finished run and labelled frames to a folder with a network of four answers.

The folder is a run's like any other: `last.pt` holds the frozen network, the branch, its average, the optimiser and
the step; the same configuration goes on where it stopped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.datasets.composites import composite_frames
from seg_perception.errors import ConfigError, TrainingError
from seg_perception.training.checkpoint import load_checkpoint, network_of_run
from seg_perception.training.config import NetworkConfig, TrainConfig
from seg_perception.training.data import made_ahead
from seg_perception.training.instances.branch import InstanceNetwork
from seg_perception.training.instances.data import InstanceBatch, InstanceSet, open_instance_sources
from seg_perception.training.instances.judge import HeadsOf, heads_quality
from seg_perception.training.run_log import RunLog
from seg_perception.training.running import (
    average_into,
    device_of,
    learning_rate_at,
    require_same_settings,
    train_to_last_step,
)
from seg_perception.training.sources import open_validation
from seg_perception.training.tracing import traced

__all__ = ["InstanceTrainer", "SeenBatch", "answers_of", "center_loss", "offset_loss", "run"]

SeenBatch: TypeAlias = "tuple[InstanceBatch, list[Tensor]]"
"""A batch, and the frozen network's maps of it: at 1/4, 1/8 and 1/16, and behind the pyramid pooling."""


def center_loss(centers: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean squared error where it is known; all `[N, h, w]`."""
    return ((centers - truth) ** 2 * known).sum() / known.sum().clamp(min=1)


def offset_loss(offsets: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute error, cells: `[N, 2, h, w]` twice and `[N, h, w]`; 0 without any weight."""
    error = (offsets - truth).abs().sum(1)
    return (error * weight).sum() / weight.sum().clamp(min=1e-3)


class _Maps(nn.Module):
    """What the branch reads, as a network of its own."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.for_export()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = self.backbone.maps(x)[:-1]
        return maps


class InstanceTrainer:
    """One run: network, optimiser and step. `state` and `restore` are everything a resume needs.

    Args:
        network: its backbone is finished and stays as it is, its branch is fresh.
        backbone: what the backbone's run says of itself, for the checkpoint.
    """

    def __init__(
        self, config: TrainConfig, network: InstanceNetwork, data: InstanceSet, backbone: dict[str, Any]
    ) -> None:
        self.config, self.data, self.backbone, self.step = config, data, backbone, 0
        self.device = device_of(config)
        self.network = network.to(self.device).train()
        self._session = self._maps_on_cpu()
        self.averaged = copy.deepcopy(network.branch).eval().requires_grad_(False)
        decays = [p for p in network.branch.parameters() if p.ndim > 1]
        others = [p for p in network.branch.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decays, "weight_decay": config.schedule.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.schedule.learning_rate,
        )

    def _maps_on_cpu(self) -> ort.InferenceSession | None:
        """The frozen network in ONNX Runtime, which takes a tenth of torch's time for it; None where torch has a GPU.

        It has one thread, that of the batch: while it looks at the next batch, the branch learns from this one.
        """
        if self.device.type != "cpu":
            return None
        example = torch.zeros(self.config.schedule.batch, 3, *self.config.network.size_hw)
        return open_session(traced(_Maps(self.network.backbone), example, "image", ("fine", "e3", "e4", "pooled")), 1)

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every frame of the first source was shown once."""
        return self.data.steps_per_epoch

    def seen(self, step: int) -> SeenBatch:
        """The batch of one step, as the frozen network sees it."""
        batch = self.data.batch(step)
        x = np.ascontiguousarray(batch.images.transpose(0, 3, 1, 2), np.float32)
        if self._session is not None:
            return batch, [torch.from_numpy(part) for part in self._session.run(None, {"image": x})]
        with torch.no_grad():
            return batch, list(self.network.backbone.maps(torch.from_numpy(x).to(self.device))[:-1])

    def batches(self, stop: int, workers: int = 1) -> Iterator[SeenBatch]:
        """Those from this step to `stop`, made ahead by so many threads."""
        return made_ahead(self.seen, self.step, stop, workers)

    def _losses(self, batch: InstanceBatch, maps: list[Tensor]) -> Tensor:
        truth = (batch.centers, batch.center_known, batch.offsets, batch.offset_weight)
        centers, known, offsets, weight = (torch.from_numpy(part).to(self.device) for part in truth)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.mixed_precision):
            said_centers, said_offsets = self.network.branch(*maps)
        settings = self.config.instances
        loss = settings.center_weight * center_loss(said_centers.float(), centers, known)
        return loss + settings.offset_weight * offset_loss(said_offsets.float(), offsets, weight)

    def train_step(self, seen: SeenBatch) -> float:
        """One update from what `seen` gives; its loss. TrainingError, with nothing updated, if it is no number."""
        rate = learning_rate_at(self.step, self.config.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        branch = self.network.branch
        before = [buffer.clone() for buffer in branch.buffers()]
        loss = self._losses(*seen)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(branch.parameters(), 5.0)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(norm)):
            for buffer, kept in zip(branch.buffers(), before):
                buffer.copy_(kept)
            raise TrainingError(
                f"step {self.step}: the loss is {value}, its gradient's norm {float(norm)}, expected numbers; nothing "
                f"of this step was kept. Lower schedule.learning_rate ({self.config.schedule.learning_rate})"
            )
        self.optimiser.step()
        self.step += 1
        average_into(self.averaged, branch, self.step, self.config.schedule.ema_decay)
        return value

    def state(self) -> dict[str, Any]:
        kept = {f"branch.{name}": value for name, value in self.averaged.state_dict().items()}
        frozen = {f"backbone.{name}": value for name, value in self.network.backbone.state_dict().items()}
        return {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.branch.state_dict(),
            "averaged": {**frozen, **kept},
            "optimiser": self.optimiser.state_dict(),
            "backbone": self.backbone,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; TrainingError if the run was configured differently.

        The frozen network comes from the checkpoint, too: its own run may have gone on.
        """
        require_same_settings(state["config"], self.config)
        kept = state["averaged"]
        self.network.load_state_dict({**kept, **{f"branch.{k}": v for k, v in state["network"].items()}})
        self.averaged.load_state_dict({k[len("branch.") :]: v for k, v in kept.items() if k.startswith("branch.")})
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.backbone = state["step"], state["backbone"]
        self._session = self._maps_on_cpu()

    def start_from(self, other: nn.Module) -> None:
        """Begin with another run's branch; TrainingError if that run has none."""
        if not isinstance(other, InstanceNetwork):
            raise TrainingError("start_from: that run has no branch for instances; expected one that was trained so")
        for branch in (self.network.branch, self.averaged):
            branch.load_state_dict(other.branch.state_dict())

    def averaged_network(self) -> InstanceNetwork:
        """The frozen network with the averaged branch, in eval mode."""
        network = copy.copy(self.network)
        network._modules = {"backbone": self.network.backbone, "branch": self.averaged}
        return network.eval()


def answers_of(network: InstanceNetwork) -> HeadsOf:
    """A network in eval mode as a function of a picture."""
    device = next(network.parameters()).device

    @torch.no_grad()
    def answer(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float()
        _, centers, offsets = network.heads(x)
        return centers[0].clamp(0, 1).cpu().numpy(), offsets[0].cpu().numpy()

    return answer


def _prepare(config: TrainConfig, out: Path, say: Callable[[str], None]) -> InstanceTrainer:
    network, learned, steps = network_of_run(Path(config.instances.run).expanduser())
    if isinstance(network, InstanceNetwork):
        raise ConfigError(f"instances.run: {config.instances.run} has a branch already; name the run that it stands on")
    if config.network not in (NetworkConfig(), learned.network):
        raise ConfigError(f"network: the run {config.instances.run} has another one; leave it out, it comes from there")
    torch.manual_seed(config.seed)
    config = replace(config, network=learned.network)
    data = InstanceSet(
        open_instance_sources(config, say), config.network.size_hw, config.schedule.batch, config.seed,
        config.augment, config.instances.at_most,
    )  # fmt: skip
    trainer = InstanceTrainer(config, InstanceNetwork(network), data, {"config": asdict(learned), "step": steps})
    checkpoint = out / "last.pt"
    if checkpoint.is_file():
        trainer.restore(load_checkpoint(checkpoint))
        say(f"going on from step {trainer.step}")
    elif config.start_from:
        trainer.start_from(network_of_run(Path(config.start_from).expanduser())[0])
        say(f"starting with the branch of {config.start_from}")
    return trainer


def run(config: TrainConfig, say: Callable[[str], None] = print) -> InstanceTrainer:
    """Train to the last step, from the folder's `last.pt` if it is there.

    Raises:
        TrainingError: the loss became no number (`stopped.pt` then holds the state before that step), or the folder
            holds another run.
        DatasetError: a frame cannot be read; it is named.
    """
    out = Path(config.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    trainer = _prepare(config, out, say)
    validation = open_validation(config)
    judged = composite_frames(validation, config.instances.validation_frames) if validation else []

    def evaluate(log: RunLog) -> None:
        if judged:
            answers = answers_of(trainer.averaged_network())
            log.measured(trainer.step, heads_quality(answers, judged, trainer.config.network.size_hw))

    train_to_last_step(trainer, out, evaluate, say)
    return trainer
