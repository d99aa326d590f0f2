"""What a configuration names, opened: data sets, simulated streets, teachers."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from seg_perception.datasets import Dataset, open_dataset
from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.model import zoo
from seg_perception.model.bundle import ModelBundle, load_bundle
from seg_perception.simulate import StreetScene
from seg_perception.training.config import DataConfig, TeacherConfig, TrainConfig
from seg_perception.training.data import Source, read_source
from seg_perception.training.teacher import Teacher, soft_labels
from seg_perception.training.temperature import logits_graph

__all__ = [
    "SIMULATED",
    "first_dataset",
    "open_sources",
    "open_teacher",
    "open_validation",
    "select",
    "simulated_source",
    "soft_labels_of",
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


def _open(config: DataConfig) -> Dataset:
    parts = [select(open_dataset(config.dataset, split), config.only, config.without) for split in config.splits]
    return replace(parts[0], split="+".join(config.splits), items=tuple(item for part in parts for item in part.items))


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
        dataset = _open(entry)
        say(f"reading {len(dataset.items)} frames of {dataset.name} {dataset.split}")
        sources.append(read_source(dataset, entry.share))
    for entry in config.data:
        if entry.dataset == SIMULATED:
            sources.append(simulated_source(entry, say))
    return sources


def first_dataset(config: TrainConfig) -> Dataset:
    """The first recorded data set that a run learned from."""
    for entry in config.data:
        if entry.dataset != SIMULATED:
            return _open(entry)
    raise ConfigError("data: the run learned from simulated streets alone")


def open_validation(config: TrainConfig) -> Dataset | None:
    """The data set to judge on; None if the configuration names none."""
    return _open(config.validation) if config.validation.dataset else None


def simulated_source(config: DataConfig, say: Callable[[str], None]) -> Source:
    """Simulated streets with their exact labels; every 10 frames another street and camera."""
    if config.frames < 1:
        raise ConfigError(f"data simulated: expected frames: 1 or more, got {config.frames}")
    images, labels = [], []
    for first in range(0, config.frames, _FRAMES_PER_STREET):
        seed = config.first_seed + first // _FRAMES_PER_STREET
        rng = np.random.default_rng(seed)
        scene = StreetScene(
            seed, 480, 360, focal_px=float(rng.uniform(300, 520)),
            camera_height_m=float(rng.uniform(0.5, 2.0)), camera_pitch_rad=float(rng.uniform(-0.03, 0.1)),
        )  # fmt: skip
        for i in range(min(_FRAMES_PER_STREET, config.frames - first)):
            frame = scene.frame(i * _FRAMES_APART)
            images.append(frame.rgb)
            labels.append(frame.class_ids)
        if len(images) % _SAY_EVERY == 0:
            say(f"simulated {len(images)} of {config.frames} frames")
    names = tuple(label.name for label in CITYSCAPES)
    return Source(SIMULATED, config.share, names, tuple((label.id,) for label in CITYSCAPES), images, labels)


class _OnOnnxRuntime(nn.Module):
    """A network's logits by ONNX Runtime, several times faster than torch on a CPU, for inputs of one size."""

    def __init__(self, graph: bytes, name: str, logits: str) -> None:
        super().__init__()
        options = ort.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._name, self._logits = name, logits

    def forward(self, x: Tensor) -> Tensor:
        parts = [self._session.run([self._logits], {self._name: one[None].cpu().contiguous().numpy()})[0] for one in x]
        return torch.from_numpy(np.concatenate(parts)).to(x.device)


class _ModelFile(nn.Module):
    """The logits of a model file, at the size of its input."""

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        graph, self._logits = logits_graph(bundle)
        self._session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self._classes = len(bundle.labels)

    def forward(self, x: Tensor) -> Tensor:
        images = x.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        answer = np.concatenate([self._session.run([self._logits], {"image": one[None]})[0] for one in images])
        logits = torch.from_numpy(answer if answer.shape[1] == self._classes else answer.transpose(0, 3, 1, 2))
        return logits.to(x.device)


