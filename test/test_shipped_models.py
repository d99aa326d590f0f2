"""The models that ship, against truth: simulated streets anywhere, CamVid's validation frames where they are."""

import functools

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="runs the models")

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.datasets import open_dataset
from seg_perception.evaluation.accuracy import confusion_of
from seg_perception.labels import CITYSCAPES
from seg_perception.metrics import mean_iou
from seg_perception.model import zoo
from seg_perception.model.bundle import load_bundle
from seg_perception.simulate import StreetScene

NAMES = sorted(zoo.SHIPPED)


def predictor(name: str):
    backend = OnnxRuntimeBackend(load_bundle(name), threads=1)
    return lambda image: backend.session.run(["class_ids"], {"image": image[None]})[0][0]


@functools.cache
def simulated() -> list[tuple[np.ndarray, np.ndarray]]:
    """Streets that no training used (its seeds begin at 1000), at the models' input size."""
    frames = [StreetScene(seed, 512, 256, focal_px=380).frame(40) for seed in (3, 11, 17)]
    return [(frame.rgb, frame.class_ids) for frame in frames]


@pytest.mark.parametrize("name", NAMES)
def test_simulated_streets(name: str) -> None:
    predict, right, pixels = predictor(name), 0, 0
    for image, truth in simulated():
        ids = predict(image)
        stride = truth.shape[0] // ids.shape[0]
        here = truth[stride // 2 :: stride, stride // 2 :: stride]
        right += int((ids == here).sum())
        pixels += here.size
    assert right / pixels > 0.85  # wrong colours, or ids off by one, leave a third of it


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_int8")])
def test_an_int8_edition_says_what_its_float_model_says(name: str) -> None:
    quick, exact = predictor(name), predictor(name.removesuffix("_int8"))
    assert np.mean([(quick(image) == exact(image)).mean() for image, _ in simulated()]) > 0.98


@pytest.mark.parametrize("name", NAMES)
def test_a_file_keeps_what_it_says_of_itself(name: str, camvid_root) -> None:
    bundle = load_bundle(name)
    said = bundle.metadata["accuracy"]["camvid_val_miou"]
    miou = mean_iou(confusion_of(predictor(name), open_dataset(camvid_root), CITYSCAPES, bundle.input_hw))
    assert miou == pytest.approx(said, abs=0.005 if name.endswith("_int8") else 0.002)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_says_of_its_making(name: str) -> None:
    metadata = load_bundle(name).metadata
    assert "CamVid" in metadata["training"]["data"] and "Cityscapes" in metadata["training"]["terms"]
    assert 0.1 < metadata["confidence"]["temperature"] < 10
