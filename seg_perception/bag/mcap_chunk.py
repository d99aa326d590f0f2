"""The messages of one MCAP chunk, as far as they are whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from seg_perception.bag import mcap_format as mcap
from seg_perception.bag.compression import decompress
from seg_perception.bag.records import MAX_BLOCK_BYTES, Buffer
from seg_perception.errors import BagError

__all__ = ["StoredMessage", "read_chunk"]


class StoredMessage(NamedTuple):
    """A message as it lies in a chunk; tuples of it sort by log time, then by place."""

    log_ns: int
    place: int
    channel_id: int
    sequence: int
    publish_ns: int
    data: memoryview


def read_chunk(body: Buffer, learn: Callable[[int, memoryview], None]) -> tuple[list[StoredMessage], str]:
    """Look into a chunk record.

    Args:
        body: of the record; may be cut.
        learn: is given every record that is no message: (opcode, body).

    Returns:
        Messages in the order of the file, and what is wrong with the chunk: empty when nothing is.
    """
    stored: list[StoredMessage] = []
    try:
        data, complaint = _unpack(memoryview(body))
        for opcode, record in mcap.records_of(data):
            if opcode != mcap.MESSAGE:
                learn(opcode, record)
                continue
            channel_id, sequence, log_ns, publish_ns = mcap.MESSAGE_HEAD.unpack_from(record)
            payload = record[mcap.MESSAGE_HEAD.size :]
            stored.append(StoredMessage(log_ns, len(stored), channel_id, sequence, publish_ns, payload))
    except (BagError, struct.error) as exc:
        complaint = str(exc)
    if complaint:
        complaint = f"chunk cut or damaged, {len(stored)} messages of it are whole ({complaint})"
    return stored, complaint


def _unpack(body: memoryview) -> tuple[memoryview, str]:
    """The records in the chunk, decompressed, and what is wrong with them."""
    cursor = mcap.Cursor(body)
    cursor.take(16)  # times of the first and last message
    size, crc, compression, packed_size = cursor.uint(8), cursor.uint(4), cursor.string(), cursor.uint(8)
    if size > MAX_BLOCK_BYTES:
        raise BagError(f"it claims {size} bytes; at most {MAX_BLOCK_BYTES} are believed")
    data, complaint = decompress(cursor.rest(packed_size), compression, size)
    if len(data) == size and crc and zlib.crc32(data) != crc:
        raise BagError("it fails its checksum")
    if len(data) < size:
        complaint = complaint or f"{len(data)} of {size} bytes are there"
    return memoryview(data), complaint
