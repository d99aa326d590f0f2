"""Sound bags: written by others and read here, written here and read by others."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import (
    COMPRESSED_IMAGE,
    DEFINITIONS,
    IMAGE,
    QOS,
    STRING,
    UNKNOWN,
    Message,
    cdr_camera_info,
    cdr_image,
    cdr_string,
    message,
    read_image,
    read_mcap,
    write_mcap,
    write_metadata,
    write_sqlite,
)

from seg_perception.errors import BagError
from seg_perception.labels import CITYSCAPES
from seg_perception.messages import camera_of, frame_of_image, image_message, label_info_message

pytest.importorskip("rosbags", reason="bags need rosbags")

from seg_perception.bag import Bag, Connection, McapWriter, Record, RosbagsKit, is_bag, natural_key
from seg_perception.bag.records import Block, RawMessage, merge_by_time

REPOSITORY = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(7)


def some_messages(count: int = 40, size: int = 3000) -> list[Message]:
    """Of three topics, in order of time; the 7th and 8th at the same."""
    found = []
    for i in range(count):
        topic, kind = (("/camera/image", IMAGE), ("/chatter", STRING), ("/secret", UNKNOWN))[i % 3]
        data = cdr_string(f"number {i}") if kind == STRING else RNG.bytes(size + i)
        found.append(message(topic, kind, 1_000 + 10 * (i - (i == 7)), data, 900 + 10 * i, i + 1))
    return found


def seen_in(path: Path, topics: list[str] | None = None) -> list[Message]:
    with Bag(path) as bag:
        found = [
            Message(m.connection.topic, m.connection.type_name, m.log_ns, bytes(m.data), m.publish_ns, m.sequence)
            for m in bag.messages(topics)
        ]
        assert bag.losses == ()
        if topics is None:
            assert bag.message_count == len(found)
            assert bag.start_ns == (found[0].log_ns if found else 0)
    return found


def without_publication(messages: list[Message]) -> list[Message]:
    """sqlite3 bags know neither the time of publication nor a sequence number."""
    return [m._replace(publish_ns=m.log_ns, sequence=0) for m in messages]


def mcap_options() -> list[Any]:
    compression = importlib.import_module("mcap.writer").CompressionType if importlib.util.find_spec("mcap") else None
    if compression is None:
        return [pytest.param({}, id="default")]
    rows: dict[str, dict[str, Any]] = {
        "zstd": {"compression": compression.ZSTD, "chunk_size": 8000},
        "lz4": {"compression": compression.LZ4, "chunk_size": 8000},
        "plain": {"compression": compression.NONE, "chunk_size": 8000},
        "one-chunk": {"compression": compression.ZSTD},
        "no-chunks": {"use_chunking": False},
        "no-statistics": {"use_statistics": False, "chunk_size": 8000},
        "no-summary": {
            "use_statistics": False, "use_summary_offsets": False, "repeat_channels": False,
            "repeat_schemas": False, "chunk_size": 8000,
        },
    }  # fmt: skip
    return [pytest.param(options, id=name) for name, options in rows.items()]


@pytest.mark.parametrize("options", mcap_options())
def test_mcap_of_every_kind(tmp_path: Path, options: dict[str, Any]) -> None:
    messages = some_messages()
    write_mcap(tmp_path / "a.mcap", messages, **options)
    assert seen_in(tmp_path / "a.mcap") == messages


@pytest.mark.parametrize("options", mcap_options())
def test_mcap_is_read_in_order_of_time(tmp_path: Path, options: dict[str, Any]) -> None:
    messages = some_messages(60)
    shuffled = [messages[i] for i in RNG.permutation(60)]
    write_mcap(tmp_path / "a.mcap", shuffled, **options)
    expected = sorted(shuffled, key=lambda m: m.log_ns)  # stable: messages of one time keep the file's order
    assert [m.log_ns for m in seen_in(tmp_path / "a.mcap")] == [m.log_ns for m in expected]
    assert sorted(seen_in(tmp_path / "a.mcap")) == sorted(shuffled)


def test_mcap_topics_alone(tmp_path: Path) -> None:
    messages = some_messages()
    write_mcap(tmp_path / "a.mcap", messages, chunk_size=8000)
    chosen = ["/chatter", "/nobody"]
    assert seen_in(tmp_path / "a.mcap", chosen) == [m for m in messages if m.topic == "/chatter"]


def test_mcap_connections(tmp_path: Path) -> None:
    write_mcap(tmp_path / "a.mcap", some_messages(6))
    with Bag(tmp_path / "a.mcap") as bag:
        image, chatter, secret = bag.connections
    assert (image.topic, image.type_name, image.message_encoding, image.count) == ("/camera/image", IMAGE, "cdr", 2)
    assert image.metadata == {"offered_qos_profiles": QOS, "topic_type_hash": "RIHS01_00"}
    assert (chatter.definition, chatter.definition_encoding) == (DEFINITIONS[STRING].encode(), "ros2msg")
    assert secret.type_name == UNKNOWN


@pytest.mark.parametrize("jazzy", [True, False], ids=["jazzy", "humble"])
def test_sqlite(tmp_path: Path, jazzy: bool) -> None:
    messages = some_messages()
    write_sqlite(tmp_path / "a.db3", messages[::-1], jazzy)
    assert sorted(seen_in(tmp_path / "a.db3")) == sorted(without_publication(messages))
    assert [m.log_ns for m in seen_in(tmp_path / "a.db3")] == sorted(m.log_ns for m in messages)
    expected = without_publication([m for m in messages if m.topic == "/secret"])
    assert seen_in(tmp_path / "a.db3", ["/secret"]) == expected
    with Bag(tmp_path / "a.db3") as bag:
        chatter = next(c for c in bag.connections if c.topic == "/chatter")
    assert chatter.metadata["offered_qos_profiles"] == QOS
    assert ("topic_type_hash" in chatter.metadata) == jazzy
    assert chatter.definition == (DEFINITIONS[STRING].encode() if jazzy else b"")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_folder_of_several_files(tmp_path: Path, storage: str) -> None:
    """They follow metadata.yaml, and overlap in time; a file beside them that is not listed is not read."""
    messages = some_messages(90)
    suffix = "mcap" if storage == "mcap" else "db3"
    parts = [messages[:30], messages[30:50] + messages[60:70], messages[50:60] + messages[70:]]
    names = [f"bag_{i}.{suffix}" for i in range(3)]
    for name, part in zip([*names, f"other.{suffix}"], [*parts, messages]):
        if storage == "mcap":
            write_mcap(tmp_path / name, part, chunk_size=8000)
        else:
            write_sqlite(tmp_path / name, part)
    write_metadata(tmp_path, [f"../elsewhere/{name}" for name in names], storage)
    assert is_bag(tmp_path)
    expected = messages if storage == "mcap" else without_publication(messages)
    assert sorted(seen_in(tmp_path)) == sorted(expected)
    assert [m.log_ns for m in seen_in(tmp_path)] == [m.log_ns for m in sorted(expected, key=lambda m: m.log_ns)]
    with Bag(tmp_path) as bag:
        assert [(c.topic, c.count) for c in bag.connections] == [
            ("/camera/image", 30), ("/chatter", 30), ("/secret", 30)
        ]  # fmt: skip


def zstd_compressed(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard", reason="compresses with the zstandard package")
    packed: bytes = zstandard.ZstdCompressor().compress(data)
    return packed


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_compression_of_files(tmp_path: Path, storage: str) -> None:
    messages = some_messages()
    plain = tmp_path / ("a.mcap" if storage == "mcap" else "a.db3")
    write_mcap(plain, messages) if storage == "mcap" else write_sqlite(plain, messages)
    folder = tmp_path / "bag"
    folder.mkdir()
    (folder / f"{plain.name}.zstd").write_bytes(zstd_compressed(plain.read_bytes()))
    write_metadata(folder, [f"{plain.name}.zstd"], storage, "FILE")
    assert seen_in(folder) == (messages if storage == "mcap" else without_publication(messages))
    assert seen_in(folder / f"{plain.name}.zstd") == seen_in(folder)


def test_compression_of_messages(tmp_path: Path) -> None:
    messages = some_messages()
    write_sqlite(tmp_path / "a.db3", [m._replace(data=zstd_compressed(m.data)) for m in messages])
    write_metadata(tmp_path, ["a.db3"], "sqlite3", "MESSAGE")
    assert seen_in(tmp_path) == without_publication(messages)


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_bag_that_rosbags_wrote(tmp_path: Path, plugin: str) -> None:
    rosbag2 = importlib.import_module("rosbags.rosbag2")
    pixels = RNG.integers(0, 256, (6, 8, 3), np.uint8)
    store = importlib.import_module("rosbags.typesys").get_typestore(
        importlib.import_module("rosbags.typesys").Stores.ROS2_HUMBLE
    )
    with rosbag2.Writer(tmp_path / "bag", version=9, storage_plugin=rosbag2.StoragePlugin[plugin]) as writer:
        connection = writer.add_connection("/image", IMAGE, typestore=store)
        writer.write(connection, 5, cdr_image(4, pixels))
    assert seen_in(tmp_path / "bag") == [message("/image", IMAGE, 5, cdr_image(4, pixels))]


def test_merge_opens_a_block_when_its_time_has_come() -> None:
    opened: list[int] = []

    def block(number: int, times: list[int]) -> Block:
        def messages() -> Any:
            opened.append(number)
            for log_ns in times:
                yield RawMessage(Connection("/t", "t"), log_ns, log_ns, b"%d" % number)

        return Block(times[0], messages)

    merged = merge_by_time([block(0, [1, 4, 9]), block(1, [20, 21]), block(2, [4, 5])])
    assert [(next(merged).log_ns, list(opened)) for _ in range(5)] == [
        (1, [0]), (4, [0, 2]), (4, [0, 2]), (5, [0, 2]), (9, [0, 2])
    ]  # fmt: skip
    assert [m.log_ns for m in merged] == [20, 21]
    assert [m.data for m in merge_by_time([block(0, [4]), block(1, [4])])] == [b"0", b"1"]


def test_natural_order() -> None:
    names = ["b_10", "b_9", "a", "b_9_1", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "b_9", "b_9_1", "b_10"]


# Writing


def copy(source: list[Message], path: Path, **options: Any) -> None:
    with McapWriter(path, **options) as writer:
        channels: dict[str, int] = {}
        for m in source:
            if m.topic not in channels:
                text = DEFINITIONS.get(m.type_name, "").encode()
                connection = Connection(m.topic, m.type_name, "cdr", text, "ros2msg", {"offered_qos_profiles": QOS})
                channels[m.topic] = writer.add_connection(connection)
            writer.write(channels[m.topic], m.log_ns, m.data, m.publish_ns, m.sequence)


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_others_read_what_is_written_here(tmp_path: Path, compression: str) -> None:
    messages = some_messages(60, size=100_000)  # several chunks
    copy(messages, tmp_path / "a.mcap", compression=compression)
    assert sorted(read_mcap(tmp_path / "a.mcap")) == sorted(messages)
    assert seen_in(tmp_path / "a.mcap") == messages
    with (tmp_path / "a.mcap").open("rb") as file:
        stream = importlib.import_module("mcap.stream_reader").StreamReader(file, validate_crcs=True)
        kinds = [type(record).__name__ for record in stream.records]
    assert kinds[0] == "Header" and kinds[-1] == "Footer" and kinds.count("ChunkIndex") > 3


def test_rosbags_reads_what_is_written_here(tmp_path: Path) -> None:
    rosbag2 = importlib.import_module("rosbags.rosbag2")
    if ".mcap" not in rosbag2.Reader.STORAGE_PLUGINS:
        pytest.skip("needs rosbags 0.11, whose reader opens a single file")
    messages = some_messages(60, size=100_000)
    copy(messages, tmp_path / "a.mcap")
    with rosbag2.Reader(tmp_path / "a.mcap") as reader:
        seen = [(c.topic, log_ns, bytes(data)) for c, log_ns, data in reader.messages()]
    assert seen == [(m.topic, m.log_ns, m.data) for m in messages]


def test_same_messages_same_bytes(tmp_path: Path) -> None:
    messages = some_messages(60, size=100_000)
    for name in ("a.mcap", "b.mcap"):
        copy(messages, tmp_path / name)
    assert (tmp_path / "a.mcap").read_bytes() == (tmp_path / "b.mcap").read_bytes()


def test_empty_bag(tmp_path: Path) -> None:
    with McapWriter(tmp_path / "a.mcap") as writer:
        writer.add_connection(Connection("/t", STRING))
    assert read_mcap(tmp_path / "a.mcap") == []
    with Bag(tmp_path / "a.mcap") as bag:
        assert [c.topic for c in bag.connections] == ["/t"]
        assert (list(bag.messages()), bag.losses) == ([], ())


def test_attachments_and_metadata_survive(tmp_path: Path) -> None:
    writer_module = pytest.importorskip("mcap.writer")
    reader_module = pytest.importorskip("mcap.reader")
    with (tmp_path / "a.mcap").open("wb") as file:
        other = writer_module.Writer(file)
        other.start()
        other.add_attachment(5, 6, "calibration.yaml", "text/yaml", b"k: 1")
        other.add_metadata("vehicle", {"name": "zoe", "colour": "blue"})
        other.finish()
    with Bag(tmp_path / "a.mcap") as bag, McapWriter(tmp_path / "b.mcap") as writer:
        records = list(bag.records())
        assert len(records) == 2 and all(isinstance(record, Record) for record in records)
        for record in records:
            writer.add_record(record)
    with (tmp_path / "b.mcap").open("rb") as file:
        reader = reader_module.make_reader(file, validate_crcs=True)
        assert [(m.name, m.metadata) for m in reader.iter_metadata()] == [
            ("vehicle", {"name": "zoe", "colour": "blue"})
        ]
        attachment = next(iter(reader.iter_attachments()))
        assert (attachment.name, attachment.data, attachment.create_time) == ("calibration.yaml", b"k: 1", 5)


def test_name_appears_when_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with McapWriter(path):
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mcap"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_of_a_file_that_was_given_up(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), McapWriter(tmp_path / "a.mcap") as writer:
        number = writer.add_connection(Connection("/t", STRING))
        writer.write(number, 1, bytes(3 << 20))
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [5 << 20, 1000])
def test_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path: Path, size: int) -> None:
    """The limit on a file's size makes the system refuse, as a full disk does; in the thread and in `close`."""
    code = f"""if True:
        import resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (800, 800))
        from seg_perception.bag import Connection, McapWriter
        from seg_perception.errors import BagError
        try:
            with McapWriter(sys.argv[1], "none") as writer:
                number = writer.add_connection(Connection("/t", "t"))
                for i in range(20):
                    writer.write(number, i, bytes({size} // 20))
        except BagError as exc:
            print(exc)
    """
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mcap")], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert "cannot be written: File too large" in run.stdout and run.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"precious")
    with pytest.raises(BagError, match=r"exists already.*--force"):
        McapWriter(path)
    assert path.read_bytes() == b"precious"
    with McapWriter(path, overwrite=True):
        assert path.read_bytes() == b"precious"
    assert path.read_bytes() != b"precious"
    with pytest.raises(BagError, match="folder"):
        McapWriter(tmp_path, overwrite=True)
    with pytest.raises(BagError, match="cannot be written"):
        McapWriter(tmp_path / "no" / "such" / "folder.mcap")


