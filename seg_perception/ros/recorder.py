"""Records what the segmentation node says, every output topic, into one MCAP file."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from seg_perception.bag import Connection, McapWriter, RosbagsKit
from seg_perception.bag.qos import LATCHED_QOS, frame_qos
from seg_perception.config import PipelineConfig
from seg_perception.messages import DIAGNOSTIC_ARRAY, LABEL_INFO
from seg_perception.outputs import LABEL_INFO_TOPIC, OUTPUTS
from seg_perception.ros.kit import message_class

__all__ = ["LATCHED", "Recorder"]

_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Recorder(Node):
    """Subscribes to every output and writes the messages' own bytes: nothing is deserialized.

    Args:
        path: of the MCAP file; one of that name is replaced.
        node: fully qualified name of the segmentation node, `/segmentation`.

    Attributes:
        counts: messages so far, by topic.
        last_s: time.monotonic() of the last one of a frame.
    """

    def __init__(self, path: Path, node: str = "/segmentation") -> None:
        super().__init__("recorder")
        self._kit = RosbagsKit()
        self._writer = McapWriter(path, overwrite=True)
        self.counts: dict[str, int] = {}
        self.last_s = time.monotonic()
        for output in OUTPUTS:
            self._listen(f"{node}/{output.name}", output.type_name, _QOS, frame_qos(PipelineConfig()))
        self._listen(f"{node}/{LABEL_INFO_TOPIC}", LABEL_INFO, LATCHED, LATCHED_QOS)
        self._listen("/diagnostics", DIAGNOSTIC_ARRAY, _QOS, frame_qos(PipelineConfig()))

    def _listen(self, topic: str, type_name: str, qos: QoSProfile, offered: str) -> None:
        """`offered` is what a player of the bag should offer: without it, label_info would not be latched."""
        definition = self._kit.definition(type_name)
        connection = Connection(
            topic, type_name, definition=definition.text.encode(), definition_encoding="ros2msg",
            metadata={"offered_qos_profiles": offered, "topic_type_hash": definition.type_hash},
        )  # fmt: skip
        self.counts[topic] = 0
        write = partial(self._write, topic, self._writer.add_connection(connection))
        self.create_subscription(message_class(type_name), topic, write, qos, raw=True)

    def _write(self, topic: str, channel_id: int, data: Any) -> None:
        self._writer.write(channel_id, time.time_ns(), bytes(data))
        self.counts[topic] += 1
        if topic != "/diagnostics":
            self.last_s = time.monotonic()

    def close(self) -> None:
        """Finish the file and leave the graph."""
        self.destroy_node()
        self._writer.close()
