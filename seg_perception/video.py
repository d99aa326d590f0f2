"""Video files in and out: H.264 in MP4 that every browser plays, and whatever FFmpeg can read.

PyAV (`av`) is imported when a file is opened, not before: the rest of the package runs without it.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from seg_perception.errors import BagError

__all__ = ["VideoWriter", "read_frames"]

_TICKS_PER_S = 90_000  # the usual clock of video; a whole number of ticks for all common rates
_BT601, _BT709, _LIMITED_RANGE = 6, 1, 1  # ISO/IEC 23091-2 code points


def _import_av() -> Any:
    try:
        import av
    except ImportError as exc:
        raise BagError(f"video files need PyAV, which cannot be imported ({exc}); pip install av") from exc
    return av


class VideoWriter:
    """Writes an MP4 that a browser plays: H.264 High, yuv420p, index in front (faststart).

    The file has its name only once it is whole: until `close` it is `<name>.part` beside it. H.264 wants even
    sizes: an odd width or height grows by one, the last column or row repeated.

    Args:
        path: of the MP4; its folder must exist; an existing file is replaced.
        size_wh: width and height of the frames, pixels.
        rate_hz: frames per second, for frames without stamps and as the file's nominal rate.

    Raises:
        BagError: PyAV or its H.264 encoder is missing, or the file cannot be written.
        ValueError: size or rate make no sense.
    """

    def __init__(self, path: str | Path, size_wh: tuple[int, int], rate_hz: float) -> None:
        if min(size_wh) < 1 or not (math.isfinite(rate_hz) and rate_hz > 0):
            raise ValueError(f"size_wh and rate_hz must be above 0, got {size_wh} and {rate_hz}")
        self._av = _import_av()
        self.path = Path(path)
        self.size_wh = size_wh
        self.frames = 0
        self._part = self.path.with_name(self.path.name + ".part")
        self._period_ticks = max(1, round(_TICKS_PER_S / rate_hz))
        self._last_ticks = -self._period_ticks
        self._origin_ns: int | None = None
        self._file: Any = None
        if "libx264" not in self._av.codecs_available:
            raise BagError(f"{self.path}: this PyAV has no H.264 encoder (libx264); pip install av")
        try:
            self._part.write_bytes(b"")  # FFmpeg would notice only at the first frame that it cannot write here
            self._file = self._av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
            self._stream = self._add_stream(rate_hz)
        except (self._av.error.FFmpegError, OSError, ValueError) as exc:
            self._discard()
            raise BagError(f"{self.path}: cannot write a video here: {exc}") from exc

    def _add_stream(self, rate_hz: float) -> Any:
        stream = self._file.add_stream("libx264", rate=Fraction(rate_hz).limit_denominator(1001))
        stream.width, stream.height = (side + side % 2 for side in self.size_wh)
        stream.pix_fmt = "yuv420p"
        keyframe_every = max(1, round(2 * _TICKS_PER_S / self._period_ticks))  # two seconds: seeking stays quick
        stream.options = {"crf": "20", "preset": "veryfast", "profile": "high", "g": str(keyframe_every)}
        codec = stream.codec_context
        codec.time_base = Fraction(1, _TICKS_PER_S)
        # swscale's own matrix, said aloud: a player that has to guess may take BT.709.
        codec.colorspace, codec.color_range = _BT601, _LIMITED_RANGE
        codec.color_primaries, codec.color_trc = _BT709, _BT709
        return stream

    def write(self, rgb: np.ndarray, stamp_ns: int | None = None) -> None:
        """Append one frame.

        Args:
            rgb: uint8 `[H, W, 3]` of the writer's size.
            stamp_ns: when the frame was taken, on any clock, nanoseconds; None is one period after the last frame.
                A frame whose stamp is not after the last one's follows it immediately.

        Raises:
            BagError: the file cannot be written.
            ValueError: wrong shape or type, or the writer is closed.
        """
        width, height = self.size_wh
        if rgb.dtype != np.uint8 or rgb.shape != (height, width, 3):
            raise ValueError(f"rgb must be uint8 [{height}, {width}, 3], got {rgb.dtype} {list(rgb.shape)}")
        if self._file is None:
            raise ValueError(f"{self.path}: the video is closed")
        if width % 2 or height % 2:
            rgb = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="yuv420p")
        frame.time_base = Fraction(1, _TICKS_PER_S)
        frame.pts = self._last_ticks = self._ticks(stamp_ns)
        self._encode(frame)
        self.frames += 1

    def _ticks(self, stamp_ns: int | None) -> int:
        following = self._last_ticks + self._period_ticks
        if stamp_ns is None:
            return following
        if self._origin_ns is None:
            self._origin_ns = stamp_ns - following * 1_000_000_000 // _TICKS_PER_S
        ticks = round((stamp_ns - self._origin_ns) * _TICKS_PER_S / 1_000_000_000)
        return max(ticks, self._last_ticks + 1)

    def _encode(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._file.mux(packet)
        except (self._av.error.FFmpegError, OSError) as exc:
            raise BagError(f"{self.path}: cannot write the video: {exc}") from exc

    def close(self) -> None:
        """Finish the file and give it its name; without a frame there is no file. Safe to call again.

        Raises:
            BagError: the file cannot be written.
        """
        if self._file is None:
            return
        try:
            if self.frames:
                self._encode(None)
                self._file.close()
                self._file = None
                os.replace(self._part, self.path)
        except (self._av.error.FFmpegError, OSError) as exc:
            raise BagError(f"{self.path}: cannot finish the video: {exc}") from exc
        finally:
            self._discard()

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(self._av.error.FFmpegError, OSError):  # unfinished, about to be removed
                file.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_frames(path: str | Path) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a video file in the order they are shown, as (stamp_ns, rgb); of a file with several videos, the first.

    `stamp_ns` counts from the first frame; rgb is uint8 `[H, W, 3]`, as stored: a display rotation is not applied,
    for a camera's calibration speaks of the sensor's rows and columns. The file is opened at once, read as you go.

    Raises:
        BagError: at once where there is no file, or it is no video; from the iterator, after the frames that can be
            read, where it is truncated or damaged. (A format without an index, such as MKV, cut short merely ends.)
    """
    av = _import_av()
    path = Path(path)
    if not path.is_file():
        raise BagError(f"{path}: no file of this name; expected a video")
    try:
        file = av.open(str(path.resolve()))  # absolute, so that no name is taken for a network address
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        raise BagError(f"{path}: not a video, or cut short so that nothing of it can be read: {exc}") from exc
    if not file.streams.video or file.format.name == "tty":  # FFmpeg would draw a text file
        file.close()
        raise BagError(f"{path}: no video in this file; expected MP4, MKV, AVI or another that FFmpeg reads")
    return _frames(av, file, path)


