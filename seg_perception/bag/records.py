"""What a bag is made of, whichever file format it came in."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

__all__ = ["Block", "Connection", "RawMessage", "Record", "Storage", "merge_by_time"]

Buffer = bytes | bytearray | memoryview

MAX_BLOCK_BYTES = 1 << 30
"""A compressed block that claims to be larger is refused: no recorder writes one, a hostile file does."""


@dataclass(frozen=True)
class Connection:
    """One topic as one recorder wrote it down.

    Attributes:
        topic: `/camera/image_raw`.
        type_name: `sensor_msgs/msg/Image`; empty where the file does not say.
        message_encoding: `cdr`, or what else a MCAP file may hold (`json`, `ros1` ...).
        definition: text of the message definition; empty where the file has none.
        definition_encoding: `ros2msg`, `ros2idl` or empty.
        metadata: as stored with the topic: `offered_qos_profiles`, `topic_type_hash` ...
        count: messages; as far as the file knows it.
    """

    topic: str
    type_name: str
    message_encoding: str = "cdr"
    definition: bytes = field(default=b"", repr=False)
    definition_encoding: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    count: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for the same topic in several files of one bag."""
        return (self.topic, self.type_name, self.message_encoding, tuple(sorted(self.metadata.items())))

    def defined(self, text: str) -> Connection:
        """With this message definition, a `ros2msg`."""
        return replace(self, definition=text.encode(), definition_encoding="ros2msg")

    def joined(self, other: Connection) -> Connection:
        """This one with the other's messages counted in, and its definition where this one has none."""
        given = self if self.definition else other
        return replace(
            self,
            count=self.count + other.count,
            definition=given.definition,
            definition_encoding=given.definition_encoding,
        )


class RawMessage(NamedTuple):
    """One message, not deserialized.

    Attributes:
        connection: whose it is.
        log_ns: when it was recorded, nanoseconds.
        publish_ns: when it was published; `log_ns` where the file does not say.
        data: serialized; shares the memory of the block it came in.
        sequence: the publisher's count; 0 where the file does not say.
    """

    connection: Connection
    log_ns: int
    publish_ns: int
    data: Buffer
    sequence: int = 0


class Record(NamedTuple):
    """A record that belongs to the bag and to no topic (MCAP attachments and metadata), verbatim."""

    opcode: int
    body: bytes


class Storage(Protocol):
    """One file of a bag."""

    losses: list[str]

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every topic that is known so far."""

    @property
    def start_ns(self) -> int:
        """Log time of the first message; 0 if there is none."""

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """Messages in the order of their log time; of these topics only, if given."""

    def records(self) -> Iterator[Record]:
        """Attachments and metadata."""

    def close(self) -> None:
        """Let go of the file."""


class Block(NamedTuple):
    """A part of a bag that is opened when its time has come.

    Attributes:
        start_ns: no message in it is earlier.
        open: gives its messages in the order of their log time.
    """

    start_ns: int
    open: Callable[[], Iterator[RawMessage]]


def merge_by_time(blocks: Iterable[Block]) -> Iterator[RawMessage]:
    """All messages in the order of their log time; those of one time in the order of the blocks.

    Only blocks that overlap in time are open together.
    """
    waiting = deque(sorted(enumerate(blocks), key=lambda item: (item[1].start_ns, item[0])))
    heap: list[tuple[int, int, RawMessage, Iterator[RawMessage]]] = []
    while waiting or heap:
        while waiting and (not heap or waiting[0][1].start_ns <= heap[0][0]):
            order, block = waiting.popleft()
            messages = block.open()
            first = next(messages, None)
            if first is not None:
                heapq.heappush(heap, (first.log_ns, order, first, messages))
        if not heap:
            continue
        _, order, message, messages = heap[0]
        yield message
        following = next(messages, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.log_ns, order, following, messages))
