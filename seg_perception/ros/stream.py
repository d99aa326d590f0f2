"""One camera's topics, in and out, and what became of its frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from seg_perception.config import CameraConfig, PipelineConfig
from seg_perception.errors import FrameError, GeometryError
from seg_perception.latency import LatencyMonitor
from seg_perception.messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    TF_MESSAGE,
    camera_of,
    frame_of_compressed,
    frame_of_image,
    tf_message,
)
from seg_perception.outputs import OUTPUTS, TF_STATIC_TOPIC, TF_TOPIC, FrameAnnouncer, Output, wanted_for
from seg_perception.pipeline import Pipeline
from seg_perception.ros.kit import RclpyKit, message_class
from seg_perception.types import CameraInfo, Perception

__all__ = ["CameraStream", "Waiting", "output_qos"]

_TF_DEPTH = 100
"""tf2's."""

_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)

_RELIABILITY = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}


@dataclass(frozen=True)
class Waiting:
    """An image message that waits for its turn.

    Attributes:
        message: sensor_msgs/Image or CompressedImage.
        arrived_s: time.monotonic() of its callback.
    """

    message: Any
    arrived_s: float


def _qos(reliability: str, depth: int) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=_RELIABILITY[reliability])


def output_qos(config: PipelineConfig) -> QoSProfile:
    """Quality of service of everything that is published for a frame."""
    return _qos(config.output_reliability, config.output_depth)


