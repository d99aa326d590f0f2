"""The live node measured from outside: an image goes out over DDS, its mask comes back."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy

from seg_perception.errors import SegPerceptionError
from seg_perception.messages import IMAGE, image_message, stamp_ns_of
from seg_perception.ros.children import Child, node_arguments, private_graph
from seg_perception.ros.kit import RclpyKit, message_class

__all__ = ["RoundTrip"]

_NAMESPACE = "/seg_perception_bench"
_START_S = 60.0
_ANSWER_S = 5.0


class RoundTrip:
    """A node in a process of its own, and this process as its camera and its user.

    Somebody listens to the mask and to the confidence, so that the node does what
    `Pipeline.process` does by default.

    Args:
        parameters: of the node.

    Raises:
        SegPerceptionError: the node does not come up, or does not answer.
    """

    def __init__(self, parameters: Mapping[str, object]) -> None:
        os.environ.update(private_graph(os.environ))
        self._scratch = tempfile.TemporaryDirectory(prefix="seg_perception_")
        arguments = node_arguments(parameters, {"__ns": _NAMESPACE})
        log = Path(self._scratch.name) / "node.log"
        self._child = Child("seg_perception.ros.node", arguments, log, os.environ)
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        rclpy.init()
        self._kit = RclpyKit()
        self._node = rclpy.create_node("seg_perception_bench", namespace=_NAMESPACE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        camera = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        user = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        image = message_class(IMAGE)
        self._publisher = self._node.create_publisher(image, f"{_NAMESPACE}/image", camera)
        self._answered: dict[int, float] = {}
        topic = f"{_NAMESPACE}/segmentation"
        mask = self._node.create_subscription(image, f"{topic}/mask", self._on_mask, user)
        confidence = self._node.create_subscription(image, f"{topic}/confidence", lambda message: None, user, raw=True)
        deadline = time.monotonic() + _START_S
        while not (
            self._publisher.get_subscription_count()
            and self._node.count_publishers(mask.topic_name)
            and self._node.count_publishers(confidence.topic_name)
        ):
            self._child.check()
            if time.monotonic() > deadline:
                raise SegPerceptionError(f"the node did not come up within {_START_S:.0f} s")
            self._executor.spin_once(timeout_sec=0.05)

    def _on_mask(self, message: Any) -> None:
        self._answered[stamp_ns_of(message)] = time.perf_counter()

    def measure(self, picture: np.ndarray) -> float:
        """Milliseconds from an image's stamp to its mask in this process, both over DDS.

        Args:
            picture: BGR uint8 `[H, W, 3]`. Filling the message is the camera's work and not counted.
        """
        stamp_ns = time.time_ns()
        message = image_message(self._kit, stamp_ns, "camera", picture, "bgr8")
        started = time.perf_counter()
        self._publisher.publish(message)
        while stamp_ns not in self._answered:
            self._executor.spin_once(timeout_sec=0.1)
            if time.perf_counter() - started > _ANSWER_S:
                self._child.check()
                raise SegPerceptionError(f"no mask within {_ANSWER_S:.0f} s of its image")
        return (self._answered.pop(stamp_ns) - started) * 1e3

    def close(self) -> None:
        """End the node and leave the graph."""
        self._child.stop()
        if rclpy.ok():
            rclpy.shutdown()
        self._scratch.cleanup()

    def __enter__(self) -> RoundTrip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
