"""A training run's configuration: one YAML file, every key checked. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seg_perception.errors import ConfigError
from seg_perception.training.augment import AugmentConfig
from seg_perception.training.yaml_values import built, expanded, read_yaml

__all__ = [
    "DataConfig",
    "DistillConfig",
    "InstanceConfig",
    "NetworkConfig",
    "ScheduleConfig",
    "TeacherConfig",
    "TrainConfig",
    "read_config",
    "train_config",
    "with_steps",
]


@dataclass(frozen=True)
class NetworkConfig:
    """Which network.

    Attributes:
        architecture: a name in `training.models.ARCHITECTURES`.
        width: width multiplier.
        blocks: residual blocks per stage; empty is the architecture's own choice.
        height_px, width_px: input size.
    """

    architecture: str = "pyramid"
    width: float = 1.0
    blocks: tuple[int, ...] = ()
    height_px: int = 256
    width_px: int = 512

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.height_px, self.width_px

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the architecture."""
        return {"width": self.width, **({"blocks": self.blocks} if self.blocks else {})}


@dataclass(frozen=True)
class DataConfig:
    """One data set to learn from, or to judge on.

    Attributes:
        dataset: folder of a labelled data set, or `simulated`.
        splits: of the data set; their frames are taken together.
        only, without: beginnings of frame names: only these frames, and not these.
        share: how much of each batch, relative to the other data sets' shares.
        frames: of `simulated`: how many; 0 elsewhere.
        first_seed: of `simulated`: streets from this seed on, one for every 10 frames.
        busy_share: of `simulated`: how many of the streets have crowds, cars parked bumper to bumper, and people who
            cross; for instances.
    """

    dataset: str = ""
    splits: tuple[str, ...] = ("train",)
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    share: int = 1
    frames: int = 0
    first_seed: int = 1000
    busy_share: float = 0.0


