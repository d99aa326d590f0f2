"""What a recording says of the ground, held against the picture of what went into it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seg_perception.bag import Bag, Connection, McapWriter, RosbagsKit
from seg_perception.birds_eye import birds_eye
from seg_perception.geometry.transforms import transform_of_matrix
from seg_perception.labels import CITYSCAPES
from seg_perception.messages import (
    DETECTION_3D_ARRAY,
    LASER_SCAN,
    OCCUPANCY_GRID,
    POINT_CLOUD,
    TF_MESSAGE,
    laser_scan_message,
    obstacle_points_message,
    obstacles_message,
    occupancy_grid_message,
    tf_message,
)
from seg_perception.objects import Objects, Obstacles
from seg_perception.recorded_ground import RecordedGround
from seg_perception.types import Boundary, Grid

KIT = RosbagsKit()
STAMP_NS = 1_700_000_000_200_000_000
HEADING_RAD = 0.4
TOPICS = {
    "/segmentation/drivable/grid": OCCUPANCY_GRID, "/segmentation/drivable/boundary": LASER_SCAN,
    "/segmentation/obstacles": DETECTION_3D_ARRAY, "/segmentation/obstacles/points": POINT_CLOUD, "/tf": TF_MESSAGE,
}  # fmt: skip

GRID = Grid(np.zeros((60, 100), np.int8), 0.0, -6.0, 0.0, 0.25)
BOUNDARY = Boundary(-0.5, 0.25, 0.5, 20.0, np.array([4.0, 6.0, np.inf, 8.0, np.nan]))
POSE = np.array(
    [
        [math.cos(HEADING_RAD), -math.sin(HEADING_RAD), 0.0, 1.5],
        [math.sin(HEADING_RAD), math.cos(HEADING_RAD), 0.0, 0.25],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
TRACKS = np.array([7, 2**33 + 5, 12, 3])
OBJECTS = Objects(
    np.zeros((4, 4), np.uint16), np.full(4, 11, np.uint8), np.ones(4, np.float32), np.ones(4, np.int32),
    np.zeros((4, 4), np.int32), track_ids=TRACKS,
)  # fmt: skip


def obstacles(is_relative: bool) -> Obstacles:
    """Of the objects 3, 0 and 1; the second at a speed that is not known, the third without a place of contact."""
    positions = np.array([[6.0, 2.0], [11.0, -3.0], [16.0, 1.0]])
    seen = positions - POSE[:2, 3]
    return Obstacles(
        "base_footprint", 0.0, np.array([3, 0, 1]), positions, np.array([np.diag([0.25, 0.04])] * 3),
        np.array([0.5, 1.75, 2.5]), np.array([1.5, 1.0, 2.0]), np.hypot(*seen.T),
        np.arctan2(seen[:, 1], seen[:, 0]) - HEADING_RAD, positions[[0, 0, 1]], np.array([0, 0, 1]), 0,
        np.array([[1.5, -0.5], [np.nan, np.nan], [np.nan, np.nan]]), is_relative, HEADING_RAD,
    )  # fmt: skip


def messages(things: Obstacles, frame: str = "base_footprint") -> dict[str, Any]:
    placed = dataclasses.replace(things, frame_id=frame)
    return {
        "/tf": tf_message(KIT, [transform_of_matrix("base_footprint", "camera_footprint", STAMP_NS, POSE)]),
        "/segmentation/drivable/grid": occupancy_grid_message(KIT, STAMP_NS, "base_footprint", GRID),
        "/segmentation/drivable/boundary": laser_scan_message(KIT, STAMP_NS, "camera_footprint", BOUNDARY),
        "/segmentation/obstacles": obstacles_message(KIT, STAMP_NS, placed, OBJECTS, CITYSCAPES),
        "/segmentation/obstacles/points": obstacle_points_message(KIT, STAMP_NS, placed, OBJECTS),
    }


def picture_of(path: Path, recorded: dict[str, Any], stamp_ns: int = STAMP_NS) -> np.ndarray | None:
    with McapWriter(path, overwrite=True) as writer:
        for topic, message in recorded.items():
            definition = KIT.definition(TOPICS[topic])
            channel = writer.add_connection(
                Connection(
                    topic,
                    TOPICS[topic],
                    definition=definition.text.encode(),
                    definition_encoding="ros2msg",
                    metadata={"topic_type_hash": definition.type_hash},
                )  # fmt: skip
            )
            writer.write(channel, STAMP_NS, bytes(KIT.serialize(message, TOPICS[topic])))
    with Bag(path) as bag:
        return RecordedGround(bag, "/segmentation").picture(stamp_ns, 400)


@pytest.mark.parametrize("is_relative", [False, True])
def test_the_picture_is_that_of_what_was_recorded(tmp_path: Path, is_relative: bool) -> None:
    things = obstacles(is_relative)
    picture = picture_of(tmp_path / "a.mcap", messages(things))
    expected = birds_eye(GRID, BOUNDARY, POSE, 400, things, TRACKS[things.rows])
    assert picture is not None
    # float32 ranges, and quaternions for angles: a line may fall on the neighbouring shade
    assert (np.abs(picture.astype(int) - expected) > 40).any(-1).mean() < 1e-3
    without = birds_eye(GRID, BOUNDARY, POSE, 400)
    assert (np.abs(without.astype(int) - expected) > 40).any(-1).mean() > 5e-3


def test_without_points_nobody_knows_how_fast(tmp_path: Path) -> None:
    things = obstacles(False)
    recorded = messages(things)
    del recorded["/segmentation/obstacles/points"]
    still = dataclasses.replace(things, velocities_mps=np.full((3, 2), np.nan))
    expected = birds_eye(GRID, BOUNDARY, POSE, 400, still, TRACKS[things.rows])
    picture = picture_of(tmp_path / "a.mcap", recorded)
    assert picture is not None and (np.abs(picture.astype(int) - expected) > 40).any(-1).mean() < 1e-3


def test_obstacles_of_another_frame_or_none_leave_the_ground(tmp_path: Path) -> None:
    empty = messages(obstacles(False), frame="map")
    alone = {topic: m for topic, m in messages(obstacles(False)).items() if "obstacles" not in topic}
    nobody = dataclasses.replace(
        obstacles(False), rows=np.zeros(0, np.intp), positions_m=np.zeros((0, 2)), covariances_m2=np.zeros((0, 2, 2)),
        widths_m=np.zeros(0), heights_m=np.zeros(0), ranges_m=np.zeros(0), bearings_rad=np.zeros(0),
        contacts_m=np.zeros((0, 2)), contact_rows=np.zeros(0, np.intp), velocities_mps=np.zeros((0, 2)),
    )  # fmt: skip
    expected = birds_eye(GRID, BOUNDARY, POSE, 400)
    for recorded in (empty, alone, messages(nobody)):
        picture = picture_of(tmp_path / "a.mcap", recorded)
        assert picture is not None and (np.abs(picture.astype(int) - expected) > 40).any(-1).mean() < 1e-3


def test_a_stamp_without_a_grid_is_unseen_and_a_run_without_one_has_no_picture(tmp_path: Path) -> None:
    unseen = birds_eye(dataclasses.replace(GRID, values=np.full_like(GRID.values, -1)), None, None, 400)
    np.testing.assert_array_equal(picture_of(tmp_path / "a.mcap", messages(obstacles(False)), STAMP_NS - 5), unseen)
    recorded = messages(obstacles(False))
    del recorded["/segmentation/drivable/grid"]
    assert picture_of(tmp_path / "b.mcap", recorded) is None
