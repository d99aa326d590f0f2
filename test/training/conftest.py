"""A data set small enough to train on within a test."""

import cv2
import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Networks this small gain nothing from more, and on a busy machine threads wait for each other."""
    torch = pytest.importorskip("torch", reason="the training room needs torch")
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path):
    """A tiny CamVid: the label of a pixel is its red value // 20, 11 and above void."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 2)):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}annot").mkdir()
        for i in range(count):
            labels = cv2.resize(
                rng.integers(0, 12, (6, 8)).astype(np.uint8), (160, 120), interpolation=cv2.INTER_NEAREST
            )
            image = np.stack([labels * 0 + 50, labels * 0 + 90, labels * 20], -1).astype(np.uint8)  # BGR
            cv2.imwrite(str(tmp_path / split / f"drive_{i:03}.png"), image)
            cv2.imwrite(str(tmp_path / f"{split}annot" / f"drive_{i:03}.png"), labels)
    return tmp_path