def _frames(av: Any, file: Any, path: Path) -> Iterator[tuple[int, np.ndarray]]:
    with file:
        stream = file.streams.video[0]
        stream.thread_type = "AUTO"
        rate_hz = float(stream.average_rate or 25)
        first_s: Fraction | None = None
        count, stamp_ns = 0, 0
        for frame in _decoded(av, file, stream, path):
            if frame.pts is None:
                stamp_ns = round(count * 1e9 / rate_hz)
            else:
                time_s = frame.pts * stream.time_base
                first_s = time_s if first_s is None else first_s
                stamp_ns = round((time_s - first_s) * 1_000_000_000)
            yield stamp_ns, frame.to_ndarray(format="rgb24")
            count += 1
        if not count:
            raise BagError(f"{path}: a video without a single frame that can be read")
        missing_s = float((stream.duration or 0) * stream.time_base) - stamp_ns / 1e9
        if count < stream.frames and missing_s > 2.5 / rate_hz:
            raise BagError(f"{path}: truncated: {count} of {stream.frames} frames are there; copy the file again")


def _decoded(av: Any, file: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Every frame that can be decoded; then BagError if the file goes on but cannot be read."""
    damage = ""
    try:
        for packet in file.demux(stream):
            if packet.is_corrupt:
                damage = "a packet is cut short"
                break
            yield from packet.decode()
    except av.error.FFmpegError as exc:
        damage = str(exc)
    if damage:
        with contextlib.suppress(av.error.FFmpegError):  # raised where the decoder holds nothing back
            yield from stream.codec_context.decode(None)
        raise BagError(f"{path}: truncated or damaged: {damage}; copy the file again")
