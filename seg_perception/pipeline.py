"""Frame in, perception out: the path that the live node, the replay, the benchmark and the demo share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seg_perception import images
from seg_perception.backends import Backend, open_backend
from seg_perception.config import CameraConfig, PipelineConfig
from seg_perception.errors import GeometryError
from seg_perception.fit import Fit
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.labels import LabelSet
from seg_perception.latency import StageClock
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

    @property
    def drivable(self) -> bool:
        """Is anything asked about where to drive?"""
        return self.drivable_mask or self.in_metres

    @property
    def in_metres(self) -> bool:
        """Is anything asked for which the camera's place must be known?"""
        return self.grid or self.boundary

    def __bool__(self) -> bool:
        return any((self.mask, self.confidence, self.overlay, self.drivable_mask, self.grid, self.boundary))


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

    @property
    def labels(self) -> LabelSet:
        """What the class ids in the masks mean."""
        return self.backend.labels

    def configure(self, config: PipelineConfig) -> None:
        """Use another configuration from the next frame on; what is fixed at start is not looked at again.

        Raises:
            ConfigError: a class is regrouped that the model does not have; the old configuration stays.
        """
        regrouped = {
            "drivable": config.drivable_classes,
            "caution": config.caution_classes,
            "obstacle": config.obstacle_classes,
            "ignored": config.ignored_classes,
        }
        # One attribute, since another thread reads it.
        self._settings = (config, role_table(self.labels, regrouped))

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
        config, roles = self._settings
        clock = StageClock()
        image = images.decode(frame.image, max_pixels=int(config.max_image_mpx * 1e6))
        clock.lap("decode")
        settings = self._camera(config, camera)
        fit = self._fit(image.pixels.shape[:2], settings)
        class_ids = confidence = painted = drivable = ground = problem = None
        if wanted:
            tensor = fit.to_model(image)
            clock.lap("resize")
            heads = self.backend.infer(tensor, frame.stamp_ns)
            clock.lap("inference")
            class_ids = fit.to_camera(heads.class_ids) if wanted.mask or wanted.drivable_mask else None
            if wanted.confidence and heads.confidence is not None:
                confidence = fit.to_camera(heads.confidence, outside=0)
            clock.lap("masks")
            ground, problem = self._ground(frame, heads, fit, config, roles, settings, wanted)
            if wanted.drivable_mask and class_ids is not None:
                drivable = drivable_mask(class_ids, roles)
            if wanted.drivable:
                clock.lap("drivable")
            if wanted.overlay:
                full = class_ids if fit.output_hw == fit.camera_hw else None
                full = fit.at_camera_size(heads.class_ids) if full is None else full
                painted = overlay(image, full, self.labels.palette, config.overlay_opacity)
                if ground is not None and ground.boundary_px is not None:
                    painted = draw_boundary(painted, ground.boundary_px)
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
            stage_ms=clock.stop(),
        )

    def _ground(
        self,
        frame: Frame,
        heads: Heads,
        fit: Fit,
        config: PipelineConfig,
        roles: np.ndarray,
        camera: CameraConfig,
        wanted: Wanted,
    ) -> tuple[DrivableGround | None, tuple[str, str] | None]:
        """What is asked in metres, or why it cannot be said; the masks do not suffer from it.

        The overlay takes what can be had without waiting, and does not complain.
        """
        drawn = wanted.overlay and config.overlay_boundary
        if not (wanted.in_metres or drawn):
            return None, None
        wait_s = config.tf_wait_ms / 1e3 if wanted.in_metres else 0.0
        asked = wanted.grid, wanted.boundary or drawn
        try:
            surroundings = self._surroundings[camera.name]
            return surroundings.see(frame, heads.class_ids, fit, roles, config, camera, *asked, wait_s, drawn), None
        except GeometryError as exc:
            return None, (exc.reason, str(exc)) if wanted.in_metres else None

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
