"""Builds the meshes of a block: ground, houses, barriers, street furniture, parked vehicles."""

from __future__ import annotations

import math

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.atlas import FRONT_LEFT, FRONT_RIGHT, GROUND, LOW_LEFT, LOW_RIGHT
from seg_perception.simulate.bend import STRAIGHT, Bend
from seg_perception.simulate.bent_mesh import cut_for
from seg_perception.simulate.furniture import add_post
from seg_perception.simulate.layout import (
    JUNCTION_M,
    KERB_M,
    PLOT_DEPTH_M,
    Barrier,
    Block,
    Building,
    SidePlan,
    Street,
)
from seg_perception.simulate.mesh import Mesh, MeshBuilder, Point
from seg_perception.simulate.seeded import stream
from seg_perception.simulate.vehicles import vehicle_mesh

__all__ = ["block_mesh", "land_mesh"]

_ID = {label.name: label.id for label in CITYSCAPES}
_BUILDING, _SIDEWALK, _TERRAIN = _ID["building"], _ID["sidewalk"], _ID["terrain"]
_BARRIER_CLASS = {"wall": _ID["wall"], "fence": _ID["fence"], "hedge": _ID["vegetation"]}
_BARRIER_COLOR = {"wall": (150, 116, 98), "fence": (96, 92, 84), "hedge": (62, 84, 40)}
_KERBSTONE = (168, 166, 160)
_PAVING = (158, 154, 148)
_ROOF_TILES = (120, 70, 56)
_HOUSE_DEPTH_M = 12.0
_LAND_M = 400.0
"""How far the land behind the plot line reaches: to the horizon, as far as can be told."""

_SHARE_OF_RADIUS = 0.6
"""In a bend houses begin no further from the middle: nearer to its centre they would be too narrow to tell."""


def block_mesh(street: Street, block: Block, detailed: bool = True, bend: Bend = STRAIGHT) -> Mesh:
    """Every polygon that belongs to the block, in street coordinates, cut into pieces if they are to be bent.

    It is without small parts unless `detailed`, and on a bend's inner side without what has no room there.
    """
    builder = MeshBuilder()
    for sign, kind in zip((-1, 1), block.side_kinds):
        _lay_ground(builder, block, street.side(sign), kind, bend)
    if block.junction:
        _close_side_street(builder, block, street, bend)
    for building in block.buildings:
        side = street.side(building.sign)
        if side.front + building.setback < _SHARE_OF_RADIUS * bend.room_m(building.sign):
            _build_house(builder, side, building, block)
            if bend.room_m(building.sign) < math.inf:
                _close_house_behind(builder, side, building)
    for barrier in block.barriers:
        _raise_barrier(builder, street.side(barrier.sign), barrier)
    for post in block.posts:
        add_post(builder, post, street.kerb_height_m)
    parked = [
        vehicle_mesh(p.kind, p.color, detailed).placed(p.x, p.y, 0.0, p.yaw_rad, p.instance_id) for p in block.parked
    ]
    still = builder.build()
    return Mesh.joined([cut_for(still, bend) if bend else still, *parked])


def land_mesh(street: Street, x: tuple[float, float], bend: Bend) -> Mesh:
    """Nothing but open land on both sides of a street that goes on, cut as `block_mesh` is."""
    builder = MeshBuilder()
    for side in (street.side(-1), street.side(1)):
        end = min(side.front + _LAND_M, bend.room_m(side.sign))
        _level(builder, side, x, (side.kerb, end), _TERRAIN)
    return cut_for(builder.build(), bend)


def _level(
    builder: MeshBuilder, side: SidePlan, x: tuple[float, float], away: tuple[float, float], class_id: int
) -> None:
    """A rectangle of ground at the kerb's height, from one distance to another off the street's axis."""
    y0, y1 = sorted((side.sign * away[0], side.sign * away[1]))
    z = side.kerb_height_m
    corners = ((x[0], y0, z), (x[1], y0, z), (x[1], y1, z), (x[0], y1, z))
    builder.polygon(corners, _PAVING, class_id, texture=GROUND)


