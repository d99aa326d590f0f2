"""Real streets through the whole path: CamVid val as a bag, replayed, judged against its labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from bags import IMAGE, cdr_image, message, read_image, read_mcap, write_mcap

pytest.importorskip("mcap", reason="the bag is written and read by the mcap package")

from seg_perception.cli import main
from seg_perception.model.bundle import load_bundle

CITY_OF_CAMVID = {
    "sky": [10], "building": [2, 3], "pole": [5], "road": [0], "pavement": [1], "tree": [8, 9], "sign": [6, 7],
    "fence": [4], "car": [13, 14, 15, 16], "pedestrian": [11], "cyclist": [12, 17, 18],
}  # fmt: skip


def plain_miou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean IoU over CamVid's 11 classes, class by class over all frames, void left out."""
    ious = []
    for label, ids in enumerate(CITY_OF_CAMVID.values()):
        hits = union = 0
        for truth, mask in pairs:
            there, said, counts = truth == label, np.isin(mask, ids), truth != 11
            hits += int((there & said).sum())
            union += int(((there | said) & counts).sum())
        ious.append(hits / union)
    return float(np.mean(ious))


def test_val_through_replay_is_as_good_as_in_training(camvid_root: Path, tmp_path: Path) -> None:
    images = sorted((camvid_root / "val").glob("*.png"))
    stamps = {1_700_000_000_000_000_000 + i * 50_000_000: path for i, path in enumerate(images)}
    write_mcap(
        tmp_path / "val.mcap",
        [
            message("/camera/image_raw", IMAGE, stamp, cdr_image(stamp, cv2.imread(str(path))))
            for stamp, path in stamps.items()
        ],
    )
    code = main(
        ["replay", str(tmp_path / "val.mcap"), "-o", str(tmp_path / "o.mcap"), "--outputs", "mask", "--drop-input"]
    )
    assert code == 0
    pairs = []
    for one in read_mcap(tmp_path / "o.mcap"):
        if one.topic == "/segmentation/mask":
            mask = read_image(one.data)
            truth = cv2.imread(str(camvid_root / "valannot" / stamps[mask.stamp_ns].name), cv2.IMREAD_UNCHANGED)
            pairs.append((truth, mask.pixels[..., 0]))
    assert len(pairs) == len(images) == 101
    through_replay = plain_miou(pairs)
    assert through_replay >= 0.50
    assert through_replay == pytest.approx(load_bundle("street_esp").metadata["accuracy"]["camvid_val_miou"], abs=0.005)

    from seg_perception.backends.onnx_runtime import open_session
    from seg_perception.datasets import open_dataset
    from seg_perception.evaluation.accuracy import confusion_of, predictor_of
    from seg_perception.metrics import mean_iou

    bundle = load_bundle("street_esp")
    predict = predictor_of(open_session(bundle.data))
    confusion = confusion_of(predict, open_dataset(camvid_root), bundle.labels, bundle.input_hw)
    assert through_replay == pytest.approx(mean_iou(confusion), abs=0.005)
