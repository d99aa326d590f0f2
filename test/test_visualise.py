"""Colours, blends and layouts against NumPy and against the labels' own colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_perception.birds_eye import GRID_COLOURS, birds_eye
from seg_perception.images import DecodedImage
from seg_perception.labels import CITYSCAPES
from seg_perception.types import Boundary, Grid
from seg_perception.visualise import (
    beside,
    colour_mask,
    contact_sheet,
    draw_boundary,
    latency_table,
    legend,
    overlay,
    swatches,
)

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 19, (30, 40)).astype(np.uint8)
RGB = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
PALETTE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
PAPER = (250, 250, 250)
COLOURS = dict(GRID_COLOURS)


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, picture.reshape(-1, 3).tolist()))


def test_every_class_id_has_its_rgb_colour() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(colour_mask(ids, PALETTE), PALETTE.reshape(16, 16, 3))
    np.testing.assert_array_equal(colour_mask(ids[::2, ::3], PALETTE), PALETTE.reshape(16, 16, 3)[::2, ::3])
    assert colour_mask(np.zeros((1, 1), np.uint8), CITYSCAPES.palette).tolist() == [[[128, 64, 128]]]  # road


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_an_overlay_is_the_weighted_mean_and_leaves_the_unlabelled_alone(opacity: float) -> None:
    ids = IDS.copy()
    ids[3:9, 5:20] = 255
    painted = overlay(DecodedImage(RGB, "rgb"), ids, PALETTE, opacity)
    expected = RGB * (1 - opacity) + PALETTE[ids].astype(float) * opacity
    expected[ids == 255] = RGB[ids == 255]
    assert painted.dtype == np.uint8
    assert np.abs(painted - expected).max() <= 0.5001
    np.testing.assert_array_equal(painted[ids == 255], RGB[ids == 255])


@pytest.mark.parametrize("order", ["rgb", "bgr", "rgba", "bgra"])
def test_an_overlay_is_rgb_whatever_the_cameras_channels_are(order: str) -> None:
    pixels = np.dstack([RGB[..., "rgb".index(c)] if c != "a" else RGB[..., 0] for c in order])
    expected = overlay(DecodedImage(RGB, "rgb"), IDS, PALETTE, 0.4)
    np.testing.assert_array_equal(overlay(DecodedImage(pixels, order), IDS, PALETTE, 0.4), expected)


def test_an_overlay_on_gray_has_colour() -> None:
    painted = overlay(DecodedImage(RGB[..., 0], "gray"), IDS, PALETTE, 0.5)
    assert np.abs(painted - (RGB[..., :1] / 2 + PALETTE[IDS] / 2)).max() <= 0.5


def test_an_overlay_never_shares_or_changes_the_message() -> None:
    padded = RNG.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    padded.setflags(write=False)
    image = DecodedImage(padded[:, :40], "rgb")
    for ids in (IDS, np.full_like(IDS, 255)):
        painted = overlay(image, ids, CITYSCAPES.palette, 0.0)
        assert not np.shares_memory(painted, padded)
        assert painted.flags.writeable
        assert painted.flags.c_contiguous
        np.testing.assert_array_equal(painted, padded[:, :40])


@pytest.mark.parametrize(
    ("ids", "palette", "opacity", "text"),
    [
        (IDS[:-1], PALETTE, 0.5, "must have one size"),
        (IDS.astype(np.int64), PALETTE, 0.5, "class_ids must be uint8"),
        (IDS, PALETTE[:19], 0.5, r"palette must be uint8 \[256, 3\]"),
        (IDS, PALETTE, 1.5, "opacity must be 0 to 1"),
    ],
)
def test_wrong_arguments_are_refused(ids: np.ndarray, palette: np.ndarray, opacity: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        overlay(DecodedImage(RGB, "rgb"), ids, palette, opacity)


def test_a_legend_shows_the_colours_of_what_is_there_and_no_others() -> None:
    shown = [CITYSCAPES.id_of(name) for name in ("road", "car", "person")]
    picture = legend(CITYSCAPES, np.array([*shown, shown[0], 255, 77]), width=300)
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (300, 3)
    for label in CITYSCAPES:
        pixels = int((picture == label.color).all(-1).sum())  # a letter's edge may have a colour by chance
        assert (pixels >= 100) == (label.id in shown), label.name


def test_a_legend_wraps_and_loses_no_class() -> None:
    narrow, wide = (legend(CITYSCAPES, range(19), width) for width in (150, 1280))
    assert narrow.shape[0] > wide.shape[0]
    for picture in (narrow, wide):
        assert {label.color for label in CITYSCAPES} <= colours_in(picture)
    assert colours_in(legend(CITYSCAPES, [])) == {PAPER}


def test_a_contact_sheet_has_every_picture_at_its_place() -> None:
    """Flat pictures of known colours: their rectangles are found again, in order, equal in size, not overlapping."""
    flats = [tuple(int(v) for v in RNG.integers(0, 200, 3)) for _ in range(10)]
    pictures = [np.full((90 + 10 * (i % 2), 120, 3), flat, np.uint8) for i, flat in enumerate(flats)]
    rows = [(pictures[2 * i], pictures[2 * i + 1], f"frame {i}") for i in range(5)]
    sheet = contact_sheet(rows, columns=2, width=500)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (500, 3)
    boxes = []
    for i, flat in enumerate(flats):
        ys, xs = np.nonzero((sheet == flat).all(-1))
        top, left, height, width = ys.min(), xs.min(), np.ptp(ys) + 1, np.ptp(xs) + 1
        assert len(ys) == height * width  # a full rectangle: nothing lies over it
        assert height / width == pytest.approx(pictures[i].shape[0] / 120, rel=0.02)
        boxes.append((top, left, width))
    assert len({width for _, _, width in boxes}) == 1
    assert boxes == sorted(boxes)
    assert len({(top, left) for top, left, _ in boxes}) == 10
    assert len({left for _, left, _ in boxes}) == 4
    assert len({top for top, _, _ in boxes}) == 3


def test_a_contact_sheet_writes_a_title_over_each_pair() -> None:
    blank = np.full((60, 80, 3), PAPER, np.uint8)
    empty = contact_sheet([(blank, blank, "")], 1, 400)
    assert colours_in(empty) == {PAPER}
    short, long = (contact_sheet([(blank, blank, title)], 1, 400) for title in ("frame 1", "very long words " * 40))
    ys, xs = np.nonzero((short != PAPER).any(-1))
    assert ys.max() < 22
    assert xs.min() < 12
    assert xs.max() < 100
    ys, xs = np.nonzero((long != PAPER).any(-1))
    assert ys.max() < 22
    assert 340 < xs.max() < 392  # cut to fit, inside the margin


@pytest.mark.parametrize(
    ("rows", "columns", "width"),
    [
        ([], 2, 640),
        ([(RGB, RGB, "")], 0, 640),
        ([(RGB, RGB, "")], 20, 640),
        ([(IDS, RGB, "")], 1, 640),
    ],
)
def test_a_contact_sheet_says_what_it_cannot_show(
    rows: list[tuple[np.ndarray, np.ndarray, str]], columns: int, width: int
) -> None:
    with pytest.raises(ValueError, match=r"contact sheet needs|RGB uint8"):
        contact_sheet(rows, columns, width)


def test_a_latency_table_lines_up() -> None:
    table = latency_table(
        {"decode": (0.012, 0.5, 3.25), "inference": (10.0, 12.345, 1234.5), "masks": (float("nan"),) * 3}
    )
    assert table.splitlines() == [
        "stage      p50 ms  p95 ms   max ms",
        "---------  ------  ------  -------",
        "decode       0.01    0.50     3.25",
        "inference   10.00   12.35  1234.50",
        "masks           -       -        -",
    ]
    assert latency_table({}, heading="what", unit="s").splitlines()[0] == "what  p50 s  p95 s  max s"


def test_a_real_frame_keeps_its_light_and_takes_the_colours() -> None:
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"
    if not folder.is_dir():
        pytest.skip(f"no CamVid in {folder}")
    path = sorted((folder / "val").glob("*.png"))[0]
    bgr = cv2.imread(str(path))
    labels = cv2.imread(str(folder / "valannot" / path.name), cv2.IMREAD_UNCHANGED)
    assert bgr is not None
    assert labels is not None
    ids = np.where(labels == 3, 0, 255).astype(np.uint8)  # CamVid's road
    painted = overlay(DecodedImage(bgr, "bgr"), ids, CITYSCAPES.palette, 0.5).astype(float)
    np.testing.assert_array_equal(painted[ids == 255], bgr[..., ::-1][ids == 255])
    road = painted[ids == 0] - bgr[..., ::-1][ids == 0] / 2
    np.testing.assert_allclose(road.mean(0), np.array((128, 64, 128)) / 2, atol=0.5)


def lit(picture: np.ndarray) -> np.ndarray:
    """Where a picture is nearly white, bool `[H, W]`; a line between two rows of pixels is grey in both."""
    return np.asarray((picture >= 180).all(-1))


def near(mask: np.ndarray, column: float, row: float) -> bool:
    """Is there something within a pixel or so?"""
    column, row = round(column), round(row)
    return bool(mask[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].any())


def test_a_boundary_goes_through_its_points_and_has_their_gaps() -> None:
    picture = np.full((480, 320, 3), 90, np.uint8)
    columns = np.arange(10.0, 300.0, 10.0)
    points = np.stack([columns, 120 + 60 * np.sin(columns / 30)], -1)
    points[8:12], points[20, 1], points[22] = np.nan, np.inf, np.nan
    assert draw_boundary(picture, points) is picture
    white = lit(picture)
    for column, row in points[np.isfinite(points).all(1)]:
        assert near(white, column, row), (column, row)
    drawn = np.flatnonzero(white.any(axis=0))
    # between 71 and 129 there is none; the 21st point stands alone between two that are missing
    assert not ((drawn > 83) & (drawn < 127)).any()
    assert 5 >= np.count_nonzero((drawn > 203) & (drawn < 227)) >= 1
    # half way between two points the line is where the straight line is
    for (c0, r0), (c1, r1) in zip(points[:7], points[1:8]):
        assert near(white, (c0 + c1) / 2, (r0 + r1) / 2)


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.full((3, 2), np.nan)])
def test_a_boundary_of_nothing_draws_nothing(points: np.ndarray) -> None:
    picture = RGB.copy()
    np.testing.assert_array_equal(draw_boundary(picture, points), RGB)


def test_a_boundary_may_leave_the_picture() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    draw_boundary(picture, np.array([[-1e12, 30.0], [1e12, 30.0]]))
    assert lit(picture)[30, 2:-2].all()


@pytest.mark.parametrize(
    ("rgb", "points"),
    [
        (IDS.copy(), np.zeros((2, 2))),
        (RGB.astype(np.float32), np.zeros((2, 2))),
        (RGB[:, ::2], np.zeros((2, 2))),
        (RGB.copy(), np.zeros((2, 3))),
    ],
)
def test_a_boundary_that_cannot_be_drawn_is_refused(rgb: np.ndarray, points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="contiguous uint8|points must be"):
        draw_boundary(rgb, points)


def test_two_pictures_beside_each_other_have_one_height() -> None:
    red, blue = np.full((100, 50, 3), (250, 0, 0), np.uint8), np.full((30, 60, 3), (0, 0, 250), np.uint8)
    both = beside(red, blue)
    assert both.shape == (100, 250, 3)
    np.testing.assert_array_equal(both[:, :50], red)
    assert colours_in(both[:, 50:]) == {(0, 0, 250)}


def grid_of(cells: dict[tuple[float, float], int], resolution_m: float = 0.5) -> Grid:
    """A grid from x = 0 to 10 m and y = -3 to 3 m, unseen but for the cells at these places (x, y)."""
    values = np.full((round(6 / resolution_m), round(10 / resolution_m)), -1, np.int8)
    for (x, y), value in cells.items():
        values[int((y + 3) / resolution_m), int(x / resolution_m)] = value
    return Grid(values, 0.0, -3.0, 0.0, resolution_m)


PLACES = [(8.75, 2.25), (8.75, -2.25), (4.75, 1.25), (6.75, 0.75), (2.75, -1.25)]
"""Away from the rings."""


def seen_at(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Middle (column, row) of what has this colour."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    return np.array([(columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2])


def scale_of(height_px: int) -> tuple[float, np.ndarray]:
    """Pixels per metre, and the origin's (column, row), from where single cells are seen."""
    pixels = np.array(
        [seen_at(birds_eye(grid_of({p: 100}), None, None, height_px), COLOURS["occupied"]) for p in PLACES]
    )
    places = np.array(PLACES)
    ahead, across = np.polyfit(places[:, 0], pixels[:, 1], 1), np.polyfit(places[:, 1], pixels[:, 0], 1)
    np.testing.assert_allclose(pixels[:, 1], np.polyval(ahead, places[:, 0]), atol=0.6)
    np.testing.assert_allclose(pixels[:, 0], np.polyval(across, places[:, 1]), atol=0.6)
    assert ahead[0] == pytest.approx(across[0], rel=0.01)
    return -float(ahead[0]), np.array([across[1], ahead[1]])


