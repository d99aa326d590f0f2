"""One sqlite3 file of a rosbag2 bag, whole or not.

A first pass looks at row numbers, topics and times only; each message is then fetched by its row number, so
that one damaged page costs the messages on it and no others.
"""

from __future__ import annotations

import logging
import sqlite3
from array import array
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from seg_perception.bag.records import Connection, RawMessage, Record
from seg_perception.bag.sqlite_tail import CutPage
from seg_perception.errors import BagError

__all__ = ["SQLITE_MAGIC", "SqliteFile"]

_LOG = logging.getLogger("seg_perception.bag")

SQLITE_MAGIC = b"SQLite format 3\0"

_SINGLE_STEPS = 1024
"""So many damaged rows are stepped over one by one before the steps grow."""

_LAST_ROW = 2**63 - 1


class SqliteFile:
    """See records.Storage.

    Raises:
        BagError: there is no such file, or it is no sqlite3 file with a bag's tables.
    """

    def __init__(self, path: Path) -> None:
        self.losses: list[str] = []
        self._path = path
        self._cut_page = self._check_size()
        self._db = self._connect()
        try:
            self._topics = self._read_topics()
            self._rows, self._topic_ids, self._times = self._read_index()
        except sqlite3.Error as exc:
            self._db.close()
            raise BagError(f"{path}: not a readable rosbag2 database: {exc}; try `sqlite3 FILE .recover`") from exc
        except BaseException:
            self._db.close()
            raise
        counts = dict(zip(*np.unique(self._topic_ids, return_counts=True)))
        self._by_id = {i: self._connection(row, int(counts.get(i, 0))) for i, row in self._topics.items()}

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every topic."""
        return tuple(self._by_id.values())

    @property
    def start_ns(self) -> int:
        """Log time of the first message; 0 if there is none."""
        return int(self._times.min()) if len(self._times) else 0

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def records(self) -> Iterator[Record]:
        """There are none in this format."""
        return iter(())

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """Messages in the order of their log time; of these topics only, if given."""
        wanted = [i for i, c in self._by_id.items() if topics is None or c.topic in topics]
        order = np.lexsort((self._rows, self._times))
        order = order[np.isin(self._topic_ids[order], np.array(wanted, np.int64))]
        torn = self._torn_rows()
        damaged = 0
        for index in order:
            row = int(self._rows[index])
            data = self._data(row)
            if data is None or row in torn:
                damaged += 1
                continue
            log_ns = int(self._times[index])
            yield RawMessage(self._by_id[int(self._topic_ids[index])], log_ns, log_ns, memoryview(data))
        if damaged:
            self._lose(f"{damaged} of {len(order)} messages are damaged")

    def _data(self, row: int) -> bytes | None:
        try:
            found = self._db.execute("SELECT data FROM messages WHERE rowid = ?", (row,)).fetchone()
        except sqlite3.Error:
            return None
        return found[0] if found and isinstance(found[0], bytes) else None

    def _torn_rows(self) -> frozenset[int]:
        """Rows that seem whole to SQLite, but lie in part behind the end of the file."""
        page = self._cut_page
        if page is None:
            return frozenset()
        columns = "coalesce(length(data), 0), topic_id, timestamp"
        size = f"SELECT rowid, {columns} FROM messages WHERE rowid = ?"
        for row in map(int, self._rows[::-1]):
            try:
                _, length, topic, time_ns = self._db.execute(size, (row,)).fetchone()
            except (sqlite3.Error, TypeError):
                continue
            payload_bytes = _row_bytes((topic, time_ns), length)
            if payload_bytes > page.usable_bytes - 35:
                data = self._data(row)
                return page.torn_rows | ({row} if data is not None and page.ends(data, payload_bytes) else set())
        return page.torn_rows

    def _lose(self, what: str) -> None:
        """Say, once, what is missing."""
        text = f"{self._path.name}: {what}"
        if text not in self.losses:
            self.losses.append(text)
            _LOG.warning(text)

    def _check_size(self) -> CutPage | None:
        """Compare the header with the file; the page in which it was cut, if it was cut within one."""
        try:
            size = self._path.stat().st_size
            with self._path.open("rb") as file:
                head = file.read(100)
                page_size = int.from_bytes(head[16:18], "big")
                page_size = 65536 if page_size == 1 else max(page_size, 512)
                file.seek(size - size % page_size)
                tail = file.read()
        except OSError as exc:
            raise BagError(f"{self._path}: {exc.strerror}") from exc
        if not head.startswith(SQLITE_MAGIC) or len(head) < 100:
            what = f"starts with {head[:16]!r}" if head else "is empty"
            raise BagError(f"{self._path}: expected an sqlite3 file, but it {what}; record or copy it again")
        promised = int.from_bytes(head[28:32], "big") * page_size
        if size < promised:
            self._lose(f"cut off: {size} of {promised} bytes are there")
        return CutPage(tail, page_size - head[20]) if tail else None

    def _connect(self) -> sqlite3.Connection:
        """Open without ever writing; with the write-ahead log of an unfinished recording where that can be read."""
        error: sqlite3.Error | None = None
        for mode in ("mode=ro", "immutable=1"):
            db = sqlite3.connect(f"{self._path.resolve().as_uri()}?{mode}", uri=True, check_same_thread=False)
            db.text_factory = lambda data: data.decode("utf-8", "replace")
            try:
                db.execute("PRAGMA writable_schema = ON")  # a file that is cut opens with this only
                db.execute("PRAGMA trusted_schema = OFF")
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return db
            except sqlite3.Error as exc:
                error = exc
                db.close()
        raise BagError(f"{self._path}: not a readable sqlite3 file: {error}; try `sqlite3 FILE .recover`") from error

    def _read_topics(self) -> dict[int, sqlite3.Row]:
        """Rows of the table `topics` by id. The tables must be tables: a view could compute for ever."""
        tables = {
            name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
        }
        missing = {"topics", "messages"} - tables
        if missing:
            raise BagError(f"{self._path}: no table {sorted(missing)[0]!r}; this is no rosbag2 bag")
        self._definitions = self._read_definitions() if "message_definitions" in tables else {}
        cursor = self._db.cursor()
        cursor.row_factory = sqlite3.Row
        return {int(row["id"]): row for row in cursor.execute("SELECT * FROM topics ORDER BY id")}

    def _read_definitions(self) -> dict[str, tuple[str, bytes]]:
        """Encoding and text by type name."""
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        try:
            return {name: (encoding, str(text).encode()) for name, encoding, text in self._db.execute(query)}
        except sqlite3.Error as exc:
            self._lose(f"the message definitions cannot be read: {exc}")
            return {}

    def _connection(self, row: sqlite3.Row, count: int) -> Connection:
        fields = dict(row)
        encoding, definition = self._definitions.get(fields["type"], ("", b""))
        metadata = {"offered_qos_profiles": str(fields.get("offered_qos_profiles") or "")}
        if fields.get("type_description_hash"):
            metadata["topic_type_hash"] = str(fields["type_description_hash"])
        return Connection(
            topic=str(fields["name"]),
            type_name=str(fields["type"]),
            message_encoding=str(fields["serialization_format"]),
            definition=definition,
            definition_encoding=encoding,
            metadata=metadata,
            count=count,
        )

    def _read_index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row number, topic id and time of every row that can be read; int64 arrays of one length."""
        columns = rows, topics, times = array("q"), array("q"), array("q")
        last, steps, gap, strange = -_LAST_ROW, 0, 1, 0
        query = "SELECT rowid, topic_id, timestamp FROM messages WHERE rowid > ? ORDER BY rowid"
        while last + gap < _LAST_ROW:
            try:
                for row, topic, time_ns in self._db.execute(query, (last,)):
                    if row <= last or topic not in self._topics or not _is_time(time_ns):
                        strange += 1
                        continue
                    last, steps, gap = row, 0, 1
                    rows.append(row)
                    topics.append(topic)
                    times.append(time_ns)
                break
            except sqlite3.Error as exc:
                self._lose(f"damaged after {len(rows)} messages ({exc}): what follows is read as far as it is whole")
                last, steps = max(last, 0) + gap, steps + 1
                gap = 1 if steps < _SINGLE_STEPS else gap * 2
        if strange:
            self._lose(f"{strange} messages without a known topic or time")
        return tuple(np.frombuffer(column, np.int64) for column in columns)  # type: ignore[return-value]


def _is_time(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _row_bytes(integers: tuple[int, ...], blob_bytes: int) -> int:
    """Size of a row (NULL, integers, blob) as SQLite stores it: its header, then its values."""
    header = 2 + len(integers) + _varint_bytes(blob_bytes * 2 + 12)
    return header + sum(map(_integer_bytes, integers)) + blob_bytes


def _varint_bytes(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))


def _integer_bytes(value: int) -> int:
    if value in (0, 1):
        return 0
    bits = (value if value >= 0 else ~value).bit_length() + 1
    return next(size for size in (1, 2, 3, 4, 6, 8) if bits <= 8 * size)
