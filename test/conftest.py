"""Fixtures that several tests share."""

from __future__ import annotations

import warnings
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


def _rclpy_kit() -> Any:
    """An RclpyKit with what it needs, or the test is skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the message packages import, some is deprecated
        packages = ("vision_msgs.msg", "visualization_msgs.msg", "sensor_msgs.msg")
        for name in ("rclpy.serialization", "rosidl_generator_py", *packages):
            pytest.importorskip(name, reason=f"needs ROS 2 with {name}")
    from seg_perception.ros.kit import RclpyKit

    return RclpyKit()


@pytest.fixture(params=["rosbags", "rclpy"])
def kit(request: pytest.FixtureRequest) -> Any:
    """What makes messages: for bags, and for a node."""
    if request.param == "rclpy":
        return _rclpy_kit()
    pytest.importorskip("rosbags", reason="bags need rosbags")
    from seg_perception.bag import RosbagsKit

    return RosbagsKit()


@pytest.fixture
def live_kit() -> Any:
    """The node's alone."""
    return _rclpy_kit()
