"""Who crosses a busy street: groups that meet on crossings, and cyclists out of side streets.

Everybody walks straight across at one speed, in a column of their own, so that nobody walks through anybody. They set
out when neither the ego vehicle nor any other is in the way, as late before it as can be.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

from seg_perception.simulate.bustle import Bustle, mid_crossing
from seg_perception.simulate.flows import BUSY_FLOWS_ID, EGO_SPEED_MPS, Mover, flows_of, starters
from seg_perception.simulate.layout import BLOCK_M, JUNCTION_M, Street, is_junction
from seg_perception.simulate.planner import plan_block
from seg_perception.simulate.seeded import stream
from seg_perception.simulate.vehicles import VEHICLES

__all__ = ["crossers_at"]

_BLOCK_IDS, _PLACE_IDS = 40, 12
_BLOCKS = 270
"""After so many blocks, 17 km, instance ids are used anew."""

_COLUMN_M = 0.42
_COLUMNS = 8
_WAVES = 3
_SIDE_STREET_M = 45.0
"""From so far in a side street, measured from the middle of the ego lane, to as far in the opposite one cyclists go."""

_STEP_S = 0.3
_EARLIEST_S = 14.0
_EGO_CLEAR_S = 1.05
"""The ego lane is clear at least so long before the ego vehicle's base frame arrives."""

_EGO_HALF_M = 1.7
_CYCLIST_HALF_M = 0.95


@dataclass(frozen=True)
class _Walk:
    """One who goes from y = `begin` to y = `end`, m, at a speed, from a time on."""

    kind: str
    x: float
    begin: float
    end: float
    speed: float
    starts_s: float
    key: int
    instance_id: int

    def at(self, time_s: float, street: Street) -> Mover | None:
        """Where they are; None where a cyclist is not near."""
        takes = abs(self.end - self.begin) / self.speed
        since = time_s - self.starts_s
        if self.kind == "cyclist" and not 0 <= since < takes:
            return None
        heads = math.copysign(1.0, self.end - self.begin)
        y = self.begin + heads * self.speed * min(max(since, 0.0), takes)
        z = 0.0 if self.kind == "cyclist" or street.kerb_right < y < street.kerb_left else street.kerb_height_m
        vy = heads * self.speed if 0 <= since < takes else 0.0
        yaw = math.copysign(math.pi / 2, heads)
        return Mover(self.kind, self.x, y, z, yaw, 0.0, vy, self.key, (0, 0, 0), self.instance_id, waits=True)


def crossers_at(seed: int, street: Street, time_s: float, x_from: float, x_to: float, bustle: Bustle) -> list[Mover]:
    """All who cross with x in a range, before, while and after they do."""
    blocks = range(math.floor(x_from / BLOCK_M), math.floor(x_to / BLOCK_M) + 2)
    walks = (walk for block in blocks for walk in _walks(seed, street, bustle, block) if x_from <= walk.x <= x_to)
    movers = (walk.at(time_s, street) for walk in walks)
    return [mover for mover in movers if mover is not None]


@lru_cache(maxsize=64)
def _walks(seed: int, street: Street, bustle: Bustle, block: int) -> tuple[_Walk, ...]:
    """All who ever cross in a block, and on the crossing just before it."""
    first_id = BUSY_FLOWS_ID + block % _BLOCKS * _BLOCK_IDS
    x0, middle, walks = block * BLOCK_M, mid_crossing(seed, block, bustle), list[_Walk]()
    places = [x0 - 2.6, x0 + JUNCTION_M + 2.6] if is_junction(seed, block) else []
    places += [middle] if middle is not None else []
    planner = _Planner(seed, street, bustle)
    for number, x in enumerate(places):
        rng = stream(seed, block, number, 0xCD)
        if rng.random() < bustle.crossers or x == middle:
            walks += planner.walkers(rng, x, first_id + number * _PLACE_IDS)
    if is_junction(seed, block):
        rng = stream(seed, block, 0xCE)
        walks += planner.cyclists(rng, x0, first_id + 3 * _PLACE_IDS)
    return tuple(walks)


