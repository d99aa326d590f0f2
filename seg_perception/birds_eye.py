"""The ground from above, to look at: ahead is up, left is left, the vehicle at the lower edge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.draw_obstacles import draw_obstacles
from seg_perception.objects import Obstacles
from seg_perception.types import Boundary, Grid
from seg_perception.visualise import draw_line

__all__ = ["GRID_COLOURS", "birds_eye"]

_FREE, _CAUTION, _OCCUPIED, _UNSEEN = (118, 190, 126), (240, 205, 84), (176, 36, 44), (146, 150, 156)
GRID_COLOURS = (("free", _FREE), ("caution", _CAUTION), ("occupied", _OCCUPIED), ("unseen", _UNSEEN))
"""What the colours mean, (name, RGB), for `visualise.swatches`."""
_OUTSIDE = (206, 208, 212)
_RING, _INK, _HALO = (92, 96, 104), (24, 24, 28), (232, 234, 238)
_LINE, _CASING = (255, 255, 255), (20, 20, 20)
_AHEAD, _LEFT = (210, 30, 30), (20, 130, 30)  # the colours that RViz gives the axes x and y

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MARGIN = 0.04
"""Around the grid, as a share of its length: the vehicle's origin often lies on the grid's very edge."""
_RING_STEPS_M = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
_WIDEST = 4.0
_MOST_CIRCLES = 40
_MOST_RINGS = 5
_SUBPIXEL_BITS = 4
_LEAST_PX = 32


@dataclass(frozen=True)
class _View:
    """Where places of the ground are in the picture.

    Attributes:
        height, width: of the picture, pixels.
        top_m, left_m: x of its upper edge, y of its left edge.
        px_per_m: scale.
    """

    height: int
    width: int
    top_m: float
    left_m: float
    px_per_m: float

    @classmethod
    def around(cls, grid: Grid, height: int) -> _View:
        rows, columns = grid.values.shape
        ahead, across = columns * grid.resolution_m, rows * grid.resolution_m
        margin = _MARGIN * ahead
        # A grid that is far wider than long is drawn smaller rather than wider.
        px_per_m = min(height / (ahead + 2 * margin), _WIDEST * height / (across + 2 * margin))
        width = max(1, round((across + 2 * margin) * px_per_m))
        return cls(height, width, grid.x_m + ahead + margin, grid.y_m + across + margin, px_per_m)

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """(column, row) float64 `[N, 2]` of places (x, y) `[N, 2]`; pixel centres are at integers."""
        return (np.array((self.left_m, self.top_m)) - places[:, ::-1]) * self.px_per_m - 0.5

    def metres(self) -> tuple[np.ndarray, np.ndarray]:
        """x of every row of pixels and y of every column, float64."""
        x = self.top_m - (np.arange(self.height) + 0.5) / self.px_per_m
        y = self.left_m - (np.arange(self.width) + 0.5) / self.px_per_m
        return x, y


def birds_eye(
    grid: Grid,
    boundary: Boundary | None,
    ground_from_footprint: np.ndarray | None,
    height_px: int,
    obstacles: Obstacles | None = None,
    track_ids: np.ndarray | None = None,
) -> np.ndarray:
    """A grid from above: green is free, yellow to drive on only in need, red occupied, grey unseen.

    Rings around the ground frame's origin give the distance; its axes x and y are red and green, the camera's foot is
    a dot. The boundary is a white line where it is known, thin where the ground is free as far as was looked. Obstacles
    are brackets of their width with a 95 % ellipse, an arrow as long as their way in a second (hollow and dashed:
    relative to the vehicle) and their track id, in the colours that `draw_objects` gives them.

    Args:
        grid: to draw.
        boundary: to draw over it, if there is one.
        ground_from_footprint: float64 `[4, 4]`, the boundary's frame in the grid's; None is not known, and then there
            is no boundary either.
        height_px: of the picture, 32 or more; the width follows from the grid's shape.
        obstacles: to draw over all that, if there are any; in the grid's frame.
        track_ids: int64 `[m]`, of the obstacles' rows; None: no numbers.

    Returns:
        RGB uint8 `[height_px, W, 3]`.

    Raises:
        ValueError: the picture would be too low.
    """
    if height_px < _LEAST_PX:
        raise ValueError(f"height_px must be {_LEAST_PX} or more, got {height_px}")
    view = _View.around(grid, height_px)
    picture = _colour_table()[_shown_values(grid, view)]
    _draw_rings(picture, grid, view)
    if ground_from_footprint is not None:
        if boundary is not None:
            _draw_boundary(picture, boundary, ground_from_footprint, view)
        _draw_foot(picture, ground_from_footprint, view)
    _draw_axes(picture, view)
    if obstacles is not None and len(obstacles):
        draw_obstacles(picture, obstacles, track_ids, view.pixels)
    return picture


def _colour_table() -> np.ndarray:
    """RGB uint8 `[103, 3]` by grid value + 1; the last is for what lies outside the grid."""
    value = np.arange(101)
    seen = np.stack([np.interp(value, (0, 50, 100), ends) for ends in zip(_FREE, _CAUTION, _OCCUPIED)], -1)
    table: np.ndarray = np.rint(np.vstack([_UNSEEN, seen, _OUTSIDE])).astype(np.uint8)
    return table


def _shown_values(grid: Grid, view: _View) -> np.ndarray:
    """What every pixel shows, as an index into the colours, uint8 `[H, W]`."""
    indices: np.ndarray = (grid.values.astype(np.int16) + 1).clip(0, 101).astype(np.uint8)
    cells_per_px = math.ceil(1 / (grid.resolution_m * view.px_per_m) - 1e-6)
    if cells_per_px > 1:  # a pixel shows the worst of its cells, or thin obstacles would be lost
        indices = cv2.dilate(indices, np.ones((cells_per_px, cells_per_px), np.uint8))
    x, y = view.metres()
    rows, columns = (np.floor((at - low) / grid.resolution_m).astype(int) for at, low in ((y, grid.y_m), (x, grid.x_m)))
    shown: np.ndarray = indices.take(columns, axis=1, mode="clip").take(rows, axis=0, mode="clip").T
    within_y, within_x = ((at >= 0) & (at < count) for at, count in zip((rows, columns), grid.values.shape))
    shown[~(within_x[:, None] & within_y)] = 102
    return shown


def _draw_rings(picture: np.ndarray, grid: Grid, view: _View) -> None:
    """Circles around the origin, at round distances, with their radius written where they cross the x axis."""
    rows, columns = grid.values.shape
    farthest_m = max(abs(grid.x_m), abs(grid.x_m + columns * grid.resolution_m))
    step_m = next((step for step in _RING_STEPS_M if farthest_m <= step * _MOST_RINGS), _RING_STEPS_M[-1])
    centre = view.pixels(np.zeros((1, 2)))[0]
    outermost = math.ceil(math.hypot(farthest_m, rows * grid.resolution_m) / step_m)
    for radius_m in np.arange(1, min(outermost, _MOST_CIRCLES)) * step_m:
        fixed = [round(float(value) * (1 << _SUBPIXEL_BITS)) for value in (*centre, radius_m * view.px_per_m)]
        cv2.circle(picture, (fixed[0], fixed[1]), fixed[2], _RING, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
        if radius_m <= farthest_m:
            _write(picture, f"{radius_m:g} m", float(centre[0]), float(centre[1] - radius_m * view.px_per_m))


def _write(picture: np.ndarray, text: str, column: float, row: float) -> None:
    """Centred on a place, with a halo; kept within the picture."""
    scale = max(0.3, picture.shape[0] / 1100)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    at = (
        int(np.clip(column - width / 2, 2, max(2, picture.shape[1] - width - 2))),
        int(np.clip(row + height / 2, height + 2, picture.shape[0] - 2)),
    )
    cv2.putText(picture, text, at, _FONT, scale, _HALO, 3, cv2.LINE_AA)
    cv2.putText(picture, text, at, _FONT, scale, _INK, 1, cv2.LINE_AA)


def _draw_boundary(picture: np.ndarray, boundary: Boundary, ground_from_footprint: np.ndarray, view: _View) -> None:
    ranges = boundary.ranges_m.astype(np.float64)
    known = np.isfinite(ranges)
    reach = np.where(np.isposinf(ranges), boundary.range_max_m, ranges)
    along = np.stack([np.cos(boundary.bearings_rad), np.sin(boundary.bearings_rad)], -1) * reach[:, None]
    places = view.pixels(along @ ground_from_footprint[:2, :2].T + ground_from_footprint[:2, 3])
    draw_line(picture, places, _LINE, 1)
    places[~known] = np.nan
    width_px = max(1, round(picture.shape[0] / 400))  # a wider one would cover what is occupied behind it
    draw_line(picture, places, _CASING, width_px + 2)
    draw_line(picture, places, _LINE, width_px)


def _draw_foot(picture: np.ndarray, ground_from_footprint: np.ndarray, view: _View) -> None:
    place = view.pixels(ground_from_footprint[None, :2, 3])[0]
    if not ((place >= 0) & (place < (view.width, view.height))).all():
        return
    column, row = np.rint(place).astype(int).tolist()
    radius = max(2, round(picture.shape[0] / 120))
    cv2.circle(picture, (column, row), radius, _LINE, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(picture, (column, row), radius, _CASING, 1, cv2.LINE_AA)


def _draw_axes(picture: np.ndarray, view: _View) -> None:
    length_m = 0.06 * picture.shape[0] / view.px_per_m
    width_px = max(1, round(picture.shape[0] / 200))
    draw_line(picture, view.pixels(np.array([[0.0, 0.0], [0.0, length_m]])), _LEFT, width_px)
    draw_line(picture, view.pixels(np.array([[0.0, 0.0], [length_m, 0.0]])), _AHEAD, width_px)
