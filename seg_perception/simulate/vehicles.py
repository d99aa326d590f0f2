"""Cars, vans, trucks and buses as meshes in their own frame: x forward, y left, z up from the ground.

Left and right sides are mirror images; glass, lamps and wheels lie a few millimetres proud of the body.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.mesh import Mesh, MeshBuilder, Point

__all__ = ["BODY_COLORS", "VEHICLES", "VehicleKind", "vehicle_mesh"]

Color = tuple[int, int, int]

BODY_COLORS: tuple[Color, ...] = (
    (226, 228, 230),
    (176, 181, 186),
    (120, 125, 131),
    (72, 76, 82),
    (34, 36, 40),
    (36, 58, 104),
    (138, 28, 32),
    (88, 112, 136),
    (58, 78, 62),
    (204, 198, 182),
    (122, 98, 70),
)

_GLASS = (30, 36, 42)
_TYRE = (26, 26, 28)
_ARCH = (16, 16, 18)
_RIM = (150, 153, 158)
_TRIM = (38, 39, 42)
_HEADLAMP = (244, 244, 236)
_TAILLAMP = (158, 20, 24)
_PLATE = (206, 204, 188)


@dataclass(frozen=True)
class VehicleKind:
    """Shape of a vehicle. Lengths in metres; stations x_* along the vehicle, from its centre, forward positive.

    Attributes:
        class_name: of the Cityscapes set.
        length, width, height: overall.
        sill, nose, belt: heights of the body's lower edge, the bonnet's front edge and the window line.
        x_tail, x_roof_rear, x_roof_front, x_screen: where the rear window meets the body, the roof begins and
            ends, and the windscreen meets the bonnet.
        axles: stations of the wheels.
        wheel: wheel radius.
        panes: side windows as (from, to) shares of the cabin's length, rear to front.
        corners: how far from tail and nose the body begins to narrow; x_tail and x_screen lie between.
    """

    class_name: str
    length: float
    width: float
    height: float
    sill: float
    nose: float
    belt: float
    x_tail: float
    x_roof_rear: float
    x_roof_front: float
    x_screen: float
    axles: tuple[float, float]
    wheel: float = 0.32
    panes: tuple[tuple[float, float], ...] = ((0.05, 0.46), (0.50, 0.94))
    corners: tuple[float, float] = (0.24, 0.38)


VEHICLES: dict[str, VehicleKind] = {
    "hatchback": VehicleKind("car", 4.05, 1.76, 1.48, 0.24, 0.72, 0.93, -1.78, -1.50, 0.22, 0.98, (-1.22, 1.28)),
    "saloon": VehicleKind("car", 4.65, 1.82, 1.45, 0.23, 0.70, 0.93, -1.72, -0.98, 0.28, 1.02, (-1.36, 1.42)),
    "estate": VehicleKind(
        "car", 4.75, 1.83, 1.50, 0.23, 0.70, 0.94, -2.12, -1.90, 0.30, 1.06, (-1.36, 1.46), 0.33,
        ((0.04, 0.30), (0.33, 0.62), (0.65, 0.95)),
    ),
    "suv": VehicleKind("car", 4.45, 1.88, 1.70, 0.32, 0.90, 1.08, -1.98, -1.74, 0.26, 0.96, (-1.30, 1.36), 0.37),
    "van": VehicleKind(
        "car", 5.1, 1.98, 1.98, 0.28, 0.95, 1.15, -2.27, -2.21, 1.05, 1.75, (-1.55, 1.60), 0.35,
        ((0.04, 0.34), (0.37, 0.66), (0.69, 0.95)),
    ),
    "truck": VehicleKind(
        "truck", 7.6, 2.40, 3.20, 0.45, 1.15, 1.40, 1.90, 2.00, 3.30, 3.62, (-2.2, 2.7), 0.46,
        ((0.3, 0.9),), (0.1, 0.14),
    ),
    "bus": VehicleKind(
        "bus", 11.0, 2.50, 3.05, 0.32, 0.90, 1.10, -5.38, -5.33, 5.20, 5.34, (-2.9, 2.9), 0.48,
        tuple((0.02 + 0.138 * i, 0.02 + 0.138 * i + 0.125) for i in range(7)), (0.1, 0.14),
    ),
}  # fmt: skip


class _Mirrored(MeshBuilder):
    """Adds every polygon of the left side a second time, mirrored to the right."""

    def both(self, corners: Sequence[Point], color: Point, class_id: int, gloss: float = 0.0) -> None:
        self.patch(corners, color, class_id, gloss=gloss)
        self.patch([(x, -y, z) for x, y, z in reversed(corners)], color, class_id, gloss=gloss)


@lru_cache(maxsize=256)
def vehicle_mesh(kind_name: str, color: Color, detailed: bool = True) -> Mesh:
    """The mesh of a kind in `VEHICLES` with a body of that colour; without small parts for what is far away."""
    kind = VEHICLES[kind_name]
    builder = _Mirrored()
    class_id = CITYSCAPES.id_of(kind.class_name)
    _body(builder, kind, color, class_id)
    _cabin(builder, kind, color, class_id)
    if detailed:
        _lamps(builder, kind, class_id)
        if kind.class_name == "car":
            _doors(builder, kind, color, class_id)
        _mirrors(builder, kind, class_id)
    _wheels(builder, kind, class_id, detailed)
    if kind.class_name == "truck":
        _cargo(builder, kind, class_id)
    return builder.build()


Ring = list[Point]


def _rings(kind: VehicleKind) -> tuple[Ring, Ring, Ring]:
    """The left half of the body's outline at three heights, each from the tail to the nose."""
    half, front, rear = kind.width / 2, kind.length / 2, -kind.length / 2
    middle = (kind.sill + kind.belt) / 2 + 0.02
    tail, nose = rear + kind.corners[0], front - kind.corners[1]
    outline = [(rear, 0.74), (tail, 1.0), (kind.x_screen, 1.0), (nose, 1.0), (front, 0.72)]
    tops = [kind.belt - 0.03, kind.belt, kind.belt, (kind.nose + kind.belt) / 2, kind.nose]

    def ring(share: float, heights: Sequence[float]) -> Ring:
        return [(x, half * y * share, z) for (x, y), z in zip(outline, heights)]

    return ring(0.95, [kind.sill] * 5), ring(1.0, [middle] * 5), ring(0.95, tops)


