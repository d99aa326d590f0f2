"""The inference thread outlives whatever a frame brings, and messages are filled without a check of every byte."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seg_perception.errors import BackendError, FrameError
from seg_perception.latency import LatencyMonitor

pytestmark = pytest.mark.usefixtures("ros_environment")


class Stream:
    """A camera whose frames are the exceptions that processing them raises, or None."""

    def __init__(self) -> None:
        self.name, self.monitor, self.last_error = "camera", LatencyMonitor(), ""
        self.put: Any = None
        self.done: list[Any] = []

    def listen(self, put: Any) -> None:
        self.put = put

    def mute(self) -> None:
        self.put = None

    def process(self, waiting: Any, pipeline: Any) -> None:
        self.done.append(waiting)
        if waiting is not None:
            raise waiting


class Lines:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def error(self, text: str) -> None:
        self.errors.append(text)


def test_no_error_ends_the_thread_and_each_is_counted_under_its_reason() -> None:
    from seg_perception.ros.inference import InferenceThread

    stream, lines = Stream(), Lines()
    thread = InferenceThread(None, {"camera": stream}, lines)  # type: ignore[arg-type, dict-item]
    thread.start()
    frames = [FrameError("data_length", "too short"), BackendError("engine gone"), ZeroDivisionError("oops")] * 2
    for frame in [*frames, MemoryError(), None]:
        before = len(stream.done)
        stream.put("camera", frame)
        end_s = time.monotonic() + 10
        while len(stream.done) == before and time.monotonic() < end_s:
            time.sleep(0.001)
    thread.stop()
    assert len(stream.done) == 8 and stream.done[-1] is None
    assert stream.monitor.counts().failed == {"data_length": 2, "backend": 2, "internal": 3}
    assert "MemoryError" in stream.last_error
    text = "\n".join(lines.errors)
    # Each kind once in five seconds; a traceback once for each place it came from.
    assert text.count("too short") == 1 and text.count("engine gone") == 1
    assert text.count("Traceback") == 2 and text.count("ZeroDivisionError: oops") == 1


def test_diagnostics_tell_good_from_late_from_stuck() -> None:
    """What happened is played to the reporter of a camera that needs no topics."""
    from seg_perception.config import PipelineConfig
    from seg_perception.ros.diagnostics import ERROR, OK, WARN, CameraReporter

    now_s, monitor = time.monotonic(), LatencyMonitor()
    stream: Any = SimpleNamespace(
        name="camera",
        monitor=monitor,
        image_topic="/image",
        last_image="",
        last_error="",
        last_image_s=now_s,
        busy_since_s=None,
        last_frame_id="",
        last_ground_error="",
    )
    config, reporter = PipelineConfig(deadline_ms=50), CameraReporter(None, stream)

    def told(state: str = "active") -> tuple[int, str]:
        stream.last_image_s = time.monotonic()
        level, name, text, topic, _ = reporter.status("camera", state, config)
        assert (name, topic) == ("camera", "/image")
        return level, text

    assert told("inactive") == (OK, "inactive: not listening to the camera")
    assert told() == (OK, "waiting for the first image")
    for age_ms, level, text in ((20.0, OK, "masks/s"), (70.0, WARN, "1 of 1 masks older than 50 ms")):
        monitor.received()
        monitor.published({"total": 5.0}, age_ms, config.deadline_ms)
        got = told()
        assert got[0] == level and text in got[1]
    monitor.received()
    monitor.failed("step_too_small")
    got = told()
    assert got[0] == ERROR and "1 images refused (1 step_too_small)" in got[1]
    assert told()[0] == OK  # each report is about its own period
    stream.last_frame_id, stream.last_ground_error = "camera_link", "no transform names it"
    monitor.unlocated("unknown_frame")
    got = told()
    assert got[0] == WARN and "(1 unknown_frame); last: no transform names it" in got[1]
    got = told()
    assert got[0] == WARN and "'camera_link', taken for an optical frame" in got[1]
    stream.last_frame_id = "camera_optical_frame"
    assert told()[0] == OK
    monitor.received()
    stream.busy_since_s = now_s - 60
    got = told()
    assert got[0] == ERROR and "hangs" in got[1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.asarray])
def test_messages_carry_the_bytes_of_any_buffer(kind: Any) -> None:
    from seg_perception.messages import compressed_message, image_message
    from seg_perception.ros.kit import RclpyKit

    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    message = image_message(RclpyKit(), 5_000_000_007, "cam", pixels, "mono8")
    assert bytes(message.data) == pixels.tobytes() and message.data.typecode == "B"
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.step) == (5, 7, 32)
    data = kind(pixels.reshape(-1)) if kind is np.asarray else kind(pixels.tobytes())
    assert bytes(compressed_message(RclpyKit(), 0, "", data, "png").data) == pixels.tobytes()


def test_a_missing_message_package_is_named_with_its_repair() -> None:
    from seg_perception.errors import ConfigError
    from seg_perception.ros.kit import message_class

    with pytest.raises(ConfigError, match=r"apt install ros-\$ROS_DISTRO-vision-messages"):
        message_class("vision_messages/msg/LabelInfo")
