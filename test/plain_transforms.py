"""Transforms worked out another way: rotation matrices from axis and angle, by exponential and logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seg_perception.errors import TransformError
from seg_perception.geometry.transforms import Transform

T0_NS = 1_700_000_000_123_456_789
MS = 1_000_000
SECOND = 1_000 * MS
NO_TURN = (0.0, 0.0, 0.0, 1.0)


def cross(axis: np.ndarray) -> np.ndarray:
    x, y, z = axis
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def turn(axis: Any, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    k = cross(np.asarray(axis, float) / np.linalg.norm(axis))
    return np.asarray(np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k)


def logarithm(r: np.ndarray) -> tuple[np.ndarray, float]:
    """Axis and angle of a rotation that is neither 0 nor 180 degrees."""
    twist = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    length = np.linalg.norm(twist)
    return twist / length, math.atan2(length, np.trace(r) - 1)


def pose(rotation: np.ndarray, translation: Any) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, translation
    return out


class Placed:
    """A transform and, worked out another way, its matrix."""

    def __init__(self, parent: str, child: str, stamp_ns: int, axis: Any, angle: float, at: Any, sign: int = 1) -> None:
        unit = np.asarray(axis, float) / np.linalg.norm(axis)
        q = sign * np.array([*unit * math.sin(angle / 2), math.cos(angle / 2)])
        self.transform = Transform(parent, child, stamp_ns, tuple(at), tuple(q))  # type: ignore[arg-type]
        self.matrix = pose(turn(axis, angle), at)


def some(rng: np.random.Generator, parent: str, child: str, stamp_ns: int = T0_NS, most: float = 3.0) -> Placed:
    sign = int(rng.choice([-1, 1]))
    return Placed(parent, child, stamp_ns, rng.normal(size=3), rng.uniform(0.01, most), rng.uniform(-50, 50, 3), sign)


def interpolated(a: np.ndarray, b: np.ndarray, part: float) -> np.ndarray:
    axis, angle = logarithm(a[:3, :3].T @ b[:3, :3])
    return pose(a[:3, :3] @ turn(axis, part * angle), (1 - part) * a[:3, 3] + part * b[:3, 3])


def at(parent: str, child: str, stamp_ns: int, x: float = 0.0) -> Transform:
    return Transform(parent, child, stamp_ns, (x, 0.0, 0.0), NO_TURN)


def refusal(act: Callable[[], object]) -> TransformError:
    with pytest.raises(TransformError) as caught:
        act()
    return caught.value
