"""Labelled image folders, for training and for measuring. NumPy, OpenCV and PyYAML only."""

from __future__ import annotations

from pathlib import Path

from seg_perception.datasets.base import Dataset, DatasetItem, read_pair
from seg_perception.datasets.camvid import (
    CAMVID_CLASSES,
    CAMVID_OF_CITYSCAPES,
    CamVidItem,
    camvid_dataset,
    camvid_items,
    camvid_of_items,
    camvid_splits,
)
from seg_perception.datasets.cityscapes import cityscapes_dataset, cityscapes_splits
from seg_perception.errors import DatasetError

__all__ = [
    "CAMVID_CLASSES",
    "CAMVID_OF_CITYSCAPES",
    "DEFAULT_SPLIT",
    "CamVidItem",
    "Dataset",
    "DatasetItem",
    "camvid_items",
    "camvid_of_items",
    "open_dataset",
    "read_pair",
]

DEFAULT_SPLIT = "val"


def open_dataset(path: str | Path, split: str | None = None) -> Dataset:
    """Whatever labelled data set this folder is; docs/models.md has the layouts.

    Args:
        path: Cityscapes (`leftImg8bit`, `gtFine`), CamVid (`<split>`, `<split>annot`), or a folder of `images` and
            `labels` with a label map, `labels.yaml`.
        split: None is `val`, and everything where there are no splits.

    Raises:
        DatasetError: it is none of them, has no such split, or is incomplete.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; expected Cityscapes, CamVid, or images with labels.yaml")
    if (root / "labels.yaml").is_file():
        from seg_perception.datasets.folder import folder_dataset  # PyYAML is slow to import

        return folder_dataset(root, split)
    chosen = DEFAULT_SPLIT if split is None else split
    if (root / "leftImg8bit").is_dir():
        _check_split(root, chosen, cityscapes_splits(root))
        return cityscapes_dataset(root, chosen)
    splits = camvid_splits(root)
    if splits:
        _check_split(root, chosen, splits)
        return camvid_dataset(root, chosen)
    raise DatasetError(
        f"{root}: not a data set that is known; expected leftImg8bit and gtFine (Cityscapes), val and valannot "
        "(CamVid), or images, labels and a label map labels.yaml"
    )


def _check_split(root: Path, split: str, there: list[str]) -> None:
    if split not in there:
        raise DatasetError(f"{root}: no split {split!r} with images and labels; there are {', '.join(there) or 'none'}")
