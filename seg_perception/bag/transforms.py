"""A bag's transforms into a buffer, as far as a live node would have heard them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from seg_perception.bag.kit import RosbagsKit
from seg_perception.bag.reader import Bag
from seg_perception.bag.records import RawMessage
from seg_perception.errors import BagError, ConfigError
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.geometry.transforms import Transform
from seg_perception.messages import TF_MESSAGE, transforms_of

__all__ = ["BagTransforms"]


class BagTransforms:
    """Feeds a buffer in step with a replay. It reads the bag beside whoever else reads it, in the same thread.

    The first word on every static frame counts from the beginning, whenever it was recorded: static transforms
    are latched, a node has them before its first image, but a recorder that finds a publisher late, or that
    splits its files, writes them down later. Where a static frame is changed afterwards, the change counts from
    its own log time on. Everything else comes in the order of the log.

    Args:
        bag: open; with or without transforms.
        kit: deserializes.
        buffer: to feed; its own for every pass over the bag.
        look_ahead_s: how long after an image a live node would wait for its transforms; 0 to the buffer's history.
        tf_topic, tf_static_topic: where they were recorded.

    Attributes:
        received: transforms that were used.
        refused: transforms that cannot be used.
        damaged: messages that are no whole tf2_msgs/TFMessage.
        last_error: why the last one was refused or is damaged; empty while none was.

    Raises:
        ConfigError: a look-ahead that is none, or that the buffer forgets again before it is asked for.
    """

    def __init__(
        self,
        bag: Bag,
        kit: RosbagsKit,
        buffer: TransformBuffer,
        look_ahead_s: float = 0.0,
        tf_topic: str = "/tf",
        tf_static_topic: str = "/tf_static",
    ) -> None:
        if not 0.0 <= look_ahead_s <= buffer.history_s:
            limits = f"0 to {buffer.history_s:g} s, what the buffer keeps"
            raise ConfigError(f"look_ahead_s: expected {limits}; got {look_ahead_s}")
        self._kit, self._buffer = kit, buffer
        self._look_ahead_ns = round(look_ahead_s * 1e9)
        self.received, self.refused, self.damaged, self.last_error = 0, 0, 0, ""
        tf_topic, tf_static_topic = (f"/{name.strip('/')}" for name in (tf_topic, tf_static_topic))
        topics = {c.topic for c in bag.connections}
        self._changes: deque[tuple[int, Transform]] = deque()
        if tf_static_topic in topics:
            self._read_static(bag, tf_static_topic)
        self._coming: Iterator[RawMessage] = iter(bag.messages([tf_topic]) if tf_topic in topics else ())
        self._next = next(self._coming, None)

    def advance(self, log_ns: int) -> None:
        """Feed everything up to this log time and the look-ahead; an earlier time than before changes nothing."""
        end_ns = log_ns + self._look_ahead_ns
        while self._changes and self._changes[0][0] <= end_ns:
            self._feed([self._changes.popleft()[1]], static=True)
        while self._next is not None and self._next.log_ns <= end_ns:
            self._feed(self._transforms(self._next), static=False)
            self._next = next(self._coming, None)

    def _read_static(self, bag: Bag, topic: str) -> None:
        """Feed the first word on every frame; keep for later what says something else than the one before."""
        known: dict[str, tuple[object, ...]] = {}
        for message in bag.messages([topic]):
            for transform in self._transforms(message):
                place = (transform.parent, transform.translation, transform.rotation)
                before = known.get(transform.child)
                known[transform.child] = place
                if before is None:
                    self._feed([transform], static=True)
                elif before != place:
                    self._changes.append((message.log_ns, transform))

    def _transforms(self, message: RawMessage) -> list[Transform]:
        """Those of a message that can be used; what cannot is counted."""
        try:
            if message.connection.type_name not in ("", TF_MESSAGE):
                raise BagError(f"expected {TF_MESSAGE} on it, got {message.connection.type_name}")
            usable, refused = transforms_of(self._kit.deserialize(message.data, TF_MESSAGE))
        except BagError as exc:
            self.damaged += 1
            self.last_error = f"{message.connection.topic}: {exc}"
            return []
        self._refuse(refused)
        return usable

    def _feed(self, transforms: list[Transform], static: bool) -> None:
        refused = self._buffer.add_all(transforms, static)
        self.received += len(transforms) - len(refused)
        self._refuse(refused)

    def _refuse(self, reasons: list[str]) -> None:
        self.refused += len(reasons)
        if reasons:
            self.last_error = reasons[-1]
