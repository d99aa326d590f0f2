"""A rosbag2 bag: a folder with metadata.yaml, a folder that lost it, or a single .mcap or .db3 file."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from seg_perception.bag.compression import ZSTD_MAGIC, decompress, decompress_file
from seg_perception.bag.mcap_format import MAGIC as MCAP_MAGIC
from seg_perception.bag.mcap_reader import McapFile
from seg_perception.bag.records import MAX_BLOCK_BYTES, Block, Connection, RawMessage, Record, Storage, merge_by_time
from seg_perception.bag.sqlite_reader import SQLITE_MAGIC, SqliteFile
from seg_perception.errors import BagError

__all__ = ["Bag", "is_bag", "natural_key"]

_LOG = logging.getLogger("seg_perception.bag")

_STORAGES: tuple[tuple[bytes, Callable[[Path], Storage]], ...] = (
    (MCAP_MAGIC, McapFile),
    (SQLITE_MAGIC, SqliteFile),
)
_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_ROS1_MAGIC = b"#ROSBAG V"
_METADATA_MAX_BYTES = 64 << 20


def is_bag(path: Path) -> bool:
    """Does this look like a bag, by its name or its first bytes? Whether it can be read is another matter."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_bag_files(path))
    return path.name.endswith(_SUFFIXES) or _head(path).startswith((MCAP_MAGIC, SQLITE_MAGIC, _ROS1_MAGIC))


class Bag:
    """Reads a bag as far as it is whole. Use it as a context manager, or close it.

    Attributes:
        path: as given.
        losses: what could not be read, one sentence each; grows while messages are read. Each is logged, too.

    Raises:
        BagError: nothing at all can be read; the text says what was expected and how to repair it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._own_losses: list[str] = []
        self._files: list[Storage] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._open()
            self._connections = self._unify()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    @property
    def losses(self) -> tuple[str, ...]:
        return (*self._own_losses, *(loss for file in self._files for loss in file.losses))

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every topic, in the order of the files; `count` is over all of them."""
        return tuple(self._connections.values())

    @property
    def message_count(self) -> int:
        """Messages of all topics, as far as the files know."""
        return sum(connection.count for connection in self.connections)

    @property
    def start_ns(self) -> int:
        """Log time of the first message; 0 if there is none."""
        return min((f.start_ns for f in self._files if any(c.count for c in f.connections)), default=0)

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """Messages in the order of their log time; of these topics only, if given."""
        damaged = 0
        for message in merge_by_time(Block(f.start_ns, partial(f.messages, topics)) for f in self._files):
            connection = self._connections.setdefault(message.connection.key, message.connection)
            data = message.data
            if data[:4] == ZSTD_MAGIC and connection.message_encoding == "cdr":  # rosbag2's compression by message
                data, complaint = decompress(data, "zstd", MAX_BLOCK_BYTES)
                if complaint:
                    damaged += 1
                    continue
            yield message._replace(connection=connection, data=data)
        if damaged:
            self._lose(f"{damaged} messages could not be decompressed")

    def records(self) -> Iterator[Record]:
        """Attachments and metadata that belong to no topic."""
        for file in self._files:
            yield from file.records()

    def _lose(self, what: str) -> None:
        text = f"{self.path.name}: {what}"
        if text not in self._own_losses:
            self._own_losses.append(text)
            _LOG.warning(text)

    def _open(self) -> None:
        if not self.path.exists():
            raise BagError(f"{self.path}: no such file or folder; expected a rosbag2 bag")
        if not self.path.is_dir():
            self._files.append(self._open_file(self.path))
            return
        paths = self._listed_files()
        if not paths:
            raise BagError(f"{self.path}: expected a rosbag2 bag, found no .mcap or .db3 file in this folder")
        for path in paths:
            try:
                self._files.append(self._open_file(path))
            except BagError as exc:
                self._lose(str(exc))
        if not self._files:
            raise BagError(f"{self.path}: none of its files can be read: {'; '.join(self._own_losses)}")

    def _open_file(self, path: Path) -> Storage:
        head = _head(path)
        if head.startswith(ZSTD_MAGIC):
            path = self._unpacked(path)
            head = _head(path)
        for magic, storage in _STORAGES:
            if head.startswith(magic):
                return storage(path)
        if head.startswith(_ROS1_MAGIC):
            raise BagError(f"{path}: expected a rosbag2 bag, got one of ROS 1; convert it: rosbags-convert --help")
        what = f"starts with {head!r}" if head else "is empty: nothing of it was ever written"
        raise BagError(f"{path}: expected a rosbag2 bag (MCAP or sqlite3), but it {what}")

    def _unpacked(self, path: Path) -> Path:
        """A bag file that rosbag2 compressed as a whole, in a temporary folder."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="seg_perception-")
        target = Path(self._scratch.name) / path.name.removesuffix(".zstd")
        complaint = decompress_file(path, target)
        if complaint:
            self._lose(f"{path.name}: {complaint}")
        return target

    def _listed_files(self) -> list[Path]:
        """What metadata.yaml lists, in its order; without it, every bag file in the folder."""
        present = _bag_files(self.path)
        try:
            information = _read_metadata(self.path / "metadata.yaml")
            listed = [self.path / Path(name).name for name in information["relative_file_paths"]]
        except (BagError, KeyError, TypeError, ValueError) as exc:
            self._lose(f"metadata.yaml is missing or damaged ({exc}): reading all {len(present)} files beside it")
            return present
        for path in listed:
            if not path.is_file():
                self._lose(f"{path.name} is listed in metadata.yaml, but missing: its messages are lost")
        return [path for path in listed if path.is_file()] or present

    def _unify(self) -> dict[tuple[object, ...], Connection]:
        """One connection for a topic that is in several files; its messages counted together."""
        unified: dict[tuple[object, ...], Connection] = {}
        for file in self._files:
            for found in file.connections:
                known = unified.get(found.key)
                unified[found.key] = found if known is None else known.joined(found)
        return unified


def natural_key(name: str) -> tuple[object, ...]:
    """Sorts `image_10` behind `image_9`."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as exc:
        raise BagError(f"{path}: {exc.strerror}") from exc


def _bag_files(folder: Path) -> list[Path]:
    """Bag files in a folder, `x_10` after `x_9`."""
    found = (path for path in folder.iterdir() if path.is_file() and path.name.endswith(_SUFFIXES))
    return sorted(found, key=lambda path: natural_key(path.name))


def _read_metadata(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _METADATA_MAX_BYTES:
            raise BagError(f"larger than {_METADATA_MAX_BYTES} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
        information: Mapping[str, Any] = content["rosbag2_bagfile_information"]
        return information
    except OSError as exc:
        raise BagError(str(exc.strerror)) from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise BagError("not valid YAML") from exc
