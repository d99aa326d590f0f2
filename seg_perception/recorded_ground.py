"""What a recorded run says about the ground, as pictures from above."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from seg_perception.bag import Bag, RosbagsKit
from seg_perception.bag.transforms import BagTransforms
from seg_perception.birds_eye import birds_eye
from seg_perception.errors import TransformError
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.messages import stamp_ns_of
from seg_perception.objects import Obstacles
from seg_perception.types import Boundary, Grid

__all__ = ["RecordedGround"]

_LATE_S = 1.0
"""A recorder may write the transform of a boundary so much after it."""


class _InStep:
    """The messages of one topic, asked for by stamp, in rising order."""

    def __init__(self, bag: Bag, topic: str) -> None:
        self._kit = RosbagsKit()
        self._messages = iter(bag.messages([topic]))
        self._stamp_ns = -1
        self.latest: Any = None
        self.log_ns = 0

    def at(self, stamp_ns: int) -> Any:
        """The message with this stamp, or None; `latest` is then one before or after it, if there is any."""
        while self._stamp_ns < stamp_ns and (raw := next(self._messages, None)) is not None:
            self.latest, self.log_ns = self._kit.deserialize(raw.data, raw.connection.type_name), raw.log_ns
            self._stamp_ns = stamp_ns_of(self.latest)
        return self.latest if self._stamp_ns == stamp_ns else None


class RecordedGround:
    """Recorded grids, boundaries and obstacles as pictures, asked for in rising order of the stamps.

    Args:
        bag: open.
        prefix: of the node's topics, `/segmentation`.
    """

    def __init__(self, bag: Bag, prefix: str) -> None:
        self._grids = _InStep(bag, f"{prefix}/drivable/grid")
        self._boundaries = _InStep(bag, f"{prefix}/drivable/boundary")
        self._obstacles = _InStep(bag, f"{prefix}/obstacles")
        self._points = _InStep(bag, f"{prefix}/obstacles/points")
        self._transforms = TransformBuffer()
        self._heard = BagTransforms(bag, RosbagsKit(), self._transforms, _LATE_S)

    def picture(self, stamp_ns: int, height_px: int) -> np.ndarray | None:
        """The ground at that stamp, RGB uint8 `[height_px, W, 3]`; unseen where it has no grid; None if none has."""
        message, scan = self._grids.at(stamp_ns), self._boundaries.at(stamp_ns)
        detections, cloud = self._obstacles.at(stamp_ns), self._points.at(stamp_ns)
        if self._grids.latest is None:
            return None
        grid = _grid_of(self._grids.latest)
        if message is None:
            unseen = replace(grid, values=np.full_like(grid.values, -1))
            return birds_eye(unseen, None, None, height_px)
        pose = None if scan is None else self._pose(message.header.frame_id, scan)
        boundary = None if scan is None else _boundary_of(scan)
        if detections is None or detections.header.frame_id != message.header.frame_id:
            return birds_eye(grid, boundary, pose, height_px)
        obstacles, track_ids = _obstacles_of(detections, cloud, np.zeros(2) if pose is None else pose[:2, 3])
        return birds_eye(grid, boundary, pose, height_px, obstacles, track_ids)

    def _pose(self, ground_frame: str, scan: Any) -> np.ndarray | None:
        """Of the boundary's frame, if the bag says where that is."""
        self._heard.advance(self._boundaries.log_ns)
        try:
            return self._transforms.lookup(ground_frame, scan.header.frame_id, stamp_ns_of(scan))
        except TransformError:
            return None


def _grid_of(message: Any) -> Grid:
    info = message.info
    values = np.asarray(message.data, np.int8).reshape(info.height, info.width)
    return Grid(values, info.origin.position.x, info.origin.position.y, info.origin.position.z, float(info.resolution))


def _boundary_of(message: Any) -> Boundary:
    return Boundary(
        bearing_min_rad=float(message.angle_min),
        bearing_step_rad=float(message.angle_increment),
        range_min_m=float(message.range_min),
        range_max_m=float(message.range_max),
        ranges_m=np.asarray(message.ranges, np.float64),
    )


def _obstacles_of(detections: Any, cloud: Any, foot_m: np.ndarray) -> tuple[Obstacles, np.ndarray]:
    """vision_msgs/Detection3DArray to obstacles and their track ids, 0 where nobody tracks.

    Args:
        cloud: sensor_msgs/PointCloud2 of the same frame, for the velocities; None: they are not known.
        foot_m: float64 `[2]`: distances are counted from there; bearings, in the message, from the frame's x axis.
    """
    found = detections.detections
    poses = [one.results[0].pose for one in found]
    feet = np.array([_triple(one.pose.position) for one in poses]).reshape(-1, 3)
    yaws = np.array([2 * math.atan2(one.pose.orientation.z, one.pose.orientation.w) for one in poses])
    covariances = np.array([one.covariance for one in poses], np.float64).reshape(-1, 6, 6)
    sizes = np.array([_triple(one.bbox.size) for one in found]).reshape(-1, 3)
    track_ids = np.array([int(one.id or 0) for one in found], np.int64)
    velocities, is_relative = _velocities(cloud, track_ids)
    obstacles = Obstacles(
        frame_id=str(detections.header.frame_id),
        ground_z_m=float(feet[0, 2]) if len(feet) else 0.0,
        rows=np.arange(len(found)),
        positions_m=feet[:, :2],
        covariances_m2=covariances[:, :2, :2],
        widths_m=sizes[:, 1],
        heights_m=sizes[:, 2],
        ranges_m=np.hypot(*(feet[:, :2] - foot_m).T),
        bearings_rad=yaws,
        contacts_m=np.empty((0, 2)),
        contact_rows=np.empty(0, np.intp),
        without_contact=0,
        velocities_mps=velocities,
        is_relative=is_relative,
    )
    return obstacles, track_ids


def _triple(point: Any) -> tuple[float, float, float]:
    return point.x, point.y, point.z


def _velocities(cloud: Any, track_ids: np.ndarray) -> tuple[np.ndarray, bool]:
    """float64 `[m, 2]`, NaN where the points do not say; and whether they are relative to the vehicle."""
    velocities = np.full((len(track_ids), 2), np.nan)
    if cloud is None or not cloud.width:
        return velocities, True
    formats = {"vx": "<f4", "vy": "<f4", "track": "<u4", "relative": "|u1"}
    offsets = {one.name: int(one.offset) for one in cloud.fields}
    if not set(formats) <= set(offsets):
        return velocities, True
    layout = np.dtype(
        {
            "names": list(formats),
            "formats": list(formats.values()),
            "offsets": [offsets[name] for name in formats],
            "itemsize": int(cloud.point_step),
        }
    )
    points = np.frombuffer(bytes(cloud.data), layout, count=int(cloud.width))
    tracks, first = np.unique(points["track"], return_index=True)
    wanted = track_ids & 0xFFFFFFFF
    place = np.minimum(np.searchsorted(tracks, wanted), len(tracks) - 1)
    known = (tracks[place] == wanted) & (track_ids != 0)
    of = points[first[place]]
    velocities[known] = np.stack([of["vx"], of["vy"]], -1)[known]
    return velocities, bool(points["relative"][0])
