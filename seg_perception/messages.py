"""The one room where messages are read and built, for live ROS and for bags alike.

A `MessageKit` hides whose message classes they are: rclpy's (`ros/kit.py`) or rosbags' (`bag/kit.py`). Field
names are the interfaces' own, so what is built here is the same message in both worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from seg_perception.errors import TransformError
from seg_perception.geometry.transforms import Transform
from seg_perception.labels import LabelSet
from seg_perception.types import (
    Boundary,
    CameraInfo,
    CompressedImage,
    Frame,
    Grid,
    ImageData,
    RawImage,
    RegionOfInterest,
)

__all__ = [
    "COMPRESSED_IMAGE",
    "CAMERA_INFO",
    "DIAGNOSTIC_ARRAY",
    "IMAGE",
    "LABEL_INFO",
    "LASER_SCAN",
    "MessageKit",
    "OCCUPANCY_GRID",
    "TF_MESSAGE",
    "camera_info_message",
    "camera_of",
    "compressed_message",
    "diagnostics_message",
    "frame_of_compressed",
    "frame_of_image",
    "image_message",
    "label_info_message",
    "laser_scan_message",
    "occupancy_grid_message",
    "sent_image",
    "stamp_ns_of",
    "tf_message",
    "transforms_of",
]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"
LASER_SCAN = "sensor_msgs/msg/LaserScan"
OCCUPANCY_GRID = "nav_msgs/msg/OccupancyGrid"
TF_MESSAGE = "tf2_msgs/msg/TFMessage"

_CHANNELS = {"mono8": 1, "rgb8": 3, "bgr8": 3}


class MessageKit(Protocol):
    """Makes messages of one world's classes."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message of a type such as `sensor_msgs/msg/Image`, every field given."""

    def byte_sequence(self, data: ImageData) -> Any:
        """What a `uint8[]` field takes without an element-by-element check."""

    def float_sequence(self, values: Sequence[float]) -> Any:
        """What a `float64[]` field takes."""

    def int8_sequence(self, values: np.ndarray) -> Any:
        """What an `int8[]` field takes without an element-by-element check; int8 `[n]`."""

    def float32_sequence(self, values: np.ndarray) -> Any:
        """What a `float32[]` field takes without an element-by-element check; float32 `[n]`."""