def _body(builder: _Mirrored, kind: VehicleKind, color: Color, class_id: int) -> None:
    low, mid, top = _rings(kind)
    dark = tuple(0.80 * c for c in color)
    for i in range(4):
        # Seen from the left, forward is to the left.
        builder.both((low[i + 1], low[i], mid[i], mid[i + 1]), dark, class_id, 0.03)
        builder.both((mid[i + 1], mid[i], top[i], top[i + 1]), color, class_id, 0.10)
    for ring_low, ring_high, shade in ((low, mid, dark), (mid, top, color)):
        _across(builder, ring_low[-1], ring_high[-1], shade, class_id, 0.08)
        _across(builder, ring_high[0], ring_low[0], shade, class_id, 0.08)
    _across(builder, top[-1], top[-2], color, class_id, 0.22)
    _across(builder, top[-2], top[-3], color, class_id, 0.22)
    _across(builder, (kind.x_tail, top[1][1], kind.belt), top[1], color, class_id, 0.22)
    _across(builder, top[1], top[0], color, class_id, 0.20)


def _across(builder: MeshBuilder, first: Point, second: Point, color: Point, class_id: int, gloss: float) -> None:
    """The panel between a left edge and its mirror image; seen from ahead or above, `first` is nearer."""
    (x0, y0, z0), (x1, y1, z1) = first, second
    builder.polygon(((x0, -y0, z0), (x0, y0, z0), (x1, y1, z1), (x1, -y1, z1)), color, class_id, gloss=gloss)


