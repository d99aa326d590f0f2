"""A drive down a simulated street: frames by number, each with exact ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.simulate.atlas import STRIP_BLOCKS
from seg_perception.simulate.bend import Bend
from seg_perception.simulate.bustle import Bustle
from seg_perception.simulate.camera import PinholeCamera, camera_mount, check_number
from seg_perception.simulate.ground_truth import GroundTruth
from seg_perception.simulate.layout import KERB_M
from seg_perception.simulate.lens import Lens
from seg_perception.simulate.motion import EgoMotion
from seg_perception.simulate.objects import SceneObject
from seg_perception.simulate.render import Renderer
from seg_perception.simulate.world import Snapshot, World
from seg_perception.types import CameraInfo

__all__ = ["EPOCH_NS", "ScenePose", "SimulatedFrame", "StreetScene"]

EPOCH_NS = 1_700_000_000_000_000_000
"""Stamp of frame 0."""

_LOWEST_CAMERA_M = 0.2


@dataclass(frozen=True)
class ScenePose:
    """Where everything is at one moment; poses are float64 `[4, 4]`.

    Attributes:
        world_from_base: the base frame, flat on the road under the vehicle.
        base_from_body: the vehicle's body on its springs; the identity at rest.
        body_from_optical: the camera on the body; the same all the time.
    """

    world_from_base: np.ndarray
    base_from_body: np.ndarray
    body_from_optical: np.ndarray

    @property
    def base_from_optical(self) -> np.ndarray:
        """Pose of the camera over the base frame."""
        return self.base_from_body @ self.body_from_optical

    @property
    def world_from_optical(self) -> np.ndarray:
        """Pose of the camera in the world."""
        return self.world_from_base @ self.base_from_optical


@dataclass(frozen=True)
class SimulatedFrame:
    """One camera image and the truth about it.

    Attributes:
        index: number of the frame.
        stamp_ns: time of exposure.
        rgb: uint8 `[H, W, 3]`; empty, `[0, 0, 3]`, in a frame that was asked for unshaded.
        class_ids: uint8 `[H, W]`, Cityscapes train ids.
        instance_ids: uint16 `[H, W]`; 0 where there is no countable object.
        camera: the camera's calibration.
        base_from_optical: float64 `[4, 4]`, pose of the camera's optical frame over the vehicle's flat ground.
        world_from_base: float64 `[4, 4]`, pose of the vehicle; its plane z = 0 is the road, but for a slope.
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
        camera_forward_m, camera_left_m: of the optical centre from the base frame's origin, −5 to 5 and −2 to 2.
        camera_roll_rad: positive lowers the right side, −0.8 to 0.8.
        camera_yaw_rad: positive looks to the left, −0.8 to 0.8; there is no street behind the camera.
        distortion_model: `none`, `plumb_bob`, `rational_polynomial` or `equidistant`; `none` is told as plumb_bob
            with five zeros.
        distortion: the model's 5, 8 or 4 coefficients; empty for its preset in `lens.DISTORTIONS`.
        bump_pitch_rad, bump_height_m: the most that the vehicle's body pitches and heaves, 0 to 0.1 and 0 to 0.2.
        weave_m: the most that the vehicle leaves the middle of its lane, 0 to 1.5.
        kerb_m: height of sidewalks and verges over the road, 0 to 0.3; with 0 all ground is one plane.
        slope_rad: how much the street rises ahead (negative: falls), −0.15 to 0.15.
        slope_begins_m: where it begins to, ahead of the base frame's origin, 0 to 100. The street is one plane: it is
            the vehicle's plane z = 0 that is tilted against it, about that line, so that what is nearer than the line
            lies below that plane on a rise, and above it on a fall.
        curvature_per_m: how much the street bends to the left (negative: to the right), −0.02 to 0.02: one over the
            radius of the ego lane's middle. Less than 1e-6 is none. The world frame does not turn with it: it is that
            of the lane's middle where the drive begins, and the vehicle goes round in it, lap after lap. Nothing
            returns: a later lap has other houses.
        crowds: 0 to 1, how many places for groups have one: 2 to 9 people, shoulder to shoulder, who stand on the
            sidewalks, walk along them, or, with `crossers`, wait at the kerb and cross together.
        tight_parking: cars stand bumper to bumper, 0.1 to 0.4 m apart, along both kerbs, but for junctions and
            crossings.
        crossers: 0 to 1, how many crossings people use, at junctions and between the parked cars: before the ego
            vehicle arrives (as little as 9 m before it), or waiting at the kerb for it to pass; and how many side
            streets cyclists come out of. They pass before and behind each other and the traffic, and are hidden for a
            moment. Half of the drives have no car right ahead then.

    The last three change who is in the street, not the street: where all are 0, everything is as if they did not exist.

    Raises:
        ConfigError: an argument is not as above, the lens cannot be drawn, or the camera comes too near to the street.
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
        camera_left_m: float = 0.0,
        camera_roll_rad: float = 0.0,
        camera_yaw_rad: float = 0.0,
        distortion_model: str = "none",
        distortion: Sequence[float] = (),
        bump_pitch_rad: float = 0.0,
        bump_height_m: float = 0.0,
        weave_m: float = 0.0,
        kerb_m: float = KERB_M,
        slope_rad: float = 0.0,
        slope_begins_m: float = 10.0,
        curvature_per_m: float = 0.0,
        crowds: float = 0.0,
        tight_parking: bool = False,
        crossers: float = 0.0,
    ) -> None:
        if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise ConfigError(f"seed must be an integer from 0 to {2**32 - 1}, got {seed!r}")
        self.rate_hz = check_number("rate_hz", rate_hz, 0.1, 1000, "Hz")
        self.camera = PinholeCamera.of_size(width_px, height_px, focal_px)
        self.base_from_optical = camera_mount(
            check_number("camera_forward_m", camera_forward_m, -5, 5, "m"),
            check_number("camera_height_m", camera_height_m, 0.2, 5, "m"),
            check_number("camera_pitch_rad", camera_pitch_rad, -0.6, 0.6, "rad"),
            check_number("camera_roll_rad", camera_roll_rad, -0.8, 0.8, "rad"),
            check_number("camera_yaw_rad", camera_yaw_rad, -0.8, 0.8, "rad"),
            check_number("camera_left_m", camera_left_m, -2, 2, "m"),
        )
        self.seed = int(seed)
        bend = Bend(check_number("curvature_per_m", curvature_per_m, -0.02, 0.02, "1/m"))
        self.motion = EgoMotion(
            self.seed,
            check_number("weave_m", weave_m, 0, 1.5, "m"),
            check_number("bump_pitch_rad", bump_pitch_rad, 0, 0.1, "rad"),
            check_number("bump_height_m", bump_height_m, 0, 0.2, "m"),
            check_number("slope_rad", slope_rad, -0.15, 0.15, "rad"),
            check_number("slope_begins_m", slope_begins_m, 0, 100, "m"),
            bend,
        )
        self._check_clearance()
        self.lens = Lens(self.camera, distortion_model, distortion)
        if not isinstance(tight_parking, (bool, np.bool_)):
            raise ConfigError(f"tight_parking must be True or False, got {tight_parking!r}")
        bustle = Bustle(
            check_number("crowds", crowds, 0, 1, "of all places"), bool(tight_parking),
            check_number("crossers", crossers, 0, 1, "of all crossings"),
        )  # fmt: skip
        self.world = World(self.seed, check_number("kerb_m", kerb_m, 0, 0.3, "m"), bend, bustle)
        self._renderer = Renderer(self.world, self.lens, turning=self.motion.turns)

    def stamp_ns(self, index: int) -> int:
        """When frame `index` is exposed."""
        return EPOCH_NS + round(index * 1_000_000_000 / self.rate_hz)

    def pose(self, index: int) -> ScenePose:
        """Where vehicle and camera are in frame `index`, 0 or more; ConfigError otherwise."""
        _check_natural("frame number", index)
        time_s = self._time_s(int(index))
        return ScenePose(
            self.motion.world_from_base(time_s), self.motion.base_from_body(time_s), self.base_from_optical.copy()
        )

    def frame(self, index: int, shaded: bool = True) -> SimulatedFrame:
        """Frame number `index`, 0 or more; ConfigError otherwise.

        Unshaded it has no colours (`rgb` is `[0, 0, 3]`), the very same ids, and comes in less than half the time.
        """
        pose = self.pose(index)
        snapshot = self._snapshot(int(index), pose)
        images = self._renderer.render(snapshot, pose.world_from_optical, shaded)
        if shaded:
            self.world.pictures.prepare(snapshot.first_block + STRIP_BLOCKS)
        return SimulatedFrame(
            index=int(index),
            stamp_ns=self.stamp_ns(int(index)),
            rgb=images.rgb,
            class_ids=images.class_ids,
            instance_ids=images.instance_ids,
            camera=self.lens.camera_info(),
            base_from_optical=pose.base_from_optical,
            world_from_base=pose.world_from_base,
            objects=snapshot.objects,
        )

    def ground_truth(self, index: int) -> GroundTruth:
        """What is truly seen of the ground in frame `index`, 0 or more; ConfigError otherwise."""
        pose = self.pose(index)
        view = self._renderer.view(pose.world_from_optical)
        return GroundTruth(
            self._snapshot(int(index), pose), view, self.lens, pose.world_from_base,
            self.motion.base_from_world_per_s(self._time_s(int(index))),
        )  # fmt: skip

    def frames(self, count: int, first: int = 0) -> Iterator[SimulatedFrame]:
        """`count` frames in order, beginning with number `first`."""
        _check_natural("count", count)
        _check_natural("frame number", first)
        return (self.frame(index) for index in range(first, first + int(count)))

    def _time_s(self, index: int) -> float:
        return (self.stamp_ns(index) - EPOCH_NS) * 1e-9

    def _snapshot(self, index: int, pose: ScenePose) -> Snapshot:
        time_s = self._time_s(index)
        x, y, _ = pose.world_from_optical[:3, 3].tolist()
        return self.world.at(time_s, self.world.bend.street_place(x, y, self.motion.street_x(time_s))[0])

    def _check_clearance(self) -> None:
        """A street that falls ahead, or a bump, may bring the camera down to the road."""
        motion = self.motion
        forward, _, height = self.base_from_optical[:3, 3].tolist()
        dip = motion.bump_height_m + motion.bump_pitch_rad * abs(forward)
        clear = (motion.world_from_base(0.0) @ (forward, 0.0, height - dip, 1.0))[2]
        if clear < _LOWEST_CAMERA_M - 1e-9:
            raise ConfigError(
                f"the camera must stay at least {_LOWEST_CAMERA_M} m above the street, but a slope of "
                f"{motion.slope_rad:g} rad that begins at {motion.slope_begins_m:g} m and bumps of up to {dip:.3f} m "
                f"bring it to {clear:.3f} m; raise camera_height_m, or lessen slope_rad, slope_begins_m or the bumps"
            )


def _check_natural(name: str, value: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{name} must be an integer of at least 0, got {value!r}")
