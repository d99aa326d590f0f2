"""Fixtures of the tests that need real ROS 2."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pictures import stamp_ns

_LOCALHOST = (
    {"ROS_LOCALHOST_ONLY": "1"}
    if os.environ.get("ROS_DISTRO") in ("humble", "galactic", "foxy")
    else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
)


@pytest.fixture(scope="session")
def ros_environment() -> Iterator[None]:
    """This process speaks ROS on this host alone, with the shipped profile; set before the middleware is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what ROS itself imports, some is deprecated
        for module in ("rclpy", "rosidl_generator_py", "sensor_msgs.msg", "diagnostic_msgs.msg", "vision_msgs.msg"):
            pytest.importorskip(module, reason=f"needs ROS 2 with {module}")
    from harness import environment

    with pytest.MonkeyPatch.context() as patch:
        for name, value in _LOCALHOST.items():
            patch.setenv(name, value)
        for name, value in environment(0).items():
            if name.endswith("_DEFAULT_PROFILES_FILE"):
                patch.setenv(name, value)
        yield


@pytest.fixture
def ros(ros_environment: None, tmp_path: Path) -> Iterator[Any]:
    """A `harness.Ros` in a free domain."""
    from harness import Ros

    here = Ros(tmp_path)
    yield here
    here.close()


@pytest.fixture
def replayed(tmp_path: Path) -> dict[str, Any]:
    """Parameters for recorded masks: classes 1 to 4 in the corners of a 6x8 mask, for pictures 0 to 9."""
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 0], mask[0, -1], mask[-1, 0], mask[-1, -1] = 1, 2, 3, 4
    folder = tmp_path / "masks"
    folder.mkdir()
    for index in range(10):
        assert cv2.imwrite(str(folder / f"{stamp_ns(index)}.png"), mask)
    return {"backend": "replayed", "replay_masks": folder, "diagnostics_period_s": 0.2}
