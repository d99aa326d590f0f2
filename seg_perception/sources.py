"""Frames from wherever they are: a bag, a video file, a folder of images, or a simulated street."""

from __future__ import annotations

import itertools
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from seg_perception.errors import BagError, FrameError
from seg_perception.types import CompressedImage, Frame, RawImage

__all__ = [
    "SIMULATED",
    "BagSource",
    "FolderSource",
    "SimulatedSource",
    "Source",
    "VideoSource",
    "frame_of_rgb",
    "open_source",
]

SIMULATED = "simulated"
"""The name that stands for the simulated street."""

_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
_RATE_SAMPLE = 16
_FINEST_STAMP_NS = 1_000_000


class Source(Protocol):
    """Gives frames in order, each time it is iterated.

    Attributes:
        name: for people.
        length: how many frames; None if nobody knows, or without end.
        rate_hz: nominal frames per second; None if unknown.
        failed: messages that could not become a frame, by reason; others went on.
        losses: what of the input could not be read, one sentence each.
    """

    name: str
    length: int | None
    rate_hz: float | None
    failed: Counter[str]

    @property
    def losses(self) -> Sequence[str]:
        """What of the input could not be read, one sentence each."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Let go of the files."""


def open_source(
    path: str | os.PathLike[str] | None,
    topic: str | None = None,
    rate_hz: float = 10.0,
    seed: int = 0,
    size_wh: tuple[int, int] = (640, 480),
) -> Source:
    """Open whatever this is.

    Args:
        path: a rosbag2 bag (folder, .mcap or .db3), a video file, a folder of PNG or JPEG images; None or
            `simulated` is a street without end.
        topic: of a bag, where it has several image topics.
        rate_hz: of a simulated street, and of images whose names are no stamps.
        seed, size_wh: of a simulated street; pixels.

    Raises:
        BagError: there is nothing of the kind; the text says what was expected.
    """
    if path is None or path == SIMULATED:
        return SimulatedSource(seed, size_wh, rate_hz)
    # A bag needs rosbags, a video PyAV: neither is imported for the other.
    from seg_perception.bag.reader import is_bag

    place = Path(path)
    if not place.exists():
        expected = f"a rosbag2 bag, a video, a folder of images or {SIMULATED!r}"
        raise BagError(f"{place}: no such file or folder; expected {expected}")
    if is_bag(place):
        return BagSource(place, topic)
    return FolderSource(place, rate_hz) if place.is_dir() else VideoSource(place)


def frame_of_rgb(stamp_ns: int, frame_id: str, rgb: np.ndarray) -> Frame:
    """A frame of an RGB uint8 array `[H, W, 3]`, whose memory it shares if that is contiguous."""
    height, width = rgb.shape[:2]
    data = np.ascontiguousarray(rgb).reshape(-1)
    return Frame(stamp_ns, frame_id, RawImage(height, width, "rgb8", 3 * width, data))


