"""Transforms between coordinate frames, and the arithmetic of poses.

Frames and axes are those of REP 103 and REP 105. A matrix `a_from_b` takes a point's coordinates in frame b to
those in frame a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg_perception.errors import TransformError

__all__ = ["OPTICAL_FROM_BODY", "Pose", "Transform", "rotation_of_rpy", "transform_of_matrix"]

OPTICAL_FROM_BODY = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""float64 `[3, 3]`, REP 103: body axes (x forward, y left, z up) to optical ones (x right, y down, z forward)."""
OPTICAL_FROM_BODY.setflags(write=False)

_NORM_TOLERANCE = 0.01
"""tf2's: so far may a quaternion's squared length be from 1, and a rotation matrix from orthonormal."""
_FARTHEST_M = 1e9
"""Products of larger numbers could overflow; the Earth is 6.4e6 m."""
_LONGEST_NAME = 256

Pose = tuple[float, float, float, float, float, float, float]
"""x, y, z in metres, then the unit quaternion x, y, z, w. Plain floats: NumPy's scalars are several times slower."""


@dataclass(frozen=True)
class Transform:
    """geometry_msgs/TransformStamped, checked: where the frame `child` is in the frame `parent`.

    Attributes:
        parent, child: frame ids; slashes in front, from before tf2, are removed.
        stamp_ns: when, nanoseconds; without meaning for a static one.
        translation: x, y, z, metres: the child's origin in the parent.
        rotation: quaternion x, y, z, w; normalised if its squared length is within 0.01 of 1, tf2's tolerance.

    Raises:
        TransformError: `bad_transform`.
    """

    parent: str
    child: str
    stamp_ns: int
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        parent, child = self.parent.lstrip("/"), self.child.lstrip("/")
        x, y, z = map(float, self.translation)
        qx, qy, qz, qw = map(float, self.rotation)
        norm2 = qx * qx + qy * qy + qz * qz + qw * qw
        if not (parent and child and parent != child and max(len(parent), len(child)) <= _LONGEST_NAME):
            names = f"{parent[:_LONGEST_NAME]!r} and {child[:_LONGEST_NAME]!r}"
            raise bad_transform(
                f"a transform joins two frames with names of 1 to {_LONGEST_NAME} characters, got {names}"
            )
        # In this form not-a-number fails as well.
        if not (abs(x) <= _FARTHEST_M and abs(y) <= _FARTHEST_M and abs(z) <= _FARTHEST_M):
            raise bad_transform(
                f"{child} in {parent}: translation must be numbers within 1e9 m, got {(x, y, z)}; repair its publisher"
            )
        if not abs(norm2 - 1.0) < _NORM_TOLERANCE:
            raise bad_transform(
                f"{child} in {parent}: rotation must be a unit quaternion (x, y, z, w), got {(qx, qy, qz, qw)}; "
                "repair its publisher, (0, 0, 0, 1) is no rotation"
            )
        scale = 1.0 / math.sqrt(norm2)
        set_field = object.__setattr__
        set_field(self, "parent", parent)
        set_field(self, "child", child)
        set_field(self, "stamp_ns", int(self.stamp_ns))
        set_field(self, "translation", (x, y, z))
        set_field(self, "rotation", (qx * scale, qy * scale, qz * scale, qw * scale))

    @property
    def matrix(self) -> np.ndarray:
        """float64 `[4, 4]`, parent_from_child."""
        return matrix_of((*self.translation, *self.rotation))


def transform_of_matrix(parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray) -> Transform:
    """A rigid motion `[4, 4]` as a Transform.

    Raises:
        TransformError: `bad_transform`, the matrix is no rotation and translation, or too far off to be one.
    """
    matrix = np.asarray(parent_from_child, np.float64)
    rigid = matrix.shape == (4, 4) and bool(np.isfinite(matrix).all())
    if rigid:
        rotation, last = matrix[:3, :3], matrix[3]
        off = max(np.abs(rotation @ rotation.T - np.eye(3)).max(), np.abs(last - (0.0, 0.0, 0.0, 1.0)).max())
        rigid = bool(off < _NORM_TOLERANCE and np.linalg.det(rotation) > 0.0)
    if not rigid:
        raise bad_transform(f"{child} in {parent}: expected a rotation and translation [4, 4], got {matrix.tolist()}")
    x, y, z = (float(v) for v in matrix[:3, 3])
    return Transform(parent, child, stamp_ns, (x, y, z), _quaternion(matrix[:3, :3]))