class CameraStream:
    """Subscriptions and publishers of one camera, its counts and its latest state.

    The callbacks run in the executor's thread and only note what came; `process` runs in the inference
    thread. What both touch are single attributes that are replaced whole.

    Args:
        node: owner of the topics.
        config: the node's configuration.
        camera: this camera's.

    Attributes:
        monitor: counts and stage times.
        image_topic, image_type, reliable: what is subscribed to, and whether reliably.
        last_image_s: time.monotonic() of the last image, or of the start of listening.
        busy_since_s: time.monotonic() since when an image is being processed; None while none is.
        last_image: size and encoding of the last image, for people.
        last_error: text of the last failure.
        last_frame_id: of the last image from which something in metres was asked; empty if there was none.
        last_ground_error: why the last frame that had to do without metres had to.
    """

    def __init__(self, node: LifecycleNode, config: PipelineConfig, camera: CameraConfig) -> None:
        self._node, self._kit = node, RclpyKit()
        self.name, self.monitor = camera.name, LatencyMonitor()
        self.last_image_s = time.monotonic()
        self.busy_since_s: float | None = None
        self.last_image, self.last_error = "", ""
        self.last_frame_id, self.last_ground_error = "", ""
        prefix = f"{camera.name}/" if len(config.cameras) > 1 else ""
        self._compressed = camera.transport == "compressed"
        self.image_type = COMPRESSED_IMAGE if self._compressed else IMAGE
        # A remapping of `image` holds for its compressed sibling too, as image_transport has it.
        base = node.resolve_topic_name(f"{prefix}image")
        self.image_topic = f"{base}/compressed" if self._compressed else base
        self._camera_info_topic = f"{prefix}camera_info"
        self.reliable = config.input_reliability == "reliable"
        self._input_qos = _qos(config.input_reliability, config.input_depth)
        self._camera_info: CameraInfo | None = None
        self._subscriptions: list[Subscription] = []
        self._publishers: list[tuple[Output, LifecyclePublisher]] = []
        for output in OUTPUTS:
            topic = f"~/{prefix}{output.name}"
            publisher = node.create_lifecycle_publisher(message_class(output.type_name), topic, output_qos(config))
            self._publishers.append((output, publisher))
        self._announcer = FrameAnnouncer()
        self._tf_publishers = {
            topic: node.create_lifecycle_publisher(message_class(TF_MESSAGE), topic, qos)
            for topic, qos in ((TF_TOPIC, _qos("reliable", _TF_DEPTH)), (TF_STATIC_TOPIC, _LATCHED))
        }

    def listen(self, put: Callable[[str, Waiting], bool]) -> None:
        """Subscribe; `put` takes each image and says whether one was lost by it."""

        def on_image(message: Any) -> None:
            self.monitor.received()
            self.last_image_s = time.monotonic()
            if put(self.name, Waiting(message, self.last_image_s)):
                self.monitor.dropped()

        def on_camera_info(message: Any) -> None:
            self._camera_info = camera_of(message)

        self.last_image_s = time.monotonic()
        create = self._node.create_subscription
        self._subscriptions = [
            create(message_class(CAMERA_INFO), self._camera_info_topic, on_camera_info, _qos("best_effort", 5)),
            create(message_class(self.image_type), self.image_topic, on_image, self._input_qos),
        ]

    def mute(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def close(self) -> None:
        """Unsubscribe and destroy the publishers."""
        self.mute()
        for _, publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        for publisher in self._tf_publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers, self._tf_publishers = [], {}

    def process(self, waiting: Waiting, pipeline: Pipeline) -> None:
        """One image through the pipeline and out on every topic that somebody listens to.

        Raises:
            FrameError: the image cannot be used, or a result cannot be encoded (the others went out).
            BackendError: the engine failed.
        """
        heard = [(output, publisher) for output, publisher in self._publishers if publisher.get_subscription_count()]
        if not heard:
            self.monitor.idle()
            return
        started_s = time.monotonic()
        frame_of = frame_of_compressed if self._compressed else frame_of_image
        frame = frame_of(waiting.message, self._camera_info)
        self.last_image = _describe(waiting.message, self._compressed)
        wanted = wanted_for([output.name for output, _ in heard])
        seen = pipeline.process(frame, wanted, self.name)
        self.last_frame_id = frame.frame_id if wanted.in_metres else ""
        self.monitor.things(seen.thing_counts)
        if seen.ground_problem is not None:
            self._without_metres(*seen.ground_problem)
        publishing_s = time.monotonic()
        age_ms = self._publish(seen, heard, pipeline.config)
        stages = dict(seen.stage_ms)
        total_ms = stages.pop("total")
        publish_ms = (time.monotonic() - publishing_s) * 1e3
        wait_ms = (started_s - waiting.arrived_s) * 1e3
        stages = {"wait": wait_ms, **stages, "publish": publish_ms, "total": total_ms + publish_ms}
        self.monitor.published(stages, age_ms, pipeline.config.deadline_ms)

    def _publish(
        self, seen: Perception, heard: list[tuple[Output, LifecyclePublisher]], config: PipelineConfig
    ) -> float:
        """Send everything; the age of the frame when its first result went out, milliseconds.

        The age is negative where the source's clock is ahead of this one.
        """
        age_ms: float | None = None
        refused: FrameError | None = None
        for output, publisher in heard:
            try:
                message = output.build(self._kit, seen, config)
                topic, transforms = self._announcer.due(output, seen)
            except FrameError as exc:
                refused = exc
                continue
            except GeometryError as exc:
                self._without_metres(exc.reason, str(exc))
                continue
            if message is not None:
                if transforms:
                    self._tf_publishers[topic].publish(tf_message(self._kit, transforms))
                publisher.publish(message)
            if age_ms is None:
                age_ms = self._age_ms(seen.stamp_ns)
        if refused is not None:
            raise refused
        return self._age_ms(seen.stamp_ns) if age_ms is None else age_ms

    def _without_metres(self, reason: str, text: str) -> None:
        self.last_ground_error = text
        self.monitor.unlocated(reason)

    def _age_ms(self, stamp_ns: int) -> float:
        return (self._node.get_clock().now().nanoseconds - stamp_ns) / 1e6


def _describe(message: Any, compressed: bool) -> str:
    if compressed:
        return f"{message.format}, {len(message.data)} bytes"
    return f"{message.width}x{message.height} {message.encoding}"
