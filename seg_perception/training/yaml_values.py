"""YAML files to dataclasses: files that extend others, environment variables, every key and type checked."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg_perception.errors import ConfigError

__all__ = ["built", "expanded", "read_yaml"]

_EXTENDS_AT_MOST = 8


def read_yaml(path: Path, depth: int = 0) -> dict[str, Any]:
    """The file's values over those of the file that its key `extends` names, beside it."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror}); expected a training configuration") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not YAML: {exc}") from exc
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: expected a mapping with keys such as data and schedule, got {type(values).__name__}"
        )
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str) or depth > _EXTENDS_AT_MOST:
        raise ConfigError(f"{path}: extends: expected one file that does not extend this one, got {base!r}")
    return _over(read_yaml(path.parent / base, depth + 1), values)


def _over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in values.items():
        below = base.get(key)
        merged[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def expanded(value: Any, where: str) -> Any:
    """`value` with environment variables in place of their names."""
    if isinstance(value, dict):
        return {key: expanded(entry, f"{where}.{key}".lstrip(".")) for key, entry in value.items()}
    if isinstance(value, list):
        return [expanded(entry, where) for entry in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    filled = os.path.expandvars(value)
    if "$" in filled:
        raise ConfigError(f"{where}: {value!r}: no such environment variable; set it, or write the path")
    return filled


def built(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`: a dataclass, a tuple of something, or a plain value; ConfigError names what is wrong."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where or 'configuration'}: expected keys and values, got {value!r}")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(map(str, value)) - set(hints))
        if unknown:
            raise ConfigError(
                f"{where or 'configuration'}: no key {unknown[0]!r}; there are {', '.join(sorted(hints))}"
            )
        prefix = f"{where}." if where else ""
        return kind(**{key: built(hints[key], entry, prefix + key) for key, entry in value.items()})  # type: ignore[operator]
    if typing.get_origin(kind) is tuple:
        return _build_tuple(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def _build_tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    members = typing.get_args(kind)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    if members[-1] is Ellipsis:
        return tuple(built(members[0], entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if len(value) != len(members):
        raise ConfigError(f"{where}: expected {len(members)} numbers, got {value!r}")
    return tuple(built(member, entry, f"{where}[{i}]") for i, (member, entry) in enumerate(zip(members, value)))
