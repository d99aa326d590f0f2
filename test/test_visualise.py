"""Colours, blends and layouts against NumPy and against the labels' own colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_perception.images import DecodedImage
from seg_perception.labels import CITYSCAPES
from seg_perception.visualise import colour_mask, contact_sheet, latency_table, legend, overlay

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 19, (30, 40)).astype(np.uint8)
RGB = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
PALETTE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
PAPER = (250, 250, 250)


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
