"""Where the ground can be driven on, as messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from seg_perception.messages.kit import MessageKit, header
from seg_perception.types import Boundary, Grid

__all__ = [
    "LASER_SCAN",
    "OCCUPANCY_GRID",
    "laser_scan_message",
    "occupancy_grid_message",
]

LASER_SCAN = "sensor_msgs/msg/LaserScan"
OCCUPANCY_GRID = "nav_msgs/msg/OccupancyGrid"


def occupancy_grid_message(kit: MessageKit, stamp_ns: int, frame_id: str, grid: Grid) -> Any:
    """nav_msgs/OccupancyGrid."""
    rows, columns = grid.values.shape
    head = header(kit, stamp_ns, frame_id)
    corner = kit.make("geometry_msgs/msg/Point", x=grid.x_m, y=grid.y_m, z=grid.z_m)
    level = kit.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    info = kit.make(
        "nav_msgs/msg/MapMetaData",
        map_load_time=head.stamp,
        resolution=grid.resolution_m,
        width=columns,
        height=rows,
        origin=kit.make("geometry_msgs/msg/Pose", position=corner, orientation=level),
    )
    values = np.ascontiguousarray(grid.values).reshape(-1)
    return kit.make(OCCUPANCY_GRID, header=head, info=info, data=kit.int8_sequence(values))


def laser_scan_message(kit: MessageKit, stamp_ns: int, frame_id: str, boundary: Boundary) -> Any:
    """sensor_msgs/LaserScan; all ranges are of one moment."""
    last = boundary.bearing_min_rad + (len(boundary.ranges_m) - 1) * boundary.bearing_step_rad
    return kit.make(
        LASER_SCAN,
        header=header(kit, stamp_ns, frame_id),
        angle_min=boundary.bearing_min_rad,
        angle_max=last,
        angle_increment=boundary.bearing_step_rad,
        time_increment=0.0,
        scan_time=0.0,
        range_min=boundary.range_min_m,
        range_max=boundary.range_max_m,
        ranges=kit.float32_sequence(boundary.ranges_m.astype(np.float32)),
        intensities=kit.float32_sequence(np.empty(0, np.float32)),
    )
