"""`seg_perception replay`: where to drive, on a bag of a plain road that ends at a wall, so that all can be worked out.

The camera rises while it looks at the wall: its distance in the picture is right for the height at one moment only.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from bags import (
    CAMERA_INFO,
    IMAGE,
    QOS,
    Message,
    Reader,
    cdr_camera_info,
    cdr_image,
    message,
    read_image,
    read_mcap,
    write_mcap,
    write_sqlite,
)

pytest.importorskip("rosbags", reason="bags need rosbags")
reader_module = pytest.importorskip("mcap.reader", reason="bags are checked with the mcap package")

from test_bag_transforms import cdr_tf

from seg_perception.cli import main

HEIGHT, WIDTH, FOCAL_PX = 96, 128, 80.0
FIRST_ROAD_ROW = 63
FRAMES, PERIOD_NS, MS = 6, 100_000_000, 1_000_000
PARAMETERS = [
    "backend=replayed", "grid_x_m=[0, 20]", "grid_y_m=[-10, 10]", "grid_resolution_m=0.1", "contact_depth_m=0.3",
    "boundary_step_deg=0.25",
]  # fmt: skip
FORWARD_M, YAW_RAD = 0.5, 0.2
TF, GRID, SCAN = "tf2_msgs/msg/TFMessage", "nav_msgs/msg/OccupancyGrid", "sensor_msgs/msg/LaserScan"


def stamp_ns(index: int) -> int:
    return 1_700_000_000_000_000_001 + index * PERIOD_NS


def height_m(at_ns: int) -> float:
    """It rises evenly, so that what is interpolated is what it truly was."""
    return 1.0 + 2.0 * (at_ns - stamp_ns(0)) * 1e-9


def row_m(index: int, row: float) -> float:
    """How far from the camera, along its optical axis, the ground is that a row of that picture shows."""
    return FOCAL_PX * height_m(stamp_ns(index)) / (row - HEIGHT / 2)


WALL, LAST_ROW = FIRST_ROAD_ROW - 0.5, HEIGHT - 0.5
"""Where the wall meets the road, and the picture's lower edge."""


class Wall:
    """The bag. Transforms are stamped between two images, and logged 20 ms later; images 5 ms."""

    def __init__(self, folder: Path) -> None:
        self.path, self.output, self.masks = folder / "in.mcap", folder / "out.mcap", folder / "masks"
        self.masks.mkdir()
        mask = np.full((HEIGHT, WIDTH), 2, np.uint8)  # building
        mask[FIRST_ROAD_ROW:] = 0
        self.messages = []
        for i in range(FRAMES):
            cv2.imwrite(str(self.masks / f"{stamp_ns(i)}.png"), mask)
            image = cdr_image(stamp_ns(i), np.zeros((HEIGHT, WIDTH, 1), np.uint8), "mono8")
            info = cdr_camera_info(stamp_ns(i), WIDTH, HEIGHT, FOCAL_PX)
            late_ns = stamp_ns(i) + 5 * MS
            self.messages += [message("/cam/camera_info", CAMERA_INFO, late_ns - 1, info)]
            self.messages += [message("/cam/image_raw", IMAGE, late_ns, image)]
        for i in range(-1, FRAMES):
            at_ns = stamp_ns(i) + PERIOD_NS // 2
            self.messages += [message("/tf", TF, at_ns + 20 * MS, self._body(at_ns))]
        turn = (-0.5, 0.5, -0.5, 0.5)  # REP 103: an optical frame in its camera's body frame
        self.messages += [message("/tf_static", TF, stamp_ns(2), cdr_tf(("mast", "cam", 0, (0, 0, 0), turn)))]
        self.messages.sort(key=lambda m: m.log_ns)

    @staticmethod
    def _body(at_ns: int) -> bytes:
        turn = (0, 0, math.sin(YAW_RAD / 2), math.cos(YAW_RAD / 2))
        return cdr_tf(("base_footprint", "mast", at_ns, (FORWARD_M, 0, height_m(at_ns)), turn))

    def leave_out(self, topic: str) -> None:
        self.messages = [m for m in self.messages if m.topic != topic]

    def replay(self, *options: str, wait_ms: int = 100, storage: str = ".mcap") -> list[Message]:
        path = self.path.with_suffix(storage)
        if storage == ".mcap":
            write_mcap(path, self.messages)
        else:
            write_sqlite(path, self.messages)
        given = [*PARAMETERS, f"replay_masks={self.masks}", f"tf_wait_ms={wait_ms}"]
        parameters = [word for parameter in given for word in ("--param", parameter)]
        assert main(["replay", str(path), "-o", str(self.output), "--force", *parameters, *options]) == 0
        return read_mcap(self.output)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(tmp_path)