def stamp_ns_of(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def frame_of_image(message: Any, camera: CameraInfo | None = None) -> Frame:
    """sensor_msgs/Image to a Frame that shares the message's memory."""
    image = RawImage(
        height=int(message.height),
        width=int(message.width),
        encoding=str(message.encoding),
        step_bytes=int(message.step),
        data=_view(message.data),
        is_bigendian=bool(message.is_bigendian),
    )
    return Frame(stamp_ns_of(message), str(message.header.frame_id), image, camera)


def frame_of_compressed(message: Any, camera: CameraInfo | None = None) -> Frame:
    """sensor_msgs/CompressedImage to a Frame that shares the message's memory."""
    image = CompressedImage(str(message.format), _view(message.data))
    return Frame(stamp_ns_of(message), str(message.header.frame_id), image, camera)


def _view(data: Any) -> ImageData:
    return data if isinstance(data, np.ndarray) else memoryview(data)


def camera_of(message: Any) -> CameraInfo:
    """sensor_msgs/CameraInfo to a CameraInfo."""
    roi = message.roi
    return CameraInfo(
        height=int(message.height),
        width=int(message.width),
        distortion_model=str(message.distortion_model),
        d=tuple(float(v) for v in message.d),
        k=tuple(float(v) for v in message.k),
        r=tuple(float(v) for v in message.r),
        p=tuple(float(v) for v in message.p),
        binning_x=int(message.binning_x),
        binning_y=int(message.binning_y),
        roi=RegionOfInterest(
            int(roi.x_offset), int(roi.y_offset), int(roi.height), int(roi.width), bool(roi.do_rectify)
        ),
    )


def _header(kit: MessageKit, stamp_ns: int, frame_id: str) -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = kit.make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return kit.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def image_message(kit: MessageKit, stamp_ns: int, frame_id: str, pixels: np.ndarray, encoding: str) -> Any:
    """sensor_msgs/Image of a uint8 array `[H, W]` (mono8) or `[H, W, 3]` (rgb8, bgr8)."""
    height, width = pixels.shape[:2]
    return kit.make(
        IMAGE,
        header=_header(kit, stamp_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * _CHANNELS[encoding],
        data=kit.byte_sequence(np.ascontiguousarray(pixels).reshape(-1)),
    )


def sent_image(kit: MessageKit, stamp_ns: int, frame: Frame) -> Any:
    """A frame as the message it came in, sensor_msgs/Image or CompressedImage, under another stamp."""
    image = frame.image
    if isinstance(image, CompressedImage):
        return compressed_message(kit, stamp_ns, frame.frame_id, image.data, image.format)
    return kit.make(
        IMAGE,
        header=_header(kit, stamp_ns, frame.frame_id),
        height=image.height,
        width=image.width,
        encoding=image.encoding,
        is_bigendian=int(image.is_bigendian),
        step=image.step_bytes,
        data=kit.byte_sequence(image.data),
    )


def compressed_message(kit: MessageKit, stamp_ns: int, frame_id: str, data: ImageData, file_format: str) -> Any:
    """sensor_msgs/CompressedImage; `file_format` as image_transport writes it, `mono8; png compressed `."""
    return kit.make(
        COMPRESSED_IMAGE,
        header=_header(kit, stamp_ns, frame_id),
        format=file_format,
        data=kit.byte_sequence(data),
    )


def camera_info_message(kit: MessageKit, stamp_ns: int, frame_id: str, camera: CameraInfo) -> Any:
    """sensor_msgs/CameraInfo."""
    roi = camera.roi
    return kit.make(
        CAMERA_INFO,
        header=_header(kit, stamp_ns, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion_model,
        d=kit.float_sequence(camera.d),
        k=kit.float_sequence(camera.k),
        r=kit.float_sequence(camera.r),
        p=kit.float_sequence(camera.p),
        binning_x=camera.binning_x,
        binning_y=camera.binning_y,
        roi=kit.make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=roi.x_offset,
            y_offset=roi.y_offset,
            height=roi.height,
            width=roi.width,
            do_rectify=roi.do_rectify,
        ),
    )


def label_info_message(kit: MessageKit, stamp_ns: int, frame_id: str, labels: LabelSet) -> Any:
    """vision_msgs/LabelInfo: the name of every class id."""
    classes = [kit.make("vision_msgs/msg/VisionClass", class_id=label.id, class_name=label.name) for label in labels]
    return kit.make(LABEL_INFO, header=_header(kit, stamp_ns, frame_id), class_map=classes, threshold=0.0)


def diagnostics_message(
    kit: MessageKit, stamp_ns: int, statuses: Sequence[tuple[int, str, str, str, Mapping[str, str]]]
) -> Any:
    """diagnostic_msgs/DiagnosticArray of (level, name, message, hardware_id, values) rows; level 0 to 3."""
    rows = [
        kit.make(
            "diagnostic_msgs/msg/DiagnosticStatus",
            level=bytes([level]),
            name=name,
            message=message,
            hardware_id=hardware_id,
            values=[kit.make("diagnostic_msgs/msg/KeyValue", key=k, value=v) for k, v in values.items()],
        )
        for level, name, message, hardware_id, values in statuses
    ]
    return kit.make(DIAGNOSTIC_ARRAY, header=_header(kit, stamp_ns, ""), status=rows)


def occupancy_grid_message(kit: MessageKit, stamp_ns: int, frame_id: str, grid: Grid) -> Any:
    """nav_msgs/OccupancyGrid."""
    rows, columns = grid.values.shape
    header = _header(kit, stamp_ns, frame_id)
    corner = kit.make("geometry_msgs/msg/Point", x=grid.x_m, y=grid.y_m, z=grid.z_m)
    level = kit.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    info = kit.make(
        "nav_msgs/msg/MapMetaData",
        map_load_time=header.stamp,
        resolution=grid.resolution_m,
        width=columns,
        height=rows,
        origin=kit.make("geometry_msgs/msg/Pose", position=corner, orientation=level),
    )
    values = np.ascontiguousarray(grid.values).reshape(-1)
    return kit.make(OCCUPANCY_GRID, header=header, info=info, data=kit.int8_sequence(values))


def laser_scan_message(kit: MessageKit, stamp_ns: int, frame_id: str, boundary: Boundary) -> Any:
    """sensor_msgs/LaserScan; all ranges are of one moment."""
    last = boundary.bearing_min_rad + (len(boundary.ranges_m) - 1) * boundary.bearing_step_rad
    return kit.make(
        LASER_SCAN,
        header=_header(kit, stamp_ns, frame_id),
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


def transforms_of(message: Any) -> tuple[list[Transform], list[str]]:
    """tf2_msgs/TFMessage to the transforms that can be used; why the others cannot, a sentence each."""
    usable, refused = [], []
    for stamped in message.transforms:
        moved, turned = stamped.transform.translation, stamped.transform.rotation
        try:
            usable.append(
                Transform(
                    str(stamped.header.frame_id),
                    str(stamped.child_frame_id),
                    stamp_ns_of(stamped),
                    (moved.x, moved.y, moved.z),
                    (turned.x, turned.y, turned.z, turned.w),
                )
            )
        except TransformError as exc:
            refused.append(str(exc))
    return usable, refused


def tf_message(kit: MessageKit, transforms: Sequence[Transform]) -> Any:
    """tf2_msgs/TFMessage."""
    return kit.make(TF_MESSAGE, transforms=[_transform_stamped(kit, transform) for transform in transforms])


def _transform_stamped(kit: MessageKit, transform: Transform) -> Any:
    moved = kit.make("geometry_msgs/msg/Vector3", **dict(zip("xyz", transform.translation)))
    turned = kit.make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", transform.rotation)))
    return kit.make(
        "geometry_msgs/msg/TransformStamped",
        header=_header(kit, transform.stamp_ns, transform.parent),
        child_frame_id=transform.child,
        transform=kit.make("geometry_msgs/msg/Transform", translation=moved, rotation=turned),
    )
