"""Transforms in messages and in bags; the bags are real files, the messages also written byte by byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from bags import STRING, Cdr, cdr_string, message, write_sqlite

pytest.importorskip("rosbags", reason="bags need rosbags")

from seg_perception.bag import Bag, Connection, McapWriter, RosbagsKit
from seg_perception.bag.transforms import BagTransforms
from seg_perception.errors import BagError, ConfigError, TransformError
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.geometry.transforms import Transform
from seg_perception.messages import TF_MESSAGE, tf_message, transforms_of

T0_NS = 1_700_000_000_000_000_001
MS = 1_000_000
SECOND = 1_000 * MS
NO_TURN = (0.0, 0.0, 0.0, 1.0)


class Row(NamedTuple):
    """One message of a bag to be written."""

    topic: str
    log_ns: int
    data: bytes
    type_name: str = TF_MESSAGE


def cdr_tf(*rows: tuple[str, str, int, Sequence[float], Sequence[float]]) -> bytes:
    """tf2_msgs/TFMessage of (parent, child, stamp_ns, translation, rotation), as the wire format has it."""
    cdr = Cdr().add("I", len(rows))
    for parent, child, stamp_ns, translation, rotation in rows:
        cdr.header(stamp_ns, parent).string(child).add("d", *translation, *rotation)
    return cdr.done()


def moved(parent: str, child: str, stamp_ns: int, x: float) -> bytes:
    return cdr_tf((parent, child, stamp_ns, (x, 0, 0), NO_TURN))


def write_bag(path: Path, rows: Sequence[Row]) -> Path:
    """An MCAP file of this package's own writer, or sqlite3 by the test's."""
    if path.suffix == ".db3":
        write_sqlite(path, [message(r.topic, r.type_name, r.log_ns, r.data) for r in rows])
        return path
    with McapWriter(path) as writer:
        channels = {(r.topic, r.type_name): 0 for r in rows}
        for topic, type_name in channels:
            channels[topic, type_name] = writer.add_connection(Connection(topic, type_name))
        for row in rows:
            writer.write(channels[row.topic, row.type_name], row.log_ns, row.data)
    return path


def place(buffer: TransformBuffer, target: str, source: str, stamp_ns: int) -> float | str:
    """x of the source in the target, or why it is not known."""
    try:
        return float(buffer.lookup(target, source, stamp_ns)[0, 3])
    except TransformError as exc:
        return exc.reason


def test_messages_are_those_of_the_wire_format() -> None:
    kit = RosbagsKit()
    half = math.sqrt(0.5)
    rows = [
        ("odom", "base_link", T0_NS, (1.5, -2.0, 0.25), (0.0, 0.0, half, half)),
        ("base_link", "camera", 5 * SECOND + 7, (0.0, 0.0, 1e-3), (-half, 0.0, half, 0.0)),
    ]
    transforms = [Transform(*row) for row in rows]
    assert bytes(kit.serialize(tf_message(kit, transforms), TF_MESSAGE)) == cdr_tf(
        *((t.parent, t.child, t.stamp_ns, t.translation, t.rotation) for t in transforms)
    )
    read, refused = transforms_of(kit.deserialize(cdr_tf(*rows), TF_MESSAGE))
    assert read == transforms and not refused
    assert transforms_of(kit.deserialize(cdr_tf(), TF_MESSAGE)) == ([], [])


def test_what_cannot_be_used_of_a_message_is_told_and_the_rest_is_read() -> None:
    nan = math.nan
    data = cdr_tf(
        ("/odom", "/base", -1, (1, 2, 3), NO_TURN),
        ("odom", "nan", 0, (nan, 0, 0), NO_TURN),
        ("odom", "unset", 0, (0, 0, 0), (0, 0, 0, 0)),
        ("odom", "", 0, (0, 0, 0), NO_TURN),
        ("odom", "odom", 0, (0, 0, 0), NO_TURN),
        ("odom", "late", 2**31 * SECOND - 1, (0, 0, 0), NO_TURN),
    )
    usable, refused = transforms_of(RosbagsKit().deserialize(data, TF_MESSAGE))
    assert [(t.parent, t.child) for t in usable] == [("odom", "base"), ("odom", "late")]
    assert [t.stamp_ns for t in usable] == [-1, 2**31 * SECOND - 1]
    assert len(refused) == 4 and "nan in odom" in refused[0] and "unset in odom" in refused[1]


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_a_replay_knows_what_a_node_would_have_heard(tmp_path: Path, suffix: str) -> None:
    """Random delays; after every step the buffer must agree with a plain search in all that was logged by then."""
    rng = np.random.default_rng(8)
    stamps = [T0_NS + i * 20 * MS for i in range(200)]
    logged = sorted((s + int(rng.integers(0, 90)) * MS, s) for s in stamps)
    rows = [Row("/tf", log_ns, moved("odom", "base", s, (s - T0_NS) ** 2 / 1e18)) for log_ns, s in logged]
    rows.append(Row("/tf_static", logged[150][0], moved("base", "camera", 0, 100.0)))  # far behind its first use
    rows.sort(key=lambda row: row.log_ns)
    look_ahead_ns = 30 * MS
    with Bag(write_bag(tmp_path / f"in{suffix}", rows)) as bag:
        buffer = TransformBuffer()
        feed = BagTransforms(bag, RosbagsKit(), buffer, look_ahead_ns / 1e9)
        answers = []
        for image_ns in range(T0_NS, T0_NS + 3 * SECOND, 33 * MS):
            feed.advance(image_ns + 25 * MS)  # logged so much later than stamped
            heard = sorted(s for log_ns, s in logged if log_ns <= image_ns + 25 * MS + look_ahead_ns)
            before = max((s for s in heard if s <= image_ns), default=None)
            after = min((s for s in heard if s >= image_ns), default=None)
            got = place(buffer, "odom", "camera", image_ns)
            if not heard:
                assert got == "unknown_frame"
            elif before is None or after is None:
                assert got == ("extrapolation_past" if before is None else "extrapolation_future")
            else:
                x = np.interp(
                    image_ns - T0_NS, *zip(*(((s - T0_NS), (s - T0_NS) ** 2 / 1e18) for s in (before, after)))
                )
                assert got == pytest.approx(100.0 + x, abs=1e-9)
            answers.append(type(got))
        assert answers.count(float) > 20 and answers.count(str) > 5  # both cases were seen
        assert (feed.refused, feed.damaged, feed.last_error) == (0, 0, "")


def test_nothing_is_fed_before_its_time(tmp_path: Path) -> None:
    rows = [Row("/tf", T0_NS + i * SECOND, moved("odom", "base", T0_NS + i * SECOND, i)) for i in range(5)]
    with Bag(write_bag(tmp_path / "in.mcap", rows)) as bag:
        buffer = TransformBuffer()
        feed = BagTransforms(bag, RosbagsKit(), buffer, 1.0)
        assert feed.received == 0
        feed.advance(T0_NS + SECOND - 1)
        assert feed.received == 2 and place(buffer, "odom", "base", T0_NS + SECOND) == 1.0
        assert place(buffer, "odom", "base", T0_NS + SECOND + 1) == "extrapolation_future"
        feed.advance(T0_NS)  # back: nothing is taken away
        assert feed.received == 2 and place(buffer, "odom", "base", T0_NS) == 0.0
        feed.advance(T0_NS + SECOND)
        assert feed.received == 3
        feed.advance(2**63)
        feed.advance(2**63)
        assert feed.received == 5


def test_a_static_frame_that_is_changed_is_changed_from_then_on(tmp_path: Path) -> None:
    rows = [
        Row("/tf_static", T0_NS + 1 * SECOND, moved("base", "camera", 0, 1.0)),
        Row("/tf_static", T0_NS + 2 * SECOND, moved("base", "camera", T0_NS, 1.0)),  # told again
        Row("/tf_static", T0_NS + 3 * SECOND, moved("base", "camera", 0, 2.0)),
        Row("/tf_static", T0_NS + 4 * SECOND, moved("base", "lidar", 0, 5.0)),
        Row("/tf_static", T0_NS + 5 * SECOND, moved("base", "camera", 0, 1.0)),
    ]
    with Bag(write_bag(tmp_path / "in.mcap", rows)) as bag:
        buffer = TransformBuffer()
        feed = BagTransforms(bag, RosbagsKit(), buffer)
        seen = []
        for tenths in (0, 29, 30, 49, 50):
            feed.advance(T0_NS + tenths * 100 * MS)
            seen.append((place(buffer, "base", "camera", 0), place(buffer, "base", "lidar", 0)))
        assert seen == [(1.0, 5.0), (1.0, 5.0), (2.0, 5.0), (2.0, 5.0), (1.0, 5.0)]
        assert feed.received == 4  # what was only told again says nothing new


@pytest.mark.parametrize("topics", [(), ("/tf",), ("/tf_static",)])
def test_a_bag_may_lack_them(tmp_path: Path, topics: tuple[str, ...]) -> None:
    rows = [Row("/chatter", T0_NS, cdr_string("hello"), STRING)]
    rows += [Row(topic, T0_NS, moved("odom", "base", T0_NS, 3.0)) for topic in topics]
    with Bag(write_bag(tmp_path / "in.mcap", rows)) as bag:
        buffer = TransformBuffer()
        feed = BagTransforms(bag, RosbagsKit(), buffer, 0.5)
        feed.advance(T0_NS)
        assert place(buffer, "odom", "base", T0_NS) == (3.0 if topics else "unknown_frame")
        assert (feed.received, feed.damaged) == (len(topics), 0)


def test_what_is_damaged_is_counted_and_the_rest_is_used(tmp_path: Path) -> None:
    sound = moved("odom", "base", T0_NS, 1.0)
    half_sound = cdr_tf(("base", "x", 0, (math.nan, 0, 0), NO_TURN), ("base", "y", 0, (3, 0, 0), NO_TURN))
    rows = [
        Row("/tf_static", T0_NS, moved("base", "camera", 0, 1.0)[:-3]),
        Row("/tf_static", T0_NS, moved("base", "camera", 0, 2.0)),
        Row("/tf_static", T0_NS, half_sound),
        Row("/tf", T0_NS, b""),
        Row("/tf", T0_NS, sound[:20]),
        Row("/tf", T0_NS, b"\0\1\0\0\xff\xff\xff\xff" + sound[8:]),  # says that it has 4 thousand million
        Row("/tf", T0_NS, moved("base", "z", T0_NS, 9.0), STRING),  # by its type it is none
        Row("/tf", T0_NS, moved("camera", "odom", T0_NS, 0.0)),
        Row("/tf", T0_NS, sound),  # closes a circle
    ]
    with Bag(write_bag(tmp_path / "in.mcap", rows)) as bag:
        buffer = TransformBuffer()
        feed = BagTransforms(bag, RosbagsKit(), buffer)
        assert (feed.received, feed.refused, feed.damaged) == (2, 1, 1) and "x in base" in feed.last_error
        feed.advance(T0_NS)
        assert (feed.received, feed.refused, feed.damaged) == (3, 2, 5) and "circle" in feed.last_error
        assert place(buffer, "base", "odom", T0_NS) == 2.0 and place(buffer, "base", "y", 0) == 3.0
        assert place(buffer, "base", "z", T0_NS) == "unknown_frame"


def test_other_topics_can_be_named(tmp_path: Path) -> None:
    rows = [
        Row("/tf", T0_NS, moved("odom", "base", T0_NS, 1.0)),
        Row("/robot1/tf", T0_NS, moved("odom", "base", T0_NS, 2.0)),
        Row("/robot1/tf_static", T0_NS, moved("base", "camera", 0, 3.0)),
    ]
    with Bag(write_bag(tmp_path / "in.mcap", rows)) as bag:
        buffer = TransformBuffer()
        BagTransforms(bag, RosbagsKit(), buffer, 0.0, "robot1/tf", "/robot1/tf_static").advance(T0_NS)
        assert place(buffer, "odom", "camera", T0_NS) == 5.0


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_it_reads_beside_another_reader_of_the_same_bag(tmp_path: Path, suffix: str) -> None:
    """Large messages between the transforms, so that both readers go through many chunks at different places."""
    rng = np.random.default_rng(9)
    texts = [rng.bytes(60_000).hex() for _ in range(60)]
    rows = []
    for i, text in enumerate(texts):
        rows.append(Row("/chatter", T0_NS + i * 100 * MS, cdr_string(text), STRING))
        rows.append(Row("/tf", T0_NS + i * 100 * MS + 1, moved("odom", "base", T0_NS + i * 100 * MS, i)))
    rows.insert(5, Row("/tf_static", rows[5].log_ns, moved("base", "camera", 0, 0.5)))
    with Bag(write_bag(tmp_path / f"in{suffix}", rows)) as bag:
        buffer = TransformBuffer()
        feed = BagTransforms(bag, RosbagsKit(), buffer, 2.0)
        for i, seen in enumerate(bag.messages(["/chatter"])):
            feed.advance(seen.log_ns)
            assert bytes(seen.data) == cdr_string(texts[i])
            assert place(buffer, "odom", "camera", seen.log_ns) == i + 0.5
            assert feed.received == 1 + min(i + 20, 60)
        assert i == 59 and not bag.losses


def test_a_recording_that_was_cut_off_gives_what_is_left(tmp_path: Path) -> None:
    rows = [Row("/tf", T0_NS + i * MS, moved("odom", "base", T0_NS + i * MS, i)) for i in range(30_000)]
    path = write_bag(tmp_path / "in.mcap", rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Bag(path) as bag:
        buffer = TransformBuffer(100.0)
        feed = BagTransforms(bag, RosbagsKit(), buffer)
        feed.advance(2**63)
        assert 1000 < feed.received < 30_000 and bag.losses
        assert place(buffer, "odom", "base", T0_NS + 500 * MS) == 500.0


@pytest.mark.parametrize("look_ahead_s", [-0.1, 10.1, math.nan, math.inf])
def test_a_look_ahead_that_is_none_is_refused(tmp_path: Path, look_ahead_s: float) -> None:
    path = write_bag(tmp_path / "in.mcap", [Row("/tf", T0_NS, moved("odom", "base", T0_NS, 1.0))])
    with Bag(path) as bag, pytest.raises(ConfigError, match="look_ahead_s"):
        BagTransforms(bag, RosbagsKit(), TransformBuffer(10.0), look_ahead_s)


def test_the_kit_refuses_a_stamp_that_no_message_holds() -> None:
    kit = RosbagsKit()
    huge: Any = Transform("odom", "base", 2**31 * SECOND, (0, 0, 0), NO_TURN)
    with pytest.raises(BagError):
        kit.serialize(tf_message(kit, [huge]), TF_MESSAGE)
