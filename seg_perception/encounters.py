"""Who and what is about: countable things found, followed and placed on the ground, frame after frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from seg_perception.backends import Backend
from seg_perception.config import CameraConfig, PipelineConfig
from seg_perception.errors import ConfigError
from seg_perception.fit import Fit
from seg_perception.geometry.ground import GroundCamera
from seg_perception.labels import LabelSet
from seg_perception.objects import Objects, Obstacles
from seg_perception.parameters import numbers_by_class
from seg_perception.perception.drift import Odometer
from seg_perception.perception.obstacles import ObstacleFinder, PoseNoise
from seg_perception.perception.panoptic import VOID_PANOPTIC, PanopticSpec, find_objects, panoptic_map, spec_for
from seg_perception.perception.roles import IS_GROUND
from seg_perception.perception.silhouettes import Silhouettes
from seg_perception.perception.tracking import Tracker, TrackerSpec, confusable_classes, walking_classes
from seg_perception.types import Frame, Heads

__all__ = ["Encounters", "ThingRules"]

_SEATED = ("rider",)
"""Classes whose lowest part is on what they ride."""

_ODOMETRY_GAP_S = 1.0
"""So long after the last word from odometry, velocities are not yet called relative."""


@dataclass(frozen=True)
class ThingRules:
    """What a configuration says of countable things.

    Attributes:
        spec: what counts as an object; its areas are pixels of the model's input.
        divisor: of `~/panoptic`.
        is_ground: bool `[256]`, by class id: things stand on it.
        stands: bool `[256]`, by class id: it may meet the ground; who rides does not.
        nms_window_px: side of the square with room for one centre, pixels of the model's input: 3x3 cells at stride 4.
    """

    spec: PanopticSpec
    divisor: int
    is_ground: np.ndarray
    stands: np.ndarray
    nms_window_px: int = 12

    @classmethod
    def of(cls, backend: Backend, config: PipelineConfig, role_of_class: np.ndarray) -> ThingRules:
        """Raises ConfigError: a class is named that the model does not have, or its ids overflow with that divisor."""
        labels, divisor = backend.labels, config.panoptic_divisor or backend.panoptic_divisor
        spec = spec_for(
            labels,
            min_area=config.object_min_area_px,
            min_areas=_by_class(labels, "object_min_areas", config.object_min_areas, math.inf),
            min_score=config.object_min_score,
            min_scores=_by_class(labels, "object_min_scores", config.object_min_scores, 1.0),
            divisor=divisor,
        )
        stands = np.ones(256, bool)
        stands[[label.id for label in labels if label.name in _SEATED]] = False
        return cls(spec, divisor, IS_GROUND[role_of_class], stands)

    def find(self, heads: Heads, fit: Fit) -> Objects:
        """Objects in a model's answer, on its class map without what the camera does not see."""
        cells_per_px = heads.class_ids.size / math.prod(fit.seen_hw)
        heads_rows = heads.class_ids.shape[0] if heads.centers is None else heads.centers.shape[0]
        window = self.nms_window_px * heads_rows // fit.seen_hw[0]
        spec = replace(self.spec, min_areas=self.spec.min_areas * cells_per_px, nms_cells=max(3, (window - 1) | 1))
        return find_objects(replace(heads, class_ids=fit.without_margins(heads.class_ids)), spec)

    def panoptic(self, heads: Heads, objects: Objects, fit: Fit) -> np.ndarray:
        """uint16 `[H, W]` at the output's size: class × divisor + instance, 65535 for void."""
        return fit.to_camera(panoptic_map(heads.class_ids, objects, self.spec, self.divisor), VOID_PANOPTIC)


def _by_class(labels: LabelSet, name: str, entries: tuple[str, ...], maximum: float) -> dict[str, float]:
    known, numbers = [label.name for label in labels], numbers_by_class(name, entries, maximum)
    for class_name in numbers:
        if class_name not in known:
            raise ConfigError(f"{name}: {class_name!r} is no class of {labels.name}; it has {', '.join(known)}")
    return numbers