@dataclass(frozen=True)
class TeacherConfig:
    """A network to learn from beside the labels.

    Attributes:
        model: a model's name or file (fetched, shipped or your own), or the folder of a training run.
        sizes: `WIDTHxHEIGHT`: at which sizes it looks at each frame (a model file has one of its own).
    """

    model: str = ""
    sizes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DistillConfig:
    """How much the teachers count.

    Attributes:
        teachers: their mean is taken; none means labels alone.
        weight: of the divergence from the teachers, relative to the labels' loss.
        raw_share: how much of the teachers' word counts as it is; the rest is first made to agree with the labels.
        class_power: a class to which the teachers give the share f of all pixels weighs f to the minus this power.
    """

    teachers: tuple[TeacherConfig, ...] = ()
    weight: float = 0.5
    raw_share: float = 0.25
    class_power: float = 0.0


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, and how fast.

    Attributes:
        steps: updates in all.
        batch: views per update.
        learning_rate: at its height.
        encoder_rate: of an encoder that has learned already, relative to that: it needs smaller steps than the rest.
        warm_up_steps: until there, linearly.
        decay_steps: the last steps, over which it falls to nothing; 0 means it falls from the warm-up on.
        fine_steps: the last steps, in which the labels' loss is computed at half the input's size, not a quarter.
        weight_decay: AdamW's.
        ema_decay: of the averaged network, the one that is exported.
        auxiliary_weight: of the loss at 1/16.
        label_power: a label that covers the share f of the pixels weighs f to the minus this power.
        jaccard_weight: of the soft IoU's loss, beside that of the single pixels.
    """

    steps: int = 12000
    batch: int = 8
    learning_rate: float = 2e-3
    encoder_rate: float = 1.0
    warm_up_steps: int = 300
    decay_steps: int = 0
    fine_steps: int = 0
    weight_decay: float = 0.02
    ema_decay: float = 0.998
    auxiliary_weight: float = 0.4
    label_power: float = 0.5
    jaccard_weight: float = 0.0


@dataclass(frozen=True)
class InstanceConfig:
    """The branch that tells things of one class apart, on a network that has been trained (`training.instances`).

    Attributes:
        run: folder of the run whose averaged network gets the branch and stays as it is; empty: no branch is trained.
        composite_chance: how often things are laid over a recorded frame, and over a simulated one.
        at_most: things that are laid over one frame.
        center_weight: of the mean squared error of the centres.
        offset_weight: of the mean absolute error of the offsets, cells.
        validation_frames: how many composites of the validation data are judged on.
    """

    run: str = ""
    composite_chance: tuple[float, float] = (0.9, 0.5)
    at_most: int = 14
    center_weight: float = 200.0
    offset_weight: float = 0.1
    validation_frames: int = 60


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the weights. The keys of a YAML file are the names of these attributes.

    Attributes:
        data: what to learn from.
        validation: what to judge on while it trains; frames of the training data do not belong here.
        start_from: what to start with instead of fresh weights, whatever layers fit: the folder of a run, a published
            checkpoint's name or file. Of a branch: the folder of a run that trained one.
        instances: set to train a branch for instances instead of a network.
        out: the run's folder; relative to the working directory.
        seed: of everything random.
        device: `cpu`, `cuda`, or `auto`, which is the GPU where there is one.
        mixed_precision: bfloat16 where it is safe.
        workers: threads that make batches; 0 is one per four cores.
        evaluate_every, save_every: steps.
    """

    data: tuple[DataConfig, ...] = ()
    validation: DataConfig = field(default_factory=lambda: DataConfig(splits=("val",)))
    network: NetworkConfig = field(default_factory=NetworkConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    instances: InstanceConfig = field(default_factory=InstanceConfig)
    start_from: str = ""
    out: str = "runs/street"
    seed: int = 0
    device: str = "auto"
    mixed_precision: bool = True
    workers: int = 0
    evaluate_every: int = 500
    save_every: int = 200

    def __post_init__(self) -> None:
        schedule = self.schedule
        for name, value, low in (
            ("schedule.steps", schedule.steps, 1),
            ("schedule.batch", schedule.batch, 1),
            ("schedule.warm_up_steps", schedule.warm_up_steps, 1),
            ("evaluate_every", self.evaluate_every, 1),
            ("save_every", self.save_every, 1),
            ("network.height_px", self.network.height_px, 32),
            ("network.width_px", self.network.width_px, 32),
        ):
            if value < low:
                raise ConfigError(f"{name}: expected {low} or more, got {value}")
        if not 0 < schedule.learning_rate < 1 or not 0 <= schedule.ema_decay < 1:
            raise ConfigError(
                "schedule: expected 0 < learning_rate < 1 and 0 <= ema_decay < 1, "
                f"got {schedule.learning_rate} and {schedule.ema_decay}"
            )
        if schedule.encoder_rate <= 0:
            raise ConfigError(f"schedule.encoder_rate: expected more than 0, got {schedule.encoder_rate}")
        for i, entry in enumerate(self.data):
            if entry.share < 1:
                raise ConfigError(f"data[{i}].share: expected 1 or more, got {entry.share}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device: expected auto, cpu or cuda, got {self.device!r}")


def read_config(path: Path, **changes: Any) -> TrainConfig:
    """A configuration from a YAML file; `changes` go over its top-level keys.

    A file may say `extends: other.yaml`: its keys then go over that file's, mapping by mapping. `$NAME` in a value is
    the environment variable.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, or a key or value makes no sense; it is named.
    """
    return _with_path(path, {**read_yaml(path), **changes})


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    """The same run, shorter or longer."""
    return replace(config, schedule=replace(config.schedule, steps=steps))


def _with_path(path: Path, values: dict[str, Any]) -> TrainConfig:
    try:
        return train_config(expanded(values, ""))
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def train_config(values: Mapping[str, Any]) -> TrainConfig:
    """A configuration from plain dictionaries, lists, numbers and strings; the inverse of `dataclasses.asdict`."""
    config: TrainConfig = built(TrainConfig, values, "")
    return config
