"""`seg_perception models list | info MODEL | verify MODEL ... | fetch NAME`: what there is, and whether it is sound."""

from __future__ import annotations

import argparse
import json
import sys

from seg_perception.cli import _fetch
from seg_perception.config import PipelineConfig
from seg_perception.errors import ModelNotFoundError, SegPerceptionError
from seg_perception.model import zoo
from seg_perception.model.bundle import ModelBundle, load_bundle

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the models that ship with the package, and those that can be fetched")
    info = actions.add_parser("info", help="what a model is, and what was measured of it")
    info.add_argument("model", help="a shipped or fetched model's name, or a model file's path")
    info.add_argument("--json", action="store_true", help="the metadata as it stands in the file")
    verify = actions.add_parser(
        "verify", help="check files against their seal and the model contract, and run them once"
    )
    verify.add_argument(
        "models", nargs="*", metavar="MODEL", help="names or paths (default: every shipped and fetched one)"
    )
    _fetch.add_arguments(
        actions.add_parser(
            "fetch", help="download published weights and make a model file of them, in the user's cache"
        )
    )


def run(args: argparse.Namespace) -> int:
    """0, or 1 if a model could not be verified."""
    if args.action == "list":
        return _list()
    if args.action == "info":
        return _info(args.model, args.json)
    if args.action == "fetch":
        return _fetch.run(args)
    return _verify(args.models or [*sorted(zoo.SHIPPED), *_fetched()])


def _fetched() -> list[str]:
    try:
        return [name for name, model in sorted(zoo.FETCHABLE.items()) if model.model_path.is_file()]
    except ModelNotFoundError:  # a user without a home has fetched nothing
        return []


def _list() -> int:
    default, fetched = PipelineConfig().model, _fetched()
    for name, shipped in sorted(zoo.SHIPPED.items()):
        print(f"{'*' if name == default else ' '} {name}  {shipped.summary}")
    for name, model in sorted(zoo.FETCHABLE.items()):
        print(f"{'+' if name in fetched else '-'} {name}  {model.summary}")
    print("* the node's default; + fetched; - `seg_perception models fetch NAME` brings it")
    print("`seg_perception models info NAME` says more")
    return 0


def _info(model: str, as_json: bool) -> int:
    bundle = load_bundle(model)
    if as_json:
        print(json.dumps(bundle.metadata, indent=2))
        return 0
    height, width = bundle.input_hw
    rows = [
        ("name", f"{bundle.name} {bundle.version}"),
        ("file", f"{bundle.path} ({len(bundle.data) / 1e6:.1f} MB, opset {bundle.opset})"),
        ("sha256", bundle.sha256),
        ("licence", str(bundle.metadata["license"])),
        ("input", f"RGB, {width}x{height} pixels"),
        *((head, f"{width // stride}x{height // stride}, stride {stride}") for head, stride in bundle.strides.items()),
        ("labels", f"{bundle.labels.name}: {', '.join(label.name for label in bundle.labels)}"),
        *_free_rows(bundle),
    ]
    for name, value in rows:
        print(f"{name:12} {value}")
    return 0


def _free_rows(bundle: ModelBundle) -> list[tuple[str, str]]:
    """What the model's maker wrote beside the contract."""
    rows = []
    for section in ("description", "training", "accuracy", "confidence", "quantization"):
        value = bundle.metadata.get(section)
        if isinstance(value, dict):
            for key, entry in value.items():
                text = ", ".join(f"{k} {v}" for k, v in entry.items()) if isinstance(entry, dict) else str(entry)
                rows.append((section, f"{key}: {text}"))
        elif value:
            rows.append((section, str(value)))
    return rows


def _verify(models: list[str]) -> int:
    from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend

    failures = 0
    for model in models:
        try:
            bundle = load_bundle(model)
            backend = OnnxRuntimeBackend(bundle)
            backend.warm_up(1)
            print(f"ok      {model}: {backend.description}")
            backend.close()
        except SegPerceptionError as exc:
            failures += 1
            print(f"FAILED  {model}: {exc}", file=sys.stderr)
    return 1 if failures else 0