class GridSeen(NamedTuple):
    stamp_ns: int
    frame_id: str
    resolution_m: float
    origin: tuple[float, ...]
    values: np.ndarray


def read_grid(data: bytes) -> GridSeen:
    """By the wire format of nav_msgs/OccupancyGrid."""
    cdr = Reader(data)
    stamp, frame_id = cdr.header()
    assert cdr.get("i") * 10**9 + cdr.get("I") == stamp  # the map's own
    resolution_m, width, height = cdr.get("f"), cdr.get("I"), cdr.get("I")
    origin = tuple(cdr.get("d") for _ in range(7))
    values = np.frombuffer(cdr.octets(), np.int8).reshape(height, width)
    return GridSeen(stamp, frame_id, resolution_m, origin, values)


class ScanSeen(NamedTuple):
    stamp_ns: int
    frame_id: str
    bearings_rad: np.ndarray
    ranges_m: np.ndarray


def read_scan(data: bytes) -> ScanSeen:
    """By the wire format of sensor_msgs/LaserScan."""
    cdr = Reader(data)
    stamp, frame_id = cdr.header()
    low, high, step, between_s, whole_s, nearest_m, farthest_m = (cdr.get("f") for _ in range(7))
    ranges = np.array([cdr.get("f") for _ in range(cdr.get("I"))])
    assert cdr.get("I") == 0  # intensities
    assert between_s == whole_s == 0 and 0 < nearest_m < farthest_m
    assert high == pytest.approx(low + (len(ranges) - 1) * step, abs=1e-5)
    return ScanSeen(stamp, frame_id, low + np.arange(len(ranges)) * step, ranges)


def read_tf(data: bytes) -> tuple[int, str, str, tuple[float, ...]]:
    """Stamp, parent, child, then translation and quaternion, of a message with one transform."""
    cdr = Reader(data)
    assert cdr.get("I") == 1
    stamp, parent = cdr.header()
    return stamp, parent, cdr.string(), tuple(cdr.get("d") for _ in range(7))


def of(messages: list[Message], topic: str) -> list[Message]:
    return [m for m in messages if m.topic == topic]


