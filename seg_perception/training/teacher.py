"""What a teacher says of every frame, computed once and kept: soft labels for distillation.

A view of a frame is a warp of it, so the teacher's answer to the view is the same warp of its answer to the
frame, which is therefore asked for once, at the size where the teacher is best, mirrored as well, and
averaged (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", with an ensemble).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.errors import ConfigError
from seg_perception.files import write_whole
from seg_perception.labels import CITYSCAPES
from seg_perception.model.bundle import ModelBundle, load_bundle
from seg_perception.training.checkpoint import open_network
from seg_perception.training.config import TeacherConfig
from seg_perception.training.temperature import logits_graph
from seg_perception.training.tracing import traced

__all__ = ["SOFT_HW", "Teacher", "open_teacher", "soft_labels", "soft_labels_of"]

SOFT_HW = (96, 128)
"""Rows and columns of a frame's soft labels, whatever the frame's size."""

_SAY_EVERY = 50


@dataclass(frozen=True)
class Teacher:
    """A network and the sizes at which it looks at a frame.

    Attributes:
        name: what it is and which weights it has; part of the name that its answers are kept under.
        network: float RGB `[N, 3, H, W]` in 0 … 255 to logits `[N, 19 or more, h, w]`, in eval mode. Outputs beyond
            the 19 Cityscapes classes are left out.
        sizes_hw: every one is asked, as is and mirrored.
    """

    name: str
    network: nn.Module
    sizes_hw: tuple[tuple[int, int], ...]

    @torch.no_grad()
    def probabilities(self, image: np.ndarray, device: torch.device) -> Tensor:
        """RGB uint8 `[H, W, 3]` to float32 `[19, *SOFT_HW]`, the mean over sizes and mirror images."""
        total = torch.zeros((len(CITYSCAPES), *SOFT_HW), device=device)
        for height, width in self.sizes_hw:
            shrinks = height * width < image.shape[0] * image.shape[1]
            sized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            x = torch.from_numpy(sized).to(device).permute(2, 0, 1)[None].float()
            x = torch.cat([x, x.flip(3)]).contiguous(memory_format=torch.channels_last)
            p = torch.softmax(self.network(x)[:, : len(CITYSCAPES)].float(), 1)
            p = (p[:1] + p[1:].flip(3)) / 2
            total += F.interpolate(p, size=SOFT_HW, mode="area")[0]
        return total / len(self.sizes_hw)


def _key(teachers: Sequence[Teacher], image: np.ndarray) -> str:
    digest = hashlib.sha256(repr([(t.name, t.sizes_hw, SOFT_HW) for t in teachers]).encode())
    digest.update(repr(image.shape).encode() + image.tobytes())
    return digest.hexdigest()[:32]


def soft_labels(
    teachers: Sequence[Teacher],
    images: Sequence[np.ndarray],
    cache: Path,
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Float16 `[frames, 19, *SOFT_HW]`: the teachers' mean, from `cache` where it holds the answer.

    An answer is kept under a digest of the teachers and the image's pixels, one file a frame, so that an
    interrupted run goes on and a changed image is asked anew.
    """
    cache.mkdir(parents=True, exist_ok=True)
    answers = np.empty((len(images), len(CITYSCAPES), *SOFT_HW), np.float16)
    for i, image in enumerate(images):
        path = cache / f"{_key(teachers, image)}.npy"
        try:
            answers[i] = np.load(path, allow_pickle=False)
        except (OSError, ValueError):  # not there, or cut short
            mean = sum(teacher.probabilities(image, device) for teacher in teachers) / len(teachers)
            answers[i] = mean.cpu().numpy().astype(np.float16)
            buffer = io.BytesIO()
            np.save(buffer, answers[i])
            write_whole(path, buffer.getvalue())
        progress(i + 1)
    return answers


class _OnOnnxRuntime(nn.Module):
    """A torch network that ONNX Runtime runs, several times as fast on a CPU; traced once for each size it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network, self._of_size = network, dict[tuple[int, int], Any]()

    def forward(self, x: Tensor) -> Tensor:
        size = (int(x.shape[-2]), int(x.shape[-1]))
        if size not in self._of_size:
            self._of_size[size] = open_session(traced(self._network, torch.zeros(1, 3, *size), "x", ["logits"]))
        answers = [self._of_size[size].run(None, {"x": one[None].contiguous().numpy()})[0] for one in x]
        return torch.from_numpy(np.concatenate(answers))


class _ModelFile(nn.Module):
    """The logits of a model file, at the size of its input."""

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        graph, self._logits = logits_graph(bundle)
        self._session, self._classes = open_session(graph), len(bundle.labels)

    def forward(self, x: Tensor) -> Tensor:
        images = x.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        answer = np.concatenate([self._session.run([self._logits], {"image": one[None]})[0] for one in images])
        logits = torch.from_numpy(answer if answer.shape[1] == self._classes else answer.transpose(0, 3, 1, 2))
        return logits.to(x.device)


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
    sizes, named = _sizes_hw(config), open_network(config.model)
    if named is None:
        return _teacher_of_file(load_bundle(config.model), sizes)
    runner = _OnOnnxRuntime(named.network) if device.type == "cpu" else named.network.to(device)
    return Teacher(named.name, runner.eval(), sizes or (named.usual_hw,))


def soft_labels_of(
    configs: Sequence[TeacherConfig],
    images: Sequence[np.ndarray],
    cache: Path,
    device: torch.device,
    say: Callable[[str], None],
) -> np.ndarray | None:
    """`soft_labels` of the teachers that these configurations name; None if there are none."""
    if not configs:
        return None
    teachers = [open_teacher(config, device) for config in configs]

    def progress(done: int) -> None:
        if done % _SAY_EVERY == 0 or done == len(images):
            say(f"asked {', '.join(teacher.name for teacher in teachers)} about {done} of {len(images)} frames")

    return soft_labels(teachers, images, cache, device, progress)
