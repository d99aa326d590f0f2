import json

import cv2
import numpy as np
import pytest
from datasets_on_disk import camvid

from seg_perception.cli import main
from seg_perception.datasets import open_dataset
from seg_perception.errors import ConfigError
from seg_perception.evaluation.compare import TABLE_BEGIN, TABLE_END, ModelFigures, compare_models, write_into
from seg_perception.model.bundle import read_bundle


def frames() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The tiny model says red // 16: here 0 (road) above and 1 (sidewalk) below, on frames labelled half rightly."""
    image = np.zeros((64, 128, 3), np.uint8)
    image[32:, :, 0] = 20
    right = np.where(np.arange(64)[:, None] < 32, 3, 4).repeat(128, 1).astype(np.uint8)  # road, pavement
    return {"a_0": (image, right), "a_1": (image, np.full_like(right, 3))}


def test_accuracy_by_hand_and_times_of_all(tmp_path, tiny_model) -> None:
    dataset = open_dataset(camvid(tmp_path / "camvid", frames()))
    models = [read_bundle(tiny_model(stride=2)), read_bundle(tiny_model(stride=4))]
    turns = []
    figures = compare_models(models, dataset, rounds=2, threads=1, progress=lambda: turns.append(1))
    # Of two frames: road 3 of 4 halves labelled, 2 found, none wrong; pavement 1 labelled, 2 found.
    road, pavement = 2 / 3, 1 / 2
    for row in figures:
        assert row.miou == pytest.approx((road + pavement) / 2)
        assert 0 < row.p50_ms <= row.p95_ms and (row.width_px, row.height_px) == (128, 64)
    assert len(turns) == 2 * (1 + 2)


def test_the_verb_prints_plots_and_fills_a_document(tmp_path, tiny_model, capsys) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs Matplotlib")
    root, model, page = camvid(tmp_path / "camvid", frames()), tiny_model(), tmp_path / "models.md"
    page.write_text(f"# Models\n{TABLE_BEGIN}\nold\n{TABLE_END}\nafter\n")
    command = ["compare", str(root), str(model), str(model), "--rounds", "1", "--threads", "1"]
    assert main([*command, "--plot", str(tmp_path / "p.png"), "--markdown", str(page)]) == 0
    table = capsys.readouterr().out.strip()
    assert table.count("\n") == 3 and "| 0.583 |" in table
    assert page.read_text() == f"# Models\n{TABLE_BEGIN}\n{table}\n{TABLE_END}\nafter\n"
    plot = cv2.imread(str(tmp_path / "p.png"))
    assert plot.shape[1] > 800 and plot.std() > 5
    assert main([*command, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert first["miou"] == pytest.approx(7 / 12, abs=1e-3) and set(first) == set(ModelFigures.__annotations__)


def test_what_makes_no_sense_is_told_in_one_line(tmp_path, tiny_model, capsys) -> None:
    with pytest.raises(ConfigError, match="comparison begins"):
        (tmp_path / "plain.md").write_text("nothing here")
        write_into(tmp_path / "plain.md", "table")
    root = camvid(tmp_path / "camvid", frames())
    assert main(["compare", str(root), str(tiny_model()), "--rounds", "0"]) == 1
    assert main(["compare", str(tmp_path / "none"), str(tiny_model())]) == 1
    assert main(["compare", str(root), "no_such_model"]) == 1
    assert capsys.readouterr().err.count("\n") == 3


def test_a_family_is_a_name_without_its_number() -> None:
    def family(name: str) -> str:
        return ModelFigures(name, 1.0, 512, 256, 0.5, 1.0, 2.0).family

    assert family("espnetv2_cityscapes_0.5") == family("espnetv2_cityscapes_2.0") == "espnetv2_cityscapes 512x256"
    assert family("street_pyramid_int8") != family("street_pyramid_tiny") != family("street_pyramid")
    assert family("street_pyramid") == "street_pyramid 512x256"
