"""Frame in, perception out: the path that the live node, the replay, the benchmark and the demo share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from seg_perception import images
from seg_perception.backends import Backend, open_backend
from seg_perception.config import CameraConfig, PipelineConfig
from seg_perception.draw_objects import draw_objects
from seg_perception.encounters import Encounters, ThingRules
from seg_perception.errors import GeometryError
from seg_perception.fit import Fit
from seg_perception.geometry.ground import GroundCamera
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.images import DecodedImage
from seg_perception.labels import LabelSet
from seg_perception.latency import StageClock
from seg_perception.objects import Objects, Obstacles
from seg_perception.perception.drivable import drivable_mask
from seg_perception.perception.roles import role_table
from seg_perception.surroundings import Surroundings
from seg_perception.types import DrivableGround, Frame, Heads, Perception, Segmentation
from seg_perception.visualise import draw_boundary, overlay

__all__ = ["Pipeline", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """Which results somebody listens to; nothing else is computed."""

    mask: bool = True
    confidence: bool = True
    overlay: bool = False
    drivable_mask: bool = False
    grid: bool = False
    boundary: bool = False
    panoptic: bool = False
    detections: bool = False
    obstacles: bool = False

    @property
    def drivable(self) -> bool:
        """Is anything asked about where to drive?"""
        return self.drivable_mask or self.grid or self.boundary

    @property
    def in_metres(self) -> bool:
        """Is anything asked for which the camera's place must be known?"""
        return self.grid or self.boundary or self.obstacles

    @property
    def objects(self) -> bool:
        """Is anything asked about countable things?"""
        return self.panoptic or self.detections or self.obstacles

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))


@dataclass(frozen=True)
class _Look:
    """One frame on its way, and what was settled before."""

    frame: Frame
    image: DecodedImage
    fit: Fit
    config: PipelineConfig
    camera: CameraConfig
    roles: np.ndarray
    rules: ThingRules
    wanted: Wanted

    @property
    def draws_boundary(self) -> bool:
        return self.wanted.overlay and self.config.overlay_boundary

    @property
    def draws_objects(self) -> bool:
        return self.wanted.overlay and self.config.overlay_objects

    @property
    def asks_ground(self) -> bool:
        return self.wanted.grid or self.wanted.boundary or self.draws_boundary

    @property
    def asks_tracks(self) -> bool:
        return self.wanted.detections or self.wanted.obstacles or self.draws_objects

    @property
    def asks_objects(self) -> bool:
        return self.wanted.objects or self.draws_objects

    @property
    def wait_s(self) -> float:
        """For transforms: who draws a picture alone does not wait."""
        return self.config.tf_wait_ms / 1e3 if self.wanted.in_metres else 0.0


