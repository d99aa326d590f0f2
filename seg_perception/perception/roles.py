"""What a class means to a planner, as one byte a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.labels import ROLES, VOID_ID, LabelSet

__all__ = ["BEYOND", "CAUTION", "DRIVABLE", "EDGE", "IGNORED", "IS_GROUND", "OBSTACLE", "UNSEEN", "role_table"]

DRIVABLE, EDGE, CAUTION, OBSTACLE, IGNORED, UNSEEN, BEYOND = range(7)
"""Codes of `labels.ROLES`, of drivable ground in the very cell beside an obstacle, of what is not in the picture, and
of what is further away than anybody asked."""

assert DRIVABLE < EDGE < min(CAUTION, OBSTACLE, IGNORED, UNSEEN, BEYOND), "grid and rays compare codes"

IS_GROUND = np.isin(np.arange(256), (DRIVABLE, EDGE, CAUTION))
"""Bool `[256]` by code."""

_CODES = dict(zip(ROLES, (DRIVABLE, CAUTION, OBSTACLE, IGNORED)))


def role_table(labels: LabelSet, regrouped: Mapping[str, Sequence[str]] | None = None) -> np.ndarray:
    """uint8 `[256]`: the role's code by class id; what is no class, void among it, is ignored.

    Args:
        regrouped: class names by role; each takes this role instead of the label set's own.

    Raises:
        ConfigError: no such class, no such role, or a class in two of them.
    """
    table = np.full(256, IGNORED, np.uint8)
    for label in labels:
        table[label.id] = _CODES[label.role]
    ids = {label.name: label.id for label in labels}
    taken: dict[str, str] = {}
    for role, names in (regrouped or {}).items():
        for name in filter(None, names):
            if name not in ids:
                raise ConfigError(f"{role}_classes: {name!r} is no class of {labels.name}; it has {', '.join(ids)}")
            if name in taken:
                raise ConfigError(f"{role}_classes: {name!r} is in {taken[name]}_classes already; name it once")
            taken[name] = role
            table[ids[name]] = _CODES[role]
    table[VOID_ID] = IGNORED
    table.setflags(write=False)
    return table
