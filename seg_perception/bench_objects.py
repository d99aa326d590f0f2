"""What objects, their places and their ids are worth, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seg_perception.backends import open_backend
from seg_perception.backends.replayed import ReplayedBackend
from seg_perception.config import CameraConfig, PipelineConfig
from seg_perception.datasets import Dataset
from seg_perception.encounters import ThingRules
from seg_perception.evaluation.heads import HeadNoise
from seg_perception.evaluation.instances import InstanceJudge, KnownFrame, things_of
from seg_perception.evaluation.obstacles import ObstacleScore, TrackScore
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import GroundCamera
from seg_perception.geometry.transforms import rotation_of_rpy, transform_of_matrix
from seg_perception.labels import CITYSCAPES
from seg_perception.model.bundle import PANOPTIC_DIVISOR
from seg_perception.objects import Objects
from seg_perception.perception.cells import resampled
from seg_perception.perception.object_rows import Groups, objects_of
from seg_perception.perception.panoptic import spec_for
from seg_perception.perception.roles import role_table
from seg_perception.perception.truth_heads import true_heads
from seg_perception.pipeline import Pipeline, Wanted
from seg_perception.simulate import SimulatedFrame, StreetScene
from seg_perception.sources import frame_of_rgb
from seg_perception.types import Heads, Perception

__all__ = ["Following", "TrueHeads", "follow_streets", "judge_model", "judge_true_heads"]

_OPTICAL = "camera_optical_frame"
_INPUT_HW, _MAP_HW, _HEADS_HW = (256, 512), (128, 256), (64, 128)
_EVERYTHING = Wanted(mask=False, confidence=False, panoptic=True, detections=True, obstacles=True)


class TrueHeads:
    """A backend that answers what a perfect network would, or one as wrong as `noise`, at the shipped one's strides.

    Args:
        heads_hw: size of centres and offsets.
    """

    def __init__(self, noise: HeadNoise | None = None, heads_hw: tuple[int, int] = _HEADS_HW) -> None:
        self.labels, self.panoptic_divisor, self.description = CITYSCAPES, PANOPTIC_DIVISOR, "true heads"
        self.input_hw: tuple[int, int] | None = _INPUT_HW
        self._heads_hw, self._noise, self._rng = heads_hw, noise, np.random.default_rng(0)
        self.frame: KnownFrame | None = None

    def warm_up(self, runs: int) -> float:
        return 0.0

    def infer(self, image: np.ndarray | None, stamp_ns: int, things: bool = True) -> Heads:
        assert self.frame is not None
        ids, instances = (resampled(array, _MAP_HW) for array in (self.frame.class_ids, self.frame.instances))
        heads = true_heads(instances, self._heads_hw)
        if self._noise is not None:
            heads = self._noise.spoil(instances, self._heads_hw, self._rng)
        return Heads(ids, None, *heads)

    def close(self) -> None:
        self.frame = None


def judge_true_heads(
    frames: Iterable[KnownFrame],
    noise: HeadNoise | None = None,
    fine: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> InstanceJudge:
    """True heads, or ones as wrong as `noise`, on frames with classes of Cityscapes.

    Args:
        fine: as fine as the class map, instead of the shipped model's stride 4.
    """
    backend = TrueHeads(noise, _MAP_HW if fine else _HEADS_HW)
    rules = ThingRules.of(backend, PipelineConfig(object_min_score=0.0), role_table(CITYSCAPES))
    rules = replace(rules, nms_window_px=rules.nms_window_px // 2) if fine else rules
    judge = InstanceJudge(backend, rules, np.arange(256, dtype=np.uint8), things_of())
    for done, frame in enumerate(frames, 1):
        backend.frame = frame
        judge.add(frame)
        progress(done)
    return judge


def judge_model(
    config: PipelineConfig,
    frames: Iterable[KnownFrame],
    dataset: Dataset | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> InstanceJudge:
    """A model's heads.

    Args:
        dataset: whose classes the frames have; None: those of Cityscapes.
    """
    backend = open_backend(config)
    rules = ThingRules.of(backend, config, role_table(backend.labels))
    class_of, is_thing = np.arange(256, dtype=np.uint8), things_of()
    if dataset is not None:
        things = {label.name for label in CITYSCAPES if label.is_thing}
        class_of = dataset.class_of(backend.labels)
        is_thing = np.array([bool(things & set(covered)) for covered in dataset.covers])
    judge = InstanceJudge(backend, rules, class_of, is_thing)
    for done, frame in enumerate(frames, 1):
        judge.add(frame)
        progress(done)
    backend.close()
    return judge


@dataclass(frozen=True)
class Following:
    """Drives seen from beginning to end.

    Attributes:
        places: with the true pose.
        perturbed: with pose and calibration as wrong as declared.
        tracks: with the true pose, of things of at least 120 pixels.
        all_tracks: the same of at least 60: of all that is kept.
    """

    places: ObstacleScore
    perturbed: ObstacleScore
    tracks: TrackScore
    all_tracks: TrackScore


def follow_streets(
    seeds: Sequence[int],
    frames: int,
    size_wh: tuple[int, int] = (640, 480),
    contacts_every: int = 5,
    progress: Callable[[int], None] = lambda done: None,
    **scene: float,
) -> Following:
    """True class maps and true things of simulated drives through the whole pipeline, at the camera's size.

    Args:
        frames: of each drive, 15 a second.
        contacts_every: places are judged in every so manieth frame.
        scene: further arguments of `StreetScene`.
    """
    config = PipelineConfig(backend="replayed", object_min_area_px=_LEAST_PX)
    found = Following(
        ObstacleScore(), ObstacleScore(), TrackScore(least_px=2 * _LEAST_PX), TrackScore(least_px=_LEAST_PX)
    )
    done = 0
    for seed in seeds:
        street = StreetScene(seed, *size_wh, **scene)  # type: ignore[arg-type]
        drive, wrong = _Drive(config), _Drive(config, np.random.default_rng(seed))
        for index in range(frames):
            frame = street.frame(index, shaded=False)
            seen = drive.see(frame)
            for score in (found.tracks, found.all_tracks):
                score.add(seen, frame.instance_ids)
            if index % contacts_every == 0:
                contacts = street.ground_truth(index).contacts(found.places.far_m + 5.0)
                camera = GroundCamera(CameraModel.of(frame.camera, frame.class_ids.shape), frame.base_from_optical)
                found.places.add(seen, frame.instance_ids, contacts, camera)
                found.perturbed.add(wrong.see(frame), frame.instance_ids, contacts, camera)
            done += 1
            progress(done)
        found.tracks.end_drive()
        found.all_tracks.end_drive()
    return found


_LEAST_PX = 60


class _Drive:
    """A pipeline that is told the truth, but for its pose and calibration if `rng` is given."""

    def __init__(self, config: PipelineConfig, rng: np.random.Generator | None = None) -> None:
        self._answers: dict[int, Heads] = {}
        self._pipeline = Pipeline(config, ReplayedBackend(self._answers))
        self._pipeline.transforms.close()
        self._rng, self._camera = rng, config.camera_configs[0]
        self._sigma_px = config.contact_sigma_px

    def see(self, frame: SimulatedFrame) -> Perception:
        height, width = frame.class_ids.shape
        self._answers.clear()
        self._answers[frame.stamp_ns] = Heads(frame.class_ids, instances=_true_objects(frame))
        pose, camera = frame.base_from_optical, frame.camera
        if self._rng is not None:
            pose = _perturbed(pose, self._camera, self._rng)
            shift = self._rng.normal(0, self._sigma_px, 2)
            k = list(camera.k)
            k[2], k[5] = k[2] + shift[0], k[5] + shift[1]
            p = list(camera.p)
            p[2], p[6] = p[2] + shift[0], p[6] + shift[1]
            camera = replace(camera, k=tuple(k), p=tuple(p))
        transforms = self._pipeline.transforms
        transforms.add(transform_of_matrix("base_footprint", _OPTICAL, frame.stamp_ns, pose))
        transforms.add(transform_of_matrix("odom", "base_footprint", frame.stamp_ns, frame.world_from_base))
        picture = frame_of_rgb(frame.stamp_ns, _OPTICAL, np.zeros((height, width, 3), np.uint8))
        return self._pipeline.process(replace(picture, camera=camera), _EVERYTHING)


def _true_objects(frame: SimulatedFrame) -> Objects:
    """All that is seen, one by one; the pipeline leaves out what is too small."""
    # One cell more, so that there is always one without a thing, which comes first.
    seen = np.append(frame.instance_ids.ravel(), np.uint16(0))
    _, first, dense = np.unique(seen, return_index=True, return_inverse=True)
    names = dense.reshape(-1)[:-1].reshape(frame.instance_ids.shape).astype(np.int32)
    class_ids = frame.class_ids.ravel()[first[1:]]
    return objects_of(Groups(names, class_ids, np.ones(len(class_ids), np.float32)), None, _ALL_THINGS, 0)


_ALL_THINGS = spec_for(CITYSCAPES, min_area=0.0)


def _perturbed(pose: np.ndarray, camera: CameraConfig, rng: np.random.Generator) -> np.ndarray:
    """Turned and moved by what the camera's configuration declares as one standard deviation of each."""
    turn = rotation_of_rpy(*rng.normal(0, camera.rotation_sigma_rad))
    out = pose.copy()
    out[:3, :3] = turn @ pose[:3, :3]
    out[:3, 3] += rng.normal(0, camera.position_sigma_m)
    return out
