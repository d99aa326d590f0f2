"""What a parameter is: its name, its default, its limits, and how a value is judged by them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from seg_perception.errors import ConfigError

__all__ = ["ParameterSpec", "numbers_by_class", "param", "specs_of"]


@dataclass(frozen=True)
class ParameterSpec:
    """What a user may know about one parameter.

    Attributes:
        name: as in a parameter file, `camera.fit`.
        default: its type is the parameter's: bool, int, float, str, or a list of int, float or str.
        description: one sentence.
        minimum, maximum: inclusive bounds of a number, or of each number of a list; None = none.
        choices: the strings that are allowed; empty = any.
        read_only: fixed once the node has started.
    """

    name: str
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False

    def check(self, value: Any) -> Any:
        """The value in its proper type; ConfigError says expected, actual and repair."""
        if isinstance(self.default, (list, tuple)):
            return self._check_list(value)
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"{self.name}: expected {kind.__name__}, got {type(value).__name__} {value!r}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_range(value)
        if self.choices and value not in self.choices:
            raise ConfigError(f"{self.name}: expected one of {', '.join(self.choices)}, got {value!r}")
        return value

    def _check_range(self, value: float) -> None:
        low, high = self.minimum, self.maximum
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            raise ConfigError(f"{self.name}: expected {low} to {high}, got {value}")

    def _check_list(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise ConfigError(f"{self.name}: expected a list, got {type(value).__name__} {value!r}")
        items = tuple(value)
        kind = type(self.default[0])
        if kind is float:
            items = tuple(float(item) if type(item) is int else item for item in items)
        if any(isinstance(item, bool) or not isinstance(item, kind) for item in items):
            raise ConfigError(f"{self.name}: expected a list of {kind.__name__}, got {list(items)!r}")
        if kind in (int, float):
            for item in items:
                self._check_range(item)
        return items


def param(default: Any, description: str, **limits: Any) -> Any:
    """A dataclass's field that is a parameter; `limits` are further attributes of its `ParameterSpec`."""
    return field(default=default, metadata={"description": description, **limits})


def specs_of(cls: type, prefix: str = "") -> Iterator[ParameterSpec]:
    """What there is to know about a dataclass's parameters, `prefix` in front of their names."""
    for f in dataclasses.fields(cls):
        if "description" in f.metadata:
            yield ParameterSpec(prefix + f.name, f.default, **f.metadata)


def numbers_by_class(parameter: str, entries: Sequence[str], maximum: float) -> dict[str, float]:
    """What a list such as `["person:25", "bus:200"]` says; empty entries say nothing.

    Args:
        parameter: its name, for people.
        maximum: of the numbers, which begin at 0.

    Raises:
        ConfigError: an entry is no `class:number`, the number is out of range, or a class comes twice.
    """
    numbers: dict[str, float] = {}
    for entry in filter(None, entries):
        name, _, text = entry.rpartition(":")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not name or not 0 <= number <= maximum or math.isinf(number):
            limit = f" to {maximum:g}" if math.isfinite(maximum) else ""
            raise ConfigError(f"{parameter}: expected class:number, the number from 0{limit}, got {entry!r}")
        if name in numbers:
            raise ConfigError(f"{parameter}: {name!r} is in it twice; name it once")
        numbers[name] = number
    return numbers
