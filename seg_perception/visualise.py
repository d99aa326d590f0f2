"""Pictures and tables for people: the colours over the camera image, legends, contact sheets, latency tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from seg_perception.images import DecodedImage
from seg_perception.labels import VOID_ID, LabelSet

__all__ = [
    "beside",
    "check_canvas",
    "colour_mask",
    "contact_sheet",
    "draw_boundary",
    "draw_line",
    "latency_table",
    "legend",
    "overlay",
    "swatches",
]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE = 0.45  # capitals about 10 pixels high
_LINE_HEIGHT = 22
_MARGIN = 8
_PAPER = (250, 250, 250)
_INK = (30, 30, 30)
_EDGE = (120, 120, 120)
_LINE = (255, 255, 255)
_CASING = (20, 20, 20)  # around a line, so that it is seen on light ground as well
_SUBPIXEL_BITS = 4
_FARTHEST_PX = 30_000  # OpenCV draws in 32 bits, and parts of pixels take some of them


def colour_mask(class_ids: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Every pixel in its class's colour, RGB uint8 `[H, W, 3]`.

    Args:
        class_ids: uint8 `[H, W]`.
        palette: uint8 `[256, 3]`, RGB by class id.

    Raises:
        ValueError: wrong shape or type.
    """
    if class_ids.dtype != np.uint8 or class_ids.ndim != 2 or not class_ids.size:
        raise ValueError(f"class_ids must be uint8 [H, W], got {class_ids.dtype} {list(class_ids.shape)}")
    if palette.dtype != np.uint8 or palette.shape != (256, 3):
        raise ValueError(f"palette must be uint8 [256, 3], got {palette.dtype} {list(palette.shape)}")
    # A third of the time of a NumPy look-up, or better; it leaves the order of the channels alone.
    return cv2.applyColorMap(class_ids, np.ascontiguousarray(palette).reshape(256, 1, 3))


def overlay(image: DecodedImage, class_ids: np.ndarray, palette: np.ndarray, opacity: float) -> np.ndarray:
    """Class colours over the camera image, RGB uint8 `[H, W, 3]`; where there is no label (255), the image alone.

    Args:
        image: the camera image.
        class_ids: uint8 `[H, W]`, of the image's size.
        palette: uint8 `[256, 3]`, RGB by class id.
        opacity: share of the class colour, 0 to 1.

    Raises:
        ValueError: the sizes differ, or an argument has the wrong shape, type or range.
    """
    if image.pixels.shape[:2] != class_ids.shape:
        raise ValueError(
            f"image {list(image.pixels.shape[:2])} and class_ids {list(class_ids.shape)} must have one size; "
            "resize the ids to the image's (nearest)"
        )
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must be 0 to 1, got {opacity}")
    rgb = image.to_rgb()
    painted = cv2.addWeighted(rgb, 1.0 - opacity, colour_mask(class_ids, palette), opacity, 0.0)
    return cv2.copyTo(rgb, (class_ids == VOID_ID).view(np.uint8), painted)


def draw_boundary(rgb: np.ndarray, boundary_px: np.ndarray) -> np.ndarray:
    """Where drivable ground ends, as a white line over a camera image.

    Args:
        rgb: uint8 `[H, W, 3]`, contiguous; it is drawn into this array.
        boundary_px: float64 `[B, 2]`, (column, row) of the places one after another, pixel centres at integers; where
            one is not finite the line has a gap.

    Returns:
        The same array.

    Raises:
        ValueError: wrong shape or type.
    """
    check_canvas(rgb)
    width_px = max(1, round(rgb.shape[0] / 240))
    draw_line(rgb, boundary_px, _CASING, width_px + 2)
    draw_line(rgb, boundary_px, _LINE, width_px)
    return rgb


