"""The only defaults and the only validation of everything that can be configured; a camera's are in `camera_config`.

A ROS parameter carries the field's name. What belongs to one camera carries the camera's name in front:
`camera.fit` for the camera called `camera`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seg_perception.camera_config import CameraConfig, footprint_frame
from seg_perception.errors import BackendNotBuiltError, ConfigError
from seg_perception.parameters import ParameterSpec, numbers_by_class, param, specs_of

__all__ = ["BACKENDS", "BACKENDS_RESERVED", "ROS_PARAMETERS", "CameraConfig", "PipelineConfig", "footprint_frame"]

BACKENDS = ("onnxruntime", "replayed")
BACKENDS_RESERVED = ("onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt")
"""Names that are kept for engines to come; asking for one raises BackendNotBuiltError."""

ROS_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""What every ROS node has besides ours: how such a parameter's name begins."""

_MOST_CELLS = 4_000_000
_LONGEST_FRAME = 256
_VEHICLES_FOOTPRINT = "base_footprint"
"""REP 105's."""


@dataclass(frozen=True)
class PipelineConfig:
    """What is set for the whole node, and its cameras."""

    model: str = param(
        "street_esp",
        "Name of a shipped model (see `seg_perception models list`) or path of a model file.",
        read_only=True,
    )
    backend: str = param(
        "onnxruntime",
        "Inference engine: onnxruntime (CPU) or replayed (recorded or true masks, for tests); "
        "onnxruntime-cuda, onnxruntime-tensorrt and tensorrt are reserved.",
        choices=BACKENDS + BACKENDS_RESERVED,
        read_only=True,
    )
    threads: int = param(
        0, "Threads for inference; 0 is one for each core this process may use.", minimum=0, maximum=256, read_only=True
    )
    spinning: bool = param(
        False,
        "Let idle inference threads spin: a little lower latency for a whole core's power while images flow.",
        read_only=True,
    )
    warm_up_runs: int = param(
        2, "Inferences on an empty image before the first real one.", minimum=0, maximum=100, read_only=True
    )
    replay_masks: str = param("", "For backend: replayed: a folder of <stamp_ns>.png class id masks.", read_only=True)
    cameras: tuple[str, ...] = param(
        ("camera",),
        "Names of the cameras. One: its topics are image, ~/mask ...; several: <camera>/image, ~/<camera>/mask ...",
        read_only=True,
    )
    autostart: bool = param(
        True, "Configure and activate by itself; false leaves that to a lifecycle manager.", read_only=True
    )
    input_reliability: str = param(
        "best_effort",
        "QoS of the image subscription; best_effort accepts every publisher.",
        choices=("best_effort", "reliable"),
        read_only=True,
    )
    input_depth: int = param(
        5,
        "Queue of the image subscription. Only the newest frame is ever processed; a depth of 1 loses frames unseen.",
        minimum=1,
        maximum=1000,
        read_only=True,
    )
    output_reliability: str = param(
        "reliable", "QoS of what is published; RViz asks for reliable.", choices=("best_effort", "reliable"),
        read_only=True,
    )  # fmt: skip
    output_depth: int = param(1, "Queue of what is published.", minimum=1, maximum=1000, read_only=True)
    overlay_opacity: float = param(0.5, "Share of the class colour in the overlay, 0 to 1.", minimum=0.0, maximum=1.0)
    overlay_boundary: bool = param(
        True, "Draw into the overlay where drivable ground ends, when calibration and pose are known."
    )
    overlay_objects: bool = param(
        True, "Draw objects into the overlay: outline, class, track id, and distance when it is known."
    )
    jpeg_quality: int = param(80, "JPEG quality of ~/overlay/compressed.", minimum=1, maximum=100)
    png_level: int = param(1, "zlib level of ~/mask/compressed, 0 to 9; it is lossless always.", minimum=0, maximum=9)
    max_image_mpx: float = param(64.0, "Larger images are refused, in million pixels.", minimum=0.01, maximum=1000.0)
    diagnostics_period_s: float = param(
        1.0, "Seconds between messages on /diagnostics.", minimum=0.1, maximum=60.0, read_only=True
    )
    image_timeout_s: float = param(
        3.0,
        "Seconds without an image, a publisher being there, after which diagnostics warns.",
        minimum=0.1,
        maximum=3600.0,
    )
    deadline_ms: float = param(
        0.0,
        "Age of a mask (from the image's stamp) above which it counts as late in diagnostics, milliseconds; 0 is none.",
        minimum=0.0,
        maximum=60000.0,
    )
    ground_frame: str = param(
        "base_footprint",
        "The vehicle's frame in which the ground is a plane of constant z: base_footprint (REP 105), or base_link with "
        "ground_height_m. Grid and boundary are published in it.",
    )
    ground_height_m: float = param(
        0.0, "z of the ground in ground_frame, metres: 0 for base_footprint, below 0 for base_link.", minimum=-10.0,
        maximum=10.0,
    )  # fmt: skip
    tf_wait_ms: float = param(
        30.0,
        "How long a frame waits, after inference, for the transform at its stamp, milliseconds.",
        minimum=0.0,
        maximum=1000.0,
    )
    drivable_classes: tuple[str, ...] = param(
        ("",), 'Classes that count as drivable whatever the model\'s label set says: ["terrain"]; [""] is none.'
    )
    caution_classes: tuple[str, ...] = param(("",), "The same: ground to drive on only in need.")
    obstacle_classes: tuple[str, ...] = param(("",), "The same: never to drive on.")
    ignored_classes: tuple[str, ...] = param(("",), "The same: says nothing about the ground, such as sky.")
    grid_x_m: tuple[float, ...] = param(
        (0.0, 20.0), "From where to where ~/drivable/grid reaches forward in ground_frame, metres.", minimum=-200.0,
        maximum=200.0,
    )  # fmt: skip
    grid_y_m: tuple[float, ...] = param(
        (-10.0, 10.0), "From where to where ~/drivable/grid reaches to the left in ground_frame, metres.",
        minimum=-200.0, maximum=200.0,
    )  # fmt: skip
    grid_resolution_m: float = param(0.1, "Side of a cell of ~/drivable/grid, metres.", minimum=0.01, maximum=2.0)
    caution_value: int = param(
        50,
        "Value of cells to drive on only in need in ~/drivable/grid: 0 makes them free, 100 occupied, -1 unseen.",
        minimum=-1,
        maximum=100,
    )
    contact_depth_m: float = param(
        0.5,
        "How deep, from where it meets the ground, an obstacle is drawn into ~/drivable/grid, metres; behind that the "
        "ground is unseen.",
        minimum=0.01,
        maximum=2.0,
    )
    grid_smoothing_s: float = param(
        0.0,
        "Time constant with which values of ~/drivable/grid fall, seconds; 0 is at once. They rise at once, and what "
        "is unseen stays unseen. For vehicles that stand or creep: cells are the vehicle's.",
        minimum=0.0,
        maximum=60.0,
    )
    boundary_range_m: float = param(30.0, "How far ~/drivable/boundary looks, metres.", minimum=1.0, maximum=200.0)
    boundary_step_deg: float = param(
        0.5, "Angle between two ranges of ~/drivable/boundary, degrees.", minimum=0.1, maximum=5.0
    )
    object_min_area_px: float = param(
        40.0,
        "Smaller objects are left out, pixels of the model's input (of the mask, with backend: replayed).",
        minimum=0.0,
        maximum=1e9,
    )
    object_min_areas: tuple[str, ...] = param(
        ("",), 'The same for single classes, as class:pixels: ["person:25", "bus:200"]; [""] is none.'
    )
    object_min_score: float = param(
        0.3, "Objects of which the model is less sure are left out, 0 to 1.", minimum=0.0, maximum=1.0
    )
    object_min_scores: tuple[str, ...] = param(
        ("",), 'The same for single classes, as class:score: ["person:0.2"]; [""] is none.'
    )
    panoptic_divisor: int = param(
        0,
        "~/panoptic is class x divisor + instance; at most divisor - 1 objects in a frame. 0 is the model's own, 1000.",
        minimum=0,
        maximum=65535,
        read_only=True,
    )
    track_memory_s: float = param(
        1.0, "How long an object that is out of sight keeps its track id, seconds.", minimum=0.05, maximum=60.0
    )
    odom_frame: str = param(
        "odom",
        "Frame that does not move with the vehicle (REP 105). With it on /tf, velocities of obstacles are over ground; "
        "without it, or with an empty name, they are relative to the vehicle, and say so.",
    )
    contact_sigma_px: float = param(
        0.5,
        "How well it is known where an object meets the ground, besides the size of the model's cells: one standard "
        "deviation, camera pixels.",
        minimum=0.0,
        maximum=100.0,
    )
    camera_configs: tuple[CameraConfig, ...] = (CameraConfig(),)

    def __post_init__(self) -> None:
        for spec in specs_of(PipelineConfig):
            object.__setattr__(self, spec.name, spec.check(getattr(self, spec.name)))
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ConfigError(f"cameras: expected one or more different names, got {list(self.cameras)}")
        if tuple(c.name for c in self.camera_configs) != self.cameras:
            given = {c.name: c for c in self.camera_configs}
            object.__setattr__(
                self, "camera_configs", tuple(given.get(name, CameraConfig(name=name)) for name in self.cameras)
            )
        if self.backend in BACKENDS_RESERVED:
            raise BackendNotBuiltError(f"backend: {self.backend} is not built yet; use one of {', '.join(BACKENDS)}")
        numbers_by_class("object_min_areas", self.object_min_areas, math.inf)
        numbers_by_class("object_min_scores", self.object_min_scores, 1.0)
        if not self.model:
            raise ConfigError("model: expected a model's name or a path, got an empty string")
        self._check_grid()
        self._check_frames()

    def _check_grid(self) -> None:
        for name, extent in (("grid_x_m", self.grid_x_m), ("grid_y_m", self.grid_y_m)):
            if len(extent) != 2 or not extent[0] < extent[1]:
                raise ConfigError(f"{name}: expected [low, high], low below high, got {list(extent)}")
            count = (extent[1] - extent[0]) / self.grid_resolution_m
            if abs(count - round(count)) > 1e-6 * max(1.0, count) or round(count) < 1:
                raise ConfigError(
                    f"{name}: {list(extent)} is no whole number of cells of {self.grid_resolution_m:g} m "
                    "(grid_resolution_m); change one of them"
                )
        cells = math.prod((high - low) / self.grid_resolution_m for low, high in (self.grid_x_m, self.grid_y_m))
        if cells > _MOST_CELLS:
            raise ConfigError(
                f"grid_resolution_m: {cells:.3g} cells in the grid, expected at most {_MOST_CELLS:.3g}; choose larger "
                "cells or a smaller extent"
            )

    def _check_frames(self) -> None:
        object.__setattr__(self, "ground_frame", self.ground_frame.lstrip("/"))
        object.__setattr__(self, "odom_frame", self.odom_frame.lstrip("/"))
        if len(self.odom_frame) > _LONGEST_FRAME or self.odom_frame == self.ground_frame:
            raise ConfigError(
                f"odom_frame: expected a frame such as odom, other than ground_frame, got {self.odom_frame!r}"
            )
        if not 0 < len(self.ground_frame) <= _LONGEST_FRAME:
            raise ConfigError(f"ground_frame: expected a frame such as base_footprint, got {self.ground_frame!r}")
        for camera in self.camera_configs:
            if footprint_frame(camera.name) in (self.ground_frame, _VEHICLES_FOOTPRINT):
                raise ConfigError(
                    f"cameras: {camera.name!r} would have the footprint frame {footprint_frame(camera.name)}, which is "
                    "the vehicle's own; choose another name"
                )

    @classmethod
    def parameters(cls, cameras: tuple[str, ...] = ("camera",)) -> tuple[ParameterSpec, ...]:
        """Every parameter there is for these cameras, in a good order to read."""
        specs = list(specs_of(cls))
        for name in cameras:
            specs.extend(specs_of(CameraConfig, f"{CameraConfig(name=name).name}."))
        return tuple(specs)

    @classmethod
    def from_parameters(cls, values: Mapping[str, Any]) -> PipelineConfig:
        """Build from a flat mapping of parameter names to values; what is left out has its default.

        Raises:
            ConfigError: a name is unknown or a value cannot be used.
            BackendNotBuiltError: the backend's name is reserved.
        """
        own = {s.name: s for s in specs_of(cls)}
        names = own["cameras"].check(values.get("cameras", own["cameras"].default))
        known = {spec.name for spec in cls.parameters(names)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"{unknown[0]}: no such parameter; there are: {', '.join(sorted(known))}")
        per_camera = tuple(
            CameraConfig(name=name, **{k[len(name) + 1 :]: v for k, v in values.items() if k.startswith(f"{name}.")})
            for name in names
        )
        return cls(camera_configs=per_camera, **{k: v for k, v in values.items() if k in own})

    def to_parameters(self) -> dict[str, Any]:
        """The flat mapping that `from_parameters` reads; lists as lists."""
        flat = {spec.name: getattr(self, spec.name) for spec in specs_of(PipelineConfig)}
        for camera in self.camera_configs:
            for spec in specs_of(CameraConfig):
                flat[f"{camera.name}.{spec.name}"] = getattr(camera, spec.name)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in flat.items()}

    def with_parameters(self, changes: Mapping[str, Any]) -> PipelineConfig:
        """A changed copy, validated as a whole; ConfigError also for a change of a read-only parameter."""
        specs = {spec.name: spec for spec in self.parameters(self.cameras)}
        current = self.to_parameters()
        for name, value in changes.items():
            if name in specs and specs[name].read_only and specs[name].check(value) != specs[name].check(current[name]):
                raise ConfigError(
                    f"{name}: fixed once the node has started; set it in the launch file or parameter file"
                )
        return self.from_parameters({**current, **changes})
