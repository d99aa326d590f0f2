"""What a new bag takes over from another one, and what is added to it."""

from __future__ import annotations

from typing import Any

from seg_perception.bag.kit import RosbagsKit
from seg_perception.bag.mcap_format import METADATA, Cursor
from seg_perception.bag.mcap_writer import McapWriter
from seg_perception.bag.reader import Bag
from seg_perception.bag.records import Connection, RawMessage
from seg_perception.errors import BagError, FrameError

__all__ = ["InputCopy", "NewTopics"]


class InputCopy:
    """Takes over a bag's topics, messages and records, byte for byte.

    Args:
        writer: of the new bag.
        kit: knows definitions that the bag lacks.
        left_out: a topic that is not taken over.

    Attributes:
        messages: how many were taken over.
    """

    def __init__(self, writer: McapWriter, kit: RosbagsKit, left_out: str | None = None) -> None:
        self._writer, self._kit, self._left_out = writer, kit, left_out
        self._channels: dict[tuple[object, ...], int] = {}
        self.messages = 0

    def announce(self, bag: Bag) -> None:
        """Every topic, also one without messages, and every attachment and metadata."""
        for connection in bag.connections:
            self._channel(connection)
        for record in bag.records():
            # rosbag2's own metadata tells of the files of the old bag.
            if record.opcode != METADATA or Cursor(record.body).string() != "rosbag2":
                self._writer.add_record(record)

    def copy(self, message: RawMessage) -> None:
        """One message."""
        channel = self._channel(message.connection)
        if channel is not None:
            self._writer.write(channel, message.log_ns, message.data, message.publish_ns, message.sequence)
            self.messages += 1

    def _channel(self, connection: Connection) -> int | None:
        if connection.topic == self._left_out:
            return None
        channel = self._channels.get(connection.key)
        if channel is None:
            channel = self._channels[connection.key] = self._writer.add_connection(self._defined(connection))
        return channel

    def _defined(self, connection: Connection) -> Connection:
        """With the definition of the type, where the bag has none (sqlite3 up to Humble) and we know it."""
        if connection.definition or connection.message_encoding != "cdr" or not self._kit.knows(connection.type_name):
            return connection
        return connection.defined(self._kit.definition(connection.type_name).text)


class NewTopics:
    """Topics that are added to a bag; each is announced with its first message."""

    def __init__(self, writer: McapWriter, kit: RosbagsKit) -> None:
        self._writer, self._kit = writer, kit
        self._channels: dict[str, int] = {}

    def send(self, topic: str, type_name: str, message: Any, log_ns: int, qos: str) -> None:
        """One message of a type that the kit knows.

        Raises:
            FrameError: `serialize`, a field's value does not fit its type: a stamp that no clock has.
            BagError: the bag cannot be written.
        """
        try:
            data = self._kit.serialize(message, type_name)
        except BagError as exc:
            raise FrameError("serialize", str(exc)) from exc
        channel = self._channels.get(topic)
        if channel is None:
            definition = self._kit.definition(type_name)
            metadata = {"offered_qos_profiles": qos, "topic_type_hash": definition.type_hash}
            connection = Connection(topic, type_name, metadata=metadata).defined(definition.text)
            channel = self._channels[topic] = self._writer.add_connection(connection)
        self._writer.write(channel, log_ns, data)
