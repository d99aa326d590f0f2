"""`seg_perception compare DATASET MODEL ...`: accuracy and time of several models, side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from seg_perception.cli._progress import Progress
from seg_perception.errors import ConfigError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("dataset", metavar="DATASET", help="folder of a labelled data set (docs/evaluation.md)")
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="names or files; times are also told relative to the first"
    )
    parser.add_argument("--split", help="of the data set (default: val)")
    parser.add_argument("--rounds", type=int, default=20, help="turns of the time measurement (default 20)")
    parser.add_argument("--threads", type=int, default=0, help="for one inference (default: one for each usable core)")
    parser.add_argument("--json", action="store_true", help="figures as JSON on standard output")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="accuracy over time, as PNG or SVG (needs Matplotlib)"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="put the table between the marks in this Markdown file"
    )


def run(args: argparse.Namespace) -> int:
    """0; errors are told in one line."""
    from seg_perception.datasets import open_dataset
    from seg_perception.evaluation.compare import compare_models, markdown_table, write_into
    from seg_perception.model.bundle import load_bundle

    if args.rounds < 1 or args.threads < 0:
        raise ConfigError(f"rounds: expected 1 or more, threads 0 or more, got {args.rounds} and {args.threads}")
    if args.plot is not None:
        # Imported before minutes of measuring: what it needs may be missing.
        from seg_perception.training.compare_plot import draw_plot
    dataset = open_dataset(args.dataset, args.split)
    bundles = [load_bundle(model) for model in args.models]
    with Progress("measuring", len(bundles) * (1 + args.rounds), "turns") as progress:
        figures = compare_models(bundles, dataset, args.rounds, args.threads, progress.advance)
    table = markdown_table(figures, dataset)
    print(json.dumps([row.to_json() for row in figures], indent=2) if args.json else table)
    if args.markdown is not None:
        write_into(args.markdown, table)
    if args.plot is not None:
        draw_plot(figures, dataset, args.plot)
    return 0
