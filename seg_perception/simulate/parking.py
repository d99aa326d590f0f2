"""Cars parked bumper to bumper: rows that fill a kerb from end to end."""

from __future__ import annotations

import math
import random

from seg_perception.simulate.layout import Block, Parked, SidePlan
from seg_perception.simulate.vehicles import BODY_COLORS, VEHICLES

__all__ = ["CLEAR_OF_CROSSING_M", "tight_rows"]

CLEAR_OF_CROSSING_M = 2.4
"""Nobody parks nearer than this to where people cross."""

_CARS = tuple(name for name, kind in VEHICLES.items() if kind.class_name == "car")
_LONGEST = max(_CARS, key=lambda name: VEHICLES[name].length)
_GAP_M = (0.13, 0.37)
"""Between two cars' middles of bumpers; that they are not quite parallel takes up to 2 cm more or less."""


def tight_rows(
    rng: random.Random, block: Block, side: SidePlan, first_id: int, crossing_x: float | None
) -> list[Parked]:
    """Cars along a block's kerb, but for junctions and for where people cross (`crossing_x`)."""
    low, high = block.kerb_span
    start, end = low + (7.0 if block.junction else 0.0), high - (8.0 if block.junction_follows else 0.0)
    stretches = [(start, end)]
    if crossing_x is not None:
        stretches = [(start, crossing_x - CLEAR_OF_CROSSING_M), (crossing_x + CLEAR_OF_CROSSING_M, end)]
    cars: list[Parked] = []
    for x0, x1 in stretches:
        kinds = _kinds_for(rng, x1 - x0)
        for kind, x in zip(kinds, _places(rng, kinds, x0, x1)):
            away = side.kerb - 0.12 - VEHICLES[kind].width / 2 - 0.08 * rng.random()
            yaw = (0.0 if side.sign < 0 else math.pi) + 0.02 * (rng.random() - 0.5)
            color = BODY_COLORS[int(rng.random() * len(BODY_COLORS))]
            cars.append(Parked(kind, x, side.sign * away, yaw, color, first_id + len(cars)))
    return cars


def _kinds_for(rng: random.Random, room_m: float) -> list[str]:
    """Cars that fill a stretch of kerb as nearly as can be."""

    def slack(kinds: list[str]) -> float:
        return room_m - sum(VEHICLES[kind].length + _GAP_M[0] for kind in kinds)

    kinds: list[str] = []
    while True:
        kind = _CARS[int(rng.random() * len(_CARS))]
        if slack([*kinds, kind]) < 0:
            break
        kinds.append(kind)
    spare = (_GAP_M[1] - _GAP_M[0]) * len(kinds)
    for index, kind in enumerate(kinds):
        if slack(kinds) <= spare:
            break
        longer = [*kinds[:index], _LONGEST, *kinds[index + 1 :]]
        if VEHICLES[kind].length < VEHICLES[_LONGEST].length and slack(longer) >= 0:
            kinds = longer
    return kinds


def _places(rng: random.Random, kinds: list[str], x0: float, x1: float) -> list[float]:
    """Where their middles are: half a gap before the first, so that rows of neighbouring blocks go on."""
    if not kinds:
        return []
    mean = min((x1 - x0 - sum(VEHICLES[kind].length for kind in kinds)) / len(kinds), _GAP_M[1])
    draws = [rng.random() - 0.5 for _ in kinds]
    reach = 2 * min(mean - _GAP_M[0], _GAP_M[1] - mean)
    gaps = [mean + reach * draw for draw in draws]
    # The last one takes what the others left, so that the row ends half a mean gap before its stretch does.
    places, x = [], x0 + mean / 2
    drift = (sum(gaps) - gaps[-1] - mean * (len(kinds) - 1)) / max(len(kinds) - 1, 1)
    for kind, gap in zip(kinds, gaps):
        length = VEHICLES[kind].length
        places.append(x + length / 2)
        x += length + min(max(gap - drift, _GAP_M[0]), _GAP_M[1])
    return places
