"""Parts of the node that need no middleware: slots, signals, the choice of a profile, the shipped files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from seg_perception.config import PipelineConfig
from seg_perception.ros import dds
from seg_perception.ros.newest import NewestFrames

CONFIG = Path(__file__).resolve().parents[2] / "config"
OLD, NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"


def test_the_newest_frame_replaces_the_one_that_waits() -> None:
    frames: NewestFrames[int] = NewestFrames(["a"])
    assert [frames.put("a", n) for n in range(3)] == [False, True, True]
    assert frames.take() == ("a", 2)
    assert frames.put("a", 3) is False
    assert frames.close() == ["a"]
    assert frames.take() is None
    assert frames.put("a", 4) is True  # lost: nobody will ever fetch it


def test_cameras_take_turns() -> None:
    frames: NewestFrames[int] = NewestFrames(["a", "b", "c"])
    order = []
    for n in range(9):
        frames.put("a", n)  # always has a new one
        if n % 2:
            frames.put("c", n)
        taken = frames.take()
        assert taken
        order.append(taken[0])
    assert order == ["a", "c", "a", "c", "a", "c", "a", "c", "a"]
    with pytest.raises(KeyError, match="a, b, c"):
        frames.put("d", 0)


def test_every_frame_of_a_race_is_taken_or_replaced() -> None:
    """Two producers as fast as they can: received = taken + replaced, and what is taken gets ever newer."""
    frames: NewestFrames[int] = NewestFrames(["a", "b"])
    count, replaced = 3000, {"a": 0, "b": 0}

    def produce(camera: str) -> None:
        replaced[camera] = sum(frames.put(camera, n) for n in range(count))

    producers = [threading.Thread(target=produce, args=(camera,)) for camera in "ab"]
    taken: dict[str, list[int]] = {"a": [], "b": []}

    def consume() -> None:
        while (item := frames.take()) is not None:
            taken[item[0]].append(item[1])

    consumer = threading.Thread(target=consume)
    for thread in (consumer, *producers):
        thread.start()
    for thread in producers:
        thread.join()
    left = frames.close()
    consumer.join()
    for camera in "ab":
        assert taken[camera] == sorted(set(taken[camera]))
        assert len(taken[camera]) + replaced[camera] + left.count(camera) == count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("orderly", [True, False])
def test_a_signal_is_noticed_while_the_main_thread_is_stuck(number: int, orderly: bool) -> None:
    """A child's main thread hangs in a call that no signal handler interrupts; the wake-up call frees it, or not."""
    script = f"""
        import sys, threading
        from seg_perception.ros.stop import StopRequest
        stop, freed = StopRequest(grace_s=0.3), threading.Lock()
        freed.acquire()
        stop.install()
        stop.on_request(freed.release if {orderly} else lambda: None)
        print("ready", flush=True)
        freed.acquire()
        assert stop.requested
        stop.finished()
        sys.exit(3)
    """
    env = {**os.environ, "PYTHONPATH": str(CONFIG.parent)}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout and child.stdout.readline() == b"ready\n"
    child.send_signal(number)
    _, errors = child.communicate(timeout=10)
    assert child.returncode == (3 if orderly else 128 + number) and not errors


@pytest.mark.parametrize(
    ("distribution", "name"),
    [("humble", OLD), ("iron", OLD), ("jazzy", OLD), ("kilted", NEW), ("lyrical", NEW), ("rolling", NEW)],
)
def test_each_distribution_gets_the_name_that_it_reads(distribution: str, name: str) -> None:
    profile = CONFIG / dds.PROFILE_FILE
    assert dds.profile_environment(profile, {"ROS_DISTRO": distribution}) == {name: str(profile)}


@pytest.mark.parametrize("chosen", [OLD, NEW, "FASTDDS_BUILTIN_TRANSPORTS"])
def test_a_choice_of_the_user_is_left_alone(chosen: str) -> None:
    environ = {"ROS_DISTRO": "jazzy", chosen: "mine"}
    assert dds.profile_environment(CONFIG / dds.PROFILE_FILE, environ) == {}
    assert dds.profile_environment(CONFIG / dds.PROFILE_FILE, {**environ, chosen: ""})  # set to nothing is not chosen


def test_the_shipped_profile_is_found_and_says_what_it_should() -> None:
    found = dds.find_profile({})
    assert found is not None and found.read_bytes() == (CONFIG / dds.PROFILE_FILE).read_bytes()
    space = "{http://www.eprosima.com}"
    root = ET.parse(found).getroot()
    transports = {t.findtext(f"{space}transport_id"): t for t in root.iter(f"{space}transport_descriptor")}
    kinds = {t.findtext(f"{space}type") for t in transports.values()}
    used = {e.text for e in root.iterfind(f".//{space}userTransports/{space}transport_id")}
    assert kinds == {"SHM", "UDPv4"} and used == set(transports)
    sizes = [int(e.text or 0) for e in root.iter(f"{space}segment_size")]
    # Two Full HD images fit; four processes fit the 64 MB that a container has by default.
    assert len(sizes) == 1 and 2 * 1920 * 1080 * 3 < sizes[0] and 4 * sizes[0] < 64e6
    assert root.findtext(f".//{space}useBuiltinTransports") == "false"


def test_node_yaml_explains_every_parameter_as_it_is() -> None:
    text = (CONFIG / "node.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    flat = {k: v for k, v in values.items() if not isinstance(v, dict)}
    flat.update(
        {f"{name}.{k}": v for name, group in values.items() if isinstance(group, dict) for k, v in group.items()}
    )
    specs = {spec.name: spec for spec in PipelineConfig.parameters()}
    assert list(flat) == list(specs)
    comments = _comments(text)
    for name, spec in specs.items():
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        assert flat[name] == default and type(flat[name]) is type(default), name
        comment = comments[name.split(".")[-1]]
        assert comment.startswith(spec.description), name
        assert comment.endswith("Fixed at start.") == spec.read_only, name
        limits = f"Range {spec.minimum:g} to {spec.maximum:g}." if spec.minimum is not None else ""
        assert limits in comment and bool(limits) == ("Range" in comment), name
    assert PipelineConfig.from_parameters(flat) == PipelineConfig()


def _comments(text: str) -> dict[str, str]:
    """The comment above each key, in one line."""
    out, lines = {}, []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            lines.append(line.strip(" #"))
        elif ":" in line:
            out[line.split(":")[0].strip()] = " ".join(lines)
            lines = []
        else:
            lines = []
    return out


def test_the_rviz_file_shows_what_the_node_publishes() -> None:
    displays = yaml.safe_load((CONFIG / "segmentation.rviz").read_text())["Visualization Manager"]["Displays"]
    topics = {d["Topic"]["Value"]: d["Topic"]["Reliability Policy"] for d in displays}
    assert topics == {"/image": "Best Effort", "/segmentation/overlay": "Reliable", "/segmentation/mask": "Reliable"}
