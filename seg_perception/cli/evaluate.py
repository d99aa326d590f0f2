"""`seg_perception evaluate MODEL DATASET`: accuracy, calibration and speed on labelled frames, in one pass."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seg_perception.cli._progress import Progress
from seg_perception.errors import ConfigError
from seg_perception.files import write_whole

if TYPE_CHECKING:
    from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
    from seg_perception.datasets import Dataset, DatasetItem
    from seg_perception.evaluation.result import Evaluation

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a model file's path")
    parser.add_argument(
        "dataset", metavar="DATASET", help="folder of Cityscapes, of CamVid, or of images, labels and labels.yaml"
    )
    parser.add_argument("--split", help="of the data set (default: val, or everything where there are no splits)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write index.html and evaluation.json there")
    parser.add_argument("--threads", type=int, default=0, help="for inference; 0 is one for each usable core")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only N frames, evenly over the split")
    parser.add_argument("--worst", type=int, default=8, metavar="N", help="how many frames to name (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of the table")
    parser.add_argument(
        "--fit-temperature",
        type=Path,
        metavar="OUT.onnx",
        help="fit the confidence's temperature on these frames and write the model with it",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
    from seg_perception.datasets import open_dataset
    from seg_perception.evaluation.run import evaluate, spread
    from seg_perception.model.bundle import load_bundle

    for option in ("threads", "limit", "worst"):
        if getattr(args, option) < 0:
            raise ConfigError(f"--{option}: expected 0 or more, got {getattr(args, option)}")
    bundle = load_bundle(args.model)
    if args.fit_temperature:
        from seg_perception.training.temperature import check_temperature

        check_temperature(bundle)  # before the long part
    dataset = open_dataset(args.dataset, args.split)
    items = spread(dataset.items, args.limit)
    backend = OnnxRuntimeBackend(bundle, args.threads)
    with Progress("evaluating", total=len(items), unit="frames") as progress:
        evaluation = evaluate(backend, dataset, items, args.worst, progress.update)
    if args.out:  # before anything is printed: `| head` would end it
        _write_report(args.out, evaluation, backend, dataset, items)
    print(json.dumps(evaluation.to_json(), indent=2) if args.json else _text(evaluation), flush=True)
    if args.fit_temperature:
        _fit_temperature(args, evaluation, dataset, items)
    return 0


def _text(evaluation: Evaluation) -> str:
    subject, (p50, p95, top) = evaluation.subject, evaluation.inference_ms
    worst = ", ".join(f"{evaluation.frames[i].name} {100 * evaluation.frames[i].miou:.1f}" for i in evaluation.worst)
    temperature = "" if subject.temperature is None else f", at temperature {subject.temperature:g}"
    lines = [
        f"{subject.model} {subject.version} on {subject.dataset} {subject.split}: {len(evaluation.frames)} frames, %",
        "",
        evaluation.table(),
        "",
        f"pixels right       {100 * evaluation.pixel_accuracy:.1f} %",
        f"calibration error  {100 * evaluation.ece:.2f} % (ECE, 15 bins{temperature})",
        f"inference          p50 {p50:.2f} ms, p95 {p95:.2f} ms, max {top:.2f} ms",
        f"                   {subject.engine}",
    ]
    return "\n".join([*lines, f"worst frames       {worst}"] if worst else lines)


def _write_report(
    out: Path, evaluation: Evaluation, backend: OnnxRuntimeBackend, dataset: Dataset, items: Sequence[DatasetItem]
) -> None:
    from seg_perception.evaluation.page import evaluation_page
    from seg_perception.evaluation.pictures import class_palette, frame_pictures
    from seg_perception.evaluation.run import FrameRunner

    pictures = frame_pictures(FrameRunner(backend, dataset), dataset, [items[i] for i in evaluation.worst])
    page = evaluation_page(evaluation, class_palette(dataset, backend.labels), pictures)
    write_whole(out / "evaluation.json", (json.dumps(evaluation.to_json(), indent=2) + "\n").encode())
    write_whole(out / "index.html", page.encode("utf-8", "replace"))
    print(f"wrote {out / 'index.html'} and evaluation.json", file=sys.stderr)


def _fit_temperature(
    args: argparse.Namespace, evaluation: Evaluation, dataset: Dataset, items: Sequence[DatasetItem]
) -> None:
    from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
    from seg_perception.evaluation.run import evaluate
    from seg_perception.model.bundle import load_bundle, read_bundle
    from seg_perception.training.temperature import fit_temperature, with_temperature

    with Progress("fitting", total=len(items), unit="frames") as progress:
        temperature = fit_temperature(args.model, dataset, items, progress=progress.update)
    data, fitted_on = load_bundle(args.model).data, f"{dataset.name} {dataset.split}"
    if len(items) < len(dataset.items):
        fitted_on += f", {len(items)} of {len(dataset.items)} frames"
    # What the file says about itself is measured with the file.
    with tempfile.TemporaryDirectory(prefix="seg_perception_") as scratch:
        trial = Path(scratch) / "trial.onnx"
        trial.write_bytes(with_temperature(data, temperature, fitted_on))
        backend = OnnxRuntimeBackend(read_bundle(trial), args.threads)
        with Progress("checking", total=len(items), unit="frames") as progress:
            after = evaluate(backend, dataset, items, 0, progress.update)
    write_whole(args.fit_temperature, with_temperature(data, temperature, fitted_on, evaluation.ece, after.ece))
    print(
        f"temperature {temperature:.3f}: calibration error {100 * evaluation.ece:.2f} % before, "
        f"{100 * after.ece:.2f} % after, on the frames it was fitted on; wrote {args.fit_temperature}",
        file=sys.stderr,
    )
