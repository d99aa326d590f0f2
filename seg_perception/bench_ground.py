"""What grid and boundary are worth and what they cost: on simulated streets, with true masks and with a model's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seg_perception.config import PipelineConfig
from seg_perception.evaluation.ground import GroundScore
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.distortion import Distortion
from seg_perception.geometry.ground import GridSpec, GroundCamera
from seg_perception.geometry.transforms import transform_of_matrix
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.drivable import FREE, OCCUPIED, GroundTables, drivable_mask
from seg_perception.perception.fan import FanSpec
from seg_perception.perception.roles import role_table
from seg_perception.pipeline import Pipeline, Wanted
from seg_perception.simulate import DISTORTIONS, SimulatedFrame, StreetScene
from seg_perception.sources import frame_of_rgb
from seg_perception.types import Boundary

__all__ = ["Cost", "measure_cost", "score_ground", "score_line"]

_CAMERA_FRAME = "camera_optical_frame"
_Seen = tuple[GroundCamera, np.ndarray, Boundary]

_GRID = GridSpec((0.0, 17.0), (-15.0, 15.0), 0.1)
_COST_GRID = GridSpec((0.0, 40.0), (-20.0, 20.0), 0.1)
_COST_HW = (256, 512)


def score_ground(
    config: PipelineConfig | None,
    seeds: Sequence[int],
    indices: Sequence[int],
    size_wh: tuple[int, int],
    progress: Callable[[int], None] = lambda done: None,
    **scene: float,
) -> GroundScore:
    """Grid and boundary of simulated streets, judged.

    Args:
        config: whose model sees the streets; None takes the true masks.
        indices: frames of every street.
        scene: further arguments of `StreetScene`.
    """
    base = config or PipelineConfig()
    total = GroundScore(_GRID, base.contact_depth_m)
    fan = FanSpec(math.radians(base.boundary_step_deg), base.boundary_range_m)
    see = _Model(config) if config else _TrueMasks(fan, base.contact_depth_m)
    done = 0
    for seed in seeds:
        street = StreetScene(seed, *size_wh, **scene)  # type: ignore[arg-type]
        for index in indices:
            total.add(*see(street.frame(index, shaded=config is not None)), street.ground_truth(index))
            done += 1
            progress(done)
    return total


def score_line(score: GroundScore) -> dict[str, str]:
    """The figures for people, by name."""
    return {
        "IoU free": f"{score.iou(FREE):.3f}",
        "IoU occupied": f"{score.iou(OCCUPIED):.3f}",
        "free behind": str(score.free_behind),
        "boundary p50 / p95 px": f"{score.error_px(50):.2f} / {score.error_px(95):.2f}",
        "within 10 m p50 / p95 m": f"{score.error_m(50):.2f} / {score.error_m(95):.2f}",
        "rays that end for one side only": f"{100 * score.disputed / max(1, score.rays):.1f} %",
        "rays called free that end": f"{100 * score.overrun / max(1, score.rays):.2f} %",
    }


class _TrueMasks:
    """Geometry alone."""

    def __init__(self, fan: FanSpec, contact_depth_m: float) -> None:
        self._fan, self._contact_depth_m = fan, contact_depth_m
        self._roles = role_table(CITYSCAPES)

    def __call__(self, frame: SimulatedFrame) -> _Seen:
        height, width = frame.class_ids.shape
        onto = Fit((height, width), None, "stretch", 0.5, (height, width)).class_map((height, width))
        ground = GroundCamera(CameraModel.of(frame.camera, (height, width)), frame.base_from_optical)
        tables = GroundTables(ground, onto, _GRID, self._fan, self._contact_depth_m)
        tables.read(frame.class_ids, self._roles)
        return ground, tables.grid(50), tables.boundary()


class _Model:
    """The whole pipeline, its pose from transforms."""

    def __init__(self, config: PipelineConfig) -> None:
        own = replace(config, grid_x_m=_GRID.x_m, grid_y_m=_GRID.y_m, grid_resolution_m=_GRID.resolution_m)
        self._pipeline = Pipeline(own)
        self._pipeline.transforms.close()

    def __call__(self, frame: SimulatedFrame) -> _Seen:
        pose = transform_of_matrix(
            self._pipeline.config.ground_frame, _CAMERA_FRAME, frame.stamp_ns, frame.base_from_optical
        )
        self._pipeline.transforms.add(pose)
        picture = frame_of_rgb(frame.stamp_ns, _CAMERA_FRAME, frame.rgb)
        seen = self._pipeline.process(
            replace(picture, camera=frame.camera), Wanted(mask=False, confidence=False, grid=True, boundary=True)
        )
        assert seen.ground is not None and seen.ground.grid is not None and seen.ground.boundary is not None
        ground = GroundCamera(CameraModel.of(frame.camera, frame.rgb.shape[:2]), pose.matrix)
        return ground, seen.ground.grid.values, seen.ground.boundary


@dataclass(frozen=True)
class Cost:
    """Median milliseconds of mask, grid and boundary together.

    Attributes:
        lens: distortion model.
        still_ms: the camera is where it was.
        moving_ms: its pose is another in every frame.
    """

    lens: str
    still_ms: float
    moving_ms: float


def measure_cost(runs: int = 100) -> list[Cost]:
    """A class map of 256×512, a grid of 400×400, a boundary every half a degree; one lens after the other."""
    scene = StreetScene(0, _COST_HW[1], _COST_HW[0], kerb_m=0.0)
    frame = scene.frame(40, shaded=False)
    ideal = CameraModel.of(frame.camera, _COST_HW)
    onto, roles = Fit(_COST_HW, None, "stretch", 0.5, _COST_HW).class_map(_COST_HW), role_table(CITYSCAPES)
    fan = FanSpec(math.radians(0.5), 30.0)
    rows = []
    for lens, d in DISTORTIONS.items():
        camera = replace(ideal, lens=Distortion.of(lens, d))
        tables = GroundTables(GroundCamera(camera, frame.base_from_optical), onto, _COST_GRID, fan, 0.5)

        def all_of_it(tables: GroundTables = tables) -> None:
            tables.read(frame.class_ids, roles)
            tables.grid(50)
            tables.boundary()
            drivable_mask(frame.class_ids, roles)

        def moved(tables: GroundTables = tables, camera: CameraModel = camera) -> None:
            tables.move(GroundCamera(camera, frame.base_from_optical))
            all_of_it(tables)

        rows.append(Cost(lens, _median_ms(all_of_it, runs), _median_ms(moved, runs)))
    return rows


def _median_ms(act: Callable[[], None], runs: int) -> float:
    act()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))
