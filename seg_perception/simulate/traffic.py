"""What moves: vehicles in their lanes, cyclists, people on the sidewalks and on the crossings.

Each flow is an endless row of slots that drifts along the street at one speed, so that where everybody is at any
time follows from the seed alone; only positions within a slot, kinds and colours are drawn.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

from seg_perception.simulate.layout import BLOCK_M, JUNCTION_M, Street, is_junction
from seg_perception.simulate.seeded import stream
from seg_perception.simulate.vehicles import BODY_COLORS, VEHICLES

__all__ = ["EGO_SPEED_MPS", "Mover", "movers_at"]

EGO_SPEED_MPS = 9.0

_FIRST_ID = 32769
_FLOW_IDS = 3600

_LANE_KINDS = (
    "hatchback", "saloon", "estate", "suv", "hatchback", "van", "saloon", "suv", "truck", "bus", "hatchback", "estate",
)  # fmt: skip
_BUS_COLORS = ((178, 34, 38), (230, 226, 214), (36, 92, 148))
_TRUCK_COLORS = ((220, 222, 224), (40, 70, 130), (160, 40, 36), (60, 100, 74))
_CROSSING_SPEED_MPS = 1.4
_AHEAD_S = 4.0
"""People have crossed this long before the ego vehicle arrives."""


@dataclass(frozen=True)
class Mover:
    """Something that moves, at one moment.

    Attributes:
        kind: a name of `VEHICLES`, or `walker`, or `cyclist`.
        x, y, z: where it touches the ground, m, street coordinates.
        yaw_rad: where it is headed.
        vx, vy: velocity, m/s, street coordinates.
        key: what it looks like.
        color: of a vehicle's body.
        instance_id: the same all its life; a cyclist's bicycle has the next number.
    """

    kind: str
    x: float
    y: float
    z: float
    yaw_rad: float
    vx: float
    vy: float
    key: int
    color: tuple[int, int, int]
    instance_id: int

    def after(self, drift_m: float) -> Mover:
        """The same, further along the street."""
        return Mover(
            self.kind, self.x + drift_m, self.y, self.z, self.yaw_rad, self.vx, self.vy, self.key, self.color,
            self.instance_id,
        )  # fmt: skip


@dataclass(frozen=True)
class _Flow:
    """A row of slots `slot_m` long at distance y, moving at `speed` along x; a share `filled` of them is taken."""

    number: int
    kind: str
    y: float
    z: float
    speed: float
    slot_m: float
    filled: float
    spread: float


@lru_cache(maxsize=32)
def _flows(street: Street) -> tuple[_Flow, ...]:
    right, left = street.side(-1), street.side(1)
    walk_right = -(right.kerb + right.verge + 0.6 * right.walk)
    walk_left = left.kerb + left.verge + 0.6 * left.walk
    wheel_right, walk_z = street.kerb_right + 2.45, street.kerb_height_m
    return (
        _Flow(0, "vehicle", 0.0, 0.0, EGO_SPEED_MPS, 26.0, 0.7, 0.3),
        _Flow(1, "vehicle", street.lane_m, 0.0, -8.0, 38.0, 0.75, 0.6),
        _Flow(2, "cyclist", wheel_right, 0.0, 4.6, 60.0, 0.6, 0.8),
        _Flow(3, "cyclist", street.lane_m + 1.0, 0.0, -4.9, 150.0, 0.6, 0.8),
        _Flow(4, "walker", walk_right + 0.45, walk_z, 1.35, 17.0, 0.65, 0.8),
        _Flow(5, "walker", walk_right - 0.35, walk_z, -1.25, 19.0, 0.6, 0.8),
        _Flow(6, "walker", walk_left - 0.45, walk_z, -1.4, 18.0, 0.6, 0.8),
        _Flow(7, "walker", walk_left + 0.35, walk_z, 1.2, 16.0, 0.6, 0.8),
    )


def movers_at(seed: int, street: Street, time_s: float, x_from: float, x_to: float) -> list[Mover]:
    """Everything that moves with x in a range, at a time since the start of the drive."""
    movers = []
    for flow in _flows(street):
        drift = flow.speed * time_s
        movers += [starter.after(drift) for starter in _starters(seed, flow, x_from - drift, x_to - drift)]
    return movers + _crossing(seed, street, time_s, x_from, x_to)


def _instance(flow: int, slot: int) -> int:
    return _FIRST_ID + flow * _FLOW_IDS + slot % (_FLOW_IDS // 2) * 2


def _starters(seed: int, flow: _Flow, x_from: float, x_to: float) -> list[Mover]:
    """Those of a flow who are in a range of x when the drive starts."""
    slots = range(math.floor(x_from / flow.slot_m) - 1, math.ceil(x_to / flow.slot_m) + 2)
    found = (_in_slot(seed, flow, slot) for slot in slots)
    return [mover for mover in found if mover is not None and x_from <= mover.x <= x_to]


@lru_cache(maxsize=2048)
def _in_slot(seed: int, flow: _Flow, slot: int) -> Mover | None:
    """Who takes this slot, at the start of the drive."""
    rng = stream(seed, flow.number, slot, 0xF1)
    if rng.random() > flow.filled:
        return None
    # Slot 0 of its own lane is the ego vehicle's. One car drives ahead; then a gap, in which people cross.
    if flow.number == 0 and not (slot == 1 or slot > 6 or slot < -1):
        return None
    x = flow.slot_m * (slot + flow.spread * (rng.random() - 0.5))
    key = int(rng.random() * 2**31)
    y = flow.y + (0.25 * (rng.random() - 0.5) if flow.kind != "vehicle" else 0.0)
    kind, color = (flow.kind, (0, 0, 0)) if flow.kind != "vehicle" else _vehicle(rng)
    yaw = 0.0 if flow.speed > 0 else math.pi
    return Mover(kind, x, y, flow.z, yaw, flow.speed, 0.0, key, color, _instance(flow.number, slot))


def _vehicle(rng: random.Random) -> tuple[str, tuple[int, int, int]]:
    kind = _LANE_KINDS[int(rng.random() * len(_LANE_KINDS))]
    colors = {"bus": _BUS_COLORS, "truck": _TRUCK_COLORS}.get(VEHICLES[kind].class_name, BODY_COLORS)
    return kind, colors[int(rng.random() * len(colors))]


def _crossing(seed: int, street: Street, time_s: float, x_from: float, x_to: float) -> list[Mover]:
    """People at crossings: they wait at the kerb, cross well before the ego vehicle arrives, and stay beyond."""
    movers = []
    for index in range(math.floor(x_from / BLOCK_M), math.floor(x_to / BLOCK_M) + 1):
        if not is_junction(seed, index):
            continue
        for number, x in enumerate((index * BLOCK_M - 2.6, index * BLOCK_M + JUNCTION_M + 2.6)):
            mover = _crosser(seed, street, index, number, x, time_s)
            if mover is not None and x_from <= x <= x_to:
                movers.append(mover)
    return movers


def _in_the_way(seed: int, street: Street, x: float, begin_s: float, end_s: float) -> bool:
    """Whether any vehicle or cyclist comes past x while somebody crosses there."""
    for flow in _flows(street)[:4]:
        passing = sorted(x - flow.speed * time_s for time_s in (begin_s - 1.5, end_s + 1.5))
        if _starters(seed, flow, passing[0], passing[1]):
            return True
    return False


@lru_cache(maxsize=256)
def _crossing_plan(seed: int, street: Street, index: int, number: int, x: float) -> tuple[float, bool, int] | None:
    """When somebody sets out, whether from right to left, and what they look like; None if nobody can cross."""
    rng = stream(seed, index, number, 0xCC)
    leftward, key = rng.random() < 0.5, int(rng.random() * 2**31)
    takes = (street.kerb_left - street.kerb_right + 2.0) / _CROSSING_SPEED_MPS
    for attempt in range(4):
        starts = x / EGO_SPEED_MPS - _AHEAD_S - takes - 1.5 * attempt
        if not _in_the_way(seed, street, x, starts, starts + takes):
            return starts, leftward, key
    return None


def _crosser(seed: int, street: Street, index: int, number: int, x: float, time_s: float) -> Mover | None:
    plan = _crossing_plan(seed, street, index, number, x)
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
    return Mover("walker", x, y, z, yaw, 0.0, vy, key, (0, 0, 0), _instance(8, index * 2 + number))
