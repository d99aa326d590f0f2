"""Frames from bags, videos, folders and the simulated street."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from bags import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    STRING,
    Message,
    cdr_camera_info,
    cdr_compressed,
    cdr_image,
    cdr_string,
    message,
    write_mcap,
    write_sqlite,
)

from seg_perception.errors import BagError
from seg_perception.images import decode
from seg_perception.sources import SIMULATED, open_source
from seg_perception.types import CompressedImage, Frame, RawImage

RNG = np.random.default_rng(5)
LABEL_INFO = "vision_msgs/msg/LabelInfo"


def rgb_of(frame: Frame) -> np.ndarray:
    return decode(frame.image, 10**8).to_rgb()


def pictures(count: int, height: int = 6, width: int = 8) -> list[np.ndarray]:
    return [RNG.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def images(topic: str, shown: list[np.ndarray], period_ns: int = 50_000_000) -> list[Message]:
    stamps = [10**9 + i * period_ns for i in range(len(shown))]
    return [message(topic, IMAGE, s + 7, cdr_image(s, p)) for s, p in zip(stamps, shown)]


def png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


@pytest.mark.parametrize("storage", ["mcap", "db3"])
def test_bag(tmp_path: Path, storage: str) -> None:
    pytest.importorskip("rosbags")
    shown = pictures(5)
    messages = [*images("/cam/image_raw", shown), message("/chatter", STRING, 5, cdr_string("x"))]
    path = tmp_path / f"a.{storage}"
    write_mcap(path, messages) if storage == "mcap" else write_sqlite(path, messages)
    source = open_source(path)
    for _ in range(2):  # as often as one likes
        frames = list(source)
        assert [f.stamp_ns for f in frames] == [10**9 + i * 50_000_000 for i in range(5)]
        assert {f.frame_id for f in frames} == {"cam"}
        assert all(f.camera is None for f in frames)
        for frame, pixels in zip(frames, shown):
            assert isinstance(frame.image, RawImage) and frame.image.encoding == "bgr8"
            np.testing.assert_array_equal(rgb_of(frame), pixels[..., ::-1])
    assert (source.length, source.rate_hz, sum(source.failed.values())) == (5, 20.0, 0)
    assert "/cam/image_raw" in source.name
    source.close()


def test_compressed_topic(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    shown = pictures(3)
    rows = [
        message(
            "/cam/image_raw/compressed", COMPRESSED_IMAGE, i, cdr_compressed(i, "bgr8; png compressed bgr8", png(p))
        )
        for i, p in enumerate(shown)
    ]
    rows.append(message("/cam/camera_info", CAMERA_INFO, 9, cdr_camera_info(9, 8, 6, 4.0)))
    write_mcap(tmp_path / "a.mcap", rows)
    for topic in (None, "/cam/image_raw/compressed", "cam/image_raw"):
        source = open_source(tmp_path / "a.mcap", topic)
        frames = list(source)
        assert all(f.camera is not None and f.camera.k[0] == 4.0 for f in frames), "also before the first camera_info"
        assert isinstance(frames[0].image, CompressedImage)
        for frame, pixels in zip(frames, shown):
            np.testing.assert_array_equal(rgb_of(frame), pixels[..., ::-1])
        source.close()


def test_frame_has_the_newest_calibration_before_it(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    rows = images("/ns/image", pictures(4), 100)
    for after, focal_px in ((0, 1.0), (2, 3.0)):
        log_ns = rows[after].log_ns + 1
        rows.append(message("/ns/camera_info", CAMERA_INFO, log_ns, cdr_camera_info(1, 8, 6, focal_px)))
    rows.append(message("/ns/camera_info", CAMERA_INFO, rows[1].log_ns + 1, b"\0\1\0\0 damaged"))
    rows.append(message("/other/camera_info", CAMERA_INFO, 1, cdr_camera_info(1, 8, 6, 99.0)))
    write_mcap(tmp_path / "a.mcap", sorted(rows, key=lambda m: m.log_ns))
    source = open_source(tmp_path / "a.mcap")
    assert [f.camera.k[0] if f.camera else None for f in source] == [1.0, 1.0, 1.0, 3.0]
    source.close()


def test_message_that_is_none_is_counted_and_the_next_one_comes(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    rows = images("/image", pictures(4))
    rows[1] = rows[1]._replace(data=rows[1].data[:50])
    rows[2] = rows[2]._replace(data=b"")
    write_mcap(tmp_path / "a.mcap", rows)
    source = open_source(tmp_path / "a.mcap")
    assert len(list(source)) == 2
    assert source.failed == {"cdr": 2}
    source.close()


def some_topics(tmp_path: Path, topics: dict[str, str]) -> Path:
    rows = [message(name, kind, i, b"\0\1\0\0") for i, (name, kind) in enumerate(topics.items())]
    write_mcap(tmp_path / "a.mcap", rows)
    return tmp_path / "a.mcap"


@pytest.mark.parametrize(
    ("topics", "chosen"),
    [
        ({"/c/image": IMAGE, "/c/image/compressed": COMPRESSED_IMAGE, "/c/image/compressedDepth": COMPRESSED_IMAGE},
         "/c/image"),
        ({"/c/image/compressed": COMPRESSED_IMAGE, "/t": STRING}, "/c/image/compressed"),
        ({"/c/image": IMAGE, "/segmentation/mask": IMAGE, "/segmentation/overlay/compressed": COMPRESSED_IMAGE,
          "/segmentation/label_info": LABEL_INFO}, "/c/image"),
    ],
)  # fmt: skip
def test_the_only_camera_is_found(tmp_path: Path, topics: dict[str, str], chosen: str) -> None:
    pytest.importorskip("rosbags")
    source = open_source(some_topics(tmp_path, topics))
    assert source.name.endswith(f" {chosen}")
    source.close()


def test_several_cameras_are_listed(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    path = some_topics(tmp_path, {"/left/image": IMAGE, "/right/image": IMAGE, "/t": STRING})
    with pytest.raises(
        BagError, match=r"--topic.*/left/image \(sensor_msgs/msg/Image, 1 messages\), /right/image"
    ) as error:
        open_source(path)
    assert "/t" not in str(error.value).split("topics are")[1]
    for wrong in ("/front", "/t"):
        with pytest.raises(BagError, match=f"no image topic {wrong}; .*/left/image"):
            open_source(path, wrong)
    open_source(path, "/right/image").close()


def test_bag_without_a_camera(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    with pytest.raises(BagError, match=r"no camera; .* among: /t \(std_msgs"):
        open_source(some_topics(tmp_path, {"/t": STRING}))


def test_folder_of_images_whose_names_are_stamps(tmp_path: Path) -> None:
    shown = pictures(3)
    for stamp_ns, pixels in zip((2_000_000_000, 100_000_000, 1_000_000_000), shown):
        cv2.imwrite(str(tmp_path / f"{stamp_ns}.png"), pixels)
    source = open_source(tmp_path)
    frames = list(source)
    assert [f.stamp_ns for f in frames] == [100_000_000, 1_000_000_000, 2_000_000_000]
    np.testing.assert_array_equal(rgb_of(frames[0]), shown[1][..., ::-1])
    assert (source.length, source.failed) == (3, {})


@pytest.mark.parametrize(
    "names", [["a_1", "a_2", "a_10"], ["0000000001", "0000000002", "0000000010"], ["1", "2", "10"]]
)
def test_folder_of_images_whose_names_are_counters(tmp_path: Path, names: list[str]) -> None:
    shown = pictures(3)
    for name, pixels in zip(names, shown):
        cv2.imwrite(str(tmp_path / f"{name}.PNG"), pixels)
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(tmp_path, rate_hz=4.0)
    frames = list(source)
    assert [f.stamp_ns for f in frames] == [0, 250_000_000, 500_000_000]
    for frame, pixels in zip(frames, shown):
        np.testing.assert_array_equal(rgb_of(frame), pixels[..., ::-1])
    assert source.rate_hz == 4.0


def test_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="videos need PyAV")
    path = tmp_path / "a.mkv"
    shown = pictures(6, 32, 48)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=20)  # lossless
        stream.width, stream.height, stream.pix_fmt = 48, 32, "bgr0"
        for pixels in shown:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))
    source = open_source(path)
    frames = list(source)
    assert len(frames) == 6 and source.rate_hz == pytest.approx(20.0)
    assert [f.stamp_ns for f in frames] == [i * 50_000_000 for i in range(6)]
    for frame, pixels in zip(frames, shown):
        np.testing.assert_array_equal(rgb_of(frame), pixels)


@pytest.mark.parametrize("name", [None, SIMULATED])
def test_simulated_street(name: str | None) -> None:
    source = open_source(name, size_wh=(64, 48), rate_hz=20.0, seed=3)
    frames = list(itertools.islice(source, 2))
    assert frames[1].stamp_ns - frames[0].stamp_ns == 50_000_000
    assert rgb_of(frames[0]).shape == (48, 64, 3)
    assert frames[0].camera is not None and (frames[0].camera.width, frames[0].camera.height) == (64, 48)
    assert (source.length, source.rate_hz) == (None, 20.0)
    again = next(iter(open_source(name, size_wh=(64, 48), rate_hz=20.0, seed=3)))
    np.testing.assert_array_equal(rgb_of(again), rgb_of(frames[0]))


def test_what_is_no_source_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no such file or folder; expected a rosbag2 bag, a video"):
        open_source(tmp_path / "nothing")
    with pytest.raises(BagError, match="folder of PNG or JPEG images"):
        open_source(tmp_path)
