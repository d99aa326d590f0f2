"""ROS parameters from `PipelineConfig`: declared, read, and guarded while the node runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from seg_perception.config import ROS_PARAMETERS, PipelineConfig
from seg_perception.errors import ConfigError, SegPerceptionError
from seg_perception.parameters import ParameterSpec

__all__ = ["declare", "guard", "unknown_overrides"]


def declare(node: Node) -> PipelineConfig:
    """Declare every parameter there is and read the configuration that results.

    The cameras' names come first: each has parameters of its own.

    Raises:
        ConfigError: a value given at start cannot be used.
        BackendNotBuiltError: the backend's name is reserved.
    """
    specs = {spec.name: spec for spec in PipelineConfig.parameters()}
    names = _declare_one(node, specs["cameras"])
    values: dict[str, Any] = {"cameras": names}
    for spec in PipelineConfig.parameters(names):
        if spec.name != "cameras":
            values[spec.name] = _declare_one(node, spec)
    return PipelineConfig.from_parameters(values)


def _declare_one(node: Node, spec: ParameterSpec) -> Any:
    default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
    try:
        value = node.declare_parameter(spec.name, default, ParameterDescriptor(dynamic_typing=True)).value
    except (ParameterException, TypeError, ValueError) as exc:
        raise ConfigError(f"{spec.name}: {exc}") from exc
    # The limits come afterwards, so that what is wrong at start is told in the same words as elsewhere.
    checked = spec.check(value)
    node.set_descriptor(spec.name, _descriptor(spec))
    return checked


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=spec.description,
        additional_constraints=f"one of {', '.join(spec.choices)}" if spec.choices else "",
        read_only=spec.read_only,
        # rclpy would refuse `deadline_ms: 100`, an integer for a double; PipelineConfig judges the types.
        dynamic_typing=True,
    )
    if spec.minimum is not None and spec.maximum is not None:
        if type(spec.default) is int:
            descriptor.integer_range = [IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum), step=0)]
        elif type(spec.default) is float:
            low, high = float(spec.minimum), float(spec.maximum)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return descriptor


def guard(node: Node, current: Callable[[], PipelineConfig], apply: Callable[[PipelineConfig], None]) -> None:
    """From now on refuse, with the reason, what makes no valid configuration; hand on what does.

    Args:
        current: the configuration in use.
        apply: called with the new one, from the executor's thread.
    """

    def on_set(parameters: Sequence[Parameter]) -> SetParametersResult:
        known = {spec.name for spec in PipelineConfig.parameters(current().cameras)}
        changes = {p.name: p.value for p in parameters if p.name in known}
        if not changes:
            return SetParametersResult(successful=True)
        try:
            apply(current().with_parameters(changes))
        except SegPerceptionError as exc:
            node.get_logger().warning(f"parameter refused: {exc}")
            return SetParametersResult(successful=False, reason=str(exc))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)


def unknown_overrides(node: Node) -> list[str]:
    """Parameters that were given at start and that nobody declared: misspelt, most likely."""
    # rclpy has no public way to ask; without the attribute there is no warning, and nothing else is lost.
    given = getattr(node, "_parameter_overrides", {})
    return sorted(name for name in given if not node.has_parameter(name) and not name.startswith(ROS_PARAMETERS))