def _doors(builder: _Mirrored, kind: VehicleKind, color: Color, class_id: int) -> None:
    """A seam at the end of every side window, on the flat panels between tail and windscreen."""
    low, mid, top = _rings(kind)
    for seam in sorted(share for pane in kind.panes[1:] for share in pane):
        shares = (1 - seam - 0.004, 1 - seam + 0.004)
        for ring_low, ring_high in ((low, mid), (mid, top)):
            panel = (ring_low[2], ring_low[1], ring_high[1], ring_high[2])
            builder.both(_pane(*panel, shares, (0.06, 0.96), 0.004), tuple(0.35 * c for c in color), class_id)


def _mirrors(builder: MeshBuilder, kind: VehicleKind, class_id: int) -> None:
    half, x = kind.width / 2, kind.x_screen - 0.28
    for y0, y1 in ((half, half + 0.17), (-half - 0.17, -half)):
        builder.box((x, y0, kind.belt), (x + 0.1, y1, kind.belt + 0.15), _TRIM, class_id)


def _lamps(builder: _Mirrored, kind: VehicleKind, class_id: int) -> None:
    middle = (kind.sill + kind.belt) / 2 + 0.02
    half, front, rear = kind.width / 2, kind.length / 2 + 0.012, -kind.length / 2 - 0.012
    low, high = kind.nose - 0.17, kind.nose - 0.03
    inner, outer = 0.42 * half, 0.69 * half
    lamp = ((front, inner, low + 0.02), (front, outer, low), (front, outer, high), (front, inner, high))
    builder.both(lamp, _HEADLAMP, class_id)
    grille = min(middle - 0.03, low - 0.02)
    builder.polygon(_upright(front, 0.36 * half, kind.sill + 0.12, grille), _TRIM, class_id)
    builder.polygon(_upright(front + 0.006, 0.26, grille - 0.11, grille - 0.01), _PLATE, class_id)
    bottom, top = max(middle, kind.belt - 0.27), kind.belt - 0.07
    lamp = ((rear, outer, bottom), (rear, 0.46 * half, bottom), (rear, 0.50 * half, top), (rear, outer, top))
    builder.both(lamp, _TAILLAMP, class_id)
    builder.polygon(_upright(rear, -0.28, middle + 0.02, middle + 0.14), _PLATE, class_id)
    builder.polygon(_upright(rear, -0.7 * half, kind.sill, kind.sill + 0.14), _TRIM, class_id)


def _upright(x: float, half: float, low: float, high: float) -> tuple[Point, ...]:
    """A rectangle across the vehicle; it faces forward, or backward when `half` is negative."""
    return ((x, -half, low), (x, half, low), (x, half, high), (x, -half, high))


def _cabin(builder: _Mirrored, kind: VehicleKind, color: Color, class_id: int) -> None:
    half, eaves = kind.width / 2, kind.height - 0.07
    base_y, top_y = 0.95 * half, (0.76 if kind.class_name == "car" else 0.90) * half
    base = [(kind.x_tail, base_y, kind.belt), (kind.x_screen, base_y, kind.belt)]
    top = [(kind.x_roof_rear, top_y, eaves), (kind.x_roof_front, top_y, eaves)]
    roof = [(kind.x_roof_rear + 0.18, top_y - 0.14, kind.height), (kind.x_roof_front - 0.2, top_y - 0.14, kind.height)]
    builder.both((base[1], base[0], top[0], top[1]), color, class_id, 0.06)
    builder.both((top[1], top[0], roof[0], roof[1]), color, class_id, 0.25)
    _across(builder, base[1], top[1], color, class_id, 0.10)
    _across(builder, top[0], base[0], color, class_id, 0.10)
    _across(builder, top[1], roof[1], color, class_id, 0.22)
    _across(builder, roof[0], top[0], color, class_id, 0.22)
    _across(builder, roof[1], roof[0], color, class_id, 0.25)
    for first, last in kind.panes:
        builder.both(
            _pane(base[1], base[0], top[0], top[1], (1 - last, 1 - first), (0.08, 0.92)), _GLASS, class_id, 0.3
        )
    mirror = [(x, -y, z) for x, y, z in base + top]
    screen = _pane(mirror[1], base[1], top[1], mirror[3], (0.06, 0.94), (0.05, 0.95))
    builder.polygon(screen, _GLASS, class_id, gloss=0.42)
    rear = _pane(base[0], mirror[0], mirror[2], top[0], (0.09, 0.91), (0.12, 0.90))
    builder.polygon(rear, _GLASS, class_id, gloss=0.42)


