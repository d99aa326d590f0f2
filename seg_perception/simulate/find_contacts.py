"""From a view of a snapshot to the contacts of what is seen: where to look, and what is known of each object."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.contacts import ObjectContacts, Window, sweep
from seg_perception.simulate.extents import corners_of_things
from seg_perception.simulate.objects import SceneObject

if TYPE_CHECKING:
    from seg_perception.simulate.ground_truth import GroundTruth

__all__ = ["find_contacts"]

_RIDER = CITYSCAPES.id_of("rider")
_LIFT_MAX_M = 0.5
"""What is met higher above the ground does not stand there; a truck's body is 0.45 m above it."""

_MARGIN_PX = 2.0
"""How much further than its corners a thing may be drawn: distant cards are drawn from smaller pictures."""

_NEAREST_M = 0.05


def find_contacts(truth: GroundTruth, range_max_m: float, instance_map: np.ndarray | None) -> ObjectContacts:
    """What `GroundTruth.contacts` gives."""
    seen = truth.seen() if instance_map is None else np.unique(instance_map)
    seen = seen[seen > 0].astype(np.uint16)
    things = {thing.instance_id: thing for thing in truth.snapshot.objects}
    unknown = [int(number) for number in seen if int(number) not in things]
    if unknown:
        raise ConfigError(f"instance_map has objects that are not near by: {unknown[:5]}; give that of the same frame")
    search = _Search(truth, range_max_m)
    standing = {int(number) for number in seen if things[int(number)].class_id != _RIDER}
    corners = corners_of_things(truth.snapshot, truth.view, standing)
    found = (search.window(things[number], corners[number]) for number in sorted(corners))
    windows = [window for window in found if window is not None]
    which, bearing, near, far = sweep(windows, search, search.focal_px, search.eye_m)
    numbers = [windows[i].instance_id for i in which]
    ground = search.place(bearing, near)
    return _contacts(
        truth, [things[number] for number in numbers], [corners[number] for number in numbers], ground,
        search.place(bearing, far)[:, 2] - ground[:, 2], truth.polar(bearing, near),
        np.setdiff1d(seen, np.array(numbers, np.uint16)),
    )  # fmt: skip


