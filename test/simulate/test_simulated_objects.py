"""Crowds, parked rows and crossings: that they are what they are called, and that ids and sizes stay true in them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import SceneObject, SimulatedFrame, StreetScene
from seg_perception.simulate.layout import BLOCK_M
from seg_perception.simulate.planner import plan_block
from seg_perception.simulate.vehicles import VEHICLES

ROOT = Path(__file__).resolve().parents[2]
PERSON, RIDER, CAR = (CITYSCAPES.id_of(name) for name in ("person", "rider", "car"))
VEHICLE_IDS = {CITYSCAPES.id_of(name) for name in ("car", "truck", "bus")}
BUSY: dict[str, Any] = {"crowds": 1.0, "tight_parking": True, "crossers": 1.0}


@lru_cache(maxsize=8)
def street(seed: int, width_px: int = 320, height_px: int = 240, **options: Any) -> StreetScene:
    return StreetScene(seed, width_px, height_px, rate_hz=10.0, **options)


def objects_at(scene: StreetScene, time_s: float) -> tuple[SceneObject, ...]:
    return scene.world.at(time_s, 9.0 * time_s + 1.6).objects


def plan_digest(scene: StreetScene, index: int) -> str:
    rows = [
        (thing.instance_id, thing.class_id, *(round(v, 6) for v in (*thing.position, thing.yaw_rad, *thing.velocity)))
        for thing in scene.frame(index, shaded=False).objects
    ]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("options", "index", "digest"),
    [
        ({}, 0, "2dc11af5f29c659b"),
        ({"seed": 3, "kerb_m": 0.0}, 300, "2c33da6d1712909f"),
        ({"seed": 7, "curvature_per_m": 0.012}, 150, "fb8cfaa45e30ceef"),
    ],
)
def test_without_options_the_street_is_as_it_always_was(options: dict[str, Any], index: int, digest: str) -> None:
    off: dict[str, Any] = {"crowds": 0.0, "tight_parking": False, "crossers": 0.0}
    assert plan_digest(StreetScene(width_px=64, height_px=48, **options), index) == digest
    assert plan_digest(StreetScene(width_px=64, height_px=48, **options, **off), index) == digest


def frame_digest(scene: StreetScene, index: int) -> str:
    frame, truth = scene.frame(index), scene.ground_truth(index).contacts(50.0)
    arrays = (frame.rgb, frame.class_ids, frame.instance_ids, truth.instance_ids, truth.contact_xy, truth.relative_mps)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_another_process_sees_the_same_bytes_whatever_it_saw_before() -> None:
    code = (
        "import sys; sys.path.insert(0, 'test/simulate')\n"
        "from test_simulated_objects import BUSY, frame_digest, street\n"
        "print(frame_digest(street(2, 96, 72, **BUSY), 210))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    scene = StreetScene(2, 96, 72, rate_hz=10.0, **BUSY)
    for index in (300, 40):
        scene.frame(index, shaded=False)
    assert done.stdout.split() == [frame_digest(scene, 210)]


@pytest.mark.parametrize(
    "options", [BUSY, {"crowds": 0.5}, {"tight_parking": True}, {"crossers": 0.7}, {**BUSY, "curvature_per_m": 0.015}]
)
def test_ids_are_unique_and_each_of_one_class_for_life(options: dict[str, Any]) -> None:
    scene, class_of = street(4, **options), dict[int, int]()
    for index in range(0, 240, 30):
        frame = scene.frame(index, shaded=False)
        ids = [thing.instance_id for thing in frame.objects]
        assert len(ids) == len(set(ids)) and 0 < min(ids) and max(ids) <= 0xFFFF
        for thing in frame.objects:
            assert class_of.setdefault(thing.instance_id, thing.class_id) == thing.class_id
        pairs = np.unique(np.stack([frame.instance_ids.ravel(), frame.class_ids.ravel()]), axis=1).T
        shown = {int(number): int(class_id) for number, class_id in pairs if number}
        assert len(shown) == np.count_nonzero(pairs[:, 0]) and len(shown) > 5
        assert all(class_of[number] == class_id for number, class_id in shown.items())
        np.testing.assert_array_equal(frame.instance_ids > 0, np.isin(frame.class_ids, range(11, 19)))


def test_ids_stay_unique_far_down_the_street() -> None:
    scene = street(1, 64, 48, **BUSY)
    for time_s in (500.0, 7_000.0, 70_000.0):
        ids = [thing.instance_id for thing in objects_at(scene, time_s)]
        assert len(ids) == len(set(ids)) > 300 and max(ids) <= 0xFFFF


def person_borders(frame: SimulatedFrame) -> int:
    """Pairs of neighbouring pixels that show different people."""
    people = np.where(frame.class_ids == PERSON, frame.instance_ids, 0).astype(int)
    across = (people[:, 1:] != people[:, :-1]) & (people[:, 1:] > 0) & (people[:, :-1] > 0)
    down = (people[1:] != people[:-1]) & (people[1:] > 0) & (people[:-1] > 0)
    return int(across.sum() + down.sum())


def test_crowds_touch() -> None:
    usual, crowded = street(1), street(1, crowds=1.0, crossers=1.0)
    frames = range(30, 200, 34)
    before = sum(person_borders(usual.frame(i, shaded=False)) for i in frames)
    after = sum(person_borders(crowded.frame(i, shaded=False)) for i in frames)
    assert after > 100 * len(frames) and after > 5 * before
    # Some are near by and large.
    near = [np.bincount(crowded.frame(i, shaded=False).instance_ids.ravel()) for i in frames]
    assert any((area[1:] > 400).any() for area in near)


def test_more_of_it_is_more() -> None:
    def count(**options: Any) -> int:
        return sum(sum(t.class_id == PERSON for t in objects_at(street(6, 64, 48, **options), s)) for s in (5.0, 20.0))

    usual, some, all_places = count(), count(crowds=0.4), count(crowds=1.0)
    assert usual < some < all_places
    some, all_places = (
        sum(abs(t.velocity[1]) > 0.5 for s in range(0, 60, 4) for t in objects_at(street(6, 64, 48, crossers=c), s))
        for c in (0.3, 1.0)
    )
    assert 0 < some < all_places


@pytest.mark.parametrize("seed", range(4))
def test_parked_rows_are_bumper_to_bumper(seed: int) -> None:
    scene = street(seed, 64, 48, tight_parking=True, crossers=1.0)
    plans = [plan_block(seed, i, bustle=scene.world.bustle) for i in range(12)]
    gaps = []
    for sign in (-1, 1):
        row = sorted((car for plan in plans for car in plan.parked if car.y * sign > 0), key=lambda car: car.x)
        for rear, front in zip(row, row[1:]):
            # Nearest corners along the street; they are turned by less than 0.01 rad.
            half = [
                VEHICLES[car.kind].length / 2 * math.cos(car.yaw_rad) * math.copysign(1, math.cos(car.yaw_rad))
                + VEHICLES[car.kind].width / 2 * abs(math.sin(car.yaw_rad))
                for car in (rear, front)
            ]
            gaps.append(front.x - rear.x - sum(half))
        kerb = scene.world.street.side(sign).kerb
        assert all(kerb - 0.35 < abs(car.y) + VEHICLES[car.kind].width / 2 < kerb for car in row)
    tight = [gap for gap in gaps if gap < 0.4]
    assert min(gaps) >= 0.1 and len(tight) > 0.8 * len(gaps) and len(tight) > 120
    # Else they leave room for a junction or a crossing; seldom for what no car fits into.
    assert sum(0.4 <= gap <= 4.0 for gap in gaps) < 0.03 * len(gaps)


def inside(place: np.ndarray, box: SceneObject, room_m: float) -> np.ndarray:
    c, s = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
    away = np.abs((place - box.position[:2]) @ np.array([[c, -s], [s, c]]))
    return (away < np.array(box.size[:2]) / 2 + room_m).all(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_stands_in_a_vehicle_or_in_another_or_is_run_over(seed: int) -> None:
    scene, near_pairs, pairs = street(seed, 64, 48, **BUSY), 0, 0
    for time_s in np.arange(0.0, 70.0, 1.3):
        things = objects_at(scene, float(time_s))
        people = np.array([t.position[:2] for t in things if t.class_id in (PERSON, RIDER)])
        for vehicle in things:
            if vehicle.class_id in VEHICLE_IDS:
                assert not inside(people, vehicle, 0.05).any()
        ahead, aside = people[:, 0] - 9.0 * time_s, people[:, 1]
        assert not ((ahead > -1) & (ahead < 8.5) & (np.abs(aside) < 1.2)).any()
        apart = np.hypot(*(people[:, None] - people).transpose(2, 0, 1))[np.triu_indices(len(people), 1)]
        near_pairs, pairs = near_pairs + int((apart < 0.28).sum()), pairs + int((apart < 0.6).sum())
    # Friends who were drawn upon each other there have always been.
    assert pairs > 1000 and near_pairs < 0.005 * pairs


def test_crossers_are_seen_near_by_and_move_as_they_say() -> None:
    scene, near = street(2, 64, 48, crowds=0.5, crossers=1.0), 0
    profile = scene.world.street
    for time_s in np.arange(1.0, 60.0, 0.9):
        before, after = ({t.instance_id: t for t in objects_at(scene, time_s + step)} for step in (0.0, 0.01))
        for number in before.keys() & after.keys():
            step = np.subtract(after[number].position, before[number].position)[:2] / 0.01
            if np.array_equal(before[number].velocity, after[number].velocity):
                np.testing.assert_allclose(step, before[number].velocity, atol=1e-6)
        for thing in before.values():
            crosses = abs(thing.velocity[1]) > 0.5 and profile.kerb_right < thing.position[1] < profile.kerb_left
            near += crosses and 6 < thing.position[0] - 9 * time_s < 25
    assert near > 30


def test_people_are_hidden_for_a_moment_and_come_back_the_same() -> None:
    """In the picture: seen, then not at all for two frames or more, then seen again, under the same number."""
    scene, first, count = street(2, 200, 150, crowds=0.5, crossers=1.0, kerb_m=0.0), 40, 60
    shown: dict[int, np.ndarray] = {}
    for index in range(count):
        frame = scene.frame(first + index, shaded=False)
        areas = np.bincount(frame.instance_ids.ravel(), minlength=1 << 16)
        for thing in frame.objects:
            if thing.class_id in (PERSON, RIDER) and 8 < thing.position[0] - frame.world_from_base[0, 3] < 60:
                shown.setdefault(thing.instance_id, np.full(count, -1))[index] = areas[thing.instance_id]
    hidden = 0
    for areas in shown.values():
        clear = np.flatnonzero(areas >= 8)
        for begin, end in zip(clear, clear[1:]):
            hidden += int(2 <= np.count_nonzero(areas[begin + 1 : end] == 0) <= 20)
    assert hidden >= 5


def test_sizes_are_those_of_what_is_drawn() -> None:
    """A person in full view: their picture's height and the truth's, at a known distance."""
    scene, judged = street(5, 640, 480, crowds=1.0, crossers=1.0, kerb_m=0.0, camera_pitch_rad=0.0), 0
    for index in (60, 100, 140):
        frame, contacts = scene.frame(index, shaded=False), scene.ground_truth(index).contacts(30.0)
        things = {thing.instance_id: thing for thing in frame.objects}
        eye, focal = frame.world_from_base @ frame.base_from_optical, frame.camera.k[0]
        for number, lift, height_m in zip(contacts.instance_ids, contacts.lift_m, contacts.height_m):
            thing = things[int(number)]
            rows, columns = np.nonzero(frame.instance_ids == number)
            depth = thing.position[0] - eye[0, 3]
            if thing.class_id != PERSON or depth > 25 or columns.min() == 0 or columns.max() == 639:
                continue
            assert height_m == pytest.approx(thing.size[2], abs=0.02)
            head = frame.instance_ids[max(rows.min() - 1, 0), int(columns[rows == rows.min()].mean())]
            if head == 0 and lift < 0.01:
                top = 1.45 - (rows.min() - frame.camera.k[5]) / focal * depth
                assert top == pytest.approx(thing.size[2], abs=0.02 + 1.0 * depth / focal)
                judged += 1
    assert judged >= 8


def test_what_rests_has_no_velocity_and_what_stands_has_its_kinds_size() -> None:
    things = objects_at(street(3, 64, 48, **BUSY), 12.0)
    for thing in things:
        if thing.instance_id <= 32768:
            assert thing.velocity == (0.0, 0.0)
        if thing.class_id in VEHICLE_IDS:
            assert thing.size in {(kind.length, kind.width, kind.height) for kind in VEHICLES.values()}
    heights = {round(thing.size[2], 3) for thing in things if thing.class_id == PERSON}
    assert len(heights) > 20 and 1.58 < min(heights) and max(heights) < 1.86


def test_where_people_cross_nobody_parks() -> None:
    scene = street(0, 64, 48, tight_parking=True, crossers=1.0)
    for index in range(8):
        crossing = [t.position[0] for t in objects_at(scene, index * BLOCK_M / 9.0) if abs(t.velocity[1]) > 0.5]
        parked = [t for t in objects_at(scene, index * BLOCK_M / 9.0) if t.class_id == CAR and t.instance_id <= 32768]
        assert all(abs(x - car.position[0]) > car.size[0] / 2 + 0.5 for x in crossing for car in parked)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"crowds": 1.5}, r"crowds must be a number from 0 to 1 of all places, got 1.5"),
        ({"crossers": -0.1}, r"crossers must be a number from 0 to 1 of all crossings, got -0.1"),
        ({"crowds": True}, r"crowds must be a number"),
        ({"tight_parking": 1}, r"tight_parking must be True or False, got 1"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        StreetScene(**arguments)


def test_the_command_writes_the_truth_about_objects(tmp_path: Path) -> None:
    pytest.importorskip("rosbags.typesys", reason="bags need rosbags")
    from seg_perception.cli import main

    size = ("--size", "160x120", "--rate", "0.1", "--seed", "2", "--frames", "2", "--no-images", "--kerb", "0")
    busy = ("--crowds", "1", "--tight-parking", "--crossers", "0.8")
    assert main(["simulate", "-o", str(tmp_path), *size, *busy]) == 0
    scene = StreetScene(
        2, 160, 120, 0.1, camera_pitch_rad=math.radians(1.7), kerb_m=0.0, crowds=1.0, tight_parking=True, crossers=0.8
    )
    for index in range(2):
        frame, contacts = scene.frame(index, shaded=False), scene.ground_truth(index).contacts(60.0)
        path = tmp_path / "truth" / str(frame.stamp_ns)
        shown = np.asarray(cv2.imread(f"{path}_instance.png", cv2.IMREAD_UNCHANGED))
        rows = {row["id"]: row for row in json.loads(Path(f"{path}.json").read_text())["objects"]}
        assert rows.keys() == {thing.instance_id for thing in frame.objects}
        for number, row in rows.items():
            assert row["visible_px"] == np.count_nonzero(shown == number)
        told = {number for number, row in rows.items() if row["contact"] is not None}
        assert told == set(contacts.instance_ids.tolist()) & set(np.unique(shown).tolist()) and len(told) >= 3
        for i, number in enumerate(contacts.instance_ids.tolist()):
            if number not in told:
                continue
            contact = rows[number]["contact"]
            np.testing.assert_allclose(contact["place"][:2], contacts.contact_xy[i])
            np.testing.assert_allclose(
                [contact["range"], contact["bearing_rad"]], [contacts.range_m[i], contacts.bearing_rad[i]]
            )
            np.testing.assert_allclose(rows[number]["relative_velocity"], contacts.relative_mps[i], atol=1e-9)
            np.testing.assert_allclose(rows[number]["velocity"][:2], contacts.velocities_mps[i], atol=1e-9)
            np.testing.assert_allclose(rows[number]["size"], contacts.sizes_m[i])
