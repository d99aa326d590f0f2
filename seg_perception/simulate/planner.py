"""Draws up the plan of a block from its seed: houses, greenery, street furniture, parked cars, people at rest."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from seg_perception.simulate.bustle import FIRST_GROUP_ID, QUIET, Bustle, mid_crossing
from seg_perception.simulate.foliage import BUSHES, TREES
from seg_perception.simulate.groups import standing_groups
from seg_perception.simulate.layout import (
    BLOCK_M,
    KERB_M,
    Barrier,
    Block,
    Building,
    Color,
    Parked,
    Plant,
    Post,
    SidePlan,
    Stander,
    is_junction,
    street_of,
)
from seg_perception.simulate.parking import CLEAR_OF_CROSSING_M, tight_rows
from seg_perception.simulate.seeded import mix, stream
from seg_perception.simulate.vehicles import BODY_COLORS, VEHICLES

__all__ = ["plan_block"]

_T = TypeVar("_T")

_STYLES = {
    "brick": ((134, 78, 62), (150, 96, 74), (116, 70, 58), (168, 124, 92)),
    "plaster": (
        (222, 206, 170),
        (212, 180, 136),
        (204, 200, 190),
        (198, 172, 142),
        (226, 218, 200),
        (196, 150, 118),
        (182, 190, 176),
    ),
    "stone": ((176, 164, 142), (158, 152, 142), (190, 178, 156)),
    "modern": ((150, 154, 160), (112, 118, 126), (198, 200, 202)),
}
_LEAVES = ((84, 108, 50), (96, 118, 54), (72, 98, 50), (108, 120, 58), (78, 104, 64))
_SETBACK = {"street": 0.0, "garden": 5.0, "yard": 13.0, "park": 27.0}


@lru_cache(maxsize=64)
def plan_block(seed: int, index: int, kerb_height_m: float = KERB_M, bustle: Bustle = QUIET) -> Block:
    """The block `index` (any integer) of the street that belongs to `seed`."""
    street = street_of(seed, kerb_height_m)
    rng = stream(seed, index, 0xB1)
    shell = Block(
        index, mix(seed, index), is_junction(seed, index), is_junction(seed, index + 1), ("street", "street"),
        (), (), (), (), (), (),
    )  # fmt: skip
    parts: dict[str, list[Any]] = {name: [] for name in ("buildings", "barriers", "plants", "posts")}
    kinds = []
    for sign in (-1, 1):
        side = street.side(sign)
        kind = _side_kind(rng)
        kinds.append(kind)
        parts["buildings"] += _buildings(rng, shell, side, kind)
        parts["barriers"] += _barriers(rng, shell, side, kind)
        parts["plants"] += _street_trees(rng, shell, side) + _greenery(rng, shell, side, kind)
        parts["posts"] += _posts(rng, shell, side)
    first_id = bustle.first_id(index)
    parked = _parked(rng, shell, street.side(-1), first_id) + _parked(rng, shell, street.side(1), first_id + 20)
    standers = _standers(rng, shell, street.side(-1), first_id + 40) + _standers(
        rng, shell, street.side(1), first_id + 52
    )
    plan = replace(
        shell,
        side_kinds=(kinds[0], kinds[1]),
        buildings=tuple(parts["buildings"]),
        barriers=tuple(parts["barriers"]),
        plants=tuple(parts["plants"]),
        posts=tuple(parts["posts"]),
        parked=tuple(parked),
        standers=tuple(standers),
    )
    return _busier(plan, seed, (street.side(-1), street.side(1)), bustle) if bustle else plan


def _busier(plan: Block, seed: int, sides: tuple[SidePlan, SidePlan], bustle: Bustle) -> Block:
    """The same block with fuller kerbs and sidewalks, and with room where people cross."""
    first_id, crossing_x = bustle.first_id(plan.index), mid_crossing(seed, plan.index, bustle)
    parked, standers, crowd = plan.parked, plan.standers, list[Stander]()
    if bustle.tight_parking:
        rng = stream(seed, plan.index, 0xBB)
        rows = (tight_rows(rng, plan, side, first_id + 20 * i, crossing_x) for i, side in enumerate(sides))
        parked = tuple(car for row in rows for car in row)
    elif crossing_x is not None:
        parked = tuple(
            car for car in parked if abs(car.x - crossing_x) > CLEAR_OF_CROSSING_M + VEHICLES[car.kind].length / 2
        )
    if bustle.crowds:
        standers = tuple(_nearer_to_plots(stander, sides) for stander in standers)
        rng = stream(seed, plan.index, 0xC7)
        for side in sides:
            own_id = first_id + FIRST_GROUP_ID + len(crowd)
            crowd += standing_groups(rng, plan, side, own_id, bustle.crowds, standers)
    return replace(plan, parked=parked, standers=standers, crowd=tuple(crowd))


def _nearer_to_plots(stander: Stander, sides: tuple[SidePlan, SidePlan]) -> Stander:
    """Out of the way of groups who walk along."""
    if stander.kind != "person":
        return stander
    side = sides[0] if stander.y < 0 else sides[1]
    return replace(stander, y=(stander.y + side.sign * side.front) / 2)


def _side_kind(rng: random.Random) -> str:
    draw = rng.random()
    return "street" if draw < 0.55 else "garden" if draw < 0.70 else "yard" if draw < 0.84 else "park"


def _pick(rng: random.Random, options: Sequence[_T]) -> _T:
    return options[int(rng.random() * len(options))]


def _varied(rng: random.Random, color: Color, share: float) -> Color:
    """Brighter or darker by up to `share`, and a little warmer or colder."""
    gain, warmth = 1 + share * (2 * rng.random() - 1), 1 + 0.25 * share * (2 * rng.random() - 1)
    return int(color[0] * gain * warmth), int(color[1] * gain), int(color[2] * gain / warmth)


def _buildings(rng: random.Random, block: Block, side: SidePlan, kind: str) -> list[Building]:
    low, high = block.plot_span
    count = max(2, round((high - low) / (10 + 7 * rng.random())))
    cuts = [
        low + (high - low) * (i + (0.3 * (rng.random() - 0.5) if 0 < i < count else 0)) / count
        for i in range(count + 1)
    ]
    # Houses begin and end on the texture's grid, so that no wall shows its neighbour's paint.
    cuts = [round(cut * 16) / 16 for cut in cuts]
    houses = []
    for x0, x1 in zip(cuts, cuts[1:]):
        style = _pick(rng, ("brick", "plaster", "plaster", "stone", "modern"))
        pitched = style != "modern" and rng.random() < 0.7
        shop = kind == "street" and rng.random() < 0.6
        color = _pick(rng, _STYLES[style])
        houses.append(
            Building(
                sign=side.sign,
                x0=x0,
                x1=x1,
                setback=_SETBACK[kind] + (0.25 * int(3 * rng.random()) if kind != "street" else 0.0),
                storeys=2 + int(rng.random() * (3.4 if kind in ("street", "park") else 2.2)),
                floor_m=2.9 + 0.5 * rng.random(),
                ground_floor_m=3.7 if shop else 3.2,
                roof_m=2.0 + 0.8 * rng.random() if pitched else 0.0,
                style=style,
                color=_varied(rng, color, 0.1),
                shop=shop,
                key=int(rng.random() * 2**31),
            )
        )
    return houses


def _barriers(rng: random.Random, block: Block, side: SidePlan, kind: str) -> list[Barrier]:
    low, high = block.plot_span
    if kind == "yard":
        return [Barrier(side.sign, low, high, 2.0 + 0.5 * rng.random(), "wall")]
    if kind == "street":
        return []
    barrier = "fence" if rng.random() < 0.6 else "hedge"
    gate = low + (high - low) * (0.3 + 0.4 * rng.random())
    gate = round(gate * 16) / 16
    height = 1.2 + 0.4 * rng.random()
    return [
        Barrier(side.sign, low, gate - 1.5, height, barrier),
        Barrier(side.sign, gate + 1.5, high, height, barrier),
    ]


def _plant(rng: random.Random, kind: str, x: float, y: float, z: float, height: float) -> Plant:
    variant = int(rng.random() * (TREES if kind == "tree" else BUSHES))
    color = _varied(rng, _pick(rng, _LEAVES), 0.12)
    return Plant(kind, x, y, z, height, variant, color, rng.random() < 0.5)


def _street_trees(rng: random.Random, block: Block, side: SidePlan) -> list[Plant]:
    low, high = block.kerb_span
    y = side.sign * (side.kerb + (side.verge / 2 if side.verge else 0.8))
    likely = 0.8 if side.verge else 0.35
    trees = []
    x = low + 7.0
    while x < high - 5.0:
        if rng.random() < likely:
            trees.append(_plant(rng, "tree", x + rng.random(), y, side.kerb_height_m, 5.8 + 2.6 * rng.random()))
        x += 10.5
    return trees


def _greenery(rng: random.Random, block: Block, side: SidePlan, kind: str) -> list[Plant]:
    low, high = block.plot_span
    trees, bushes, deep = {"street": (0, 0, 0), "garden": (2, 7, 4), "yard": (6, 2, 10), "park": (11, 9, 22)}[kind]
    plants = []
    for wanted, what in ((trees, "tree"), (bushes, "bush")):
        for _ in range(wanted):
            x = low + 2 + (high - low - 4) * rng.random()
            away = 1.2 + (deep - 1.2) * rng.random() ** 1.3
            height = 6.5 + 4.5 * rng.random() if what == "tree" else 1.1 + 1.1 * rng.random()
            plants.append(_plant(rng, what, x, side.sign * (side.front + away), side.kerb_height_m, height))
    return plants


def _posts(rng: random.Random, block: Block, side: SidePlan) -> list[Post]:
    low, high = block.kerb_span
    y = side.sign * (side.kerb + 0.45)
    # Posts keep clear of the trees, which stand every 10.5 m from low + 7 on.
    posts = [
        Post("lamp", low + 2.6 + 31.5 * i, y, side.sign, side.sign, 0) for i in range(2) if low + 31.5 * i < high - 6
    ]
    if rng.random() < 0.75:
        variant = int(rng.random() * 4)
        posts.append(Post("sign", low + 13 + 21 * int(2 * rng.random()), y, side.sign, side.sign, variant))
    if block.junction_follows and side.sign < 0:
        posts.append(Post("light", high - 0.7, y, side.sign, -1, 0))
    if block.junction and side.sign > 0:
        posts.append(Post("light", low + 0.7, y, side.sign, 1, 0))
        posts.append(Post("light", low + 1.4, y, side.sign, -1, 0))
    return posts


def _parked(rng: random.Random, block: Block, side: SidePlan, first_id: int) -> list[Parked]:
    low, high = block.kerb_span
    start = low + (7.0 if block.junction else 1.0)
    end = high - (8.0 if block.junction_follows else 1.0)
    cars: list[Parked] = []
    kinds = tuple(name for name, kind in VEHICLES.items() if kind.class_name == "car")
    x = start
    busy = (0.12 if rng.random() < 0.4 else 0.45) + 0.3 * rng.random()
    while x + 5.4 < end and len(cars) < 19:
        kind = _pick(rng, kinds)
        length = VEHICLES[kind].length
        if rng.random() < busy:
            y = side.sign * (side.kerb - 0.25 - VEHICLES[kind].width / 2 - 0.12 * rng.random())
            color = _pick(rng, BODY_COLORS)
            yaw = (0.0 if side.sign < 0 else math.pi) + 0.03 * (rng.random() - 0.5)
            cars.append(Parked(kind, x + length / 2, y, yaw, color, first_id + len(cars)))
        x += length + 0.8 + 0.9 * rng.random()
    return cars


def _standers(rng: random.Random, block: Block, side: SidePlan, first_id: int) -> list[Stander]:
    low, high = block.plot_span
    standers: list[Stander] = []
    for _ in range(int(rng.random() * 3)):
        x = low + (high - low) * rng.random()
        for friend in range(1 + int(rng.random() * 2)):
            y = side.sign * (side.front - 0.7 - 0.5 * rng.random())
            key = int(rng.random() * 2**31)
            standers.append(Stander("person", x + 0.8 * friend, y, key, first_id + len(standers)))
    if rng.random() < 0.5:
        x = low + (high - low) * rng.random()
        for bike in range(2 + int(rng.random() * 3)):
            key = int(rng.random() * 2**31)
            y = side.sign * (side.front - 0.45)
            standers.append(Stander("bicycle", min(x + 0.7 * bike, low + BLOCK_M), y, key, first_id + len(standers)))
    return standers
