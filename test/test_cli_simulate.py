"""`seg_perception simulate`, through the command line, read back by other people's readers."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bags import IMAGE, Message, read_image, read_mcap

stores = pytest.importorskip("rosbags.typesys", reason="bags need rosbags")
pytest.importorskip("mcap.reader", reason="bags are checked with the mcap package")

from seg_perception.cli import main
from seg_perception.config import PipelineConfig
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import EPOCH_NS, StreetScene

SIZE = ("--size", "96x72", "--rate", "10", "--seed", "3")


def simulate(folder: Path, *options: str, frames: int = 3, code: int = 0) -> list[Message]:
    assert main(["simulate", "-o", str(folder), *SIZE, "--frames", str(frames), *options]) == code
    return read_mcap(folder / "bag.mcap") if code == 0 else []


def decoded(messages: list[Message], topic: str) -> list[Any]:
    store = stores.get_typestore(stores.Stores.ROS2_JAZZY)
    return [store.deserialize_cdr(m.data, m.type_name) for m in messages if m.topic == topic]


def stamp_of(header: Any) -> int:
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


def matrix_of(transform: Any) -> np.ndarray:
    """By Rodrigues' formula."""
    r, t = transform.transform.rotation, transform.transform.translation
    x, y, z = r.x, r.y, r.z
    assert x * x + y * y + z * z + r.w * r.w == pytest.approx(1)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    pose = np.eye(4)
    pose[:3, :3] += 2 * r.w * cross + 2 * cross @ cross
    pose[:3, 3] = t.x, t.y, t.z
    return pose


def chain(messages: list[Message], stamp_ns: int) -> tuple[list[str], np.ndarray]:
    """Frames from odom to the camera, and the pose of the last in the first."""
    links = {}
    for topic in ("/tf_static", "/tf"):
        for message in decoded(messages, topic):
            for transform in message.transforms:
                if topic == "/tf_static" or stamp_of(transform.header) == stamp_ns:
                    links[transform.header.frame_id] = transform
    names, pose = ["odom"], np.eye(4)
    while names[-1] in links:
        transform = links[names[-1]]
        names.append(transform.child_frame_id)
        pose = pose @ matrix_of(transform)
    return names, pose


FRAMES = ["odom", "base_footprint", "base_link", "camera_link", "camera_optical_frame"]


def test_the_bag_says_what_the_scene_is(tmp_path: Path) -> None:
    options = ("--bumps", "1.5", "--weave", "0.4", "--roll", "2", "--yaw", "-4", "--pitch", "5", "--height", "1.3")
    options += ("--curvature", "-0.018")
    messages = simulate(tmp_path, *options, "--distortion", "rational_polynomial")
    assert "bends to the right with a radius of 55.5556 m" in (tmp_path / "README.txt").read_text()
    degree = np.pi / 180
    scene = StreetScene(
        3, 96, 72, 10.0, camera_pitch_rad=5 * degree, camera_roll_rad=2 * degree, camera_yaw_rad=-4 * degree,
        camera_height_m=1.3, bump_pitch_rad=1.5 * degree, bump_height_m=0.03, weave_m=0.4,
        distortion_model="rational_polynomial", curvature_per_m=-0.018,
    )  # fmt: skip
    images = [m for m in messages if m.topic == "/camera/image_raw"]
    infos = decoded(messages, "/camera/camera_info")
    assert len(images) == len(infos) == 3
    for index, (image, info) in enumerate(zip(images, infos)):
        frame, seen = scene.frame(index), read_image(image.data)
        assert (image.type_name, image.log_ns, seen.stamp_ns) == (IMAGE, frame.stamp_ns, frame.stamp_ns)
        assert (seen.frame_id, seen.encoding) == ("camera_optical_frame", "rgb8")
        np.testing.assert_array_equal(seen.pixels, frame.rgb)
        assert (stamp_of(info.header), info.header.frame_id) == (frame.stamp_ns, "camera_optical_frame")
        assert (info.width, info.height, info.distortion_model) == (96, 72, "rational_polynomial")
        assert tuple(info.d) == frame.camera.d and tuple(info.k) == frame.camera.k
        names, pose = chain(messages, frame.stamp_ns)
        assert names == FRAMES
        np.testing.assert_allclose(pose, frame.world_from_base @ frame.base_from_optical, atol=1e-9)


