"""A training run's file: written whole, read without ever running what is in it."""

from __future__ import annotations

import io
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seg_perception.errors import TrainingError
from seg_perception.files import write_whole
from seg_perception.labels import CITYSCAPES
from seg_perception.model import zoo
from seg_perception.training.config import TrainConfig, train_config
from seg_perception.training.instances.branch import InstanceNetwork
from seg_perception.training.models import build, load_espnetv2
from seg_perception.training.models.espnetv2_weights import published_checkpoint

__all__ = ["NamedNetwork", "backbone_of_run", "load_checkpoint", "network_of_run", "open_network", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace the file by this state; a power cut leaves the old one whole."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors, numbers and strings only; TrainingError if there is anything else in it, or it is cut short."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a strange pickle before it refuses it
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as exc:
        raise TrainingError(f"{path}: cannot be read ({exc.strerror}); expected a training run's checkpoint") from exc
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as exc:
        why = str(exc).partition("\n")[0] or type(exc).__name__
        raise TrainingError(f"{path}: no sound checkpoint of tensors alone: {why}") from exc
    if not isinstance(state, dict) or not {"config", "step", "averaged"} <= set(state):
        raise TrainingError(f"{path}: expected a checkpoint of `seg_perception train`")
    return state


def network_of_run(run: Path) -> tuple[nn.Module, TrainConfig, int]:
    """The averaged network of a training run in eval mode, its configuration, and its steps so far.

    A run that trained a branch for instances gives an `InstanceNetwork`.
    """
    state = load_checkpoint(run / "last.pt")
    config = train_config(state["config"])
    network = build(config.network.architecture, len(CITYSCAPES), **config.network.options)
    if config.instances.run:
        network = InstanceNetwork(network)
    network.load_state_dict(state["averaged"])
    return network.eval(), config, int(state["step"])


def backbone_of_run(run: Path) -> tuple[TrainConfig, int]:
    """Configuration and steps of the run whose network another run's branch stands on."""
    backbone = load_checkpoint(run / "last.pt")["backbone"]
    return train_config(backbone["config"]), int(backbone["step"])


@dataclass(frozen=True)
class NamedNetwork:
    """A network with its weights, in eval mode.

    Attributes:
        name: what it is and which weights it has.
        usual_hw: the input size that it learned at.
    """

    name: str
    network: nn.Module
    usual_hw: tuple[int, int]


_PUBLISHED_HW = (512, 1024)


def open_network(model: str) -> NamedNetwork | None:
    """The network that a published checkpoint's name, its file or a training run's folder stands for; else None.

    Raises:
        ModelError, TrainingError: what is named is no sound checkpoint.
    """
    published = zoo.fetchable(model)
    path = published.checkpoint_path if published else Path(model).expanduser()
    if path.suffix == ".pth":
        published = published_checkpoint(path)
        return NamedNetwork(published.name, load_espnetv2(path, published.width), _PUBLISHED_HW)
    if path.is_dir():
        network, config, steps = network_of_run(path)
        return NamedNetwork(f"{path.resolve()} at step {steps}", network, config.network.size_hw)
    return None