def check_canvas(rgb: np.ndarray) -> None:
    """ValueError, unless it can be drawn into: RGB uint8 `[H, W, 3]`, contiguous."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.flags.c_contiguous:
        raise ValueError(f"rgb must be contiguous uint8 [H, W, 3], got {rgb.dtype} {list(rgb.shape)}")


def draw_line(rgb: np.ndarray, points_px: np.ndarray, colour: tuple[int, int, int], width_px: int) -> None:
    """Join points that follow each other, as far as they are finite; one alone becomes a dot.

    Args:
        rgb: uint8 `[H, W, 3]`, contiguous; it is drawn into this array.
        points_px: float64 `[N, 2]`, (column, row), pixel centres at integers.
        colour: RGB.
        width_px: of the line.

    Raises:
        ValueError: wrong shape of the points.
    """
    if points_px.ndim != 2 or points_px.shape[1] != 2:
        raise ValueError(f"points must be [N, 2], (column, row), got {list(points_px.shape)}")
    there = np.isfinite(points_px).all(axis=1)
    near = np.clip(points_px, -_FARTHEST_PX, _FARTHEST_PX, where=there[:, None], out=np.zeros(points_px.shape))
    fixed = np.rint(near * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    breaks = np.flatnonzero(np.diff(there)) + 1
    runs = [run for run, drawn in zip(np.split(fixed, breaks), np.split(there, breaks)) if drawn.any()]
    # Of a line with one point OpenCV draws nothing: it gets a second one, a pixel to the right.
    runs = [np.vstack([run, run + (1 << _SUBPIXEL_BITS, 0)]) if len(run) == 1 else run for run in runs]
    if runs:
        cv2.polylines(rgb, runs, False, colour, width_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def beside(image: np.ndarray, birds_eye: np.ndarray) -> np.ndarray:
    """A camera picture and, to its right, the ground from above, scaled to the picture's height.

    Args:
        image, birds_eye: RGB uint8 `[H, W, 3]` of any size.

    Returns:
        RGB uint8 `[H of image, W of both, 3]`.

    Raises:
        ValueError: a picture is not RGB uint8.
    """
    width = max(1, round(birds_eye.shape[1] * image.shape[0] / birds_eye.shape[0]))
    scaled = _scaled(birds_eye, width, image.shape[0])
    return np.hstack([_scaled(image, image.shape[1]), scaled])


def legend(labels: LabelSet, ids: Iterable[int], width: int = 640) -> np.ndarray:
    """Swatches and names of the classes that are there, in as many lines as it takes.

    Args:
        labels: what the ids mean.
        ids: class ids, in any order and number, such as `np.unique(mask)`; what is no class is left out.
        width: of the picture, pixels.

    Returns:
        RGB uint8 `[h, width, 3]`, h a multiple of one line's height.
    """
    present = {int(i) for i in ids}
    return swatches([(label.name, label.color) for label in labels if label.id in present], width)


def swatches(entries: Sequence[tuple[str, tuple[int, int, int]]], width: int) -> np.ndarray:
    """A legend of (name, RGB colour) entries, as `legend` makes it."""
    column = 44 + max((_text_width(name) for name, _ in entries), default=0)
    columns = max(1, (width - _MARGIN) // column)
    picture = _blank(max(1, math.ceil(len(entries) / columns)) * _LINE_HEIGHT, width)
    for i, (name, colour) in enumerate(entries):
        x, y = _MARGIN + i % columns * column, i // columns * _LINE_HEIGHT
        cv2.rectangle(picture, (x, y + 5), (x + 16, y + 17), colour, cv2.FILLED)
        cv2.rectangle(picture, (x, y + 5), (x + 16, y + 17), _EDGE, 1)
        _write(picture, name, x + 22, y, width - x - 22)
    return picture


def contact_sheet(
    rows: Sequence[tuple[np.ndarray, np.ndarray, str]], columns: int = 2, width: int = 1280
) -> np.ndarray:
    """Camera image and its overlay or mask side by side, a title over each pair.

    Args:
        rows: (image, overlay or mask, title); the pictures are RGB uint8 `[H, W, 3]` of any size.
        columns: pairs beside each other.
        width: of the sheet, pixels.

    Returns:
        RGB uint8 `[h, width, 3]`.

    Raises:
        ValueError: there is nothing to show, no room for it, or a picture is not RGB uint8.
    """
    picture_width = (width - _MARGIN) // (2 * max(1, columns)) - _MARGIN
    if not rows or columns < 1 or picture_width < 16:
        raise ValueError(
            f"a contact sheet needs rows, columns and 16 pixels for each picture, got {len(rows)} rows and {columns} "
            f"columns in {width} pixels"
        )
    cells = [_cell(image, painted, title, picture_width) for image, painted, title in rows]
    lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in line) for line in lines]
    sheet = _blank(sum(heights) + _MARGIN, width)
    top = 0
    for line, height in zip(lines, heights, strict=False):
        for i, cell in enumerate(line):
            left = _MARGIN + i * (cell.shape[1] + _MARGIN)
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
        top += height
    return sheet


def latency_table(
    percentiles: Mapping[str, tuple[float, float, float]], heading: str = "stage", unit: str = "ms"
) -> str:
    """A plain text table, one line for each stage in the order given, right-aligned numbers; no trailing newline.

    Args:
        percentiles: (p50, p95, max) by stage; NaN is shown as a dash.
        heading: of the first column.
        unit: of the numbers.
    """
    titles = (heading, f"p50 {unit}", f"p95 {unit}", f"max {unit}")
    body = [(stage, *(_number(value) for value in values)) for stage, values in percentiles.items()]
    widths = [max(len(row[i]) for row in (titles, *body)) for i in range(4)]

    def line(row: Sequence[str]) -> str:
        return "  ".join((row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3))))

    rule = "  ".join("-" * width for width in widths)
    return "\n".join((line(titles), rule, *(line(row) for row in body)))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _cell(image: np.ndarray, painted: np.ndarray, title: str, picture_width: int) -> np.ndarray:
    pictures = [_scaled(picture, picture_width) for picture in (image, painted)]
    height = max(picture.shape[0] for picture in pictures)
    cell = _blank(_LINE_HEIGHT + height + _MARGIN // 2, 2 * picture_width + _MARGIN)
    _write(cell, title, 0, 0, cell.shape[1])
    for i, picture in enumerate(pictures):
        left = i * (picture_width + _MARGIN)
        cell[_LINE_HEIGHT : _LINE_HEIGHT + picture.shape[0], left : left + picture_width] = picture
    return cell


def _scaled(picture: np.ndarray, width: int, height: int = 0) -> np.ndarray:
    """To this width, and to this height or, with 0, the one that keeps the picture's shape."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"a picture must be RGB uint8 [H, W, 3], got {picture.dtype} {list(picture.shape)}")
    height = height or max(1, round(picture.shape[0] * width / picture.shape[1]))
    if (height, width) == picture.shape[:2]:
        return picture
    shrinks = width <= picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1)[0][0])


def _write(picture: np.ndarray, text: str, x: int, y: int, room: int) -> None:
    """One line of text, its line box's upper left corner at (x, y); cut short with dots where it does not fit."""
    if _text_width(text) > room:
        while text and _text_width(text + "...") > room:
            text = text[:-1]
        text += "..."
    cv2.putText(picture, text, (x, y + 16), _FONT, _TEXT_SCALE, _INK, 1, cv2.LINE_AA)
