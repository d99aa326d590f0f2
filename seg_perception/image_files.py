"""What a JPEG or PNG file declares, and whether it is whole: looked at before a decoder is let loose on it.

A decoder allocates what the header asks for, and OpenCV's fills a truncated JPEG with grey and says nothing (or
says it on stderr). So size and structure are judged here, in one pass over the file that allocates nothing.
A JPEG has no checksum: damage inside its entropy-coded data that leaves the structure whole is not seen.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from seg_perception.errors import FrameError

__all__ = ["check_size", "corrupt", "inspect"]

# A marker that ends entropy-coded data: neither a stuffed zero, nor fill, nor a restart.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset((0x01, 0xD8))
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_JPEG_MAX_SCANS = 100  # a decoder goes over the whole picture once for each; encoders write about ten
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def check_size(what: str, width: int, height: int, max_pixels: int) -> None:
    """FrameError `zero_size` or `too_large`, unless 1 <= width * height <= max_pixels."""
    if width <= 0 or height <= 0:
        raise FrameError("zero_size", f"{what}: {width}x{height} pixels; expected at least 1x1; check the driver")
    if width * height > max_pixels:
        raise FrameError(
            "too_large",
            f"{what}: {width}x{height} is {width * height / 1e6:.1f} million pixels, at most {max_pixels / 1e6:g} are "
            "allowed; if the camera really is that large, raise max_image_mpx",
        )


def corrupt(what: str) -> FrameError:
    """The error to raise for a JPEG or PNG file that is not whole."""
    return FrameError(
        "corrupt_compressed",
        f"compressed image: {what}; expected a whole JPEG or PNG; look for lost packets between the camera and here",
    )


def inspect(data: memoryview, name: str, max_pixels: int) -> tuple[int, int]:
    """Height and width of a whole JPEG or PNG file. Its first bytes decide which it is, not its name.

    Args:
        data: the file, uint8.
        name: the message's format, for the error's text.
        max_pixels: width * height above which the file is refused.

    Raises:
        FrameError: `unknown_format`, `corrupt_compressed` (truncated or damaged), `zero_size` or `too_large`.
    """
    if not data:
        raise corrupt("no data")
    start = bytes(data[:8])
    if start[:2] == b"\xff\xd8":
        return _inspect_jpeg(data, max_pixels)
    if start[:4] == _PNG_SIGNATURE[:4]:
        return _inspect_png(data, max_pixels)
    raise FrameError(
        "unknown_format",
        f"compressed image of format {name!r} starts with {start.hex(' ')}, which is neither JPEG (ff d8) "
        "nor PNG (89 50 4e 47); set the publisher's format to jpeg or png",
    )


def _inspect_jpeg(data: memoryview, max_pixels: int) -> tuple[int, int]:
    size, scans = None, 0
    for marker, payload in _jpeg_segments(data):
        if marker in _JPEG_FRAME_HEADERS:
            size = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
            check_size("JPEG", size[1], size[0], max_pixels)
        scans += marker == _JPEG_SCAN
        if scans > _JPEG_MAX_SCANS:
            raise corrupt(f"JPEG with more than {_JPEG_MAX_SCANS} scans")
    if size is None or not scans:
        raise corrupt("JPEG without a picture")
    return size


def _jpeg_segments(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Marker and payload of every segment (ITU-T T.81, annex B) up to the end of the image.

    What follows the end does not matter: cameras pad their buffers.
    """
    position = 2
    while True:
        match = _JPEG_MARKER.search(data, position)
        if match is None:
            raise corrupt(f"JPEG truncated after {len(data)} bytes: no end-of-image marker")
        marker, position = data[match.start() + 1], match.end()
        if marker == _JPEG_END:
            return
        if marker in _JPEG_WITHOUT_LENGTH:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or position + length > len(data):
            raise corrupt(f"JPEG truncated or damaged at byte {position}, in segment ff {marker:02x}")
        yield marker, data[position + 2 : position + length]
        position += length


def _inspect_png(data: memoryview, max_pixels: int) -> tuple[int, int]:
    size, has_pixels = None, False
    for name, payload in _png_chunks(data):
        if size is None:
            if name != b"IHDR" or len(payload) != 13:
                raise corrupt("PNG without its header")
            size = int.from_bytes(payload[4:8], "big"), int.from_bytes(payload[:4], "big")
            check_size("PNG", size[1], size[0], max_pixels)
        has_pixels |= name == b"IDAT"
    if size is None or not has_pixels:
        raise corrupt("PNG without a picture")
    return size


def _png_chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Name and payload of every chunk before IEND, its checksum verified (PNG specification, section 5)."""
    if bytes(data[:8]) != _PNG_SIGNATURE:
        raise corrupt("PNG with a damaged signature")
    position = 8
    while True:
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(data):
            raise corrupt(f"PNG truncated: {len(data)} bytes, its chunks need at least {end + 4}")
        name = bytes(data[position + 4 : position + 8])
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise corrupt(f"PNG damaged: checksum of chunk {name!r} at byte {position} is wrong")
        if name == b"IEND":
            return
        yield name, data[position + 8 : end]
        position = end + 4