def rotation_of_rpy(roll_rad: float, pitch_rad: float, yaw_rad: float) -> np.ndarray:
    """float64 `[3, 3]`: about the fixed axes x, then y, then z (REP 103; tf2's setRPY and URDF's rpy)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll_rad, pitch_rad, yaw_rad]), np.sin([roll_rad, pitch_rad, yaw_rad])
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def bad_transform(text: str) -> TransformError:
    """The error of a transform that cannot be used."""
    return TransformError("bad_transform", text)


def product(a: Pose, b: Pose) -> Pose:
    """a after b."""
    ax, ay, az, i, j, k, w = a
    x, y, z, bi, bj, bk, bw = b
    # v' = v + w t + q × t with t = 2 q × v
    tx, ty, tz = 2.0 * (j * z - k * y), 2.0 * (k * x - i * z), 2.0 * (i * y - j * x)
    return (
        ax + x + w * tx + j * tz - k * ty,
        ay + y + w * ty + k * tx - i * tz,
        az + z + w * tz + i * ty - j * tx,
        w * bi + i * bw + j * bk - k * bj,
        w * bj + j * bw + k * bi - i * bk,
        w * bk + k * bw + i * bj - j * bi,
        w * bw - i * bi - j * bj - k * bk,
    )


def inverse(a: Pose) -> Pose:
    """The way back."""
    x, y, z, i, j, k, w = a
    return product((0.0, 0.0, 0.0, -i, -j, -k, w), (-x, -y, -z, 0.0, 0.0, 0.0, 1.0))


def between(a: Pose, b: Pose, part: float) -> Pose:
    """The pose a `part` of the way from a to b, 0 to 1; spherical interpolation after Shoemake (1985)."""
    ax, ay, az, ai, aj, ak, aw = a
    bx, by, bz, bi, bj, bk, bw = b
    rest = 1.0 - part
    dot = ai * bi + aj * bj + ak * bk + aw * bw
    sign = 1.0 if dot >= 0.0 else -1.0  # q and -q are one rotation; the nearer of them is the shorter way
    dot = abs(dot)
    u, v = rest, part * sign
    if dot < 1.0 - 1e-10:  # closer together the chord is the arc, to the last bit
        angle = math.acos(dot)
        u, v = math.sin(rest * angle), math.sin(part * angle) * sign
    i, j, k, w = u * ai + v * bi, u * aj + v * bj, u * ak + v * bk, u * aw + v * bw
    scale = 1.0 / math.sqrt(i * i + j * j + k * k + w * w)
    return (
        rest * ax + part * bx,
        rest * ay + part * by,
        rest * az + part * bz,
        i * scale,
        j * scale,
        k * scale,
        w * scale,
    )


def matrix_of(pose: Pose) -> np.ndarray:
    """float64 `[4, 4]` of a pose with a unit quaternion."""
    x, y, z, i, j, k, w = pose
    return np.array(
        (
            (1.0 - 2.0 * (j * j + k * k), 2.0 * (i * j - k * w), 2.0 * (i * k + j * w), x),
            (2.0 * (i * j + k * w), 1.0 - 2.0 * (i * i + k * k), 2.0 * (j * k - i * w), y),
            (2.0 * (i * k - j * w), 2.0 * (j * k + i * w), 1.0 - 2.0 * (i * i + j * j), z),
            (0.0, 0.0, 0.0, 1.0),
        )
    )


def _quaternion(r: np.ndarray) -> tuple[float, float, float, float]:
    """x, y, z, w of a rotation `[3, 3]`, from the largest of the four, which is well away from 0 (Shepperd 1978)."""
    trace = float(np.trace(r))
    squares = [float(r[0, 0]), float(r[1, 1]), float(r[2, 2]), trace]
    largest = squares.index(max(squares))
    if largest == 3:
        q = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1.0 + trace]
    else:
        a, b, c = largest, (largest + 1) % 3, (largest + 2) % 3
        q = [0.0, 0.0, 0.0, r[c, b] - r[b, c]]
        q[a], q[b], q[c] = 1.0 + r[a, a] - r[b, b] - r[c, c], r[a, b] + r[b, a], r[a, c] + r[c, a]
    x, y, z, w = (float(value) / math.hypot(*q) for value in q)
    return x, y, z, w
