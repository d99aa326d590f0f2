"""`seg_perception evaluate`, as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets_on_disk import camvid, cityscapes, folder, picture

from seg_perception.cli import main

YARD = "name: yard\nclasses:\n  - {name: path, value: 1, covers: [road]}\n  - {name: wall, value: 2}\nvoid: [0]\n"


def red(city: np.ndarray) -> np.ndarray:
    """A picture of which the tiny model says these Cityscapes train ids, surely."""
    return np.stack([city * 16 + 8, city * 0 + 255, city * 0], -1).astype(np.uint8)


@pytest.fixture
def model(tiny_model: Callable[..., Path]) -> str:
    return str(tiny_model(height=16, width=32, stride=1))


@pytest.fixture
def yard(tmp_path: Path) -> str:
    """Four frames, in which the lower half is road and the upper half wall; frame 3 is called road as a whole."""
    labels = np.full((16, 32), 2, np.uint8)
    labels[8:] = 1
    city = np.where(labels == 1, 0, 3)
    frames = {f"f{i}": (red(city if i < 3 else city * 0), labels) for i in range(4)}
    return str(folder(tmp_path / "yard", YARD, frames))


def test_the_table(model: str, yard: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Path: 4 of 5 halves that are called so are; wall: 3 of 4 halves are found."""
    assert main(["evaluate", model, yard, "--threads", "1"]) == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line[:4] in ("path", "wall", "mean")}
    assert rows["path"][0] == "80.0" and rows["wall"][0] == "75.0" and rows["mean"][0] == "77.5"
    assert rows["path"][2:] == ["50.0", "100.0", "80.0", "100.0"] and rows["wall"][3:5] == ["75.0", "100.0"]
    assert "tiny 1 on yard all: 4 frames" in said and "pixels right       87.5 %" in said
    assert "calibration error  12.50 %" in said and "worst frames       f3 25.0" in said and "p50" in said


def test_json_and_report(model: str, yard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "report"
    assert main(["evaluate", model, yard, "--json", "--out", str(out), "--worst", "1"]) == 0
    said = capsys.readouterr()
    printed = json.loads(said.out)
    assert printed == json.loads((out / "evaluation.json").read_text()) and printed["miou"] == 0.775
    assert printed["worst_frames"] == ["f3"] and "index.html" in said.err
    page = (out / "index.html").read_text()
    assert (
        page.count("<img ") == 4
        and "77.5" in page
        and sorted(p.name for p in out.iterdir())
        == [
            "evaluation.json",
            "index.html",
        ]
    )


def test_limit_takes_frames_from_all_over(model: str, yard: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", model, yard, "--json", "--limit", "2"]) == 0
    assert [frame["name"] for frame in json.loads(capsys.readouterr().out)["frames"]] == ["f0", "f2"]


def test_the_other_kinds_of_data_set(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    city = np.zeros((16, 32), int)
    city[:8] = 10
    labels = {"camvid": np.where(city == 10, 0, 3), "cityscapes": np.where(city == 10, 23, 7)}
    camvid(tmp_path / "camvid", {"a": (red(city), labels["camvid"].astype(np.uint8))}, "train")
    cityscapes(tmp_path / "cityscapes", {"ulm_0_0": (red(city), labels["cityscapes"].astype(np.uint8))}, "train")
    for kind, name in (("camvid", "CamVid"), ("cityscapes", "Cityscapes")):
        assert main(["evaluate", model, str(tmp_path / kind), "--split", "train", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["dataset"]["name"] == name and said["miou"] == 1.0 and said["calibration"]["ece"] == 0.0


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--split", "val"], "no split 'val'; there are none"),
        (["--limit", "-1"], "--limit: expected 0 or more, got -1"),
        (["--threads", "-2"], "--threads: expected 0 or more, got -2"),
    ],
)
def test_bad_options_are_one_line(
    model: str, yard: str, capsys: pytest.CaptureFixture[str], more: list[str], complaint: str
) -> None:
    assert main(["evaluate", model, yard, *more]) == 1
    said = capsys.readouterr()
    assert complaint in said.err and len(said.err.splitlines()) == 1 and not said.out


def test_what_is_not_there(model: str, yard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "none.onnx"), yard]) == 1
    assert "no shipped model and no file" in capsys.readouterr().err
    assert main(["evaluate", model, str(tmp_path / "none")]) == 1
    assert "none: no such folder" in capsys.readouterr().err
    occupied = tmp_path / "file"
    occupied.write_text("")
    assert main(["evaluate", model, yard, "--out", str(occupied)]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_damaged_frame_is_named_in_one_line(model: str, yard: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = Path(yard) / "labels" / "f2.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["evaluate", model, yard]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"seg_perception: {path}: not a readable image") and len(said.splitlines()) == 1


def test_a_temperature_needs_a_model_that_has_one(
    model: str, yard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="fitting a temperature changes the model with onnx")
    out = tmp_path / "fitted.onnx"
    assert main(["evaluate", model, yard, "--fit-temperature", str(out)]) == 1
    said = capsys.readouterr()
    assert "no scalar initializer 'inverse_temperature' to set; export the model again" in said.err
    assert not said.out and not out.exists()


def test_a_name_that_is_no_text_is_no_obstacle(model: str, yard: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file name of bytes that are not UTF-8."""
    for place in ("images", "labels"):
        path = Path(yard) / place / "f3.png"
        path.rename(path.with_name("f\udcff3.png"))
    assert main(["evaluate", model, yard, "--out", str(Path(yard) / "report")]) == 0
    capsys.readouterr().out.encode("utf-8")


def test_pictures_of_any_kind_are_no_obstacle(model: str, tmp_path: Path) -> None:
    """JPEG images, a frame of another size, and names that a page must not take for tags."""
    labels = np.ones((30, 50), np.uint8)
    root = folder(tmp_path / "d", YARD, {"<b>x": (picture(30, 50), labels), "y": (picture(16, 32), labels[:16, :32])})
    (root / "images" / "y.png").rename(root / "images" / "y.tmp.png")
    (root / "labels" / "y.png").rename(root / "labels" / "y.tmp.png")
    assert main(["evaluate", model, str(root), "--out", str(tmp_path / "o")]) == 0
    assert "&lt;b&gt;x" in (tmp_path / "o" / "index.html").read_text()
    assert "<b>x" not in (tmp_path / "o" / "index.html").read_text()
