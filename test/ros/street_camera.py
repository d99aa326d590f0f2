"""A camera in front of the node under test: what it sends there and what comes back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from street import CAMERA_INFO, IMAGE, TF, Street, stamp_ns_of

MASK, OVERLAY = "mask", "overlay"
DRIVABLE, GRID, SCAN = "drivable/mask", "drivable/grid", "drivable/boundary"
PANOPTIC, DETECTIONS = "panoptic", "detections"
OBSTACLES, POINTS, MARKERS = "obstacles", "obstacles/points", "obstacles/markers"
TYPES = {
    MASK: IMAGE,
    OVERLAY: IMAGE,
    DRIVABLE: IMAGE,
    GRID: "nav_msgs/msg/OccupancyGrid",
    SCAN: "sensor_msgs/msg/LaserScan",
    PANOPTIC: IMAGE,
    DETECTIONS: "vision_msgs/msg/Detection2DArray",
    OBSTACLES: "vision_msgs/msg/Detection3DArray",
    POINTS: "sensor_msgs/msg/PointCloud2",
    MARKERS: "visualization_msgs/msg/MarkerArray",
}


class Transforms:
    """Publishers of /tf and /tf_static, as tf2's broadcasters make them."""

    def __init__(self, ros: Any) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        reliable = ReliabilityPolicy.RELIABLE
        latched = QoSProfile(depth=100, reliability=reliable, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._static = ros.publisher(TF, "/tf_static", latched)
        self._moving = ros.publisher(TF, "/tf", QoSProfile(depth=100, reliability=reliable))

    def fix(self, message: Any) -> None:
        """Latched."""
        self._static.publish(message)

    def move(self, *messages: Any) -> None:
        for message in messages:
            self._moving.publish(message)


class Camera:
    """One camera of the node under test.

    Args:
        name: in front of the topics, where there are several.
        listen: names of the outputs to subscribe to.
    """

    def __init__(self, ros: Any, street: Street, name: str = "", listen: Sequence[str] = (MASK, GRID, SCAN)) -> None:
        prefix = f"{name}/" if name else ""
        self._ros, self._street = ros, street
        self.status = f"segmentation: {name or 'camera'}"
        self.got = {output: self._subscribe(f"segmentation/{prefix}{output}", output) for output in listen}
        self._images = ros.publisher(IMAGE, f"{prefix}image")
        self._infos = ros.publisher(CAMERA_INFO, f"{prefix}camera_info")

    def _subscribe(self, topic: str, output: str) -> list[Any]:
        got: list[Any] = self._ros.subscribe(TYPES[output], topic)
        return got

    def answer(self, output: str, index: int) -> Any:
        """The latest message for the image of that number; None while there is none."""
        stamp_ns = self._street.stamps_ns[index]
        return next((m for m in reversed(self.got[output]) if stamp_ns_of(m) == stamp_ns), None)

    def send(self, image: Any, info: Any = None) -> None:
        if info is not None:
            self._infos.publish(info)
        self._images.publish(image)

    def show(
        self,
        index: int,
        *outputs: str,
        image: Any = None,
        info: Any = None,
        before: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Send an image, again and again while the graph settles, until these outputs of it have come.

        Args:
            before: called each time in front of it, for transforms.
        """
        image = self._street.image(index) if image is None else image
        sent_s = 0.0

        def all_came() -> bool:
            nonlocal sent_s
            if time.monotonic() - sent_s > 0.3:
                sent_s = time.monotonic()
                before()
                self.send(image, info)
            return all(self.answer(output, index) is not None for output in outputs)

        self._ros.until(all_came, f"{', '.join(outputs)} of image {index}")
        return [self.answer(output, index) for output in outputs]

    def without_metres(self, reason: str) -> int:
        """How many images are counted under that reason."""
        return int(self._ros.count(f"without_metres/{reason}", self.status))

    def expect_without_metres(self, index: int, reason: str, *words: str, **sent: Any) -> None:
        """Its masks come, its grid and boundary do not; the reason is counted, and told with what repairs it."""
        ros, had = self._ros, self.without_metres(reason)

        def told() -> bool:
            self.show(index, MASK, **sent)
            ros.spin(0.1)
            message = ros.message(self.status)
            return self.without_metres(reason) > had and reason in message and all(word in message for word in words)

        ros.until(told, f"{reason} is counted, and said with {words}")
        assert ros.level(self.status) == 1 and "masks go out" in ros.message(self.status)
        assert self.answer(GRID, index) is None and self.answer(SCAN, index) is None
        assert ros.count("failed", self.status) == 0

    def expect_all_well(self, index: int, **sent: Any) -> None:
        """Everything comes, and diagnostics has nothing to complain of."""

        def told() -> bool:
            self.show(index, MASK, GRID, SCAN, **sent)
            self._ros.spin(0.1)
            return self._ros.level(self.status) == 0 and "masks/s" in self._ros.message(self.status)

        self._ros.until(told, "no more complaints")


def values_of(grid: Any) -> np.ndarray:
    """int8 `[rows, columns]` of a nav_msgs/OccupancyGrid."""
    return np.frombuffer(grid.data, np.int8).reshape(grid.info.height, grid.info.width)


def ranges_of(scan: Any) -> np.ndarray:
    """float32 `[B]` of a sensor_msgs/LaserScan."""
    return np.frombuffer(scan.ranges, np.float32)


def set_parameter(ros: Any, name: str, value: Any) -> Any:
    """As `ros2 param set` does; rcl_interfaces/SetParametersResult."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return ros.call(SetParameters, "/segmentation/set_parameters", request).results[0]


def check_scan(scan: Any) -> None:
    """What any reader of a LaserScan relies on."""
    assert len(ranges_of(scan)) >= 1 and scan.angle_increment > 0
    assert 0 < scan.range_min <= scan.range_max < math.inf
    assert scan.angle_max == pytest.approx(scan.angle_min + (len(scan.ranges) - 1) * scan.angle_increment, abs=1e-4)
