"""The launch file, run for real where launch_ros is installed."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from pictures import image_of, picture

HERE = Path(__file__).parent


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation of this source tree as launch_ros sees one: an index entry, and a program in lib/<package>."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in what launch_ros imports
        pytest.importorskip("launch_ros.actions", reason="needs launch_ros, which is not on PyPI")
    index = tmp_path / "prefix" / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "seg_perception").touch()
    program = tmp_path / "prefix" / "lib" / "seg_perception" / "segmentation_node"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m seg_perception.ros.node "$@"\n')
    program.chmod(0o755)
    return tmp_path / "prefix"


def _start(ros: Any, prefix: Path, *arguments: str, **env: str) -> Any:
    paths = os.pathsep.join([str(prefix), *filter(None, [os.environ.get("AMENT_PREFIX_PATH")]), sys.prefix])
    return ros.start(str(HERE / "launch_it.py"), *arguments, env={"AMENT_PREFIX_PATH": paths, **env})


def test_launch_remaps_and_sets_the_profile(ros: Any, prefix: Path, replayed: dict[str, Any]) -> None:
    from seg_perception.ros import dds

    variable = dds.profile_variable(ros.env)
    ros.env.pop(variable, None)
    parameters = prefix / "my.yaml"
    parameters.write_text(
        f"/**:\n  ros__parameters:\n    replay_masks: '{replayed['replay_masks']}'\n    diagnostics_period_s: 0.2\n"
    )
    arguments = ("image:=/front/image_raw", "namespace:=car", f"params_file:={parameters}", "backend:=replayed")
    launched = _start(ros, prefix, *arguments)
    masks = ros.subscribe("sensor_msgs/msg/Image", "/car/segmentation/mask")
    publisher = ros.publisher("sensor_msgs/msg/Image", "/front/image_raw")
    ros.publish_until_seen(publisher, image_of(picture(0), 0), masks)
    assert f"{variable}=" in launched.text and dds.PROFILE_FILE in launched.text
    assert ros.client.count_subscribers("/front/camera_info") == 1
    assert launched.stop(signal.SIGINT) == 0
    assert "Traceback" not in launched.text and "process has died" not in launched.text


def test_launch_leaves_a_profile_of_the_users_own_alone(ros: Any, prefix: Path) -> None:
    from seg_perception.ros import dds

    variable = dds.profile_variable(ros.env)
    launched = _start(ros, prefix, "model:=/nowhere.onnx", **{variable: ros.env[variable]})
    ros.until(lambda: "/nowhere.onnx" in launched.text, "the model's argument reaches the node")
    assert launched.wait() is not None
    assert f"{variable}=" not in launched.text
