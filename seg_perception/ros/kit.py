"""rclpy's message classes behind the `MessageKit` protocol."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from seg_perception.errors import ConfigError
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