def test_the_wall_is_where_it_was_at_each_images_stamp(wall: Wall) -> None:
    out = wall.replay()
    scans = [read_scan(m.data) for m in of(out, "/segmentation/drivable/boundary")]
    grids = [read_grid(m.data) for m in of(out, "/segmentation/drivable/grid")]
    masks = [read_image(m.data) for m in of(out, "/segmentation/drivable/mask")]
    for seen in (scans, grids, masks):
        assert [s.stamp_ns for s in seen] == [stamp_ns(i) for i in range(FRAMES)]
    for i, (scan, grid, mask) in enumerate(zip(scans, grids, masks)):
        assert (scan.frame_id, grid.frame_id, mask.frame_id) == ("camera_footprint", "base_footprint", "cam")
        assert mask.encoding == "mono8" and set(np.unique(mask.pixels[:FIRST_ROAD_ROW])) == {0}
        assert set(np.unique(mask.pixels[FIRST_ROAD_ROW:])) == {255}
        # Where a range ends is known to 0.3 rows of 14.5.
        ahead = np.isfinite(scan.ranges_m)
        assert ahead.sum() > 250 and not np.isinf(scan.ranges_m).any()
        np.testing.assert_allclose(scan.ranges_m[ahead] * np.cos(scan.bearings_rad[ahead]), row_m(i, WALL), rtol=0.025)

        assert grid.values.shape == (200, 200) and grid.resolution_m == pytest.approx(0.1)
        assert grid.origin == (0.0, -10.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        x, y = np.meshgrid(0.05 + 0.1 * np.arange(200), -9.95 + 0.1 * np.arange(200))
        along = (x - FORWARD_M) * math.cos(YAW_RAD) + y * math.sin(YAW_RAD)
        aside = y * math.cos(YAW_RAD) - (x - FORWARD_M) * math.sin(YAW_RAD)
        ahead = (np.abs(aside) < 0.7 * along) & (along > row_m(i, LAST_ROW) + 0.01)  # 0.8 is the picture's edge
        wall_m, occupied = row_m(i, WALL), grid.values == 100
        # In the very row before the wall its foot may hide the ground.
        assert (grid.values[ahead & (along < row_m(i, WALL + 1))] == 0).all()
        deep_m = 0.3 * along / np.hypot(along, aside)  # is along the ray, not along the axis
        assert occupied[ahead & (along > wall_m + 0.01) & (along < wall_m + deep_m - 0.01)].all()
        assert not occupied[along < wall_m].any()
        assert (grid.values[along > wall_m + deep_m + 0.01] == -1).all()


def test_a_footprint_goes_before_each_boundary_and_the_bags_own_transforms_stay(wall: Wall) -> None:
    out = wall.replay()
    ours = [m for m in of(out, "/tf") if m not in wall.messages]
    assert sorted(m for m in out if m.topic in ("/tf", "/tf_static") and m not in ours) == sorted(
        m for m in wall.messages if m.type_name == TF
    )
    assert len(ours) == FRAMES
    for i, m in enumerate(ours):
        stamp, parent, child, pose = read_tf(m.data)
        assert (stamp, parent, child) == (stamp_ns(i), "base_footprint", "camera_footprint")
        expected = (FORWARD_M, 0, 0, 0, 0, math.sin(YAW_RAD / 2), math.cos(YAW_RAD / 2))
        assert pose == pytest.approx(expected, abs=1e-9)
    order = [m.topic for m in out if m in ours or m.topic.endswith("boundary")]
    assert order == ["/tf", "/segmentation/drivable/boundary"] * FRAMES
    with wall.output.open("rb") as file:
        channels = [c for c in reader_module.make_reader(file).get_summary().channels.values() if c.topic == "/tf"]
    assert channels[0].metadata["offered_qos_profiles"] == QOS
    assert "depth: 100\n" in channels[1].metadata["offered_qos_profiles"]
    assert "durability: 2\n" in channels[1].metadata["offered_qos_profiles"]


def test_transforms_a_node_would_not_have_heard_in_time_are_not_used(
    wall: Wall, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one behind an image is logged 65 ms after it."""
    out = wall.replay(wait_ms=60)
    assert not of(out, "/segmentation/drivable/grid") and not of(out, "/segmentation/drivable/boundary")
    assert not [m for m in of(out, "/tf") if m not in wall.messages]
    assert len(of(out, "/segmentation/mask")) == len(of(out, "/segmentation/drivable/mask")) == FRAMES
    said = capsys.readouterr().out
    assert f"{FRAMES} published, 0 failed" in said
    assert f"{FRAMES} without drivable grid and boundary, extrapolation_future: " in said and "mast" in said


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("/cam/camera_info", "no_camera_info"), ("/tf_static", "unknown_frame"), ("/tf", "unknown_frame")],
)
def test_what_is_missing_is_said_and_costs_no_masks(
    wall: Wall, capsys: pytest.CaptureFixture[str], missing: str, reason: str
) -> None:
    wall.leave_out(missing)
    out = wall.replay()
    assert not of(out, "/segmentation/drivable/grid") and not of(out, "/segmentation/drivable/boundary")
    assert len(of(out, "/segmentation/mask")) == len(of(out, "/segmentation/drivable/mask")) == FRAMES
    assert f"{FRAMES} without drivable grid and boundary, {reason}: " in capsys.readouterr().out


def test_a_camera_that_does_not_move_is_placed_once(wall: Wall) -> None:
    """Latched, and before the first boundary, so that nobody waits for it."""
    out = wall.replay("--param", "camera.pose_source=parameters")
    scans = of(out, "/segmentation/drivable/boundary")
    assert len(scans) == FRAMES and not [m for m in of(out, "/tf") if m not in wall.messages]
    placed = [m for m in of(out, "/tf_static") if m not in wall.messages]
    assert len(placed) == 1 and out.index(placed[0]) < out.index(scans[0])


def test_the_same_from_every_storage_and_without_the_input(wall: Wall) -> None:
    out, alone = wall.replay(), wall.replay("--only-outputs")
    stored = wall.replay(storage=".db3")
    for topic in ("/segmentation/drivable/mask", "/segmentation/drivable/grid", "/segmentation/drivable/boundary"):
        assert len(of(out, topic)) == FRAMES
        assert of(out, topic) == of(alone, topic) == of(stored, topic)
    assert of(alone, "/tf") == [m for m in of(out, "/tf") if m not in wall.messages]


def test_only_what_is_asked_for_is_looked_for(wall: Wall, capsys: pytest.CaptureFixture[str]) -> None:
    wall.leave_out("/tf")
    out = wall.replay("--outputs", "drivable/mask", "--prefix", "/seg", "--only-outputs")
    assert [m.topic for m in out] == ["/seg/drivable/mask"] * FRAMES
    assert "without" not in capsys.readouterr().out
    grids = Wall.replay(wall, "--outputs", "drivable/grid", "--param", "camera.pose_source=parameters")
    assert {m.topic for m in grids} - {m.topic for m in wall.messages} == {"/segmentation/drivable/grid"}
