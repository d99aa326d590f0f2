"""What a teacher says of every frame, computed once and kept: soft labels for distillation.

A view of a frame is a warp of it, so the teacher's answer to the view is the same warp of its answer to the
frame, which is therefore asked for once, at the size where the teacher is best, mirrored as well, and
averaged (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", with an ensemble).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg_perception.labels import CITYSCAPES

__all__ = ["SOFT_HW", "Teacher", "soft_labels"]

SOFT_HW = (96, 128)
"""Rows and columns of a frame's soft labels, whatever the frame's size."""


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
            partial = path.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.save(file, answers[i])
            os.replace(partial, path)
        progress(i + 1)
    return answers