def _pane(
    a: Point, b: Point, c: Point, d: Point, across: tuple[float, float], up: tuple[float, float], proud_m: float = 0.008
) -> list[Point]:
    """Part of the flat quadrilateral a b c d (a to b its base), a little in front of it."""
    pa, pb, pc, pd = (np.asarray(p, np.float64) for p in (a, b, c, d))
    normal = np.cross(pb - pa, pd - pa)
    normal *= proud_m / np.linalg.norm(normal)

    def at(u: float, v: float) -> Point:
        point = (1 - v) * ((1 - u) * pa + u * pb) + v * ((1 - u) * pd + u * pc) + normal
        return tuple(point.tolist())

    (u0, u1), (v0, v1) = across, up
    return [at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)]


def _wheels(builder: MeshBuilder, kind: VehicleKind, class_id: int, detailed: bool) -> None:
    half, radius = kind.width / 2, kind.wheel
    discs = [(0.012, radius, _TYRE)]
    if detailed:
        discs += [(0.006, radius + 0.06, _ARCH), (0.018, 0.62 * radius, _RIM), (0.024, 0.2 * radius, _TRIM)]
    for x in kind.axles:
        for side in (1, -1):
            y = side * half
            for out, size, color in discs:
                centre = (x, y + side * out, radius)
                builder.disc(centre, (-side * size, 0, 0), (0, 0, size), color, class_id)
            if detailed:
                _tread(builder, x, y + side * 0.012, -side * 0.21, radius, class_id)


def _tread(builder: MeshBuilder, x: float, y: float, inward: float, radius: float, class_id: int) -> None:
    """The lower half of a tyre's outside, from the disc at y inwards: what is seen below a bumper."""
    near, far = max(y, y + inward), min(y, y + inward)
    turns = [math.pi * (1 + (i + 0.5) / 5) for i in range(5)]
    ring = [(x + radius * math.cos(a), radius + radius * math.sin(a)) for a in turns]
    for (x0, z0), (x1, z1) in zip(ring, ring[1:]):
        builder.polygon(((x0, far, z0), (x1, far, z1), (x1, near, z1), (x0, near, z0)), _TYRE, class_id)
    low, high = (x - 0.9 * radius, far + 0.02, 0.6 * radius), (x + 0.9 * radius, near - 0.02, 1.2 * radius)
    builder.box(low, high, _TYRE, class_id, faces="xX")


def _cargo(builder: MeshBuilder, kind: VehicleKind, class_id: int) -> None:
    half, rear = kind.width / 2 + 0.02, -kind.length / 2
    builder.box((rear, -half, 0.95), (1.75, half, kind.height), (214, 216, 214), class_id)
    for y in (-1, 1):
        builder.polygon(_upright(rear - 0.01, -0.02, 1.0, kind.height - 0.1), (120, 122, 124), class_id)
        low, high = sorted((y * half, y * half * 0.72))
        builder.box((rear - 0.02, low, 0.75), (rear + 0.1, high, 0.93), _TAILLAMP, class_id)
