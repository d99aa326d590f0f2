"""Bags that a robot could not finish, and files that are no bags."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from bags import STRING, Message, cdr_string, message, write_mcap, write_metadata, write_sqlite

from seg_perception.bag.reader import Bag, is_bag
from seg_perception.errors import BagError

RNG = np.random.default_rng(11)


def some_messages(count: int) -> list[Message]:
    """Some short, some of several sqlite3 pages, all different."""
    sizes = [40, 300, 5000, 12_000, 900]
    return [message("/data", STRING, 1000 + i, RNG.bytes(sizes[i % 5] + i), 1000 + i, i) for i in range(count)]


def read(path: Path) -> tuple[list[Message], tuple[str, ...]]:
    with Bag(path) as bag:
        found = [
            Message(m.connection.topic, m.connection.type_name, m.log_ns, bytes(m.data), m.publish_ns, m.sequence)
            for m in bag.messages()
        ]
        return found, bag.losses


def mcap_spans(data: bytes) -> list[tuple[int, int, int, int]]:
    """(opcode, start, end, log time) of every record outside chunks, up to DataEnd; a second, plain parser."""
    spans, at = [], 8
    while data[at] != 0x0F:
        opcode, length = struct.unpack_from("<BQ", data, at)
        end = at + 9 + length
        log_ns = struct.unpack_from("<Q", data, at + 9 + 6)[0] if opcode == 5 else -1
        spans.append((opcode, at, end, log_ns))
        at = end
    return spans


MCAP_CUTS = [0.0, 0.01, 0.1, 0.25, 0.333, 0.5, 0.62, 0.75, 0.87, 0.95, 0.99, 0.999]


@pytest.mark.parametrize("share", MCAP_CUTS)
@pytest.mark.parametrize("extra", [0, 1, 5, 9])
def test_cut_mcap_without_chunks_gives_every_whole_message(tmp_path: Path, share: float, extra: int) -> None:
    messages = some_messages(30)
    write_mcap(tmp_path / "whole.mcap", messages, use_chunking=False)
    data = (tmp_path / "whole.mcap").read_bytes()
    spans = mcap_spans(data)
    first = next(start for opcode, start, _, _ in spans if opcode == 5)
    cut = first + int(share * (spans[-1][2] - first)) + extra
    (tmp_path / "cut.mcap").write_bytes(data[:cut])
    times = [log_ns for opcode, _, end, log_ns in spans if opcode == 5 and end <= cut]
    found, losses = read(tmp_path / "cut.mcap")
    assert found == [m for m in messages if m.log_ns in times]
    assert "not finished" in losses[0]


@pytest.mark.parametrize("compression", ["NONE", "ZSTD", "LZ4"])
@pytest.mark.parametrize("share", MCAP_CUTS)
def test_cut_mcap_gives_every_whole_chunk_and_what_is_whole_of_the_last(
    tmp_path: Path, share: float, compression: str
) -> None:
    writer_module = pytest.importorskip("mcap.writer")
    messages = some_messages(60)
    kind = writer_module.CompressionType[compression]
    write_mcap(tmp_path / "whole.mcap", messages, chunk_size=20_000, compression=kind)
    data = (tmp_path / "whole.mcap").read_bytes()
    chunks = [span for span in mcap_spans(data) if span[0] == 6]
    assert len(chunks) >= 8
    cut = int(share * chunks[-1][2])
    (tmp_path / "cut.mcap").write_bytes(data[:cut])
    if cut < 8:
        with pytest.raises(BagError, match="expected"):
            read(tmp_path / "cut.mcap")
        return
    found, losses = read(tmp_path / "cut.mcap")
    assert found == messages[: len(found)]
    ends = [struct.unpack_from("<Q", data, start + 9 + 8)[0] for _, start, end, _ in chunks if end <= cut]
    assert len(found) >= (messages.index(next(m for m in messages if m.log_ns == ends[-1])) + 1 if ends else 0)
    assert "not finished" in losses[0]
    if compression == "NONE":  # nothing of the last chunk is hidden in a compressed block
        inside = sum(len(m.data) + 31 for m in messages)
        assert len(found) >= int(share * len(messages) * 0.9) - 5, inside


def test_cut_chunk_is_read_up_to_the_cut(tmp_path: Path) -> None:
    writer_module = pytest.importorskip("mcap.writer")
    messages = [message("/data", STRING, i, RNG.bytes(1000)) for i in range(1000)]
    for name in ("NONE", "ZSTD", "LZ4"):
        path = tmp_path / f"{name}.mcap"
        write_mcap(path, messages, compression=writer_module.CompressionType[name], chunk_size=1 << 22)  # all in one
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        found, losses = read(path)
        if name == "NONE":
            start = data.index(messages[0].data) - 31
            assert len(found) == (len(data) // 2 - start) // 1031
        else:  # these compress random bytes to themselves, in blocks of 64 or 128 kB
            assert 350 < len(found) < 510
        assert found == messages[: len(found)]
        assert any(f"{len(found)} messages of it are whole" in loss for loss in losses)


def test_file_that_ends_in_zeros(tmp_path: Path) -> None:
    """What a file system leaves behind that had noted the size and not yet the data."""
    messages = some_messages(60)
    write_mcap(tmp_path / "a.mcap", messages, chunk_size=20_000)
    data = (tmp_path / "a.mcap").read_bytes()
    (tmp_path / "a.mcap").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    found, losses = read(tmp_path / "a.mcap")
    assert found == messages[: len(found)] and len(found) > 15
    assert losses


def test_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    messages = some_messages(60)
    write_mcap(tmp_path / "a.mcap", messages, chunk_size=20_000)
    data = bytearray((tmp_path / "a.mcap").read_bytes())
    _, start, end, _ = [span for span in mcap_spans(bytes(data)) if span[0] == 6][3]
    first, last = struct.unpack_from("<QQ", data, start + 9)
    data[(start + end) // 2] ^= 0xFF
    (tmp_path / "a.mcap").write_bytes(data)
    found, losses = read(tmp_path / "a.mcap")
    outside = [m for m in messages if not first <= m.log_ns <= last]
    assert [m for m in found if not first <= m.log_ns <= last] == outside
    assert set(found) <= set(messages)
    assert any("chunk" in loss for loss in losses) and any("could not be read" in loss for loss in losses)


SQLITE_SHARES = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 1.0]


@pytest.mark.parametrize("share", SQLITE_SHARES)
@pytest.mark.parametrize("back", [0, 1, 4, 100, 2000, 4095])
def test_cut_sqlite_gives_only_what_was_written(tmp_path: Path, share: float, back: int) -> None:
    messages = some_messages(120)
    write_sqlite(tmp_path / "a.db3", messages)
    data = (tmp_path / "a.db3").read_bytes()
    (tmp_path / "a.db3").write_bytes(data[: int(share * len(data)) // 4096 * 4096 - back])
    found, losses = read(tmp_path / "a.db3")
    expected = {m.log_ns: m.data for m in messages}
    assert all(m.data == expected[m.log_ns] for m in found)
    assert [m.log_ns for m in found] == sorted(m.log_ns for m in found)
    # Rows lie nearly in the order in which they were written; the tables themselves take the first ten pages.
    assert len(found) >= share * 120 - 12
    assert bool(losses) == (back > 0 or share < 1)


def test_cut_sqlite_gives_what_was_there_when_it_had_that_size(tmp_path: Path) -> None:
    messages = some_messages(120)
    sizes = write_sqlite(tmp_path / "a.db3", messages)
    data = (tmp_path / "a.db3").read_bytes()
    lost = 0  # when the tree grows, rows move to newer pages
    for index in range(20, 120, 7):
        (tmp_path / "a.db3").write_bytes(data[: sizes[index]])
        found, _ = read(tmp_path / "a.db3")
        lost += max(0, index + 1 - len(found))
    assert lost <= 8


def test_zeroed_pages_of_sqlite_cost_what_was_on_them(tmp_path: Path) -> None:
    messages = [message("/data", STRING, 1000 + i, RNG.bytes(900)) for i in range(200)]  # four to a page
    write_sqlite(tmp_path / "a.db3", messages)
    data = bytearray((tmp_path / "a.db3").read_bytes())
    page = len(data) // 4096 // 2
    data[page * 4096 : (page + 3) * 4096] = bytes(3 * 4096)
    (tmp_path / "a.db3").write_bytes(data)
    found, losses = read(tmp_path / "a.db3")
    assert 185 <= len(found) < 200 and losses
    assert {m.data for m in found} <= {m.data for m in messages}


def test_write_ahead_log_of_an_unfinished_recording_is_read(tmp_path: Path) -> None:
    messages = some_messages(20)
    write_sqlite(tmp_path / "a.db3", messages[:10])
    db = sqlite3.connect(tmp_path / "a.db3")
    db.execute("PRAGMA journal_mode = WAL")
    for m in messages[10:]:
        db.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", (m.log_ns, m.data))
    db.commit()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("a.db3", "a.db3-wal"):
        shutil.copy(tmp_path / name, crashed / name)
    db.close()
    found, losses = read(crashed / "a.db3")
    assert [m.data for m in found] == [m.data for m in messages] and not losses


# Folders


def test_folder_without_metadata(tmp_path: Path) -> None:
    messages = some_messages(33)
    for i in range(11):
        write_mcap(tmp_path / f"bag_{i}.mcap", messages[3 * i : 3 * i + 3])
    assert is_bag(tmp_path)
    found, losses = read(tmp_path)
    assert found == messages
    assert len(losses) == 1 and "metadata.yaml is missing" in losses[0]


@pytest.mark.parametrize(
    "text",
    ["", "{", "a: b", "- 1", "rosbag2_bagfile_information: 5", "rosbag2_bagfile_information: {}", "\0", "&a [*a]"],
)
def test_folder_with_damaged_metadata(tmp_path: Path, text: str) -> None:
    messages = some_messages(3)
    write_mcap(tmp_path / "bag_0.mcap", messages)
    (tmp_path / "metadata.yaml").write_text(text)
    found, losses = read(tmp_path)
    assert found == messages and "damaged" in losses[0]


def test_missing_and_empty_files_cost_only_themselves(tmp_path: Path) -> None:
    messages = some_messages(6)
    write_mcap(tmp_path / "bag_0.mcap", messages[:3])
    write_mcap(tmp_path / "bag_3.mcap", messages[3:])
    (tmp_path / "bag_1.mcap").touch()
    write_metadata(tmp_path, [f"bag_{i}.mcap" for i in range(4)], "mcap")
    found, losses = read(tmp_path)
    assert found == messages
    assert len(losses) == 2 and "bag_2.mcap is listed" in losses[0] and "is empty" in losses[1]


def test_cut_compressed_file(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    messages = some_messages(200)
    write_mcap(tmp_path / "a.mcap", messages, chunk_size=20_000)
    packed = zstandard.ZstdCompressor().compress((tmp_path / "a.mcap").read_bytes())
    (tmp_path / "a.mcap.zstd").write_bytes(packed[: len(packed) // 2])
    found, losses = read(tmp_path / "a.mcap.zstd")
    assert found == messages[: len(found)] and len(found) > 50
    assert "ends early" in losses[0]


# No bags


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.mcap", b"", "is empty"),
        ("a.db3", b"", "is empty"),
        ("a.mcap", b"hello", "starts with b'hello'"),
        ("a.db3", b"SQLite format 3\0", "expected an sqlite3 file"),
        ("a.db3", b"SQLite format 3\0" + bytes(range(256)) * 40, "readable"),
        ("a.bag", b"#ROSBAG V2.0\n", "ROS 1"),
        ("a.txt", b"just text", "expected a rosbag2 bag"),
        ("a.mcap.zstd", b"\x28\xb5\x2f\xfd garbage", "expected a rosbag2 bag"),
    ],
)
def test_what_is_no_bag_is_refused_with_the_reason(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BagError, match=words) as error:
        read(tmp_path / name)
    assert name.removesuffix(".zstd") in str(error.value)


def test_no_file_and_no_bag_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no such file"):
        Bag(tmp_path / "nothing")
    with pytest.raises(BagError, match=r"no \.mcap or \.db3"):
        Bag(tmp_path)
    (tmp_path / "a.mcap").write_bytes(b"no")
    with pytest.raises(BagError, match="none of its files can be read"):
        Bag(tmp_path)


def test_sqlite_that_is_no_bag(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "a.db3")
    db.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
    # A view could compute for ever.
    db.execute(
        "CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
        "SELECT id, 1 AS topic_id, 1 AS timestamp, x'00' AS data FROM n"
    )
    db.commit()
    db.close()
    with pytest.raises(BagError, match="no table 'messages'"):
        Bag(tmp_path / "a.db3")


def test_rows_that_make_no_sense_are_counted(tmp_path: Path) -> None:
    messages = some_messages(4)
    write_sqlite(tmp_path / "a.db3", messages)
    db = sqlite3.connect(tmp_path / "a.db3")
    for row in ((9, 5, b"x"), (1, "noon", b"x"), (1, -5, b"x"), (1, 5, "text")):
        db.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row)
    db.commit()
    db.close()
    found, losses = read(tmp_path / "a.db3")
    assert [m.data for m in found] == [m.data for m in messages]
    assert any("3 messages without" in loss for loss in losses) and any("1 of 5 messages" in loss for loss in losses)


def record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


@pytest.mark.parametrize(
    "body",
    [
        record(6, struct.pack("<QQQI", 0, 0, 1 << 40, 0) + b"\4\0\0\0zstd" + bytes(8)),
        record(6, struct.pack("<QQQI", 0, 0, 10, 0) + b"\4\0\0\0rar!" + struct.pack("<Q", 3) + b"abc"),
        record(6, b"short"),
        record(3, b"\1\0\xff\xff\xff\xff"),
        record(4, b"\1\0"),
        record(5, b"\1\0\0"),
        record(5, bytes(22) + b"no channel"),
        struct.pack("<BQ", 5, (1 << 64) - 1),
        bytes(100),
        b"\xff" * 100,
    ],
    ids=["bomb", "unknown compression", "chunk", "schema", "channel", "message", "orphan", "length", "zeros", "ones"],
)
def test_hostile_records_are_reported(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a.mcap").write_bytes(b"\x89MCAP0\r\n" + record(1, bytes(8)) + body)
    found, losses = read(tmp_path / "a.mcap")
    assert found == [] and len(losses) >= 2


def test_random_damage_never_crashes(tmp_path: Path) -> None:
    """200 files with some bytes changed: a clear error, or what is left."""
    messages = [message("/chatter", STRING, i, cdr_string(f"number {i}")) for i in range(40)]
    write_mcap(tmp_path / "a.mcap", messages, chunk_size=500)
    write_sqlite(tmp_path / "a.db3", messages)
    dice = random.Random(3)
    read_some = 0
    for name in ("a.mcap", "a.db3"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(100):
            data = bytearray(whole)
            for _ in range(dice.choice([1, 3, 30])):
                data[dice.randrange(len(data))] = dice.choice([0, 255, dice.randrange(256)])
            (tmp_path / name).write_bytes(data)
            try:
                found, _ = read(tmp_path / name)
            except BagError:
                continue
            read_some += bool(found)
    assert read_some > 100
