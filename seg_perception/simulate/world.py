"""What is where, as a function of the seed and the time. Knows no camera and no image."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.cards import Card, cyclist_card, plant_card, stander_card, walker_card
from seg_perception.simulate.figures import FIGURE_HEIGHT_M, PHASES
from seg_perception.simulate.layout import BLOCK_M, KERB_M, street_of
from seg_perception.simulate.light import Light
from seg_perception.simulate.mesh import Mesh
from seg_perception.simulate.pictures import Pictures
from seg_perception.simulate.planner import plan_block
from seg_perception.simulate.scenery import block_mesh
from seg_perception.simulate.traffic import EGO_SPEED_MPS, Mover, movers_at
from seg_perception.simulate.vehicles import VEHICLES, vehicle_mesh

__all__ = ["SceneObject", "Shade", "Snapshot", "World"]

_BLOCKS_AHEAD = 6
_DETAILED_BLOCKS = 3
"""Beyond this many blocks, and beyond so far for what moves, vehicles lack small parts."""

_MOVERS_AHEAD_M = 260.0
_KEPT_BLOCKS = 12
_STEP_M = 0.75


@dataclass(frozen=True)
class SceneObject:
    """One countable thing and where it truly is, world frame.

    Attributes:
        instance_id: its pixels' value in the instance image; unique in a frame, constant over time.
        class_id: its pixels' class.
        position: (x, y, z) of the middle of its footprint, m.
        yaw_rad: heading about the vertical axis.
        size: (length, width, height), m.
        velocity: (vx, vy), m/s.
    """

    instance_id: int
    class_id: int
    position: tuple[float, float, float]
    yaw_rad: float
    size: tuple[float, float, float]
    velocity: tuple[float, float]


@dataclass(frozen=True)
class Shade:
    """A soft shadow that travels with its owner: a rectangle on the road."""

    x: float
    y: float
    half_length: float
    half_width: float
    height: float


@dataclass(frozen=True)
class Snapshot:
    """Everything there is to see at one moment, in the stretch of street that can be seen.

    Attributes:
        mesh: polygons; the ground plane z = 0 (road) is not among them.
        colors: uint8 `[P, 3]`, the polygons' RGB colours as lit.
        cards: upright pictures.
        objects: the countable things among them.
        shades: shadows of what moves.
        first_block: number of the block where the stretch begins.
    """

    mesh: Mesh
    colors: np.ndarray
    cards: tuple[Card, ...]
    objects: tuple[SceneObject, ...]
    shades: tuple[Shade, ...]
    first_block: int


@dataclass(frozen=True)
class _Content:
    """A block's part of a snapshot."""

    mesh: Mesh
    colors: np.ndarray
    cards: tuple[Card, ...]
    objects: tuple[SceneObject, ...]


