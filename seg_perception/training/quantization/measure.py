"""What an edition gets right and how long it takes, beside another one in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnxruntime as ort

from seg_perception.backends.onnx_runtime import usable_cores
from seg_perception.datasets import DatasetItem
from seg_perception.evaluation.accuracy import Predict
from seg_perception.fit import Fit
from seg_perception.images import DecodedImage

__all__ = ["alternating_ms", "open_session", "pictures_of", "predictor"]

_WARM_UP_ROUNDS = 3


def open_session(data: bytes, threads: int = 0) -> ort.InferenceSession:
    """A session on the CPU whose idle threads sleep: those that spin would take the cores from the next session's."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def predictor(data: bytes, threads: int = 0, advance: Callable[[], None] = lambda: None) -> Predict:
    """`evaluation.accuracy.Predict` of a model file; `advance` is called after each picture."""
    session = open_session(data, threads)

    def predict(image: np.ndarray) -> np.ndarray:
        ids: np.ndarray = session.run(["class_ids"], {"image": image[None]})[0][0]
        advance()
        return ids

    return predict


def pictures_of(items: Sequence[DatasetItem], size_hw: tuple[int, int]) -> list[np.ndarray]:
    """Frames stretched to the network's size, RGB uint8 `[H, W, 3]` each."""
    found = []
    for item in items:
        image = item.read_image()
        tensor = Fit(image.shape[:2], size_hw, "stretch", 0.5, size_hw).to_model(DecodedImage(image, "rgb"))
        assert tensor is not None  # there is a model's size
        found.append(np.array(tensor))
    return found


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