def _lay_ground(builder: MeshBuilder, block: Block, side: SidePlan, kind: str, bend: Bend) -> None:
    (low, high), (plot_low, plot_high) = block.kerb_span, block.plot_span
    end = min(side.front + _LAND_M, bend.room_m(side.sign))
    green_low, green_high = low + (5.0 if block.junction else 0.0), high - (5.0 if block.junction_follows else 0.0)
    inner = side.kerb + side.verge
    if side.verge:
        _level(builder, side, (green_low, green_high), (side.kerb, inner), _TERRAIN)
        for x in ((low, green_low), (green_high, high)):
            if x[1] > x[0]:
                _level(builder, side, x, (side.kerb, inner), _SIDEWALK)
    _level(builder, side, (low, high), (inner, side.front), _SIDEWALK)
    _level(builder, side, (plot_low, plot_high), (side.front, end), _SIDEWALK if kind == "street" else _TERRAIN)
    for x in ((low, plot_low), (plot_high, high)):
        if x[1] > x[0]:
            _level(builder, side, x, (side.front, end), _SIDEWALK)
    if not side.kerb_height_m:
        return
    y0, y1 = sorted((side.sign * side.kerb, side.sign * end))
    faces = ("Y" if side.sign < 0 else "y") + ("x" if block.junction else "") + ("X" if block.junction_follows else "")
    builder.box((low, y0, 0.0), (high, y1, side.kerb_height_m), _KERBSTONE, _SIDEWALK, faces=faces)


def _close_side_street(builder: MeshBuilder, block: Block, street: Street, bend: Bend) -> None:
    """A house at each end of the side street, where it is seen to turn."""
    rng = stream(block.key, 0xC1)
    for sign in (-1, 1):
        near = min(street.side(sign).front + PLOT_DEPTH_M, _SHARE_OF_RADIUS * bend.radius_m)
        y0, y1 = sorted((sign * near, sign * (near + 10.0)))
        shade = 0.85 + 0.3 * rng.random()
        color = (168 * shade, 152 * shade, 134 * shade)
        low, high = (block.x0 - 14.0, y0, 0.0), (block.x0 + JUNCTION_M + 14.0, y1, 12.0 + 4 * rng.random())
        builder.box(low, high, color, _BUILDING)
        y = sign * (near - 0.02)
        for column in range(9):
            for storey in range(3):
                x, z = block.x0 - 12.5 + 4.0 * column, 1.4 + 3.4 * storey
                pane = ((x, y, z), (x + 1.3, y, z), (x + 1.3, y, z + 1.7), (x, y, z + 1.7))
                builder.polygon(pane if sign > 0 else pane[::-1], (52, 58, 66), _BUILDING, gloss=0.2)


def _build_house(builder: MeshBuilder, side: SidePlan, house: Building, block: Block) -> None:
    texture = FRONT_LEFT if side.sign > 0 else FRONT_RIGHT
    near = side.sign * (side.front + house.setback)
    far = near + side.sign * _HOUSE_DEPTH_M
    y0, y1 = sorted((near, far))
    front = "y" if side.sign > 0 else "Y"
    low, high = (house.x0, y0, 0.0), (house.x1, y1, house.eaves)
    builder.box(low, high, house.color, _BUILDING, faces=front + "xX", textures={front: texture})
    if house.roof_m:
        _raise_roof(builder, side, house, near, texture)
    plot_low, plot_high = block.plot_span
    if block.junction and house.x0 == plot_low:
        _gable_windows(builder, house, house.x0, near, side.sign, -1)
    if block.junction_follows and house.x1 == plot_high:
        _gable_windows(builder, house, house.x1, near, side.sign, 1)
    if house.setback < 8.0:
        _decorate(builder, side, house, near)


def _close_house_behind(builder: MeshBuilder, side: SidePlan, house: Building) -> None:
    """Back and rear roof of a house on the inner side of a bend, where it may be seen from across."""
    middle, far = (side.sign * (side.front + house.setback + share * _HOUSE_DEPTH_M) for share in (0.5, 1.0))
    ridge = house.eaves + house.roof_m
    back = ((house.x1, far, 0.0), (house.x0, far, 0.0), (house.x0, far, house.eaves), (house.x1, far, house.eaves))
    roof = (back[3], back[2], (house.x0, middle, ridge), (house.x1, middle, ridge))
    for corners, color in ((back, house.color), (roof, _ROOF_TILES))[: 2 if house.roof_m else 1]:
        builder.polygon(corners if side.sign > 0 else corners[::-1], color, _BUILDING)


