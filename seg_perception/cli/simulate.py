"""`seg_perception simulate -o DIR`: a drive down the simulated street as a bag, and the truth about every frame."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seg_perception.cli._progress import Progress
from seg_perception.errors import BagError, ConfigError

if TYPE_CHECKING:
    from seg_perception.bag import McapWriter
    from seg_perception.geometry.transforms import Transform
    from seg_perception.simulate import ScenePose, SimulatedFrame, StreetScene

__all__ = ["add_arguments", "run"]

_IMAGE, _COMPRESSED, _CAMERA_INFO = "/camera/image_raw", "/camera/image_raw/compressed", "/camera/camera_info"
_ODOM, _FOOTPRINT, _BODY = "odom", "base_footprint", "base_link"
_CAMERA, _OPTICAL = "camera_link", "camera_optical_frame"
_JPEG_QUALITY = 95
_HEAVE_PER_DEGREE_M = 0.02

_EPILOG = """\
DIR/bag.mcap is one file: `ros2 bag info`, `ros2 bag play`, Foxglove and `seg_perception replay` open it as it is.
It holds images, calibration, and transforms from odom by base_footprint and base_link to camera_optical_frame.
DIR/truth has, under each image's stamp, its classes, its instances, the ground that is truly seen, poses and objects;
DIR/README.txt explains them. The same arguments give the same bytes.
"""

_README = """\
A drive down a simulated street, written by `seg_perception simulate`: exact ground truth for geometry, no measure of
how well a model does on real roads.

bag.mcap: {topics}.
Frames: odom > base_footprint (flat on the road) > base_link (the body) > camera_link > camera_optical_frame.
{slope}{bend}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = _EPILOG
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="which street (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=150, help="how many (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=15.0, metavar="HZ", help="frames per second (default: 15)")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="pixels (default: %(default)s)")
    camera = parser.add_argument_group("camera")
    camera.add_argument(
        "--distortion", default="none", metavar="MODEL",
        help="none, plumb_bob, rational_polynomial or equidistant, a mild wide-angle lens (default: %(default)s)",
    )  # fmt: skip
    camera.add_argument("--focal", type=float, metavar="PX", help="focal length in pixels (default: 0.78 widths)")
    camera.add_argument("--height", type=float, default=1.45, metavar="M", help="over the road (default: %(default)s)")
    camera.add_argument("--pitch", type=float, default=1.7, metavar="DEG", help="positive looks down (default: 1.7)")
    camera.add_argument("--roll", type=float, default=0.0, metavar="DEG", help="positive lowers the right (default: 0)")
    camera.add_argument("--yaw", type=float, default=0.0, metavar="DEG", help="positive looks left (default: 0)")
    world = parser.add_argument_group("street and vehicle")
    world.add_argument(
        "--bumps", type=float, default=0.0, metavar="DEG",
        help="the body pitches by up to DEG degrees, and heaves by up to 2 cm for each of them (default: 0)",
    )  # fmt: skip
    world.add_argument("--weave", type=float, default=0.0, metavar="M", help="weave by up to M (default: 0)")
    world.add_argument("--kerb", type=float, default=0.125, metavar="M", help="its height; 0: flat (default: 0.125)")
    world.add_argument("--slope", type=float, default=0.0, metavar="DEG", help="the street rises ahead (default: 0)")
    world.add_argument(
        "--curvature", type=float, default=0.0, metavar="PER_M",
        help="the street bends: one over its radius in metres, positive to the left, up to 0.02 (default: 0)",
    )  # fmt: skip
    life = parser.add_argument_group("who is in the street")
    life.add_argument(
        "--crowds", type=float, default=0.0, metavar="SHARE",
        help="0 to 1: so many places for groups of touching people have one (default: 0)",
    )  # fmt: skip
    life.add_argument("--tight-parking", action="store_true", help="cars bumper to bumper along both kerbs")
    life.add_argument(
        "--crossers", type=float, default=0.0, metavar="SHARE",
        help="0 to 1: so many crossings have people and cyclists who cross before the vehicle (default: 0)",
    )  # fmt: skip
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--jpeg", action="store_true", help=f"images as JPEG on {_COMPRESSED}")
    images.add_argument("--no-images", action="store_true", help="truth, calibration and transforms alone: faster")
    parser.add_argument("--force", action="store_true", help="overwrite what is in DIR from an earlier run")


