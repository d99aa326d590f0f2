"""What a camera truly sees of the ground around its vehicle, to far less than a pixel.

Nothing here looks at a rendered image. Rays go from the eye to points of the ground, and the first surface on each
is found among all surfaces there are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES, VOID_ID
from seg_perception.simulate.camera import View, check_number, invert_pose
from seg_perception.simulate.contacts import ObjectContacts
from seg_perception.simulate.find_contacts import find_contacts
from seg_perception.simulate.lens import Lens
from seg_perception.simulate.objects import SceneObject
from seg_perception.simulate.visibility import Visibility
from seg_perception.simulate.world import Snapshot

__all__ = ["FREE", "GROUND_IDS", "HIDDEN", "OCCUPIED", "OTHER_GROUND", "ROAD_IDS", "GroundTruth"]

_ROAD = CITYSCAPES.id_of("road")
_SKY = CITYSCAPES.id_of("sky")

ROAD_IDS = frozenset({_ROAD})
GROUND_IDS = frozenset(CITYSCAPES.id_of(name) for name in ("road", "sidewalk", "terrain"))
"""Classes that the ground can have; whatever has one of them here is ground, kerbstones included."""

FREE, OTHER_GROUND, OCCUPIED, HIDDEN = 0, 50, 100, -1
"""Values of a grid, those of nav_msgs/OccupancyGrid."""

_STEP_M = 0.02
_HALVINGS = 8
"""To less than 1e-4 m."""

_POINTS = 200_000
"""How many points are looked at together."""


class GroundTruth:
    """What is seen of the ground at one moment.

    Points are of the base frame's plane z = 0, x forward and y left in metres. Before a slope they stand for the points
    of the street straight above or below them.

    Args:
        snapshot: all there is to see.
        view: the camera through which pictures are drawn.
        lens: what decides whether a point is on the image.
        world_from_base: float64 `[4, 4]`.
        base_from_world_per_s: float64 `[4, 4]`, how fast the inverse changes; by default the vehicle is at rest.

    Attributes:
        foot_xy: the camera's vertical projection on the ground, (x, y).
        heading_rad: the optical axis's direction on the ground, counter-clockwise from x.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        view: View,
        lens: Lens,
        world_from_base: np.ndarray,
        base_from_world_per_s: np.ndarray | None = None,
    ) -> None:
        self.snapshot, self.view, self.lens = snapshot, view, lens
        self.base_from_world = invert_pose(world_from_base)
        self.base_from_world_per_s = np.zeros((4, 4)) if base_from_world_per_s is None else base_from_world_per_s
        self._visibility = Visibility(snapshot, view)
        self._optical_from_plane = _optical_from_plane(world_from_base, view)
        base_from_optical = self.base_from_world @ view.world_from_optical
        x, y = base_from_optical[:2, 3].tolist()
        self.foot_xy = (x, y)
        self.heading_rad = math.atan2(base_from_optical[1, 2], base_from_optical[0, 2])

    def at(self, points_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the ray from the camera's optical centre to each point meets first.

        Args:
            points_xy: float64 `[..., 2]`.

        Returns:
            class_ids: uint8 `[...]`, of the first surface; 255 where the point is not on the image, whose pixels
                cover half a pixel to either side of their integer coordinates, distortion included.
            is_ground: bool `[...]`, whether that surface is ground: the road, or ground of another class. Raised
                ground (`kerb_m` above 0) is met a little before the point itself.
        """
        class_ids, _, is_ground = self.labels_at(points_xy)
        return class_ids, is_ground

    def labels_at(self, points_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Like `at`: class_ids, instance_ids (uint16, 0 for none), is_ground."""
        points = np.asarray(points_xy, np.float64)
        if points.ndim < 1 or points.shape[-1] != 2 or not np.isfinite(points).all():
            raise ConfigError(f"points_xy must be finite numbers [..., 2], got shape {points.shape}; give x and y in m")
        flat = points.reshape(-1, 2)
        parts = [self._labels(flat[i : i + _POINTS]) for i in range(0, max(len(flat), 1), _POINTS)]
        class_ids, instance_ids = (np.concatenate(part).reshape(points.shape[:-1]) for part in zip(*parts))
        return class_ids, instance_ids, np.isin(class_ids, list(GROUND_IDS))

    def _labels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        class_ids = np.full(len(points), VOID_ID, np.uint8)
        instance_ids = np.zeros(len(points), np.uint16)
        optical = self._optical(points)
        on_image = np.flatnonzero(self.lens.sees(optical))
        optical = optical[on_image]
        first = self._visibility.nearest(self.view.camera.project(optical), 1 / optical[:, 2])
        hidden = first >= 0
        class_ids[on_image] = _ROAD
        class_ids[on_image[hidden]] = self._visibility.class_ids[first[hidden]]
        instance_ids[on_image[hidden]] = self._visibility.instance_ids[first[hidden]]
        return class_ids, instance_ids

    def _optical(self, points: np.ndarray) -> np.ndarray:
        """The street at points `[N, 2]` of the base frame, seen from the camera: `[N, 3]`, optical frame."""
        x, y = points[:, :1], points[:, 1:]
        return x * self._optical_from_plane[0] + y * self._optical_from_plane[1] + self._optical_from_plane[2]

    def contacts(self, range_max_m: float = 60.0, instance_map: np.ndarray | None = None) -> ObjectContacts:
        """Where the objects that are seen meet the ground.

        Args:
            range_max_m: from the camera's foot, how far to look, 0.1 to 1000 m.
            instance_map: uint16 `[H, W]`, the frame's `instance_ids`, to spare finding out again which are seen.

        Returns:
            A row for each object with a contact; what that is, `ObjectContacts` says. Nothing that is met more than
            0.5 m above the ground is a contact, nor is a rider, who sits on a bicycle.
        """
        return find_contacts(self, check_number("range_max_m", range_max_m, 0.1, 1000, "m"), instance_map)

    def relative_mps(self, objects: Sequence[SceneObject]) -> np.ndarray:
        """Change per second of objects' x and y in the base frame, which moves and turns: float64 `[N, 2]`."""
        places = np.array([thing.position for thing in objects]).reshape(-1, 3)
        velocities = np.array([(*thing.velocity, 0.0) for thing in objects]).reshape(-1, 3)
        change = self.base_from_world_per_s
        relative = velocities @ self.base_from_world[:3, :3].T + places @ change[:3, :3].T + change[:3, 3]
        return relative[:, :2]

    def seen(self) -> np.ndarray:
        """Instance ids of all that is seen at the picture's pixels' centres, rising, uint16 `[N]`."""
        rays = self.lens.rays()
        first = self._visibility.nearest(self.view.camera.project(rays), np.zeros(len(rays)))
        return np.unique(self._visibility.instance_ids[first[first >= 0]])

    def first_places(self, points_xy: np.ndarray) -> np.ndarray:
        """Where the rays to points `[N, 2]` on the image meet the first surface: float64 `[N, 3]`, world frame."""
        optical = self._optical(points_xy)
        _, inverse = self._visibility.met(self.view.camera.project(optical), 1 / optical[:, 2])
        along = optical / (optical[:, 2] * inverse)[:, None]
        places: np.ndarray = along @ self.view.world_from_optical[:3, :3].T + self.view.eye
        return places

    def polar(self, bearings_rad: np.ndarray, ranges_m: np.ndarray) -> np.ndarray:
        """Points `[..., 2]` at bearings from the camera's heading and ranges from its foot."""
        angle = self.heading_rad + bearings_rad
        return np.stack([np.cos(angle) * ranges_m, np.sin(angle) * ranges_m], axis=-1) + self.foot_xy

    def grid(
        self,
        x_range_m: tuple[float, float],
        y_range_m: tuple[float, float],
        resolution_m: float,
        contact_depth_m: float,
        free_ids: Collection[int] = ROAD_IDS,
        ground_ids: Collection[int] = GROUND_IDS,
    ) -> np.ndarray:
        """The same cell by cell, judged at the cells' centres.

        Args:
            x_range_m, y_range_m: from and to.
            resolution_m: side of a cell; its centre is at low + (i + 0.5) · resolution.
            contact_depth_m: how far behind the last seen ground a thing is still said to stand.
            free_ids: classes of ground where one may drive.
            ground_ids: all classes of ground.

        Returns:
            int8 `[rows, columns]`, rows by rising y, columns by rising x, as nav_msgs/OccupancyGrid has them: `FREE`
            and `OTHER_GROUND` where the ground is seen; `OCCUPIED` where something that is neither ground nor sky
            hides the centre, but not the ground `contact_depth_m` nearer to the camera's foot; `HIDDEN` elsewhere.

        Raises:
            ConfigError: no cell, or too many.
        """
        check_number("contact_depth_m", contact_depth_m, 0, 1000, "m")
        x, y = _centres("x_range_m", x_range_m, resolution_m), _centres("y_range_m", y_range_m, resolution_m)
        points = np.stack(np.meshgrid(x, y), axis=-1)
        class_ids, is_ground = self.at(points)
        values = np.full(class_ids.shape, HIDDEN, np.int8)
        is_ground &= np.isin(class_ids, list(ground_ids))
        values[is_ground] = OTHER_GROUND
        values[is_ground & np.isin(class_ids, list(free_ids))] = FREE
        thing = ~np.isin(class_ids, [*GROUND_IDS, *ground_ids, _SKY, VOID_ID])
        away = points[thing] - self.foot_xy
        distance = np.hypot(away[:, 0], away[:, 1])
        share = np.maximum(distance - contact_depth_m, 0) / np.maximum(distance, 1e-9)
        nearer_ids, nearer_ground = self.at(self.foot_xy + away * share[:, None])
        contact = nearer_ground & np.isin(nearer_ids, list(ground_ids))
        values[thing] = np.where(contact, OCCUPIED, HIDDEN)
        return values

    def contact_range_m(self, bearings_rad: np.ndarray, range_max_m: float) -> np.ndarray:
        """How far the road is seen without a break.

        Args:
            bearings_rad: float64 `[B]`, counter-clockwise from the camera's heading, measured at its foot.
            range_max_m: how far to look, 0.1 to 1000 m.

        Returns:
            float64 `[B]`, metres from the camera's foot, to 1e-4 m: where road stops being seen, be it that other
            ground begins, that something hides it, or that it leaves the image. +inf where it reaches `range_max_m`;
            NaN where no ground is seen at all. Where the first that is seen is no road, the range at which the view
            begins.
        """
        range_max_m = check_number("range_max_m", range_max_m, 0.1, 1000, "m")
        bearings = np.asarray(bearings_rad, np.float64)
        if bearings.ndim != 1 or not np.isfinite(bearings).all():
            raise ConfigError(f"bearings_rad must be finite numbers [B], got shape {bearings.shape}; give radians")
        ranges = np.minimum(np.arange(math.ceil(range_max_m / _STEP_M) + 1) * _STEP_M, range_max_m)
        portion = max(1, _POINTS // len(ranges))
        parts = [self._contact(bearings[i : i + portion], ranges) for i in range(0, len(bearings), portion)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _contact(self, bearings: np.ndarray, ranges: np.ndarray) -> np.ndarray:
        class_ids, is_ground = self.at(self.polar(bearings[:, None], ranges[None, :]))
        on_image, road = class_ids != VOID_ID, is_ground & (class_ids == _ROAD)
        rows, steps = np.arange(len(bearings)), np.arange(len(ranges))
        first = on_image.argmax(axis=1)
        ended = ~road & (steps > first[:, None])
        begins_on_road = road[rows, first]
        change = np.where(begins_on_road, ended.argmax(axis=1), first)
        near, far = ranges[np.maximum(change - 1, 0)], ranges[change]
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            ids, ground = self.at(self.polar(bearings, middle))
            before = np.where(begins_on_road, ground & (ids == _ROAD), ids == VOID_ID)
            near, far = np.where(before, middle, near), np.where(before, far, middle)
        found = np.where(begins_on_road & ~ended.any(axis=1), np.inf, (near + far) / 2)
        return np.where(is_ground.any(axis=1), found, np.nan)


def _optical_from_plane(world_from_base: np.ndarray, view: View) -> np.ndarray:
    """Rows for x, y and 1: what makes an optical point of a point on the base frame's plane z = 0."""
    rows = world_from_base[:3, [0, 1, 3]].T.copy()
    # Straight up or down, in the base frame's sense, to the street's plane.
    rows -= rows[:, 2:] / world_from_base[2, 2] * world_from_base[:3, 2]
    rows[2] -= view.eye
    rotated: np.ndarray = rows @ view.world_from_optical[:3, :3]
    return rotated


def _centres(name: str, limits: tuple[float, float], resolution_m: float) -> np.ndarray:
    check_number("resolution_m", resolution_m, 0.001, 100, "m")
    low, high = (check_number(name, limit, -1e4, 1e4, "m") for limit in limits)
    count = round((high - low) / resolution_m)
    if not 1 <= count <= 10_000:
        raise ConfigError(f"{name} must hold 1 to 10000 cells of {resolution_m:g} m, got {limits}; low comes first")
    return low + (np.arange(count) + 0.5) * resolution_m