@dataclass(frozen=True)
class _Planner:
    seed: int
    street: Street
    bustle: Bustle

    def walkers(self, rng: random.Random, x: float, first_id: int) -> list[_Walk]:
        """Groups at one crossing: each sets out from one side, the second to meet the first."""
        columns = self._columns(x)
        rng.shuffle(columns)
        walks: list[_Walk] = []
        leftward, most = rng.random() < 0.5, 2 + round(4 * self.bustle.crowds)
        latest = x / EGO_SPEED_MPS - _EGO_CLEAR_S - 2.0 * rng.random()
        for wave in range(_WAVES):
            size, speed = 1 + int(rng.random() * most), 1.15 + 0.6 * rng.random()
            own, columns = columns[:size], columns[size:]
            waits = rng.random() < 0.3
            begin, end = self._kerbs(leftward)
            found = None if waits else self._start(x, begin, end, speed, latest)
            # Those who find no gap wait, too, until the ego vehicle has passed.
            starts = x / EGO_SPEED_MPS + 2.0 if found is None else found
            for column in own:
                back = 0.15 * rng.random() * math.copysign(1.0, begin - end)
                key, late = int(rng.random() * 2**31), 0.25 * rng.random()
                # A little late, never earlier: the way was looked at for as long.
                walks.append(
                    _Walk("walker", column, begin + back, end - back, speed, starts + late, key, first_id + len(walks))
                )
            leftward = not leftward
            latest -= 0.8 * rng.random() if wave == 0 else 3.0 + 3.0 * rng.random()
        return walks

    def cyclists(self, rng: random.Random, x0: float, first_id: int) -> list[_Walk]:
        """Up to two, from either side."""
        walks = []
        for number, (x, heads) in enumerate(((x0 + 7.2, 1.0), (x0 + 2.8, -1.0))):
            likely, speed, key = rng.random(), 3.4 + 1.4 * rng.random(), int(rng.random() * 2**31)
            latest = x / EGO_SPEED_MPS - _EGO_CLEAR_S - 3.0 * rng.random()
            begin, end = -heads * _SIDE_STREET_M, heads * _SIDE_STREET_M
            starts = self._start(x, begin, end, speed, latest)
            if likely < self.bustle.crossers and starts is not None:
                walks.append(_Walk("cyclist", x, begin, end, speed, starts, key, first_id + 2 * number))
        return walks

    def _kerbs(self, leftward: bool) -> tuple[float, float]:
        low, high = self.street.kerb_right - 0.3, self.street.kerb_left + 0.3
        return (low, high) if leftward else (high, low)

    def _columns(self, x: float) -> list[float]:
        """Where at a crossing one can walk: nothing stands there on either side."""
        block = math.floor(x / BLOCK_M)
        plan = plan_block(self.seed, block, self.street.kerb_height_m, self.bustle)
        low, high = self.street.kerb_right - 1.2, self.street.kerb_left + 1.2
        posts = [post.x for post in plan.posts if low < post.y < high]
        posts += [plant.x for plant in plan.plants if low < plant.y < high]
        places = [x + _COLUMN_M * (i - (_COLUMNS - 1) / 2) for i in range(_COLUMNS)]
        return [place for place in places if all(abs(place - post) > 0.35 for post in posts)]

    def _start(self, x: float, begin: float, end: float, speed: float, latest: float) -> float | None:
        """When to set out so that the ego lane is left before `latest` and nobody is in the way; None for never."""
        leaves = (math.copysign(_EGO_HALF_M, end - begin) - begin) / math.copysign(speed, end - begin)
        for attempt in range(int(_EARLIEST_S / _STEP_S)):
            starts = latest - leaves - _STEP_S * attempt
            if not any(self._meets(x, begin, end, speed, starts, lane) for lane in range(4)):
                return starts
        return None

    def _meets(self, x: float, begin: float, end: float, speed: float, starts: float, lane: int) -> bool:
        """Whether somebody of a lane comes past while one who sets out then is in it."""
        flow = flows_of(self.street, self.bustle)[lane]
        half = 2.0 if flow.kind == "vehicle" else 1.0
        reach = sorted((flow.y + side * half - begin) / (end - begin) for side in (-1.0, 1.0))
        takes = abs(end - begin) / speed
        # The last of a group is a quarter of a second late and a little behind.
        times = starts + takes * reach[0], starts + takes * reach[1] + 0.4
        low, high = sorted(x - flow.speed * time_s for time_s in times)
        for other in starters(self.seed, flow, low - 9.0, high + 9.0):
            room = 2.2 + (VEHICLES[other.kind].length / 2 if other.kind in VEHICLES else _CYCLIST_HALF_M)
            if low - room <= other.x <= high + room:
                return True
        return False
