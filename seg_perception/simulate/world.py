"""What is where, as a function of the seed and the time. Knows no camera and no image."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from seg_perception.simulate.bend import STRAIGHT, Bend
from seg_perception.simulate.bent_mesh import bent_block, laid_along
from seg_perception.simulate.bustle import QUIET, Bustle
from seg_perception.simulate.cards import Card, cyclist_card, plant_card, stander_card, walker_card
from seg_perception.simulate.figures import AT_REST, FIGURE_HEIGHT_M, PHASES
from seg_perception.simulate.layout import BLOCK_M, KERB_M, street_of
from seg_perception.simulate.light import Light
from seg_perception.simulate.mesh import Mesh
from seg_perception.simulate.objects import SceneObject, bent_thing, moving_things, resting_thing
from seg_perception.simulate.pictures import Pictures
from seg_perception.simulate.planner import plan_block
from seg_perception.simulate.scenery import block_mesh, land_mesh
from seg_perception.simulate.traffic import Mover, movers_at
from seg_perception.simulate.vehicles import VEHICLES, vehicle_mesh

__all__ = ["Shade", "Snapshot", "World"]

_BLOCKS_AHEAD = 6
_DETAILED_BLOCKS = 3
"""Beyond this many blocks, and beyond so far for what moves, vehicles lack small parts."""

_MOVERS_AHEAD_M = 260.0
_KEPT_BLOCKS = 12
_LAND_AHEAD_M = 600.0
"""How far beyond the last block there is land in a bend, which may be looked at from aside."""

_STEP_M = 0.75


@dataclass(frozen=True)
class Shade:
    """A soft shadow that travels with its owner: a rectangle on the road, in street coordinates."""

    x: float
    y: float
    half_length: float
    half_width: float
    height: float


@dataclass(frozen=True)
class Snapshot:
    """Everything there is to see at one moment, in the stretch of street that can be seen.

    Attributes:
        mesh: polygons, world frame; the ground plane z = 0 (road) is not among them. One that lies in it, which is
            ground of another class where there is no kerb, covers it.
        colors: uint8 `[P, 3]`, the polygons' RGB colours as lit.
        cards: upright pictures.
        objects: the countable things among them.
        shades: shadows of what moves.
        first_block: number of the block where the stretch begins.
        bend: where the street is in the world.
    """

    mesh: Mesh
    colors: np.ndarray
    cards: tuple[Card, ...]
    objects: tuple[SceneObject, ...]
    shades: tuple[Shade, ...]
    first_block: int
    bend: Bend = STRAIGHT

    def street_place(self, point: np.ndarray) -> tuple[float, float]:
        """Street coordinates (x, y) of a world point `[2]` or `[3]` in this stretch."""
        return self.bend.street_place(float(point[0]), float(point[1]), (self.first_block + 0.5) * BLOCK_M)


@dataclass(frozen=True)
class _Content:
    """A block's part of a snapshot."""

    mesh: Mesh
    colors: np.ndarray
    cards: tuple[Card, ...]
    objects: tuple[SceneObject, ...]


