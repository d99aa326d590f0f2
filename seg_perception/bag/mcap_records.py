"""Bodies of the MCAP records that the writer makes: https://mcap.dev/spec."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from seg_perception.bag import mcap_format as mcap
from seg_perception.bag.compression import compress
from seg_perception.bag.records import Buffer, Connection, Record

__all__ = ["PackedChunk", "PendingChunk", "channel_body", "extra_index", "record", "schema_body", "statistics_body"]

_NO_TIME = 2**64 - 1


def record(opcode: int, body: Buffer) -> bytes:
    """A whole record."""
    return mcap.RECORD_HEAD.pack(opcode, len(body)) + body


def schema_body(schema_id: int, connection: Connection) -> bytes:
    """A message definition; ROS wants one for every topic, be it empty."""
    head = struct.pack("<H", schema_id) + mcap.pack_string(connection.type_name)
    text = struct.pack("<I", len(connection.definition)) + connection.definition
    return head + mcap.pack_string(connection.definition_encoding) + text


def channel_body(channel_id: int, schema_id: int, connection: Connection) -> bytes:
    """A topic."""
    head = struct.pack("<HH", channel_id, schema_id) + mcap.pack_string(connection.topic)
    return head + mcap.pack_string(connection.message_encoding) + mcap.pack_map(connection.metadata)


def extra_index(extra: Record, offset: int, length: int) -> tuple[int, bytes]:
    """Opcode and body of what the index says about an attachment or metadata record."""
    place = struct.pack("<QQ", offset, length)
    cursor = mcap.Cursor(extra.body)
    if extra.opcode == mcap.METADATA:
        return mcap.METADATA_INDEX, place + mcap.pack_string(cursor.string())
    times, names = bytes(cursor.take(16)), mcap.pack_string(cursor.string()) + mcap.pack_string(cursor.string())
    return mcap.ATTACHMENT_INDEX, place + times + bytes(cursor.take(8)) + names


def statistics_body(
    counts: Mapping[int, int], chunks: Sequence[PackedChunk], schemas: int, attachments: int, metadata: int
) -> bytes:
    """Totals; `counts` are messages by channel id."""
    filled = [chunk for chunk in chunks if chunk.end_ns is not None]
    start_ns = min((chunk.start_ns for chunk in filled), default=0)
    end_ns = max((chunk.end_ns or 0 for chunk in filled), default=0)
    totals = (sum(counts.values()), schemas, len(counts), attachments, metadata, len(chunks), start_ns, end_ns)
    by_channel = b"".join(struct.pack("<HQ", channel_id, count) for channel_id, count in counts.items())
    return struct.pack("<QHIIIIQQI", *totals, len(by_channel)) + by_channel


class PackedChunk(NamedTuple):
    """A chunk that is in the file, as the index tells of it; `end_ns` is None where it has no message."""

    start_ns: int
    end_ns: int | None
    index_body: bytes


class PendingChunk:
    """Messages that are not yet in the file."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._entries: dict[int, bytearray] = {}
        self._start_ns = _NO_TIME
        self._end_ns: int | None = None

    def add_message(self, channel_id: int, sequence: int, log_ns: int, publish_ns: int, data: Buffer) -> None:
        """Copy one message to the end."""
        self._entries.setdefault(channel_id, bytearray()).extend(struct.pack("<QQ", log_ns, len(self.data)))
        self.data += mcap.RECORD_HEAD.pack(mcap.MESSAGE, mcap.MESSAGE_HEAD.size + len(data))
        self.data += mcap.MESSAGE_HEAD.pack(channel_id, sequence, log_ns, publish_ns)
        self.data += data
        self._start_ns = min(self._start_ns, log_ns)
        self._end_ns = log_ns if self._end_ns is None else max(self._end_ns, log_ns)

    def pack(self, compression: str, offset: int) -> tuple[list[Buffer], PackedChunk]:
        """The chunk record and its message indexes, in pieces, as they go to this place in the file."""
        start_ns = 0 if self._end_ns is None else self._start_ns
        times = struct.pack("<QQ", start_ns, self._end_ns or 0)
        name = mcap.pack_string(compression)
        packed = compress(self.data, compression)
        head = times + struct.pack("<QI", len(self.data), zlib.crc32(self.data)) + name + struct.pack("<Q", len(packed))
        length = len(head) + len(packed)
        parts: list[Buffer] = [mcap.RECORD_HEAD.pack(mcap.CHUNK, length) + head, packed]
        end = position = offset + mcap.RECORD_HEAD.size + length
        offsets = b""
        for channel_id, entries in sorted(self._entries.items()):
            offsets += struct.pack("<HQ", channel_id, position)
            parts.append(record(mcap.MESSAGE_INDEX, struct.pack("<HI", channel_id, len(entries)) + entries))
            position += len(parts[-1])
        place = struct.pack("<QQI", offset, end - offset, len(offsets)) + offsets
        sizes = struct.pack("<Q", position - end) + name + struct.pack("<QQ", len(packed), len(self.data))
        return parts, PackedChunk(start_ns, self._end_ns, times + place + sizes)
