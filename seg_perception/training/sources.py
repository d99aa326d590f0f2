"""What a configuration names to learn from, opened: data sets and simulated streets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from seg_perception.datasets import Dataset, open_dataset
from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import SimulatedFrame, StreetScene
from seg_perception.training.config import DataConfig, TrainConfig
from seg_perception.training.data import Source, read_source

__all__ = [
    "SIMULATED",
    "first_dataset",
    "open_data",
    "open_sources",
    "open_validation",
    "select",
    "simulated_frames",
    "simulated_source",
]

SIMULATED = "simulated"
_FRAMES_PER_STREET = 10
_FRAMES_APART = 37
_SAY_EVERY = 50


def select(dataset: Dataset, only: Sequence[str], without: Sequence[str]) -> Dataset:
    """The frames whose names begin with one of `only` (all, if there is none) and with none of `without`."""
    kept = tuple(
        item
        for item in dataset.items
        if (not only or item.name.startswith(tuple(only))) and not item.name.startswith(tuple(without))
    )
    if not kept:
        raise ConfigError(
            f"data {dataset.name} {dataset.split}: only={list(only)} and without={list(without)} leave none of its "
            f"{len(dataset.items)} frames; their names begin like {dataset.items[0].name}"
        )
    return replace(dataset, items=kept)


def open_data(config: DataConfig) -> Dataset:
    """The frames that a configuration names, of all its splits."""
    parts = [select(open_dataset(config.dataset, split), config.only, config.without) for split in config.splits]
    return replace(parts[0], split="+".join(config.splits), items=tuple(item for part in parts for item in part.items))


def _say_read(say: Callable[[str], None], frames: int, done: int) -> None:
    if done % (10 * _SAY_EVERY) == 0:
        say(f"read {done} of {frames} frames")


def open_sources(config: TrainConfig, say: Callable[[str], None]) -> list[Source]:
    """Every data set, read: the recorded ones first, which teachers are asked about, then the simulated ones.

    Raises:
        ConfigError: there is nothing to learn from.
        DatasetError: names the file that cannot be read.
    """
    if not config.data:
        raise ConfigError("data: expected at least one data set to learn from")
    recorded = [entry for entry in config.data if entry.dataset != SIMULATED]
    sources = []
    for entry in recorded:
        dataset = open_data(entry)
        say(f"reading {len(dataset.items)} frames of {dataset.name} {dataset.split}")
        sources.append(read_source(dataset, entry.share, partial(_say_read, say, len(dataset.items))))
    for entry in config.data:
        if entry.dataset == SIMULATED:
            sources.append(simulated_source(entry, say))
    return sources


def first_dataset(config: TrainConfig) -> Dataset:
    """The first recorded data set that a run learned from."""
    for entry in config.data:
        if entry.dataset != SIMULATED:
            return open_data(entry)
    raise ConfigError("data: the run learned from simulated streets alone")


def open_validation(config: TrainConfig) -> Dataset | None:
    """The data set to judge on; None if the configuration names none."""
    return open_data(config.validation) if config.validation.dataset else None


def simulated_source(config: DataConfig, say: Callable[[str], None]) -> Source:
    """Simulated streets with their exact labels; every 10 frames another street and camera."""
    frames = list(simulated_frames(config, say))
    names = tuple(label.name for label in CITYSCAPES)
    return Source(SIMULATED, config.share, names, tuple((label.id,) for label in CITYSCAPES),
                  [frame.rgb for frame in frames], [frame.class_ids for frame in frames])  # fmt: skip


def _bustle(rng: np.random.Generator, share: float) -> dict[str, Any]:
    """Who is in a street: in so many of them crowds, parked rows and people who cross, mixed at random."""
    if rng.random() >= share:
        return {}
    return {
        "crowds": float(rng.uniform(0.3, 1)), "tight_parking": bool(rng.random() < 0.6),
        "crossers": float(rng.uniform(0, 1)),
    }  # fmt: skip


def simulated_frames(config: DataConfig, say: Callable[[str], None]) -> Iterator[SimulatedFrame]:
    """Frames of simulated streets; every 10 frames another street and camera.

    Raises:
        ConfigError: the configuration asks for none.
    """
    if config.frames < 1:
        raise ConfigError(f"data simulated: expected frames: 1 or more, got {config.frames}")
    for first in range(0, config.frames, _FRAMES_PER_STREET):
        seed = config.first_seed + first // _FRAMES_PER_STREET
        rng = np.random.default_rng(seed)
        camera: dict[str, Any] = {
            "focal_px": float(rng.uniform(300, 520)), "camera_height_m": float(rng.uniform(0.5, 2.0)),
            "camera_pitch_rad": float(rng.uniform(-0.03, 0.1)),
        }  # fmt: skip
        scene = StreetScene(seed, 480, 360, **camera, **_bustle(rng, config.busy_share))
        for i in range(min(_FRAMES_PER_STREET, config.frames - first)):
            yield scene.frame(i * _FRAMES_APART)
            if (first + i + 1) % _SAY_EVERY == 0:
                say(f"simulated {first + i + 1} of {config.frames} frames")
