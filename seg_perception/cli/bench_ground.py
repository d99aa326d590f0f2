"""`seg_perception bench-ground`: how right grid and boundary are, and what they cost."""

from __future__ import annotations

import argparse

from seg_perception.cli._progress import Progress
from seg_perception.config import PipelineConfig

__all__ = ["add_arguments", "run"]

_SIZE_WH = (1280, 960)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "--model", default=PipelineConfig().model, help="judged beside the true masks; none: leave it out"
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many streets (default %(default)s)")
    parser.add_argument("--frames", type=int, default=25, help="of each street (default %(default)s)")
    parser.add_argument("--kerb", type=float, default=0.0, metavar="M", help="height of the kerbs; 0 is flat ground")
    parser.add_argument("--slope", type=float, default=0.0, metavar="DEGREES", help="of the street from 10 m ahead on")
    parser.add_argument("--threads", type=int, default=0, help="for inference; 0 is one for each usable core")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    import math

    from seg_perception.bench_ground import measure_cost, score_ground, score_line

    config = PipelineConfig(model=args.model, threads=args.threads) if args.model != "none" else None
    seeds, indices = range(max(1, args.seeds)), range(0, 10 * max(1, args.frames), 10)
    scene = {"kerb_m": args.kerb, "slope_rad": math.radians(args.slope)}
    lines = {}
    for name, own in {"true masks": None, **({args.model: config} if config else {})}.items():
        with Progress(f"judging {name}", total=len(seeds) * len(indices), unit="frames") as progress:
            lines[name] = score_line(score_ground(own, seeds, indices, _SIZE_WH, progress.update, **scene))
    names = list(lines)
    print(f"{len(seeds)} simulated streets, {len(indices)} frames of each, {_SIZE_WH[0]}x{_SIZE_WH[1]} pixels\n")
    print("| | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for figure in lines[names[0]]:
        print(f"| {figure} | " + " | ".join(lines[name][figure] for name in names) + " |")
    print("\n| lens | ms, camera at rest | ms, camera moving |\n|---|---|---|")
    for cost in measure_cost():
        print(f"| {cost.lens} | {cost.still_ms:.2f} | {cost.moving_ms:.2f} |")
    return 0
