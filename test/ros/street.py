"""A simulated street with true masks on disk, and the messages of a camera that drives along it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

IMAGE, CAMERA_INFO, TF = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
WIDTH, HEIGHT = 320, 240
GROUND, BODY, CAMERA, OPTICAL = "base_footprint", "base_link", "front_camera_link", "front_camera_optical_frame"
MS = 1_000_000

MOUNT_M, MOUNT_PITCH_RAD = (1.6, 0.0, 1.45), 0.03
"""Where `StreetScene` has its camera unless told otherwise."""
AT_REST = {"camera__pose_source": "parameters", "camera__position_m": list(MOUNT_M)}
"""For a node that needs no transforms."""

STAMPS = 40


class Street:
    """True masks of a drive, as `<stamp_ns>.png`, and the messages of its camera.

    Args:
        folder: for the masks.
        still: the first picture is seen at every stamp, so that results differ by the camera's pose alone.
        driven: pictures follow each other as the stamps do, so many of them; 0: five that differ, again and again.
    """

    def __init__(self, folder: Path, still: bool = False, driven: int = 0) -> None:
        from seg_perception.simulate import StreetScene

        scene = StreetScene(seed=3, width_px=WIDTH, height_px=HEIGHT, rate_hz=15.0, kerb_m=0.0)
        self.calibration = scene.camera.camera_info()
        self.stamps_ns = [scene.stamp_ns(i) for i in range(STAMPS)]
        seen = range(driven) if driven else range(0, 1 if still else 17, 4)
        self.masks = [scene.frame(i, shaded=False).class_ids for i in seen]
        self.folder = folder / "street"
        self.folder.mkdir()
        for index, stamp_ns in enumerate(self.stamps_ns):
            assert cv2.imwrite(str(self.folder / f"{stamp_ns}.png"), self.mask(index))

    @property
    def parameters(self) -> dict[str, Any]:
        """For a node that answers with the true masks."""
        return {"backend": "replayed", "replay_masks": self.folder, "diagnostics_period_s": 0.2}

    def mask(self, index: int) -> np.ndarray:
        """uint8 `[HEIGHT, WIDTH]`: the class ids that are seen at a stamp."""
        return self.masks[index % len(self.masks)]

    def image(self, index: int, frame_id: str = OPTICAL, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Any:
        """sensor_msgs/Image; the answer does not depend on its pixels."""
        from sensor_msgs.msg import Image

        message = Image(height=size[1], width=size[0], encoding="mono8", step=size[0])
        self._head(message.header, self.stamps_ns[index], frame_id)
        message.data.frombytes(bytes(size[0] * size[1]))
        return message

    def info(self, index: int = 0, **changed: Any) -> Any:
        """sensor_msgs/CameraInfo; `fx=0.0` changes both focal lengths."""
        from sensor_msgs.msg import CameraInfo

        c, fx = self.calibration, changed.pop("fx", self.calibration.k[0])
        message = CameraInfo(height=c.height, width=c.width, distortion_model=c.distortion_model, d=list(c.d))
        self._head(message.header, self.stamps_ns[index], OPTICAL)
        message.k = [fx, 0.0, c.k[2], 0.0, fx, c.k[5], 0.0, 0.0, 1.0]
        message.p = [fx, 0.0, c.k[2], 0.0, 0.0, fx, c.k[5], 0.0, 0.0, 0.0, 1.0, 0.0]
        for name, value in changed.items():
            setattr(message, name, value)
        return message

    @staticmethod
    def _head(header: Any, stamp_ns: int, frame_id: str) -> None:
        header.frame_id = frame_id
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)


def turned(pitch_rad: float, yaw_rad: float = 0.0) -> tuple[float, float, float, float]:
    """Quaternion x, y, z, w: pitch about the left axis (positive looks down), then yaw about the vertical (REP 103)."""
    (sp, cp), (sy, cy) = ((math.sin(angle / 2), math.cos(angle / 2)) for angle in (pitch_rad, yaw_rad))
    return -sy * sp, cy * sp, sy * cp, cy * cp


def placed(
    parent: str,
    child: str,
    stamp_ns: int = 0,
    at: Sequence[float] = (0.0, 0.0, 0.0),
    rotation: Sequence[float] = (0.0, 0.0, 0.0, 1.0),
) -> Any:
    """geometry_msgs/TransformStamped."""
    from geometry_msgs.msg import TransformStamped

    out = TransformStamped()
    out.header.frame_id, out.child_frame_id = parent, child
    out.header.stamp.sec, out.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    for field, names, values in ((out.transform.translation, "xyz", at), (out.transform.rotation, "xyzw", rotation)):
        for name, value in zip(names, values):
            setattr(field, name, float(value))
    return out


def tf_message(*transforms: Any) -> Any:
    """tf2_msgs/TFMessage."""
    from tf2_msgs.msg import TFMessage

    return TFMessage(transforms=list(transforms))


def mounted(
    pitch_rad: float = MOUNT_PITCH_RAD, yaw_rad: float = 0.0, height_m: float = MOUNT_M[2], optical: str = OPTICAL
) -> Any:
    """The camera on the body, and REP 103's turn from its body axes to its optical ones."""
    return tf_message(
        placed(BODY, CAMERA, 0, (MOUNT_M[0], MOUNT_M[1], height_m), turned(pitch_rad, yaw_rad)),
        placed(CAMERA, optical, 0, rotation=(-0.5, 0.5, -0.5, 0.5)),
    )


def at_rest(stamp_ns: int) -> Any:
    """The body over the ground."""
    return tf_message(placed(GROUND, BODY, stamp_ns))


def body_pitch_rad(stamp_ns: int, start_ns: int) -> float:
    """A body that pitches evenly, so that what is interpolated between two stamps is what it truly was."""
    return 0.05 * (stamp_ns - start_ns) * 1e-9


def rocking(street: Street) -> list[Any]:
    """The pitching body every 40 ms, never at the stamp of an image."""
    start_ns = street.stamps_ns[0]
    stamps = range(start_ns - 13 * MS, street.stamps_ns[-1] + 40 * MS, 40 * MS)
    assert not set(stamps) & set(street.stamps_ns)
    return [tf_message(placed(GROUND, BODY, s, rotation=turned(body_pitch_rad(s, start_ns)))) for s in stamps]


def stamp_ns_of(message: Any) -> int:
    """Of a message's header; of markers, that of the first."""
    stamp = (message.markers[0] if hasattr(message, "markers") else message).header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