class _Search:
    """Where to look for a thing's contact, and what is seen there."""

    def __init__(self, truth: GroundTruth, range_max_m: float) -> None:
        self._truth, self._range_max_m = truth, range_max_m
        self.focal_px = max(truth.lens.camera.fx, truth.lens.camera.fy)
        self.eye_m = float(truth.view.eye[2])
        *self._limits, self._nearest_m = _picture_on_ground(truth)
        ahead = truth.view.world_from_optical[:2, 2]
        self._heading_in_world = math.atan2(ahead[1], ahead[0])

    def look(self, bearings: np.ndarray, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, instance_ids, is_ground = self._truth.labels_at(self._truth.polar(bearings, ranges))
        return instance_ids, is_ground

    def touches(self, bearings: np.ndarray, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        ground, met = self.place(bearings, near), self.place(bearings, far)
        in_range = np.linalg.norm(ground[:, :2] - self._truth.view.eye[:2], axis=1) <= self._range_max_m
        return in_range & (met[:, 2] - ground[:, 2] <= _LIFT_MAX_M)

    def place(self, bearings: np.ndarray, ranges: np.ndarray) -> np.ndarray:
        """What is first met there, world frame, `[N, 3]`."""
        return self._truth.first_places(self._truth.polar(bearings, ranges))

    def window(self, thing: SceneObject, corners: np.ndarray) -> Window | None:
        """Where lines of sight to a thing's lowest half metre end; None if out of the picture or of range."""
        away = _from_foot(self._truth, corners)
        bearings, distance = np.arctan2(away[:, 1], away[:, 0]), np.hypot(*away.T)
        margin = _MARGIN_PX / self.focal_px
        low, high = float(bearings.min()) - margin, float(bearings.max()) + margin
        if high - low > math.pi:
            # It begins on one side behind the camera and ends on the other.
            low, high = self._limits
        low, high = max(low, self._limits[0]), min(high, self._limits[1])
        clear = _distance_at_least(away, thing.yaw_rad - self._heading_in_world)
        nearest = _range_on_road(clear, float(corners[:, 2].min()), self.eye_m)
        nearest = 1 / (1 / max(nearest, self._nearest_m) + margin / self.eye_m)
        ground_z = thing.position[2]
        furthest = _range_on_road(float(distance.max()), ground_z + _LIFT_MAX_M, self.eye_m)
        furthest = min(furthest, _range_on_road(self._range_max_m, ground_z, self.eye_m) * 1.01)
        if low >= high or nearest >= furthest:
            return None
        return Window(thing.instance_id, (low, high), nearest, furthest)


def _range_on_road(distance_m: float, z_m: float, eye_m: float) -> float:
    """How far away lines of sight meet the road that pass a place of that height."""
    return distance_m * eye_m / (eye_m - z_m) if eye_m > z_m else math.inf


def _distance_at_least(away: np.ndarray, yaw_rad: float) -> float:
    """From the camera's foot to points `[N, 2]` and all between them: to a box along either of two directions."""
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    turned = away @ np.array([[c, -s], [s, c]])
    gaps = (np.maximum(np.maximum(side.min(axis=0), -side.max(axis=0)), 0.0) for side in (away, turned))
    return max(float(np.hypot(*gap)) for gap in gaps)


def _from_foot(truth: GroundTruth, world: np.ndarray) -> np.ndarray:
    """World points `[N, 3]` as seen from above the camera's foot: ahead along its heading and to the left, `[N, 2]`."""
    base = world @ truth.base_from_world[:3, :3].T + truth.base_from_world[:3, 3]
    c, s = math.cos(truth.heading_rad), math.sin(truth.heading_rad)
    away: np.ndarray = (base[:, :2] - truth.foot_xy) @ np.array([[c, -s], [s, c]])
    return away


def _picture_on_ground(truth: GroundTruth) -> tuple[float, float, float]:
    """The least and the greatest bearing in the picture, and the least range of ground."""
    view, camera = truth.view, truth.view.camera
    column, row = np.arange(-1, camera.width_px + 1), np.arange(-1, camera.height_px + 1)
    sides = [np.stack([column, np.full_like(column, v)], axis=-1) for v in (row[0], row[-1])]
    sides += [np.stack([np.full_like(row, u), row], axis=-1) for u in (column[0], column[-1])]
    pixels = np.concatenate(sides)
    rays = np.column_stack([(pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy), np.ones(len(pixels))])
    turn = view.world_from_optical[:3, :3]
    if truth.lens.sees(np.array([[0.0, 0.0, -1.0]]) @ turn)[0]:
        return -math.pi, math.pi, _NEAREST_M
    # Where the rays meet the road; above the horizon, in their direction.
    along = rays @ turn.T
    share = view.eye[2] / np.maximum(-along[:, 2:], 1e-3 * np.linalg.norm(along, axis=1, keepdims=True))
    away = _from_foot(truth, along * share + view.eye)
    bearings = np.arctan2(away[:, 1], away[:, 0])
    return float(bearings.min()), float(bearings.max()), max(float(np.hypot(*away.T).min()), _NEAREST_M)


def _contacts(
    truth: GroundTruth,
    things: list[SceneObject],
    corners: list[np.ndarray],
    ground: np.ndarray,
    lift: np.ndarray,
    plane_xy: np.ndarray,
    without_contact: np.ndarray,
) -> ObjectContacts:
    """All that is known of the objects whose contacts lie at world points `ground` `[N, 3]`."""
    turn, shift = truth.base_from_world[:3, :3], truth.base_from_world[:3, 3]
    base = ground @ turn.T + shift
    away = _from_foot(truth, ground)
    bearing = np.arctan2(away[:, 1], away[:, 0])
    velocity = np.array([(*thing.velocity, 0.0) for thing in things]).reshape(-1, 3)
    return ObjectContacts(
        instance_ids=np.array([thing.instance_id for thing in things], np.uint16),
        class_ids=np.array([thing.class_id for thing in things], np.uint8),
        contact_xy=base[:, :2],
        contact_z_m=base[:, 2],
        plane_xy=plane_xy,
        range_m=np.hypot(away[:, 0], away[:, 1]),
        bearing_rad=bearing,
        lift_m=lift,
        width_m=np.array([_across(_from_foot(truth, own), angle) for own, angle in zip(corners, bearing)]),
        height_m=np.array([own[:, 2].max() - thing.position[2] for own, thing in zip(corners, things)]),
        sizes_m=np.array([thing.size for thing in things]).reshape(-1, 3),
        footprint_xy=np.array([_footprint(truth, thing) for thing in things]).reshape(-1, 2),
        velocities_mps=(velocity @ turn.T)[:, :2],
        relative_mps=truth.relative_mps(things),
        world_mps=velocity[:, :2],
        without_contact=without_contact,
    )


def _across(away: np.ndarray, bearing_rad: float) -> float:
    """How far points `[N, 2]` reach across a line of sight."""
    return float(np.ptp(away @ (-math.sin(bearing_rad), math.cos(bearing_rad))))


def _footprint(truth: GroundTruth, thing: SceneObject) -> np.ndarray:
    """The place of a thing's box that is nearest to the camera's foot, base frame `[2]`."""
    c, s = math.cos(thing.yaw_rad), math.sin(thing.yaw_rad)
    axes = np.array([[c, s], [-s, c]])
    half = np.array(thing.size[:2]) / 2
    place = np.clip(axes @ (truth.view.eye[:2] - thing.position[:2]), -half, half) @ axes + thing.position[:2]
    base: np.ndarray = truth.base_from_world[:3, :3] @ (*place, thing.position[2]) + truth.base_from_world[:3, 3]
    return base[:2]
