"""How the tracker takes things to move, to be measured, and to be forgotten."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES, LabelSet

__all__ = ["TrackerSpec", "confusable_classes", "walking_classes"]

_CONFUSABLE = (("person", "rider", "motorcycle", "bicycle"), ("car", "truck", "bus", "train"))

_ON_FOOT = ("person", "pedestrian")


def confusable_classes(labels: LabelSet) -> tuple[tuple[int, ...], ...]:
    """The groups of a label set's class ids that one and the same thing may be taken for in turn, by their names."""
    ids = {label.name: label.id for label in labels}
    return tuple(tuple(ids[name] for name in group if name in ids) for group in _CONFUSABLE)


def walking_classes(labels: LabelSet) -> tuple[int, ...]:
    """The class ids of a label set's people on foot, by their names."""
    return tuple(label.id for label in labels if label.name in _ON_FOOT)


@dataclass(frozen=True)
class TrackerSpec:
    """A track's size here is the mean of the sides of its box.

    Attributes:
        memory_s: how long a track is kept that is not seen.
        longest_gap_s: a frame that comes later than this after the one before, or earlier than it, is a clock's jump.
        most: how many things of a frame are tracked, the surest ones; twice as many tracks are kept.
        confusable: groups of class ids, 0 to 255, within which a thing's class may flicker.
        walking: class ids, 0 to 255, of what goes at most `walk_mps` over ground; all else at most `drive_mps`. What is
            seen to go faster was taken for another.
        edge_px, edge_sizes: standard deviation of a box's edge: so many pixels, and so many of the track's sizes.
        edge_speed_sizes: how fast a new box's edges may be, beside what is known around it: sizes per second.
        edge_wander_sizes: how much that changes in a second: sizes per second.
        place_m: standard deviation of places, beside what their covariances say: which part of a thing is lowest.
        speed_mps: how fast a new thing may be, beside the others.
        wander_mps: how much that changes in a second.
        known_mps: a velocity is told when its standard deviation along each axis is at most this.
        jump_std: a measurement so many standard deviations off is a jump: something was hidden, or came into view.

    Raises:
        ConfigError: a number is not above 0 and finite, or a class id is none.
    """

    memory_s: float = 1.0
    longest_gap_s: float = 2.0
    most: int = 128
    confusable: tuple[tuple[int, ...], ...] = confusable_classes(CITYSCAPES)
    walking: tuple[int, ...] = walking_classes(CITYSCAPES)
    edge_px: float = 0.7
    edge_sizes: float = 0.05
    edge_speed_sizes: float = 3.0
    edge_wander_sizes: float = 4.0
    place_m: float = 0.2
    speed_mps: float = 10.0
    wander_mps: float = 2.0
    known_mps: float = 2.0
    jump_std: float = 4.0
    walk_mps: float = 4.0
    drive_mps: float = 25.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "confusable":
                if not all(_are_classes(group) for group in value):
                    raise ConfigError(f"confusable must be groups of class ids, 0 to 255, got {value!r}")
            elif one.name == "walking":
                if not _are_classes(value):
                    raise ConfigError(f"walking must be class ids, 0 to 255, got {value!r}")
            elif isinstance(value, bool) or not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{one.name} must be a number above 0 and finite, got {value!r}")
        if int(self.most) != self.most:
            raise ConfigError(f"most must be a whole number, got {self.most!r}")


def _are_classes(ids: tuple[int, ...]) -> bool:
    return all(isinstance(i, (int, np.integer)) and 0 <= i < 256 for i in ids)