def test_what_does_not_move_is_static_and_the_camera_link_looks_forward(tmp_path: Path) -> None:
    messages = simulate(tmp_path, "--no-images", "--pitch", "0", frames=2)
    assert {m.topic for m in messages} == {"/tf", "/tf_static", "/camera/camera_info"}
    (static,) = decoded(messages, "/tf_static")
    poses = {t.child_frame_id: matrix_of(t) for t in static.transforms}
    assert set(poses) == set(FRAMES[2:])
    np.testing.assert_allclose(poses["camera_link"][:3, :3], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(poses["camera_link"][:3, 3], [1.6, 0, 1.45])
    np.testing.assert_allclose(poses["camera_optical_frame"][:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-9)
    moving = decoded(messages, "/tf")
    assert [[t.child_frame_id for t in message.transforms] for message in moving] == [["base_footprint"]] * 2
    assert moving[1].transforms[0].transform.translation.x == pytest.approx(0.9)


def test_odom_stays_where_it_is_while_the_vehicle_goes_round(tmp_path: Path) -> None:
    messages = simulate(tmp_path, "--no-images", "--curvature", "0.02", frames=21)
    poses = [matrix_of(t) for message in decoded(messages, "/tf") for t in message.transforms]
    np.testing.assert_allclose(poses[0], np.eye(4), atol=1e-12)
    # 18 m along an arc of 50 m radius about (0, 50).
    angle = 18 / 50
    np.testing.assert_allclose(poses[20][:3, 3], [50 * np.sin(angle), 50 - 50 * np.cos(angle), 0], atol=1e-9)
    np.testing.assert_allclose(poses[20][:2, 0], [np.cos(angle), np.sin(angle)], atol=1e-9)
    content = json.loads((tmp_path / "truth" / f"{EPOCH_NS + 20 * 100_000_000}.json").read_text())
    np.testing.assert_allclose(content["world_from_base"], poses[20], atol=1e-9)


def test_the_truth_lies_beside_it(tmp_path: Path) -> None:
    simulate(tmp_path, "--slope", "3", "--kerb", "0", "--no-images", frames=2)
    scene = StreetScene(3, 96, 72, 10.0, camera_pitch_rad=np.radians(1.7), slope_rad=np.radians(3), kerb_m=0.0)
    assert "rises by 3 degrees" in (tmp_path / "README.txt").read_text()
    assert len(list((tmp_path / "truth").iterdir())) == 8
    for index in range(2):
        frame, truth = scene.frame(index, shaded=False), scene.ground_truth(index)
        place = tmp_path / "truth" / str(frame.stamp_ns)
        for suffix, expected in (("_class", frame.class_ids), ("_instance", frame.instance_ids)):
            image = cv2.imread(f"{place}{suffix}.png", cv2.IMREAD_UNCHANGED)
            assert image.dtype == expected.dtype
            np.testing.assert_array_equal(image, expected)
        content = json.loads(Path(f"{place}.json").read_text())
        extent, config = content["grid"], PipelineConfig()
        assert extent["contact_depth_m"] == config.contact_depth_m
        assert (extent["x_m"], extent["y_m"]) == (list(config.grid_x_m), list(config.grid_y_m))
        grid = np.load(f"{place}_grid.npy")
        expected = truth.grid(extent["x_m"], extent["y_m"], extent["resolution_m"], extent["contact_depth_m"])
        assert grid.dtype == np.int8 and grid.shape == (200, 200)
        np.testing.assert_array_equal(grid, expected)
        assert {-1, 0} <= set(np.unique(grid).tolist())
        np.testing.assert_array_equal(content["base_from_optical"], frame.base_from_optical)
        np.testing.assert_array_equal(content["world_from_base"], frame.world_from_base)
        assert content["camera"]["k"] == list(frame.camera.k) and content["camera"]["d"] == [0.0] * 5
        assert len(content["objects"]) == len(frame.objects)
        for written, thing in zip(content["objects"], frame.objects):
            assert written["id"] == thing.instance_id
            assert CITYSCAPES.id_of(written["class"]) == thing.class_id
            world = frame.world_from_base @ [*written["position"], 1]
            np.testing.assert_allclose(world[:3], thing.position, atol=1e-9)
            np.testing.assert_allclose(np.linalg.norm(written["velocity"]), np.hypot(*thing.velocity), atol=1e-9)
            # The slope's 3 degrees shorten what is ahead by no more than 0.0014.
            heading = [np.cos(written["yaw_rad"]), np.sin(written["yaw_rad"])]
            assert np.dot(heading, [np.cos(thing.yaw_rad), np.sin(thing.yaw_rad)]) > 0.999


def test_a_replay_of_the_bag_with_its_own_truth_gives_the_truth(tmp_path: Path) -> None:
    simulate(tmp_path / "drive", "--jpeg", "--distortion", "equidistant")
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in (tmp_path / "drive" / "truth").glob("*_class.png"):
        shutil.copy(path, masks / f"{path.stem.split('_')[0]}.png")
    out = tmp_path / "replayed.mcap"
    backend = ("--param", "backend=replayed", "--param", f"replay_masks={masks}", "--outputs", "mask")
    assert main(["replay", str(tmp_path / "drive" / "bag.mcap"), "-o", str(out), *backend]) == 0
    replayed = [read_image(m.data) for m in read_mcap(out) if m.topic == "/segmentation/mask"]
    scene = StreetScene(3, 96, 72, 10.0, camera_pitch_rad=np.radians(1.7), distortion_model="equidistant")
    assert [mask.stamp_ns for mask in replayed] == [EPOCH_NS + i * 100_000_000 for i in range(3)]
    for index, mask in enumerate(replayed):
        np.testing.assert_array_equal(mask.pixels[..., 0], scene.frame(index, shaded=False).class_ids)
    (first, *_) = [m for m in read_mcap(out) if m.topic == "/camera/image_raw/compressed"]
    assert decoded([first], first.topic)[0].format == "rgb8; jpeg compressed bgr8"
    picture = cv2.imdecode(decoded([first], first.topic)[0].data, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(picture.astype(int) - scene.frame(0).rgb).mean() < 4


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_second_run_gives_the_same_bytes_and_needs_leave_to_replace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulate(tmp_path / "a", "--bumps", "1")
    simulate(tmp_path / "b", "--bumps", "1")
    first = digests(tmp_path / "a")
    assert len(first) == 2 + 4 * 3 and digests(tmp_path / "b") == first
    simulate(tmp_path / "a", "--bumps", "1", frames=2, code=1)
    assert "overwrite it with --force" in capsys.readouterr().err
    assert digests(tmp_path / "a") == first
    (tmp_path / "a" / "truth" / "notes.txt").write_text("mine")
    simulate(tmp_path / "a", "--bumps", "1", "--force", frames=2)
    left = digests(tmp_path / "a")
    assert len(left) == 2 + 4 * 2 + 1 and "truth/notes.txt" in left
    assert left.items() >= {name: first[name] for name in left if f"{EPOCH_NS}" in name}.items()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--size", "96"), "--size must be width x height such as 640x480, got '96'"),
        (("--frames", "0"), "--frames must be 1 or more, got 0"),
        (("--distortion", "fish"), "distortion_model must be one of none, plumb_bob"),
        (("--pitch", "90"), "camera_pitch_rad must be a number from -0.6 to 0.6 rad"),
        (("--curvature", "0.1"), "curvature_per_m must be a number from -0.02 to 0.02 1/m, got 0.1"),
        (("--bumps", "-1"), "bump_pitch_rad must be a number from 0 to 0.1 rad"),
    ],
)
def test_what_cannot_be_simulated_is_told_and_leaves_nothing(
    options: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "-o", str(tmp_path / "drive"), *options]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "drive").exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["simulate", "-o", str(tmp_path / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err