def _raise_roof(builder: MeshBuilder, side: SidePlan, house: Building, near: float, texture: int) -> None:
    back, ridge = side.sign * _HOUSE_DEPTH_M / 2, house.eaves + house.roof_m
    eaves = ((house.x0, near, house.eaves), (house.x1, near, house.eaves))
    top = ((house.x1, near + back, ridge), (house.x0, near + back, ridge))
    slope = (*eaves, *top)
    builder.polygon(slope if side.sign > 0 else slope[::-1], _ROOF_TILES, _BUILDING, texture=texture)
    for x, facing in ((house.x0, -1), (house.x1, 1)):
        gable = (
            (x, near, house.eaves),
            (x, near + 2 * back, house.eaves),
            (x, near + back, ridge),
        )
        outward = gable if (facing > 0) == (side.sign > 0) else gable[::-1]
        builder.polygon(outward, house.color, _BUILDING)
    rng = stream(house.key, 0xC4)
    x, y = house.x0 + 1 + (house.x1 - house.x0 - 3) * rng.random(), near + back
    color = (128, 84, 68)
    builder.box((x, y - 0.4, ridge - 0.8), (x + 0.9, y + 0.4, ridge + 1.0), color, _BUILDING)


def _gable_windows(builder: MeshBuilder, house: Building, x: float, near: float, sign: int, facing: int) -> None:
    rng = stream(house.key, 0x6A, facing)
    x += 0.015 * facing
    for storey in range(house.storeys):
        low = KERB_M + 1.0 + (house.ground_floor_m + (storey - 1) * house.floor_m if storey else 0.0)
        for column in range(3):
            if rng.random() < 0.25:
                continue
            y0, y1 = sorted((near + sign * (1.6 + 3.4 * column), near + sign * (2.8 + 3.4 * column)))
            pane: tuple[Point, ...] = ((x, y0, low), (x, y1, low), (x, y1, low + 1.5), (x, y0, low + 1.5))
            builder.polygon(pane if facing > 0 else pane[::-1], (46, 52, 60), _BUILDING, gloss=0.22)


def _decorate(builder: MeshBuilder, side: SidePlan, house: Building, near: float) -> None:
    """Awnings, balconies and signs that stand out from the front."""
    rng = stream(house.key, 0xDE)
    out = -side.sign
    if house.shop and rng.random() < 0.6:
        color = ((142, 42, 44), (44, 86, 70), (46, 66, 112), (186, 174, 146))[int(rng.random() * 4)]
        x0, x1, z = house.x0 + 0.8, house.x1 - 0.8, KERB_M + house.ground_floor_m - 0.55
        slope = ((x0, near + out * 1.3, z - 0.55), (x1, near + out * 1.3, z - 0.55), (x1, near, z), (x0, near, z))
        builder.polygon(slope if side.sign > 0 else slope[::-1], color, _BUILDING)
        y0, y1 = sorted((near + out * 1.3, near + out * 1.28))
        builder.box((x0, y0, z - 0.78), (x1, y1, z - 0.55), color, _BUILDING, faces="xXyY")
    if house.style in ("plaster", "modern") and rng.random() < 0.5:
        count = int((house.x1 - house.x0) / 4.5)
        for storey in range(1, house.storeys):
            z = KERB_M + house.ground_floor_m + (storey - 1) * house.floor_m
            for i in range(count):
                x = house.x0 + (house.x1 - house.x0) * (i + 0.5) / count - 1.2
                y0, y1 = sorted((near, near + out * 0.95))
                builder.box((x, y0, z - 0.12), (x + 2.4, y1, z + 0.95), (178, 178, 174), _BUILDING, faces="xXyYzZ")


def _raise_barrier(builder: MeshBuilder, side: SidePlan, barrier: Barrier) -> None:
    thick = {"wall": 0.3, "fence": 0.06, "hedge": 0.8}[barrier.kind]
    y0, y1 = sorted((side.sign * side.front, side.sign * (side.front + thick)))
    front = "y" if side.sign > 0 else "Y"
    low, high = (barrier.x0, y0, 0.0), (barrier.x1, y1, KERB_M + barrier.height)
    texture = LOW_LEFT if side.sign > 0 else LOW_RIGHT
    class_id, color = _BARRIER_CLASS[barrier.kind], _BARRIER_COLOR[barrier.kind]
    builder.box(low, high, color, class_id, textures={front: texture})
