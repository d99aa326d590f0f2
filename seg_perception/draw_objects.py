"""Objects over a camera image: outlines in a colour that follows the track, and what each is, and how far away."""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.lettering import Lettering
from seg_perception.objects import Objects, Obstacles
from seg_perception.visualise import check_canvas

__all__ = ["draw_objects", "track_colours"]

_CASING = (16, 16, 20)
_GOLDEN = 0.618033988749895
_COLOURS = 60
_TONES = ((0.6, 1.0), (0.75, 1.0), (0.55, 0.85))
_LEAST_LUMA = 150.0
_LUMA = np.array((0.299, 0.587, 0.114))
_WHITE_IN_TEXT = 0.45
_MOST_LABELS = 60
_MOST_BOXES = 200
_SLOWEST_MPS = 0.25
"""Less is not written: mostly it is noise."""
_TENTHS_TO_M = 20.0
_LONGEST_NAME = 24


def _palette() -> np.ndarray:
    """uint8 `[60, 3]`: hues that follow each other are far apart, all bright enough for a dark ground."""
    tones = (_TONES[i % len(_TONES)] for i in range(_COLOURS))
    colours = np.array([colorsys.hls_to_rgb(i * _GOLDEN % 1.0, *tone) for i, tone in enumerate(tones)]) * 255
    luma = colours @ _LUMA
    white = np.clip((_LEAST_LUMA - luma) / (255 - luma), 0, 1)[:, None]  # cars are dark blue in many palettes
    return np.asarray(np.rint(colours + (255 - colours) * white), np.uint8)


_PALETTE = _palette()


def track_colours(track_ids: np.ndarray) -> np.ndarray:
    """RGB uint8 `[n, 3]`: always the same for the same id, far apart for ids that follow each other.

    Args:
        track_ids: integers `[n]`.
    """
    return _PALETTE[track_ids % _COLOURS]


def draw_objects(
    rgb: np.ndarray,
    objects: Objects,
    obstacles: Obstacles | None,
    labels: LabelSet,
    instance_px: np.ndarray | None = None,
) -> np.ndarray:
    """Outline and name objects in a camera picture: `person 12  8.4 m  1.3 m/s`.

    The nearest come first; where there is no room for a label it is shortened, then left out. A speed that is relative
    to the vehicle says `rel`. Objects without `boxes_px` have no label, those without `track_ids` no number.

    Args:
        rgb: uint8 `[H, W, 3]`, contiguous; it is drawn into this array.
        objects: what to draw.
        obstacles: how far away they are, if that is known; rows of these very objects.
        labels: what the class ids mean.
        instance_px: uint16 `[H, W]`, `objects.instance_map` at the picture's size; without it the boxes' corners are
            drawn instead of outlines.

    Returns:
        The same array.

    Raises:
        ValueError: wrong shape or type.
    """
    check_canvas(rgb)
    if not len(objects):
        return rgb
    colours = track_colours(_ids_of(objects))
    if instance_px is not None:
        _draw_outlines(rgb, instance_px, colours)
    if objects.boxes_px is None:
        return rgb
    ranges_m, speeds_mps = _metres(len(objects), obstacles)
    # Of those of which no distance is known, the larger ones first.
    nearest_first = np.lexsort((-objects.areas, np.where(np.isfinite(ranges_m), ranges_m, np.inf)))
    shown = [int(i) for i in nearest_first if _in_picture(objects.boxes_px[i], rgb.shape)]
    if instance_px is None:
        for i in shown[:_MOST_BOXES]:
            _draw_corners(rgb, objects.boxes_px[i], colours[i])
    lettering = Lettering(rgb)
    relative = obstacles is not None and obstacles.is_relative
    for i in shown[:_MOST_LABELS]:
        texts = _texts(objects, i, labels, float(ranges_m[i]), float(speeds_mps[i]), relative)
        _write_label(lettering, texts, objects.boxes_px[i], colours[i])
    return rgb


def _ids_of(objects: Objects) -> np.ndarray:
    return np.arange(len(objects)) if objects.track_ids is None else objects.track_ids


