"""What stands still along the street, as plain data: a function of the seed and the block's number.

Places are in street coordinates (see bend): x along the street, the ego lane's centre is y = 0, oncoming traffic is on
the left. The street is cut into blocks of `BLOCK_M`. A block may begin with a junction, where a side street crosses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from seg_perception.simulate.seeded import stream

__all__ = [
    "BLOCK_M",
    "BLOCK_IDS",
    "JUNCTION_M",
    "KERB_M",
    "PLOT_DEPTH_M",
    "Barrier",
    "Block",
    "Building",
    "Color",
    "Parked",
    "Plant",
    "Post",
    "SidePlan",
    "Stander",
    "Street",
    "is_junction",
    "street_of",
]

BLOCK_M = 64.0
JUNCTION_M = 10.0
"""How much of a block's beginning a side street takes."""

KERB_M = 0.125
"""Usual height of sidewalks and verges over the road. Houses and barriers are built for it, whatever the kerb."""

PLOT_DEPTH_M = 64.0
"""How far behind the plot line a side street ends at a house."""

BLOCK_IDS = 64
"""Instance ids set aside for one block."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Street:
    """Cross-section, the same along the whole drive. y in metres, all multiples of 1/16.

    Attributes:
        lane_m: width of a lane; lane centres at y = 0 and y = `lane_m`.
        kerb_right, kerb_left: where the road ends.
        verge_right, verge_left: width of the planted strip beside the kerb, 0 for none.
        walk_right, walk_left: width of the sidewalk beyond it.
        kerb_height_m: of sidewalks and verges over the road; with 0 all ground is one plane.
    """

    lane_m: float
    kerb_right: float
    kerb_left: float
    verge_right: float
    verge_left: float
    walk_right: float
    walk_left: float
    kerb_height_m: float = KERB_M

    def side(self, sign: int) -> SidePlan:
        """The right (−1) or left (+1) side."""
        if sign < 0:
            return SidePlan(-1, -self.kerb_right, self.verge_right, self.walk_right, self.kerb_height_m)
        return SidePlan(1, self.kerb_left, self.verge_left, self.walk_left, self.kerb_height_m)


@dataclass(frozen=True)
class SidePlan:
    """One side of the street; distances from y = 0, positive, and how high its ground lies over the road."""

    sign: int
    kerb: float
    verge: float
    walk: float
    kerb_height_m: float

    @property
    def front(self) -> float:
        """Where the plots begin."""
        return self.kerb + self.verge + self.walk


@dataclass(frozen=True)
class Building:
    """A house; `sign` is the side it stands on, `setback` how far behind the plot line, `style` how it is painted."""

    sign: int
    x0: float
    x1: float
    setback: float
    storeys: int
    floor_m: float
    ground_floor_m: float
    roof_m: float
    style: str
    color: Color
    shop: bool
    key: int

    @property
    def eaves(self) -> float:
        """Height of the wall above the road."""
        return KERB_M + self.ground_floor_m + (self.storeys - 1) * self.floor_m + 0.5


@dataclass(frozen=True)
class Barrier:
    """A `wall`, `fence` or `hedge` along the plot line."""

    sign: int
    x0: float
    x1: float
    height: float
    kind: str


@dataclass(frozen=True)
class Plant:
    """A tree or a bush, standing at (x, y) on ground of height z."""

    kind: str
    x: float
    y: float
    z: float
    height: float
    variant: int
    color: Color
    mirrored: bool


@dataclass(frozen=True)
class Post:
    """A `lamp`, `sign` or `light` (traffic light) at (x, y); `facing` is −1 for one that faces the ego lane."""

    kind: str
    x: float
    y: float
    sign: int
    facing: int
    variant: int


@dataclass(frozen=True)
class Parked:
    """A vehicle at rest."""

    kind: str
    x: float
    y: float
    yaw_rad: float
    color: Color
    instance_id: int


@dataclass(frozen=True)
class Stander:
    """A person or a bicycle at rest; `view`: a person is seen from the front (`still`), `back`, `left` or `right`."""

    kind: str
    x: float
    y: float
    key: int
    instance_id: int
    view: str = "still"

    @property
    def yaw_rad(self) -> float:
        """Where they are headed."""
        # One who is seen from the front has always been told to look ahead, as racks of bicycles do.
        return {"left": math.pi / 2, "right": -math.pi / 2}.get(self.view, 0.0)


@dataclass(frozen=True)
class Block:
    """Everything at rest in x from `index` · `BLOCK_M` on; `key` is the source of further details.

    `crowd` are those who stand in groups; they throw shadows.
    """

    index: int
    key: int
    junction: bool
    junction_follows: bool
    side_kinds: tuple[str, str]
    buildings: tuple[Building, ...]
    barriers: tuple[Barrier, ...]
    plants: tuple[Plant, ...]
    posts: tuple[Post, ...]
    parked: tuple[Parked, ...]
    standers: tuple[Stander, ...]
    crowd: tuple[Stander, ...] = ()

    @property
    def x0(self) -> float:
        return self.index * BLOCK_M

    @property
    def kerb_span(self) -> tuple[float, float]:
        """Where the sidewalks begin and end along x."""
        return self.x0 + (JUNCTION_M if self.junction else 0.0), self.x0 + BLOCK_M

    @property
    def plot_span(self) -> tuple[float, float]:
        """Where the plots begin and end: beside a side street there is a sidewalk, too."""
        low, high = self.kerb_span
        return low + (2.5 if self.junction else 0.0), high - (2.5 if self.junction_follows else 0.0)


@lru_cache(maxsize=32)
def street_of(seed: int, kerb_height_m: float = KERB_M) -> Street:
    """The cross-section that belongs to a seed; the kerb's height does not."""
    rng = stream(seed, 0x57)
    lane = 3.375 if rng.random() < 0.5 else 3.5
    verge_right = 1.5 if rng.random() < 0.7 else 0.0
    verge_left = 1.5 if verge_right == 0.0 or rng.random() < 0.35 else 0.0
    return Street(
        lane_m=lane,
        kerb_right=-(lane / 2 + 2.3125),
        kerb_left=1.5 * lane + 2.3125,
        verge_right=verge_right,
        verge_left=verge_left,
        walk_right=2.5 + 0.5 * int(3 * rng.random()),
        walk_left=2.5 + 0.5 * int(3 * rng.random()),
        kerb_height_m=kerb_height_m,
    )


def is_junction(seed: int, index: int) -> bool:
    """Whether a side street crosses at the beginning of this block; never in two neighbouring blocks."""

    def wanted(i: int) -> float:
        return stream(seed, i, 0x10).random()

    own = wanted(index)
    return own < 0.6 and own < wanted(index - 1) and own < wanted(index + 1)