class _Source:
    """What is the same for all."""

    def __init__(self, name: str, length: int | None = None, rate_hz: float | None = None) -> None:
        self.name, self.length, self.rate_hz = name, length, rate_hz
        self.failed: Counter[str] = Counter()

    @property
    def losses(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        """Let go of the files."""


class BagSource(_Source):
    """One camera of a bag."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
        from seg_perception.bag import Bag, RosbagsKit
        from seg_perception.bag.topics import FrameReader, find_camera

        self.bag = Bag(path)
        try:
            self.topics = find_camera(self.bag, topic)
            self._reader = FrameReader(self.bag, self.topics, RosbagsKit())
            super().__init__(f"{path} {self.topics.image.topic}", self.topics.image_count, self._rate())
        except BaseException:
            self.bag.close()
            raise

    @property
    def losses(self) -> Sequence[str]:
        return self.bag.losses

    def __iter__(self) -> Iterator[Frame]:
        for message in self.bag.messages(self._reader.topics):
            if self._reader.is_camera_info(message):
                self._reader.see_camera_info(message)
            elif self._reader.is_image(message):
                try:
                    frame = self._reader.frame(message)
                except FrameError as exc:
                    self.failed[exc.reason] += 1
                    continue
                yield frame

    def close(self) -> None:
        self.bag.close()

    def _rate(self) -> float | None:
        """From the median distance of the first images."""
        sample = itertools.islice(self.bag.messages([self.topics.image.topic]), _RATE_SAMPLE)
        return _rate_of([message.log_ns for message in sample])


class VideoSource(_Source):
    """A video file; stamps count from its first frame."""

    def __init__(self, path: Path) -> None:
        from seg_perception.video import read_frames

        self._path, self._read = path, read_frames
        self._losses: list[str] = []
        stamps = [stamp_ns for stamp_ns, _ in itertools.islice(self._frames(), _RATE_SAMPLE)]
        super().__init__(str(path), None, _rate_of(stamps))

    @property
    def losses(self) -> Sequence[str]:
        return self._losses

    def __iter__(self) -> Iterator[Frame]:
        for stamp_ns, rgb in self._frames():
            yield frame_of_rgb(stamp_ns, "camera", rgb)

    def _frames(self) -> Iterator[tuple[int, np.ndarray]]:
        count = 0
        try:
            for item in self._read(self._path):
                count += 1
                yield item
        except BagError as exc:  # cut short: what was whole has been given
            if not count:
                raise
            if str(exc) not in self._losses:
                self._losses.append(str(exc))


class FolderSource(_Source):
    """A folder of PNG and JPEG images, in the order of their names, `image_10` after `image_9`.

    Where every name is a number of nanoseconds, these are the stamps; numbers less than a millisecond apart
    are counters. Else the images are 1 / rate_hz apart.
    """

    def __init__(self, folder: Path, rate_hz: float) -> None:
        from seg_perception.bag.reader import natural_key

        found = (path for path in folder.iterdir() if path.suffix.lower() in _FORMATS and path.is_file())
        self._paths = sorted(found, key=lambda path: natural_key(path.name))
        if not self._paths:
            raise BagError(f"{folder}: expected a rosbag2 bag or a folder of PNG or JPEG images, found neither")
        stamps = _stamps_of([path.stem for path in self._paths])
        self._stamps_ns = stamps or [round(i * 1e9 / rate_hz) for i in range(len(self._paths))]
        super().__init__(str(folder), len(self._paths), _rate_of(self._stamps_ns) or rate_hz)

    def __iter__(self) -> Iterator[Frame]:
        for path, stamp_ns in zip(self._paths, self._stamps_ns):
            try:
                data = path.read_bytes()
            except OSError:
                self.failed["unreadable"] += 1
                continue
            yield Frame(stamp_ns, "camera", CompressedImage(_FORMATS[path.suffix.lower()], data))


class SimulatedSource(_Source):
    """A simulated street; without end."""

    def __init__(self, seed: int, size_wh: tuple[int, int], rate_hz: float) -> None:
        from seg_perception.simulate import StreetScene

        super().__init__(f"simulated street, seed {seed}", None, rate_hz)
        self.scene = StreetScene(seed=seed, width_px=size_wh[0], height_px=size_wh[1], rate_hz=rate_hz)

    def __iter__(self) -> Iterator[Frame]:
        for index in itertools.count():
            seen = self.scene.frame(index)
            frame = frame_of_rgb(seen.stamp_ns, "camera", seen.rgb)
            yield Frame(frame.stamp_ns, frame.frame_id, frame.image, seen.camera)


def _rate_of(stamps_ns: Sequence[int]) -> float | None:
    """Frames per second from the median distance of stamps."""
    gaps = [after - before for before, after in zip(stamps_ns, stamps_ns[1:]) if after > before]
    return 1e9 / statistics.median(gaps) if gaps else None


def _stamps_of(stems: Sequence[str]) -> list[int] | None:
    """Stamps from file names; None where they are none."""
    if not all(stem.isdecimal() and stem.isascii() and (stem == "0" or stem[0] != "0") for stem in stems):
        return None
    stamps = [int(stem) for stem in stems]
    close = any(after - before < _FINEST_STAMP_NS for before, after in zip(stamps, stamps[1:]))
    return None if close or max(stamps) >= 2**63 else stamps
