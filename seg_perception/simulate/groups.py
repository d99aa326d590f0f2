"""Groups of people who touch each other: who stands in them, and where, on the sidewalks."""

from __future__ import annotations

import random
from dataclasses import dataclass

from seg_perception.simulate.layout import Block, SidePlan, Stander

__all__ = ["LARGEST_GROUP", "VIEWS", "Member", "standing_groups", "walking_columns", "walking_group"]

LARGEST_GROUP = 9

VIEWS = ("still", "back", "left", "right")
"""How a person at rest is seen: `still` is from the front."""

_SHOULDER_M = 0.43
"""From one to the next: shoulder to shoulder."""

_SITE_M = 9.0
"""One place for a standing group in so many metres of sidewalk."""


@dataclass(frozen=True)
class Member:
    """Somebody in a group: how far ahead of its first row (negative: behind), beyond its first column; their look."""

    ahead_m: float
    aside_m: float
    key: int


def standing_groups(
    rng: random.Random, block: Block, side: SidePlan, first_id: int, crowds: float, taken: tuple[Stander, ...]
) -> list[Stander]:
    """People in groups in front of the plots of a block's side, clear of those who stand there (`taken`)."""
    low, high = block.plot_span
    people: list[Stander] = []
    for site in range(int((high - low) / _SITE_M)):
        x = low + _SITE_M * (site + 0.1 + 0.5 * rng.random())
        likely, size, first_draw = rng.random(), 2 + int(rng.random() * 8), rng.random()
        draws = [(rng.random(), rng.random(), rng.random(), rng.random()) for _ in range(LARGEST_GROUP)]
        length = _SHOULDER_M * (size // 2 + 1)
        busy = any(other.y * side.sign > 0 and x - 1.2 < other.x < x + length + 1.2 for other in taken)
        if likely >= crowds or busy:
            continue
        for number, (ahead, aside, facing, key) in zip(range(size), draws):
            column, row = divmod(number, 2)
            place = x + _SHOULDER_M * (column + 0.5 * row) + 0.04 * (ahead - 0.5)
            away = side.front - 0.32 - 0.38 * row - 0.04 * (aside - 0.5)
            view = VIEWS[int((first_draw + 0.5 * facing) * 4) % 4]
            people.append(Stander("person", place, side.sign * away, int(key * 2**31), first_id + len(people), view))
    return people


def walking_columns(side: SidePlan) -> list[float]:
    """Distances from the plots, rising, at which people of a group walk side by side."""
    first, room = 1.12, side.walk - (0.35 if side.verge else 1.0)
    return [first + _SHOULDER_M * i for i in range(max(1, min(4, 1 + int((room - first) / _SHOULDER_M))))]


def walking_group(rng: random.Random, columns: int) -> list[Member]:
    """Two to nine people in rows."""
    size = 2 + int(rng.random() * (LARGEST_GROUP - 1))
    members = []
    for number in range(size):
        row, column = divmod(number, columns)
        ahead = -0.62 * row + 0.1 * (rng.random() - 0.5) - 0.2 * (column % 2)
        members.append(Member(ahead, _SHOULDER_M * column + 0.04 * (rng.random() - 0.5), int(rng.random() * 2**31)))
    return members
