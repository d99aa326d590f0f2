"""CamVid with the 11 classes of the segmentation papers: `<split>/*.png` and `<split>annot/*.png`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_perception.datasets.base import Dataset, DatasetItem
from seg_perception.datasets.pictures import map_values, read_label_values, value_table
from seg_perception.errors import DatasetError
from seg_perception.labels import CITYSCAPES, VOID_ID

__all__ = [
    "CAMVID_CLASSES",
    "CAMVID_OF_CITYSCAPES",
    "CamVidItem",
    "camvid_dataset",
    "camvid_items",
    "camvid_of_items",
    "camvid_splits",
]

_COVERS = {
    "sky": ("sky",),
    "building": ("building", "wall"),
    "pole": ("pole",),
    "road": ("road",),
    "pavement": ("sidewalk",),
    "tree": ("vegetation", "terrain"),
    "sign": ("traffic sign", "traffic light"),
    "fence": ("fence",),
    "car": ("car", "truck", "bus", "train"),
    "pedestrian": ("person",),
    "cyclist": ("rider", "motorcycle", "bicycle"),
}

CAMVID_CLASSES = tuple(_COVERS)
"""The 11 classes of CamVid as the segmentation papers use it; label value 11 is void."""

_VALUES = value_table({**{i: i for i in range(len(_COVERS))}, len(_COVERS): VOID_ID, 255: VOID_ID})


@dataclass(frozen=True)
class CamVidItem(DatasetItem):
    """One labelled CamVid frame; its name is sequence and frame number, `0016E5_07959`."""

    def read_labels(self) -> np.ndarray:
        """uint8 `[360, 480]`: CamVid class ids 0 to 10; void (11 or 255) becomes 255."""
        return map_values(self.label_path, read_label_values(self.label_path), _VALUES)


def camvid_splits(root: Path) -> list[str]:
    """Names of the splits whose images and labels are both there."""
    return sorted(p.name for p in root.iterdir() if p.is_dir() and (root / f"{p.name}annot").is_dir())


def camvid_items(root: Path, split: str) -> list[CamVidItem]:
    """The frames of one split, in order of their names.

    Args:
        root: folder that holds `<split>/*.png` and `<split>annot/*.png`.
        split: `train` or `val`.

    Raises:
        DatasetError: the folder is missing or empty, or an image has no labels.
    """
    images = sorted((root / split).glob("*.png"))
    if not images:
        raise DatasetError(
            f"no PNG images in {root / split}; expected CamVid as <root>/{split} and <root>/{split}annot"
        )
    items = [CamVidItem(path, root / f"{split}annot" / path.name) for path in images]
    missing = [item.name for item in items if not item.label_path.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(items)} images of {root / split} have no labels in {root / split}annot, "
            f"first {missing[0]}"
        )
    return items


def camvid_of_items(items: list[CamVidItem] | tuple[CamVidItem, ...], split: str = "") -> Dataset:
    """CamVid of these frames."""
    return Dataset("CamVid", split, CAMVID_CLASSES, tuple(_COVERS.values()), tuple(items))


def camvid_dataset(root: Path, split: str) -> Dataset:
    """One split of CamVid; errors as `camvid_items`."""
    return camvid_of_items(camvid_items(root, split), split)


CAMVID_OF_CITYSCAPES = camvid_of_items(()).class_of(CITYSCAPES)
"""uint8 `[256]`: the CamVid class that covers a Cityscapes train id; 255 where there is none."""
