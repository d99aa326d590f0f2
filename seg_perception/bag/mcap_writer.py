"""Writes one .mcap file that `ros2 bag`, Foxglove and this package open; the name appears when it is whole.

The same messages in the same order give the same bytes. It is chunked, indexed and checksummed as rosbag2 does
it (https://mcap.dev/spec/registry#ros2), every message definition inside. `ros2 bag` reads such a file without
a folder and metadata.yaml around it.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from seg_perception import __version__
from seg_perception.bag import mcap_format as mcap
from seg_perception.bag.mcap_records import (
    PackedChunk,
    PendingChunk,
    channel_body,
    extra_index,
    record,
    schema_body,
    statistics_body,
)
from seg_perception.bag.records import Buffer, Connection, Record
from seg_perception.errors import BagError

__all__ = ["COMPRESSIONS", "McapWriter"]

COMPRESSIONS = ("zstd", "lz4", "none")

_CHUNK_BYTES = 1 << 20
_CHUNKS_WAITING = 4


class McapWriter:
    """Use it as a context manager: leaving it by an exception removes what was written.

    Chunks are compressed and written by a thread of their own, in order, while the caller makes the next one.

    Args:
        path: of the finished file; until then it is `.<name>.partial` beside it.
        compression: of the chunks, one of COMPRESSIONS.
        overwrite: replace a file of that name.

    Raises:
        BagError: the file is there already, or cannot be written.
    """

    def __init__(self, path: str | Path, compression: str = "zstd", overwrite: bool = False) -> None:
        self.path = Path(path)
        if compression not in COMPRESSIONS:
            raise BagError(f"compression: expected one of {', '.join(COMPRESSIONS)}, got {compression!r}")
        self._compression = "" if compression == "none" else compression
        self._overwrite = overwrite
        self._check_target()
        self._partial = self.path.with_name(f".{self.path.name}.partial")
        self._schemas: dict[tuple[str, str, bytes], bytes] = {}
        self._channels: list[bytes] = []
        self._counts: dict[int, int] = {}
        self._pending = PendingChunk()
        self._chunks: list[PackedChunk] = []
        self._extras: dict[int, list[bytes]] = {mcap.ATTACHMENT_INDEX: [], mcap.METADATA_INDEX: []}
        self._position = 0
        self._thread = ThreadPoolExecutor(1, "mcap-writer")
        self._waiting: deque[Future[None]] = deque()
        try:
            self._file: BinaryIO = self._partial.open("wb")
        except OSError as exc:
            raise BagError(f"{self._partial}: cannot be written: {exc.strerror}") from exc
        self._put(mcap.MAGIC)
        header = mcap.pack_string("ros2") + mcap.pack_string(f"seg_perception {__version__}")
        self._put(record(mcap.HEADER, header))

    def __enter__(self) -> McapWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def add_connection(self, connection: Connection) -> int:
        """Announce a topic; returns the number under which its messages are written."""
        channel_id = len(self._channels) + 1
        if channel_id > 0xFFFF:
            raise BagError(f"{self.path}: more than {0xFFFF} topics do not fit an MCAP file")
        key = (connection.type_name, connection.definition_encoding, connection.definition)
        if key not in self._schemas:
            self._schemas[key] = record(mcap.SCHEMA, schema_body(len(self._schemas) + 1, connection))
            self._pending.data += self._schemas[key]
        schema_id = list(self._schemas).index(key) + 1
        self._channels.append(record(mcap.CHANNEL, channel_body(channel_id, schema_id, connection)))
        self._pending.data += self._channels[-1]
        self._counts[channel_id] = 0
        return channel_id

    def write(
        self, channel_id: int, log_ns: int, data: Buffer, publish_ns: int | None = None, sequence: int = 0
    ) -> None:
        """One serialized message; it is copied before this returns."""
        self._pending.add_message(channel_id, sequence, log_ns, log_ns if publish_ns is None else publish_ns, data)
        self._counts[channel_id] += 1
        if len(self._pending.data) >= _CHUNK_BYTES:
            self._finish_chunk()

    def add_record(self, extra: Record) -> None:
        """An attachment or metadata, as another file had it."""
        self._drain(0)
        whole = record(extra.opcode, extra.body)
        opcode, index = extra_index(extra, self._position, len(whole))
        self._put(whole)
        self._extras[opcode].append(record(opcode, index))

    def close(self) -> None:
        """Write the index and give the file its name."""
        try:
            self._finish_chunk()
            self._drain(0)
            self._thread.shutdown()
            self._put(record(mcap.DATA_END, bytes(4)))  # no checksum of the whole: every chunk has one
            self._put(self._summary())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._check_target()
            os.replace(self._partial, self.path)
        except OSError as exc:
            self.abort()
            raise BagError(f"{self.path}: cannot be written: {exc.strerror}") from exc
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove what was written."""
        self._thread.shutdown(cancel_futures=True)
        with contextlib.suppress(OSError):  # a full disk refuses what is still buffered
            self._file.close()
        self._partial.unlink(missing_ok=True)

    def _check_target(self) -> None:
        if self.path.is_dir():
            raise BagError(f"{self.path}: expected the name of a file to write, this is a folder")
        if self.path.exists() and not self._overwrite:
            raise BagError(f"{self.path} exists already; choose another name or overwrite it with --force")

    def _put(self, data: Buffer) -> None:
        try:
            self._file.write(data)
        except OSError as exc:
            raise BagError(f"{self._partial}: cannot be written: {exc.strerror}") from exc
        self._position += len(data)

    def _finish_chunk(self) -> None:
        chunk, self._pending = self._pending, PendingChunk()
        if chunk.data:
            self._waiting.append(self._thread.submit(self._store, chunk))
            self._drain(_CHUNKS_WAITING)

    def _drain(self, most: int) -> None:
        """Wait until at most so many chunks are not yet in the file; raises what went wrong there."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def _store(self, chunk: PendingChunk) -> None:
        """In the writer's thread."""
        parts, packed = chunk.pack(self._compression, self._position)
        for part in parts:
            self._put(part)
        self._chunks.append(packed)

    def _summary(self) -> bytes:
        """Everything behind the data: definitions again, indexes, totals, footer."""
        attachments, metadata = self._extras.values()
        totals = statistics_body(self._counts, self._chunks, len(self._schemas), len(attachments), len(metadata))
        chunks = [record(mcap.CHUNK_INDEX, chunk.index_body) for chunk in self._chunks]
        groups = (list(self._schemas.values()), self._channels, chunks, attachments, metadata)
        start = self._position
        summary, offsets = b"", b""
        for group in (*groups, [record(mcap.STATISTICS, totals)]):
            if group:
                joined = b"".join(group)
                place = struct.pack("<BQQ", joined[0], start + len(summary), len(joined))
                offsets += record(mcap.SUMMARY_OFFSET, place)
                summary += joined
        footer = mcap.RECORD_HEAD.pack(mcap.FOOTER, 20) + struct.pack("<QQ", start, start + len(summary))
        checked = summary + offsets + footer
        return checked + struct.pack("<I", zlib.crc32(checked)) + mcap.MAGIC
