import json

import numpy as np
import pytest

from seg_perception.bench import BenchResult, run_bench, test_picture
from seg_perception.cli import main
from seg_perception.config import PipelineConfig


def test_the_arithmetic_of_the_table() -> None:
    result = BenchResult({"backend": "x"}, bare=[10.0, 20.0, 30.0], node=[15.0, 24.0, 37.0])
    result.stages = {"inference": [10.0, 20.0, 31.0], "total": [11.0, 22.0, 33.0]}
    rows = result.rows()
    assert rows["bare session.run"][0] == 20.0 and rows["pipeline total"][2] == 33.0
    assert rows["pipeline - bare"] == (2.0, pytest.approx(2.9), 3.0)  # differences of pairs, not of medians
    assert rows["node - bare"][0] == 5.0
    assert result.ratios() == {"pipeline / bare": 1.1, "node / bare": 1.2}
    assert result.to_json()["times"]["node end to end"]["p50_ms"] == 24.0


def test_everything_is_run_and_nothing_of_the_warm_up_counts(tiny_model) -> None:
    pictures = []

    class Node:
        def measure(self, picture: np.ndarray) -> float:
            pictures.append(picture)
            return 7.0

    seen = []
    result = run_bench(
        PipelineConfig(model=str(tiny_model()), threads=1), (48, 64), runs=6, rate_hz=1000, node=Node(),
        progress=seen.append,
    )  # fmt: skip
    assert len(result.bare) == len(result.stages["total"]) == len(result.node) == 6
    assert result.node == [7.0] * 6 and len(pictures) == 11 and pictures[0].shape == (48, 64, 3)
    assert seen == list(range(1, 12))
    assert all(total >= inference for total, inference in zip(result.stages["total"], result.stages["inference"]))


def test_the_picture_is_the_same_every_time() -> None:
    np.testing.assert_array_equal(test_picture(48, 64), test_picture(48, 64))
    assert test_picture(48, 64).std() > 20


def test_command_line(tiny_model, tmp_path, capsys) -> None:
    path = tmp_path / "sub" / "b.json"
    arguments = ["bench", "--no-node", "--runs", "3", "--rate", "1000", "--size", "64x48", "--json", str(path)]
    assert main([*arguments, "--model", str(tiny_model())]) == 0
    printed = capsys.readouterr().out
    assert "pipeline - bare" in printed and "node end to end" not in printed
    data = json.loads(path.read_text())
    assert data["runs"] == 3 and data["picture"] == "64x48 bgr8"
    assert main(["bench", "--no-node", "--size", "big"]) == 1
    assert "expected WxH" in capsys.readouterr().err
