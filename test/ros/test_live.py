"""Camera, node and recorder in three processes over real DDS: nothing lost uncounted, shifted or mixed up."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from pictures import PERIOD, picture, stamp_ns

from seg_perception.config import PipelineConfig
from seg_perception.pipeline import Pipeline
from seg_perception.types import Frame, RawImage

COUNT, RATE_HZ = 300, 30.0


MODEL = Path(__file__).resolve().parents[2] / "seg_perception" / "models" / "street_esp.onnx"


def _sha(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _nearest(answer: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel centres are at half-integers: the output pixel y lies in the answer's cell floor((y + 0.5) h / height)."""
    rows = np.floor((np.arange(height) + 0.5) * answer.shape[0] / height).astype(int)
    columns = np.floor((np.arange(width) + 0.5) * answer.shape[1] / width).astype(int)
    return answer[rows[:, None], columns[None, :]]


class PlainReference:
    """The path written out with OpenCV and ONNX Runtime alone."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        self.session = ort.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
        _, self.height, self.width, _ = self.session.get_inputs()[0].shape

    def tensor(self, bgr: np.ndarray) -> np.ndarray:
        shrink = max(bgr.shape[0] / self.height, bgr.shape[1] / self.width)
        how = cv2.INTER_AREA if shrink >= 2 else cv2.INTER_LINEAR
        return cv2.cvtColor(cv2.resize(bgr, (self.width, self.height), interpolation=how), cv2.COLOR_BGR2RGB)[None]

    def maps(self, bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class ids and confidence at the picture's size."""
        ids, confidence = self.session.run(["class_ids", "confidence"], {"image": self.tensor(bgr)})
        return _nearest(ids[0], *bgr.shape[:2]), _nearest(confidence[0], *bgr.shape[:2])

    def seconds(self, runs: int) -> float:
        """Median of bare `session.run`."""
        tensor, times = self.tensor(picture(0)), []
        for _ in range(runs):
            start = time.perf_counter()
            self.session.run(None, {"image": tensor})
            times.append(time.perf_counter() - start)
        return float(np.median(times))


def _offline(pipeline: Pipeline, index: int) -> tuple[np.ndarray, np.ndarray]:
    bgr = picture(index)
    image = RawImage(bgr.shape[0], bgr.shape[1], "bgr8", bgr.shape[1] * 3, bgr.reshape(-1))
    seen = pipeline.process(Frame(stamp_ns(index), "front_camera", image))
    assert seen.segmentation.class_ids is not None and seen.segmentation.confidence is not None
    return seen.segmentation.class_ids, seen.segmentation.confidence


def _record_a_drive(ros: Any, tmp_path: Path) -> dict[str, list[Any]]:
    """All three processes from start to end; what was recorded."""
    out = tmp_path / "recorded.json"
    here = Path(__file__).parent
    recorder = ros.start(str(here / "recorder.py"), str(out))
    # Its queue is longer than by default so that the recorder misses nothing that was published.
    ros.start_node(threads=2, output_depth=50)
    ros.wait_active()
    ros.until(lambda: "ready" in recorder.text, "the recorder is ready")
    camera = ros.start(str(here / "camera.py"), str(COUNT), str(RATE_HZ))
    ros.until(lambda: "sent" in camera.text, "the camera has sent everything", timeout_s=60)
    ros.fresh_report()
    recorder.stop(15)
    recorded: dict[str, list[Any]] = json.loads(out.read_text())
    return recorded


def test_three_processes(ros: Any, tmp_path: Path) -> None:
    reference = PlainReference()
    bare_s = [reference.seconds(30)]
    recorded = _record_a_drive(ros, tmp_path)
    bare_s.append(reference.seconds(30))

    received, published = ros.count("received"), ros.count("published")
    print("bare ms", [1e3 * s for s in bare_s], "published", published, ros.describe())
    assert received == COUNT
    assert received == published + ros.count("dropped") + ros.count("failed") + ros.count("idle")
    assert ros.count("failed") == 0 and ros.count("idle") == 0
    assert published >= 0.9 * min(RATE_HZ, 1 / max(bare_s)) * COUNT / RATE_HZ

    index_of = {stamp_ns(index): index for index in range(COUNT)}
    assert len(recorded["mask"]) == len(recorded["confidence"]) == published
    assert [row[0] for row in recorded["mask"]] == [row[0] for row in recorded["confidence"]]
    indices = [index_of[row[0]] for row in recorded["mask"]]
    assert indices == sorted(set(indices))

    pipeline = Pipeline(PipelineConfig(threads=2))
    for name in ("mask", "confidence"):
        assert {tuple(row[1:6]) for row in recorded[name]} == {("front_camera", 480, 640, 640, "mono8")}, name
    truth = {}
    for number in range(PERIOD):
        offline, plain = _offline(pipeline, number), reference.maps(picture(number))
        for which in (0, 1):
            np.testing.assert_array_equal(offline[which], plain[which])
        truth[number] = (_sha(plain[0]), _sha(plain[1]))
    for which, name in enumerate(("mask", "confidence")):
        wrong = [i for i, row in zip(indices, recorded[name]) if row[6] != truth[i % PERIOD][which]]
        assert not wrong, f"{name} of pictures {wrong} is not the offline pipeline's"
    assert len({ids for ids, _ in truth.values()}) == PERIOD
