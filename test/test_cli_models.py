"""`seg_perception models`, as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seg_perception.cli import main
from seg_perception.config import PipelineConfig


@pytest.fixture(autouse=True)
def nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_list_marks_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("* " + PipelineConfig().model)]
    assert len(marked) == 1


def test_info_tells_what_is_in_the_file(tiny_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", str(tiny_model())]) == 0
    said = capsys.readouterr().out
    assert "tiny 1" in said and "RGB, 128x64 pixels" in said and "64x32, stride 2" in said and "rider" in said
    assert main(["models", "info", "street_pyramid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "street_pyramid"


def test_verify_runs_every_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify"]) == 0
    assert "ok      street_pyramid: onnxruntime" in capsys.readouterr().out


def test_verify_names_each_bad_file_and_goes_on(
    tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tiny_model()
    whole = good.read_bytes()
    cut, changed = tmp_path / "cut.onnx", tmp_path / "changed.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    changed.write_bytes(whole.replace(b"tiny", b"tyni", 1))
    missing = tmp_path / "missing.onnx"
    assert main(["models", "verify", str(cut), str(changed), str(missing), str(good)]) == 1
    said = capsys.readouterr()
    assert f"ok      {good}" in said.out
    lines = said.err.splitlines()
    assert len(lines) == 3 and all(line.startswith("FAILED") for line in lines)
    assert "truncated" in lines[0] and "changed after it was made" in lines[1] and "no shipped model" in lines[2]


def test_an_unknown_model_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "nothing"]) == 1
    assert capsys.readouterr().err.startswith("seg_perception: model: no shipped model and no file 'nothing'")
