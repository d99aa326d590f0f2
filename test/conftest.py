"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import tiny_onnx

from seg_perception.model.bundle import seal

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    root = SHARED / "data" / "camvid"
    if not root.is_dir():
        pytest.skip(f"needs CamVid in {root}")
    return root


@pytest.fixture
def tiny_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sealed tiny model (see `tiny_onnx`) and returns its path."""

    def write(**options: Any) -> Path:
        path = tmp_path / "tiny.onnx"
        path.write_bytes(seal(tiny_onnx(**options)))
        return path

    return write
