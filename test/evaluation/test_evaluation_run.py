"""A whole evaluation against loops over pixels, and on real streets against the numbers of the model's file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_measures as plain
import pytest
from support import nearest

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.datasets import open_dataset
from seg_perception.errors import DatasetError
from seg_perception.evaluation.accuracy import confusion_of
from seg_perception.evaluation.run import evaluate, spread, worst_frames
from seg_perception.metrics import mean_iou
from seg_perception.model.bundle import load_bundle, read_bundle

CITY_OF_STREET = {0: (0, 1), 1: (2, 3, 4), 2: (), 3: (10,), 4: (8,)}


def class_of_city(city: int) -> int:
    return next((c for c, members in CITY_OF_STREET.items() if city in members), 255)


def plain_answer(image: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """What the tiny model says of a frame of its own size: class red // 16, confidence green, every stride-th pixel."""
    height, width = image.shape[:2]
    coarse = image[::stride, ::stride].astype(int)
    predicted = np.array([[class_of_city(v // 16) for v in row] for row in coarse[..., 0]], np.uint8)
    return nearest(predicted, height, width), nearest(coarse[..., 1].astype(np.uint8), height, width)


@pytest.mark.parametrize("stride", [1, 2])
def test_everything_against_loops(street: Callable[..., Any], tiny_model: Callable[..., Path], stride: int) -> None:
    dataset, frames = street()
    bundle = read_bundle(tiny_model(height=16, width=32, stride=stride))
    seen: list[int] = []
    evaluation = evaluate(OnnxRuntimeBackend(bundle, threads=1), dataset, worst=2, progress=seen.append)

    answers = []
    for image, values in frames.values():
        truth = np.array([[v - 1 if v else 255 for v in row] for row in values.astype(int)], np.uint8)
        answers.append((truth, *plain_answer(image, stride)))
    pairs = [(truth, predicted) for truth, predicted, _ in answers]
    scores = evaluation.class_scores()
    assert [s.name for s in scores] == ["path", "wall", "dog", "sky", "tree"]
    ious = [plain.iou(pairs, c) for c in range(5)]
    boundary = [plain.boundary_iou(pairs, c) for c in range(5)]
    np.testing.assert_allclose([s.iou for s in scores], ious, rtol=1e-12)
    np.testing.assert_allclose([s.boundary_iou for s in scores], boundary, rtol=1e-12)
    assert evaluation.miou == pytest.approx(np.mean(ious), rel=1e-12)
    assert evaluation.boundary_miou == pytest.approx(np.mean(boundary), rel=1e-12)
    assert evaluation.ece == pytest.approx(plain.ece(answers), rel=1e-12)
    for c, score in enumerate(scores):
        there = sum(int((t == c).sum()) for t, _ in pairs)
        said = sum(int(((p == c) & (t != 255)).sum()) for t, p in pairs)
        hits = sum(int(((p == c) & (t == c)).sum()) for t, p in pairs)
        assert score.recall == pytest.approx(hits / there)
        assert score.share == pytest.approx(there / sum(int((t != 255).sum()) for t, _ in pairs))
        assert score.accuracy == pytest.approx(hits / said) if said else np.isnan(score.accuracy)
    hits = sum(int(((t == p) & (t != 255)).sum()) for t, p in pairs)
    assert evaluation.pixel_accuracy == pytest.approx(hits / sum(int((t != 255).sum()) for t, _ in pairs))
    for frame, pair, name in zip(evaluation.frames, pairs, sorted(frames)):
        assert frame.name == name
        assert frame.miou == pytest.approx(np.mean([plain.iou([pair], c) for c in range(5) if (pair[0] == c).any()]))
    assert evaluation.subject.unknown == ("dog",) and scores[2].iou == 0
    assert seen == [1, 2, 3] and evaluation.worst == (2, 1)
    assert (evaluation.confusion == confusion_of(_predictor(bundle), dataset, bundle.labels, bundle.input_hw)).all()


def _predictor(bundle: Any) -> Callable[[np.ndarray], np.ndarray]:
    backend = OnnxRuntimeBackend(bundle, threads=1)
    return lambda image: backend.infer(image, 0).class_ids


def test_frames_of_two_sizes_in_one_data_set(street: Callable[..., Any], tiny_model: Callable[..., Path]) -> None:
    street(1, 16, 32, name="small")
    street(1, 32, 64, name="large")
    dataset, _ = street(1, 16, 32, name="tiny")
    assert [item.name for item in dataset.items] == ["large_0", "small_0", "tiny_0"]
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(height=16, width=32, stride=1)), threads=1)
    alone = [evaluate(backend, dataset, [item]).confusion for item in dataset.items]
    assert (evaluate(backend, dataset).confusion == sum(alone)).all()
    assert alone[0].sum() == (dataset.items[0].read_labels() != 255).sum() > 1000


def test_nothing_labelled(street: Callable[..., Any], tiny_model: Callable[..., Path]) -> None:
    label_map = "classes: [{name: road, value: 200}]\nvoid: [0, 1, 2, 3, 4, 5]"
    dataset, _ = street(2, label_map=label_map)
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(height=16, width=32)), threads=1)
    with pytest.raises(DatasetError, match="street all: not one labelled pixel in 2 frames"):
        evaluate(backend, dataset)


