"""What every labelled data set looks like from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_perception.datasets.pictures import read_rgb
from seg_perception.errors import DatasetError
from seg_perception.labels import VOID_ID, LabelSet

__all__ = ["Dataset", "DatasetItem", "read_pair"]


@dataclass(frozen=True)
class DatasetItem(ABC):
    """One labelled frame; its files are read when asked for."""

    image_path: Path
    label_path: Path

    @property
    def name(self) -> str:
        """What the frame is called in tables and errors."""
        return self.image_path.stem

    def read_image(self) -> np.ndarray:
        """RGB uint8 `[H, W, 3]`; DatasetError names a file that cannot be read."""
        return read_rgb(self.image_path)

    @abstractmethod
    def read_labels(self) -> np.ndarray:
        """Class ids of the data set, uint8 `[H, W]`, 255 where void.

        Raises:
            DatasetError: the file cannot be read, or holds a value that means nothing.
        """


@dataclass(frozen=True)
class Dataset:
    """One split of a labelled data set.

    Attributes:
        name: for people.
        split: `train`, `val` ..., or `all` where there are no splits.
        classes: names, by class id.
        covers: for each class, the names of the model's classes that count as it, the usual one first.
        items: the frames, in order of their names.

    Raises:
        DatasetError: two classes cover the same name, or the sizes do not fit.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    covers: tuple[tuple[str, ...], ...]
    items: tuple[DatasetItem, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.classes) < VOID_ID or len(self.covers) != len(self.classes):
            raise DatasetError(
                f"{self.name}: expected 1 to {VOID_ID - 1} classes and what each covers, "
                f"got {len(self.classes)} and {len(self.covers)}"
            )
        owner: dict[str, str] = {}
        for class_name, covered in zip(self.classes, self.covers):
            for name in covered:
                if name in owner:
                    raise DatasetError(
                        f"{self.name}: {class_name!r} and {owner[name]!r} both cover {name!r}; "
                        "a class of the model can count as one of them only"
                    )
                owner[name] = class_name

    def class_of(self, labels: LabelSet) -> np.ndarray:
        """The data set's class of each of a model's class ids, uint8 `[256]`, read-only; 255 where there is none.

        Raises:
            DatasetError: the model knows none of the classes.
        """
        table = np.full(256, VOID_ID, np.uint8)
        for class_id, covered in enumerate(self.covers):
            for label in labels:
                if label.name in covered:
                    table[label.id] = class_id
        if (table == VOID_ID).all():
            raise DatasetError(
                f"{self.name}: covers {', '.join(sorted({n for names in self.covers for n in names}))}; the label set "
                f"{labels.name!r} has none of them, it has {', '.join(label.name for label in labels)}"
            )
        table.setflags(write=False)
        return table


def read_pair(item: DatasetItem) -> tuple[np.ndarray, np.ndarray]:
    """A frame's image, RGB uint8 `[H, W, 3]`, and its labels, uint8 `[H, W]`.

    Raises:
        DatasetError: a file cannot be read, or the two differ in size.
    """
    image, labels = item.read_image(), item.read_labels()
    if image.shape[:2] != labels.shape:
        raise DatasetError(
            f"{item.name}: the image has {image.shape[1]}x{image.shape[0]} pixels, its labels "
            f"{labels.shape[1]}x{labels.shape[0]}; both must have one size, not turned by an EXIF orientation"
        )
    return image, labels
