"""`labels.yaml`: what the pixels of a folder's label pictures mean.

::

    name: yard                      # optional
    classes:
      - name: path
        value: 1                    # of the label PNGs, 0 to 65535; several as [1, 4]
        covers: [road, sidewalk]    # classes of the model that count as it; its own name where left out
      - name: person
        value: 2
        covers: [person, rider]
    void: [0, 255]                  # values without a label; any other value is an error

Coloured label PNGs have `color: [red, green, blue]` (several as a list of such) in place of `value`, and a list of
colours as `void`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seg_perception.datasets.pictures import (
    map_colors,
    map_values,
    pack_color,
    read_label_colors,
    read_label_values,
    value_table,
)
from seg_perception.errors import DatasetError
from seg_perception.labels import VOID_ID

__all__ = ["LabelMap", "read_label_map"]

_MAX_CLASSES = 250
_MAX_BYTES = 1 << 20
_MAX_VALUE = 65535
_EXPLAINED = "see docs/models.md for the format"


@dataclass(frozen=True)
class LabelMap:
    """What a label picture's values or colours mean.

    Attributes:
        name: of the data set; empty if the file has none.
        classes, covers: as in `Dataset`.
        coloured: keys are packed colours (`pack_color`), not values.
        class_of_key: class id, or 255 for void, by value or packed colour.
    """

    name: str
    classes: tuple[str, ...]
    covers: tuple[tuple[str, ...], ...]
    coloured: bool
    class_of_key: dict[int, int] = field(repr=False)

    def read(self, path: Path) -> np.ndarray:
        """Class ids uint8 `[H, W]` of a label PNG, 255 where void; DatasetError says what is wrong with it."""
        if not self.coloured:
            return map_values(path, read_label_values(path), self._values)
        known = sorted(self.class_of_key)
        ids = np.array([self.class_of_key[color] for color in known], np.uint8)
        return map_colors(path, read_label_colors(path), np.array(known, np.uint32), ids)

    @cached_property
    def _values(self) -> np.ndarray:
        return value_table(self.class_of_key)


def read_label_map(path: Path) -> LabelMap:
    """Read and check a label map.

    Raises:
        DatasetError: names the entry that is wrong, and what was expected.
    """
    content = _load(path)
    _check_keys(path, "the file", content, {"name", "classes", "void"})
    entries, title = content.get("classes"), content.get("name", "")
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_CLASSES:
        raise DatasetError(f"{path}: expected 'classes' as a list of 1 to {_MAX_CLASSES} entries; {_EXPLAINED}")
    if not isinstance(title, str):
        raise DatasetError(f"{path}: name: expected text, got {_short(title)}")
    coloured = isinstance(entries[0], dict) and "color" in entries[0]
    parsed = [_entry(path, f"classes[{i}]", entry, coloured) for i, entry in enumerate(entries)]
    names = [name for name, _, _ in parsed]
    class_of_key: dict[int, int] = {}
    for class_id, (name, _, keys) in enumerate(parsed):
        if name in names[:class_id]:
            raise DatasetError(f"{path}: classes[{class_id}]: a second class of the name {name!r}")
        _add(path, class_of_key, keys, class_id, names, coloured)
    _add(path, class_of_key, _keys(path, "void", content.get("void", []), coloured), VOID_ID, names, coloured)
    return LabelMap(title, tuple(names), tuple(covered for _, covered, _ in parsed), coloured, class_of_key)


def _entry(path: Path, where: str, entry: Any, coloured: bool) -> tuple[str, tuple[str, ...], list[int]]:
    """Name, covered names and keys of one class."""
    key = "color" if coloured else "value"
    if not isinstance(entry, dict):
        raise DatasetError(f"{path}: {where}: expected name, {key} and covers, got {_short(entry)}")
    _check_keys(path, where, entry, {"name", key, "covers"})
    name = _name(path, where, entry.get("name"))
    where = f"{where} ({name})"
    keys = _keys(path, f"{where}, {key}", entry.get(key), coloured)
    if not keys:
        raise DatasetError(f"{path}: {where}: no {key}; {_EXPLAINED}")
    return name, _covered(path, where, entry.get("covers", [name])), keys


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        if len(text) > _MAX_BYTES:
            raise DatasetError(f"{path}: {len(text)} bytes; a label map has at most {_MAX_BYTES}")
        content = yaml.safe_load(text)
    except OSError as exc:
        raise DatasetError(f"{path}: cannot be read ({exc.strerror})") from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise DatasetError(f"{path}: not YAML: {exc}; {_EXPLAINED}") from exc
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected 'classes' and 'void', got {_short(content)}; {_EXPLAINED}")
    return content


def _check_keys(path: Path, where: str, entry: dict[Any, Any], known: set[str]) -> None:
    unknown = [key for key in entry if key not in known]
    if unknown:
        raise DatasetError(f"{path}: {where}: {_short(unknown[0])} is not known; known are {', '.join(sorted(known))}")


def _name(path: Path, where: str, name: Any) -> str:
    if not (isinstance(name, str) and name.strip()):
        raise DatasetError(f"{path}: {where}: the name must be a non-empty text, got {_short(name)}")
    return name.strip()


def _covered(path: Path, where: str, value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed:
        raise DatasetError(f"{path}: {where}: covers must list names of the model's classes, got {_short(value)}")
    return tuple(_name(path, f"{where}, covers", name) for name in listed)


def _keys(path: Path, where: str, value: Any, coloured: bool) -> list[int]:
    if not coloured:
        listed = value if isinstance(value, list) else [value]
        for one in listed:
            if type(one) is not int or not 0 <= one <= _MAX_VALUE:
                raise DatasetError(f"{path}: {where}: expected integers from 0 to {_MAX_VALUE}, got {_short(one)}")
        return listed
    if not isinstance(value, list):
        raise DatasetError(f"{path}: {where}: expected [red, green, blue] or a list of such, got {_short(value)}")
    listed = [value] if value and not isinstance(value[0], list) else value
    for one in listed:
        whole = isinstance(one, list) and len(one) == 3 and all(type(c) is int and 0 <= c <= 255 for c in one)
        if not whole:
            raise DatasetError(f"{path}: {where}: expected [red, green, blue] from 0 to 255, got {_short(one)}")
    return [pack_color(*one) for one in listed]


def _add(path: Path, table: dict[int, int], keys: list[int], class_id: int, names: list[str], coloured: bool) -> None:
    for key in keys:
        if table.get(key, class_id) != class_id:
            what = f"colour ({key >> 16}, {key >> 8 & 255}, {key & 255})" if coloured else f"value {key}"
            owners = [("void" if c == VOID_ID else repr(names[c])) for c in (table[key], class_id)]
            raise DatasetError(f"{path}: {what} belongs to {owners[0]} and to {owners[1]}; it can mean one thing only")
        table[key] = class_id


def _short(value: Any) -> str:
    """As much of a value as an error needs: nested YAML aliases can be of any size."""
    if isinstance(value, (dict, list)):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    return repr(value)[:80]
