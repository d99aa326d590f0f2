"""Training batches: random views of labelled frames, the same for the same seed and step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.datasets import CAMVID_CLASSES, CamVidItem
from seg_perception.labels import VOID_ID

__all__ = ["AugmentConfig", "TrainingSet", "augment", "label_counts"]


@dataclass(frozen=True)
class AugmentConfig:
    """How far a view may differ from the frame.

    Attributes:
        zoom: range of the geometric mean of both axes' scale, 1 = the whole width is seen.
        aspect: range of vertical over horizontal scale; 0.667 is a 4:3 frame stretched to 2:1, 1 is undistorted.
        usual_aspect: the aspect that half the views have.
        brightness, contrast, saturation: largest relative change.
        tint: largest relative change of one colour channel.
        gamma: range.
        blur_chance, noise_chance: how often.
    """

    zoom: tuple[float, float] = (0.7, 1.9)
    aspect: tuple[float, float] = (0.6, 1.1)
    usual_aspect: float = 0.667
    brightness: float = 0.25
    contrast: float = 0.3
    saturation: float = 0.5
    tint: float = 0.12
    gamma: tuple[float, float] = (0.6, 1.25)
    blur_chance: float = 0.2
    noise_chance: float = 0.2


def _view_matrix(
    rng: np.random.Generator, shape_hw: tuple[int, int], size_hw: tuple[int, int], config: AugmentConfig
) -> np.ndarray:
    """Affine map, float `[2, 3]`, from frame pixels to view pixels: scale per axis, position, mirror."""
    height, width = shape_hw
    zoom = np.exp(rng.uniform(*np.log(config.zoom)))
    aspect = config.usual_aspect if rng.random() < 0.5 else np.exp(rng.uniform(*np.log(config.aspect)))
    # At zoom 1 and the usual aspect, the view is the whole frame stretched.
    scale_x = zoom * size_hw[1] / width * np.sqrt(config.usual_aspect / aspect)
    scale_y = scale_x * aspect
    offset_x = rng.uniform(*sorted((0.0, size_hw[1] - scale_x * width)))
    offset_y = rng.uniform(*sorted((0.0, size_hw[0] - scale_y * height)))
    matrix = np.array([[scale_x, 0, offset_x], [0, scale_y, offset_y]])
    if rng.random() < 0.5:
        matrix[0] = [-scale_x, 0, size_hw[1] - 1 - offset_x]
    return matrix


def _recolour(rng: np.random.Generator, image: np.ndarray, config: AugmentConfig) -> np.ndarray:
    ramp = np.arange(256, dtype=np.float32) / 255
    ramp = ramp ** np.exp(rng.uniform(*np.log(config.gamma)))
    middle = ramp[int(image.mean())]
    ramp = (ramp - middle) * (1 + rng.uniform(-config.contrast, config.contrast)) + middle
    ramp = ramp * (1 + rng.uniform(-config.brightness, config.brightness))
    gains = 1 + rng.uniform(-config.tint, config.tint, 3)
    table = np.clip(ramp[:, None] * gains * 255, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    amount = 1 + rng.uniform(-config.saturation, config.saturation)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.addWeighted(image, amount, gray, 1 - amount, 0)
    if rng.random() < config.blur_chance:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < config.noise_chance:
        noise = rng.normal(0, rng.uniform(2, 12), image.shape).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    size_hw: tuple[int, int],
    config: AugmentConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """One random view: RGB uint8 `[H, W, 3]` and labels uint8 `[H, W]`, 255 where the frame has no pixel."""
    matrix = _view_matrix(rng, image.shape[:2], size_hw, config)
    dsize = (size_hw[1], size_hw[0])
    shrinking = abs(matrix[0, 0]) < 0.8 or matrix[1, 1] < 0.8
    if shrinking:  # a bilinear warp skips pixels when it shrinks; soften first
        sigma_x, sigma_y = (max(0.01, 0.35 * (1 / s - 1)) for s in (abs(matrix[0, 0]), matrix[1, 1]))
        image = cv2.GaussianBlur(image, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y)
    view = cv2.warpAffine(image, matrix, dsize, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    marks = cv2.warpAffine(
        labels, matrix, dsize, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=VOID_ID
    )
    return _recolour(rng, view, config), marks


def label_counts(labels: np.ndarray, stride: int, classes: int) -> np.ndarray:
    """How many pixels of each class lie in each stride × stride cell, uint8 `[classes, H/stride, W/stride]`."""
    height, width = labels.shape
    cells = labels.reshape(height // stride, stride, width // stride, stride)
    return np.stack([(cells == c).sum((1, 3), dtype=np.uint8) for c in range(classes)])


class TrainingSet:
    """Frames in memory, and batches of views of them.

    A batch depends on the seed and the step alone, so that a resumed run sees what an uninterrupted one
    would have seen.
    """

    def __init__(
        self,
        items: Sequence[CamVidItem],
        size_hw: tuple[int, int],
        batch: int,
        stride: int,
        seed: int,
        config: AugmentConfig | None = None,
    ) -> None:
        self.images = [item.read_image() for item in items]
        self.labels = [item.read_labels() for item in items]
        self.size_hw, self.batch_size, self.stride, self.seed = size_hw, batch, stride, seed
        self.config = config or AugmentConfig()

    @property
    def steps_per_epoch(self) -> float:
        return len(self.images) / self.batch_size

    def class_frequency(self) -> np.ndarray:
        """Share of the labelled pixels, float `[11]`, sums to 1."""
        counts = np.zeros(len(CAMVID_CLASSES), np.int64)
        for labels in self.labels:
            counts += np.bincount(labels.ravel(), minlength=256)[: len(CAMVID_CLASSES)]
        return counts / counts.sum()

    def _indices(self, step: int) -> np.ndarray:
        """Which frames: every epoch shows each frame once, in an order of its own."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, within = np.divmod(positions, len(self.images))
        orders = {e: np.random.default_rng([self.seed, 1, e]).permutation(len(self.images)) for e in set(epochs)}
        return np.array([orders[e][i] for e, i in zip(epochs, within)])

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 `[N, H, W, 3]` and `label_counts` uint8 `[N, 11, H/stride, W/stride]` of one step."""
        rng = np.random.default_rng([self.seed, 2, step])
        views, counts = [], []
        for index in self._indices(step):
            view, labels = augment(rng, self.images[index], self.labels[index], self.size_hw, self.config)
            views.append(view)
            counts.append(label_counts(labels, self.stride, len(CAMVID_CLASSES)))
        return np.stack(views), np.stack(counts)

    def batches(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of steps start … stop − 1, made one ahead in a thread of their own."""
        ready: queue.Queue[object] = queue.Queue(maxsize=2)
        ended = threading.Event()

        def produce() -> None:
            try:
                for step in range(start, stop):
                    if ended.is_set():
                        return
                    ready.put(self.batch(step))
            except BaseException as exc:
                ready.put(exc)

        threading.Thread(target=produce, name="batches", daemon=True).start()
        try:
            for _ in range(start, stop):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item  # type: ignore[misc]
        finally:
            ended.set()
