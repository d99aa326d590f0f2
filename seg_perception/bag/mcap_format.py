"""The MCAP file format (https://mcap.dev/spec), record by record.

Integers are little-endian; a string is its uint32 byte length and UTF-8; a record is a uint8 opcode, a
uint64 length and that many bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from seg_perception.bag.records import Buffer
from seg_perception.errors import BagError

__all__ = [
    "ATTACHMENT",
    "ATTACHMENT_INDEX",
    "CHANNEL",
    "CHUNK",
    "CHUNK_INDEX",
    "DATA_END",
    "FOOTER",
    "HEADER",
    "MAGIC",
    "MESSAGE",
    "MESSAGE_HEAD",
    "MESSAGE_INDEX",
    "METADATA",
    "METADATA_INDEX",
    "RECORD_HEAD",
    "SCHEMA",
    "STATISTICS",
    "SUMMARY_OFFSET",
    "Channel",
    "Cursor",
    "Schema",
    "pack_map",
    "pack_string",
    "records_of",
]

MAGIC = b"\x89MCAP0\r\n"

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(0x01, 0x09)
ATTACHMENT, ATTACHMENT_INDEX, STATISTICS, METADATA, METADATA_INDEX, SUMMARY_OFFSET, DATA_END = range(0x09, 0x10)

RECORD_HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
"""Channel id, sequence, log time, publish time; the payload is the rest."""


class Schema(NamedTuple):
    """A message definition."""

    id: int
    name: str
    encoding: str
    data: bytes


class Channel(NamedTuple):
    """A topic."""

    id: int
    schema_id: int
    topic: str
    message_encoding: str
    metadata: Mapping[str, str]


class Cursor:
    """Reads fields one after the other; BagError where they run past the end."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data)
        self._position = 0

    def take(self, size: int) -> memoryview:
        """The next `size` bytes."""
        start, end = self._position, self._position + size
        if end > len(self._data):
            raise BagError(f"MCAP record of {len(self._data)} bytes: a field of {size} bytes starts at byte {start}")
        self._position = end
        return self._data[start:end]

    def uint(self, size: int) -> int:
        """An unsigned integer of 2, 4 or 8 bytes."""
        return int.from_bytes(self.take(size), "little")

    def string(self) -> str:
        """A string; bytes that are not UTF-8 become U+FFFD."""
        return str(self.take(self.uint(4)), "utf-8", "replace")

    def rest(self, most: int) -> memoryview:
        """What is left, at most `most` bytes."""
        return self._data[self._position : self._position + most]

    def block(self) -> Cursor:
        """What a uint32 byte length stands before: a map or an array."""
        return Cursor(self.take(self.uint(4)))

    @property
    def done(self) -> bool:
        return self._position >= len(self._data)

    def schema(self) -> Schema:
        """The body of a Schema record."""
        return Schema(self.uint(2), self.string(), self.string(), bytes(self.take(self.uint(4))))

    def channel(self) -> Channel:
        """The body of a Channel record."""
        number, schema_id, topic, encoding, pairs = (
            self.uint(2),
            self.uint(2),
            self.string(),
            self.string(),
            self.block(),
        )
        metadata = {}
        while not pairs.done:
            key = pairs.string()
            metadata[key] = pairs.string()
        return Channel(number, schema_id, topic, encoding, metadata)


def records_of(data: Buffer) -> Iterator[tuple[int, memoryview]]:
    """(opcode, body) of every whole record.

    Raises:
        BagError: after the last whole one, when bytes are left over.
    """
    view = memoryview(data)
    position, size = 0, len(view)
    while position < size:
        body = position + RECORD_HEAD.size
        if body > size:
            raise BagError(f"{size - position} bytes are left over after the last whole record")
        opcode, length = RECORD_HEAD.unpack_from(view, position)
        if length > size - body:
            raise BagError(f"a record of {length} bytes, of which {size - body} are there")
        yield opcode, view[body : body + length]
        position = body + length


def pack_string(text: str) -> bytes:
    """A string as it is stored."""
    data = text.encode()
    return len(data).to_bytes(4, "little") + data


def pack_map(pairs: Mapping[str, str]) -> bytes:
    """A map of strings as it is stored."""
    data = b"".join(pack_string(key) + pack_string(value) for key, value in pairs.items())
    return len(data).to_bytes(4, "little") + data
