"""Surfaces made of flat convex polygons, each with a class, an instance and a colour.

A polygon is seen from one side: from where its corners go round counter-clockwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["FLAT", "MAX_CORNERS", "Mesh", "MeshBuilder", "Point", "normals_of"]

MAX_CORNERS = 10
FLAT = 0
"""Texture of a polygon that has one colour all over; other numbers are bands of the texture atlas."""

Point = Sequence[float] | np.ndarray
"""(x, y, z) in metres, or (red, green, blue)."""

_PLANAR_M = 1e-6


@dataclass(frozen=True)
class Mesh:
    """P polygons.

    Attributes:
        corners: float64 `[P, MAX_CORNERS, 3]`, metres; a polygon with fewer corners repeats its last one.
        normals: float64 `[P, 3]`, unit length, outward.
        albedo: float32 `[P, 3]`, RGB from 0 to 255 under full light.
        gloss: float32 `[P]`, 0 to 1: how much of the sky it mirrors.
        texture: uint8 `[P]`.
        class_ids: uint8 `[P]`.
        instance_ids: uint16 `[P]`, 0 = none.
    """

    corners: np.ndarray
    normals: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    texture: np.ndarray
    class_ids: np.ndarray
    instance_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, x: float, y: float, z: float, yaw_rad: float, instance_id: int) -> Mesh:
        """A copy turned about the vertical axis, then moved, all of it one instance."""
        c, s = math.cos(yaw_rad), math.sin(yaw_rad)
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        return replace(
            self,
            corners=self.corners @ turn + np.array([x, y, z]),
            normals=self.normals @ turn,
            instance_ids=np.full(len(self), instance_id, np.uint16),
        )

    @staticmethod
    def joined(meshes: Iterable[Mesh]) -> Mesh:
        """All polygons of all meshes, in order."""
        parts = [mesh for mesh in meshes if len(mesh)]
        if not parts:
            return MeshBuilder().build()
        names = ("corners", "normals", "albedo", "gloss", "texture", "class_ids", "instance_ids")
        return Mesh(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class MeshBuilder:
    """Collects polygons; colours are RGB, 0 to 255."""

    def __init__(self) -> None:
        self._corners: list[list[tuple[float, float, float]]] = []
        self._rows: list[tuple[Point, float, int, int]] = []

    def polygon(
        self, corners: Sequence[Point], color: Point, class_id: int, *, gloss: float = 0.0, texture: int = FLAT
    ) -> None:
        """One flat convex polygon, counter-clockwise as seen from outside."""
        points = [(float(p[0]), float(p[1]), float(p[2])) for p in corners]
        self._corners.append(points + [points[-1]] * (MAX_CORNERS - len(points)))
        self._rows.append((color, gloss, texture, class_id))

    def patch(self, corners: Sequence[Point], color: Point, class_id: int, *, gloss: float = 0.0) -> None:
        """Four corners that need not lie in one plane: two triangles if they do not."""
        a, b, c, d = (np.asarray(p, np.float64) for p in corners)
        twist = abs(float(np.dot(np.cross(b - a, c - a), d - a)))
        pieces: list[list[Point]] = [[a, b, c, d]] if twist < _PLANAR_M else [[a, b, c], [a, c, d]]
        for piece in pieces:
            self.polygon(piece, color, class_id, gloss=gloss)

    def box(
        self,
        low: Point,
        high: Point,
        color: Point,
        class_id: int,
        *,
        faces: str = "xXyYZ",
        textures: dict[str, int] | None = None,
    ) -> None:
        """An upright box. `faces` names those to draw: x, y, z at the low end, X, Y, Z at the high end."""
        (x, y, z), (X, Y, Z) = low, high
        sides = {
            "x": ((x, Y, z), (x, y, z), (x, y, Z), (x, Y, Z)),
            "X": ((X, y, z), (X, Y, z), (X, Y, Z), (X, y, Z)),
            "y": ((x, y, z), (X, y, z), (X, y, Z), (x, y, Z)),
            "Y": ((X, Y, z), (x, Y, z), (x, Y, Z), (X, Y, Z)),
            "z": ((x, y, z), (x, Y, z), (X, Y, z), (X, y, z)),
            "Z": ((x, y, Z), (X, y, Z), (X, Y, Z), (x, Y, Z)),
        }
        for face in faces:
            self.polygon(sides[face], color, class_id, texture=(textures or {}).get(face, FLAT))

    def pillar(
        self, x: float, y: float, z: tuple[float, float], radius: float, color: Point, class_id: int, sides: int = 6
    ) -> None:
        """An upright prism between two heights."""
        ring = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in _turns(sides)]
        low, high = z
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1]):
            self.polygon(((x0, y0, low), (x1, y1, low), (x1, y1, high), (x0, y0, high)), color, class_id)

    def disc(self, centre: Point, across: Point, up: Point, color: Point, class_id: int, *, sides: int = 10) -> None:
        """A regular polygon in the plane of two half-axes; it faces along across × up."""
        centre_, across_, up_ = (np.asarray(p, np.float64) for p in (centre, across, up))
        ring: list[Point] = [centre_ + math.cos(a) * across_ + math.sin(a) * up_ for a in _turns(sides)]
        self.polygon(ring, color, class_id)

    def build(self) -> Mesh:
        """Everything collected so far, as no instance."""
        count = len(self._rows)
        corners = np.array(self._corners, np.float64).reshape(count, MAX_CORNERS, 3)
        return Mesh(
            corners=corners,
            normals=normals_of(corners),
            albedo=np.array([row[0] for row in self._rows], np.float32).reshape(count, 3),
            gloss=np.array([row[1] for row in self._rows], np.float32),
            texture=np.array([row[2] for row in self._rows], np.uint8),
            class_ids=np.array([row[3] for row in self._rows], np.uint8),
            instance_ids=np.zeros(count, np.uint16),
        )


def normals_of(corners: np.ndarray) -> np.ndarray:
    """Unit normals `[P, 3]` of polygons `[P, MAX_CORNERS, 3]`."""
    # Newell's sum gives the normal even where corners repeat.
    following = np.roll(corners, -1, axis=1)
    normals = np.cross(corners - corners[:, :1], following - corners[:, :1]).sum(axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: np.ndarray = normals / np.where(length > 0, length, 1.0)
    return unit


def _turns(sides: int) -> list[float]:
    return [2 * math.pi * (i + 0.5) / sides for i in range(sides)]
