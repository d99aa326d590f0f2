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
    for output in OUTPUTS:  # there is no calibration, and so no scaled one
        assert counts[f"/segmentation/{output.name}"] == (0 if output.name == "camera_info" else published)
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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
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
