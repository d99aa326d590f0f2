"""The page: safe whatever the names are, complete in itself, and showing the numbers that were measured."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.evaluation.calibration import CalibrationCounts
from seg_perception.evaluation.charts import histogram, reliability_diagram, ticks
from seg_perception.evaluation.page import evaluation_page
from seg_perception.evaluation.pictures import class_palette, error_picture, frame_pictures
from seg_perception.evaluation.result import FrameScore
from seg_perception.evaluation.run import FrameRunner, evaluate
from seg_perception.labels import CITYSCAPES
from seg_perception.model.bundle import read_bundle

EVIL = "\"><script>alert('1')</script>&amp;<img src=x onerror=y>"
VOID_TAGS = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text; unbalanced tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def measured(street: Callable[..., Any], tiny_model: Callable[..., Path]) -> tuple[Any, Any, Any]:
    """Evaluation, palette and pictures of the worst frames."""
    dataset, _ = street(4)
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(height=16, width=32)), threads=1)
    evaluation = evaluate(backend, dataset, worst=2)
    pictures = frame_pictures(FrameRunner(backend, dataset), dataset, [dataset.items[i] for i in evaluation.worst])
    return evaluation, class_palette(dataset, backend.labels), pictures


def test_numbers_and_pictures(measured: tuple[Any, Any, Any]) -> None:
    evaluation, palette, pictures = measured
    page = Page(evaluation_page(evaluation, palette, pictures))
    for value in (evaluation.miou, evaluation.boundary_miou, evaluation.pixel_accuracy):
        assert f"{100 * value:.1f}" in page.text
    assert f"{100 * evaluation.ece:.2f}" in page.text and "not in the model" in page.text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [one["alt"] for one in images] == ["image", "truth", "prediction", "error"] * 2
    for one, expected in zip(images[1::4], (picture.truth for picture in pictures)):
        data = base64.b64decode(re.fullmatch(r"data:image/png;base64,(.*)", str(one["src"])).group(1))  # type: ignore[union-attr]
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        np.testing.assert_array_equal(shown, expected)


def test_hostile_names_stay_text(measured: tuple[Any, Any, Any]) -> None:
    evaluation, palette, pictures = measured
    good = Page(evaluation_page(evaluation, palette, pictures))
    subject = replace(
        evaluation.subject, model=EVIL, version=EVIL, engine=EVIL, dataset=EVIL, split=EVIL, sha256=EVIL,
        classes=tuple(f"{EVIL}{i}" for i in range(5)), unknown=(f"{EVIL}2",),
    )  # fmt: skip
    evil = replace(
        evaluation,
        subject=subject,
        frames=tuple(FrameScore(EVIL, f.miou, f.inference_ms) for f in evaluation.frames),
    )
    drawn = [replace(picture, name=EVIL, weakest=((EVIL, 0.5),)) for picture in pictures]
    page = Page(evaluation_page(evil, palette, drawn))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in good.tags]
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert page.text.count(EVIL) >= 10


def test_nothing_is_fetched(measured: tuple[Any, Any, Any]) -> None:
    page = Page(evaluation_page(*measured))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for _, attributes in page.tags:
        for key in ("src", "href", "srcset", "action"):
            assert str(attributes.get(key) or "data:").startswith("data:")
    style = evaluation_page(*measured).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme:dark" in style
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'")


def test_the_weakest_classes_are_those_of_the_frame(measured: tuple[Any, Any, Any]) -> None:
    _, palette, pictures = measured
    for picture in pictures:
        values = [iou for _, iou in picture.weakest]
        assert values == sorted(values) and len(values) == 3
        colours = {tuple(c) for c in np.concatenate([picture.truth, picture.prediction]).reshape(-1, 3).tolist()}
        assert colours - {(0, 0, 0)} == {tuple(palette[c].tolist()) for c in picture.present}


def test_palette_takes_the_models_colours(street: Callable[..., Any]) -> None:
    dataset, _ = street()
    palette = class_palette(dataset, CITYSCAPES)
    assert tuple(palette[0]) == (128, 64, 128) and tuple(palette[3]) == (70, 130, 180)
    assert len({tuple(c) for c in palette[:5].tolist()}) == 5 and (palette[255] == 0).all()


def test_errors_are_redder_the_surer_the_model_was() -> None:
    image = np.full((1, 5, 3), 100, np.uint8)
    truth = np.array([[0, 0, 0, 255, 0]], np.uint8)
    predicted = np.array([[0, 1, 1, 1, 255]], np.uint8)
    drawn = error_picture(image, truth, predicted, np.array([[255, 0, 255, 255, 128]], np.uint8))[0].astype(int)
    assert len(set(drawn[0].tolist())) == 1 and drawn[0, 0] > 120  # right: pale gray
    assert drawn[1].tolist() == [255, 190, 60] and drawn[2].tolist() == [215, 25, 40]
    assert drawn[3].max() < 40  # void
    assert drawn[2, 1] < drawn[4, 1] < drawn[1, 1]


def test_large_frames_are_shown_small(tmp_path: Path, tiny_model: Callable[..., Path]) -> None:
    from datasets_on_disk import folder, picture

    from seg_perception.datasets import open_dataset

    labels = np.ones((700, 1400), np.uint8)
    dataset = open_dataset(folder(tmp_path, "classes: [{name: road, value: 1}]", {"a": (picture(700, 1400), labels)}))
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(height=16, width=32)), threads=1)
    drawn = frame_pictures(FrameRunner(backend, dataset), dataset, dataset.items)[0]
    for one in (drawn.image, drawn.truth, drawn.prediction, drawn.error):
        assert one.shape == (240, 480, 3)


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(21.3, 33.9, 6) == [25, 30]
    assert ticks(0, 14) == [0, 5, 10] and ticks(3, 3) == [3] and ticks(0, 0.004, 4) == [0, 0.001, 0.002, 0.003, 0.004]


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [1.0, 2.0, 400.0], list(np.linspace(7, 9, 300))])
def test_the_histogram_shows_every_frame(values: list[float]) -> None:
    svg = histogram(values, {"p50": float(np.median(values))})
    assert sum(int(n) for n in re.findall(r"ms: (\d+) frames", svg)) == len(values)
    assert "nan" not in svg and "p50" in svg
    Page(svg)


def test_the_diagram_of_one_bin_and_of_none() -> None:
    counts = CalibrationCounts(2)
    assert "nan" not in reliability_diagram(counts.reliability())
    counts.add(np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 1]], np.uint8), np.full((1, 4), 128, np.uint8))
    svg = reliability_diagram(counts.reliability())
    assert "said 50.2 %, right 75.0 %, 100.00 % of the pixels" in svg and "nan" not in svg
    Page(svg)
