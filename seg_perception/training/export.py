"""A trained network to a model file:
`python -m seg_perception.training.export --run RUN --data CAMVID --out street_pyramid.onnx --name street_pyramid`.

The graph takes camera bytes and answers class ids and confidence: normalisation, the change of layout and
argmax are inside. uint8 is cast to float before any transpose, and argmax reaches uint8 through float,
because TensorRT converts uint8 to and from float only.
"""

from __future__ import annotations

import argparse
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg_perception.datasets import CAMVID_CLASSES, CAMVID_OF_CITYSCAPES, CamVidItem, camvid_items
from seg_perception.fit import Fit
from seg_perception.images import DecodedImage
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import iou_per_class, mean_iou
from seg_perception.model.bundle import METADATA_KEY, SCHEMA_VERSION, read_bundle, seal
from seg_perception.training.evaluate import camvid_confusion, predictor
from seg_perception.training.models import build
from seg_perception.training.train import TrainConfig, load_checkpoint

__all__ = [
    "LOGITS_STRIDE",
    "OPSET",
    "USUAL_CLASSES",
    "ClassIds",
    "export_graph",
    "main",
    "metadata_of",
    "name_usual_classes",
    "network_of_run",
    "onnx_predictor",
    "with_metadata",
]

OPSET = 17
LOGITS_STRIDE = 4
"""Of every architecture in this package."""


class ClassIds(nn.Module):
    """uint8 `[N, H, W, 3]` RGB to class ids uint8 `[N, H/stride, W/stride]` and confidence uint8 `[N, H/4, W/4]`.

    Confidence stays at the logits' own stride: scaled up it costs as much again as argmax and says no more.

    Args:
        network: float `[N, 3, H, W]` to logits at stride 4, in eval mode.
        stride: of the class ids: 4, or 2 or 1 with the logits scaled up (bilinear) before argmax.
    """

    def __init__(self, network: nn.Module, stride: int = 4) -> None:
        super().__init__()
        self.network, self.scale = network, LOGITS_STRIDE // stride

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(image.float().permute(0, 3, 1, 2))
        # Softmax of the winner alone: 1 / sum exp(l - max), without dividing every class.
        best = logits.amax(1, keepdim=True)
        confidence = torch.reciprocal(torch.exp(logits - best).sum(1))
        if self.scale > 1:
            size = [int(n) * self.scale for n in logits.shape[-2:]]
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        class_ids = logits.argmax(1).float().to(torch.uint8)
        return class_ids, (confidence * 255 + 0.5).to(torch.uint8)


USUAL_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "fence",
    "pole",
    "traffic sign",
    "vegetation",
    "sky",
    "person",
    "rider",
    "car",
)
"""Under which of its classes each CamVid label is best known. A cyclist is a human first: rider."""


@torch.no_grad()
def name_usual_classes(network: nn.Module, items: Sequence[CamVidItem], size_hw: tuple[int, int]) -> dict[str, str]:
    """Exchange classifier rows so that what the network says for a label goes by the label's usual class.

    A label supervises the sum of its classes, and the loss is the same when two of them change places: which
    one the network came to use is chance. The row that is used most on `items` becomes the usual class's.

    Returns:
        the names that changed places, used to usual.
    """
    predict, used = predictor(network), np.zeros(len(CITYSCAPES), np.int64)
    for item in items:
        fit = Fit(item.read_image().shape[:2], size_hw, "stretch", 0.5, size_hw)
        tensor = fit.to_model(DecodedImage(item.read_image(), "rgb"))
        assert tensor is not None
        used += np.bincount(predict(tensor).ravel(), minlength=len(CITYSCAPES))[: len(CITYSCAPES)]
    swapped = {}
    for name in USUAL_CLASSES:
        usual = CITYSCAPES.id_of(name)
        members = np.nonzero(CAMVID_OF_CITYSCAPES == CAMVID_OF_CITYSCAPES[usual])[0].tolist()
        most = max(members, key=lambda c: int(used[c]))
        if used[most] > used[usual]:
            for tensor in (network.classify.weight, network.classify.bias):
                tensor[[usual, most]] = tensor[[most, usual]]
            swapped[CITYSCAPES.labels[most].name] = name
    return swapped