class Encounters:
    """Things that one camera meets. One thread uses it.

    Args:
        labels: of the classes, for those that are easily taken for each other.
    """

    def __init__(self, labels: LabelSet) -> None:
        spec = TrackerSpec(confusable=confusable_classes(labels), walking=walking_classes(labels))
        self._tracker = Tracker(spec)
        self._finder: tuple[tuple[object, ...], ObstacleFinder] | None = None
        self._odometry_ns: int | None = None
        self._odometer = Odometer()
        self._place: GroundCamera | None = None

    def locate(
        self,
        objects: Objects,
        class_ids: np.ndarray,
        rules: ThingRules,
        place: GroundCamera,
        fit: Fit,
        config: PipelineConfig,
        camera: CameraConfig,
    ) -> Obstacles:
        """Where the objects stand; their velocities are `follow`'s to say."""
        self._place = place
        onto = fit.class_map((class_ids.shape[0], class_ids.shape[1]))
        key = (place.camera, onto)
        if self._finder is None or self._finder[0] != key:
            self._finder = (key, ObstacleFinder(place.camera, onto))
        noise = PoseNoise(config.contact_sigma_px, camera.position_sigma_m, camera.rotation_sigma_rad)
        return self._finder[1].locate(
            objects, class_ids, rules.is_ground, place, config.ground_frame, noise, rules.stands
        )

    def follow(
        self,
        frame: Frame,
        objects: Objects,
        obstacles: Obstacles | None,
        odom_from_ground: np.ndarray | None,
        fit: Fit,
        config: PipelineConfig,
    ) -> tuple[Objects, Obstacles | None]:
        """The same with track ids, boxes on the camera's image, and velocities.

        Args:
            odom_from_ground: float64 `[4, 4]`; None: nobody says.
        """
        cells_hw = objects.instance_map.shape[0], objects.instance_map.shape[1]
        boxes_px, onto = fit.boxes_px(objects.boxes, cells_hw), fit.class_map(cells_hw)
        over_ground = self._over_ground(frame.stamp_ns, odom_from_ground is not None)
        turn, shift = _planar(odom_from_ground)
        places, covariances = np.full((len(objects), 2), np.nan), np.full((len(objects), 2, 2), np.nan)
        if obstacles is not None:
            places[obstacles.rows] = obstacles.positions_m
            covariances[obstacles.rows] = turn @ obstacles.covariances_m2 @ turn.T
        drift = self._odometer.drift(frame.stamp_ns, None if obstacles is None else self._place, odom_from_ground)
        positions = places @ turn.T + shift
        if over_ground and odom_from_ground is None:
            positions[:] = np.nan
        if self._tracker.spec.memory_s != config.track_memory_s:
            self._tracker.remember(config.track_memory_s)
        resets = self._tracker.resets
        tracked = self._tracker.update(
            frame.stamp_ns, boxes_px, objects.class_ids, objects.scores, positions, covariances,
            config.odom_frame if over_ground else config.ground_frame,
            Silhouettes(objects.instance_map, onto), None if drift is None else partial(drift.velocities_px, places),
        )  # fmt: skip
        jumped = self._tracker.resets > resets
        objects = replace(objects, track_ids=tracked.ids, boxes_px=boxes_px, clock_jumped=jumped)
        if obstacles is None:
            return objects, None
        velocities = tracked.velocities_mps[obstacles.rows] @ turn
        if over_ground and odom_from_ground is None:
            velocities = np.full_like(velocities, np.nan)  # known in a frame of which nobody says where it is now
        return objects, replace(obstacles, velocities_mps=velocities, is_relative=not over_ground)

    def _over_ground(self, stamp_ns: int, heard: bool) -> bool:
        """A gap in odometry does not yet make velocities relative."""
        if heard:
            self._odometry_ns = stamp_ns
        last_ns = self._odometry_ns
        return last_ns is not None and abs(stamp_ns - last_ns) <= _ODOMETRY_GAP_S * 1e9


def _planar(odom_from_ground: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Turn `[2, 2]` and shift `[2]` of places on the ground, seen from above."""
    if odom_from_ground is None:
        return np.eye(2), np.zeros(2)
    yaw = math.atan2(odom_from_ground[1, 0], odom_from_ground[0, 0])
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    return turn, odom_from_ground[:2, 3]
