"""Camera images, masks and calibrations, as messages and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from seg_perception.messages.kit import MessageKit, header, stamp_ns_of
from seg_perception.types import CameraInfo, CompressedImage, Frame, ImageData, RawImage, RegionOfInterest

__all__ = [
    "CAMERA_INFO",
    "COMPRESSED_IMAGE",
    "IMAGE",
    "camera_info_message",
    "camera_of",
    "compressed_message",
    "frame_of_compressed",
    "frame_of_image",
    "image_message",
    "sent_image",
]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_ON_THE_WIRE = {"mono8": ("|u1", 1), "mono16": ("<u2", 1), "rgb8": ("|u1", 3), "bgr8": ("|u1", 3)}
"""Of what is sent, type of a number, little-endian, and numbers of a pixel."""


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


def image_message(kit: MessageKit, stamp_ns: int, frame_id: str, pixels: np.ndarray, encoding: str) -> Any:
    """sensor_msgs/Image of a uint8 `[H, W]` (mono8) or `[H, W, 3]` (rgb8, bgr8), or a uint16 `[H, W]` (mono16)."""
    height, width = pixels.shape[:2]
    number, channels = _ON_THE_WIRE[encoding]
    # "equiv" alone may change: the order of the bytes.
    sent = pixels.astype(number, order="C", casting="equiv", copy=False)
    return kit.make(
        IMAGE,
        header=header(kit, stamp_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels * sent.itemsize,
        data=kit.byte_sequence(sent.reshape(-1).view(np.uint8)),
    )


def sent_image(kit: MessageKit, stamp_ns: int, frame: Frame) -> Any:
    """A frame as the message it came in, sensor_msgs/Image or CompressedImage, under another stamp."""
    image = frame.image
    if isinstance(image, CompressedImage):
        return compressed_message(kit, stamp_ns, frame.frame_id, image.data, image.format)
    return kit.make(
        IMAGE,
        header=header(kit, stamp_ns, frame.frame_id),
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
        header=header(kit, stamp_ns, frame_id),
        format=file_format,
        data=kit.byte_sequence(data),
    )


def camera_info_message(kit: MessageKit, stamp_ns: int, frame_id: str, camera: CameraInfo) -> Any:
    """sensor_msgs/CameraInfo."""
    roi = camera.roi
    return kit.make(
        CAMERA_INFO,
        header=header(kit, stamp_ns, frame_id),
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
