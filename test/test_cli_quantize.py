"""`seg_perception quantize`, as a user calls it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="quantising needs onnx")

from int8_networks import hat_network, write_model, write_pictures

from seg_perception.cli import main
from seg_perception.cli.quantize import add_arguments
from seg_perception.model.bundle import read_bundle


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "hats.onnx", hat_network())


def test_the_choices_are_those_there_are() -> None:
    from seg_perception.training.quantization import METHODS, TARGETS, QuantizeConfig

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    choices = {action.dest: action.choices for action in parser._actions}
    assert tuple(choices["method"]) == METHODS and tuple(choices["target"]) == TARGETS
    args, config = parser.parse_args(["m", "--calibrate", "d"]), QuantizeConfig()
    for name in ("method", "target", "weight_bits", "images", "target_points", "threads", "seed"):
        assert getattr(args, name) == getattr(config, name), name


def test_table_report_and_model_file(
    model: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "report.json"
    # Forced: a network this small need not be faster in int8.
    arguments = ["--images", "4", "--threads", "1", "--force", "--report", str(report)]
    assert main(["quantize", str(model), "--calibrate", str(root), *arguments]) == 0
    said = capsys.readouterr().out
    assert "minmax on CamVid train, 4 frames" in said and "mIoU (CamVid val, 4 frames)" in said
    assert "| cyclist" in said and "9 of 9 layers in int8" in said and "hats_int8.onnx: " in said
    measured = json.loads(report.read_text())
    bundle = read_bundle(tmp_path / "hats_int8.onnx")
    assert bundle.metadata["quantization"]["int8_miou"] == pytest.approx(measured["int8_miou"], abs=1e-4)
    assert len(measured["layers"]) == 9 and measured["steps"][0]["float_layers"] == []
    assert main(["models", "verify", "hats_int8.onnx"]) == 0


def test_what_costs_too_much_is_refused_and_not_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out, report = (
        write_model(tmp_path / "wild.onnx", hat_network(3000)),
        tmp_path / "o.onnx",
        tmp_path / "r.json",
    )
    arguments = [
        "--images",
        "4",
        "--threads",
        "1",
        "--target-points",
        "1000",
        "--out",
        str(out),
        "--report",
        str(report),
    ]
    assert main(["quantize", str(model), "--calibrate", str(root), *arguments]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("seg_perception: the int8 edition of hats loses 90")
    assert "Nothing was written" in said.err and "| mIoU" in said.out
    assert not out.exists() and json.loads(report.read_text())["loss_points"] > 50
    assert main(["quantize", str(model), "--calibrate", str(root), *arguments, "--force"]) == 0
    assert read_bundle(out).metadata["quantization"]["loss_points"] > 50
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_errors_are_one_line(model: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(*arguments: str) -> str:
        assert main(["quantize", str(model), *arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    calibrate = ["--calibrate", str(root)]
    assert "calibrated on and judged on" in complaint(*calibrate, "--split", "train")
    assert "no split 'test'" in complaint(*calibrate, "--split", "test")
    assert "no such folder" in complaint("--calibrate", str(tmp_path / "nowhere"))
    assert "images: expected 1 or more" in complaint(*calibrate, "--images", "0")
    assert "--out: " in complaint(*calibrate, "--out", str(tmp_path / "no" / "folder" / "m.onnx"))
    assert "--report: " in complaint(*calibrate, "--report", str(tmp_path))


def test_torch_is_not_needed(model: Path, root: Path, tmp_path: Path) -> None:
    arguments = ["quantize", str(model), "--calibrate", str(root), "--images", "2", "--force"]
    code = (
        f"import sys; sys.modules['torch'] = None; from seg_perception.cli import main; sys.exit(main({arguments!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    assert read_bundle(tmp_path / "hats_int8.onnx").name == "hats_int8"


def test_a_missing_package_is_one_line(model: Path, root: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None; from seg_perception.cli import main;"
        f"sys.exit(main(['quantize', {str(model)!r}, '--calibrate', {str(root)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    assert done.returncode == 1 and "the Python package onnx is needed" in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) == 1
