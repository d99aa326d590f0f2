"""Frames on which the tiny model's answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets_on_disk import folder

from seg_perception.datasets import Dataset, open_dataset

STREET = """
name: street
classes:
  - {name: path, value: 1, covers: [road, sidewalk]}
  - {name: wall, value: 2, covers: [building, wall, fence]}
  - {name: dog, value: 3}
  - {name: sky, value: 4}
  - {name: tree, value: 5, covers: [vegetation]}
void: [0]
"""


@pytest.fixture
def street(tmp_path: Path) -> Callable[..., tuple[Dataset, dict[str, Any]]]:
    """Writes frames of any size: (data set, image and label values by name)."""

    def write(count: int = 3, height: int = 16, width: int = 32, **names: str) -> tuple[Dataset, dict[str, Any]]:
        frames = {}
        for i in range(count):
            rng = np.random.default_rng(i)
            blocks = rng.integers(0, 6, (height // 4, width // 4))
            labels = np.kron(blocks, np.ones((4, 4), int)).astype(np.uint8)
            city = np.array([5, 0, 2, 11, 10, 8])[labels]
            wrong = rng.random(labels.shape) < 0.15 + 0.2 * i
            city[wrong] = rng.integers(0, 12, wrong.sum())
            image = np.stack([city * 16 + 3, rng.integers(0, 256, labels.shape), labels * 0], -1).astype(np.uint8)
            frames[f"{names.get('name', 'frame')}_{i}"] = (image, labels)
        return open_dataset(folder(tmp_path / "street", names.get("label_map", STREET), frames)), frames

    return write
