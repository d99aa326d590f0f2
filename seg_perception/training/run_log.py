"""What is known of a training run: lines on standard output, `history.jsonl`, `curve.png`, `val.png`, TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg_perception.datasets import Dataset
from seg_perception.images import DecodedImage
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import iou_per_class, mean_iou
from seg_perception.visualise import contact_sheet, overlay

__all__ = ["RunLog", "draw_curve"]


def draw_curve(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss and validation mIoU over steps, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, loss_axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    losses = [(h["step"], h["loss"]) for h in history if "loss" in h]
    if losses:
        loss_axis.plot(*zip(*losses), color="tab:gray", label="training loss")
    loss_axis.set(xlabel="step", ylabel="training loss")
    accuracy = [(h["step"], h["val_miou"]) for h in history if "val_miou" in h]
    if accuracy:
        right = loss_axis.twinx()
        right.plot(*zip(*accuracy), color="tab:blue", marker=".", label="validation mIoU")
        right.set(ylabel="validation mIoU", ylim=(0, 1))
        right.grid(alpha=0.3)
    figure.legend(loc="upper left", bbox_to_anchor=(0.1, 0.95))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


class _Board:
    """TensorBoard's events, where the package is installed."""

    def __init__(self, folder: Path, first_step: int, say: Callable[[str], None]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            say("TensorBoard's events are not written: pip install tensorboard")
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, rgb: np.ndarray) -> None:
        if self._writer is not None:
            self._writer.add_image(name, rgb, step, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class RunLog:
    """The log of one run's folder; goes on with what is there up to `first_step`. A context manager."""

    def __init__(
        self, out: Path, first_step: int, steps: int, steps_per_epoch: float, say: Callable[[str], None]
    ) -> None:
        self._out, self._steps, self._steps_per_epoch, self._say = out, steps, steps_per_epoch, say
        self._path = out / "history.jsonl"
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        self._history = [entry for entry in map(json.loads, lines) if entry["step"] <= first_step]
        self._started, self._first_step = time.monotonic(), first_step
        self._board = _Board(out / "tensorboard", first_step, say)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self._board.close()

    def losses(self, step: int, losses: Sequence[float], learning_rate: float) -> None:
        """Note the steps since the last call."""
        seconds = (time.monotonic() - self._started) / (step - self._first_step)
        loss = float(np.mean(losses))
        self._say(
            f"step {step}/{self._steps}  epoch {step / self._steps_per_epoch:.1f}  loss {loss:.3f}  "
            f"{seconds:.2f} s/step  {seconds * (self._steps - step) / 60:.0f} min left"
        )
        self._board.scalars(step, {"loss": loss, "learning_rate": learning_rate})
        self._add({"step": step, "loss": round(loss, 4)})

    def judged(
        self, step: int, dataset: Dataset, confusion: np.ndarray, shown: Sequence[tuple[str, np.ndarray, np.ndarray]]
    ) -> None:
        """Note how accurate the averaged network is now.

        Args:
            confusion: over the data set's classes, `metrics.confusion_matrix`.
            shown: (name, RGB image, class ids of the network) of some frames.
        """
        ious = {name: round(float(iou), 3) for name, iou in zip(dataset.classes, iou_per_class(confusion))}
        miou = mean_iou(confusion)
        self._say(f"  validation mIoU {miou:.4f}: " + ", ".join(f"{name} {iou:.2f}" for name, iou in ious.items()))
        self._add({"step": step, "val_miou": round(miou, 4), "val_iou": ious})
        self._board.scalars(step, {"validation/mIoU": miou, **{f"validation/{n}": v for n, v in ious.items()}})
        palette = CITYSCAPES.palette
        rows = [(image, overlay(DecodedImage(image, "rgb"), ids, palette, 0.6), name) for name, image, ids in shown]
        if rows:
            sheet = contact_sheet(rows)
            cv2.imwrite(str(self._out / "val.png"), sheet[..., ::-1])
            self._board.picture(step, "validation", sheet)
        draw_curve(self._history, self._out / "curve.png")

    def measured(self, step: int, figures: dict[str, float]) -> None:
        """Note figures on the validation data, whatever they are."""
        self._say("  validation " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        self._add({"step": step, **{name: round(value, 4) for name, value in figures.items()}})
        self._board.scalars(step, {f"validation/{name}": value for name, value in figures.items()})
        draw_curve(self._history, self._out / "curve.png")

    def _add(self, entry: dict[str, Any]) -> None:
        self._history.append(entry)
        self._path.write_text("".join(json.dumps(line) + "\n" for line in self._history))
