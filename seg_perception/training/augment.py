"""Random views of a frame: scale, crop, mirror, colour, light, blur, noise, and pieces of other frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.labels import VOID_ID

__all__ = ["AugmentConfig", "augment", "paste", "recolour"]


@dataclass(frozen=True)
class AugmentConfig:
    """How far a view may differ from the frame.

    Attributes:
        zoom: range of the geometric mean of both axes' scale, 1 = the whole width is seen.
        aspect: range of vertical over horizontal scale; 0.667 is a 4:3 frame stretched to 2:1, 1 is undistorted.
        usual_aspect: the aspect that half the views have.
        rare_chance: how often the crop is chosen to hold a pixel of a rare class.
        paste_chance: how often things of another frame are laid over this one (after ClassMix, Olsson et al. 2021).
        scatter_chance: how often things are cut out and laid over the frame at other sizes; `scatter_at_most` of them.
        brightness, contrast, saturation: largest relative change.
        tint: largest relative change of one colour channel.
        hue_deg: largest turn of all hues, degrees.
        gamma: range.
        shade_chance: how often one side of the view is darker than the other, like a low sun or a street's shadow.
        blur_chance, noise_chance, jpeg_chance: how often.
    """

    zoom: tuple[float, float] = (0.7, 2.0)
    aspect: tuple[float, float] = (0.6, 1.1)
    usual_aspect: float = 0.667
    rare_chance: float = 0.5
    paste_chance: float = 0.35
    scatter_chance: float = 0.0
    scatter_at_most: int = 8
    brightness: float = 0.25
    contrast: float = 0.35
    saturation: float = 0.6
    tint: float = 0.15
    hue_deg: float = 12.0
    gamma: tuple[float, float] = (0.6, 1.4)
    shade_chance: float = 0.25
    blur_chance: float = 0.2
    noise_chance: float = 0.2
    jpeg_chance: float = 0.1


def _offset(rng: np.random.Generator, room: float, target: float | None, extent: int) -> float:
    """Where the scaled frame begins in the view: anywhere with no needless border, around `target` if given.

    Args:
        room: the view's extent less the scaled frame's, negative where the frame is larger.
        target: a pixel of the scaled frame that the view must hold.
    """
    low, high = sorted((0.0, room))
    if target is not None and room < 0:
        low, high = max(low, -target), min(high, extent - 1 - target)
        if low > high:
            low = high = min(0.0, max(room, extent / 2 - target))
    return float(rng.uniform(low, high))


def _view_matrix(
    rng: np.random.Generator, labels: np.ndarray, size_hw: tuple[int, int], config: AugmentConfig, rare: tuple[int, ...]
) -> np.ndarray:
    """Affine map, float `[2, 3]`, from frame pixels to view pixels: scale per axis, position, mirror."""
    height, width = labels.shape
    zoom = np.exp(rng.uniform(*np.log(config.zoom)))
    aspect = config.usual_aspect if rng.random() < 0.5 else np.exp(rng.uniform(*np.log(config.aspect)))
    # At zoom 1 and the usual aspect, the view is the whole frame stretched.
    scale_x = zoom * size_hw[1] / width * np.sqrt(config.usual_aspect / aspect)
    scale_y = scale_x * aspect
    target_x: float | None = None
    target_y: float | None = None
    if rare and rng.random() < config.rare_chance:
        places = np.flatnonzero(labels == rng.choice(rare))
        if places.size:
            row, column = divmod(int(rng.choice(places)), width)
            target_x, target_y = column * scale_x, row * scale_y
    offset_x = _offset(rng, size_hw[1] - scale_x * width, target_x, size_hw[1])
    offset_y = _offset(rng, size_hw[0] - scale_y * height, target_y, size_hw[0])
    matrix = np.array([[scale_x, 0, offset_x], [0, scale_y, offset_y]])
    if rng.random() < 0.5:
        matrix[0] = [-scale_x, 0, size_hw[1] - 1 - offset_x]
    return matrix


def _turn_hues(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotation of the colours about grey, luma kept roughly: one 3×3 matrix."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    third, root = (1 - c) / 3, s / np.sqrt(3)
    matrix = np.array(
        [[c + third, third - root, third + root], [third + root, c + third, third - root],
         [third - root, third + root, c + third]], np.float32,
    )  # fmt: skip
    return cv2.transform(image, matrix)


def _shade(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light that falls off across the view, along a random direction, down to 35 %."""
    height, width = image.shape[:2]
    angle, depth, middle = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.65), rng.uniform(-0.4, 0.4)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    ramp = 1 / (1 + np.exp((x * np.cos(angle) + y * np.sin(angle) - middle) * rng.uniform(2, 12)))
    return cv2.multiply(image, cv2.merge([(1 - depth * ramp).astype(np.float32)] * 3), dtype=cv2.CV_8U)


def recolour(rng: np.random.Generator, image: np.ndarray, config: AugmentConfig) -> np.ndarray:
    """Another light, another camera: RGB uint8 `[H, W, 3]` to the same."""
    ramp = np.arange(256, dtype=np.float32) / 255
    ramp = ramp ** np.exp(rng.uniform(*np.log(config.gamma)))
    middle = ramp[int(image.mean())]
    ramp = (ramp - middle) * (1 + rng.uniform(-config.contrast, config.contrast)) + middle
    ramp = ramp * (1 + rng.uniform(-config.brightness, config.brightness))
    gains = 1 + rng.uniform(-config.tint, config.tint, 3)
    table = np.clip(ramp[:, None] * gains * 255, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    if config.hue_deg and rng.random() < 0.5:
        image = _turn_hues(image, rng.uniform(-config.hue_deg, config.hue_deg))
    amount = 1 + rng.uniform(-config.saturation, config.saturation)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.addWeighted(image, amount, gray, 1 - amount, 0)
    if rng.random() < config.shade_chance:
        image = _shade(rng, image)
    if rng.random() < config.blur_chance:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < config.noise_chance:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(2, 12)))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < config.jpeg_chance:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image


def paste(
    rng: np.random.Generator, labels: np.ndarray, other_labels: np.ndarray, things: tuple[int, ...]
) -> np.ndarray | None:
    """Which pixels another frame of the same size gives: bool `[H, W]`, or None if it has nothing to give.

    Each class of `things` that the other frame has is taken whole with even chance.
    """
    if labels.shape != other_labels.shape:
        return None
    taken = [c for c in things if rng.random() < 0.5]
    mask = np.isin(other_labels, taken)
    return mask if mask.any() else None


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    size_hw: tuple[int, int],
    config: AugmentConfig,
    rare: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One random view of a frame.

    Args:
        rare: classes that crops are chosen for.

    Returns:
        RGB uint8 `[H, W, 3]`, labels uint8 `[H, W]` with 255 where the frame has no pixel, and the affine map from
        frame pixels to view pixels, float64 `[2, 3]`.
    """
    matrix = _view_matrix(rng, labels, size_hw, config, rare)
    dsize = (size_hw[1], size_hw[0])
    if abs(matrix[0, 0]) < 0.8 or matrix[1, 1] < 0.8:  # a bilinear warp skips pixels when it shrinks; soften first
        sigma_x, sigma_y = (max(0.01, 0.35 * (1 / s - 1)) for s in (abs(matrix[0, 0]), matrix[1, 1]))
        image = cv2.GaussianBlur(image, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y)
    view = cv2.warpAffine(image, matrix, dsize, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    marks = cv2.warpAffine(
        labels, matrix, dsize, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=VOID_ID
    )
    return recolour(rng, view, config), marks, matrix