class World:
    """An endless street that belongs to a seed, and all that moves along it but the ego vehicle."""

    def __init__(self, seed: int, kerb_height_m: float = KERB_M, bend: Bend = STRAIGHT, bustle: Bustle = QUIET) -> None:
        self.seed = seed
        self.bustle = bustle
        self.bend = bend
        # Half a circle ahead is all that can be seen before a bend; more would in the end lie upon itself.
        self._reach_m = min(_MOVERS_AHEAD_M, math.pi * bend.radius_m)
        self._blocks_ahead = min(_BLOCKS_AHEAD, 1 + math.ceil(min(1e6, math.pi * bend.radius_m) / BLOCK_M))
        self.street = street_of(seed, kerb_height_m)
        self.light = Light.of_seed(seed)
        self._blocks: OrderedDict[tuple[int, bool], _Content] = OrderedDict()
        self.pictures = Pictures(seed, self.street, self.light, bustle)
        self._still: tuple[int, Mesh, np.ndarray] | None = None

    def at(self, time_s: float, x: float) -> Snapshot:
        """The street ahead of x, along the street, at a time in seconds since the start of the drive."""
        first = math.floor(x / BLOCK_M)
        blocks = [self._block(first + i, i < _DETAILED_BLOCKS) for i in range(self._blocks_ahead)]
        movers = movers_at(self.seed, self.street, time_s, x - 12.0, x + self._reach_m, self.bustle)
        moving, moving_colors = self._moving_meshes([mover for mover in movers if mover.kind in VEHICLES], x)
        still, still_colors = self._still_meshes(first, blocks)
        walkers = (mover for mover in movers if mover.kind not in VEHICLES)
        cards = [card for block in blocks for card in block.cards]
        cards += self._bent_cards(_mover_card(m, time_s, self.light, self.bend.heading(m.x - x)) for m in walkers)
        objects = [thing for block in blocks for thing in block.objects]
        objects += self._bent_objects(thing for mover in movers for thing in moving_things(mover))
        return Snapshot(
            mesh=Mesh.joined([still, moving]),
            colors=np.concatenate([still_colors, moving_colors]),
            cards=tuple(cards),
            objects=tuple(objects),
            shades=tuple(_shade_of(mover) for mover in movers),
            first_block=first,
            bend=self.bend,
        )

    def _moving_meshes(self, vehicles: list[Mover], x: float) -> tuple[Mesh, np.ndarray]:
        """Vehicles where they are in the world, and their colours."""
        bend, meshes = self.bend, []
        for m in vehicles:
            shape = vehicle_mesh(m.kind, m.color, m.x - x < _DETAILED_BLOCKS * BLOCK_M)
            meshes.append(shape.placed(*bend.place(m.x, m.y), m.z, m.yaw_rad + bend.heading(m.x), m.instance_id))
        moving = Mesh.joined(meshes)
        if not bend:
            return moving, self.light.lit(moving)
        headings = np.repeat([bend.heading(m.x) for m in vehicles], [len(mesh) for mesh in meshes])
        return moving, self.light.lit(moving, headings)

    def _block(self, index: int, detailed: bool) -> _Content:
        key = (index, detailed)
        if key not in self._blocks:
            kerb = self.street.kerb_height_m
            plan = plan_block(self.seed, index, kerb, self.bustle)
            mesh = block_mesh(self.street, plan, detailed, self.bend)
            colors = self.light.lit(mesh)
            if self.bend:
                mesh = bent_block(mesh, self.bend, plan.parked)
            cards = [plant_card(plant, self.light) for plant in plan.plants]
            standers = (*plan.standers, *plan.crowd)
            cards += [stander_card(stander, kerb, self.light) for stander in standers]
            things = [resting_thing(p.kind, (p.x, p.y, 0.0), p.yaw_rad, 0, p.instance_id) for p in plan.parked]
            things += [resting_thing(s.kind, (s.x, s.y, kerb), s.yaw_rad, s.key, s.instance_id) for s in standers]
            own = tuple(self._bent_cards(cards)), tuple(self._bent_objects(things))
            self._blocks[key] = _Content(mesh, colors, *own)
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[key]

    def _still_meshes(self, first: int, blocks: list[_Content]) -> tuple[Mesh, np.ndarray]:
        if self._still is None or self._still[0] != first:
            meshes, colors = [block.mesh for block in blocks], [block.colors for block in blocks]
            if self.bend:
                land = self._land((first + len(blocks)) * BLOCK_M, (first + 1) * BLOCK_M)
                meshes, colors = [*meshes, laid_along(land, self.bend)], [*colors, self.light.lit(land)]
            self._still = (first, Mesh.joined(meshes), np.concatenate(colors))
        return self._still[1], self._still[2]

    def _land(self, begins: float, last_x: float) -> Mesh:
        """What is seen beyond the last block, across the bend, from places up to `last_x`."""
        ends = min(begins + _LAND_AHEAD_M, last_x + math.pi * self.bend.radius_m)
        return land_mesh(self.street, (begins, ends), self.bend) if ends > begins else Mesh.joined(())

    def _bent_cards(self, cards: Iterable[Card]) -> Iterable[Card]:
        if not self.bend:
            return cards
        return (replace(card, foot=(*self.bend.place(*card.foot[:2]), card.foot[2])) for card in cards)

    def _bent_objects(self, things: Iterable[SceneObject]) -> Iterable[SceneObject]:
        if not self.bend:
            return things
        return (bent_thing(thing, self.bend) for thing in things)


def _mover_card(mover: Mover, time_s: float, light: Light, turned_rad: float) -> Card:
    """A picture of somebody seen from where the street's direction is `turned_rad` less than under them."""
    foot = (mover.x, mover.y, mover.z)
    speed = math.hypot(mover.vx, mover.vy)
    phase = int((speed * time_s / (2 * _STEP_M) + mover.key % 97 / 97) * PHASES) % PHASES
    yaw = mover.yaw_rad + turned_rad
    across = abs(math.sin(yaw)) > 0.7
    views = ("left", "right") if across else ("back", "front")
    view = views[0] if (math.sin(yaw) if across else math.cos(yaw)) > 0 else views[1]
    draw = cyclist_card if mover.kind == "cyclist" else walker_card
    phase = phase if speed else AT_REST if mover.waits else 0
    return draw(foot, view, phase, mover.key, mover.instance_id, light)


def _shade_of(mover: Mover) -> Shade:
    if mover.kind in VEHICLES:
        kind = VEHICLES[mover.kind]
        return Shade(mover.x, mover.y, kind.length / 2 - 0.1, kind.width / 2 - 0.04, 0.85 * kind.height)
    length = 0.8 if mover.kind == "cyclist" else 0.16
    return Shade(mover.x, mover.y, length, 0.2, 0.85 * FIGURE_HEIGHT_M)
