"""`seg_perception quantize MODEL --calibrate DATASET`: the int8 edition of a model, measured beside the original."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from seg_perception.cli._progress import Progress

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("model", help="a shipped model's name, or a model file's path")
    parser.add_argument(
        "--calibrate", required=True, type=Path, metavar="DATASET",
        help="labelled frames: Cityscapes, CamVid, or a folder with labels.yaml",
    )  # fmt: skip
    parser.add_argument("--calibration-split", default="train", metavar="SPLIT", help="of it (default %(default)s)")
    parser.add_argument("--images", type=int, default=64, help="frames to calibrate on (default %(default)s)")
    parser.add_argument(
        "--method", choices=("minmax", "percentile", "entropy"), default="minmax", help="(default %(default)s)"
    )
    parser.add_argument(
        "--evaluate", type=Path, metavar="DATASET", help="frames to judge both on (default: the same data set)"
    )
    parser.add_argument("--split", default="val", help="of it; no frame may be in both (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the model file (default <name>_int8.onnx)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write everything measured there, as JSON")
    parser.add_argument(
        "--target-points", type=float, default=0.3, metavar="POINTS",
        help="of mIoU that int8 may cost before sensitive layers go back to float (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-loss-points", type=float, default=1.0, metavar="POINTS",
        help="of mIoU; nothing is written if it costs more (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="write it whatever it costs")
    parser.add_argument(
        "--for", dest="target", choices=("x86", "tensorrt"), default="x86", help="engine (default %(default)s)"
    )
    parser.add_argument(
        "--weight-bits", type=int, choices=(7, 8), default=7,
        help="7 is right on every x86 CPU, 8 on those with VNNI alone (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, help="for inference; 0 is one for each usable core")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of frames (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Quantise, print the table, write the files; the reason in one line where it is refused."""
    from seg_perception.datasets import open_dataset
    from seg_perception.errors import ConfigError, ModelError
    from seg_perception.files import write_whole
    from seg_perception.model.bundle import load_bundle
    from seg_perception.training.quantization import QuantizeConfig, quantize, why_not

    config = QuantizeConfig(
        target=args.target, method=args.method, weight_bits=args.weight_bits, images=args.images,
        target_points=args.target_points, threads=max(0, args.threads), seed=args.seed,
    )  # fmt: skip
    bundle = load_bundle(args.model)
    out: Path = args.out or Path(f"{bundle.name}_int8.onnx")
    for name, path in (("--out", out), ("--report", args.report)):
        if path is not None and (path.is_dir() or not _is_writable(path)):
            raise ConfigError(f"{name}: {path} cannot be written; give a file in a folder that exists and is yours")
    calibration = open_dataset(args.calibrate, args.calibration_split)
    evaluation = open_dataset(args.evaluate or args.calibrate, args.split)
    with _Steps() as steps:
        edition = quantize(bundle, calibration, evaluation, config, steps.show)
    report = edition.report
    print(f"{report.model}: {report.method} on {report.calibration}\n\n{report.table()}\n", flush=True)
    if report.target == "tensorrt":
        print("The times are this CPU's in ONNX Runtime; TensorRT's have to be measured on its own machine.\n")
    if args.report:
        write_whole(args.report, (json.dumps(report.to_json(), indent=2) + "\n").encode())
    refusal = None if args.force else why_not(report, args.max_loss_points)
    if refusal:
        raise ModelError(f"{refusal}. Nothing was written")
    write_whole(out, edition.data)
    print(f"{out}: {len(edition.data) / 1e6:.1f} MB")
    return 0


def _is_writable(path: Path) -> bool:
    """Asked before minutes of work, not after."""
    return os.access(path if path.exists() else path.parent, os.W_OK)


class _Steps:
    """A line of progress for each thing that takes a while."""

    def __init__(self) -> None:
        self._label, self._line = "", Progress("")

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def show(self, label: str, done: int, total: int) -> None:
        if label != self._label:
            self._line.close()
            self._label, self._line = label, Progress(label, total)
        self._line.update(done)
