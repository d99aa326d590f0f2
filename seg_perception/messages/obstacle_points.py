"""Where obstacles meet the ground, as a point cloud that a costmap marks."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np

from seg_perception.messages.kit import MessageKit, header
from seg_perception.objects import Objects, Obstacles

__all__ = ["POINT_CLOUD", "obstacle_points_message"]

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"

_STEP_M, _HIGHEST_M = 0.25, 2.0

_POINT = np.dtype(
    {
        "names": ["x", "y", "z", "vx", "vy", "track", "class", "instance", "relative"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<f4", "<u4", "<u2", "<u2", "|u1"],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 26, 28],
        "itemsize": 32,
    }
)
_DATATYPES = {"<f4": 7, "<u4": 6, "<u2": 4, "|u1": 2}
"""sensor_msgs/PointField's FLOAT32, UINT32, UINT16, UINT8."""


def obstacle_points_message(kit: MessageKit, stamp_ns: int, obstacles: Obstacles, objects: Objects) -> Any:
    """sensor_msgs/PointCloud2 in the ground frame: all places where obstacles are seen to meet the ground.

    Each is there several times, one above the other: in the middle of every 0.25 m of the obstacle's height up to 2 m,
    and once at least, so that whoever looks at some range of heights alone meets the obstacle there.

    Fields: `x`, `y`, `z`; `vx`, `vy`, along the frame's axes, m/s, NaN as long as they are not known; `track`, the
    track id's last 32 bits, 0 where nobody tracks; `class`; `instance`, the object's number in the panoptic image;
    `relative`, 1 where velocities are relative to the vehicle.
    """
    points = _points(obstacles, objects)
    names = list(_POINT.fields or ())
    kinds, offsets = zip(*((_POINT[name].str, _POINT.fields[name][1]) for name in names))  # type: ignore[index]
    fields = kit.make_many(
        "sensor_msgs/msg/PointField",
        len(names),
        name=names,
        offset=offsets,
        datatype=[_DATATYPES[kind] for kind in kinds],
        count=repeat(1),
    )
    return kit.make(
        POINT_CLOUD,
        header=header(kit, stamp_ns, obstacles.frame_id),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=points.nbytes,
        data=kit.byte_sequence(points.view(np.uint8)),
        is_dense=True,  # of the places; a velocity may be unknown
    )


def _points(obstacles: Obstacles, objects: Objects) -> np.ndarray:
    """One row each, of the type `_POINT`."""
    usable = np.isfinite(obstacles.contacts_m).all(axis=1)
    rows = obstacles.contact_rows[usable]
    objects_rows = obstacles.rows[rows]
    feet = np.zeros(len(rows), _POINT)
    feet["x"], feet["y"] = obstacles.contacts_m[usable].T
    feet["vx"], feet["vy"] = obstacles.velocities_mps[rows].T
    feet["class"], feet["instance"] = objects.class_ids[objects_rows], objects_rows + 1
    if objects.track_ids is not None:
        feet["track"] = objects.track_ids[objects_rows] & 0xFFFFFFFF
    feet["relative"] = obstacles.is_relative
    highest = np.fmin(np.nan_to_num(obstacles.heights_m[rows]), _HIGHEST_M)
    levels = np.maximum(1, np.floor(highest / _STEP_M + 0.5)).astype(np.intp)
    points = feet.repeat(levels)
    below = np.repeat(np.cumsum(levels) - levels, levels)
    points["z"] = obstacles.ground_z_m + (np.arange(len(points)) - below + 0.5) * _STEP_M
    return points
