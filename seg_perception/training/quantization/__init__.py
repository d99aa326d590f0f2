"""int8 editions of model files. Needs `onnx`, not torch."""

from __future__ import annotations

from seg_perception.training.quantization.channels_last import channels_last_head
from seg_perception.training.quantization.config import TARGETS, QuantizeConfig
from seg_perception.training.quantization.edition import Edition, quantize, why_not
from seg_perception.training.quantization.ranges import METHODS
from seg_perception.training.quantization.report import QuantizationReport

__all__ = [
    "METHODS",
    "TARGETS",
    "Edition",
    "QuantizationReport",
    "QuantizeConfig",
    "channels_last_head",
    "quantize",
    "why_not",
]
