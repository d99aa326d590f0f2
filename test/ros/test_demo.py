"""The demo as a user starts it: three processes over real DDS, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

COUNT = 20


def pictures_folder(folder: Path) -> list[np.ndarray]:
    """Different PNG pictures, so that a mask of another frame could not pass for the right one."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    pictures = []
    for i in range(COUNT):
        picture = cv2.resize(np.roll(coarse, i, axis=1), (320, 240), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / f"view_{i}.png"), picture)
        pictures.append(picture)
    return pictures


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    from harness import environment, free_domain

    command = [sys.executable, "-m", "seg_perception", "demo", *arguments]
    return subprocess.run(command, env=environment(free_domain()), capture_output=True, text=True, timeout=120)


def test_a_folder_of_pictures(ros_environment: None, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="the demo writes its video with PyAV")
    from seg_perception.bag import Bag, RosbagsKit
    from seg_perception.config import PipelineConfig
    from seg_perception.messages import IMAGE, stamp_ns_of
    from seg_perception.outputs import OUTPUTS
    from seg_perception.pipeline import Pipeline
    from seg_perception.types import CompressedImage, Frame

    pictures_folder(tmp_path / "in")
    out = tmp_path / "out"
    done = run_demo("--input", str(tmp_path / "in"), "--out", str(out), "--rate", "8", "--limit", "0")
    assert done.returncode == 0, done.stderr
    assert "inference" in done.stdout and "p95 ms" in done.stdout
    assert "starting the node" in done.stderr and "watch it live with ROS_DOMAIN_ID=" in done.stderr

    stamps = dict(reversed(line.split()) for line in (out / "stamps.txt").read_text().splitlines())
    assert sorted(map(int, stamps.values())) == list(range(COUNT))
    kit, masks, counts = RosbagsKit(), {}, {}
    with Bag(out / "demo.mcap") as bag:
        assert not bag.losses
        counts = {c.topic: c.count for c in bag.connections}
        for message in bag.messages(["/segmentation/mask"]):
            mask = kit.deserialize(message.data, IMAGE)
            masks[stamp_ns_of(mask)] = mask.data.reshape(mask.height, mask.width)
    published = counts["/segmentation/mask"]
    camera = next(v for v in json.loads((out / "diagnostics.json").read_text()).values() if "received" in v)
    assert int(camera["received"]) == COUNT
    assert published == int(camera["published"]) == COUNT - int(camera["dropped"])
    for output in OUTPUTS:  # there is no calibration: neither a scaled one nor anything in metres
        in_metres = output.wanted in ("grid", "boundary", "obstacles")
        expected = None if in_metres else 0 if output.name == "camera_info" else published
        assert counts.get(f"/segmentation/{output.name}") == expected
    assert not any(key.startswith("without_metres") for key in camera)
    assert counts["/segmentation/label_info"] == 1 and counts["/diagnostics"] > 0

    pipeline = Pipeline(PipelineConfig())
    for stamp_ns, mask in masks.items():
        png = (tmp_path / "in" / f"view_{stamps[str(stamp_ns)]}.png").read_bytes()
        expected = pipeline.process(Frame(0, "", CompressedImage("png", png))).segmentation.class_ids
        np.testing.assert_array_equal(mask, expected)

    with av.open(str(out / "overlay.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].codec_context.name == "h264"
    assert len(frames) == published and frames[0].shape[1] == 320 and frames[0].shape[0] > 240
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet is not None and sheet.shape[1] == 1600


def test_the_embedded_street_is_seen_from_above_as_well(ros_environment: None, tmp_path: Path) -> None:
    """The node is told where the simulated camera is, and what it says of the ground is true."""
    av = pytest.importorskip("av", reason="the demo shows its video with PyAV")
    from seg_perception.bag import Bag, RosbagsKit
    from seg_perception.config import PipelineConfig
    from seg_perception.messages import stamp_ns_of
    from seg_perception.model.bundle import load_bundle
    from seg_perception.simulate import StreetScene

    out = tmp_path / "out"
    arguments = ["--model", str(load_bundle(PipelineConfig().model).path), "--param", "grid_resolution_m=0.2"]
    done = run_demo("--out", str(out), "--rate", "5", "--limit", "8", *arguments)
    assert done.returncode == 0, done.stderr
    kit, seen = RosbagsKit(), {}
    with Bag(out / "demo.mcap") as bag:
        counts = {c.topic: c.count for c in bag.connections}
        for message in bag.messages(["/segmentation/drivable/grid", "/tf_static"]):
            seen[message.connection.topic] = kit.deserialize(message.data, message.connection.type_name)
    published = counts["/segmentation/mask"]
    assert published > 0
    for name in ("drivable/grid", "drivable/boundary", "obstacles", "obstacles/points", "obstacles/markers"):
        assert counts[f"/segmentation/{name}"] == published, name
    assert counts["/tf_static"] == 1  # the camera does not move on the vehicle

    scene = StreetScene(rate_hz=5)
    (footprint,) = seen["/tf_static"].transforms
    assert (footprint.header.frame_id, footprint.child_frame_id) == ("base_footprint", "camera_footprint")
    place = footprint.transform.translation
    assert (place.x, place.y, place.z) == pytest.approx((*scene.base_from_optical[:2, 3], 0.0), abs=1e-5)
    grid = seen["/segmentation/drivable/grid"]
    assert grid.header.frame_id == "base_footprint"
    assert grid.info.resolution == pytest.approx(0.2)  # --param reached the node
    values = np.asarray(grid.data).reshape(grid.info.height, grid.info.width)
    x = grid.info.origin.position.x + (np.arange(grid.info.width) + 0.5) * 0.2
    y = grid.info.origin.position.y + (np.arange(grid.info.height) + 0.5) * 0.2
    stamps = (line.split() for line in (out / "stamps.txt").read_text().splitlines())
    index_of = {int(stamp): int(index) for index, stamp in stamps}
    truth, is_ground = scene.ground_truth(index_of[stamp_ns_of(grid)]).at(np.stack(np.meshgrid(x, y), -1))
    free = values == 0
    assert free.sum() > 1000 and is_ground[free].mean() > 0.97 and (truth[free] == 0).mean() > 0.9

    with av.open(str(out / "overlay.mp4")) as video:
        frame = next(video.decode(video=0)).to_ndarray(format="rgb24")
    assert frame.shape[0] > 480 and frame.shape[1] > 1000  # the camera's 640 and the ground beside them
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet is not None and sheet.shape[1] == 1600


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--param", "cameras=[left]"], "the demo has one"),
        (["--param", "camera.position_m=[1.0]"], "expected three numbers"),
        (["--input", "no/such/place"], "no such file or folder"),
        (["--limit", "0"], "the embedded street has no end"),
        (["--rate", "0"], "--rate must be above 0"),
        (["--model", "no_such_model"], "no shipped model"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(
    ros_environment: None, tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = run_demo("--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr
