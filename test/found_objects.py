"""Objects and obstacles to fill messages with, and how each message is filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from seg_perception.labels import CITYSCAPES
from seg_perception.messages import (
    DETECTION_2D_ARRAY,
    DETECTION_3D_ARRAY,
    IMAGE,
    MARKER_ARRAY,
    POINT_CLOUD,
    detections_message,
    markers_message,
    obstacle_points_message,
    obstacles_message,
    panoptic_message,
)
from seg_perception.objects import Objects, Obstacles

STAMP_NS = 12_000_000_345
PERSON, CAR = 11, 13
BUILDERS: dict[str, Callable[[Any, Objects, Obstacles], Any]] = {
    DETECTION_2D_ARRAY: lambda kit, seen, there: detections_message(kit, STAMP_NS, "camera", seen, CITYSCAPES),
    DETECTION_3D_ARRAY: lambda kit, seen, there: obstacles_message(kit, STAMP_NS, there, seen, CITYSCAPES),
    POINT_CLOUD: lambda kit, seen, there: obstacle_points_message(kit, STAMP_NS, there, seen),
    MARKER_ARRAY: lambda kit, seen, there: markers_message(kit, STAMP_NS, there, seen, CITYSCAPES),
    IMAGE: lambda kit, seen, there: panoptic_message(kit, STAMP_NS, "camera", seen.instance_map),
}


def two_objects() -> Objects:
    """A person with the number 1 and a car with the number 2."""
    instance_map = np.zeros((4, 6), np.uint16)
    instance_map[1, 1], instance_map[2:, 3:] = 1, 2
    return Objects(
        instance_map, np.array([PERSON, CAR], np.uint8), np.array([0.5, 0.75], np.float32),
        np.array([1, 6], np.int32), np.array([[1, 1, 2, 2], [3, 2, 6, 4]], np.int32), {},
        np.array([7, 12], np.int64), np.array([[2.5, 1.5, 5.5, 9.5], [100.0, 50.0, 160.0, 90.0]]),
    )  # fmt: skip


def car_ahead() -> Obstacles:
    """The car alone, 8 m to the left of a camera at the origin that looks along y; the person's feet are hidden."""
    return Obstacles(
        "base_link", -0.25, np.array([1]), np.array([[0.0, 8.0]]), np.array([[[0.04, 0.01], [0.01, 0.09]]]),
        np.array([1.8]), np.array([1.5]), np.array([8.0]), np.array([0.0]),
        np.array([[-0.9, 8.0], [0.9, 8.5]]), np.array([0, 0]), 1, np.array([[3.0, -4.0]]), True,
    )  # fmt: skip


def scene(n: int, seed: int = 0) -> tuple[Objects, Obstacles]:
    """n objects of which all but every fourth are obstacles, each with three contacts; some have no velocity."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 400, (n, 2))
    seen = Objects(
        rng.integers(0, n + 1, (6, 8)).astype(np.uint16), rng.integers(11, 19, n).astype(np.uint8),
        rng.random(n).astype(np.float32), np.ones(n, np.int32), np.zeros((n, 4), np.int32), {},
        rng.permutation(n).astype(np.int64) + 1, np.column_stack([low, low + rng.uniform(0, 90, (n, 2))]),
    )  # fmt: skip
    rows = np.array([i for i in range(n) if i % 4 != 1], np.intp)
    m = len(rows)
    bearings, ranges, parts = rng.uniform(-0.5, 0.5, m), rng.uniform(3, 40, m), rng.normal(size=(m, 2, 2))
    positions = np.column_stack([ranges * np.cos(bearings), ranges * np.sin(bearings)])
    owners = np.repeat(np.arange(m), 3)
    velocities = np.where(rng.random((m, 1)) < 0.3, np.nan, rng.normal(size=(m, 2)))
    there = Obstacles(
        "odom", 0.1, rows, positions, parts @ parts.transpose(0, 2, 1), rng.uniform(0.4, 2, m),
        rng.uniform(0.05, 3, m), ranges, bearings, positions[owners] + rng.normal(size=(3 * m, 2)), owners, n - m,
        velocities, bool(seed % 2),
    )  # fmt: skip
    return seen, there


def hostile() -> tuple[Objects, Obstacles]:
    """Ids beyond every field, a class that no label set has, numbers that are none."""
    seen, there = scene(8, seed=5)
    ids = np.array([2**31, 2**32 + 5, -1, 2**63 - 1, 0, 2**31 - 1, 2**40 + 9, 3], np.int64)
    seen = replace(seen, track_ids=ids, class_ids=np.array([200, 255, 11, 0, 1, 2, 3, 13], np.uint8))
    nan, contacts, heights = np.full_like(there.positions_m, np.nan), there.contacts_m.copy(), there.heights_m.copy()
    contacts[0], contacts[4, 1], heights[:3] = np.nan, np.inf, (np.nan, np.inf, -1.0)
    return seen, replace(
        there, positions_m=nan, velocities_mps=np.full_like(nan, np.inf), contacts_m=contacts, heights_m=heights,
        widths_m=np.full_like(there.widths_m, np.inf), covariances_m2=there.covariances_m2 * np.nan,
    )  # fmt: skip


def xyz(part: Any) -> tuple[float, float, float]:
    return part.x, part.y, part.z
