"""Cityscapes as it is unpacked: `leftImg8bit/<split>/<city>/` and `gtFine/<split>/<city>/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_perception.datasets.base import Dataset, DatasetItem
from seg_perception.datasets.pictures import map_values, read_label_values, value_table
from seg_perception.errors import DatasetError
from seg_perception.labels import CITYSCAPES, VOID_ID

__all__ = ["CITYSCAPES_TRAIN_ID", "CityscapesItem", "cityscapes_dataset", "cityscapes_splits"]

_IMAGES, _LABELS = "leftImg8bit", "gtFine"
_LABEL_ID_COUNT = 34

CITYSCAPES_TRAIN_ID = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9,
    23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
"""Train id by label id, as `labels.py` of the published scripts has them; every other label id is void."""

_OF_LABEL_ID = value_table(
    {**{i: CITYSCAPES_TRAIN_ID.get(i, VOID_ID) for i in range(_LABEL_ID_COUNT)}, VOID_ID: VOID_ID}
)
_OF_TRAIN_ID = value_table({**{label.id: label.id for label in CITYSCAPES}, VOID_ID: VOID_ID})


@dataclass(frozen=True)
class CityscapesItem(DatasetItem):
    """One finely labelled frame; its name is city, sequence and frame number, `ulm_000012_000019`."""

    @property
    def name(self) -> str:
        return self.image_path.stem[: -len(f"_{_IMAGES}")]

    def read_labels(self) -> np.ndarray:
        """uint8 `[1024, 2048]`: train ids 0 to 18, void 255, from label ids or train ids, as the file's name says."""
        table = _OF_TRAIN_ID if self.label_path.stem.endswith("_labelTrainIds") else _OF_LABEL_ID
        return map_values(self.label_path, read_label_values(self.label_path), table)


def cityscapes_splits(root: Path) -> list[str]:
    """Names of the splits whose images and labels are both there."""
    images, labels = root / _IMAGES, root / _LABELS
    return sorted(p.name for p in images.iterdir() if p.is_dir() and (labels / p.name).is_dir())


def cityscapes_dataset(root: Path, split: str) -> Dataset:
    """One split of Cityscapes, its 19 classes.

    Args:
        root: folder that holds `leftImg8bit` and `gtFine`.
        split: `train` or `val`; the published labels of `test` are void.

    Raises:
        DatasetError: the split is missing or empty, or an image has no labels.
    """
    images = sorted((root / _IMAGES / split).glob(f"*/*_{_IMAGES}.png"))
    if not images:
        raise DatasetError(f"no images in {root / _IMAGES / split}; expected <city>/*_{_IMAGES}.png there")
    items = tuple(CityscapesItem(path, _labels_of(root, split, path)) for path in images)
    missing = [item for item in items if not item.label_path.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(items)} images of {root / _IMAGES / split} have no labels, first "
            f"{missing[0].name}: expected {missing[0].label_path} or *_labelTrainIds.png beside it; "
            "unpack gtFine_trainvaltest.zip there"
        )
    classes = tuple(label.name for label in CITYSCAPES)
    return Dataset("Cityscapes", split, classes, tuple((name,) for name in classes), items)


def _labels_of(root: Path, split: str, image: Path) -> Path:
    stem = image.stem[: -len(_IMAGES)]
    folder = root / _LABELS / split / image.parent.name
    label_ids, train_ids = folder / f"{stem}{_LABELS}_labelIds.png", folder / f"{stem}{_LABELS}_labelTrainIds.png"
    return train_ids if train_ids.is_file() and not label_ids.is_file() else label_ids
