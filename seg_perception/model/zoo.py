"""The models that ship with the package, pinned by the sha256 of their files."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from seg_perception.errors import ModelNotFoundError

__all__ = ["SHIPPED", "ShippedModel", "path_of"]


@dataclass(frozen=True)
class ShippedModel:
    """A model file inside the package."""

    name: str
    file: str
    sha256: str
    summary: str


SHIPPED = MappingProxyType(
    {
        model.name: model
        for model in (
            ShippedModel(
                "street_pyramid",
                "street_pyramid.onnx",
                "d6fab539eba419eb27b8347a26560926bfe9a48b511c8a10f26cd0f7e9871966",
                "pyramid pooling, 19 Cityscapes classes, learned from CamVid's labels alone",
            ),
        )
    }
)


def path_of(model: ShippedModel) -> Path:
    """Where the installed file is; ModelNotFoundError if the installation lacks it."""
    file = resources.files("seg_perception") / "models" / model.file
    if not isinstance(file, Path) or not file.is_file():
        raise ModelNotFoundError(f"{file}: the installation lacks the model {model.name}; install seg_perception again")
    return file
