"""torch's exporter, called in one way."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg_perception.training.model_file import OPSET

__all__ = ["traced"]


def traced(network: nn.Module, example: Tensor, input_name: str, output_names: Sequence[str]) -> bytes:
    """The network as a serialised ONNX graph for inputs of the example's size.

    It is the TorchScript exporter: deprecated, and the one that folds what is constant.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), buffer, input_names=[input_name], output_names=list(output_names),
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    return buffer.getvalue()
