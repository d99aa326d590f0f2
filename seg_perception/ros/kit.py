"""rclpy's message classes behind the `MessageKit` protocol."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import MemberDescriptorType
from typing import Any, TypeAlias

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.messages.kit import columns_of_length
from seg_perception.types import ImageData

__all__ = ["RclpyKit", "message_class"]


@cache
def message_class(type_name: str) -> Any:
    """The class of a type such as `sensor_msgs/msg/Image`.

    Raises:
        ConfigError: its package is not installed.
    """
    package, kind, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.{kind}"), name)
    except (ImportError, AttributeError) as exc:
        debian = f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
        raise ConfigError(
            f"{type_name}: the message package {package} cannot be imported ({exc}); install it (apt install {debian}) "
            "or source the workspace that has it"
        ) from exc


_Filler: TypeAlias = Callable[[Iterable[tuple[Any, ...]]], list[Any]]

_FILLER = """
def fill(rows):
    messages = []
    for {values}, in rows:
        message = new(kind)
{assignments}
        messages.append(message)
    return messages
"""


@cache
def _filler(type_name: str, names: tuple[str, ...]) -> _Filler | None:
    """What makes a message of each row of values of these fields, past its constructor and its checks.

    rosidl_generator_py keeps a field `x` in the slot `_x` from Humble to Rolling; the C code that publishes reads it
    through the property `x`, which returns the slot. As `dataclasses` does with constructors, the assignments are
    written out: in a loop over names they take three times as long.

    Returns:
        None where the class is not so made, or has other fields than these.
    """
    kind = message_class(type_name)
    fields = [f"_{name}" for name in names]
    slots = {slot: kind.__dict__.get(slot) for slot in getattr(kind, "__slots__", ())}
    if not all(isinstance(slot, MemberDescriptorType) for slot in slots.values()):
        return None
    if set(names) != set(kind.get_fields_and_field_types()) or not set(fields) <= set(slots):
        return None
    example = kind()
    others = {slot: getattr(example, slot) for slot in slots if slot not in fields}  # _check_fields, since Jazzy
    assignments = "\n".join(f"        message.{slot} = {slot}" for slot in slots)
    names_there: dict[str, Any] = {"kind": kind, "new": kind.__new__, **others}
    exec(_FILLER.format(values=", ".join(fields), assignments=assignments), names_there)
    filler: _Filler = names_there["fill"]
    return filler


class RclpyKit:
    """Makes messages that rclpy publishes."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message with these fields, set one by one: the constructor would copy a `uint8[]` again."""
        message = message_class(type_name)()
        for name, value in fields.items():
            if isinstance(value, memoryview):
                # A new message's array is empty and its own. Assigning one instead costs, with some distributions,
                # a copy element by element (1.3 ms for 640x480x3), with others a check of every element.
                getattr(message, name).frombytes(value.cast("B"))
            else:
                setattr(message, name, value)
        return message

    def make_many(self, type_name: str, count: int, /, **columns: Iterable[Any]) -> list[Any]:
        """As messages.MessageKit says; a constructor with all its defaults would take longer than the rest."""
        values = columns_of_length(type_name, count, columns)
        rows, fill = zip(*values.values()), _filler(type_name, tuple(columns))
        if fill is not None:
            return fill(rows)
        return [self.make(type_name, **dict(zip(values, row))) for row in rows]

    def byte_sequence(self, data: ImageData) -> memoryview:
        """What `make` copies into a `uint8[]` field at once."""
        return memoryview(data)  # type: ignore[arg-type]  # an ndarray has a buffer, whatever its stubs say

    def int8_sequence(self, values: np.ndarray) -> memoryview:
        """As `byte_sequence`."""
        return memoryview(values)  # type: ignore[arg-type]

    def float32_sequence(self, values: np.ndarray) -> memoryview:
        """As `byte_sequence`."""
        return memoryview(values)  # type: ignore[arg-type]

    def float_sequence(self, values: Sequence[float]) -> list[float]:
        """rclpy takes a list for fixed arrays and sequences alike, on every distribution."""
        return [float(value) for value in values]
