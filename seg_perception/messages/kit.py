"""What every message is built with, whoever's classes it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.types import ImageData

__all__ = [
    "DIAGNOSTIC_ARRAY",
    "LABEL_INFO",
    "MessageKit",
    "columns_of_length",
    "diagnostics_message",
    "header",
    "label_info_message",
    "stamp_ns_of",
]

LABEL_INFO = "vision_msgs/msg/LabelInfo"
DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"


class MessageKit(Protocol):
    """Makes messages of one world's classes."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message of a type such as `sensor_msgs/msg/Image`, every field given."""

    def make_many(self, type_name: str, count: int, /, **columns: Iterable[Any]) -> list[Any]:
        """Messages of one type, every field given as a column: its value in the first message, the second ...

        For the parts of messages that have a row for each of many things: far faster than as many calls of `make`.

        Args:
            columns: of each the first `count` are taken, exactly of the field's type: Python's float, int, bool or str
                (`ndarray.tolist()` gives them), float64 arrays, messages. What is the same in all messages is
                `itertools.repeat(value)`; messages may share parts, nobody changes one that is built.

        Raises:
            ValueError: a column is too short.
        """

    def byte_sequence(self, data: ImageData) -> Any:
        """What a `uint8[]` field takes without an element-by-element check."""

    def float_sequence(self, values: Sequence[float]) -> Any:
        """What a `float64[]` field takes."""

    def int8_sequence(self, values: np.ndarray) -> Any:
        """What an `int8[]` field takes without an element-by-element check; int8 `[n]`."""

    def float32_sequence(self, values: np.ndarray) -> Any:
        """What a `float32[]` field takes without an element-by-element check; float32 `[n]`."""


def columns_of_length(type_name: str, count: int, columns: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    """The first `count` values of every column that `MessageKit.make_many` was given.

    Raises:
        ValueError: a column is too short.
    """
    values = {}
    for name, column in columns.items():
        taken = column if isinstance(column, list) and len(column) == count else list(islice(column, count))
        if len(taken) != count:
            raise ValueError(f"{type_name}: {name} has {len(taken)} values; expected {count}, one for each message")
        values[name] = taken
    return values


def stamp_ns_of(message: Any) -> int:
    """The header's stamp in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def header(kit: MessageKit, stamp_ns: int, frame_id: str) -> Any:
    """std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = kit.make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return kit.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def label_info_message(kit: MessageKit, stamp_ns: int, frame_id: str, labels: LabelSet) -> Any:
    """vision_msgs/LabelInfo: the name of every class id."""
    classes = [kit.make("vision_msgs/msg/VisionClass", class_id=label.id, class_name=label.name) for label in labels]
    return kit.make(LABEL_INFO, header=header(kit, stamp_ns, frame_id), class_map=classes, threshold=0.0)


def diagnostics_message(
    kit: MessageKit, stamp_ns: int, statuses: Sequence[tuple[int, str, str, str, Mapping[str, str]]]
) -> Any:
    """diagnostic_msgs/DiagnosticArray of (level, name, message, hardware_id, values) rows; level 0 to 3."""
    rows = [
        kit.make(
            "diagnostic_msgs/msg/DiagnosticStatus",
            level=bytes([level]),
            name=name,
            message=message,
            hardware_id=hardware_id,
            values=[kit.make("diagnostic_msgs/msg/KeyValue", key=k, value=v) for k, v in values.items()],
        )
        for level, name, message, hardware_id, values in statuses
    ]
    return kit.make(DIAGNOSTIC_ARRAY, header=header(kit, stamp_ns, ""), status=rows)
