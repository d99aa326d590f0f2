"""How to quantise."""

from __future__ import annotations

from dataclasses import dataclass

from seg_perception.errors import ConfigError
from seg_perception.training.quantization.convert import Scheme
from seg_perception.training.quantization.ranges import METHODS

__all__ = ["TARGETS", "QuantizeConfig"]

TARGETS = ("x86", "tensorrt")


@dataclass(frozen=True)
class QuantizeConfig:
    """How to quantise.

    Attributes:
        target: `x86`, or `tensorrt`: activations around zero, biases in float, nothing done to a uint8 but a cast.
        method: of calibration, see `ranges.METHODS`.
        weight_bits: 7 is right on every x86 CPU, 8 on those with VNNI alone.
        images: frames to calibrate on.
        sweep_images: other frames of the same split, to choose the layers that stay in float.
        target_points: percent points of mIoU that int8 may cost there before layers are put back into float.
        slowest_ratio: from this share of the float network's time on no more layers are put back; infinite for
            TensorRT, of which a CPU's time says nothing.
        rounds: of the timing.
        threads: of a session; 0 is one for each usable core.
        seed: of the choice of frames.

    Raises:
        ConfigError: a value that cannot be used.
    """

    target: str = "x86"
    method: str = "minmax"
    weight_bits: int = 7
    images: int = 64
    sweep_images: int = 48
    target_points: float = 0.3
    slowest_ratio: float = 0.95
    rounds: int = 60
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("target", TARGETS), ("method", METHODS), ("weight_bits", (7, 8))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}: expected one of {known}, got {getattr(self, name)!r}")
        if self.target == "tensorrt":
            object.__setattr__(self, "slowest_ratio", float("inf"))
        for name in ("images", "sweep_images", "rounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 1 or more, got {getattr(self, name)}")

    @property
    def scheme(self) -> Scheme:
        return Scheme(signed=True, float_bias=True) if self.target == "tensorrt" else Scheme(False, self.weight_bits)
