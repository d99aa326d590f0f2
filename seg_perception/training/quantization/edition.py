"""The int8 edition of a model file: calibrated, its sensitive layers left in float, measured beside the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort

from seg_perception.backends.onnx_runtime import open_session, usable_cores
from seg_perception.datasets import Dataset, DatasetItem
from seg_perception.errors import ConfigError, DatasetError, ModelContractError
from seg_perception.evaluation.accuracy import Predict, confusion_of, predictor_of
from seg_perception.metrics import iou_per_class, mean_iou
from seg_perception.model.bundle import ModelBundle
from seg_perception.training.model_file import with_metadata
from seg_perception.training.quantization.config import QuantizeConfig
from seg_perception.training.quantization.convert import layers_of, quantized, watched_tensors
from seg_perception.training.quantization.measure import alternating_ms, pictures_of
from seg_perception.training.quantization.prepare import prepared
from seg_perception.training.quantization.ranges import find_ranges, passes
from seg_perception.training.quantization.report import Frames, QuantizationReport, iou_by_class
from seg_perception.training.quantization.sensitivity import Choice, LayerError, Step, choose_float_layers, layer_errors

__all__ = ["Edition", "quantize", "why_not"]

_PROBE_IMAGES = 8
_STEP_ROUNDS = 12

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, how much there is."""


@dataclass(frozen=True)
class Edition:
    """A sealed model file and what was measured of it."""

    data: bytes
    report: QuantizationReport


def quantize(
    bundle: ModelBundle,
    calibration: Dataset,
    evaluation: Dataset,
    config: QuantizeConfig,
    progress: Progress = lambda label, done, total: None,
) -> Edition:
    """Make and measure the int8 edition of a model. What it costs is in the report: see `why_not`.

    Args:
        bundle: a float model file.
        calibration: frames to find ranges and sensitive layers on.
        evaluation: other frames, to measure both editions on.

    Raises:
        ConfigError: frames would be calibrated on and judged on at once.
        ModelContractError: the graph cannot be quantised.
        DatasetError: a frame cannot be read, or nothing is labelled.
    """
    work = _Work(bundle, calibration, evaluation, config, progress)
    errors = work.layer_errors()
    choice = choose_float_layers(errors, work.try_out, config.target_points, config.slowest_ratio)
    return work.finish(errors, choice)


def why_not(report: QuantizationReport, max_loss_points: float) -> str | None:
    """A reason to refuse an edition, or None."""
    if not report.loss_points <= max_loss_points:
        return (
            f"the int8 edition of {report.model} loses {report.loss_points:.2f} points of mIoU on {report.evaluation}: "
            f"{report.fp32_miou:.4f} to {report.int8_miou:.4f}, more than {max_loss_points:g}; another --method, more "
            "--images or a lower --target-points may help, --force writes it all the same"
        )
    if report.target == "x86" and report.time_ratio >= 1:
        return (
            f"the int8 edition of {report.model} is no faster here: {report.time_ratio:.2f} times the float network's "
            "time; a CPU with VNNI is what it is for, --force writes it all the same"
        )
    return None


