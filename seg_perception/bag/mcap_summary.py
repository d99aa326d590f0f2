"""Where everything is in a MCAP file: from the index at its end or, when that is missing, from the records."""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from seg_perception.bag import mcap_format as mcap
from seg_perception.bag.records import MAX_BLOCK_BYTES
from seg_perception.errors import BagError

__all__ = ["ChunkSpot", "Contents", "read_summary"]

_FOOTER_BODY = struct.Struct("<QQI")
_TAIL_SIZE = mcap.RECORD_HEAD.size + _FOOTER_BODY.size + len(mcap.MAGIC)


class ChunkSpot(NamedTuple):
    """A chunk in the file.

    Attributes:
        start_ns: log time of its first message.
        offset: of its record, bytes.
        channel_ids: whose messages it holds, or None if unknown.
    """

    start_ns: int
    offset: int
    channel_ids: frozenset[int] | None = None


@dataclass
class Contents:
    """What is in a file.

    Attributes:
        schemas, channels: by their id.
        counts: messages by channel id.
        chunks: in the order of the file.
        loose_ns, loose_offset, loose_channel: messages outside chunks: log time, place of the record, channel id.
        extras: place of every attachment and metadata record.
    """

    schemas: dict[int, mcap.Schema] = field(default_factory=dict)
    channels: dict[int, mcap.Channel] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    chunks: list[ChunkSpot] = field(default_factory=list)
    loose_ns: array[int] = field(default_factory=lambda: array("Q"))
    loose_offset: array[int] = field(default_factory=lambda: array("Q"))
    loose_channel: array[int] = field(default_factory=lambda: array("H"))
    extras: list[int] = field(default_factory=list)

    def learn(self, opcode: int, body: memoryview) -> None:
        """Remember a Schema or Channel record; the first of an id counts. Other records are passed over."""
        if opcode == mcap.SCHEMA:
            schema = mcap.Cursor(body).schema()
            self.schemas.setdefault(schema.id, schema)
        elif opcode == mcap.CHANNEL:
            channel = mcap.Cursor(body).channel()
            self.channels.setdefault(channel.id, channel)

    def count(self, channel_id: int) -> None:
        """One more message."""
        self.counts[channel_id] = self.counts.get(channel_id, 0) + 1


def read_summary(file: BinaryIO, size: int) -> tuple[Contents | None, str]:
    """The index at the end of the file, if there is a whole one.

    Returns:
        None when the records must be looked at instead; and what is wrong with the file, empty when nothing
        is (an index is optional).
    """
    file.seek(max(0, size - _TAIL_SIZE))
    tail = file.read(_TAIL_SIZE)
    footer = tail[mcap.RECORD_HEAD.size : -len(mcap.MAGIC)]
    head = mcap.RECORD_HEAD.pack(mcap.FOOTER, _FOOTER_BODY.size)
    if not (tail.startswith(head) and tail.endswith(mcap.MAGIC)):
        return None, "the recording was not finished: there is no index at its end"
    start, _, crc = _FOOTER_BODY.unpack(footer)
    if start == 0:
        return None, ""
    length = size - _TAIL_SIZE - start
    if not 0 <= length <= MAX_BLOCK_BYTES:
        return None, "the footer points outside the file"
    file.seek(start)
    summary = file.read(length)
    if crc and zlib.crc32(tail[: -len(mcap.MAGIC) - 4], zlib.crc32(summary)) != crc:
        return None, "the index at its end fails its checksum"
    try:
        return _parse(summary), ""
    except BagError as exc:
        return None, f"the index at its end is damaged: {exc}"


def _parse(summary: bytes) -> Contents | None:
    """The index as Contents; None where it leaves something out."""
    found = Contents()
    promised: tuple[int, ...] | None = None
    for opcode, body in mcap.records_of(summary):
        cursor = mcap.Cursor(body)
        if opcode == mcap.CHUNK_INDEX:
            found.chunks.append(_chunk_spot(cursor))
        elif opcode == mcap.STATISTICS:
            # messages, schemas, channels, attachments, metadata, chunks
            promised = tuple(cursor.uint(size) for size in (8, 2, 4, 4, 4, 4))
            cursor.take(16)
            counts = cursor.block()
            while not counts.done:
                channel_id = counts.uint(2)
                found.counts[channel_id] = counts.uint(8)
        elif opcode in (mcap.ATTACHMENT_INDEX, mcap.METADATA_INDEX):
            found.extras.append(cursor.uint(8))
        else:
            found.learn(opcode, body)
    if promised is None:
        return None
    messages, schemas, channels, attachments, metadata, chunks = promised
    complete = (
        (schemas, channels, chunks) == (len(found.schemas), len(found.channels), len(found.chunks))
        and attachments + metadata == len(found.extras)
        and sum(found.counts.values()) == messages
        and bool(chunks or not messages)
    )
    return found if complete else None


def _chunk_spot(cursor: mcap.Cursor) -> ChunkSpot:
    start_ns, _, offset, _ = (cursor.uint(8) for _ in range(4))
    offsets = cursor.block()
    channel_ids = set()
    while not offsets.done:
        channel_ids.add(offsets.uint(2))
        offsets.uint(8)
    return ChunkSpot(start_ns, offset, frozenset(channel_ids) if channel_ids else None)
