"""Options that become a PipelineConfig, the same for every verb."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seg_perception.config import ROS_PARAMETERS, PipelineConfig
from seg_perception.errors import ConfigError

__all__ = ["add_config_arguments", "config_from", "read_parameter_file"]


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --model, --params and --param."""
    parser.add_argument("--model", metavar="NAME", help="a shipped model's name, or a model file's path")
    parser.add_argument("--params", type=Path, metavar="FILE", help="parameters, as for the node: config/node.yaml")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one parameter, over the file: --param camera.fit=crop --param camera.mask_size=[320,240]",
    )


def config_from(args: argparse.Namespace) -> PipelineConfig:
    """PipelineConfig of the options: the file first, then --model, then each --param.

    Raises:
        ConfigError: a parameter is unknown, or its value cannot be used.
    """
    values = read_parameter_file(args.params) if args.params else {}
    if args.model:
        values["model"] = args.model
    for text in args.param:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--param: expected NAME=VALUE, got {text!r}")
        values[name.strip()] = _yaml(value, f"--param {name}")
    return PipelineConfig.from_parameters(values)


def read_parameter_file(path: Path) -> dict[str, Any]:
    """Parameters by name: of a ROS file (`NODE: {ros__parameters: ...}`, of any node name) or a plain one.

    Raises:
        ConfigError: it cannot be read, or holds no parameters.
    """
    try:
        content = _yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: expected parameters, NAME: VALUE, got {type(content).__name__}")
    flat: dict[str, Any] = {}
    for section in _sections(content):
        flat.update(_flatten(section))
    return {name: value for name, value in flat.items() if not name.startswith(ROS_PARAMETERS)}


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as exc:
        raise ConfigError(f"{where}: not valid YAML: {exc}") from exc


def _sections(content: Mapping[Any, Any]) -> Iterator[Mapping[Any, Any]]:
    """The `ros__parameters` of every node, at whatever depth of namespaces; without any, the whole."""
    found = list(_ros_parameters(content))
    yield from found or [content]


def _ros_parameters(content: Mapping[Any, Any]) -> Iterator[Mapping[Any, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            if key == "ros__parameters":
                yield value
            else:
                yield from _ros_parameters(value)


def _flatten(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
