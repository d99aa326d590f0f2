"""Every topic that one frame fills: its name, its type, what it needs, how its message is made.

The live node and the replay walk this same table, so that both publish the same bytes and a new topic is
one entry. `label_info` is apart: it is latched, sent once and not per frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from seg_perception.config import PipelineConfig
from seg_perception.errors import ConfigError, FrameError
from seg_perception.geometry.transforms import Transform, transform_of_matrix
from seg_perception.messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    DETECTION_2D_ARRAY,
    DETECTION_3D_ARRAY,
    IMAGE,
    LASER_SCAN,
    MARKER_ARRAY,
    OCCUPANCY_GRID,
    POINT_CLOUD,
    MessageKit,
    camera_info_message,
    compressed_message,
    detections_message,
    image_message,
    laser_scan_message,
    markers_message,
    obstacle_points_message,
    obstacles_message,
    occupancy_grid_message,
    panoptic_message,
)
from seg_perception.pipeline import Wanted
from seg_perception.types import Perception

__all__ = [
    "FrameAnnouncer",
    "JPEG_FORMAT",
    "LABEL_INFO_TOPIC",
    "OUTPUTS",
    "PNG_FORMAT",
    "TF_STATIC_TOPIC",
    "TF_TOPIC",
    "Output",
    "encode_jpeg",
    "encode_png",
    "wanted_for",
]

TF_TOPIC, TF_STATIC_TOPIC = "/tf", "/tf_static"

LABEL_INFO_TOPIC = "label_info"
"""Below the same prefix as the rest; latched."""

PNG_FORMAT = "mono8; png compressed "
"""What compressed_image_transport writes for a mono8 image: the trailing space is part of it."""

JPEG_FORMAT = "rgb8; jpeg compressed bgr8"
"""What compressed_image_transport writes for an rgb8 image: JPEG decoders hand out bgr8."""


@dataclass(frozen=True)
class Output:
    """One topic.

    Attributes:
        name: below the node's name: `mask`, `overlay/compressed`.
        type_name: `sensor_msgs/msg/Image`.
        wanted: the field of `Wanted` that must be on for it; empty where it needs none.
        build: (kit, perception, config) to the message, or None when this frame has nothing to say there.
            Raises FrameError when the result cannot be encoded.
        transforms: of a perception, those that make the message's frame known; `FrameAnnouncer` says when they go out.
    """

    name: str
    type_name: str
    wanted: str
    build: Callable[[MessageKit, Perception, PipelineConfig], Any]
    transforms: Callable[[Perception], list[Transform]] = lambda seen: []


def encode_png(mask: np.ndarray, level: int) -> np.ndarray:
    """A lossless PNG file, uint8 `[n]`, of a uint8 mask `[H, W]`.

    Args:
        level: zlib's, 0 (stored) to 9 (smallest).

    Raises:
        FrameError: `encode`, too large for the format.
    """
    return _encode(".png", mask, [cv2.IMWRITE_PNG_COMPRESSION, level])


def encode_jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """A JPEG file, uint8 `[n]`, of an RGB uint8 image `[H, W, 3]`.

    Args:
        quality: 1 to 100.

    Raises:
        FrameError: `encode`, a side longer than the format's 65500 pixels.
    """
    return _encode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(extension: str, pixels: np.ndarray, options: list[int]) -> np.ndarray:
    try:
        done, data = cv2.imencode(extension, pixels, options)
    except cv2.error as exc:
        raise _encode_error(extension, pixels) from exc
    if not done:
        raise _encode_error(extension, pixels)
    return data.reshape(-1)


def _encode_error(extension: str, pixels: np.ndarray) -> FrameError:
    height, width = pixels.shape[:2]
    return FrameError("encode", f"{width}x{height} pixels do not fit a {extension} file; set a smaller mask_size")


def _mask(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    ids = seen.segmentation.class_ids
    return None if ids is None else image_message(kit, seen.stamp_ns, seen.frame_id, ids, "mono8")


def _confidence(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    confidence = seen.segmentation.confidence
    return None if confidence is None else image_message(kit, seen.stamp_ns, seen.frame_id, confidence, "mono8")


def _overlay(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    return None if seen.overlay is None else image_message(kit, seen.stamp_ns, seen.frame_id, seen.overlay, "rgb8")


def _overlay_jpeg(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    if seen.overlay is None:
        return None
    data = encode_jpeg(seen.overlay, config.jpeg_quality)
    return compressed_message(kit, seen.stamp_ns, seen.frame_id, data, JPEG_FORMAT)


def _mask_png(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    ids = seen.segmentation.class_ids
    if ids is None:
        return None
    return compressed_message(kit, seen.stamp_ns, seen.frame_id, encode_png(ids, config.png_level), PNG_FORMAT)


def _camera_info(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    return None if seen.camera is None else camera_info_message(kit, seen.stamp_ns, seen.frame_id, seen.camera)


def _drivable_mask(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    mask = seen.drivable_mask
    return None if mask is None else image_message(kit, seen.stamp_ns, seen.frame_id, mask, "mono8")


def _grid(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    if seen.ground is None or seen.ground.grid is None:
        return None
    return occupancy_grid_message(kit, seen.stamp_ns, seen.ground.frame_id, seen.ground.grid)


def _boundary(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    if seen.ground is None or seen.ground.boundary is None:
        return None
    return laser_scan_message(kit, seen.stamp_ns, seen.ground.footprint_frame_id, seen.ground.boundary)


def _panoptic(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    return None if seen.panoptic is None else panoptic_message(kit, seen.stamp_ns, seen.frame_id, seen.panoptic)


def _detections(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    """Empty where nothing is seen: a consumer must be told."""
    if seen.objects is None or seen.objects.boxes_px is None or seen.labels is None:
        return None
    return detections_message(kit, seen.stamp_ns, seen.frame_id, seen.objects, seen.labels)


def _obstacles(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    if seen.obstacles is None or seen.objects is None or seen.labels is None:
        return None
    return obstacles_message(kit, seen.stamp_ns, seen.obstacles, seen.objects, seen.labels)


def _obstacle_points(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    if seen.obstacles is None or seen.objects is None:
        return None
    return obstacle_points_message(kit, seen.stamp_ns, seen.obstacles, seen.objects)


def _obstacle_markers(kit: MessageKit, seen: Perception, config: PipelineConfig) -> Any:
    if seen.obstacles is None or seen.objects is None or seen.labels is None:
        return None
    return markers_message(kit, seen.stamp_ns, seen.obstacles, seen.objects, seen.labels)


def _footprint(seen: Perception) -> list[Transform]:
    ground = seen.ground
    if ground is None:
        return []
    return [
        transform_of_matrix(ground.frame_id, ground.footprint_frame_id, seen.stamp_ns, ground.ground_from_footprint)
    ]


OUTPUTS: tuple[Output, ...] = (
    Output("mask", IMAGE, "mask", _mask),
    Output("confidence", IMAGE, "confidence", _confidence),
    Output("overlay", IMAGE, "overlay", _overlay),
    Output("overlay/compressed", COMPRESSED_IMAGE, "overlay", _overlay_jpeg),
    Output("mask/compressed", COMPRESSED_IMAGE, "mask", _mask_png),
    Output("camera_info", CAMERA_INFO, "", _camera_info),
    Output("drivable/mask", IMAGE, "drivable_mask", _drivable_mask),
    Output("drivable/grid", OCCUPANCY_GRID, "grid", _grid),
    Output("drivable/boundary", LASER_SCAN, "boundary", _boundary, _footprint),
    Output("panoptic", IMAGE, "panoptic", _panoptic),
    Output("detections", DETECTION_2D_ARRAY, "detections", _detections),
    Output("obstacles", DETECTION_3D_ARRAY, "obstacles", _obstacles),
    Output("obstacles/points", POINT_CLOUD, "obstacles", _obstacle_points),
    Output("obstacles/markers", MARKER_ARRAY, "obstacles", _obstacle_markers),
)
"""Filled by every frame, in the order of publication."""


class FrameAnnouncer:
    """Says which transforms must go out before a message, and where: one for each camera.

    A footprint that does not move is said once, latched, so that nobody waits for it; one that moves, every time.
    """

    def __init__(self) -> None:
        self._said: list[Transform] = []
        self._moves = False

    def due(self, output: Output, seen: Perception) -> tuple[str, list[Transform]]:
        """Topic, `/tf` or `/tf_static`, and transforms; none, when there is nothing to say or all has been said.

        Raises:
            TransformError: the frames' names make no transform.
        """
        transforms = output.transforms(seen)
        # Listeners do not take for static what has moved once.
        self._moves |= bool(transforms and seen.ground and not seen.ground.is_fixed)
        if self._moves or not transforms:
            return TF_TOPIC, transforms
        # Where things are, not when it was said.
        if [replace(t, stamp_ns=0) for t in transforms] == self._said:
            return TF_STATIC_TOPIC, []
        self._said = [replace(t, stamp_ns=0) for t in transforms]
        return TF_STATIC_TOPIC, transforms


def wanted_for(names: Collection[str]) -> Wanted:
    """What the pipeline must compute to fill these outputs; `label_info` may be among them and needs nothing.

    Raises:
        ConfigError: a name that no output has.
    """
    known = {output.name: output.wanted for output in OUTPUTS}
    unknown = sorted(set(names) - set(known) - {LABEL_INFO_TOPIC})
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such output; there are: {', '.join((*known, LABEL_INFO_TOPIC))}")
    flags = {known.get(name, "") for name in names}
    return Wanted(**{field.name: field.name in flags for field in dataclasses.fields(Wanted)})
