"""Bags written by hand, byte by byte or by other people's writers: nothing of the package under test."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
STRING = "std_msgs/msg/String"
UNKNOWN = "acme_msgs/msg/Secret"

DEFINITIONS = {
    STRING: "string data\n",
    UNKNOWN: "uint8[] whatever\n",
    IMAGE: "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
    "uint8[] data\n" + "=" * 80 + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n" + "=" * 80
    + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n",
}  # fmt: skip

_TIME = "\n    sec: 0\n    nsec: 0"
QOS = (
    f"- history: 1\n  depth: 5\n  reliability: 2\n  durability: 2\n  deadline:{_TIME}\n  lifespan:{_TIME}\n"
    f"  liveliness: 1\n  liveliness_lease_duration:{_TIME}\n  avoid_ros_namespace_conventions: false"
)


class Cdr:
    """XCDR1, little-endian: a value lies at a multiple of its size behind the 4-byte header."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, kind: str, *values: float) -> Cdr:
        size = struct.calcsize(f"<{kind}")
        for value in values:
            self._data += bytes(-len(self._data) % size) + struct.pack(f"<{kind}", value)
        return self

    def string(self, text: str) -> Cdr:
        data = text.encode() + b"\0"
        self.add("I", len(data))._data.extend(data)
        return self

    def header(self, stamp_ns: int, frame_id: str) -> Cdr:
        return self.add("i", stamp_ns // 10**9).add("I", stamp_ns % 10**9).string(frame_id)

    def octets(self, data: bytes) -> Cdr:
        self.add("I", len(data))._data.extend(data)
        return self

    def done(self) -> bytes:
        return b"\0\1\0\0" + bytes(self._data)


def cdr_image(stamp_ns: int, pixels: np.ndarray, encoding: str = "bgr8", frame_id: str = "cam") -> bytes:
    height, width = pixels.shape[:2]
    cdr = Cdr().header(stamp_ns, frame_id).add("I", height, width).string(encoding).add("B", 0)
    return cdr.add("I", pixels.strides[0]).octets(pixels.tobytes()).done()


def cdr_compressed(stamp_ns: int, kind: str, data: bytes, frame_id: str = "cam") -> bytes:
    return Cdr().header(stamp_ns, frame_id).string(kind).octets(data).done()


def cdr_string(text: str) -> bytes:
    return Cdr().string(text).done()


def cdr_camera_info(stamp_ns: int, width: int, height: int, focal_px: float) -> bytes:
    k = (focal_px, 0, width / 2, 0, focal_px, height / 2, 0, 0, 1)
    p = (focal_px, 0, width / 2, 0, 0, focal_px, height / 2, 0, 0, 0, 1, 0)
    cdr = Cdr().header(stamp_ns, "cam").add("I", height, width).string("plumb_bob").add("I", 0)
    cdr.add("d", *k, 1, 0, 0, 0, 1, 0, 0, 0, 1, *p).add("I", 0, 0)
    return cdr.add("I", 0, 0, 0, 0).add("B", 0).done()


class Reader:
    """Reads the same back."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = bytes(data), 4
        assert self._data[:4] == b"\0\1\0\0"

    def get(self, kind: str) -> Any:
        size = struct.calcsize(f"<{kind}")
        self._at += -(self._at - 4) % size
        self._at += size
        return struct.unpack_from(f"<{kind}", self._data, self._at - size)[0]

    def octets(self) -> bytes:
        size = self.get("I")
        self._at += size
        assert self._at <= len(self._data)
        return self._data[self._at - size : self._at]

    def string(self) -> str:
        data = self.octets()
        assert data.endswith(b"\0")
        return data[:-1].decode()

    def header(self) -> tuple[int, str]:
        stamp_ns = self.get("i") * 10**9 + self.get("I")
        return stamp_ns, self.string()


class ImageSeen(NamedTuple):
    stamp_ns: int
    frame_id: str
    encoding: str
    pixels: np.ndarray


def read_image(data: bytes) -> ImageSeen:
    cdr = Reader(data)
    stamp_ns, frame_id = cdr.header()
    height, width, encoding, _, step = cdr.get("I"), cdr.get("I"), cdr.string(), cdr.get("B"), cdr.get("I")
    pixels = np.frombuffer(cdr.octets(), np.uint8).reshape(height, step)
    return ImageSeen(stamp_ns, frame_id, encoding, pixels.reshape(height, width, -1))


class Message(NamedTuple):
    topic: str
    type_name: str
    log_ns: int
    data: bytes
    publish_ns: int
    sequence: int


def message(topic: str, type_name: str, log_ns: int, data: bytes, publish_ns: int = 0, sequence: int = 0) -> Message:
    return Message(topic, type_name, log_ns, data, publish_ns or log_ns, sequence)


def write_mcap(path: Path, messages: Iterable[Message], **options: Any) -> None:
    """By the mcap package, with these options of its writer."""
    writer_module = pytest.importorskip("mcap.writer", reason="bags are written with the mcap package")
    with path.open("wb") as file:
        writer = writer_module.Writer(file, **options)
        writer.start("ros2", "test")
        channels: dict[str, int] = {}
        schemas: dict[str, int] = {}
        for m in messages:
            if m.type_name not in schemas:
                text = DEFINITIONS.get(m.type_name, "").encode()
                schemas[m.type_name] = writer.register_schema(m.type_name, "ros2msg", text)
            if m.topic not in channels:
                metadata = {"offered_qos_profiles": QOS, "topic_type_hash": "RIHS01_00"}
                channels[m.topic] = writer.register_channel(m.topic, "cdr", schemas[m.type_name], metadata)
            writer.add_message(channels[m.topic], m.log_ns, m.data, m.publish_ns, m.sequence)
        writer.finish()


def read_mcap(path: Path) -> list[Message]:
    """By the mcap package, which checks every checksum."""
    reader_module = pytest.importorskip("mcap.reader", reason="bags are checked with the mcap package")
    with path.open("rb") as file:
        reader = reader_module.make_reader(file, validate_crcs=True)
        return [
            Message(c.topic, s.name, m.log_time, m.data, m.publish_time, m.sequence)
            for s, c, m in reader.iter_messages()
        ]


_SQL_HUMBLE = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL,
  offered_qos_profiles TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema VALUES (3, 'humble');
"""
_SQL_JAZZY = """
ALTER TABLE topics ADD COLUMN type_description_hash TEXT NOT NULL DEFAULT '';
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
  encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
"""


def write_sqlite(path: Path, messages: Sequence[Message], jazzy: bool = True) -> list[int]:
    """Tables as rosbag2 makes them; the file's size after every message was committed."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    db.executescript(_SQL_HUMBLE + (_SQL_JAZZY if jazzy else ""))
    topics: dict[str, int] = {}
    sizes = []
    for m in messages:
        if m.topic not in topics:
            topics[m.topic] = len(topics) + 1
            row = (topics[m.topic], m.topic, m.type_name, "cdr", QOS)
            db.execute(f"INSERT INTO topics VALUES (?, ?, ?, ?, ?{', ?' * jazzy})", (*row, "RIHS01_00")[: 5 + jazzy])
            if jazzy:
                definition = (m.type_name, "ros2msg", DEFINITIONS.get(m.type_name, ""), "RIHS01_00")
                db.execute("INSERT INTO message_definitions VALUES (NULL, ?, ?, ?, ?)", definition)
        row3 = (topics[m.topic], m.log_ns, m.data)
        db.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row3)
        db.commit()
        sizes.append(path.stat().st_size)
    db.close()
    return sizes


def write_metadata(folder: Path, files: Sequence[str], storage: str, compression_mode: str = "") -> None:
    """The part of a rosbag2 metadata.yaml that a reader needs."""
    lines = "".join(f"    - {name}\n" for name in files)
    (folder / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n"
        f"  version: 5\n  storage_identifier: {storage}\n  relative_file_paths:\n{lines}"
        "  duration:\n    nanoseconds: 1\n  starting_time:\n    nanoseconds_since_epoch: 0\n  message_count: 1\n"
        "  topics_with_message_count: []\n"
        f"  compression_format: '{'zstd' if compression_mode else ''}'\n  compression_mode: '{compression_mode}'\n"
    )