def export_graph(network: nn.Module, size_hw: tuple[int, int], stride: int = 4) -> onnx.ModelProto:
    """The ONNX graph of a trained network, checked by ONNX's own checker."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated, and the one that folds cleanly
        torch.onnx.export(
            ClassIds(network, stride).eval(),
            (torch.zeros((1, *size_hw, 3), dtype=torch.uint8),),
            buffer,
            input_names=["image"],
            output_names=["class_ids", "confidence"],
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    onnx.checker.check_model(model, full_check=True)
    return model


def with_metadata(model: onnx.ModelProto, metadata: dict[str, Any]) -> bytes:
    """The sealed model file of a graph and its metadata."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata, sort_keys=True)
    model.producer_name, model.doc_string = "seg_perception", ""
    return seal(model.SerializeToString())


def metadata_of(name: str, version: str, size_hw: tuple[int, int], stride: int, **about: Any) -> dict[str, Any]:
    """Metadata of a Cityscapes model, schema 1; `about` is free: description, training, accuracy ..."""
    return {
        "schema": SCHEMA_VERSION,
        "name": name,
        "version": version,
        "license": "Apache-2.0",
        "labels": CITYSCAPES.to_json(),
        "input": {"height_px": size_hw[0], "width_px": size_hw[1], "channels": "RGB"},
        "heads": {
            "class_ids": {"stride": stride, "resize": "nearest"},
            "confidence": {"stride": LOGITS_STRIDE, "resize": "nearest"},
        },
        **about,
    }


def network_of_run(run: Path) -> tuple[nn.Module, TrainConfig, int]:
    """The averaged network of a training run in eval mode, its configuration, and its steps so far."""
    state = load_checkpoint(run / "last.pt")
    config = TrainConfig(**state["config"])
    network = build(config.architecture, len(CITYSCAPES), config.width)
    network.load_state_dict(state["averaged"])
    return network.eval(), config, state["step"]


def onnx_predictor(data: bytes) -> Any:
    """`evaluate.Predictor` of a model file, straight on ONNX Runtime."""
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])

    def predict(image: np.ndarray) -> np.ndarray:
        ids: np.ndarray = session.run(["class_ids"], {"image": image[None]})[0][0]
        return ids

    return predict


def main(argv: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--data", type=Path, required=True, help="CamVid, to measure what is written into the file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--stride", type=int, choices=(1, 2, 4), default=2, help="of the class ids, in input pixels")
    args = parser.parse_args(argv)

    network, config, steps = network_of_run(args.run)
    swapped = name_usual_classes(network, camvid_items(args.data, "train")[::4], config.size_hw)
    for used, usual in swapped.items():
        print(f"what the network called {used} goes by {usual}")
    graph = export_graph(network, config.size_hw, args.stride)
    confusion = camvid_confusion(
        onnx_predictor(graph.SerializeToString()), camvid_items(args.data, "val"), config.size_hw
    )
    per_class = {name: round(float(iou), 4) for name, iou in zip(CAMVID_CLASSES, iou_per_class(confusion))}
    metadata = metadata_of(
        args.name,
        args.version,
        config.size_hw,
        args.stride,
        description=f"{config.architecture} network, base width {config.width}",
        training={"data": "CamVid train, 367 frames, 11 classes", "steps": steps, "batch": config.batch},
        accuracy={"camvid_val_miou": round(mean_iou(confusion), 4), "camvid_val_iou": per_class},
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(with_metadata(graph, metadata))
    bundle = read_bundle(args.out)
    print(f"{args.out}: {len(bundle.data) / 1e6:.2f} MB, CamVid val mIoU {mean_iou(confusion):.4f}")
    print(f"sha256 {bundle.sha256}  (a shipped model's belongs into seg_perception/model/zoo.py)")


if __name__ == "__main__":
    main()
