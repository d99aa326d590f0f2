from __future__ import annotations

import numpy as np
import plain_measures as plain
import pytest

from seg_perception.evaluation.calibration import CalibrationCounts


def answers(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, 255], (20, 30)).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.choice([0, 1, 2, 3, 255], truth.shape))
    return truth, predicted.astype(np.uint8), rng.integers(0, 256, truth.shape).astype(np.uint8)


@pytest.mark.parametrize("bins", [15, 5, 1, 17])
def test_against_fractions(bins: int) -> None:
    frames = [answers(seed) for seed in range(3)]
    counts = CalibrationCounts(4)
    for frame in frames:
        counts.add(*frame)
    assert counts.reliability(bins).ece == pytest.approx(plain.ece(frames, bins), rel=1e-12)
    truth, predicted, confidence = (np.concatenate([f[i].ravel() for f in frames]) for i in range(3))
    for class_id in range(4):
        chosen = (truth != 255) & (predicted == class_id)
        only = [(truth[chosen], predicted[chosen], confidence[chosen])]
        assert counts.reliability(bins, class_id).ece == pytest.approx(plain.ece(only, bins), rel=1e-12)
        accuracy, mean = (values[class_id] for values in counts.accuracy_and_confidence())
        assert accuracy == pytest.approx(np.mean(truth[chosen] == class_id), rel=1e-12)
        assert mean == pytest.approx(np.mean(confidence[chosen]) / 255, rel=1e-12)
    assert np.isnan(CalibrationCounts(2).reliability().ece)


def test_every_level_is_in_its_bin() -> None:
    """Confidence 17 · m / 255 lies on the upper edge of bin m of 15."""
    for level in range(256):
        counts = CalibrationCounts(1)
        counts.add(*(np.array([[value]], np.uint8) for value in (0, 0, level)))
        expected = max(0, -(-level // 17) - 1)
        assert counts.reliability().count.tolist() == [int(i == expected) for i in range(15)]


def test_known_answers() -> None:
    def of(level: int, right: int, wrong: int) -> float:
        counts = CalibrationCounts(2)
        truth = np.zeros((1, right + wrong), np.uint8)
        predicted = (np.arange(right + wrong) >= right).astype(np.uint8)[None]
        counts.add(truth, predicted, np.full_like(truth, level))
        return counts.reliability().ece

    assert of(204, 8, 2) == pytest.approx(0, abs=1e-12)
    assert of(255, 5, 5) == pytest.approx(0.5)
    assert of(0, 5, 5) == pytest.approx(0.5)
    assert of(51, 10, 0) == pytest.approx(0.8)


def test_empty_bins_are_null_in_json() -> None:
    counts = CalibrationCounts(1)
    counts.add(*(np.array([[value]], np.uint8) for value in (0, 0, 255)))
    bins = counts.reliability().to_json()
    assert bins[0] == {"from": 0.0, "to": 0.0667, "pixels": 0, "accuracy": None, "confidence": None}
    assert bins[-1] == {"from": 0.9333, "to": 1.0, "pixels": 1, "accuracy": 1.0, "confidence": 1.0}
