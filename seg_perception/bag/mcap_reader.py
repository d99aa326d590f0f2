"""One MCAP file, whole or not: in time order, a chunk at a time, and as far as it is whole."""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from seg_perception.bag import mcap_format as mcap
from seg_perception.bag.mcap_chunk import StoredMessage, read_chunk
from seg_perception.bag.mcap_summary import ChunkSpot, Contents, read_summary
from seg_perception.bag.records import Block, Connection, RawMessage, Record, merge_by_time
from seg_perception.errors import BagError

__all__ = ["McapFile"]

_LOG = logging.getLogger("seg_perception.bag")


class McapFile:
    """See records.Storage.

    Raises:
        BagError: there is no such file, or it is no MCAP file.
    """

    def __init__(self, path: Path) -> None:
        self.losses: list[str] = []
        self._path = path
        self._connections: dict[int, Connection] = {}
        self._contents = Contents()
        try:
            self._file = path.open("rb")
            self._size = path.stat().st_size
        except OSError as exc:
            raise BagError(f"{path}: {exc.strerror}") from exc
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        magic = self._file.read(len(mcap.MAGIC))
        if magic != mcap.MAGIC:
            what = f"starts with {magic!r}" if magic else "is empty"
            raise BagError(f"{self._path}: expected an MCAP file, but it {what}; record or copy it again")
        contents, complaint = read_summary(self._file, self._size)
        if complaint:
            self._lose(complaint)
        if contents is None:
            self._scan()
        else:
            self._contents = contents

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every topic that is known so far."""
        return tuple(c for c in map(self._connection, sorted(self._contents.channels)) if c is not None)

    @property
    def start_ns(self) -> int:
        """Log time of the first message; 0 if there is none."""
        starts = [spot.start_ns for spot in self._contents.chunks]
        if self._contents.loose_ns:
            starts.append(min(self._contents.loose_ns))
        return min(starts, default=0)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """Messages in the order of their log time; of these topics only, if given."""
        found = self._contents
        wanted = None
        if topics is not None:
            wanted = frozenset(number for number, channel in found.channels.items() if channel.topic in topics)
        blocks = [
            Block(spot.start_ns, partial(self._chunk_messages, spot, wanted))
            for spot in found.chunks
            if wanted is None or spot.channel_ids is None or wanted & spot.channel_ids
        ]
        if found.loose_ns:
            blocks.append(Block(min(found.loose_ns), partial(self._loose_messages, wanted)))
        given = 0
        for message in merge_by_time(blocks):
            given += 1
            yield message
        promised = sum(n for number, n in found.counts.items() if wanted is None or number in wanted)
        if given < promised:
            self._lose(f"{promised - given} of {promised} messages that it lists could not be read")

    def records(self) -> Iterator[Record]:
        """Attachments and metadata."""
        for offset in self._contents.extras:
            opcode, body, whole = self._record_at(offset)
            if whole and opcode in (mcap.ATTACHMENT, mcap.METADATA):
                yield Record(opcode, body)
            else:
                self._lose(f"byte {offset}: expected an attachment or metadata, got a record of type 0x{opcode:02x}")

    def _lose(self, what: str) -> None:
        """Say, once, what is missing."""
        text = f"{self._path.name}: {what}"
        if text not in self.losses:
            self.losses.append(text)
            _LOG.warning(text)

    def _connection(self, channel_id: int) -> Connection | None:
        known = self._connections.get(channel_id)
        channel = self._contents.channels.get(channel_id)
        if known is None and channel is not None:
            schema = self._contents.schemas.get(channel.schema_id, mcap.Schema(0, "", "", b""))
            known = self._connections[channel_id] = Connection(
                topic=channel.topic,
                type_name=schema.name,
                message_encoding=channel.message_encoding,
                definition=schema.data,
                definition_encoding=schema.encoding,
                metadata=channel.metadata,
                count=self._contents.counts.get(channel_id, 0),
            )
        return known

    def _record_at(self, offset: int) -> tuple[int, bytes, bool]:
        """Opcode, body, and whether all of the body is there; opcode 0 past the end."""
        self._file.seek(min(offset, self._size))
        head = self._file.read(mcap.RECORD_HEAD.size)
        if len(head) < mcap.RECORD_HEAD.size:
            return 0, b"", False
        opcode, length = mcap.RECORD_HEAD.unpack(head)
        body = self._file.read(min(length, max(0, self._size - self._file.tell())))
        return opcode, body, len(body) == length

    def _message(self, message: StoredMessage) -> RawMessage | None:
        connection = self._connection(message.channel_id)
        if connection is None:
            self._lose(f"messages of channel {message.channel_id}, whose topic is not in the file")
            return None
        return RawMessage(connection, message.log_ns, message.publish_ns, message.data, message.sequence)

    def _load_chunk(self, offset: int) -> list[StoredMessage]:
        opcode, body, _ = self._record_at(offset)
        if opcode == mcap.CHUNK:
            stored, complaint = read_chunk(body, self._contents.learn)
        else:
            stored, complaint = [], f"expected a chunk, got a record of type 0x{opcode:02x}"
        if complaint:
            self._lose(f"byte {offset}: {complaint}")
        return stored

    def _chunk_messages(self, spot: ChunkSpot, wanted: Collection[int] | None) -> Iterator[RawMessage]:
        for stored in sorted(self._load_chunk(spot.offset)):
            if wanted is None or stored.channel_id in wanted:
                message = self._message(stored)
                if message is not None:
                    yield message

    def _loose_messages(self, wanted: Collection[int] | None) -> Iterator[RawMessage]:
        """Messages outside chunks."""
        found = self._contents
        for index in np.argsort(np.frombuffer(found.loose_ns, np.uint64), kind="stable"):
            channel_id = found.loose_channel[index]
            if wanted is not None and channel_id not in wanted:
                continue
            _, body, _ = self._record_at(found.loose_offset[index])
            _, sequence, log_ns, publish_ns = mcap.MESSAGE_HEAD.unpack_from(body)
            payload = memoryview(body)[mcap.MESSAGE_HEAD.size :]
            message = self._message(StoredMessage(log_ns, 0, channel_id, sequence, publish_ns, payload))
            if message is not None:
                yield message

    def _scan(self) -> None:
        """Without an index: look at every record of the data section, and into every chunk."""
        position = len(mcap.MAGIC)
        while position < self._size:
            self._file.seek(position)
            head = self._file.read(mcap.RECORD_HEAD.size)
            opcode, length = mcap.RECORD_HEAD.unpack(head.ljust(mcap.RECORD_HEAD.size, b"\0"))
            if opcode in (mcap.DATA_END, mcap.FOOTER):
                return
            end = position + mcap.RECORD_HEAD.size + length
            if opcode == 0 or (end > self._size and opcode != mcap.CHUNK):
                self._lose(f"byte {position}: the last {self._size - position} bytes are no whole record")
                return
            try:
                self._scan_record(position, opcode, length)
            except (BagError, struct.error) as exc:
                self._lose(f"byte {position}: damaged record: {exc}")
            position = end

    def _scan_record(self, position: int, opcode: int, length: int) -> None:
        found = self._contents
        if opcode == mcap.CHUNK:
            stored = self._load_chunk(position)
            for message in stored:
                found.count(message.channel_id)
            if stored:
                ids = frozenset(message.channel_id for message in stored)
                found.chunks.append(ChunkSpot(min(stored).log_ns, position, ids))
        elif opcode == mcap.MESSAGE:
            channel_id, _, log_ns, _ = mcap.MESSAGE_HEAD.unpack(self._file.read(min(length, mcap.MESSAGE_HEAD.size)))
            found.count(channel_id)
            found.loose_ns.append(log_ns)
            found.loose_offset.append(position)
            found.loose_channel.append(channel_id)
        elif opcode in (mcap.ATTACHMENT, mcap.METADATA):
            found.extras.append(position)
        elif opcode in (mcap.SCHEMA, mcap.CHANNEL):
            found.learn(opcode, memoryview(self._record_at(position)[1]))
