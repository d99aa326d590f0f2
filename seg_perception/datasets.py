"""Labelled image folders, for training and for measuring. NumPy and OpenCV only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seg_perception.errors import BagError
from seg_perception.labels import CITYSCAPES, VOID_ID

__all__ = ["CAMVID_CLASSES", "CAMVID_OF_CITYSCAPES", "CamVidItem", "camvid_items"]

CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "cyclist",
)
"""The 11 classes of CamVid as the segmentation papers use it; label value 11 is void."""

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


def _camvid_of_cityscapes() -> np.ndarray:
    table = np.full(256, VOID_ID, np.uint8)
    for camvid_id, name in enumerate(CAMVID_CLASSES):
        for covered in _COVERS[name]:
            table[CITYSCAPES.id_of(covered)] = camvid_id
    table.setflags(write=False)
    return table


CAMVID_OF_CITYSCAPES = _camvid_of_cityscapes()
"""uint8 `[256]`: the CamVid class that covers a Cityscapes train id; 255 where there is none."""


@dataclass(frozen=True)
class CamVidItem:
    """One labelled CamVid frame, read when asked for."""

    image_path: Path
    label_path: Path

    @property
    def name(self) -> str:
        """Sequence and frame number, `0016E5_07959`."""
        return self.image_path.stem

    def read_image(self) -> np.ndarray:
        """RGB uint8 `[360, 480, 3]`."""
        image = cv2.imread(str(self.image_path), cv2.IMREAD_COLOR)
        if image is None:
            raise BagError(f"{self.image_path}: not a readable image; fetch the data set again")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def read_labels(self) -> np.ndarray:
        """uint8 `[360, 480]`: CamVid class ids 0 to 10; void (11 and above) becomes 255."""
        labels = cv2.imread(str(self.label_path), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.ndim != 2:
            raise BagError(f"{self.label_path}: not a readable single-channel label image; fetch the data set again")
        return np.where(labels < len(CAMVID_CLASSES), labels, VOID_ID).astype(np.uint8)


def camvid_items(root: Path, split: str) -> list[CamVidItem]:
    """The frames of one split, in order of their names.

    Args:
        root: folder that holds `<split>/*.png` and `<split>annot/*.png`.
        split: `train` or `val`.

    Raises:
        BagError: the folder is missing or empty, or an image has no labels.
    """
    images = sorted((root / split).glob("*.png"))
    if not images:
        raise BagError(f"no PNG images in {root / split}; expected CamVid as <root>/{split} and <root>/{split}annot")
    items = [CamVidItem(path, root / f"{split}annot" / path.name) for path in images]
    missing = [item.name for item in items if not item.label_path.is_file()]
    if missing:
        raise BagError(f"{len(missing)} of {len(items)} images of {root / split} have no labels, first {missing[0]}")
    return items
