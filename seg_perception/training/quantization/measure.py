"""What an edition gets right and how long it takes, beside another one in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from seg_perception.backends.onnx_runtime import open_session
from seg_perception.datasets import DatasetItem
from seg_perception.evaluation.accuracy import StretchedFits

__all__ = ["alternating_ms", "pictures_of"]

_WARM_UP_ROUNDS = 3


def pictures_of(items: Sequence[DatasetItem], size_hw: tuple[int, int]) -> list[np.ndarray]:
    """Frames stretched to the network's size, RGB uint8 `[H, W, 3]` each."""
    fits = StretchedFits(size_hw)
    return [np.array(fits.stretch(item.read_image())[1]) for item in items]


def alternating_ms(
    editions: Mapping[str, bytes],
    images: Sequence[np.ndarray],
    rounds: int,
    threads: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """Milliseconds of `session.run`, float `[rounds]` for each edition: in turn, on the same picture.

    On a busy machine trust the ratio of two editions of one round, not the times.
    """
    sessions = {name: open_session(data, threads) for name, data in editions.items()}
    times = {name: np.zeros(rounds) for name in editions}
    for i in range(-_WARM_UP_ROUNDS, rounds):
        feed = {"image": images[i % len(images)][None]}
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, feed)
            if i >= 0:
                times[name][i] = (time.perf_counter() - started) * 1e3
        if i >= 0:
            advance()
    return times
