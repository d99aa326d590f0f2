"""`seg_perception export RUN --out MODEL.onnx --name NAME`: a training run's network to a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder of `seg_perception train`")
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL.onnx", help="the file to write")
    parser.add_argument("--name", required=True, help="the model's name")
    parser.add_argument("--version", default="0.1.0", help="the model's version")
    parser.add_argument(
        "--stride", type=int, choices=(1, 2, 4), default=2,
        help="of the class ids, in input pixels: 4 is quickest, 1 sharpest (default 2)",
    )  # fmt: skip
    parser.add_argument(
        "--about", type=Path, metavar="ABOUT.json", help="JSON object to put into the metadata: training, accuracy ..."
    )
    parser.add_argument(
        "--temperature-of",
        metavar="MODEL",
        help="take the confidence's temperature from this model, fitted on its own data",
    )


def run(args: argparse.Namespace) -> int:
    """0; errors are told in one line."""
    from seg_perception.training.export import export_run, read_about

    bundle = export_run(
        args.run_folder, args.out, args.name, args.version, args.stride, read_about(args.about), args.temperature_of
    )
    print(f"{args.out}: {len(bundle.data) / 1e6:.2f} MB, sha256 {bundle.sha256}")
    return 0