class _PerSize(nn.Module):
    """A torch network that ONNX Runtime runs, exported once for each size it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network, self._of_size = network, dict[tuple[int, int], _OnOnnxRuntime]()

    def forward(self, x: Tensor) -> Tensor:
        size = (int(x.shape[-2]), int(x.shape[-1]))
        if size not in self._of_size:
            buffer = io.BytesIO()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated
                torch.onnx.export(
                    self._network, (torch.zeros(1, 3, *size),), buffer, input_names=["x"], output_names=["logits"],
                    opset_version=17, dynamo=False,
                )  # fmt: skip
            self._of_size[size] = _OnOnnxRuntime(buffer.getvalue(), "x", "logits")
        answer: Tensor = self._of_size[size](x)
        return answer


def _sizes_hw(config: TeacherConfig) -> tuple[tuple[int, int], ...]:
    found = [re.fullmatch(r"(\d+)x(\d+)", size) for size in config.sizes]
    if not all(found):
        raise ConfigError(f"distill.teachers: sizes: expected WIDTHxHEIGHT such as 672x512, got {list(config.sizes)}")
    return tuple((int(match[2]), int(match[1])) for match in found if match)


def _teacher_of_file(bundle: ModelBundle, sizes_hw: tuple[tuple[int, int], ...]) -> Teacher:
    if bundle.labels != CITYSCAPES:
        raise ConfigError(
            f"distill.teachers: {bundle.path}: expected the Cityscapes classes, it has {bundle.labels.name}"
        )
    if any(size != bundle.input_hw for size in sizes_hw):
        height, width = bundle.input_hw
        raise ConfigError(f"distill.teachers: {bundle.path}: looks at {width}x{height} alone; leave out its sizes")
    return Teacher(f"{bundle.name} {bundle.sha256}", _ModelFile(bundle), (bundle.input_hw,))


def open_teacher(config: TeacherConfig, device: torch.device) -> Teacher:
    """A teacher by what its configuration names: an ESPNetv2 checkpoint, a training run's folder, or a model file.

    Raises:
        ConfigError: sizes are missing or make no sense.
        ModelError, TrainingError: what is named is no sound model.
    """
    from seg_perception.training.models import load_espnetv2
    from seg_perception.training.models.espnetv2_weights import published_checkpoint
    from seg_perception.training.train import network_of_run

    published = zoo.fetchable(config.model)
    path, sizes = published.checkpoint_path if published else Path(config.model).expanduser(), _sizes_hw(config)
    if path.suffix == ".pth":
        published = published_checkpoint(path)
        network, name, usual = load_espnetv2(path, published.width), published.name, (512, 1024)
    elif path.is_dir():
        network, run_config, steps = network_of_run(path)
        name, usual = f"{path.resolve()} at step {steps}", run_config.network.size_hw
    else:
        return _teacher_of_file(load_bundle(config.model), sizes)
    runner = _PerSize(network) if device.type == "cpu" else network.to(device)
    return Teacher(name, runner.eval(), sizes or (usual,))


def soft_labels_of(
    config: TrainConfig, sources: Sequence[Source], cache: Path, device: torch.device, say: Callable[[str], None]
) -> np.ndarray | None:
    """The teachers' answers to every recorded frame, in the sources' order; None without teachers."""
    if not config.distill.teachers:
        return None
    teachers = [open_teacher(teacher, device) for teacher in config.distill.teachers]
    images = [image for source in sources if source.name != SIMULATED for image in source.images]

    def progress(done: int) -> None:
        if done % _SAY_EVERY == 0 or done == len(images):
            say(f"asked {', '.join(t.name for t in teachers)} about {done} of {len(images)} frames")

    return soft_labels(teachers, images, cache, device, progress)
