"""How busy a street is beyond its usual life, and how its instance ids are dealt out then."""

from __future__ import annotations

from dataclasses import dataclass

from seg_perception.simulate.layout import BLOCK_IDS, BLOCK_M
from seg_perception.simulate.seeded import stream

__all__ = ["BUSY_BLOCK_IDS", "FIRST_GROUP_ID", "FIRST_MOVER_ID", "QUIET", "Bustle", "mid_crossing"]

FIRST_MOVER_ID = 32769
"""Ids below are for what is at rest, from here on for what moves."""

BUSY_BLOCK_IDS = 256
"""Instance ids set aside for one block of a busy street; all are used anew after 128 blocks, 8 km."""

FIRST_GROUP_ID = 64
"""Where among a busy block's ids those of standing groups begin."""


@dataclass(frozen=True)
class Bustle:
    """What `StreetScene` was asked for; nothing by default.

    Attributes:
        crowds: 0 to 1, how many places where a group of people could stand or walk have one.
        tight_parking: cars stand bumper to bumper along both kerbs.
        crossers: 0 to 1, how many places where people and cyclists could cross the road have some.
    """

    crowds: float = 0.0
    tight_parking: bool = False
    crossers: float = 0.0

    def __bool__(self) -> bool:
        return self != QUIET

    def first_id(self, block: int) -> int:
        """The first instance id of what is at rest in a block."""
        ids = BUSY_BLOCK_IDS if self else BLOCK_IDS
        return 1 + block % ((FIRST_MOVER_ID - 1) // ids) * ids


QUIET = Bustle()


def mid_crossing(seed: int, block: int, bustle: Bustle) -> float | None:
    """Where along the street people cross within a block, between the parked cars; None where they do not."""
    rng = stream(seed, block, 0xAC)
    x = (block + 0.45 + 0.25 * rng.random()) * BLOCK_M
    return x if rng.random() < 0.8 * bustle.crossers else None
