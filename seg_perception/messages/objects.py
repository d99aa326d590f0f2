"""Countable things, as messages: on the image and on the ground."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.messages.boxes import StandingBoxes, class_names, id_texts, nowhere, points, poses, turns
from seg_perception.messages.images import image_message
from seg_perception.messages.kit import MessageKit, header
from seg_perception.objects import Objects, Obstacles

__all__ = [
    "DETECTION_2D_ARRAY",
    "DETECTION_3D_ARRAY",
    "NOT_MEASURED",
    "detections_message",
    "obstacles_message",
    "panoptic_message",
]

DETECTION_2D_ARRAY = "vision_msgs/msg/Detection2DArray"
DETECTION_3D_ARRAY = "vision_msgs/msg/Detection3DArray"

NOT_MEASURED = 1e6
"""Variance of what is in a pose and was not measured, as ROS drivers write it: so large that no filter believes it."""


def panoptic_message(kit: MessageKit, stamp_ns: int, frame_id: str, panoptic: np.ndarray) -> Any:
    """sensor_msgs/Image mono16 of a uint16 array `[H, W]`."""
    return image_message(kit, stamp_ns, frame_id, panoptic, "mono16")


def detections_message(kit: MessageKit, stamp_ns: int, frame_id: str, objects: Objects, labels: LabelSet) -> Any:
    """vision_msgs/Detection2DArray, a detection for each object, in their order.

    `class_id` is the class's name and `id` the track's; boxes as in `Objects.boxes_px`; the pose in the hypothesis
    says nothing (all zero).

    Raises:
        ValueError: the objects have no boxes on the image.
    """
    if objects.boxes_px is None:
        raise ValueError("detections need boxes on the image; fill boxes_px first")
    n, head = len(objects), header(kit, stamp_ns, frame_id)
    low, high = objects.boxes_px[:, :2], objects.boxes_px[:, 2:]
    (x, y), (width, height) = ((low + high) / 2).T.tolist(), (high - low).T.tolist()
    places = kit.make_many("vision_msgs/msg/Point2D", n, x=x, y=y)
    centres = kit.make_many("vision_msgs/msg/Pose2D", n, position=places, theta=repeat(0.0))
    unsaid = kit.make("geometry_msgs/msg/PoseWithCovariance", pose=nowhere(kit), covariance=np.zeros(36))
    detections = kit.make_many(
        "vision_msgs/msg/Detection2D",
        n,
        header=repeat(head),
        results=_results(kit, class_names(objects.class_ids, labels), objects.scores, [unsaid] * n),
        bbox=kit.make_many("vision_msgs/msg/BoundingBox2D", n, center=centres, size_x=width, size_y=height),
        id=id_texts(objects),
    )
    return kit.make(DETECTION_2D_ARRAY, header=head, detections=detections)


def obstacles_message(kit: MessageKit, stamp_ns: int, obstacles: Obstacles, objects: Objects, labels: LabelSet) -> Any:
    """vision_msgs/Detection3DArray in the ground frame, a detection for each obstacle, in their order.

    The pose in the hypothesis is the place where the obstacle meets the ground, turned along the line of sight; its
    covariance holds x and y, and `NOT_MEASURED` for all else. The box is `StandingBoxes`'. `class_id` is the class's
    name and `id` the track's. There is no room for velocities: see `obstacle_points_message`.

    Args:
        objects: of the same frame.
    """
    m, head, rows = len(obstacles), header(kit, stamp_ns, obstacles.frame_id), obstacles.rows
    boxes = StandingBoxes.of(obstacles)
    sights = turns(kit, boxes.yaws_rad)
    feet = np.column_stack([obstacles.positions_m, np.full(m, obstacles.ground_z_m)])
    where = kit.make_many(
        "geometry_msgs/msg/PoseWithCovariance",
        m,
        pose=poses(kit, points(kit, feet), sights),
        covariance=list(_covariances(obstacles.covariances_m2)),
    )
    depth, width, height = boxes.sizes_m.T.tolist()
    sizes = kit.make_many("geometry_msgs/msg/Vector3", m, x=depth, y=width, z=height)
    centres, ids = poses(kit, points(kit, boxes.centres_m), sights), id_texts(objects)
    detections = kit.make_many(
        "vision_msgs/msg/Detection3D",
        m,
        header=repeat(head),
        results=_results(kit, class_names(objects.class_ids[rows], labels), objects.scores[rows], where),
        bbox=kit.make_many("vision_msgs/msg/BoundingBox3D", m, center=centres, size=sizes),
        id=[ids[row] for row in rows.tolist()],
    )
    return kit.make(DETECTION_3D_ARRAY, header=head, detections=detections)


def _results(kit: MessageKit, names: list[str], scores: np.ndarray, where: list[Any]) -> list[list[Any]]:
    """Of each detection, the only hypothesis."""
    hypotheses = kit.make_many("vision_msgs/msg/ObjectHypothesis", len(names), class_id=names, score=scores.tolist())
    posed = kit.make_many("vision_msgs/msg/ObjectHypothesisWithPose", len(names), hypothesis=hypotheses, pose=where)
    return [[one] for one in posed]


def _covariances(covariances_m2: np.ndarray) -> np.ndarray:
    """float64 `[m, 36]`: (x, y, z, and turns about x, y, z), row by row."""
    full = np.tile(np.diag([0.0, 0.0, *[NOT_MEASURED] * 4]), (len(covariances_m2), 1, 1))
    full[:, :2, :2] = covariances_m2
    return full.reshape(-1, 36)