@pytest.mark.parametrize("height_px", [200, 481])
def test_from_above_ahead_is_up_and_left_is_left(height_px: int) -> None:
    scale, origin = scale_of(height_px)
    picture = birds_eye(grid_of({}), None, None, height_px)
    assert picture.dtype == np.uint8 and picture.shape[0] == height_px
    assert 10 * scale <= height_px <= 12 * scale and 6 * scale <= picture.shape[1] <= 8 * scale
    assert abs(origin[0] - (picture.shape[1] - 1) / 2) < 1  # y = 0 is in the middle of this grid
    assert height_px * 0.9 < origin[1] < height_px


def test_from_above_every_value_has_its_colour() -> None:
    values = {-1: "unseen", 0: "free", 50: "caution", 100: "occupied"}
    for value, name in values.items():
        picture = birds_eye(grid_of({(8.75, 2.25): value}), None, None, 240)
        scale, origin = scale_of(240)
        column, row = np.rint(origin - scale * np.array([2.25, 8.75])).astype(int)
        assert tuple(picture[row, column]) == COLOURS[name]
    between = [int(birds_eye(grid_of({(8.75, 2.25): v}), None, None, 240)[row, column, 1]) for v in range(50, 101, 10)]
    assert between == sorted(between, reverse=True) and len(set(between)) == 6
    assert colours_in(swatches(GRID_COLOURS, 500)) >= set(COLOURS.values())


