"""What is set for each camera: defaults and validation. In parameters the camera's name comes first, see `config`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from seg_perception.errors import ConfigError
from seg_perception.parameters import param, specs_of

__all__ = ["CameraConfig", "footprint_frame"]

_CAMERA_NAME = re.compile(r"[a-z][a-z0-9_]*")


def footprint_frame(camera: str) -> str:
    """Name of the frame on the ground straight below a camera."""
    return f"{camera}_footprint"


@dataclass(frozen=True)
class CameraConfig:
    """What is set for each camera."""

    name: str = "camera"
    transport: str = param(
        "raw",
        "What the image topic carries: raw (sensor_msgs/Image) or compressed (sensor_msgs/CompressedImage, JPEG or "
        "PNG; subscribes to <image>/compressed).",
        choices=("raw", "compressed"),
        read_only=True,
    )
    fit: str = param(
        "stretch",
        "How an image whose shape is not the model's meets it: stretch (all of it, squeezed), crop (the largest part "
        "of the model's shape; the rest of the mask is 255) or pad (all of it, undistorted, with grey margins).",
        choices=("stretch", "crop", "pad"),
    )
    crop_anchor: float = param(
        0.5,
        "Which part fit: crop keeps: 0 is the top or left, 0.5 the middle, 1 the bottom or right.",
        minimum=0.0,
        maximum=1.0,
    )
    mask_size: tuple[int, ...] = param(
        (0, 0),
        "Width and height in pixels of the published masks; [0, 0] is the camera's size.",
        minimum=0,
        maximum=16384,
    )

    rectified: bool = param(
        False, "The images are rectified (image_rect): camera_info's P holds for them, and no distortion."
    )
    pose_source: str = param(
        "tf",
        "Where the camera is: tf (ground_frame to the image's frame_id, at its stamp), or parameters (position_m, "
        "rotation_rpy_rad).",
        choices=("tf", "parameters"),
    )
    position_m: tuple[float, ...] = param(
        (0.0, 0.0, 1.5),
        "For pose_source: parameters: x forward, y left, z up of the camera in ground_frame, metres.",
        minimum=-1000.0,
        maximum=1000.0,
    )
    rotation_rpy_rad: tuple[float, ...] = param(
        (0.0, 0.0, 0.0),
        "For pose_source: parameters: roll, pitch, yaw of the camera's body frame (REP 103: x forward; a positive "
        "pitch looks down), radians.",
        minimum=-6.3,
        maximum=6.3,
    )
    position_sigma_m: tuple[float, ...] = param(
        (0.02, 0.02, 0.02),
        "How well the camera's x, y, z in ground_frame are known: one standard deviation, metres. Goes into the "
        "covariance of ~/obstacles.",
        minimum=0.0,
        maximum=10.0,
    )
    rotation_sigma_rad: tuple[float, ...] = param(
        (0.005, 0.005, 0.005),
        "The same of its roll, pitch, yaw, radians: what a suspension does to the pitch belongs in here.",
        minimum=0.0,
        maximum=1.0,
    )

    def __post_init__(self) -> None:
        if not _CAMERA_NAME.fullmatch(self.name):
            raise ConfigError(
                f"cameras: {self.name!r} must be lower-case letters, digits and _, starting with a letter"
            )
        for spec in specs_of(CameraConfig, f"{self.name}."):
            attribute = spec.name[len(self.name) + 1 :]
            object.__setattr__(self, attribute, spec.check(getattr(self, attribute)))
        if len(self.mask_size) != 2 or (self.mask_size[0] == 0) != (self.mask_size[1] == 0):
            raise ConfigError(
                f"{self.name}.mask_size: expected [width, height], both above 0 or both 0, got {list(self.mask_size)}"
            )
        for name in ("position_m", "rotation_rpy_rad", "position_sigma_m", "rotation_sigma_rad"):
            values = getattr(self, name)
            if len(values) != 3:
                raise ConfigError(f"{self.name}.{name}: expected three numbers, got {list(values)}")