def choose_frames(
    calibration: Dataset, evaluation: Dataset, config: QuantizeConfig
) -> tuple[list[DatasetItem], list[DatasetItem]]:
    """Frames to calibrate on, and others for the sweep: the same ones where there are too few.

    Raises:
        ConfigError: the two data sets share frames.
    """
    shared = {item.image_path.resolve() for item in calibration.items} & {
        item.image_path.resolve() for item in evaluation.items
    }
    if shared:
        raise ConfigError(
            f"{len(shared)} frames of {calibration.name} {calibration.split} would be calibrated on and judged on; "
            "choose another --split, or another data set with --evaluate"
        )
    order = np.random.default_rng(config.seed).permutation(len(calibration.items))
    items = [calibration.items[i] for i in order]
    rest = items[config.images :][: config.sweep_images]
    enough = len(rest) >= min(config.sweep_images, len(items) // 2)
    return items[: config.images], rest if enough else items[: config.sweep_images]


class _Work:
    """One run: the graphs, the frames and what has been found so far."""

    def __init__(
        self, bundle: ModelBundle, calibration: Dataset, evaluation: Dataset, config: QuantizeConfig, progress: Progress
    ) -> None:
        self.bundle, self.calibration, self.evaluation = bundle, calibration, evaluation
        self.config, self.progress = config, progress
        self.items, self.sweep_items = choose_frames(calibration, evaluation, config)
        try:
            model = onnx.load_model_from_string(bundle.data)
            self.graph = prepared(model, config.target)
            self.unpacked = prepared(model, config.target, pack=False)
        except ModelContractError as exc:
            raise ModelContractError(f"{bundle.path}: {exc}") from exc
        self.layers = layers_of(self.graph)
        self.images = pictures_of(self.items, bundle.input_hw)
        tick = self._counter("calibrating", passes(config.method) * len(self.images))
        watched = dict.fromkeys((*watched_tensors(self.layers, self.graph), *self._watched_unpacked()))
        inner = [name for name in watched if self.graph.producer(name) is not None]
        self.ranges = find_ranges(self.graph, inner, self.images, config.method, tick)
        self._float_miou: float | None = None

    def _watched_unpacked(self) -> list[str]:
        return watched_tensors(layers_of(self.unpacked), self.unpacked)

    def _counter(self, label: str, total: int) -> Callable[[], None]:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            self.progress(label, done, total)

        return tick

    def layer_errors(self) -> list[LayerError]:
        """Each layer alone in int8."""
        tick = self._counter("layers alone in int8", sum(not layer.follows for layer in self.layers))
        images = self.images[:_PROBE_IMAGES]
        return layer_errors(self.graph, self.layers, self.ranges, self.config.scheme, images, self.config.threads, tick)

    def build(self, float_layers: Sequence[str]) -> onnx.ModelProto:
        """The int8 graph with these layers in float."""
        graph = self.graph
        stem = next((layer for layer in self.layers if layer.op == "Conv"), None)
        if stem is not None and stem.name in float_layers:
            graph = self.unpacked
        layers = layers_of(graph)
        return quantized(graph, layers, self.ranges, self.config.scheme, frozenset(float_layers))[0].to_model()

    def try_out(self, float_layers: tuple[str, ...]) -> Step:
        """Loss on the sweep's frames, and time."""
        data = self.build(float_layers).SerializeToString()
        if self._float_miou is None:
            self._float_miou = self._sweep_miou(self.bundle.data, "float network")
        loss = 100 * (self._float_miou - self._sweep_miou(data, f"int8 but for {len(float_layers)} layers"))
        times = alternating_ms({"fp32": self.bundle.data, "int8": data}, self.images, _STEP_ROUNDS, self.config.threads)
        return Step(float_layers, loss, float(np.median(times["int8"] / times["fp32"])))

    def _sweep_miou(self, data: bytes, label: str) -> float:
        tick = self._counter(label, len(self.sweep_items))
        predict = predictor_of(open_session(data, self.config.threads), tick)
        return mean_iou(self._confusion(predict, self.calibration, self.sweep_items))

    def _confusion(self, predict: Predict, dataset: Dataset, items: Sequence[DatasetItem]) -> np.ndarray:
        confusion = confusion_of(predict, dataset, self.bundle.labels, self.bundle.input_hw, items)
        if not confusion.any():
            raise DatasetError(f"{dataset.name} {dataset.split}: not one labelled pixel in {len(items)} frames")
        return confusion

    def finish(self, errors: list[LayerError], choice: Choice) -> Edition:
        """Measure the chosen edition on the evaluation's frames, and seal it."""
        model = self.build(choice.float_layers)
        onnx.checker.check_model(model, full_check=True)
        editions = {"fp32": self.bundle.data, "int8": model.SerializeToString()}
        confusions = {
            name: self._confusion(
                predictor_of(
                    open_session(data, self.config.threads),
                    self._counter(f"judging {name}", len(self.evaluation.items)),
                ),
                self.evaluation,
                self.evaluation.items,
            )
            for name, data in editions.items()
        }
        report = self._report(editions, confusions, errors, choice)
        metadata = {**self.bundle.metadata, "name": f"{self.bundle.name}_int8", "quantization": report.metadata()}
        if self.bundle.metadata.get("description"):
            metadata["description"] = f"{self.bundle.metadata['description']}, int8"
        key = f"{report.evaluation.dataset}_{report.evaluation.split}".lower().replace(" ", "_")
        metadata["accuracy"] = {f"{key}_miou": round(report.int8_miou, 4), f"{key}_iou": dict(report.int8_iou)}
        if self.bundle.metadata.get("accuracy"):
            metadata["accuracy"]["of_the_float_model"] = self.bundle.metadata["accuracy"]
        return Edition(with_metadata(model, metadata), report)

    def _report(
        self, editions: dict[str, bytes], confusions: dict[str, np.ndarray], errors: list[LayerError], choice: Choice
    ) -> QuantizationReport:
        config, classes = self.config, self.evaluation.classes
        tick = self._counter("timing", config.rounds)
        times = alternating_ms(editions, self.images, config.rounds, config.threads, tick)
        return QuantizationReport(
            model=self.bundle.name,
            fp32_sha256=self.bundle.sha256,
            target=config.target,
            method=config.method,
            weight_bits=config.scheme.weight_bits,
            calibration=Frames(self.calibration.name, self.calibration.split, len(self.items)),
            sweep=Frames(self.calibration.name, self.calibration.split, len(self.sweep_items)),
            evaluation=Frames(self.evaluation.name, self.evaluation.split, len(self.evaluation.items)),
            fp32_iou=iou_by_class(classes, iou_per_class(confusions["fp32"])),
            int8_iou=iou_by_class(classes, iou_per_class(confusions["int8"])),
            fp32_miou=mean_iou(confusions["fp32"]),
            int8_miou=mean_iou(confusions["int8"]),
            fp32_ms=float(np.median(times["fp32"])),
            int8_ms=float(np.median(times["int8"])),
            time_ratio=float(np.median(times["int8"] / times["fp32"])),
            threads=config.threads or usable_cores(),
            fp32_bytes=len(editions["fp32"]),
            int8_bytes=len(editions["int8"]),
            float_layers=choice.float_layers,
            layers=tuple(errors),
            steps=choice.steps,
            onnxruntime=ort.__version__,
        )
