"""zstd and LZ4, with a bound on what comes out; a cut or damaged input gives what came before the damage.

The zstd library is whichever this machine has: Python 3.14's own, backports.zstd or zstandard (rosbags
depends on one of the latter two, according to its version).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from seg_perception.bag.records import Buffer
from seg_perception.errors import BagError

__all__ = ["ZSTD_MAGIC", "compress", "decompress", "decompress_file"]

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_ZSTD_NAMES = ("compression.zstd", "backports.zstd", "zstandard")
_ZSTD_LEVEL = 1
_SALVAGE_STEP = 1 << 14
_FILE_STEP = 1 << 20


@cache
def _library(kind: str) -> ModuleType:
    for name in _ZSTD_NAMES if kind == "zstd" else ("lz4.frame",):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    package = "zstandard" if kind == "zstd" else "lz4"
    raise BagError(f"the bag is compressed with {kind} and no library for it is installed; pip install {package}")


def _is_zstandard(library: ModuleType) -> bool:
    return library.__name__ == "zstandard"


def compress(data: Buffer, kind: str) -> Buffer:
    """Compress a whole block: `zstd`, `lz4`, or empty for none."""
    if not kind:
        return data
    library = _library(kind)
    if _is_zstandard(library):
        packed: bytes = library.ZstdCompressor(level=_ZSTD_LEVEL).compress(data)
        return packed
    packed = library.compress(data, level=_ZSTD_LEVEL) if kind == "zstd" else library.compress(data)
    return packed


def decompress(data: Buffer, kind: str, limit: int) -> tuple[Buffer, str]:
    """At most `limit` bytes of a block.

    Args:
        kind: `zstd`, `lz4`, or empty for none.

    Returns:
        What could be had, and what was wrong with the rest: empty when nothing was. Input that merely ends
        early is not an error here; the caller knows how much to expect.

    Raises:
        BagError: an unknown compression, or no library for it.
    """
    if not kind:
        return data[:limit], ""
    if kind not in ("zstd", "lz4"):
        raise BagError(f"the bag is compressed with {kind!r}; expected zstd, lz4 or none")
    try:
        return b"".join(_steps(data, kind, limit, limit)), ""
    except Exception:  # each library has errors of its own, some of them plain RuntimeError
        parts: list[bytes] = []
        try:
            for part in _steps(data, kind, limit, _SALVAGE_STEP):
                parts.append(part)
        except Exception as exc:
            return b"".join(parts), f"damaged {kind} data: {exc}"
        return b"".join(parts), ""


def _steps(data: Buffer, kind: str, limit: int, step: int) -> Iterator[bytes]:
    """The output in pieces of at most `step` bytes, `limit` in all."""
    library = _library(kind)
    if _is_zstandard(library):
        with library.ZstdDecompressor().stream_reader(data) as stream:
            while limit > 0 and (part := stream.read(min(step, limit))):
                yield part
                limit -= len(part)
        return
    stream = library.ZstdDecompressor() if kind == "zstd" else library.LZ4FrameDecompressor()
    part = stream.decompress(data, max_length=min(step, limit))
    while part:
        yield part
        limit -= len(part)
        if stream.eof or stream.needs_input or limit <= 0:
            return
        part = stream.decompress(b"", max_length=min(step, limit))


def decompress_file(source: Path, target: Path) -> str:
    """Decompress a zstd file as far as it is whole; the answer says what was wrong, empty when nothing was."""
    stream = None
    with source.open("rb") as packed, target.open("wb") as unpacked:
        for piece in iter(lambda: packed.read(_FILE_STEP), b""):
            while piece:
                stream = stream or _file_stream()
                try:
                    unpacked.write(stream.decompress(piece))
                except Exception as exc:  # see decompress
                    return f"damaged zstd data: {exc}"
                piece = stream.unused_data if stream.eof else b""
                if stream.eof:
                    stream = None
    return "the zstd data ends early" if stream else ""


def _file_stream() -> Any:
    library = _library("zstd")
    return library.ZstdDecompressor().decompressobj() if _is_zstandard(library) else library.ZstdDecompressor()
