"""The command line: `seg_perception VERB ...`, one verb per file, imported when it is used."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from seg_perception import __version__

__all__ = ["VERBS", "Verb", "main"]


class Verb(NamedTuple):
    """A verb's module has `add_arguments(parser)` and `run(args) -> int`, the exit code."""

    name: str
    help: str
    module: str


VERBS = (
    Verb("demo", "see it work: a street scene through the live node, with video and latency table", "demo"),
    Verb("replay", "run the pipeline over a bag, without ROS, into a new bag", "replay"),
    Verb("bench", "measure what pipeline and node add to bare inference", "bench"),
    Verb("bench-ground", "how right the drivable area is on simulated streets, and what it costs", "bench_ground"),
    Verb("bench-objects", "how right objects, their ids and their places are, and what they cost", "bench_objects"),
    Verb("evaluate", "judge a model on labelled frames: accuracy, calibration, speed, worst frames", "evaluate"),
    Verb("compare", "accuracy and time of several models, side by side", "compare"),
    Verb("train", "train a network on labelled street scenes, with or without a teacher", "train"),
    Verb("export", "make a model file of a trained network", "export"),
    Verb("quantize", "make the int8 edition of a model, and measure what it costs and gains", "quantize"),
    Verb("simulate", "drive down a simulated street: a bag, and exact ground truth beside it", "simulate"),
    Verb("models", "list, inspect and verify models", "models"),
)

_DESCRIPTION = "Street-scene segmentation for ROS 2. `seg_perception VERB --help` explains a verb."


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen verb alone: the others' modules stay unloaded."""
    parser = argparse.ArgumentParser(prog="seg_perception", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"seg_perception {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        sub = verbs.add_parser(verb.name, help=verb.help, description=f"{verb.help[0].upper()}{verb.help[1:]}.")
        if verb.name == chosen:
            module = importlib.import_module(f"seg_perception.cli.{verb.module}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0, or 1 after an error that is told in one line, 2 for wrong usage, 130 after an interrupt.
    """
    # Imported here: `--help` is to be quick, and this is all that `main` itself needs.
    from seg_perception.errors import SegPerceptionError

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    arguments = sys.argv[1:] if argv is None else list(argv)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        args = _parser(chosen).parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except SystemExit as exc:  # argparse: 0 after --help, 2 for wrong usage
        return exc.code if isinstance(exc.code, int) else 2
    except SegPerceptionError as exc:
        return _complain(exc)
    except ModuleNotFoundError as exc:
        if not exc.name or exc.name.startswith("seg_perception"):
            raise
        return _complain(f"the Python package {exc.name} is needed for this and not installed; pip install {exc.name}")
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _complain(error: Exception | str) -> int:
    text = " ".join(str(error).split())
    print(f"seg_perception: {text}", file=sys.stderr)
    return 1