def test_a_damaged_frame_is_named(street: Callable[..., Any], tiny_model: Callable[..., Path]) -> None:
    dataset, _ = street(3)
    dataset.items[1].image_path.write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(height=16, width=32)), threads=1)
    with pytest.raises(DatasetError, match="frame_1.png: not a readable image"):
        evaluate(backend, dataset)


def test_json_is_strict_and_whole(street: Callable[..., Any], tiny_model: Callable[..., Path]) -> None:
    dataset, _ = street()
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(height=16, width=32)), threads=1)
    evaluation = evaluate(backend, dataset)
    written = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert written["miou"] == pytest.approx(evaluation.miou, abs=1e-5)
    assert written["classes"]["dog"]["accuracy"] is None and written["dataset"]["unknown_to_the_model"] == ["dog"]
    assert sum(map(sum, written["confusion"])) == written["dataset"]["labelled_pixels"]
    assert len(written["frames"]) == 3 and written["inference"]["p50_ms"] > 0
    table = evaluation.table()
    assert "dog *" in table and "* the model has no such class" in table and f"{100 * evaluation.miou:.1f}" in table


def test_spread_is_even_and_without_repetition() -> None:
    items: Any = list(range(101))
    assert spread(items, 0) == items and spread(items, 101) == items and spread(items, 500) == items
    for limit in (1, 7, 50, 100):
        chosen = spread(items, limit)
        assert len(set(chosen)) == limit and chosen == sorted(chosen)
        assert max(np.diff([*chosen, 101])) <= -(-101 // limit)


def test_worst_frames_are_not_neighbours() -> None:
    miou = [0.9] * 64
    miou[10:14] = [0.2, 0.1, 0.15, 0.3]
    miou[50], miou[60] = 0.25, float("nan")
    assert worst_frames(miou, 2)[:2] == (11, 50)
    assert worst_frames(miou, 0) == () and worst_frames([], 3) == () and worst_frames([float("nan")], 3) == ()
    assert worst_frames([0.3, 0.1, 0.2], 8) == (1, 2, 0)


def test_real_streets(camvid_root: Path) -> None:
    """The same counts as training sees, and what the model's file says."""
    bundle = load_bundle("street_pyramid")
    dataset = open_dataset(camvid_root)
    backend = OnnxRuntimeBackend(bundle, threads=1)
    evaluation = evaluate(backend, dataset)
    assert evaluation.miou == pytest.approx(bundle.metadata["accuracy"]["camvid_val_miou"], abs=0.002)
    per_class = bundle.metadata["accuracy"]["camvid_val_iou"]
    for score in evaluation.class_scores():
        assert score.iou == pytest.approx(per_class[score.name], abs=0.01)
        assert score.boundary_iou <= score.iou + 0.02  # outlines are the harder part
    assert 0 < evaluation.ece < 0.2

    confusion = confusion_of(lambda image: backend.infer(image, 0).class_ids, dataset, bundle.labels, bundle.input_hw)
    assert (confusion == evaluation.confusion).all() and mean_iou(confusion) == evaluation.miou
