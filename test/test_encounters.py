"""Objects through the whole pipeline, on simulated streets with exact truth: what is found, followed and placed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seg_perception.backends.replayed import ReplayedBackend
from seg_perception.config import CameraConfig, PipelineConfig
from seg_perception.errors import ConfigError
from seg_perception.geometry.transforms import transform_of_matrix
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.truth_heads import true_heads
from seg_perception.pipeline import Pipeline, Wanted
from seg_perception.simulate import SimulatedFrame, StreetScene
from seg_perception.sources import frame_of_rgb
from seg_perception.types import Frame, Heads, Perception

OPTICAL = "camera_optical_frame"
EVERYTHING = Wanted(panoptic=True, detections=True, obstacles=True)
THINGS = [label.id for label in CITYSCAPES if label.is_thing]
LEAST_PX = 160
HW = (480, 640)


def heads_of(frame: SimulatedFrame) -> Heads:
    height, width = frame.class_ids.shape
    return Heads(frame.class_ids, None, *true_heads(frame.instance_ids, (height // 4, width // 4)))


class Drive:
    """A simulated street, and a pipeline that is told the truth about it as a network would tell it."""

    def __init__(self, count: int = 6, odometry: bool = True, **changes: object) -> None:
        self.scene = StreetScene(7, 640, 480, rate_hz=15.0, kerb_m=0.0)
        self.frames = [self.scene.frame(i, shaded=False) for i in range(count)]
        answers = {frame.stamp_ns: heads_of(frame) for frame in self.frames}
        config = PipelineConfig(object_min_area_px=LEAST_PX, backend="replayed", **changes)  # type: ignore[arg-type]
        self.pipeline = Pipeline(config, ReplayedBackend(answers))
        self.pipeline.transforms.close()  # nothing comes by waiting
        for frame in self.frames:
            pose = transform_of_matrix("base_footprint", OPTICAL, frame.stamp_ns, frame.base_from_optical)
            self.pipeline.transforms.add(pose)
            if odometry:
                moved = transform_of_matrix("odom", "base_footprint", frame.stamp_ns, frame.world_from_base)
                self.pipeline.transforms.add(moved)

    def picture(self, index: int) -> Frame:
        frame = self.frames[index]
        picture = frame_of_rgb(frame.stamp_ns, OPTICAL, np.zeros((*HW, 3), np.uint8))
        return replace(picture, camera=frame.camera)

    def see(self, index: int, wanted: Wanted = EVERYTHING) -> Perception:
        return self.pipeline.process(self.picture(index), wanted)


def large(frame: SimulatedFrame) -> dict[int, np.ndarray]:
    """Masks of the true things that are large enough, by instance id."""
    ids, areas = np.unique(frame.instance_ids, return_counts=True)
    return {int(i): frame.instance_ids == i for i, area in zip(ids, areas) if i and area >= LEAST_PX}


def test_panoptic_and_detections_say_what_is_there() -> None:
    drive = Drive(1)
    seen, frame = drive.see(0), drive.frames[0]
    assert seen.objects is not None and seen.panoptic is not None
    assert seen.panoptic.dtype == np.uint16 and seen.panoptic.shape == frame.class_ids.shape
    stuff = ~np.isin(frame.class_ids, THINGS)
    np.testing.assert_array_equal(seen.panoptic[stuff], frame.class_ids[stuff].astype(np.uint16) * 1000)
    found = 0
    for mask in large(frame).values():
        values, counts = np.unique(seen.panoptic[mask], return_counts=True)
        value = int(values[counts.argmax()])
        if counts.max() < 0.8 * mask.sum() or value == 65535:
            continue
        found += 1
        row = value % 1000 - 1
        assert seen.objects.class_ids[row] == value // 1000 == np.bincount(frame.class_ids[mask]).argmax()
        rows, columns = np.nonzero(seen.panoptic == value)
        box = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
        np.testing.assert_array_equal(seen.objects.boxes_px[row], box)
        assert seen.objects.areas[row] == len(rows)
    assert found >= 0.9 * len(large(frame)) > 3
    assert seen.thing_counts["kept"] == len(seen.objects) and len(set(seen.objects.track_ids)) == len(seen.objects)


def test_obstacles_stand_where_the_ground_is_met() -> None:
    drive = Drive(1)
    seen, frame = drive.see(0), drive.frames[0]
    assert seen.obstacles is not None and seen.objects is not None
    assert seen.obstacles.frame_id == "base_footprint"
    contacts = drive.scene.ground_truth(0).contacts(45.0)
    compared = 0
    for row, object_row in enumerate(seen.obstacles.rows):
        own = frame.instance_ids[seen.objects.instance_map == object_row + 1]
        instances, counts = np.unique(own, return_counts=True)
        at = np.flatnonzero(contacts.instance_ids == instances[counts.argmax()])
        if not at.size or contacts.range_m[at[0]] > 30.0:
            continue
        compared += 1
        true_m, range_m = contacts.contact_xy[at[0]], contacts.range_m[at[0]]
        error_m = seen.obstacles.positions_m[row] - true_m
        # Across, the nearest of a row of places that are about as near may be any.
        assert error_m @ np.linalg.solve(seen.obstacles.covariances_m2[row], error_m) < 16.0
        assert seen.obstacles.ranges_m[row] == pytest.approx(range_m, rel=0.05)
        away = seen.obstacles.positions_m[row] - drive.scene.ground_truth(0).foot_xy
        assert np.arctan2(away[1], away[0]) == pytest.approx(seen.obstacles.bearings_rad[row])
    assert compared >= 4
    assert (np.linalg.eigvalsh(seen.obstacles.covariances_m2) > 0).all()


def test_ids_stay_and_velocities_are_over_ground_with_odometry_only() -> None:
    for odometry in (True, False):
        drive = Drive(25, odometry)
        names: dict[int, set[int]] = {}
        for index, frame in enumerate(drive.frames):
            seen = drive.see(index)
            assert seen.objects is not None and seen.objects.track_ids is not None
            for instance, mask in large(frame).items():
                rows, counts = np.unique(seen.objects.instance_map[mask], return_counts=True)
                if rows[counts.argmax()] and counts.max() > 0.8 * mask.sum():
                    names.setdefault(instance, set()).add(int(seen.objects.track_ids[rows[counts.argmax()] - 1]))
        assert len(names) > 5 and sum(len(ids) - 1 for ids in names.values()) == 0
        assert seen.obstacles is not None and seen.obstacles.is_relative is not odometry
        velocities = seen.obstacles.velocities_mps
        truth = {o.instance_id: o for o in frame.objects}
        errors = []
        for row, v in zip(seen.obstacles.rows, velocities):
            values, counts = np.unique(frame.instance_ids[seen.objects.instance_map == row + 1], return_counts=True)
            thing = truth.get(int(values[counts.argmax()]))
            if thing is None or not np.isfinite(v).all():
                continue
            turn = frame.world_from_base[:2, :2]
            ego = (drive.frames[-1].world_from_base - drive.frames[-2].world_from_base)[:2, 3] * 15.0
            expected = turn.T @ (np.array(thing.velocity) - (0 if odometry else ego))
            errors.append(float(np.hypot(*(v - expected))))
        assert len(errors) >= 3 and np.median(errors) < 1.5, errors


def test_nothing_is_computed_that_nobody_asks_for() -> None:
    drive = Drive(2)
    seen = drive.see(0, Wanted())
    assert seen.objects is None and seen.panoptic is None and seen.obstacles is None and seen.thing_counts == {}
    assert not {"panoptic", "obstacles"} & set(seen.stage_ms)
    seen = drive.see(1, Wanted(mask=False, confidence=False, panoptic=True))
    assert seen.panoptic is not None and "obstacles" not in seen.stage_ms
    assert seen.objects is not None and seen.objects.track_ids is None


def test_detections_need_no_place_and_obstacles_say_why_they_have_none() -> None:
    drive = Drive(2)
    lost = replace(drive.picture(0), frame_id="nowhere")
    seen = drive.pipeline.process(lost, Wanted(detections=True))
    assert seen.objects is not None and seen.objects.track_ids is not None and seen.ground_problem is None
    seen = drive.pipeline.process(replace(drive.picture(1), frame_id="nowhere"), EVERYTHING)
    assert seen.objects is not None and len(seen.objects) and seen.obstacles is None
    assert seen.ground_problem is not None and seen.ground_problem[0] == "unknown_frame"


def test_limits_by_class_change_while_it_runs() -> None:
    drive = Drive(1)
    before = drive.see(0).objects
    assert before is not None
    names = {label.id: label.name for label in CITYSCAPES}
    kinds = {names[int(c)] for c in before.class_ids}
    chosen = sorted(kinds)[0]
    config = drive.pipeline.config.with_parameters({"object_min_areas": [f"{chosen}:100000"]})
    drive.pipeline.configure(config)
    after = drive.see(0).objects
    assert after is not None and {names[int(c)] for c in after.class_ids} == kinds - {chosen}
    assert after.left_out["too_small"] > before.left_out.get("too_small", 0)
    for entry in ("lawn:4", "person", "person:-1", "person:x", "person:nan"):
        with pytest.raises(ConfigError, match="object_min_areas"):
            drive.pipeline.configure(config.with_parameters({"object_min_areas": [entry]}))
    assert drive.pipeline.config is config


def test_what_a_pad_put_around_the_picture_is_no_object() -> None:
    """A network may see anything in grey margins."""
    ids = np.full((64, 128), CITYSCAPES.id_of("car"), np.uint8)
    ids[:, 32:96] = CITYSCAPES.id_of("road")

    class Margins(ReplayedBackend):
        input_hw = (256, 512)

        def __init__(self) -> None:
            super().__init__({1: ids})
            self.input_hw = (256, 512)

    camera = CameraConfig(fit="pad")
    pipeline = Pipeline(PipelineConfig(backend="replayed", camera_configs=(camera,)), Margins())
    picture = frame_of_rgb(1, OPTICAL, np.zeros((256, 256, 3), np.uint8))
    seen = pipeline.process(picture, Wanted(panoptic=True, detections=True))
    assert seen.objects is not None and len(seen.objects) == 0
    assert seen.panoptic is not None and (seen.panoptic == CITYSCAPES.id_of("road") * 1000).all()


def test_a_divisor_that_overflows_is_refused_with_one_that_fits() -> None:
    with pytest.raises(ConfigError, match="panoptic_divisor.*at most 3449"):
        Pipeline(PipelineConfig(backend="replayed", panoptic_divisor=5000), ReplayedBackend({}))


def test_a_clock_that_jumps_back_begins_all_tracks_anew_and_is_counted() -> None:
    drive = Drive(3)
    first, second = drive.see(1), drive.see(2)
    assert first.thing_counts["clock_jumps"] == second.thing_counts["clock_jumps"] == 0
    back = drive.see(0)
    assert back.thing_counts["clock_jumps"] == 1
    assert second.objects is not None and back.objects is not None
    assert second.objects.track_ids is not None and back.objects.track_ids is not None
    assert back.objects.track_ids.min() > second.objects.track_ids.max()
