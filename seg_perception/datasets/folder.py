"""A folder of images and label PNGs: `images/`, `labels/` (or `<split>/images`, `<split>/labels`) and `labels.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_perception.datasets.base import Dataset, DatasetItem
from seg_perception.datasets.label_map import LabelMap, read_label_map
from seg_perception.datasets.pictures import IMAGE_SUFFIXES
from seg_perception.errors import DatasetError

__all__ = ["ALL", "LABEL_MAP_FILE", "FolderItem", "folder_dataset"]

LABEL_MAP_FILE = "labels.yaml"
ALL = "all"
"""Name of the split of a folder that has none."""


@dataclass(frozen=True)
class FolderItem(DatasetItem):
    """One labelled frame; its name is the path below `images`, without the suffix."""

    title: str
    label_map: LabelMap

    @property
    def name(self) -> str:
        return self.title

    def read_labels(self) -> np.ndarray:
        """uint8 `[H, W]`: class ids in the order of the label map, void 255."""
        return self.label_map.read(self.label_path)


def folder_dataset(root: Path, split: str | None) -> Dataset:
    """A folder with a label map.

    Args:
        root: holds `labels.yaml`, and either `images` and `labels` or folders of splits with these two in each.
        split: None is `val` where there are splits, else everything.

    Raises:
        DatasetError: the label map is wrong, there is no such split, or an image has no labels.
    """
    label_map = read_label_map(root / LABEL_MAP_FILE)
    place, split_name = _place(root, split)
    paths = [p for p in (place / "images").rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."]
    if not paths:
        raise DatasetError(f"no images in {place / 'images'}; expected PNG or JPEG files ({', '.join(IMAGE_SUFFIXES)})")
    titled = sorted((p.relative_to(place / "images").with_suffix("").as_posix(), p) for p in paths)
    for (title, first), (other, second) in zip(titled, titled[1:]):
        if title == other:
            raise DatasetError(f"{first.name} and {second.name} in {first.parent} would share one label; rename one")
    labels = place / "labels"
    items = tuple(FolderItem(p, labels / p.parent.relative_to(place / "images") / f"{p.stem}.png", title, label_map)
                  for title, p in titled)  # fmt: skip
    missing = [item for item in items if not item.label_path.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(items)} images of {place / 'images'} have no labels, first {missing[0].name}: "
            f"expected {missing[0].label_path}"
        )
    return Dataset(label_map.name or root.resolve().name, split_name, label_map.classes, label_map.covers, items)


def _place(root: Path, split: str | None) -> tuple[Path, str]:
    """The folder that holds `images` and `labels`, and the split's name."""
    splits = sorted(p.name for p in root.iterdir() if (p / "images").is_dir() and (p / "labels").is_dir())
    chosen = "val" if split is None else split
    if chosen in splits:
        return root / chosen, chosen
    if (root / "images").is_dir() and split in (None, ALL):
        return root, ALL
    there = ", ".join(splits) or ("none, only images and labels" if (root / "images").is_dir() else "none")
    raise DatasetError(
        f"{root}: no split {chosen!r}; there are {there}. Expected images and labels beside {LABEL_MAP_FILE}, or "
        f"{chosen}/images and {chosen}/labels"
    )
