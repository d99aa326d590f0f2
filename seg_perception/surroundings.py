"""From a class map to the ground in metres, for one camera. What changes seldom is made anew only when it does."""

from __future__ import annotations

import math

import numpy as np

from seg_perception.config import CameraConfig, PipelineConfig, footprint_frame
from seg_perception.errors import GeometryError, TransformError
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import GridSpec, GroundCamera
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, rotation_of_rpy
from seg_perception.perception.drivable import GroundTables
from seg_perception.perception.fan import FanSpec
from seg_perception.perception.smoothing import GridSmoother
from seg_perception.types import Boundary, CameraInfo, DrivableGround, Frame, Grid

__all__ = ["Surroundings"]

_PATIENCE = 5
_TRY_EVERY = 8
"""After so many frames in a row that waited in vain, only every so manieth one waits: all cameras wait with it."""


class Surroundings:
    """The ground as one camera sees it, frame after frame. One thread uses it.

    Args:
        transforms: where the camera is, with `pose_source: tf`.
    """

    def __init__(self, transforms: TransformBuffer) -> None:
        self._transforms = transforms
        self._camera: tuple[tuple[object, ...], CameraModel] | None = None
        self._place: GroundCamera | None = None
        self._tables: tuple[tuple[object, ...], GroundTables] | None = None
        self._smoother: tuple[tuple[object, ...], GridSmoother] | None = None
        self._in_vain = 0

    def locate(
        self, frame: Frame, fit: Fit, config: PipelineConfig, camera: CameraConfig, wait_s: float
    ) -> GroundCamera:
        """The camera at its place over the ground; the very same object as long as it does not move.

        Args:
            fit: how the image met the model.
            wait_s: for the transform at the image's stamp.

        Raises:
            GeometryError: calibration or pose are missing or make no sense; the reason names which.
        """
        model = self._model(frame.camera, fit.camera_hw, camera.rectified)
        pose = self._pose(frame, config, camera, wait_s)
        place = self._place
        known = place is not None and place.camera is model and place.ground_z_m == config.ground_height_m
        if place is None or not known or not np.array_equal(place.pose, pose):
            self._place = place = GroundCamera(model, pose, config.ground_height_m)
        return place

    def odometry(self, frame: Frame, config: PipelineConfig, wait_s: float) -> np.ndarray | None:
        """odom_from_ground at the frame's stamp, float64 `[4, 4]`; None if nobody says.

        Who has never heard of the odometry frame does not wait for it.
        """
        if not config.odom_frame:
            return None
        names = config.odom_frame, config.ground_frame
        try:
            return self._transforms.lookup(*names, frame.stamp_ns)
        except TransformError as exc:
            if exc.reason != "extrapolation_future" or not wait_s:
                return None
        try:
            return self._transforms.wait(*names, frame.stamp_ns, timeout_s=wait_s)
        except TransformError:
            return None

    def see(
        self,
        place: GroundCamera,
        stamp_ns: int,
        class_ids: np.ndarray,
        fit: Fit,
        role_of_class: np.ndarray,
        config: PipelineConfig,
        camera: CameraConfig,
        grid: bool,
        boundary: bool,
        for_picture: bool = False,
    ) -> DrivableGround:
        """What is asked about the ground in one frame.

        Args:
            place: what `locate` says for it.
            class_ids: the model's class map, uint8 `[rows, columns]`.
            fit: how the image met the model.
            role_of_class: `roles.role_table`.
            grid, boundary: what is asked.
            for_picture: fill `boundary_px`.
        """
        tables = self._tables_for(place, fit, class_ids.shape, config)
        tables.read(class_ids, role_of_class)
        free = tables.boundary() if boundary else None
        return DrivableGround(
            frame_id=config.ground_frame,
            footprint_frame_id=footprint_frame(camera.name),
            ground_from_footprint=_footprint(tables.ground),
            grid=self._grid(tables, stamp_ns, config, role_of_class) if grid else None,
            boundary=free,
            is_fixed=camera.pose_source == "parameters",
            boundary_px=_ends_px(tables.ground, free) if free and for_picture else None,
        )

    def _model(self, info: CameraInfo | None, image_hw: tuple[int, int], rectified: bool) -> CameraModel:
        if info is None:
            raise GeometryError(
                "no_camera_info", "no camera_info has come for the images; publish it beside them, or remap camera_info"
            )
        key = (CameraModel.key_of(info), image_hw, rectified)
        if self._camera is None or self._camera[0] != key:
            self._camera = (key, CameraModel.of(info, image_hw, rectified))
        return self._camera[1]

    def _pose(self, frame: Frame, config: PipelineConfig, camera: CameraConfig, wait_s: float) -> np.ndarray:
        """ground_from_optical, float64 `[4, 4]`."""
        if camera.pose_source == "tf":
            return self._pose_by_tf(config.ground_frame, frame, wait_s)
        pose = np.eye(4)
        pose[:3, :3] = rotation_of_rpy(*camera.rotation_rpy_rad) @ OPTICAL_FROM_BODY.T
        pose[:3, 3] = camera.position_m
        return pose

    def _pose_by_tf(self, ground_frame: str, frame: Frame, wait_s: float) -> np.ndarray:
        impatient = self._in_vain >= _PATIENCE and self._in_vain % _TRY_EVERY
        try:
            timeout_s = 0.0 if impatient else wait_s
            pose = self._transforms.wait(ground_frame, frame.frame_id, frame.stamp_ns, timeout_s=timeout_s)
        except TransformError:
            self._in_vain += wait_s > 0  # whoever asks for no waiting has not lost any time
            raise
        self._in_vain = 0
        return pose

    def _tables_for(
        self, place: GroundCamera, fit: Fit, cells_hw: tuple[int, ...], config: PipelineConfig
    ) -> GroundTables:
        spec = GridSpec(_pair(config.grid_x_m), _pair(config.grid_y_m), config.grid_resolution_m)
        fan = FanSpec(math.radians(config.boundary_step_deg), config.boundary_range_m)
        onto = fit.class_map((cells_hw[0], cells_hw[1]))
        key = (place.camera, onto, spec, fan, config.contact_depth_m)
        if self._tables is None or self._tables[0] != key:
            self._tables = (key, GroundTables(place, onto, spec, fan, config.contact_depth_m))
        elif self._tables[1].ground is not place:
            self._tables[1].move(place)
        return self._tables[1]

    def _grid(self, tables: GroundTables, stamp_ns: int, config: PipelineConfig, role_of_class: np.ndarray) -> Grid:
        values = tables.grid(config.caution_value)
        if config.grid_smoothing_s:
            values = self._smoother_for(config, role_of_class).smooth(values, stamp_ns, config.grid_smoothing_s)
        else:
            self._smoother = None
        return Grid(values, config.grid_x_m[0], config.grid_y_m[0], config.ground_height_m, config.grid_resolution_m)

    def _smoother_for(self, config: PipelineConfig, role_of_class: np.ndarray) -> GridSmoother:
        """Another one when cells mean something else: their past would be somebody else's."""
        key = (config.ground_frame, config.ground_height_m, config.grid_x_m, config.grid_y_m, config.grid_resolution_m,
               config.caution_value, role_of_class.tobytes())  # fmt: skip
        if self._smoother is None or self._smoother[0] != key:
            self._smoother = (key, GridSmoother())
        return self._smoother[1]


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    return values[0], values[1]


def _ends_px(ground: GroundCamera, boundary: Boundary) -> np.ndarray:
    """Where the boundary's finite ranges end on the camera's image, float64 `[B, 2]`; NaN for the others."""
    ranges = np.where(np.isfinite(boundary.ranges_m), boundary.ranges_m, np.nan)[:, None]
    bearings = boundary.bearings_rad + ground.heading_rad
    return ground.project(ground.foot + ranges * np.stack([np.cos(bearings), np.sin(bearings)], -1))


def _footprint(ground: GroundCamera) -> np.ndarray:
    """ground_from_footprint, float64 `[4, 4]`."""
    c, s = math.cos(ground.heading_rad), math.sin(ground.heading_rad)
    pose = np.eye(4)
    pose[:2, :2] = ((c, -s), (s, c))
    pose[:3, 3] = (*ground.foot, ground.ground_z_m)
    return pose
