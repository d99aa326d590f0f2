"""A trained network to a model file.

The graph takes camera bytes and answers class ids and confidence: normalisation, the change of layout and
argmax are inside. uint8 is cast to float before any transpose, and argmax reaches uint8 through float,
because TensorRT converts uint8 to and from float only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg_perception.errors import ConfigError
from seg_perception.files import write_whole
from seg_perception.model.bundle import THING_HEADS, ModelBundle, load_bundle, read_bundle
from seg_perception.training.checkpoint import backbone_of_run, network_of_run
from seg_perception.training.config import TrainConfig
from seg_perception.training.instances.branch import InstanceNetwork
from seg_perception.training.model_file import LOGITS_STRIDE, metadata_of, with_metadata
from seg_perception.training.quantization import channels_last_head
from seg_perception.training.sources import first_dataset
from seg_perception.training.temperature import insert_inverse_temperature, with_temperature
from seg_perception.training.tracing import traced
from seg_perception.training.usual_classes import name_usual_classes

__all__ = ["ClassIds", "export_graph", "export_run", "read_about", "traced_graph"]


class ClassIds(nn.Module):
    """uint8 `[N, H, W, 3]` RGB to class ids uint8 `[N, H/stride, W/stride]` and confidence uint8 `[N, h, w]`.

    An `InstanceNetwork` answers centres float32 `[N, h, w]`, 0 to 1, and offsets float32 `[N, 2, h, w]` as well.

    Confidence stays at the logits' own stride: scaled up it costs as much again as argmax and says no more.

    Args:
        network: float `[N, 3, H, W]` to logits, in eval mode; its attribute `stride` says at which, 4 without one.
        stride: of the class ids: the logits' own, or a finer one with them scaled up (bilinear) before argmax.
    """

    def __init__(self, network: nn.Module, stride: int = 4) -> None:
        super().__init__()
        self.network, self.scale = network, int(getattr(network, "stride", LOGITS_STRIDE)) // stride
        self._has_things = isinstance(network, InstanceNetwork)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = image.float().permute(0, 3, 1, 2)
        logits, *things = self.network.heads(x) if self._has_things else (self.network(x),)
        # Softmax of the winner alone: 1 / sum exp(l - max), without dividing every class.
        best = logits.amax(1, keepdim=True)
        confidence = torch.reciprocal(torch.exp(logits - best).sum(1))
        if self.scale > 1:
            size = [int(n) * self.scale for n in logits.shape[-2:]]
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        answers = logits.argmax(1).float().to(torch.uint8), (confidence * 255 + 0.5).to(torch.uint8)
        return (*answers, things[0].clamp(0, 1), things[1]) if things else answers


def export_graph(network: nn.Module, size_hw: tuple[int, int], stride: int = 4) -> onnx.ModelProto:
    """The ONNX graph of a trained network with a temperature of 1, checked by ONNX's own checker.

    What ends in class ids and confidence is laid out channels last, in which ONNX Runtime takes a tenth less time
    for the whole network and gives the same answers.
    """
    model = channels_last_head(traced_graph(network, size_hw, stride))
    onnx.checker.check_model(model, full_check=True)
    return model


def traced_graph(network: nn.Module, size_hw: tuple[int, int], stride: int = 4) -> onnx.ModelProto:
    """The graph as torch's exporter gives it, channels first throughout, with a temperature of 1."""
    network = network.for_export() if hasattr(network, "for_export") else network
    example = torch.zeros((1, *size_hw, 3), dtype=torch.uint8)
    outputs = ("class_ids", "confidence", *(THING_HEADS if isinstance(network, InstanceNetwork) else ()))
    graph = traced(ClassIds(network, stride).eval(), example, "image", outputs)
    model = onnx.load_model_from_string(graph)
    insert_inverse_temperature(model)
    return model


def read_about(path: Path | None) -> dict[str, Any]:
    """What a JSON file says of a model, for its metadata; ConfigError if it is no JSON object."""
    if path is None:
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from exc
    except ValueError as exc:
        raise ConfigError(f"{path}: not JSON: {exc}") from exc
    if not isinstance(about, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(about).__name__}")
    return about


def _told_by(config: TrainConfig, steps: int) -> dict[str, Any]:
    """What a run's configuration says of its network."""
    training: dict[str, Any] = _learned_from(config, steps)
    if config.distill.teachers:
        training["teachers"] = [Path(teacher.model).name for teacher in config.distill.teachers]
    return {
        "description": f"{config.network.architecture} network, width {config.network.width:g}",
        "training": training,
    }


def _learned_from(config: TrainConfig, steps: int) -> dict[str, Any]:
    data = [
        f"{Path(entry.dataset).name} {'+'.join(entry.splits)}"
        if not entry.frames
        else f"{entry.frames} simulated frames"
        for entry in config.data
    ]
    started = {"started_from": Path(config.start_from).name} if config.start_from else {}
    return {"data": data, "steps": steps, "batch": config.schedule.batch, **started}


def _with_temperature_of(data: bytes, model: str) -> bytes:
    fitted = load_bundle(model).metadata.get("confidence")
    if not isinstance(fitted, dict) or not {"temperature", "fitted_on"} <= set(fitted):
        raise ConfigError(f"temperature_of: {model} has no fitted temperature; expected one that `evaluate` fitted")
    fitted_on = f"{fitted['fitted_on']}, with another network of this recipe"
    return with_temperature(data, fitted["temperature"], fitted_on, fitted.get("ece_before"), fitted.get("ece_after"))


def export_run(
    run: Path,
    out: Path,
    name: str,
    version: str,
    stride: int,
    about: Mapping[str, Any] = MappingProxyType({}),
    temperature_of: str | None = None,
) -> ModelBundle:
    """Write a training run's averaged network as a model file, and read it back.

    Args:
        stride: of the class ids, in input pixels.
        about: goes into the metadata, over what the run's configuration says.
        temperature_of: name or path of a model whose fitted temperature the confidence gets: one of the same recipe
            that has not seen the frames it was fitted on.

    Raises:
        ConfigError: that model has no fitted temperature, or the network has no such stride.
        TrainingError: the folder holds no sound run.
    """
    network, config, steps = network_of_run(run)
    things_stride = None
    told, classes, learned = _told_by(config, steps), network, config
    if isinstance(network, InstanceNetwork):
        learned, learned_steps = backbone_of_run(run)
        told, classes, things_stride = _told_by(learned, learned_steps), network.backbone, network.heads_stride
        told["training"]["instances"] = _learned_from(config, steps)
    if not learned.distill.teachers and hasattr(classes, "classify"):
        for used, usual in name_usual_classes(classes, first_dataset(learned), learned.network.size_hw).items():
            print(f"what the network called {used} goes by {usual}")
    logits_stride = int(getattr(network, "stride", LOGITS_STRIDE))
    if stride > logits_stride:
        raise ConfigError(f"stride: the network answers at {logits_stride}; expected that or less, got {stride}")
    graph = export_graph(network, config.network.size_hw, stride)
    about = {**told, **about}
    metadata = metadata_of(name, version, config.network.size_hw, stride, logits_stride, things_stride, **about)
    data = with_metadata(graph, metadata)
    write_whole(out, data if temperature_of is None else _with_temperature_of(data, temperature_of))
    return read_bundle(out)
