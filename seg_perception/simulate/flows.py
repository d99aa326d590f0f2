"""What moves along the street: vehicles in their lanes, cyclists, people on the sidewalks.

Each flow is an endless row of slots that drifts along the street at one speed, so that where everybody is at any
time follows from the seed alone; only positions within a slot, kinds and colours are drawn.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from functools import lru_cache

from seg_perception.simulate.bustle import FIRST_MOVER_ID, Bustle
from seg_perception.simulate.groups import LARGEST_GROUP, walking_columns, walking_group
from seg_perception.simulate.layout import Street
from seg_perception.simulate.seeded import stream
from seg_perception.simulate.vehicles import BODY_COLORS, VEHICLES

__all__ = ["BUSY_FLOWS_ID", "EGO_SPEED_MPS", "FLOW_IDS", "Flow", "Mover", "flows_of", "starters"]

EGO_SPEED_MPS = 9.0

FLOW_IDS = 3600
_BUSY_FLOW_IDS = (1800,) * 4 + (3600,) * 4
BUSY_FLOWS_ID = FIRST_MOVER_ID + sum(_BUSY_FLOW_IDS)
"""The first instance id that no flow of a busy street takes."""

_LANE_KINDS = (
    "hatchback", "saloon", "estate", "suv", "hatchback", "van", "saloon", "suv", "truck", "bus", "hatchback", "estate",
)  # fmt: skip
_BUS_COLORS = ((178, 34, 38), (230, 226, 214), (36, 92, 148))
_TRUCK_COLORS = ((220, 222, 224), (40, 70, 130), (160, 40, 36), (60, 100, 74))


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
        waits: stands on both feet while at rest.
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
    waits: bool = False

    def after(self, drift_m: float) -> Mover:
        """The same, further along the street."""
        return replace(self, x=self.x + drift_m)


@dataclass(frozen=True)
class Flow:
    """A row of slots `slot_m` long at distance y, moving at `speed` along x; a share `filled` of them is taken.

    Attributes:
        first_id, slots, slot_ids: instance ids, `slot_ids` for each of `slots` slots; then they are used anew.
        leads: chance of a car that drives right ahead of the ego vehicle.
        grouped: share of the taken slots that hold a group, in `columns` that begin at y and grow to `aside`.
    """

    number: int
    kind: str
    y: float
    z: float
    speed: float
    slot_m: float
    filled: float
    spread: float
    first_id: int = 0
    slots: int = FLOW_IDS // 2
    slot_ids: int = 2
    leads: float = 1.0
    grouped: float = 0.0
    columns: int = 1
    aside: float = 1.0


@lru_cache(maxsize=32)
def flows_of(street: Street, bustle: Bustle) -> tuple[Flow, ...]:
    """The ego lane, the oncoming one, cyclists beside either, then those who walk."""
    wheel_right = street.kerb_right + 2.45
    flows = (
        Flow(0, "vehicle", 0.0, 0.0, EGO_SPEED_MPS, 26.0, 0.7, 0.3),
        Flow(1, "vehicle", street.lane_m, 0.0, -8.0, 38.0, 0.75, 0.6),
        Flow(2, "cyclist", wheel_right, 0.0, 4.6, 60.0, 0.6, 0.8),
        Flow(3, "cyclist", street.lane_m + 1.0, 0.0, -4.9, 150.0, 0.6, 0.8),
        *(_group_flows(street, bustle) if bustle.crowds else _walker_flows(street)),
    )
    if not bustle:
        return tuple(replace(flow, first_id=FIRST_MOVER_ID + flow.number * FLOW_IDS) for flow in flows)
    # Nobody can cross right before the ego vehicle while another drives there: half of the drives are without.
    # And cyclists keep clear of whoever parks or overtakes.
    flows = (
        replace(flows[0], leads=0.5 if bustle.crossers else 1.0),
        flows[1],
        replace(flows[2], y=street.kerb_right + 2.55),
        replace(flows[3], y=street.lane_m + 1.55),
        *flows[4:],
    )
    return tuple(
        replace(
            flow,
            first_id=FIRST_MOVER_ID + sum(_BUSY_FLOW_IDS[: flow.number]),
            slots=_BUSY_FLOW_IDS[flow.number] // flow.slot_ids,
        )
        for flow in flows
    )


def _walker_flows(street: Street) -> tuple[Flow, ...]:
    """Single people on both sidewalks."""
    right, left = street.side(-1), street.side(1)
    walk_right = -(right.kerb + right.verge + 0.6 * right.walk)
    walk_left = left.kerb + left.verge + 0.6 * left.walk
    walk_z = street.kerb_height_m
    return (
        Flow(4, "walker", walk_right + 0.45, walk_z, 1.35, 17.0, 0.65, 0.8),
        Flow(5, "walker", walk_right - 0.35, walk_z, -1.25, 19.0, 0.6, 0.8),
        Flow(6, "walker", walk_left - 0.45, walk_z, -1.4, 18.0, 0.6, 0.8),
        Flow(7, "walker", walk_left + 0.35, walk_z, 1.2, 16.0, 0.6, 0.8),
    )


def _group_flows(street: Street, bustle: Bustle) -> tuple[Flow, ...]:
    """Groups and single people, on either sidewalk all in one direction: nobody walks through anybody."""
    flows = []
    for number, sign, speed, slot_m in ((4, -1, 1.3, 15.0), (6, 1, -1.2, 14.0)):
        side = street.side(sign)
        columns = walking_columns(side)
        flows.append(
            Flow(
                number, "walker", sign * (side.front - columns[0]), street.kerb_height_m, speed, slot_m, 0.85, 0.3,
                slot_ids=LARGEST_GROUP, grouped=bustle.crowds, columns=len(columns), aside=-float(sign),
            )
        )  # fmt: skip
    return tuple(flows)


def starters(seed: int, flow: Flow, x_from: float, x_to: float) -> list[Mover]:
    """Those of a flow who are in a range of x when the drive starts."""
    slots = range(math.floor(x_from / flow.slot_m) - 1, math.ceil(x_to / flow.slot_m) + 2)
    return [mover for slot in slots for mover in _in_slot(seed, flow, slot) if x_from <= mover.x <= x_to]


@lru_cache(maxsize=2048)
def _in_slot(seed: int, flow: Flow, slot: int) -> tuple[Mover, ...]:
    """Who takes this slot, at the start of the drive."""
    rng = stream(seed, flow.number, slot, 0xF1)
    draw = rng.random()
    if draw > flow.filled:
        return ()
    # Slot 0 of its own lane is the ego vehicle's. One car drives ahead; then a gap, in which people cross.
    if flow.number == 0 and not ((slot == 1 and draw <= flow.leads * flow.filled) or slot > 6 or slot < -1):
        return ()
    x = flow.slot_m * (slot + flow.spread * (rng.random() - 0.5))
    key = int(rng.random() * 2**31)
    y = flow.y + (0.25 * (rng.random() - 0.5) if flow.kind != "vehicle" else 0.0)
    kind, color = (flow.kind, (0, 0, 0)) if flow.kind != "vehicle" else _vehicle(rng)
    yaw = 0.0 if flow.speed > 0 else math.pi
    first = Mover(
        kind, x, y, flow.z, yaw, flow.speed, 0.0, key, color, flow.first_id + slot % flow.slots * flow.slot_ids
    )
    return _group_of(rng, flow, first) if flow.grouped else (first,)


def _group_of(rng: random.Random, flow: Flow, first: Mover) -> tuple[Mover, ...]:
    """A group in the place of one walker, or that walker."""
    if rng.random() >= flow.grouped:
        return (first,)
    return tuple(
        replace(
            first, x=first.x + math.copysign(1.0, flow.speed) * member.ahead_m, key=member.key,
            y=flow.y + flow.aside * member.aside_m, instance_id=first.instance_id + number,
        )
        for number, member in enumerate(walking_group(rng, flow.columns))
    )  # fmt: skip


def _vehicle(rng: random.Random) -> tuple[str, tuple[int, int, int]]:
    kind = _LANE_KINDS[int(rng.random() * len(_LANE_KINDS))]
    colors = {"bus": _BUS_COLORS, "truck": _TRUCK_COLORS}.get(VEHICLES[kind].class_name, BODY_COLORS)
    return kind, colors[int(rng.random() * len(colors))]
