"""Parts that several messages about objects share: names, ids, and boxes that stand on the ground."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.messages.kit import MessageKit
from seg_perception.objects import Objects, Obstacles

__all__ = ["StandingBoxes", "class_names", "id_texts", "nowhere", "points", "poses", "turns"]


@dataclass(frozen=True)
class StandingBoxes:
    """A box around each obstacle, level, its x axis along the camera's line of sight.

    How deep an obstacle is cannot be seen: as deep as wide is assumed. The box begins at the place where the obstacle
    meets the ground and lies behind it.

    Attributes:
        centres_m: float64 `[m, 3]`, in the ground frame.
        yaws_rad: float64 `[m]`, of the line of sight, in the ground frame.
        sizes_m: float64 `[m, 3]`, (depth, width, height).
    """

    centres_m: np.ndarray
    yaws_rad: np.ndarray
    sizes_m: np.ndarray

    @classmethod
    def of(cls, obstacles: Obstacles) -> StandingBoxes:
        """Turned along the line of sight."""
        yaws = obstacles.bearings_rad + obstacles.heading_rad
        sizes = np.column_stack([obstacles.widths_m, obstacles.widths_m, obstacles.heights_m])
        centres = np.empty((len(obstacles), 3))
        away = np.column_stack([np.cos(yaws), np.sin(yaws)])
        centres[:, :2] = obstacles.positions_m + away * (sizes[:, :1] / 2)
        centres[:, 2] = obstacles.ground_z_m + sizes[:, 2] / 2
        return cls(centres, yaws, sizes)


def points(kit: MessageKit, places_m: np.ndarray) -> list[Any]:
    """geometry_msgs/Point of each place, float64 `[n, 3]`."""
    x, y, z = places_m.T.tolist()
    return kit.make_many("geometry_msgs/msg/Point", len(places_m), x=x, y=y, z=z)


def turns(kit: MessageKit, yaws_rad: np.ndarray) -> list[Any]:
    """geometry_msgs/Quaternion of each turn about z, float64 `[n]`."""
    zero, half = repeat(0.0), yaws_rad / 2
    z, w = np.sin(half).tolist(), np.cos(half).tolist()
    return kit.make_many("geometry_msgs/msg/Quaternion", len(yaws_rad), x=zero, y=zero, z=z, w=w)


def poses(kit: MessageKit, places: list[Any], turned: Iterable[Any]) -> list[Any]:
    """geometry_msgs/Pose of each place."""
    return kit.make_many("geometry_msgs/msg/Pose", len(places), position=places, orientation=turned)


def nowhere(kit: MessageKit) -> Any:
    """geometry_msgs/Pose at the origin, not turned."""
    return poses(kit, points(kit, np.zeros((1, 3))), turns(kit, np.zeros(1)))[0]


def class_names(class_ids: np.ndarray, labels: LabelSet) -> list[str]:
    """Of each class id; its number, where the label set does not have it."""
    names = {label.id: label.name for label in labels}
    return [names.get(class_id) or str(class_id) for class_id in class_ids.tolist()]


def id_texts(objects: Objects) -> list[str]:
    """Track ids as strings; empty for all where nobody tracks."""
    return [""] * len(objects) if objects.track_ids is None else list(map(str, objects.track_ids.tolist()))
