"""A drive down a simulated street: frames by number, each with exact ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.simulate.atlas import STRIP_BLOCKS
from seg_perception.simulate.camera import PinholeCamera, camera_mount, check_number
from seg_perception.simulate.render import Renderer
from seg_perception.simulate.world import SceneObject, World
from seg_perception.types import CameraInfo

__all__ = ["EPOCH_NS", "SimulatedFrame", "StreetScene"]

EPOCH_NS = 1_700_000_000_000_000_000
"""Stamp of frame 0."""


@dataclass(frozen=True)
class SimulatedFrame:
    """One camera image and the truth about it.

    Attributes:
        index: number of the frame.
        stamp_ns: time of exposure.
        rgb: uint8 `[H, W, 3]`.
        class_ids: uint8 `[H, W]`, Cityscapes train ids.
        instance_ids: uint16 `[H, W]`; 0 where there is no countable object.
        camera: the camera's calibration; distortion-free.
        base_from_optical: float64 `[4, 4]`, pose of the camera's optical frame on the vehicle.
        world_from_base: float64 `[4, 4]`, pose of the vehicle; its origin is on the road.
        objects: all countable objects near by, whether seen or not; world frame.
    """

    index: int
    stamp_ns: int
    rgb: np.ndarray
    class_ids: np.ndarray
    instance_ids: np.ndarray
    camera: CameraInfo
    base_from_optical: np.ndarray
    world_from_base: np.ndarray
    objects: tuple[SceneObject, ...]


class StreetScene:
    """A drive that begins at `EPOCH_NS` and never ends.

    The same arguments give the same bytes, in any process, whatever frames were asked for before.

    Args:
        seed: which street; any integer from 0 to 2³² − 1.
        width_px, height_px: size of the image, 16 to 8192 pixels.
        rate_hz: frames per second, 0.1 to 1000.
        focal_px: focal length; by default 0.78 × the width, a field of view of 65°.
        camera_height_m: of the optical centre above the road, 0.2 to 5.
        camera_pitch_rad: positive looks down, −0.6 to 0.6.
        camera_forward_m: of the optical centre from the base frame's origin, −5 to 5.

    Raises:
        ConfigError: an argument is not as above.
    """

    def __init__(
        self,
        seed: int = 0,
        width_px: int = 640,
        height_px: int = 480,
        rate_hz: float = 15.0,
        *,
        focal_px: float | None = None,
        camera_height_m: float = 1.45,
        camera_pitch_rad: float = 0.03,
        camera_forward_m: float = 1.6,
    ) -> None:
        if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ConfigError(f"seed must be an integer from 0 to {2**32 - 1}, got {seed!r}")
        self.rate_hz = check_number("rate_hz", rate_hz, 0.1, 1000, "Hz")
        self.camera = PinholeCamera.of_size(width_px, height_px, focal_px)
        self.base_from_optical = camera_mount(
            check_number("camera_forward_m", camera_forward_m, -5, 5, "m"),
            check_number("camera_height_m", camera_height_m, 0.2, 5, "m"),
            check_number("camera_pitch_rad", camera_pitch_rad, -0.6, 0.6, "rad"),
        )
        self.seed = int(seed)
        self.world = World(self.seed)
        self._renderer = Renderer(self.world, self.camera)

    def stamp_ns(self, index: int) -> int:
        """When frame `index` is exposed."""
        return EPOCH_NS + round(index * 1_000_000_000 / self.rate_hz)

    def frame(self, index: int) -> SimulatedFrame:
        """Frame number `index`, 0 or more; ConfigError otherwise."""
        _check_natural("frame number", index)
        stamp_ns = self.stamp_ns(int(index))
        time_s = (stamp_ns - EPOCH_NS) * 1e-9
        world_from_base = self.world.ego_pose(time_s)
        world_from_optical = world_from_base @ self.base_from_optical
        snapshot = self.world.at(time_s, float(world_from_optical[0, 3]))
        images = self._renderer.render(snapshot, world_from_optical)
        self.world.pictures.prepare(snapshot.first_block + STRIP_BLOCKS)
        return SimulatedFrame(
            index=int(index),
            stamp_ns=stamp_ns,
            rgb=images.rgb,
            class_ids=images.class_ids,
            instance_ids=images.instance_ids,
            camera=self.camera.camera_info(),
            base_from_optical=self.base_from_optical.copy(),
            world_from_base=world_from_base,
            objects=snapshot.objects,
        )

    def frames(self, count: int, first: int = 0) -> Iterator[SimulatedFrame]:
        """`count` frames in order, beginning with number `first`."""
        _check_natural("count", count)
        _check_natural("frame number", first)
        return (self.frame(index) for index in range(first, first + int(count)))


def _check_natural(name: str, value: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{name} must be an integer of at least 0, got {value!r}")