def _draw_outlines(rgb: np.ndarray, instance_px: np.ndarray, colours: np.ndarray) -> None:
    """The objects' own outermost pixels in their colours, and a dark line around them."""
    if instance_px.dtype != np.uint16 or instance_px.shape != rgb.shape[:2]:
        raise ValueError(
            f"instance_px must be uint16 {list(rgb.shape[:2])}, got {instance_px.dtype} {list(instance_px.shape)}"
        )
    side = 2 * max(1, round(rgb.shape[0] / 600)) + 1
    around = np.ones((side, side), np.uint8)
    edge = np.flatnonzero(cv2.dilate(instance_px, around) != cv2.erode(instance_px, around))
    table = np.vstack([np.array([_CASING], np.uint8), colours])
    rgb.reshape(-1, 3)[edge] = table.take(instance_px.reshape(-1)[edge], axis=0, mode="clip")


def _metres(n: int, obstacles: Obstacles | None) -> tuple[np.ndarray, np.ndarray]:
    """Distance and speed of every object, float64 `[n]` each; NaN where they are not known."""
    ranges_m, speeds_mps = np.full(n, np.nan), np.full(n, np.nan)
    if obstacles is not None:
        ranges_m[obstacles.rows] = obstacles.ranges_m
        speeds_mps[obstacles.rows] = np.hypot(*obstacles.velocities_mps.T)
    return ranges_m, speeds_mps


def _in_picture(box_px: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Is any of it inside? False where a number is NaN."""
    left, top, right, bottom = box_px.tolist()
    return right > 0 and bottom > 0 and left < shape[1] - 1 and top < shape[0] - 1


def _draw_corners(rgb: np.ndarray, box_px: np.ndarray, colour: np.ndarray) -> None:
    height, width = rgb.shape[:2]
    limits = np.array((width, height, width, height))
    left, top, right, bottom = np.rint(np.clip(box_px, -limits, 2 * limits)).astype(int).tolist()
    across, down = max(2, (right - left) // 5), max(2, (bottom - top) // 5)
    lines = [
        np.array([(x, y + dy), (x, y), (x + dx, y)], np.int32)
        for x, dx in ((left, across), (right, -across))
        for y, dy in ((top, down), (bottom, -down))
    ]
    width_px = max(1, round(height / 600))
    cv2.polylines(rgb, lines, False, _CASING, width_px + 2)
    cv2.polylines(rgb, lines, False, tuple(colour.tolist()), width_px)


def _texts(
    objects: Objects, i: int, labels: LabelSet, range_m: float, speed_mps: float, relative: bool
) -> tuple[str, ...]:
    """What to write at an object, best first."""
    class_id = int(objects.class_ids[i])
    name = labels.labels[class_id].name if class_id < len(labels) else f"class {class_id}"
    if len(name) > _LONGEST_NAME:
        name = name[: _LONGEST_NAME - 2] + ".."
    number = "" if objects.track_ids is None else str(int(objects.track_ids[i]))
    distance = "" if not math.isfinite(range_m) else f"{range_m:.{1 if range_m < _TENTHS_TO_M else 0}f} m"
    speed = ""
    if math.isfinite(speed_mps) and speed_mps >= _SLOWEST_MPS:
        speed = f"{speed_mps:.1f} m/s" + (" rel" if relative else "")
    title = " ".join(filter(None, (name, number)))
    parts = (title, distance, speed), (title, distance), (number, distance), (number,)
    return tuple("  ".join(filter(None, some)) for some in parts)


def _write_label(lettering: Lettering, texts: tuple[str, ...], box_px: np.ndarray, colour: np.ndarray) -> None:
    """Above the box or, where something is in the way, inside it or below it."""
    left, top, right, bottom = box_px.tolist()
    middle = (max(left, 0.0) + min(right, float(lettering.width_px))) / 2
    bright = np.rint(colour + (255.0 - colour) * _WHITE_IN_TEXT).astype(int).tolist()
    for text in dict.fromkeys(texts):
        width, height = lettering.size(text)
        rows = ([top - height] if top >= height else []) + [max(top, 0.0) + 1, bottom + 1]
        if lettering.write(text, [(middle - width / 2, row) for row in rows], (bright[0], bright[1], bright[2])):
            return
