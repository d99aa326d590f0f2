"""`seg_perception demo`: pictures through the live node over DDS, and what came of it to look at."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_perception.cli._config import add_config_arguments, config_from
from seg_perception.cli._progress import Progress
from seg_perception.config import PipelineConfig
from seg_perception.errors import ConfigError, SegPerceptionError
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY
from seg_perception.sources import SIMULATED, SimulatedSource, Source, open_source
from seg_perception.types import CompressedImage

__all__ = ["add_arguments", "run"]

_OVERLAY = "/segmentation/overlay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "--input", default=SIMULATED, metavar="FILE",
        help="a rosbag2 bag, a video, or a folder of images (default: the embedded street scene)",
    )  # fmt: skip
    parser.add_argument("--topic", help="which image topic of a bag that has several")
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="folder for the results (default %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=15.0, help="pictures per second (default %(default)s)")
    parser.add_argument("--limit", type=int, default=150, help="how many pictures; 0 is all (default %(default)s)")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Play, record, draw, print."""
    if not (args.rate > 0 and args.limit >= 0):
        raise SegPerceptionError(f"--rate must be above 0 and --limit 0 or more, got {args.rate} and {args.limit}")
    if args.input == SIMULATED and not args.limit:
        raise SegPerceptionError("--limit 0 plays all there is, and the embedded street has no end: give a number")
    try:
        from seg_perception.ros.live_run import LiveRun, run_live
    except ImportError as exc:
        raise SegPerceptionError(
            f"the demo needs ROS 2 ({exc}): start it with scripts/demo, which brings it along, "
            "or source an installation"
        ) from exc
    out: Path = args.out
    config = config_from(args)
    if config.cameras != ("camera",):
        raise ConfigError(f"cameras: the demo has one, called 'camera', got {list(config.cameras)}; leave them out")
    source = _look_at(args)
    known = {**_model_of(config), **(source.pose if _has_no_pose(config) else {})}
    config = PipelineConfig.from_parameters({**config.to_parameters(), **known})
    in_metres = not _has_no_pose(config)
    out.mkdir(parents=True, exist_ok=True)
    live = LiveRun(args.input, args.topic, source.compressed, args.rate, args.limit, _changed(config), in_metres, out)
    print("starting the node", file=sys.stderr, flush=True)
    with Progress("segmenting live", total=source.total, unit="frames") as progress:
        run_live(
            live,
            lambda domain: progress.note(f"playing at {args.rate:g} Hz; watch it live with ROS_DOMAIN_ID={domain}"),
            progress.update,
        )
    _report(args, config, live.bag, live.stamps, source.total)
    return 0


def _source(args: argparse.Namespace) -> contextlib.closing[Source]:
    return contextlib.closing(open_source(args.input, topic=args.topic, rate_hz=args.rate))


@dataclass(frozen=True)
class _Look:
    """What there is to play.

    Attributes:
        total: how many pictures will be played, if that is known.
        compressed: whether they are.
        pose: parameters that say where the camera is, of a source that knows.
    """

    total: int | None
    compressed: bool
    pose: dict[str, Any]


def _look_at(args: argparse.Namespace) -> _Look:
    with _source(args) as source:
        first = next(iter(source), None)
        if first is None:
            raise SegPerceptionError(f"{args.input}: there is no image in it")
        counts = [n for n in (source.length, args.limit or None) if n is not None]
        pose = _pose_parameters(source.scene.base_from_optical) if isinstance(source, SimulatedSource) else {}
    return _Look(min(counts) if counts else None, isinstance(first.image, CompressedImage), pose)


def _pose_parameters(base_from_optical: np.ndarray) -> dict[str, Any]:
    """A camera's pose, float64 `[4, 4]`, as the parameters of one that does not move."""
    turn = base_from_optical[:3, :3] @ OPTICAL_FROM_BODY
    roll, yaw = math.atan2(turn[2, 1], turn[2, 2]), math.atan2(turn[1, 0], turn[0, 0])
    pitch = math.atan2(-turn[2, 0], math.hypot(turn[0, 0], turn[1, 0]))
    return {
        "camera.pose_source": "parameters",
        "camera.position_m": [round(float(value), 6) for value in base_from_optical[:3, 3]],
        "camera.rotation_rpy_rad": [round(angle, 6) for angle in (roll, pitch, yaw)],
    }


def _has_no_pose(config: PipelineConfig) -> bool:
    """Nothing publishes transforms in the demo's graph."""
    return config.camera_configs[0].pose_source == "tf"


def _model_of(config: PipelineConfig) -> dict[str, str]:
    """The model is looked for from the user's folder, not from the node's."""
    return {"model": str(Path(config.model).resolve())} if Path(config.model).is_file() else {}


def _changed(config: PipelineConfig) -> dict[str, Any]:
    """Parameters that are not the defaults."""
    usual = PipelineConfig().to_parameters()
    return {name: value for name, value in config.to_parameters().items() if value != usual[name]}


def _report(args: argparse.Namespace, config: PipelineConfig, bag: Path, stamps: Path, total: int | None) -> None:
    from seg_perception import demo_report
    from seg_perception.model.bundle import load_bundle
    from seg_perception.visualise import latency_table

    out: Path = args.out
    labels = load_bundle(config.model).labels
    with Progress("drawing the video", total=total, unit="frames") as progress:
        frames = demo_report.write_video(bag, _OVERLAY, labels, out / "overlay.mp4", args.rate, progress.update)
    if not frames:
        raise SegPerceptionError(f"no overlay was recorded; {out}/node.log says why")
    with _source(args) as source:
        pairs = demo_report.write_contact_sheet(bag, _OVERLAY, source, stamps, out / "contact_sheet.png")
    diagnostics = demo_report.read_diagnostics(bag)
    (out / "diagnostics.json").write_text(json.dumps(diagnostics, indent=2) + "\n")
    camera = next((values for values in diagnostics.values() if "received" in values), {})
    fate = ", ".join(f"{camera.get(name, '?')} {name}" for name in ("received", "published", "dropped", "failed"))
    table = latency_table(demo_report.camera_times(diagnostics))
    (out / "latency.txt").write_text(f"{table}\n\nframes: {fate}\n")
    print(f"\n{table}\n\nframes: {fate}\n")
    size_mb = bag.stat().st_size / 1e6
    print(f"{out}/overlay.mp4        {frames} frames, plays in a browser")
    print(f"{out}/contact_sheet.png  {pairs} of them side by side")
    print(f"{out}/{bag.name}          every output topic ({size_mb:.0f} MB; Foxglove, `ros2 bag play`)")
    if shutil.which("xdg-open"):
        print(f"\nopen them with: xdg-open {out}/overlay.mp4")
