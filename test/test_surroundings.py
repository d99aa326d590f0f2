"""How long a frame waits for its transform, and what makes it stop waiting."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from seg_perception.config import CameraConfig, PipelineConfig
from seg_perception.errors import TransformError
from seg_perception.fit import Fit
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.geometry.transforms import OPTICAL_FROM_BODY, Transform, transform_of_matrix
from seg_perception.labels import CITYSCAPES
from seg_perception.perception.roles import role_table
from seg_perception.simulate import PinholeCamera
from seg_perception.sources import frame_of_rgb
from seg_perception.surroundings import Surroundings
from seg_perception.types import DrivableGround, Frame

HW = (48, 64)
OPTICAL, STAMP_NS = "camera_optical_frame", 1_700_000_000_000_000_000


def placed() -> Transform:
    pose = np.eye(4)
    pose[:3, :3], pose[2, 3] = OPTICAL_FROM_BODY.T, 1.5
    return transform_of_matrix("base_footprint", OPTICAL, STAMP_NS, pose)


def see(surroundings: Surroundings, wait_s: float, stamp_ns: int = STAMP_NS) -> DrivableGround:
    frame = frame_of_rgb(stamp_ns, OPTICAL, np.zeros((*HW, 3), np.uint8))
    frame = Frame(frame.stamp_ns, frame.frame_id, frame.image, PinholeCamera.of_size(HW[1], HW[0]).camera_info())
    fit, config, camera = Fit(HW, None, "stretch", 0.5, HW), PipelineConfig(), CameraConfig()
    place = surroundings.locate(frame, fit, config, camera, wait_s)
    ids = np.zeros(HW, np.uint8)
    return surroundings.see(place, stamp_ns, ids, fit, role_table(CITYSCAPES), config, camera, grid=True, boundary=True)


def test_who_did_not_wait_did_not_wait_in_vain() -> None:
    """An overlay takes what is there at once; that it found nothing must not cost a grid its patience."""
    buffer = TransformBuffer()
    surroundings = Surroundings(buffer)
    for _ in range(21):
        with pytest.raises(TransformError):
            see(surroundings, wait_s=0.0)
    late = threading.Timer(0.2, lambda: buffer.add(placed()))
    late.start()
    assert see(surroundings, wait_s=30.0).grid is not None
    late.join()


def test_after_many_waits_in_vain_few_frames_wait_but_some_do() -> None:
    waits: list[float] = []

    class Counting(TransformBuffer):
        def wait(self, target: str, source: str, stamp_ns: int, timeout_s: float) -> np.ndarray:
            waits.append(timeout_s)
            return super().wait(target, source, stamp_ns, timeout_s)

    buffer = Counting()
    surroundings = Surroundings(buffer)
    for _ in range(40):
        with pytest.raises(TransformError):
            see(surroundings, wait_s=0.001)
    assert waits[:5] == [0.001] * 5 and 4 <= sum(wait > 0 for wait in waits[5:]) <= 5
    buffer.add(placed())
    assert see(surroundings, wait_s=0.001).boundary is not None
    waits.clear()
    for _ in range(5):  # patient again
        with pytest.raises(TransformError):
            see(surroundings, wait_s=0.001, stamp_ns=STAMP_NS + 1_000_000_000)
    assert waits == [0.001] * 5