class World:
    """An endless street that belongs to a seed, and the ego vehicle's drive along it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.street = street_of(seed)
        self.light = Light.of_seed(seed)
        self._blocks: OrderedDict[tuple[int, bool], _Content] = OrderedDict()
        self.pictures = Pictures(seed, self.street, self.light)
        self._still: tuple[int, Mesh, np.ndarray] | None = None

    def ego_pose(self, time_s: float) -> np.ndarray:
        """world_from_base, float64 `[4, 4]`: straight ahead in the middle of its lane at a steady speed."""
        pose = np.eye(4)
        pose[0, 3] = EGO_SPEED_MPS * time_s
        return pose

    def at(self, time_s: float, x: float) -> Snapshot:
        """The street ahead of x at a time in seconds since the start of the drive."""
        first = math.floor(x / BLOCK_M)
        blocks = [self._block(first + i, i < _DETAILED_BLOCKS) for i in range(_BLOCKS_AHEAD)]
        movers = movers_at(self.seed, self.street, time_s, x - 12.0, x + _MOVERS_AHEAD_M)
        vehicles = [mover for mover in movers if mover.kind in VEHICLES]
        moving = Mesh.joined(
            vehicle_mesh(m.kind, m.color, m.x - x < _DETAILED_BLOCKS * BLOCK_M).placed(
                m.x, m.y, m.z, m.yaw_rad, m.instance_id
            )
            for m in vehicles
        )
        still, still_colors = self._still_meshes(first, blocks)
        cards = [card for block in blocks for card in block.cards]
        cards += [_mover_card(mover, time_s, self.light) for mover in movers if mover.kind not in VEHICLES]
        objects = [thing for block in blocks for thing in block.objects]
        objects += [thing for mover in movers for thing in _objects_of(mover)]
        return Snapshot(
            mesh=Mesh.joined([still, moving]),
            colors=np.concatenate([still_colors, self.light.lit(moving)]),
            cards=tuple(cards),
            objects=tuple(objects),
            shades=tuple(_shade_of(mover) for mover in movers),
            first_block=first,
        )

    def _block(self, index: int, detailed: bool) -> _Content:
        key = (index, detailed)
        if key not in self._blocks:
            plan = plan_block(self.seed, index)
            mesh = block_mesh(self.street, plan, detailed)
            cards = tuple(plant_card(plant, self.light) for plant in plan.plants)
            cards += tuple(stander_card(stander, self.light) for stander in plan.standers)
            things = [_resting(p.kind, p.x, p.y, 0.0, p.yaw_rad, p.instance_id) for p in plan.parked]
            things += [_resting(s.kind, s.x, s.y, KERB_M, 0.0, s.instance_id) for s in plan.standers]
            self._blocks[key] = _Content(mesh, self.light.lit(mesh), cards, tuple(things))
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[key]

    def _still_meshes(self, first: int, blocks: list[_Content]) -> tuple[Mesh, np.ndarray]:
        if self._still is None or self._still[0] != first:
            mesh = Mesh.joined(block.mesh for block in blocks)
            self._still = (first, mesh, np.concatenate([block.colors for block in blocks]))
        return self._still[1], self._still[2]


_SIZE = {
    "person": (0.4, 0.55, 1.75),
    "walker": (0.4, 0.55, 1.75),
    "bicycle": (1.75, 0.5, 1.05),
    "cyclist": (1.75, 0.6, 1.75),
}
_CLASS = {"person": "person", "walker": "person", "bicycle": "bicycle", "cyclist": "rider"}


def _resting(kind: str, x: float, y: float, z: float, yaw: float, instance_id: int) -> SceneObject:
    return _object(kind, (x, y, z), yaw, (0.0, 0.0), instance_id)


def _object(
    kind: str, position: tuple[float, float, float], yaw: float, velocity: tuple[float, float], instance_id: int
) -> SceneObject:
    if kind in VEHICLES:
        shape = VEHICLES[kind]
        class_name, size = shape.class_name, (shape.length, shape.width, shape.height)
    else:
        class_name, size = _CLASS[kind], _SIZE[kind]
    return SceneObject(instance_id, CITYSCAPES.id_of(class_name), position, yaw, size, velocity)


def _objects_of(mover: Mover) -> list[SceneObject]:
    place, velocity = (mover.x, mover.y, mover.z), (mover.vx, mover.vy)
    things = [_object(mover.kind, place, mover.yaw_rad, velocity, mover.instance_id)]
    if mover.kind == "cyclist":
        things.append(_object("bicycle", place, mover.yaw_rad, velocity, mover.instance_id + 1))
    return things


def _mover_card(mover: Mover, time_s: float, light: Light) -> Card:
    foot = (mover.x, mover.y, mover.z)
    speed = math.hypot(mover.vx, mover.vy)
    phase = int((speed * time_s / (2 * _STEP_M) + mover.key % 97 / 97) * PHASES) % PHASES
    across = abs(math.sin(mover.yaw_rad)) > 0.7
    views = ("left", "right") if across else ("back", "front")
    view = views[0] if (math.sin(mover.yaw_rad) if across else math.cos(mover.yaw_rad)) > 0 else views[1]
    draw = cyclist_card if mover.kind == "cyclist" else walker_card
    return draw(foot, view, phase if speed else 0, mover.key, mover.instance_id, light)


def _shade_of(mover: Mover) -> Shade:
    if mover.kind in VEHICLES:
        kind = VEHICLES[mover.kind]
        return Shade(mover.x, mover.y, kind.length / 2 - 0.1, kind.width / 2 - 0.04, 0.85 * kind.height)
    length = 0.8 if mover.kind == "cyclist" else 0.16
    return Shade(mover.x, mover.y, length, 0.2, 0.85 * FIGURE_HEIGHT_M)
