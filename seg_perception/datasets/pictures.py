"""Image and label files as arrays, judged before a decoder sees them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from seg_perception.errors import DatasetError, FrameError
from seg_perception.image_files import inspect

__all__ = [
    "IMAGE_SUFFIXES",
    "map_colors",
    "map_values",
    "pack_color",
    "read_label_colors",
    "read_label_values",
    "read_rgb",
    "value_table",
]

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")

_MAX_PIXELS = 200_000_000
_PNG_START = 8  # bytes of the signature
_GRAY, _PALETTE = 0, 3  # PNG colour types
_OUTSIDE = 254  # in a table of values: means nothing
_MAX_NAMED = 8


def read_rgb(path: Path) -> np.ndarray:
    """RGB uint8 `[H, W, 3]` of a JPEG or PNG file, not turned by its EXIF orientation.

    Raises:
        DatasetError: names a file that is missing, truncated, damaged or of another kind.
    """
    pixels = _decode(path, _read(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def read_label_values(path: Path) -> np.ndarray:
    """The values of a gray PNG, or the indices of one with a palette: uint8 or uint16 `[H, W]`.

    Raises:
        DatasetError: as `read_rgb`, or the picture is a coloured one.
    """
    data = _read(path)
    bits, kind = _depth_and_kind(path, data)
    if kind not in (_GRAY, _PALETTE):
        raise DatasetError(f"{path}: a coloured picture; expected labels as one value a pixel: a gray or palette PNG")
    if kind == _PALETTE:
        data = _palette_as_gray(data)
    values = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2:  # gray with a transparent value
        values = values[..., 0]
    # Decoders stretch fewer than 8 bits to the whole range.
    return values // (255 // (2**bits - 1)) if bits < 8 else values


def read_label_colors(path: Path) -> np.ndarray:
    """The colours of a PNG, each as `pack_color` does it, uint32 `[H, W]`.

    Raises:
        DatasetError: as `read_rgb`.
    """
    data = _read(path)
    _depth_and_kind(path, data)
    pixels = _decode(path, data, cv2.IMREAD_COLOR).astype(np.uint32)
    packed: np.ndarray = pixels[..., 2] << 16 | pixels[..., 1] << 8 | pixels[..., 0]
    return packed


def pack_color(red: int, green: int, blue: int) -> int:
    """One number of three from 0 to 255."""
    return red << 16 | green << 8 | blue


def value_table(class_of_value: dict[int, int]) -> np.ndarray:
    """Look-up table uint8 `[65536]` for `map_values` from class id (or 255, void) by label value."""
    table = np.full(65536, _OUTSIDE, np.uint8)
    for value, class_id in class_of_value.items():
        table[value] = class_id
    table.setflags(write=False)
    return table


def map_values(path: Path, values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Class ids uint8 `[H, W]` of label values; DatasetError names the values that mean nothing."""
    ids = cv2.LUT(values, table[:256]) if values.dtype == np.uint8 else table[values]
    outside = ids == _OUTSIDE
    if outside.any():
        raise _meaningless(path, int(outside.sum()), "value", [str(v) for v in np.unique(values[outside])])
    return ids


def map_colors(path: Path, packed: np.ndarray, known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Class ids uint8 `[H, W]` of packed colours; DatasetError names the colours that mean nothing.

    Args:
        known: packed colours, ascending.
        ids: uint8, the class id of each of them.
    """
    # A label picture is made of runs of one colour: only where it changes has to be looked up.
    flat = packed.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    colors = flat[starts]
    index = np.minimum(np.searchsorted(known, colors), len(known) - 1)
    lengths = np.diff(np.append(starts, flat.size))
    outside = known[index] != colors
    if outside.any():
        found = np.unique(colors[outside]).tolist()
        named = [f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in found]
        raise _meaningless(path, int(lengths[outside].sum()), "colour", named)
    return np.repeat(ids[index], lengths).reshape(packed.shape)


def _meaningless(path: Path, count: int, kind: str, found: list[str]) -> DatasetError:
    named = ", ".join(found[:_MAX_NAMED]) + (" ..." if len(found) > _MAX_NAMED else "")
    return DatasetError(
        f"{path}: {count} pixels have the {kind} {named}, which is neither a class nor declared void; "
        "add it to the label map, or check that these are the right label files"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DatasetError(f"{path}: cannot be read ({exc.strerror}); fetch the data set again") from exc


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    try:
        size = inspect(memoryview(data), path.suffix, _MAX_PIXELS)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (FrameError, cv2.error) as exc:
        reason = exc.reason.replace("_", " ") if isinstance(exc, FrameError) else "the decoder refuses it"
        raise DatasetError(
            f"{path}: not a readable image ({reason}); expected a whole JPEG or PNG: fetch it again"
        ) from exc
    if pixels is None or pixels.shape[:2] != size:
        raise DatasetError(f"{path}: not a readable image (damaged within); fetch it again")
    return pixels


def _depth_and_kind(path: Path, data: bytes) -> tuple[int, int]:
    """Bits per sample and colour type of a PNG."""
    if len(data) < _PNG_START + 25 or data[1:4] != b"PNG":
        raise DatasetError(f"{path}: not a PNG file; labels must be PNG: other formats change values")
    return data[_PNG_START + 16], data[_PNG_START + 17]


def _palette_as_gray(data: bytes) -> bytes:
    """The same PNG with its indices as gray values: OpenCV would give the palette's colours.

    Only the header says so; a palette beside gray samples is not allowed and left out. Anything that is wrong
    with the file is left for the decoder to find.
    """
    out, position = bytearray(data[:_PNG_START]), _PNG_START
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        chunk, name = data[position:end], data[position + 4 : position + 8]
        if name == b"IHDR":
            body = bytearray(chunk[4:-4])
            intact = chunk[-4:] == struct.pack(">I", zlib.crc32(bytes(body)))
            body[4 + 9] = _GRAY
            chunk = chunk[:4] + bytes(body) + (struct.pack(">I", zlib.crc32(bytes(body))) if intact else chunk[-4:])
        if name not in (b"PLTE", b"tRNS", b"bKGD", b"hIST", b"sBIT"):
            out += chunk
        position = end
    return bytes(out)