# Messages


def test_image_to_cdr_and_back_without_a_copy() -> None:
    kit = RosbagsKit()
    pixels = RNG.integers(0, 256, (4, 6, 3), np.uint8)
    built = image_message(kit, 3_000_000_007, "front", pixels, "rgb8")
    assert np.shares_memory(built.data, pixels)
    data = bytes(kit.serialize(built, IMAGE))
    assert data == cdr_image(3_000_000_007, pixels, "rgb8", "front")
    seen = read_image(data)
    assert (seen.stamp_ns, seen.frame_id, seen.encoding) == (3_000_000_007, "front", "rgb8")
    frame = frame_of_image(kit.deserialize(data, IMAGE))
    assert (frame.stamp_ns, frame.frame_id) == (3_000_000_007, "front")
    assert np.shares_memory(np.frombuffer(frame.image.data, np.uint8), np.frombuffer(data, np.uint8))


def test_camera_info_from_cdr() -> None:
    camera = camera_of(RosbagsKit().deserialize(cdr_camera_info(1, 640, 480, 500.0), "sensor_msgs/msg/CameraInfo"))
    assert (camera.width, camera.height, camera.k[0], camera.k[2], camera.p[6]) == (640, 480, 500.0, 320.0, 240.0)


@pytest.mark.parametrize("cut", range(0, 90, 3))
def test_cut_message_is_refused(cut: int) -> None:
    data = cdr_image(1, np.zeros((3, 5, 3), np.uint8))
    assert len(data) == 93
    with pytest.raises(BagError, match="no whole sensor_msgs/msg/Image"):
        RosbagsKit().deserialize(data[:cut], IMAGE)