def run(args: argparse.Namespace) -> int:
    """Drive, write, tell."""
    from seg_perception.bag import McapWriter
    from seg_perception.simulate.truth_files import truth_files

    if args.frames < 1:
        raise ConfigError(f"--frames must be 1 or more, got {args.frames}")
    scene, out = _scene(args), Path(args.output)
    _make_room(out, args.force)
    with (
        McapWriter(out / "bag.mcap", overwrite=args.force) as writer,
        Progress("simulating", args.frames, "frames") as progress,
        _told_by_name(out),
    ):
        bag = _DriveBag(writer, scene, args)
        for index in range(args.frames):
            frame, pose = scene.frame(index, shaded=not args.no_images), scene.pose(index)
            bag.add(frame, pose)
            for name, data in truth_files(frame, pose, scene.ground_truth(index)).items():
                (out / "truth" / name).write_bytes(data)
            progress.advance()
        (out / "README.txt").write_text(_readme(args))
    size_mb = (out / "bag.mcap").stat().st_size / 1e6
    print(f"{out}/bag.mcap    {args.frames} frames, {size_mb:.1f} MB")
    print(f"{out}/truth       classes, instances, ground grid, poses and objects of each")
    print(f"{out}/README.txt  what is what")
    return 0


def _scene(args: argparse.Namespace) -> StreetScene:
    from seg_perception.simulate import StreetScene

    size = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", args.size)
    if size is None:
        raise ConfigError(f"--size must be width x height such as 640x480, got {args.size!r}")
    return StreetScene(
        seed=args.seed,
        width_px=int(size[1]),
        height_px=int(size[2]),
        rate_hz=args.rate,
        focal_px=args.focal,
        camera_height_m=args.height,
        camera_pitch_rad=math.radians(args.pitch),
        camera_roll_rad=math.radians(args.roll),
        camera_yaw_rad=math.radians(args.yaw),
        distortion_model=args.distortion,
        bump_pitch_rad=math.radians(args.bumps),
        bump_height_m=_HEAVE_PER_DEGREE_M * args.bumps,
        weave_m=args.weave,
        kerb_m=args.kerb,
        slope_rad=math.radians(args.slope),
        curvature_per_m=args.curvature,
        crowds=args.crowds,
        tight_parking=args.tight_parking,
        crossers=args.crossers,
    )


def _make_room(out: Path, force: bool) -> None:
    """The folders, without truth from an earlier run."""
    from seg_perception.simulate.truth_files import SUFFIXES

    truth = out / "truth"
    with _told_by_name(out):
        truth.mkdir(parents=True, exist_ok=True)
        stale = [path for path in truth.iterdir() if path.name.lstrip("0123456789") in SUFFIXES]
        if (stale or (out / "bag.mcap").exists()) and not force:
            raise BagError(f"{out} holds a simulation already; choose another folder or overwrite it with --force")
        for path in stale:
            path.unlink()


@contextlib.contextmanager
def _told_by_name(out: Path) -> Iterator[None]:
    """A full disk or a missing right as an error of one line."""
    try:
        yield
    except OSError as exc:
        raise BagError(f"{exc.filename or out}: cannot be written: {exc.strerror}; choose another folder") from exc


