"""`seg_perception bench-objects`: how right objects, their places and their ids are, and what they cost."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from seg_perception.cli._progress import Progress
from seg_perception.config import PipelineConfig

__all__ = ["add_arguments", "run"]

_INDICES_APART = 37
_CLASSES = ("car", "person")
_BUSY = {"crowds": 0.6, "crossers": 0.5, "tight_parking": True}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--model", default=PipelineConfig().model, help="judged beside true heads; none: leave it out")
    parser.add_argument(
        "--composites",
        type=Path,
        metavar="FOLDER",
        help="a labelled data set (its split val): its single things laid over each other",
    )
    parser.add_argument("--seeds", type=int, default=8, help="how many streets (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first street (default %(default)s)")
    parser.add_argument("--frames", type=int, default=8, help="of each, for quality (default %(default)s)")
    parser.add_argument("--drive", type=int, default=150, help="frames of each drive, for ids (default %(default)s)")
    parser.add_argument("--runs", type=int, default=200, help="for the times (default %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="for inference; 0 is one for each usable core")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    config = PipelineConfig(model=args.model, threads=args.threads) if args.model != "none" else None
    _print_quality(args, config)
    _print_drives(args)
    _print_cost(args)
    if config is not None:
        _print_heads_cost(config, args.runs)
    return 0


def _print_quality(args: argparse.Namespace, config: PipelineConfig | None) -> None:
    from seg_perception.bench_objects import judge_model, judge_true_heads
    from seg_perception.datasets import open_dataset
    from seg_perception.evaluation.instances import composites_of, simulated_frames

    indices = range(0, _INDICES_APART * args.frames, _INDICES_APART)
    streets: dict[str, dict[str, Any]] = {"streets": {}, "busy streets": _BUSY}
    count = args.seeds * args.frames
    rows: list[tuple[str, str, Any, Any]] = []

    def frames(scene: dict[str, Any]) -> Any:
        return simulated_frames(_seeds(args), indices, **scene)

    for name, scene in streets.items():
        for heads, fine in (("true heads at the class map's stride 2", True), ("true heads at stride 4", False)):
            with Progress(f"{heads}, {name}", total=count, unit="frames") as progress:
                judge = judge_true_heads(frames(scene), fine=fine, progress=progress.update)
            rows.append((name, heads, judge.grouped, None))
        rows.append((name, "true class map alone", judge.split, None))
    noise = None
    if config is not None:
        for name, scene in streets.items():
            with Progress(f"{args.model}, {name}", total=count, unit="frames") as progress:
                judge = judge_model(config, frames(scene), None, progress.update)
            rows += [
                (name, args.model, judge.grouped, None),
                (name, f"{args.model}, class map alone", judge.split, None),
            ]
            noise = judge.errors.noise() if judge.grouped else noise
        if args.composites is not None:
            dataset = open_dataset(args.composites, "val")
            with Progress(f"{args.model}, composites", total=count, unit="frames") as progress:
                judge = judge_model(config, composites_of(dataset, count, 0), dataset, progress.update)
            label = f"composites of {dataset.name} {dataset.split}"
            rows += [
                (label, args.model, judge.grouped, dataset),
                (label, f"{args.model}, class map alone", judge.split, dataset),
            ]
            noise = judge.errors.noise() if judge.grouped else noise
    if noise is not None:
        for name, scene in streets.items():
            with Progress(f"noised heads, {name}", total=count, unit="frames") as progress:
                judge = judge_true_heads(frames(scene), noise, progress=progress.update)
            rows.append((name, "true heads, as wrong as the model's", judge.grouped, None))
        print(
            f"The model's heads: offsets of a thing are off by {noise.shift:.3f} of the root of its area, of a cell by "
            f"{noise.scatter:.3f} more (one standard deviation); {noise.missed:.1%} of the things have no centre, "
            f"{noise.invented:.2f} centres on a thing are nobody's."
        )
    _print_rows(rows)


def _seeds(args: argparse.Namespace) -> range:
    return range(args.first_seed, args.first_seed + args.seeds)


def _print_rows(rows: list[tuple[str, str, Any, Any]]) -> None:
    """PQ of cars, people, the mean of the classes of things, and of all things together, by their least area."""
    from seg_perception.labels import CITYSCAPES

    named = (*_CLASSES, "mean of classes", "all things")
    least = next(iter(rows))[2]
    columns = [f"{name}, {px:g} px" for px in least for name in named]
    print("| PQ of | heads | " + " | ".join(columns) + " |\n|---|---|" + "---|" * len(columns))
    for frames, heads, qualities, dataset in rows:
        if not qualities:
            continue
        if dataset is None:
            ids = [CITYSCAPES.id_of(name) for name in _CLASSES]
        else:
            ids = [next(i for i, covered in enumerate(dataset.covers) if name in covered) for name in _CLASSES]
        values = [v for q in qualities.values() for v in (*q.pq()[ids], q.mean_pq(q.is_thing), q.pooled_pq(q.is_thing))]
        print(f"| {frames} | {heads} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


def _print_drives(args: argparse.Namespace) -> None:
    from seg_perception.bench_objects import follow_streets

    print("\n| drives | within 10 m, median m | to 40 m, median px | in the 95 % ellipse | perturbed | object-frames | "
          "id switches | back within 1 s | with their id | object-frames from 60 px | id switches |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name, scene in {"streets": {}, "busy streets": _BUSY}.items():
        with Progress(f"following things, {name}", total=args.seeds * args.drive, unit="frames") as progress:
            found = follow_streets(_seeds(args), args.drive, progress=progress.update, kerb_m=0.0, **scene)  # type: ignore[arg-type]
        places, tracks = found.places, found.tracks
        print(
            f"| {name} | {places.median_m:.3f} | {places.median_px:.2f} | {places.held:.1%} | "
            f"{found.perturbed.held:.1%} | {tracks.frames} | {tracks.switches} | {tracks.returned} | {tracks.kept} | "
            f"{found.all_tracks.frames} | {found.all_tracks.switches} |"
        )


def _print_cost(args: argparse.Namespace) -> None:
    from seg_perception.bench_object_cost import measure_objects

    try:
        from seg_perception.ros.kit import RclpyKit as Kit
    except ImportError:
        from seg_perception.bag import RosbagsKit as Kit  # type: ignore[assignment]
    with Progress("measuring", total=1, unit="") as progress:
        costs = measure_objects(Kit(), args.runs)
        progress.update(1)
    usual = list(costs.values())[1]
    print(f"\nMessages are {Kit.__name__}'s.\n| what is seen | kept | panoptic ms | ids and places ms | messages ms | "
          "sum, of the second |\n|---|---|---|---|---|---|")  # fmt: skip
    for name, cost in costs.items():
        print(
            f"| {name} | {cost.kept} | {cost.panoptic_ms:.2f} | {cost.follow_ms:.2f} | {cost.messages_ms:.2f} | "
            f"{cost.total_ms / usual.total_ms:.2f} |"
        )


def _print_heads_cost(config: PipelineConfig, runs: int) -> None:
    from seg_perception.backends import open_backend
    from seg_perception.bench_object_cost import heads_cost_ms

    backend = open_backend(config)
    try:
        with Progress("measuring the model", total=1, unit="") as progress:
            without_ms, with_ms = heads_cost_ms(backend, runs)
            progress.update(1)
    finally:
        backend.close()
    print(
        f"\nInference of {config.model}: {without_ms:.2f} ms, {with_ms:.2f} ms while somebody listens to objects: "
        f"{with_ms - without_ms:+.2f} ms"
    )
