"""The one room where messages are read and built, for live ROS and for bags alike.

A `MessageKit` hides whose message classes they are: rclpy's (`ros/kit.py`) or rosbags' (`bag/kit.py`). Field
names are the interfaces' own, so what is built here is the same message in both worlds.
"""

from __future__ import annotations

from seg_perception.messages.ground import LASER_SCAN, OCCUPANCY_GRID, laser_scan_message, occupancy_grid_message
from seg_perception.messages.images import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    camera_info_message,
    camera_of,
    compressed_message,
    frame_of_compressed,
    frame_of_image,
    image_message,
    sent_image,
)
from seg_perception.messages.kit import (
    DIAGNOSTIC_ARRAY,
    LABEL_INFO,
    MessageKit,
    diagnostics_message,
    label_info_message,
    stamp_ns_of,
)
from seg_perception.messages.markers import MARKER_ARRAY, markers_message
from seg_perception.messages.objects import (
    DETECTION_2D_ARRAY,
    DETECTION_3D_ARRAY,
    detections_message,
    obstacles_message,
    panoptic_message,
)
from seg_perception.messages.obstacle_points import POINT_CLOUD, obstacle_points_message
from seg_perception.messages.transforms import TF_MESSAGE, tf_message, transforms_of

__all__ = [
    "CAMERA_INFO",
    "COMPRESSED_IMAGE",
    "DETECTION_2D_ARRAY",
    "DETECTION_3D_ARRAY",
    "DIAGNOSTIC_ARRAY",
    "IMAGE",
    "LABEL_INFO",
    "LASER_SCAN",
    "MARKER_ARRAY",
    "MessageKit",
    "OCCUPANCY_GRID",
    "POINT_CLOUD",
    "TF_MESSAGE",
    "camera_info_message",
    "camera_of",
    "compressed_message",
    "detections_message",
    "diagnostics_message",
    "frame_of_compressed",
    "frame_of_image",
    "image_message",
    "label_info_message",
    "laser_scan_message",
    "markers_message",
    "obstacle_points_message",
    "obstacles_message",
    "occupancy_grid_message",
    "panoptic_message",
    "sent_image",
    "stamp_ns_of",
    "tf_message",
    "transforms_of",
]
