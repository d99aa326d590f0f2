"""Label sets: what a class id means, how it is drawn, and what a planner may do with it.

Cityscapes train ids (https://www.cityscapes-dataset.com, `labels.py` of its published scripts) are
the ontology of this package. A model file carries its own label set, so that nothing downstream has
to guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seg_perception.errors import LabelError

__all__ = ["CITYSCAPES", "ROLES", "VOID_ID", "Label", "LabelSet"]

VOID_ID = 255
"""Class id of a pixel without a label, in every mask this package publishes."""

ROLES = ("drivable", "caution", "obstacle", "ignored")
"""What a class means to a planner: drive on it, only in need, never, or it says nothing (sky)."""


@dataclass(frozen=True)
class Label:
    """One class.

    Attributes:
        id: value in a mask, 0 to 254.
        name: lower case, as in the Cityscapes scripts.
        color: (red, green, blue), 0 to 255 each.
        is_thing: countable objects (car, person) rather than stuff (road, sky).
        role: one of `ROLES`.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    is_thing: bool
    role: str

    def __post_init__(self) -> None:
        if not (isinstance(self.id, int) and 0 <= self.id < VOID_ID):
            raise LabelError(f"label {self.name!r}: id {self.id!r} must be an integer from 0 to {VOID_ID - 1}")
        if not (isinstance(self.name, str) and self.name):
            raise LabelError(f"label {self.id}: the name must be a non-empty string, got {self.name!r}")
        color_ok = len(self.color) == 3 and all(isinstance(c, int) and 0 <= c <= 255 for c in self.color)
        if not color_ok:
            raise LabelError(f"label {self.name!r}: color {self.color!r} must be three integers from 0 to 255")
        if self.role not in ROLES:
            raise LabelError(f"label {self.name!r}: role {self.role!r} must be one of {', '.join(ROLES)}")


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of labels with dense ids 0 … n − 1."""

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        ids = [label.id for label in self.labels]
        if not ids or ids != list(range(len(ids))):
            raise LabelError(f"label set {self.name!r}: ids must be 0 to n-1 in order, got {ids}")
        names = [label.name for label in self.labels]
        if len(set(names)) != len(names):
            raise LabelError(f"label set {self.name!r}: every name must be different, got {names}")

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def id_of(self, name: str) -> int:
        """Class id of a name; LabelError lists the names there are."""
        for label in self.labels:
            if label.name == name:
                return label.id
        raise LabelError(f"label set {self.name!r} has no {name!r}; it has {', '.join(one.name for one in self)}")

    @cached_property
    def palette(self) -> np.ndarray:
        """uint8 `[256, 3]`, RGB colour by class id; ids outside the set, void included, are black."""
        table = np.zeros((256, 3), np.uint8)
        for label in self.labels:
            table[label.id] = label.color
        table.setflags(write=False)
        return table

    def to_json(self) -> dict[str, Any]:
        """The form that `from_json` reads, made of plain lists, strings and numbers."""
        return {
            "name": self.name,
            "labels": [
                {"id": one.id, "name": one.name, "color": list(one.color), "is_thing": one.is_thing, "role": one.role}
                for one in self.labels
            ],
        }

    @classmethod
    def from_json(cls, data: Any) -> LabelSet:
        """Build from what `to_json` wrote; LabelError says which entry is wrong."""
        try:
            labels = tuple(
                Label(entry["id"], entry["name"], tuple(entry["color"]), bool(entry["is_thing"]), entry["role"])
                for entry in data["labels"]
            )
            return cls(str(data["name"]), labels)
        except (KeyError, TypeError) as exc:
            raise LabelError(
                "a label set needs a name and labels, each with id, name, color, is_thing and role: "
                f"{type(exc).__name__} {exc}"
            ) from exc


def _cityscapes() -> LabelSet:
    rows = (
        ("road", (128, 64, 128), False, "drivable"),
        ("sidewalk", (244, 35, 232), False, "caution"),
        ("building", (70, 70, 70), False, "obstacle"),
        ("wall", (102, 102, 156), False, "obstacle"),
        ("fence", (190, 153, 153), False, "obstacle"),
        ("pole", (153, 153, 153), False, "obstacle"),
        ("traffic light", (250, 170, 30), False, "obstacle"),
        ("traffic sign", (220, 220, 0), False, "obstacle"),
        ("vegetation", (107, 142, 35), False, "obstacle"),
        ("terrain", (152, 251, 152), False, "caution"),
        ("sky", (70, 130, 180), False, "ignored"),
        ("person", (220, 20, 60), True, "obstacle"),
        ("rider", (255, 0, 0), True, "obstacle"),
        ("car", (0, 0, 142), True, "obstacle"),
        ("truck", (0, 0, 70), True, "obstacle"),
        ("bus", (0, 60, 100), True, "obstacle"),
        ("train", (0, 80, 100), True, "obstacle"),
        ("motorcycle", (0, 0, 230), True, "obstacle"),
        ("bicycle", (119, 11, 32), True, "obstacle"),
    )
    labels = tuple(Label(i, name, color, thing, role) for i, (name, color, thing, role) in enumerate(rows))
    return LabelSet("cityscapes", labels)


CITYSCAPES = _cityscapes()
"""The 19 Cityscapes train ids with the colours of the published scripts."""
