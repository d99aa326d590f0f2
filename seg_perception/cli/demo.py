"""`seg_perception demo`: pictures through the live node over DDS, and what came of it to look at."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
from pathlib import Path

from seg_perception.cli._progress import Progress
from seg_perception.config import PipelineConfig
from seg_perception.errors import SegPerceptionError
from seg_perception.sources import SIMULATED, Source, open_source
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
    parser.add_argument("--model", default=PipelineConfig().model, help="a shipped model's name, or a file's path")


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
    out.mkdir(parents=True, exist_ok=True)
    total, compressed = _look_at(args)
    # The model is looked for from the user's folder, not from the node's.
    model = str(Path(args.model).resolve()) if Path(args.model).is_file() else args.model
    live = LiveRun(args.input, args.topic, compressed, args.rate, args.limit, {"model": model}, out)
    print("starting the node", file=sys.stderr, flush=True)
    with Progress("segmenting live", total=total, unit="frames") as progress:
        run_live(
            live,
            lambda domain: progress.note(f"playing at {args.rate:g} Hz; watch it live with ROS_DOMAIN_ID={domain}"),
            progress.update,
        )
    _report(args, live.bag, live.stamps, total)
    return 0


def _source(args: argparse.Namespace) -> contextlib.closing[Source]:
    return contextlib.closing(open_source(args.input, topic=args.topic, rate_hz=args.rate))


def _look_at(args: argparse.Namespace) -> tuple[int | None, bool]:
    """How many pictures will be played, if that is known, and whether they are compressed."""
    with _source(args) as source:
        first = next(iter(source), None)
        if first is None:
            raise SegPerceptionError(f"{args.input}: there is no image in it")
        length = source.length
    counts = [n for n in (length, args.limit or None) if n is not None]
    return (min(counts) if counts else None), isinstance(first.image, CompressedImage)


def _report(args: argparse.Namespace, bag: Path, stamps: Path, total: int | None) -> None:
    from seg_perception import demo_report
    from seg_perception.model.bundle import load_bundle
    from seg_perception.visualise import latency_table

    out: Path = args.out
    labels = load_bundle(args.model).labels
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
    print(f"{out}/contact_sheet.png  {pairs} pictures beside their overlays")
    print(f"{out}/{bag.name}          every output topic ({size_mb:.0f} MB; Foxglove, `ros2 bag play`)")
    if shutil.which("xdg-open"):
        print(f"\nopen them with: xdg-open {out}/overlay.mp4")
