"""A node, a camera and a recorder in three processes: the demo's live part."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile

from seg_perception.bag.qos import LATCHED_QOS, TF_QOS
from seg_perception.errors import SegPerceptionError
from seg_perception.messages import (
    DETECTION_3D_ARRAY,
    LASER_SCAN,
    MARKER_ARRAY,
    OCCUPANCY_GRID,
    POINT_CLOUD,
    TF_MESSAGE,
)
from seg_perception.outputs import TF_STATIC_TOPIC, TF_TOPIC
from seg_perception.ros.children import Child, node_arguments, private_graph
from seg_perception.ros.recorder import LATCHED, Recorder

__all__ = ["LiveRun", "run_live"]

_START_S = 60.0
_QUIET_S = 2.0
_IN_METRES = (OCCUPANCY_GRID, LASER_SCAN, DETECTION_3D_ARRAY, POINT_CLOUD, MARKER_ARRAY)
"""What the node says only if it knows where the camera is."""


@dataclass(frozen=True)
class LiveRun:
    """What to play through the node, and where to leave what it says.

    Attributes:
        source: as `sources.open_source` takes it.
        from_topic: of a bag; None is its only one.
        compressed: the source holds compressed images.
        rate_hz: of the camera.
        limit: number of pictures; 0 is all.
        parameters: of the node.
        in_metres: the camera's place is known: also record what needs it, and the transforms.
        folder: gets `demo.mcap`, `stamps.txt`, `node.log` and `player.log`.
    """

    source: str
    from_topic: str | None
    compressed: bool
    rate_hz: float
    limit: int
    parameters: Mapping[str, object]
    in_metres: bool
    folder: Path

    @property
    def bag(self) -> Path:
        return self.folder / "demo.mcap"

    @property
    def stamps(self) -> Path:
        return self.folder / "stamps.txt"


class _DemoRecorder(Recorder):
    """Leaves out what the node cannot say, so that it does not try to; else records where it says it as well."""

    def __init__(self, path: Path, in_metres: bool) -> None:
        self._in_metres = in_metres
        super().__init__(path)
        if in_metres:
            self._listen(TF_TOPIC, TF_MESSAGE, QoSProfile(depth=100), TF_QOS)
            self._listen(TF_STATIC_TOPIC, TF_MESSAGE, LATCHED, LATCHED_QOS)

    def _listen(self, topic: str, type_name: str, qos: QoSProfile, offered: str) -> None:
        if self._in_metres or type_name not in _IN_METRES:
            super()._listen(topic, type_name, qos, offered)


def run_live(run: LiveRun, started: Callable[[str], None], progress: Callable[[int], None]) -> None:
    """Play the source through a live node over DDS until the last mask is recorded.

    Args:
        started: called with the domain id once the node is up.
        progress: called with the number of masks so far.

    Raises:
        SegPerceptionError: a process failed; the text has the end of its log.
    """
    os.environ.update(private_graph(os.environ))
    parameters = {**run.parameters, "camera.transport": "compressed" if run.compressed else "raw"}
    remappings = {"image": "/camera/image_raw", "camera_info": "/camera/camera_info"}
    arguments = [run.source, "--topic", "/camera/image_raw", "--rate", str(run.rate_hz), "--limit", str(run.limit)]
    arguments += ["--stamps", str(run.stamps)] + (["--from-topic", run.from_topic] if run.from_topic else [])
    rclpy.init()
    try:
        recorder = _DemoRecorder(run.bag, run.in_metres)
        executor = SingleThreadedExecutor()
        executor.add_node(recorder)
        node_command = node_arguments(parameters, remappings)
        with Child("seg_perception.ros.node", node_command, run.folder / "node.log", os.environ) as node:
            _until_up(recorder, executor, node)
            started(os.environ["ROS_DOMAIN_ID"])
            with Child("seg_perception.ros.player", arguments, run.folder / "player.log", os.environ) as player:
                _until_done(recorder, executor, node, player, progress)
        recorder.close()
    finally:
        if rclpy.ok():
            rclpy.shutdown()


def _until_up(recorder: Recorder, executor: SingleThreadedExecutor, node: Child) -> None:
    """The node is active when it says what its labels are."""
    deadline = time.monotonic() + _START_S
    while not recorder.counts["/segmentation/label_info"]:
        executor.spin_once(timeout_sec=0.1)
        node.check()
        if time.monotonic() > deadline:
            raise SegPerceptionError(f"the node did not come up within {_START_S:.0f} s; see {node.log}")


def _until_done(
    recorder: Recorder, executor: SingleThreadedExecutor, node: Child, player: Child, progress: Callable[[int], None]
) -> None:
    """Until the player has ended and nothing more has come for a while."""
    recorder.last_s = time.monotonic()
    while player.running or time.monotonic() - recorder.last_s < _QUIET_S:
        executor.spin_once(timeout_sec=0.1)
        node.check()
        if player.running:
            recorder.last_s = time.monotonic()
        progress(recorder.counts["/segmentation/mask"])
    player.check(may_end=True)
