"""The models that ship with the package, and those that can be fetched, pinned by the sha256 of their files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from seg_perception.errors import ModelNotFoundError

__all__ = [
    "FETCHABLE",
    "SHIPPED",
    "FetchableModel",
    "ShippedModel",
    "cache_folder",
    "fetchable",
    "path_of",
]


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
                "street_esp",
                "street_esp.onnx",
                "48187eac10535ddb9d08e010536e8210f0823b18419c2b6b750077adaaeb101f",
                "19 Cityscapes classes and things one by one; ESPNetv2's encoder from Cityscapes; the default",
            ),
            ShippedModel(
                "street_pyramid",
                "street_pyramid.onnx",
                "b3188ecf4503438ca6ed40d9079ca79652e534f34209e344e6eb0506ef8be4f8",
                "dense convolutions, taught by CamVid's labels and a Cityscapes network",
            ),
            ShippedModel(
                "street_pyramid_int8",
                "street_pyramid_int8.onnx",
                "aa78cc6eb92dd1008dd018ab7786cc88c5ff12da12c0a2d9522f29679430231a",
                "its int8 edition: about half the time on x86 with VNNI",
            ),
            ShippedModel(
                "street_pyramid_tiny",
                "street_pyramid_tiny.onnx",
                "baa1e384c719e5633ee9e4c6de9efb7c8b451610c9ce72b0cb54c62fc2cef22d",
                "two thirds of the width, half the time, less accurate",
            ),
            ShippedModel(
                "street_pyramid_tiny_int8",
                "street_pyramid_tiny_int8.onnx",
                "81f1cbcbdab1c2cf840ac9abf551d6d48e37c6f003017f6d586b0638c8015469",
                "the tiny one in int8: the quickest and smallest",
            ),
        )
    }
)


@dataclass(frozen=True)
class FetchableModel:
    """Weights that someone else published, of which `seg_perception models fetch` makes a model file.

    Attributes:
        url: of the checkpoint, at a commit that stays what it is.
        size_bytes, sha256: of the checkpoint.
        width: ESPNetv2's width multiplier.
        cityscapes_val_miou: as published, at 1024x512.
    """

    name: str
    url: str
    size_bytes: int
    sha256: str
    width: float
    cityscapes_val_miou: float

    @property
    def summary(self) -> str:
        return f"ESPNetv2 of width {self.width}, trained on Cityscapes by its authors (MIT)"

    @property
    def file(self) -> str:
        """The checkpoint's file name."""
        return self.url.rpartition("/")[2]

    @property
    def checkpoint_path(self) -> Path:
        """Where the download lies, or will."""
        return cache_folder() / "checkpoints" / self.file

    @property
    def model_path(self) -> Path:
        """Where the model file lies, or will."""
        return cache_folder() / "models" / f"{self.name}.onnx"


_EDGENETS = (
    "https://raw.githubusercontent.com/sacmehta/EdgeNets/2b232d3f7fb60658755dad1ebca0ffc895cc795e/"
    "model/segmentation/model_zoo/espnetv2"
)


def _espnetv2(width: float, size_bytes: int, sha256: str, cityscapes_val_miou: float) -> FetchableModel:
    url = f"{_EDGENETS}/espnetv2_s_{width}_city_1024x512.pth"
    return FetchableModel(f"espnetv2_cityscapes_{width}", url, size_bytes, sha256, width, cityscapes_val_miou)


FETCHABLE = MappingProxyType(
    {
        model.name: model
        for model in (
            _espnetv2(0.5, 469319, "9412a86a30f137540ef945d08da3cb7191448956c56c41a64210dab443a9f65f", 0.539),
            _espnetv2(1.0, 1107690, "0918c833fed889e32901ce739b1784fdd2b79f95a9aea199a469ca3394dd7a14", 0.601),
            _espnetv2(1.5, 2068779, "0dbbda9126583d62f73dfdc28a59a30ab4564094ee6d28428b897a4e36c466b4", 0.638),
            _espnetv2(2.0, 3376094, "a72d59699801c7ce8e8b89a53af9097eaaa60dc12180ecde86fd700ba1222fe8", 0.664),
        )
    }
)

_ALIASES = {"espnetv2_cityscapes": "espnetv2_cityscapes_2.0"}


def fetchable(name: str) -> FetchableModel | None:
    """The model that can be fetched under this name, or under this shorter one."""
    return FETCHABLE.get(_ALIASES.get(name, name))


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/seg_perception`, or `~/.cache/seg_perception`; ModelNotFoundError without either."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # the XDG specification has relative ones ignored
        return Path(base) / "seg_perception"
    try:
        return Path.home() / ".cache" / "seg_perception"
    except RuntimeError as exc:
        raise ModelNotFoundError(
            "model: fetched models lie in the user's cache, and this user has no home; set XDG_CACHE_HOME, or give "
            "the model file's path"
        ) from exc


def path_of(model: ShippedModel) -> Path:
    """Where the installed file is; ModelNotFoundError if the installation lacks it."""
    file = resources.files("seg_perception") / "models" / model.file
    if not isinstance(file, Path) or not file.is_file():
        raise ModelNotFoundError(f"{file}: the installation lacks the model {model.name}; install seg_perception again")
    return file
