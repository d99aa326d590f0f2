"""`seg_perception bench`: what the pipeline and the node add to bare inference, measured in one run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from seg_perception.cli._progress import Progress
from seg_perception.config import PipelineConfig
from seg_perception.visualise import latency_table

if TYPE_CHECKING:
    from seg_perception.bench import RoundTripLike

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    defaults = PipelineConfig()
    parser.add_argument("--model", default=defaults.model, help="a shipped model's name, or a model file's path")
    parser.add_argument("--threads", type=int, default=0, help="for inference; 0 is one for each usable core")
    parser.add_argument("--spinning", action="store_true", help="let idle inference threads spin")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="the camera's picture (default %(default)s)")
    parser.add_argument("--runs", type=int, default=100, help="rounds to measure (default %(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="rounds per second (default %(default)s)")
    parser.add_argument("--no-node", action="store_true", help="leave the live node out: needs no ROS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the file."""
    from seg_perception.bench import WARM_UP_ROUNDS, run_bench

    config = PipelineConfig(model=args.model, threads=args.threads, spinning=args.spinning)
    width, height = _size(args.size)
    runs, rate_hz = max(1, args.runs), max(0.1, args.rate)
    with _node(args, config) as node, Progress("measuring", total=runs + WARM_UP_ROUNDS, unit="rounds") as progress:
        result = run_bench(config, (height, width), runs, rate_hz, node, progress.update)
    print(f"{result.about['backend']}\n{result.about['picture']} at {rate_hz:g} Hz, {runs} rounds, alternating\n")
    print(latency_table(result.rows()))
    for name, ratio in result.ratios().items():
        print(f"{name} = {ratio:.3f}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result.to_json(), indent=2) + "\n")
    return 0


def _size(text: str) -> tuple[int, int]:
    from seg_perception.errors import ConfigError

    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and 0 < int(p) <= 16384 for p in parts):
        raise ConfigError(f"--size: expected WxH in pixels such as 640x480, got {text!r}")
    return int(parts[0]), int(parts[1])


@contextlib.contextmanager
def _node(args: argparse.Namespace, config: PipelineConfig) -> Iterator[RoundTripLike | None]:
    """The live node, unless it is not wanted or there is no ROS."""
    if args.no_node:
        yield None
        return
    try:
        from seg_perception.ros.round_trip import RoundTrip
    except ImportError as exc:
        print(f"no live node: {exc}; `--no-node` leaves it out without this line", flush=True)
        yield None
        return
    model = config.model if os.sep not in config.model else str(Path(config.model).resolve())
    with RoundTrip({"model": model, "threads": config.threads, "spinning": config.spinning}) as node:
        yield node
