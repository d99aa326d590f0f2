"""The one room where messages are read and built, for live ROS and for bags alike.

A `MessageKit` hides whose message classes they are: rclpy's (`ros/kit.py`) or rosbags' (`bag/kit.py`). Field
names are the interfaces' own, so what is built here is the same message in both worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.types import CameraInfo, CompressedImage, Frame, ImageData, RawImage, RegionOfInterest

__all__ = [
    "COMPRESSED_IMAGE",
    "CAMERA_INFO",
    "DIAGNOSTIC_ARRAY",
    "IMAGE",
    "LABEL_INFO",
    "MessageKit",
    "camera_info_message",
    "camera_of",
    "compressed_message",
    "diagnostics_message",
    "frame_of_compressed",
    "frame_of_image",
    "image_message",
    "label_info_message",
    "sent_image",
    "stamp_ns_of",
]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"

_CHANNELS = {"mono8": 1, "rgb8": 3, "bgr8": 3}


class MessageKit(Protocol):
    """Makes messages of one world's classes."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message of a type such as `sensor_msgs/msg/Image`, every field given."""

    def byte_sequence(self, data: ImageData) -> Any:
        """What a `uint8[]` field takes without an element-by-element check."""

    def float_sequence(self, values: Sequence[float]) -> Any:
        """What a `float64[]` field takes."""


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
