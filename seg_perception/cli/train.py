"""`seg_perception train CONFIG.yaml`: train a network; the same command goes on where it stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="what to train, on what (docs/training.md)")
    parser.add_argument("--out", help="the run's folder, over the configuration's; goes on if it holds this run")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="over the configuration's")
    parser.add_argument("--steps", type=int, help="over the configuration's: make a run shorter or longer")


def run(args: argparse.Namespace) -> int:
    """0 when the last step is done; errors are told in one line, and the folder then holds what was reached."""
    from seg_perception.training.config import read_config, with_steps

    changes: dict[str, Any] = {key: getattr(args, key) for key in ("out", "device") if getattr(args, key) is not None}
    config = read_config(args.config, **changes)
    if args.steps is not None:
        config = with_steps(config, args.steps)
    if config.instances.run:
        from seg_perception.training.instances.learn import run as train
    else:
        from seg_perception.training.train import run as train  # type: ignore[assignment]
    trainer = train(config, lambda line: print(line, flush=True))
    out = Path(config.out)
    print(f"{trainer.step} steps in {out}; make a model file of it with")
    print(f"  seg_perception export {out} --out my_model.onnx --name my_model")
    return 0