def _readme(args: argparse.Namespace) -> str:
    from seg_perception.simulate.bend import Bend
    from seg_perception.simulate.truth_files import ABOUT

    images = [] if args.no_images else [f"{_COMPRESSED} (JPEG)" if args.jpeg else f"{_IMAGE} (rgb8)"]
    topics = ", ".join([*images, _CAMERA_INFO, "/tf", "/tf_static"])
    slope = (
        f"The street rises by {args.slope:g} degrees from 10 m ahead on: base_footprint is tilted against it.\n"
        if args.slope
        else ""
    )
    side, radius_m = "left" if args.curvature > 0 else "right", Bend(args.curvature).radius_m
    bend = (
        f"The street bends to the {side} with a radius of {radius_m:g} m: base_footprint goes round in odom.\n"
        if radius_m < math.inf
        else ""
    )
    return _README.format(topics=topics, slope=slope, bend=bend) + ABOUT


class _DriveBag:
    """The topics of a drive, each message at its frame's stamp."""

    def __init__(self, writer: McapWriter, scene: StreetScene, args: argparse.Namespace) -> None:
        from seg_perception.bag.copying import NewTopics
        from seg_perception.bag.kit import RosbagsKit
        from seg_perception.bag.qos import frame_qos
        from seg_perception.config import PipelineConfig

        self._kit = RosbagsKit()
        self._topics = NewTopics(writer, self._kit)
        self._qos = frame_qos(PipelineConfig())
        self._jpeg, self._images = args.jpeg, not args.no_images
        self._rocks = args.bumps > 0
        self._send_static(scene.stamp_ns(0), scene.pose(0))

    def add(self, frame: SimulatedFrame, pose: ScenePose) -> None:
        """One frame; transforms come first, so that a player has them when the image arrives."""
        from seg_perception.bag.qos import TF_QOS
        from seg_perception.messages import CAMERA_INFO, TF_MESSAGE, camera_info_message, tf_message

        stamp = frame.stamp_ns
        moving = [(_ODOM, _FOOTPRINT, pose.world_from_base)]
        moving += [(_FOOTPRINT, _BODY, pose.base_from_body)] if self._rocks else []
        self._topics.send("/tf", TF_MESSAGE, tf_message(self._kit, _transforms(stamp, moving)), stamp, TF_QOS)
        info = camera_info_message(self._kit, stamp, _OPTICAL, frame.camera)
        self._topics.send(_CAMERA_INFO, CAMERA_INFO, info, stamp, self._qos)
        if self._images:
            self._send_image(stamp, frame.rgb)

    def _send_image(self, stamp: int, rgb: np.ndarray) -> None:
        import cv2

        from seg_perception.messages import COMPRESSED_IMAGE, IMAGE, compressed_message, image_message

        if not self._jpeg:
            message = image_message(self._kit, stamp, _OPTICAL, rgb, "rgb8")
            self._topics.send(_IMAGE, IMAGE, message, stamp, self._qos)
            return
        _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        message = compressed_message(self._kit, stamp, _OPTICAL, data.reshape(-1), "rgb8; jpeg compressed bgr8")
        self._topics.send(_COMPRESSED, COMPRESSED_IMAGE, message, stamp, self._qos)

    def _send_static(self, stamp: int, pose: ScenePose) -> None:
        from seg_perception.bag.qos import LATCHED_QOS
        from seg_perception.geometry.transforms import OPTICAL_FROM_BODY
        from seg_perception.messages import TF_MESSAGE, tf_message

        turn = np.eye(4)
        turn[:3, :3] = OPTICAL_FROM_BODY
        still = [(_BODY, _CAMERA, pose.body_from_optical @ turn), (_CAMERA, _OPTICAL, turn.T)]
        still += [] if self._rocks else [(_FOOTPRINT, _BODY, np.eye(4))]
        message = tf_message(self._kit, _transforms(stamp, still))
        self._topics.send("/tf_static", TF_MESSAGE, message, stamp, LATCHED_QOS)


def _transforms(stamp_ns: int, links: list[tuple[str, str, np.ndarray]]) -> list[Transform]:
    from seg_perception.geometry.transforms import transform_of_matrix

    return [transform_of_matrix(parent, child, stamp_ns, matrix) for parent, child, matrix in links]
