"""Transforms against rotation matrices made from axis and angle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from plain_transforms import NO_TURN, T0_NS, pose, refusal, some, turn

from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, Transform, rotation_of_rpy, transform_of_matrix


def test_its_matrix_is_that_of_axis_and_angle() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        placed = some(rng, "a", "b", most=math.pi)
        np.testing.assert_allclose(placed.transform.matrix, placed.matrix, atol=1e-12)
        assert placed.transform.matrix.dtype == np.float64


def test_a_quaternion_that_is_slightly_off_is_normalised() -> None:
    for length in (0.996, 1.0, 1.004):
        q = tuple(length * np.array([0.5, -0.5, 0.5, 0.5]))
        got = Transform("/odom", "/base", T0_NS, (1, 2, 3), q)  # type: ignore[arg-type]
        assert (got.parent, got.child, got.stamp_ns, got.translation) == ("odom", "base", T0_NS, (1.0, 2.0, 3.0))
        np.testing.assert_allclose(got.rotation, (0.5, -0.5, 0.5, 0.5), atol=1e-15)


@pytest.mark.parametrize(
    "fields",
    [
        {"rotation": (0.0, 0.0, 0.0, 0.0)},
        {"rotation": (0.0, 0.0, 0.0, 1.01)},
        {"rotation": (0.0, 0.0, 0.0, 0.99)},
        {"rotation": (0.0, math.nan, 0.0, 1.0)},
        {"rotation": (0.0, math.inf, 0.0, 1.0)},
        {"translation": (math.nan, 0.0, 0.0)},
        {"translation": (0.0, -math.inf, 0.0)},
        {"translation": (0.0, 0.0, 1e300)},
        {"parent": ""},
        {"child": "/"},
        {"child": "odom"},
        {"child": "/odom"},
        {"child": "x" * 10_000},
    ],
    ids=str,
)
def test_what_is_no_transform_is_refused(fields: dict[str, Any]) -> None:
    sound = {"parent": "odom", "child": "base", "stamp_ns": 0, "translation": (0.0, 0.0, 0.0), "rotation": NO_TURN}
    Transform(**sound)  # type: ignore[arg-type]
    error = refusal(lambda: Transform(**{**sound, **fields}))
    assert error.reason == "bad_transform" and len(str(error)) < 1000


def test_roll_pitch_yaw_turn_about_fixed_axes() -> None:
    rng = np.random.default_rng(2)
    for roll, pitch, yaw in rng.uniform(-4, 4, (50, 3)):
        truth = turn((0, 0, 1), yaw) @ turn((0, 1, 0), pitch) @ turn((1, 0, 0), roll)
        np.testing.assert_allclose(rotation_of_rpy(roll, pitch, yaw), truth, atol=1e-12)
    forward = np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(rotation_of_rpy(0, math.pi / 2, 0) @ forward, (0, 0, -1), atol=1e-15)  # looks down
    np.testing.assert_allclose(rotation_of_rpy(0, 0, math.pi / 2) @ forward, (0, 1, 0), atol=1e-15)  # looks left


def test_optical_axes() -> None:
    """Forward is the depth, left is against the columns, up against the rows."""
    np.testing.assert_array_equal(OPTICAL_FROM_BODY @ np.eye(3), np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]))
    assert not OPTICAL_FROM_BODY.flags.writeable
    # the rotation that URDFs write for it
    np.testing.assert_allclose(rotation_of_rpy(-math.pi / 2, 0, -math.pi / 2), OPTICAL_FROM_BODY.T, atol=1e-15)


def test_from_a_matrix_and_back() -> None:
    rng = np.random.default_rng(3)
    half_turns = [pose(turn(axis, math.pi), (1, 2, 3)) for axis in (*np.eye(3), (1, 1, 0), (1, 2, 3), (-3, 0, 1))]
    for matrix in [some(rng, "a", "b", most=math.pi).matrix for _ in range(100)] + half_turns:
        got = transform_of_matrix("a", "b", 5, matrix)
        assert (got.parent, got.child, got.stamp_ns) == ("a", "b", 5)
        np.testing.assert_allclose(got.matrix, matrix, atol=1e-9)


@pytest.mark.parametrize(
    "matrix",
    [np.diag([1.0, 1.0, -1.0, 1.0]), 2 * np.eye(4), np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.tri(4)],
    ids=["mirror", "scale", "zero", "shape", "nan", "sheared"],
)
def test_a_matrix_that_is_no_motion_is_refused(matrix: np.ndarray) -> None:
    assert refusal(lambda: transform_of_matrix("a", "b", 0, matrix)).reason == "bad_transform"
