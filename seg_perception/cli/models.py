"""`seg_perception models list | info MODEL | verify MODEL ...`: which models there are, and whether they are sound."""

from __future__ import annotations

import argparse
import json
import sys

from seg_perception.config import PipelineConfig
from seg_perception.errors import SegPerceptionError
from seg_perception.model import zoo
from seg_perception.model.bundle import ModelBundle, load_bundle

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the models that ship with the package")
    info = actions.add_parser("info", help="what a model is, and what was measured of it")
    info.add_argument("model", help="a shipped model's name, or a model file's path")
    info.add_argument("--json", action="store_true", help="the metadata as it stands in the file")
    verify = actions.add_parser(
        "verify", help="check files against their seal and the model contract, and run them once"
    )
    verify.add_argument("models", nargs="*", metavar="MODEL", help="names or paths (default: every shipped model)")


def run(args: argparse.Namespace) -> int:
    """0, or 1 if a model could not be verified."""
    if args.action == "list":
        return _list()
    if args.action == "info":
        return _info(args.model, args.json)
    return _verify(args.models or sorted(zoo.SHIPPED))


def _list() -> int:
    default = PipelineConfig().model
    for name, model in sorted(zoo.SHIPPED.items()):
        mark = "*" if name == default else " "
        print(f"{mark} {name}  {model.summary}")
    print("* the node's default; `seg_perception models info NAME` says more")
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
    for section in ("description", "training", "accuracy"):
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
