"""A graph and what is known of it, sealed into one model file. Needs `onnx`, not torch."""

from __future__ import annotations

import json
from typing import Any

import onnx

from seg_perception.labels import CITYSCAPES
from seg_perception.model.bundle import METADATA_KEY, PANOPTIC_DIVISOR, SCHEMA_VERSION, seal

__all__ = ["LOGITS_STRIDE", "OPSET", "metadata_of", "with_metadata"]

OPSET = 17
LOGITS_STRIDE = 4
"""Of a network that does not say otherwise by an attribute `stride`."""


def with_metadata(model: onnx.ModelProto, metadata: dict[str, Any]) -> bytes:
    """The sealed model file of a graph and its metadata."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata, sort_keys=True)
    model.producer_name, model.doc_string = "seg_perception", ""
    return seal(model.SerializeToString())


def metadata_of(
    name: str,
    version: str,
    size_hw: tuple[int, int],
    stride: int,
    logits_stride: int = LOGITS_STRIDE,
    things_stride: int | None = None,
    **about: Any,
) -> dict[str, Any]:
    """Metadata of a Cityscapes model, schema 1.

    Args:
        stride: of the class ids, in input pixels.
        logits_stride: of the confidence.
        things_stride: of centres and offsets; None if the model has none.
        about: free: description, training, accuracy ...
    """
    strides = {"class_ids": stride, "confidence": logits_stride}
    if things_stride is not None:
        strides.update(centers=things_stride, offsets=things_stride)
    return {
        "schema": SCHEMA_VERSION,
        "name": name,
        "version": version,
        "license": "Apache-2.0",
        "labels": CITYSCAPES.to_json(),
        "input": {"height_px": size_hw[0], "width_px": size_hw[1], "channels": "RGB"},
        "panoptic_divisor": PANOPTIC_DIVISOR,
        "heads": {head: {"stride": value, "resize": "nearest"} for head, value in strides.items()},
        **about,
    }
