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
from typing import Any

import pytest
import yaml

from seg_perception.config import PipelineConfig
from seg_perception.messages import IMAGE, LASER_SCAN, MARKER_ARRAY, OCCUPANCY_GRID, POINT_CLOUD
from seg_perception.outputs import OUTPUTS
from seg_perception.perception.drivable import OCCUPIED
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
    manager = yaml.safe_load((CONFIG / "segmentation.rviz").read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == PipelineConfig().ground_frame
    displays = [d for d in manager["Displays"] if "Topic" in d]
    assert [d["Class"] for d in manager["Displays"] if "Topic" not in d] == ["rviz_default_plugins/TF"]
    shows = {
        "Image": IMAGE, "Map": OCCUPANCY_GRID, "LaserScan": LASER_SCAN, "MarkerArray": MARKER_ARRAY,
        "PointCloud2": POINT_CLOUD,
    }  # fmt: skip
    types = {d["Topic"]["Value"]: shows[d["Class"].rpartition("/")[2]] for d in displays}
    names = (
        "overlay", "mask", "panoptic", "drivable/grid", "drivable/boundary", "obstacles/markers", "obstacles/points"
    )  # fmt: skip
    published = {f"/segmentation/{o.name}": o.type_name for o in OUTPUTS if o.name in names}
    assert len(published) == len(names)
    assert types == {"/image": IMAGE, **published}
    reliable = PipelineConfig().output_reliability == "reliable"
    for display in displays:
        topic = display["Topic"]
        assert topic["Durability Policy"] == "Volatile"
        assert (topic["Reliability Policy"] == "Reliable") == (reliable and topic["Value"] != "/image")


# As nav2_costmap_2d declares them from Humble to Kilted: costmap_2d_ros.cpp, obstacle_layer.cpp, static_layer.cpp,
# inflation_layer.cpp.
COSTMAP = {
    "global_frame", "robot_base_frame", "rolling_window", "width", "height", "resolution", "update_frequency",
    "publish_frequency", "robot_radius", "track_unknown_space", "trinary_costmap", "lethal_cost_threshold",
    "transform_tolerance", "plugins",
}  # fmt: skip
LAYERS = {
    "nav2_costmap_2d::ObstacleLayer": {"min_obstacle_height", "max_obstacle_height", "observation_sources"},
    "nav2_costmap_2d::StaticLayer": {"map_topic", "map_subscribe_transient_local", "subscribe_to_updates"},
    "nav2_costmap_2d::InflationLayer": {"cost_scaling_factor", "inflation_radius"},
}
SOURCE = {
    "topic", "data_type", "marking", "clearing", "inf_is_valid", "obstacle_max_range", "obstacle_min_range",
    "raytrace_max_range", "raytrace_min_range", "min_obstacle_height", "max_obstacle_height",
}  # fmt: skip

CLEARING = {"raytrace_max_range", "raytrace_min_range", "inf_is_valid"}
"""Only what clears is traced along its rays."""


def nav2_layers(costmap: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """One of the example's costmaps and its layers by class; every name in it is one that Nav2 knows."""
    values = yaml.safe_load((CONFIG / "nav2_example.yaml").read_text())[costmap][costmap]["ros__parameters"]
    layers = {name: value for name, value in values.items() if isinstance(value, dict)}
    assert set(values) - set(layers) <= COSTMAP
    assert set(values["plugins"]) == set(layers)
    for layer in layers.values():
        sources = layer.get("observation_sources", "").split()
        assert set(layer) - {"plugin", *sources} == LAYERS[layer["plugin"]]
        for source in sources:
            assert set(layer[source]) == (SOURCE if layer[source]["clearing"] else SOURCE - CLEARING)
    return values, {layer["plugin"].rpartition("::")[2]: layer for layer in layers.values()}


def test_the_nav2_example_reads_the_boundary_as_it_is_published() -> None:
    costmap, layers = nav2_layers("local_costmap")
    boundary = layers["ObstacleLayer"]["boundary"]
    published = {f"/segmentation/{output.name}": output.type_name for output in OUTPUTS}
    assert published[boundary["topic"]] == LASER_SCAN == f"sensor_msgs/msg/{boundary['data_type']}"
    assert "sensor_frame" not in boundary  # the message's own
    assert boundary["marking"] and boundary["clearing"] and boundary["inf_is_valid"]
    # Nav2 makes +inf a return just before range_max: it must clear that far, and not be marked itself.
    assert boundary["obstacle_max_range"] < PipelineConfig().boundary_range_m - costmap["resolution"]
    assert boundary["raytrace_max_range"] == PipelineConfig().boundary_range_m
    assert 0 <= boundary["obstacle_min_range"] <= boundary["raytrace_min_range"] < boundary["obstacle_max_range"]
    for heights in (layers["ObstacleLayer"], boundary):
        assert heights["min_obstacle_height"] < 0 < heights["max_obstacle_height"]
    assert costmap["rolling_window"]


def test_the_nav2_example_marks_things_where_their_points_are() -> None:
    _, layers = nav2_layers("local_costmap")
    layer, things = layers["ObstacleLayer"], layers["ObstacleLayer"]["things"]
    published = {f"/segmentation/{output.name}": output.type_name for output in OUTPUTS}
    assert published[things["topic"]] == POINT_CLOUD == f"sensor_msgs/msg/{things['data_type']}"
    assert things["marking"] and not things["clearing"]  # what is behind a thing was not seen
    for heights in (layer, things):  # the lowest points of everything stand 0.125 m above the ground
        assert heights["min_obstacle_height"] < 0.125 < heights["max_obstacle_height"]


def test_the_nav2_example_reads_the_grid_as_it_is_published() -> None:
    costmap, layers = nav2_layers("local_costmap_of_grid")
    published = {f"/segmentation/{output.name}": output.type_name for output in OUTPUTS}
    assert published[layers["StaticLayer"]["map_topic"]] == OCCUPANCY_GRID
    assert layers["StaticLayer"]["map_subscribe_transient_local"] is False
    assert costmap["trinary_costmap"] is False and costmap["track_unknown_space"] is True
    assert PipelineConfig().caution_value < costmap["lethal_cost_threshold"] == OCCUPIED
    assert list(layers)[0] == "StaticLayer" and costmap["plugins"][0] == "grid_layer"
    assert costmap["rolling_window"]
