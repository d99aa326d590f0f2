"""/tf and /tf_static into a transform buffer."""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.messages import TF_MESSAGE, transforms_of
from seg_perception.ros.kit import message_class

__all__ = ["TransformListener"]

_DEPTH = 100
_STATIC_DEPTH = 1000
"""Every publisher sends its latched message at once when we subscribe. tf2's 100 is shared by all of them: where
there are more, those that come before the executor is ready push each other out, and nobody sends them again."""


class TransformListener:
    """Hears transforms while the node is active. Its callbacks run in the executor's thread and never raise.

    The topics can be remapped, as tf2's can: `--ros-args -r /tf:=tf -r /tf_static:=tf_static`.

    Args:
        node: owner of the subscriptions.
        buffer: where the transforms go. `mute` ends what waits in it: do so before joining a thread that may wait.
        tf_topic, tf_static_topic: where they come from.

    Attributes:
        received: transforms that were used.
        refused: transforms that cannot be used.
        last_error: why the last one was refused; empty while none was.
    """

    def __init__(
        self, node: Node, buffer: TransformBuffer, tf_topic: str = "/tf", tf_static_topic: str = "/tf_static"
    ) -> None:
        self._node, self._buffer = node, buffer
        self._topics = tf_topic, tf_static_topic
        self._subscriptions: list[Subscription] = []
        self.received, self.refused, self.last_error = 0, 0, ""

    def listen(self) -> None:
        """Subscribe, and allow to wait for transforms; does no harm where it listens already.

        Raises:
            ConfigError: tf2_msgs is not installed.
        """
        if self._subscriptions:
            return
        kind, create = message_class(TF_MESSAGE), self._node.create_subscription
        self._buffer.open()
        for topic, static in zip(self._topics, (False, True)):
            self._subscriptions.append(create(kind, topic, partial(self._on_message, static), _qos(static)))

    def mute(self) -> None:
        """Unsubscribe, and let nobody wait any longer; what is known stays."""
        self._buffer.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_message(self, static: bool, message: Any) -> None:
        usable, refused = transforms_of(message)
        count = len(message.transforms)
        refused += self._buffer.add_all(usable, static)
        self.received += count - len(refused)
        self.refused += len(refused)
        if refused:
            self.last_error = refused[-1]


def _qos(static: bool) -> QoSProfile:
    """What tf2's listener asks for, but for the depth of the static ones."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_STATIC_DEPTH if static else _DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if static else DurabilityPolicy.VOLATILE,
    )
