"""`seg_perception replay BAG -o OUT.mcap`: the pipeline over a bag, without ROS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from seg_perception.cli._config import add_config_arguments, config_from
from seg_perception.cli._progress import Progress
from seg_perception.errors import BagError

if TYPE_CHECKING:
    from seg_perception.bag import Bag
    from seg_perception.bag.replay import ReplayOptions, ReplayResult
    from seg_perception.bag.topics import CameraTopics
    from seg_perception.config import PipelineConfig

__all__ = ["add_arguments", "run"]

_EPILOG = """\
OUT.mcap is one file: `ros2 bag info OUT.mcap`, `ros2 bag play OUT.mcap` and Foxglove open it as it is. It holds
everything that BAG holds, byte for byte, and the topics of a live node, each message with the stamp and frame_id
of its image, at the time when the image was recorded.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = _EPILOG
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.mcap", help="the bag to write")
    parser.add_argument("--topic", help="image topic, where the bag has several")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N images")
    add_config_arguments(parser)
    parser.add_argument("--outputs", metavar="NAME,...", help="only these: mask,confidence,label_info (default: all)")
    parser.add_argument("--prefix", default="/segmentation", help="of the topics (default: %(default)s)")
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--drop-input", action="store_true", help="leave out the images themselves")
    keep.add_argument("--only-outputs", action="store_true", help="leave out everything but the results")
    parser.add_argument("--compression", choices=("zstd", "lz4", "none"), default="zstd", help="(default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="overwrite OUT.mcap")


def run(args: argparse.Namespace) -> int:
    """0, or 1 if not one image got a result."""
    from seg_perception.bag import Bag
    from seg_perception.bag.topics import find_camera

    if args.output.suffix != ".mcap":
        raise BagError(f"--output: expected a name that ends in .mcap, got {args.output.name!r}")
    if args.output.exists() and args.output.samefile(args.bag):
        raise BagError(f"--output: {args.output} is the input itself; choose another name")
    options, config = _options(args), config_from(args)
    with Bag(args.bag) as bag:
        topics = find_camera(bag, args.topic)
        result = _replay(bag, topics, options, config, args)
        print(_summary(result, bag, topics, args.output))
    return 0 if result.published else 1


def _options(args: argparse.Namespace) -> ReplayOptions:
    from seg_perception.bag.replay import DEFAULT_OUTPUTS, Keep, ReplayOptions

    names = [name.strip() for name in args.outputs.split(",") if name.strip()] if args.outputs else DEFAULT_OUTPUTS
    keep = Keep.ALL_BUT_THE_IMAGES if args.drop_input else Keep.EVERYTHING
    if args.only_outputs:
        keep = Keep.NOTHING
    return ReplayOptions(args.prefix, tuple(names), keep, args.limit)


def _replay(
    bag: Bag, topics: CameraTopics, options: ReplayOptions, config: PipelineConfig, args: argparse.Namespace
) -> ReplayResult:
    from seg_perception.bag import McapWriter
    from seg_perception.bag.replay import Replay
    from seg_perception.pipeline import Pipeline

    pipeline = Pipeline(config)
    print(f"{topics.image.topic}: {topics.image_count} images; {pipeline.backend.description}", file=sys.stderr)
    total = topics.image_count if options.limit is None else min(options.limit, topics.image_count)
    try:
        replay = Replay(bag, topics, pipeline, options)
        with (
            McapWriter(args.output, args.compression, args.force) as writer,
            Progress("segmenting", total, "images") as progress,
        ):
            return replay.run(writer, progress.update)
    finally:
        pipeline.close()


def _summary(result: ReplayResult, bag: Bag, topics: CameraTopics, output: Path) -> str:
    from seg_perception.latency import percentiles
    from seg_perception.visualise import latency_table

    failed = sum(result.failed.values())
    lines = [f"{result.read} images read from {topics.image.topic}, {result.published} published, {failed} failed"]
    for reason, count in sorted(result.failed.items()):
        lines.append(f"  {count} x {reason}: {result.first_error[reason]}")
    for reason, count in sorted(result.unlocated.items()):
        lines.append(f"  {count} without drivable grid and boundary, {reason}: {result.first_error[reason]}")
    if bag.losses:
        lines += ["lost in the input:", *(f"  {loss}" for loss in bag.losses)]
    if result.published:
        lines += ["", latency_table({stage: percentiles(times) for stage, times in result.stages_ms.items()}), ""]
    rate = result.read / result.elapsed_s if result.elapsed_s else 0.0
    size_mb = output.stat().st_size / 1e6
    lines.append(f"{output}: {size_mb:.1f} MB, {result.copied} messages copied, {rate:.1f} images/s")
    return "\n".join(lines)