def test_label_info_definition_holds_all_that_is_in_it() -> None:
    """Foxglove decodes a message from the definition in the bag alone."""
    definition = RosbagsKit().definition("vision_msgs/msg/LabelInfo")
    parts = definition.text.split("=" * 80 + "\n")
    assert parts[0].split("\n")[:3] == [
        "std_msgs/Header header",
        "vision_msgs/VisionClass[] class_map",
        "float32 threshold",
    ]
    assert {part.split("\n")[0] for part in parts[1:]} == {
        "MSG: std_msgs/Header", "MSG: vision_msgs/VisionClass", "MSG: builtin_interfaces/Time"
    }  # fmt: skip
    # What ROS 2 Jazzy's rosidl computes from the published interface.
    assert definition.type_hash == "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783"


@pytest.mark.parametrize(
    "name",
    [
        "sensor_msgs/msg/Image", COMPRESSED_IMAGE, "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2",
        "vision_msgs/msg/LabelInfo", "vision_msgs/msg/Detection2DArray", "vision_msgs/msg/Detection3DArray",
        "visualization_msgs/msg/MarkerArray",
    ],
)  # fmt: skip
def test_type_hashes_are_those_of_ros(name: str) -> None:
    package, _, short = name.split("/")
    found = Path(sys.prefix) / "share" / package / "msg" / f"{short}.json"
    if not found.is_file():
        pytest.skip(f"needs {package} of ROS 2 Jazzy or later in this environment")
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(found.read_text())["type_hashes"]}
    assert RosbagsKit().definition(name).type_hash == hashes[name]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what the message packages import
def test_rclpy_reads_the_same_label_info() -> None:
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy")
    messages = pytest.importorskip("vision_msgs.msg", reason="needs vision_msgs")
    kit = RosbagsKit()
    data = bytes(kit.serialize(label_info_message(kit, 2_000_000_001, "", CITYSCAPES), "vision_msgs/msg/LabelInfo"))
    seen = serialization.deserialize_message(data, messages.LabelInfo)
    assert (seen.header.stamp.sec, seen.header.stamp.nanosec) == (2, 1)
    assert [(c.class_id, c.class_name) for c in seen.class_map] == [(label.id, label.name) for label in CITYSCAPES]
