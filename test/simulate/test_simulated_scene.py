"""A simulated drive: the same every time, moving as it says, and with everything a street has."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES, VOID_ID
from seg_perception.simulate import EPOCH_NS, SimulatedFrame, StreetScene

ROOT = Path(__file__).resolve().parents[2]


def digest(frame: SimulatedFrame) -> str:
    together = hashlib.sha256()
    for image in (frame.rgb, frame.class_ids, frame.instance_ids):
        together.update(image.tobytes())
    return together.hexdigest()


def small(seed: int = 5) -> StreetScene:
    return StreetScene(seed=seed, width_px=96, height_px=72, rate_hz=10.0)


def test_another_process_sees_the_same_bytes() -> None:
    code = (
        "import sys; sys.path.insert(0, 'test/simulate')\n"
        "from test_simulated_scene import digest, small\n"
        "scene = small()\n"
        "print(digest(scene.frame(90)))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert done.stdout.split() == [digest(small().frame(90))]


def test_a_frame_depends_on_no_other() -> None:
    # Blocks change at about every 71st frame: by way of the next one, and in one leap.
    forwards, backwards = small(), small()
    straight = {index: digest(forwards.frame(index)) for index in (0, 60, 75, 145)}
    assert {index: digest(backwards.frame(index)) for index in (145, 75, 60, 0)} == straight


@pytest.mark.parametrize(
    "options",
    [{}, {"bump_pitch_rad": 0.02, "kerb_m": 0.0}, {"distortion_model": "plumb_bob"}, {"curvature_per_m": 0.013}],
)
def test_an_unshaded_frame_has_the_same_ids_and_no_colours(options: dict[str, Any]) -> None:
    scene, alone = (StreetScene(seed=5, width_px=160, height_px=120, **options) for _ in range(2))
    for index in (3, 4, 90):
        shaded, cheap = scene.frame(index), alone.frame(index, shaded=False)
        assert cheap.rgb.shape == (0, 0, 3) and shaded.rgb.shape == (120, 160, 3)
        np.testing.assert_array_equal(cheap.class_ids, shaded.class_ids)
        np.testing.assert_array_equal(cheap.instance_ids, shaded.instance_ids)
        np.testing.assert_array_equal(scene.frame(index, shaded=False).class_ids, shaded.class_ids)


def test_another_seed_is_another_street() -> None:
    assert digest(small(5).frame(0)) != digest(small(6).frame(0))


def test_stamps_and_calibration() -> None:
    scene = StreetScene(width_px=64, height_px=48, rate_hz=15.0, focal_px=60.0)
    frames = list(scene.frames(3, first=1))
    assert [frame.index for frame in frames] == [1, 2, 3]
    assert [frame.stamp_ns - EPOCH_NS for frame in frames] == [66_666_667, 133_333_333, 200_000_000]
    info = frames[0].camera
    assert (info.width, info.height, info.distortion_model, info.d) == (64, 48, "plumb_bob", (0.0,) * 5)
    assert info.k == (60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1)
    assert info.p == (60.0, 0, 31.5, 0, 0, 60.0, 23.5, 0, 0, 0, 1, 0)
    assert info.r == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_movers_move_by_their_velocity(street: StreetScene) -> None:
    before, after = street.frame(30), street.frame(31)
    seconds = (after.stamp_ns - before.stamp_ns) / 1e9
    later = {thing.instance_id: thing for thing in after.objects}
    moved = {"car": 0, "person": 0, "bicycle": 0, "rider": 0}
    for thing in before.objects:
        if thing.instance_id not in later or not any(thing.velocity):
            continue
        step = np.array(later[thing.instance_id].position)[:2] - np.array(thing.position)[:2]
        np.testing.assert_allclose(step, np.array(thing.velocity) * seconds, atol=1e-6)
        name = CITYSCAPES.labels[thing.class_id].name
        moved[name] = moved.get(name, 0) + 1
    assert all(moved.values()), moved
    still = {thing.instance_id: thing for thing in before.objects if not any(thing.velocity)}
    assert sum(later[i] == thing for i, thing in still.items() if i in later) > 20
    ego = after.world_from_base[:3, 3] - before.world_from_base[:3, 3]
    np.testing.assert_allclose(ego, [9.0 * seconds, 0, 0], atol=1e-6)


def test_poses_follow_rep_103() -> None:
    scene = StreetScene(width_px=64, height_px=48, camera_height_m=1.3, camera_pitch_rad=0.1, camera_forward_m=2.0)
    frame = scene.frame(15)
    np.testing.assert_allclose(frame.world_from_base[:3, 3], [9.0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(frame.base_from_optical[:3, 3], [2.0, 0, 1.3])
    right, down, forward = frame.base_from_optical[:3, :3].T
    np.testing.assert_allclose(right, [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(forward, [np.cos(0.1), 0, -np.sin(0.1)], atol=1e-12)
    np.testing.assert_allclose(np.cross(right, down), forward, atol=1e-12)


def test_a_drive_shows_every_class_of_a_street() -> None:
    scene = StreetScene(seed=0, width_px=320, height_px=240)
    pixels = np.zeros(256, np.int64)
    for index in range(0, 107 * 10, 107):
        pixels += np.bincount(scene.frame(index).class_ids.ravel(), minlength=256)
    seen = {CITYSCAPES.labels[i].name for i in np.flatnonzero(pixels[: len(CITYSCAPES)] > 20)}
    assert not pixels[len(CITYSCAPES) : VOID_ID].any()
    assert seen >= {label.name for label in CITYSCAPES} - {"train", "motorcycle"}
    assert pixels[CITYSCAPES.id_of("road")] > 0.25 * pixels.sum()
    assert pixels[CITYSCAPES.id_of("sky")] > 0.10 * pixels.sum()


def test_far_down_the_street_it_is_as_exact_as_at_its_beginning() -> None:
    """A drive of a day: 800 km on, the lane's markings are still where the plan has them."""
    frame = small().frame(10 * 86_400)
    assert frame.world_from_base[0, 3] == pytest.approx(9.0 * 86_400)
    assert len(np.unique(frame.class_ids)) >= 5
    assert frame.rgb[-10:].std() > 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seed": -1}, r"seed must be an integer from 0 to 4294967295, got -1"),
        ({"seed": 1.5}, r"seed must be an integer .* got 1.5"),
        ({"seed": True}, r"seed must be an integer .* got True"),
        ({"width_px": 8}, r"width_px must be an integer from 16 to 8192, got 8"),
        ({"height_px": "480"}, r"height_px must be an integer from 16 to 8192, got '480'"),
        ({"rate_hz": 0}, r"rate_hz must be a number from 0.1 to 1000 Hz, got 0"),
        ({"rate_hz": float("nan")}, r"rate_hz must be a number .* got nan"),
        ({"focal_px": 0}, r"fx must be a number from 1 to 1e\+06 pixels, got 0"),
        ({"camera_height_m": 0.0}, r"camera_height_m must be a number from 0.2 to 5 m, got 0.0"),
        ({"camera_pitch_rad": 2}, r"camera_pitch_rad must be a number from -0.6 to 0.6 rad, got 2"),
        ({"camera_forward_m": None}, r"camera_forward_m must be a number from -5 to 5 m, got None"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        StreetScene(**arguments)


def test_frames_that_do_not_exist_are_refused() -> None:
    scene = small()
    with pytest.raises(ConfigError, match="frame number must be an integer of at least 0, got -1"):
        scene.frame(-1)
    with pytest.raises(ConfigError, match="count must be an integer of at least 0, got 2.5"):
        scene.frames(2.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="frame number must be an integer of at least 0, got -3"):
        scene.frames(2, first=-3)
    assert list(scene.frames(0)) == []
