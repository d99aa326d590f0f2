"""The whole path against plain references: decode, resize, session.run, nearest resize."""

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from support import nearest

from seg_perception.backends.replayed import ReplayedBackend
from seg_perception.config import PipelineConfig
from seg_perception.errors import BackendError, FrameError
from seg_perception.model import zoo
from seg_perception.pipeline import Pipeline, Wanted
from seg_perception.types import CameraInfo, Frame, RawImage


def frame_of(pixels: np.ndarray, encoding: str = "bgr8", stamp_ns: int = 1, camera: CameraInfo | None = None) -> Frame:
    height, width = pixels.shape[:2]
    image = RawImage(height, width, encoding, pixels.strides[0], np.ascontiguousarray(pixels).tobytes())
    return Frame(stamp_ns, "front_optical", image, camera)


def street(height: int = 480, width: int = 640) -> np.ndarray:
    """A smooth coloured BGR picture with some edges."""
    rng = np.random.default_rng(4)
    picture = cv2.resize(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8), (width, height))
    cv2.rectangle(picture, (width // 3, height // 2), (width // 2, height - 1), (30, 200, 90), -1)
    return picture


@pytest.fixture(scope="module")
def shipped() -> Pipeline:
    return Pipeline(PipelineConfig())


def test_pixel_for_pixel_as_a_plain_reference(shipped) -> None:
    picture = street()
    seen = shipped.process(frame_of(picture, stamp_ns=123))
    session = ort.InferenceSession(str(zoo.path_of(zoo.SHIPPED["street_esp"])), providers=["CPUExecutionProvider"])
    rgb = cv2.resize(picture, (512, 256), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    ids, confidence = session.run(["class_ids", "confidence"], {"image": np.ascontiguousarray(rgb)[None]})
    np.testing.assert_array_equal(seen.segmentation.class_ids, nearest(ids[0], 480, 640))
    np.testing.assert_array_equal(seen.segmentation.confidence, nearest(confidence[0], 480, 640))
    assert (seen.stamp_ns, seen.frame_id, seen.size_hw) == (123, "front_optical", (480, 640))
    assert list(seen.stage_ms) == ["decode", "resize", "inference", "masks", "total"]


def test_the_same_answer_whatever_the_byte_order(shipped) -> None:
    picture = street()
    expected = shipped.process(frame_of(picture)).segmentation.class_ids
    for encoding, pixels in (
        ("rgb8", picture[..., ::-1]),
        ("bgra8", np.dstack([picture, np.full(picture.shape[:2], 9, np.uint8)])),
        ("rgba8", np.dstack([picture[..., ::-1], np.full(picture.shape[:2], 9, np.uint8)])),
    ):
        got = shipped.process(frame_of(np.ascontiguousarray(pixels), encoding)).segmentation.class_ids
        np.testing.assert_array_equal(got, expected, err_msg=encoding)


def test_only_what_is_wanted_is_computed(shipped) -> None:
    seen = shipped.process(frame_of(street()), Wanted(mask=False, confidence=True))
    assert seen.segmentation.class_ids is None and seen.segmentation.confidence is not None and seen.overlay is None
    assert "overlay" not in seen.stage_ms
    seen = shipped.process(frame_of(street()), Wanted(mask=False, confidence=False, overlay=True))
    assert seen.overlay.shape == (480, 640, 3) and seen.segmentation.confidence is None
    seen = shipped.process(frame_of(street()), Wanted(mask=False, confidence=False, overlay=False))
    assert "inference" not in seen.stage_ms


def test_opacity_zero_is_the_camera_image(tiny_model) -> None:
    picture = street()
    pipeline = Pipeline(PipelineConfig(model=str(tiny_model()), overlay_opacity=0.0, overlay_objects=False))
    seen = pipeline.process(frame_of(picture), Wanted(overlay=True))
    np.testing.assert_array_equal(seen.overlay, picture[..., ::-1])
    pipeline.configure(PipelineConfig(model=str(tiny_model()), overlay_opacity=1.0, overlay_objects=False))
    seen = pipeline.process(frame_of(picture), Wanted(overlay=True))
    np.testing.assert_array_equal(seen.overlay, pipeline.labels.palette[seen.segmentation.class_ids])


def test_mask_size_and_its_camera_info(shipped) -> None:
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    info = CameraInfo(480, 640, "plumb_bob", (), (500.0, 0.0, 319.5, 0.0, 500.0, 239.5, 0.0, 0.0, 1.0), identity,
                      (500.0, 0.0, 319.5, 0.0, 0.0, 500.0, 239.5, 0.0, 0.0, 0.0, 1.0, 0.0))  # fmt: skip
    full = shipped.process(frame_of(street(), camera=info))
    assert full.camera is None
    shipped.configure(PipelineConfig.from_parameters({"camera.mask_size": [160, 120]}))
    small = shipped.process(frame_of(street(), camera=info), Wanted(overlay=True))
    shipped.configure(PipelineConfig())
    assert small.segmentation.class_ids.shape == (120, 160) and small.size_hw == (120, 160)
    assert small.overlay.shape == (480, 640, 3)
    assert (small.camera.width, small.camera.k[0], small.camera.k[2]) == (160, 125.0, 79.5)


def test_true_masks_land_unshifted() -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 5:9] = 13
    pipeline = Pipeline(PipelineConfig(backend="replayed", replay_masks="-"), ReplayedBackend({1: mask}))
    for height, width in ((48, 64), (480, 640), (96, 192)):
        ids = pipeline.process(frame_of(street(height, width))).segmentation.class_ids
        rows, columns = np.nonzero(ids == 13)
        assert (rows.min() * 48, (rows.max() + 1) * 48) == (10 * height, 20 * height)
        assert (columns.min() * 64, (columns.max() + 1) * 64) == (5 * width, 9 * width)
    with pytest.raises(BackendError, match="no recorded mask"):
        pipeline.process(frame_of(street(), stamp_ns=2))


def test_a_bad_frame_leaves_the_next_one_alone(shipped) -> None:
    good = frame_of(street())
    expected = shipped.process(good).segmentation.class_ids
    for bad in (
        RawImage(480, 640, "bgr8", 1920, b"\0" * 100),
        RawImage(0, 0, "bgr8", 0, b""),
        RawImage(20000, 20000, "bgr8", 60000, b""),
        RawImage(480, 640, "bgr24", 1920, b"\0" * (480 * 1920)),
    ):
        with pytest.raises(FrameError) as caught:
            shipped.process(Frame(0, "", bad))
        assert caught.value.reason
    np.testing.assert_array_equal(shipped.process(good).segmentation.class_ids, expected)


def test_cameras_of_several_sizes_share_one_model(tiny_model) -> None:
    config = PipelineConfig.from_parameters(
        {"model": str(tiny_model()), "cameras": ["front", "rear"], "rear.fit": "crop", "rear.crop_anchor": 0.0}
    )
    pipeline = Pipeline(config)
    for _ in range(2):
        front = pipeline.process(frame_of(street(480, 640)), camera="front").segmentation.class_ids
        rear = pipeline.process(frame_of(street(200, 300)), camera="rear").segmentation.class_ids
        assert front.shape == (480, 640) and not (front == 255).any()
        assert rear.shape == (200, 300) and (rear[150:] == 255).all() and not (rear[:150] == 255).any()
