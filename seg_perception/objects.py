"""Countable things in one frame, as arrays with a row for each: what they are, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Objects", "Obstacles"]


@dataclass(frozen=True)
class Objects:
    """Countable things in a class map. Row i is number i + 1 of the instance map.

    Attributes:
        instance_map: uint16 `[h, w]`, of the class map's size: 0 where no object is, else 1 … n.
        class_ids: uint8 `[n]`.
        scores: float32 `[n]`, 0 to 1: how sure the model is of the class, and of the thing.
        areas: int32 `[n]`, cells of the map.
        boxes: int32 `[n, 4]`, (x begin, y begin, x end, y end), tight, in cells of the map, ends excluded.
        left_out: how many things were found and not kept, by why: `too_small`, `low_score`, `too_many`; and
            `bad_cells`, cells of the heads that were no numbers. Their cells of the instance map are 0.
        track_ids: int64 `[n]`, the same for the same thing from frame to frame; None before tracking.
        clock_jumped: so far that all tracks begin anew with this frame.
        boxes_px: float64 `[n, 4]`, (x min, y min, x max, y max), edges on the camera's image, whose pixel centres are
            at integers: a box of the pixels 3 to 5 is from 2.5 to 5.5; None before it was asked for.
    """

    instance_map: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    left_out: Mapping[str, int] = field(default_factory=dict)
    track_ids: np.ndarray | None = None
    boxes_px: np.ndarray | None = None
    clock_jumped: bool = False

    def __post_init__(self) -> None:
        n = len(self.class_ids)
        shapes = {"class_ids": (n,), "scores": (n,), "areas": (n,), "boxes": (n, 4)}
        if self.track_ids is not None:
            shapes["track_ids"] = (n,)
        if self.boxes_px is not None:
            shapes["boxes_px"] = (n, 4)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {getattr(self, name).shape}")
        if self.instance_map.dtype != np.uint16 or self.instance_map.ndim != 2:
            raise ValueError(f"instance_map must be uint16 [h, w], got {self.instance_map.dtype}")

    def __len__(self) -> int:
        return len(self.class_ids)

    @classmethod
    def none(cls, map_hw: tuple[int, int], left_out: Mapping[str, int] | None = None) -> Objects:
        """No object in a map of this size."""
        return cls(
            np.zeros(map_hw, np.uint16), np.empty(0, np.uint8), np.empty(0, np.float32), np.empty(0, np.int32),
            np.empty((0, 4), np.int32), left_out or {},
        )  # fmt: skip


@dataclass(frozen=True)
class Obstacles:
    """Objects whose contact with the ground is seen, in metres, in the ground frame (REP 103). One row each.

    Attributes:
        frame_id: the ground frame.
        ground_z_m: z of the ground in it.
        rows: intp `[m]`, which object of the frame's `Objects` each is.
        positions_m: float64 `[m, 2]`, (x, y) of the nearest place at which the object is seen to meet the ground.
        covariances_m2: float64 `[m, 2, 2]`, of the positions.
        widths_m: float64 `[m]`, across the line of sight, at the contact's distance.
        heights_m: float64 `[m]`, above the ground; at least so much where the picture's edge cuts the top off.
        ranges_m: float64 `[m]`, of the position from the camera's foot.
        bearings_rad: float64 `[m]`, from the camera's heading, counter-clockwise.
        contacts_m: float64 `[k, 2]`, the places where the objects are seen to meet the ground, left to right.
        contact_rows: intp `[k]`, the row here that each of these belongs to.
        without_contact: how many objects of the frame have no contact in view and are not here.
        velocities_mps: float64 `[m, 2]`, along the ground frame's axes; NaN as long as it is not known.
        is_relative: the velocities are relative to the vehicle, not to the ground: nobody says how the vehicle moves.
        heading_rad: the camera's, in the ground frame, counter-clockwise from x: where a bearing of 0 points.
    """

    frame_id: str
    ground_z_m: float
    rows: np.ndarray
    positions_m: np.ndarray
    covariances_m2: np.ndarray
    widths_m: np.ndarray
    heights_m: np.ndarray
    ranges_m: np.ndarray
    bearings_rad: np.ndarray
    contacts_m: np.ndarray
    contact_rows: np.ndarray
    without_contact: int
    velocities_mps: np.ndarray
    is_relative: bool = True
    heading_rad: float = 0.0

    def __post_init__(self) -> None:
        m, k = len(self.rows), len(self.contact_rows)
        shapes = {
            "positions_m": (m, 2), "covariances_m2": (m, 2, 2), "widths_m": (m,), "heights_m": (m,), "ranges_m": (m,),
            "bearings_rad": (m,), "contacts_m": (k, 2), "velocities_mps": (m, 2),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.rows)