class Pipeline:
    """One model and the path of a frame through it. One thread calls `process`; `configure` may come from any.

    Args:
        config: validated configuration; opens its backend, which loads and warms up the model.
        backend: used instead of opening one.

    Attributes:
        transforms: whoever hears transforms puts them here.

    Raises:
        ConfigError: a class is regrouped that the model does not have.
        ModelError, BackendError: the model cannot be used; the text says why and how to repair it.
    """

    def __init__(self, config: PipelineConfig, backend: Backend | None = None) -> None:
        self.backend = backend or open_backend(config)
        self.configure(config)
        self.warm_up_ms = self.backend.warm_up(config.warm_up_runs)
        self.transforms = TransformBuffer()
        self._fits: dict[tuple[object, ...], Fit] = {}
        self._surroundings = {name: Surroundings(self.transforms) for name in config.cameras}
        self._encounters = {name: Encounters(self.labels) for name in config.cameras}

    @property
    def labels(self) -> LabelSet:
        """What the class ids in the masks mean."""
        return self.backend.labels

    def configure(self, config: PipelineConfig) -> None:
        """Use another configuration from the next frame on; what is fixed at start is not looked at again.

        Raises:
            ConfigError: a class is named that the model does not have, or its ids overflow with `panoptic_divisor`;
                the old configuration stays.
        """
        regrouped = {
            "drivable": config.drivable_classes,
            "caution": config.caution_classes,
            "obstacle": config.obstacle_classes,
            "ignored": config.ignored_classes,
        }
        roles = role_table(self.labels, regrouped)
        # One attribute, since another thread reads it.
        self._settings = (config, roles, ThingRules.of(self.backend, config, roles))

    @property
    def panoptic_divisor(self) -> int:
        """Of the panoptic maps: class × divisor + instance."""
        return self._settings[2].divisor

    @property
    def config(self) -> PipelineConfig:
        """The configuration in use."""
        return self._settings[0]

    def close(self) -> None:
        """Free the engine."""
        self.backend.close()

    def process(self, frame: Frame, wanted: Wanted = Wanted(), camera: str = "") -> Perception:
        """One camera frame to everything that was asked about it.

        Args:
            camera: whose configuration to use; empty is the first camera.

        Raises:
            FrameError: this image cannot be used; the next one may.
            BackendError: the engine failed.
        """
        config, roles, rules = self._settings
        clock = StageClock()
        image = images.decode(frame.image, max_pixels=int(config.max_image_mpx * 1e6))
        clock.lap("decode")
        settings = self._camera(config, camera)
        fit = self._fit(image.pixels.shape[:2], settings)
        look = _Look(frame, image, fit, config, settings, roles, rules, wanted)
        class_ids = confidence = painted = drivable = panoptic = None
        ground = objects = obstacles = problem = None
        if wanted:
            tensor = fit.to_model(image)
            clock.lap("resize")
            heads = self.backend.infer(tensor, frame.stamp_ns, look.asks_objects)
            clock.lap("inference")
            class_ids = fit.to_camera(heads.class_ids) if wanted.mask or wanted.drivable_mask else None
            if wanted.confidence and heads.confidence is not None:
                confidence = fit.to_camera(heads.confidence, outside=0)
            clock.lap("masks")
            place, problem = self._place(look)
            if look.asks_ground and place is not None:
                ground = self._ground(look, heads, place)
            if wanted.drivable_mask and class_ids is not None:
                drivable = drivable_mask(class_ids, roles)
            if wanted.drivable:
                clock.lap("drivable")
            if look.asks_objects:
                objects = rules.find(heads, fit)
                if wanted.panoptic:
                    panoptic = rules.panoptic(heads, objects, fit)
                clock.lap("panoptic")
            if objects is not None and look.asks_tracks:
                objects, obstacles = self._encounter(look, heads, objects, place)
                clock.lap("obstacles")
            if wanted.overlay:
                painted = self._overlay(look, heads, class_ids, ground, objects, obstacles)
                clock.lap("overlay")
        return Perception(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            size_hw=fit.output_hw,
            segmentation=Segmentation(class_ids if wanted.mask else None, confidence),
            overlay=painted,
            camera=fit.scaled_camera(frame.camera),
            drivable_mask=drivable,
            ground=ground,
            ground_problem=problem,
            panoptic=panoptic,
            objects=objects,
            obstacles=obstacles if wanted.obstacles else None,
            labels=self.labels,
            stage_ms=clock.stop(),
        )

    def _place(self, look: _Look) -> tuple[GroundCamera | None, tuple[str, str] | None]:
        """Where the camera is, or why that cannot be said; the masks do not suffer from it.

        The overlay takes what can be had without waiting, and does not complain.
        """
        if not (look.wanted.in_metres or look.draws_boundary or look.draws_objects):
            return None, None
        try:
            surroundings = self._surroundings[look.camera.name]
            return surroundings.locate(look.frame, look.fit, look.config, look.camera, look.wait_s), None
        except GeometryError as exc:
            return None, (exc.reason, str(exc)) if look.wanted.in_metres else None

    def _ground(self, look: _Look, heads: Heads, place: GroundCamera) -> DrivableGround:
        surroundings, wanted, drawn = self._surroundings[look.camera.name], look.wanted, look.draws_boundary
        return surroundings.see(
            place, look.frame.stamp_ns, heads.class_ids, look.fit, look.roles, look.config, look.camera,
            grid=wanted.grid, boundary=wanted.boundary or drawn, for_picture=drawn,
        )  # fmt: skip

    def _encounter(
        self, look: _Look, heads: Heads, objects: Objects, place: GroundCamera | None
    ) -> tuple[Objects, Obstacles | None]:
        """The same objects with their track ids, and where they are."""
        encounters, obstacles, odometry = self._encounters[look.camera.name], None, None
        if place is not None and (look.wanted.obstacles or look.draws_objects):
            args = (look.rules, place, look.fit, look.config, look.camera)
            # Nobody stands on what a network sees in a margin.
            obstacles = encounters.locate(objects, look.fit.without_margins(heads.class_ids), *args)
            odometry = self._surroundings[look.camera.name].odometry(look.frame, look.config, look.wait_s)
        return encounters.follow(look.frame, objects, obstacles, odometry, look.fit, look.config)

    def _overlay(
        self,
        look: _Look,
        heads: Heads,
        class_ids: np.ndarray | None,
        ground: DrivableGround | None,
        objects: Objects | None,
        obstacles: Obstacles | None,
    ) -> np.ndarray:
        fit = look.fit
        full = class_ids if fit.output_hw == fit.camera_hw else None
        full = fit.at_camera_size(heads.class_ids) if full is None else full
        painted = overlay(look.image, full, self.labels.palette, look.config.overlay_opacity)
        if ground is not None and ground.boundary_px is not None:
            painted = draw_boundary(painted, ground.boundary_px)
        if objects is not None and look.draws_objects:
            instances = fit.at_camera_size(objects.instance_map, outside=0)
            painted = draw_objects(painted, objects, obstacles, self.labels, instances)
        return painted

    @staticmethod
    def _camera(config: PipelineConfig, name: str) -> CameraConfig:
        if not name:
            return config.camera_configs[0]
        return next(c for c in config.camera_configs if c.name == name)

    def _fit(self, camera_hw: tuple[int, int], camera: CameraConfig) -> Fit:
        """Index tables are made once for each combination of sizes and settings."""
        mask_w, mask_h = camera.mask_size
        key = (camera_hw, camera.fit, camera.crop_anchor, mask_w, mask_h)
        fit = self._fits.get(key)
        if fit is None:
            if len(self._fits) > 16:
                self._fits.clear()
            output_hw = (mask_h, mask_w) if mask_w else camera_hw
            fit = self._fits[key] = Fit(camera_hw, self.backend.input_hw, camera.fit, camera.crop_anchor, output_hw)
        return fit
