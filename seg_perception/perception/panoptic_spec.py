"""What counts as an object: which classes, how large, how sure, and how many of them a panoptic map can number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.labels import LabelSet

__all__ = ["VOID_PANOPTIC", "PanopticSpec", "check_divisor", "spec_for"]

VOID_PANOPTIC = 65535
"""Value of a panoptic map where nothing is known, or no object was kept."""

_MOST = VOID_PANOPTIC - 1
"""An instance map is uint16; 65535 stays free."""


@dataclass(frozen=True)
class PanopticSpec:
    """What counts as an object.

    Attributes:
        is_thing: bool `[256]`, by class id.
        min_areas: float64 `[256]`, by class id: smaller objects are left out, cells of the class map.
        min_scores: float64 `[256]`, by class id: objects with a lower score are left out, 0 to 1.
        nms_cells: side of the square within which two centres are one, cells of the heads: 3 is 12 pixels of the
            input at stride 4. An even number counts as the next odd one.
        most: at most this many objects, 1 to 65534; the largest are kept.
        centre_threshold: cells with less heat are no centre.
        top_k: at most this many centres; the hottest are kept.
    """

    is_thing: np.ndarray
    min_areas: np.ndarray
    min_scores: np.ndarray
    nms_cells: int
    most: int
    centre_threshold: float = 0.3
    top_k: int = 200

    def __post_init__(self) -> None:
        for name, dtype in (("is_thing", np.bool_), ("min_areas", np.float64), ("min_scores", np.float64)):
            array = getattr(self, name)
            if not (isinstance(array, np.ndarray) and array.shape == (256,) and array.dtype == dtype):
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ValueError(f"{name} must be {np.dtype(dtype).name} [256], one for each class id, got {got}")
        if self.nms_cells < 1 or self.top_k < 1 or not 1 <= self.most <= _MOST:
            got = f"nms_cells {self.nms_cells}, top_k {self.top_k}, most {self.most}"
            raise ValueError(f"nms_cells and top_k must be at least 1, most 1 to {_MOST}, got {got}")


def spec_for(
    labels: LabelSet,
    *,
    min_area: float,
    min_areas: Mapping[str, float] | None = None,
    min_score: float = 0.0,
    min_scores: Mapping[str, float] | None = None,
    nms_cells: int = 3,
    divisor: int = 1000,
) -> PanopticSpec:
    """The spec for a label set, with limits for all classes and for single ones by name.

    Args:
        min_area, min_areas: cells of the class map.
        min_score, min_scores: 0 to 1.
        divisor: of the panoptic map, for which see `check_divisor`.

    Raises:
        LabelError: a name that is no class of the label set.
        ConfigError: the divisor is too small or too large for the label set.
    """
    check_divisor(labels, divisor)
    is_thing = np.zeros(256, np.bool_)
    is_thing[[label.id for label in labels if label.is_thing]] = True
    areas, scores = np.full(256, float(min_area)), np.full(256, float(min_score))
    for table, named in ((areas, min_areas), (scores, min_scores)):
        for name, number in (named or {}).items():
            table[labels.id_of(name)] = number
    return PanopticSpec(is_thing, areas, scores, nms_cells, min(divisor - 1, _MOST))


def check_divisor(labels: LabelSet, divisor: int) -> None:
    """Whether class × divisor + instance can be told in 16 bits for every class, 65535 apart; ConfigError if not."""
    largest = VOID_PANOPTIC // len(labels)
    if divisor < 2:
        raise ConfigError(f"panoptic_divisor: expected at least 2, so that one object has a number, got {divisor}")
    if (len(labels) - 1) * divisor + divisor - 1 >= VOID_PANOPTIC:
        raise ConfigError(
            f"panoptic_divisor: {len(labels)} classes of {labels.name} x {divisor} do not fit below {VOID_PANOPTIC}, "
            f"which is void; expected at most {largest}: set panoptic_divisor to {largest} or less"
        )