def test_from_above_an_obstacle_is_not_lost_where_cells_are_smaller_than_pixels() -> None:
    for y in np.arange(-2.9, 2.9, 0.31):
        picture = birds_eye(grid_of({(4.62, float(y)): 100}, resolution_m=0.01), None, None, 100)
        assert (picture == COLOURS["occupied"]).all(-1).any(), y


def test_from_above_the_boundary_is_where_it_is_known() -> None:
    """In a frame that is turned by 90 degrees to the left and moved: its ranges ahead lie at the vehicle's left."""
    turned = np.array([[0.0, -1.0, 0.0, 4.0], [1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    step = np.pi / 180
    ranges = np.full(181, np.nan)
    ranges[80:101], ranges[120:140] = 1.5, np.inf
    boundary = Boundary(-90 * step, step, 0.1, 1.2, ranges)
    height_px = 600
    plain = birds_eye(grid_of({}), None, turned, height_px)
    picture = birds_eye(grid_of({}), boundary, turned, height_px)
    scale, origin = scale_of(height_px)

    def pixel(bearing_deg: int, range_m: float) -> np.ndarray:
        bearing = np.deg2rad(bearing_deg)
        place = np.array([4.0 - range_m * np.sin(bearing), 1.0 + range_m * np.cos(bearing)])
        return np.rint(origin - scale * place[::-1]).astype(int)

    changed = (picture != plain).any(-1)
    for index in (*range(80, 101), *range(120, 140)):
        column, row = pixel(index - 90, 1.5 if index < 110 else 1.2)
        assert near(lit(picture), column, row), index
    for index in (*range(78), *range(103, 118), *range(142, 180)):
        column, row = pixel(index - 90, 1.5)
        assert not changed[row, column], index
    known, free = (changed[r - 6 : r + 7, c].sum() for c, r in (pixel(0, 1.5), pixel(40, 1.2)))
    assert known > free > 0  # the line is thin where the ground was free as far as it was looked at


def test_from_above_too_low_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="height_px must be 32 or more, got 10"):
        birds_eye(grid_of({}), None, None, 10)
