"""Obstacles from above: where each meets the ground, how wide it is, how well that is known, and where it goes."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from seg_perception.draw_objects import track_colours
from seg_perception.lettering import Lettering
from seg_perception.objects import Obstacles
from seg_perception.visualise import draw_line

__all__ = ["draw_obstacles", "ellipses"]

_CHI2_95 = 5.991464547107979
"""95 % of a two-dimensional normal distribution lie within this squared Mahalanobis distance: −2 ln 0.05."""
_ELLIPSE_POINTS = 49
_DEPTH_SHARE, _DEEPEST_M = 0.35, 0.8
"""The sides of a footprint are drawn so long, of its width: how deep an obstacle is, nobody sees."""
_ARROW_S = 1.0
"""An arrow is as long as the way in this time."""
_SLOWEST_MPS = 0.25
_SUBPIXEL_BITS = 4
_FARTHEST_PX = 30_000
_CASING = (20, 20, 20)
_MOST = 200


def ellipses(centres: np.ndarray, covariances: np.ndarray, points: int = _ELLIPSE_POINTS) -> np.ndarray:
    """Closed outlines that hold 95 % of normal distributions.

    Args:
        centres: float64 `[m, 2]`.
        covariances: float64 `[m, 2, 2]`; an outline is NaN where one is not finite.
        points: of each outline; the last is the first.

    Returns:
        float64 `[m, points, 2]`.
    """
    known = np.isfinite(covariances).all((1, 2))
    values, axes = np.linalg.eigh(np.where(known[:, None, None], covariances, 0.0))
    radii = np.sqrt(_CHI2_95 * np.maximum(values, 0.0))
    turns = np.linspace(0.0, 2 * np.pi, points)
    circle = np.stack([np.cos(turns), np.sin(turns)], -1)
    outlines = centres[:, None] + np.einsum("mij,mj,pj->mpi", axes, radii, circle)
    outlines[~known] = np.nan
    return outlines


def draw_obstacles(
    picture: np.ndarray,
    obstacles: Obstacles,
    track_ids: np.ndarray | None,
    pixels: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Draw into a picture of the ground from above, far ones first.

    The bracket is the side that is seen, open to the back; the thin ellipse holds the contact with 95 %. A filled arrow
    is the way over ground in a second, a hollow one with a dashed shaft the same relative to the vehicle.

    Args:
        picture: RGB uint8 `[H, W, 3]`, contiguous.
        obstacles: to draw; the 200 nearest of them.
        track_ids: int64 `[m]`, of the obstacles' rows, for colours and numbers; None: no numbers.
        pixels: places (x, y) `[N, 2]` to (column, row) `[N, 2]`.
    """
    placed = np.flatnonzero(np.isfinite(obstacles.positions_m).all(1))
    nearest = placed[np.argsort(obstacles.ranges_m[placed], kind="stable")][:_MOST]
    colours = track_colours(np.arange(len(obstacles)) if track_ids is None else track_ids)
    outlines = ellipses(obstacles.positions_m, obstacles.covariances_m2)
    for i in nearest[::-1]:
        colour = _rgb(colours[i])
        draw_line(picture, pixels(outlines[i]), colour, 1)
        sight_rad = float(obstacles.bearings_rad[i]) + obstacles.heading_rad
        bracket = _bracket(obstacles.positions_m[i], sight_rad, float(obstacles.widths_m[i]))
        _cased(picture, pixels(bracket), colour)
        _draw_arrow(picture, obstacles, i, colour, pixels)
    if track_ids is not None:
        lettering, height = Lettering(picture), picture.shape[0]
        for i in nearest:
            _number(lettering, str(int(track_ids[i])), pixels(obstacles.positions_m[None, i])[0], height, colours[i])


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = colour.tolist()
    return red, green, blue


def _line_px(picture: np.ndarray) -> int:
    return max(1, round(picture.shape[0] / 300))


def _cased(picture: np.ndarray, places: np.ndarray, colour: tuple[int, int, int]) -> None:
    width_px = _line_px(picture)
    draw_line(picture, places, _CASING, width_px + 2)
    draw_line(picture, places, colour, width_px)


def _bracket(position: np.ndarray, sight_rad: float, width_m: float) -> np.ndarray:
    """Corners `[4, 2]` of the near side, across the line of sight, and of where the sides go from there."""
    away = np.array((math.cos(sight_rad), math.sin(sight_rad)))
    half_m = width_m / 2 if math.isfinite(width_m) else 0.0
    across, back = np.array((-away[1], away[0])) * half_m, away * min(_DEPTH_SHARE * 2 * half_m, _DEEPEST_M)
    return np.stack([position + across + back, position + across, position - across, position - across + back])


def _draw_arrow(
    picture: np.ndarray,
    obstacles: Obstacles,
    i: int,
    colour: tuple[int, int, int],
    pixels: Callable[[np.ndarray], np.ndarray],
) -> None:
    velocity = obstacles.velocities_mps[i]
    if not np.hypot(*velocity) >= _SLOWEST_MPS:  # NaN is not
        return
    start, end = pixels(obstacles.positions_m[i] + np.stack([np.zeros(2), velocity * _ARROW_S]))
    way = end - start
    length = float(np.hypot(*way))
    head_px = min(length, 4.0 * _line_px(picture) + 4.0)
    along = way / max(length, 1e-9)
    base, side = end - along * head_px, np.array((-along[1], along[0])) * head_px * 0.5
    head = np.stack([end, base + side, base - side, end])
    if obstacles.is_relative:
        draw_line(picture, _dashes(start, base, picture.shape[0] / 80), colour, _line_px(picture))
        _cased(picture, head, colour)
    else:
        _cased(picture, np.stack([start, base]), colour)
        fixed = np.rint(np.clip(head, -_FARTHEST_PX, _FARTHEST_PX) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, _SUBPIXEL_BITS)
        draw_line(picture, head, _CASING, 1)


def _dashes(start: np.ndarray, end: np.ndarray, dash_px: float) -> np.ndarray:
    """Points `[3 n, 2]` of a dashed line; the third of every three is NaN, a gap."""
    length = float(np.hypot(*(end - start)))
    count = int(np.clip(length / (2 * dash_px), 1, _MOST))
    shares = (np.arange(count)[:, None] + np.array((0.0, 0.5, np.nan))) / count
    return start + shares.reshape(-1, 1) * (end - start)


def _number(lettering: Lettering, text: str, place: np.ndarray, height: int, colour: np.ndarray) -> None:
    """Beside the contact, if that is in the picture."""
    column, row = place.tolist()
    if not (0 <= column < lettering.width_px and 0 <= row < height):
        return
    width_px, height_px = lettering.size(text)
    gap = height / 160
    beside = [(column + gap, row + gap), (column - gap - width_px, row + gap), (column + gap, row - gap - height_px)]
    lettering.write(text, beside, _rgb(colour))
