"""Everything that moves: along the street (see flows), and across it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from seg_perception.simulate.bustle import FIRST_MOVER_ID, QUIET, Bustle
from seg_perception.simulate.crossings import crossers_at
from seg_perception.simulate.flows import BUSY_FLOWS_ID, EGO_SPEED_MPS, FLOW_IDS, Mover, flows_of, starters
from seg_perception.simulate.layout import BLOCK_M, JUNCTION_M, Street, is_junction
from seg_perception.simulate.seeded import stream

__all__ = ["EGO_SPEED_MPS", "Mover", "movers_at"]

_CROSSING_SPEED_MPS = 1.4
_AHEAD_S = 4.0
"""People have crossed this long before the ego vehicle arrives."""


def movers_at(
    seed: int, street: Street, time_s: float, x_from: float, x_to: float, bustle: Bustle = QUIET
) -> list[Mover]:
    """Everything that moves with x in a range, at a time since the start of the drive."""
    movers = []
    for flow in flows_of(street, bustle):
        drift = flow.speed * time_s
        movers += [starter.after(drift) for starter in starters(seed, flow, x_from - drift, x_to - drift)]
    if bustle.crowds:
        movers = [mover if mover.z == 0.0 else replace(mover, z=_walk_z(seed, street, mover.x)) for mover in movers]
    across = crossers_at if bustle.crossers else _crossing
    return movers + across(seed, street, time_s, x_from, x_to, bustle)


def _walk_z(seed: int, street: Street, x: float) -> float:
    """Height of the ground where people walk along the street: side streets have no kerb."""
    block = math.floor(x / BLOCK_M)
    return 0.0 if x - block * BLOCK_M < JUNCTION_M and is_junction(seed, block) else street.kerb_height_m


def _crossing(seed: int, street: Street, time_s: float, x_from: float, x_to: float, bustle: Bustle) -> list[Mover]:
    """People at crossings: they wait at the kerb, cross well before the ego vehicle arrives, and stay beyond."""
    movers = []
    for index in range(math.floor(x_from / BLOCK_M), math.floor(x_to / BLOCK_M) + 1):
        if not is_junction(seed, index):
            continue
        for number, x in enumerate((index * BLOCK_M - 2.6, index * BLOCK_M + JUNCTION_M + 2.6)):
            mover = _crosser(seed, street, bustle, index, number, x, time_s)
            if mover is not None and x_from <= x <= x_to:
                movers.append(mover)
    return movers


def _in_the_way(seed: int, street: Street, bustle: Bustle, x: float, begin_s: float, end_s: float) -> bool:
    """Whether any vehicle or cyclist comes past x while somebody crosses there."""
    for flow in flows_of(street, bustle)[:4]:
        passing = sorted(x - flow.speed * time_s for time_s in (begin_s - 1.5, end_s + 1.5))
        if starters(seed, flow, passing[0], passing[1]):
            return True
    return False


@lru_cache(maxsize=256)
def _crossing_plan(
    seed: int, street: Street, bustle: Bustle, index: int, number: int, x: float
) -> tuple[float, bool, int] | None:
    """When somebody sets out, whether from right to left, and what they look like; None if nobody can cross."""
    rng = stream(seed, index, number, 0xCC)
    leftward, key = rng.random() < 0.5, int(rng.random() * 2**31)
    takes = (street.kerb_left - street.kerb_right + 2.0) / _CROSSING_SPEED_MPS
    for attempt in range(4):
        starts = x / EGO_SPEED_MPS - _AHEAD_S - takes - 1.5 * attempt
        if not _in_the_way(seed, street, bustle, x, starts, starts + takes):
            return starts, leftward, key
    return None


def _crosser(
    seed: int, street: Street, bustle: Bustle, index: int, number: int, x: float, time_s: float
) -> Mover | None:
    plan = _crossing_plan(seed, street, bustle, index, number, x)
    if plan is None:
        return None
    starts, leftward, key = plan
    low, high = street.kerb_right - 1.0, street.kerb_left + 1.0
    takes = (high - low) / _CROSSING_SPEED_MPS
    walked = min(max(time_s - starts, 0.0), takes) * _CROSSING_SPEED_MPS
    y = low + walked if leftward else high - walked
    moving = 0.0 < walked < high - low
    vy = (_CROSSING_SPEED_MPS if leftward else -_CROSSING_SPEED_MPS) if moving else 0.0
    z = 0.0 if street.kerb_right < y < street.kerb_left else street.kerb_height_m
    yaw = math.pi / 2 if leftward else -math.pi / 2
    first_id, ids = (BUSY_FLOWS_ID if bustle else FIRST_MOVER_ID + 8 * FLOW_IDS), FLOW_IDS // 2
    return Mover("walker", x, y, z, yaw, 0.0, vy, key, (0, 0, 0), first_id + (index * 2 + number) % ids * 2)
