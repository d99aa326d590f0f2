"""Raw image messages: every byte layout is built here by hand, pixel by pixel, from a known picture."""

from __future__ import annotations

import array
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from seg_perception.errors import FrameError
from seg_perception.images import ENCODINGS, DecodedImage, decode
from seg_perception.types import ImageData, RawImage

MAX_PIXELS = 64_000_000
HEIGHT, WIDTH = 4, 6
PICTURE = [[(10 * y + x, 100 + 10 * y + x, 200 + 5 * y + x) for x in range(WIDTH)] for y in range(HEIGHT)]
RGB = np.array(PICTURE, np.uint8)
GRAY = RGB[..., 1]
PATTERNS = {"bayer_rggb8": "RGGB", "bayer_bggr8": "BGGR", "bayer_gbrg8": "GBRG", "bayer_grbg8": "GRBG"}

PIXEL_BYTES = {
    "rgb8": lambda r, g, b: (r, g, b),
    "bgr8": lambda r, g, b: (b, g, r),
    "8UC3": lambda r, g, b: (b, g, r),
    "rgba8": lambda r, g, b: (r, g, b, 7),
    "bgra8": lambda r, g, b: (b, g, r, 7),
    "8UC4": lambda r, g, b: (b, g, r, 7),
    "mono8": lambda r, g, b: (g,),
    "8UC1": lambda r, g, b: (g,),
}


def raw(rows: list[list[int]], encoding: str, width: int, padding: int = 0, is_bigendian: bool = False) -> RawImage:
    """A message from the bytes of each row; the padding is filled with a value that must never be seen."""
    data = bytes(value for row in rows for value in (*row, *[0xEE] * padding))
    return RawImage(len(rows), width, encoding, len(rows[0]) + padding, data, is_bigendian)


def message(encoding: str, padding: int = 0) -> RawImage:
    """PICTURE in an 8-bit gray or colour encoding."""
    rows = [[value for pixel in row for value in PIXEL_BYTES[encoding](*pixel)] for row in PICTURE]
    return raw(rows, encoding, WIDTH, padding)


def mosaic(picture: np.ndarray, pattern: str) -> list[list[int]]:
    """What a sensor behind that colour filter sees; the pattern names the upper left 2x2 pixels, row by row."""
    height, width = picture.shape[:2]
    return [
        [int(picture[y, x, "RGB".index(pattern[2 * (y % 2) + x % 2])]) for x in range(width)] for y in range(height)
    ]


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize("encoding", PIXEL_BYTES)
def test_an_8_bit_image_is_a_read_only_view_of_the_message(encoding: str, padding: int) -> None:
    image = message(encoding, padding)
    decoded = decode(image, MAX_PIXELS)
    assert np.shares_memory(decoded.pixels, np.frombuffer(image.data, np.uint8))
    assert not decoded.pixels.flags.writeable
    rgb = decoded.to_rgb()
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, np.dstack([GRAY] * 3) if decoded.order == "gray" else RGB)


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(bytearray(data)),
        lambda data: memoryview(array.array("B", data)),
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(b"?" + data, np.uint8)[1:],
    ],
    ids=("bytes", "bytearray", "memoryview", "writable memoryview", "array", "numpy", "numpy slice"),
)
@pytest.mark.parametrize("encoding", ["bgr8", "mono16", "yuv422", "bayer_rggb8"])
def test_every_kind_of_buffer_gives_the_same_pixels_and_is_left_alone(
    encoding: str, wrap: Callable[[bytes], ImageData]
) -> None:
    original = bytes((7 * i) % 256 for i in range(HEIGHT * 20))
    reference = RawImage(HEIGHT, WIDTH, encoding, 20, original)
    data = wrap(original)
    decoded = decode(RawImage(HEIGHT, WIDTH, encoding, 20, data), MAX_PIXELS)
    np.testing.assert_array_equal(decoded.to_rgb(), decode(reference, MAX_PIXELS).to_rgb())
    assert bytes(data) == original
    assert not decoded.pixels.flags.writeable


def test_rgb_is_handed_on_without_a_copy_and_padded_rgb_made_contiguous() -> None:
    image = decode(message("rgb8"), MAX_PIXELS)
    assert np.shares_memory(image.to_rgb(), image.pixels)
    assert decode(message("rgb8", padding=5), MAX_PIXELS).to_rgb().flags.c_contiguous


def test_to_rgb_converts_resized_pixels_in_the_images_own_order() -> None:
    image = decode(message("bgra8"), MAX_PIXELS)
    np.testing.assert_array_equal(image.to_rgb(image.pixels[::2, ::3]), RGB[::2, ::3])
    with pytest.raises(ValueError, match=r"bgra pixels must be uint8 \[H, W, 4\]"):
        image.to_rgb(RGB)


@pytest.mark.parametrize("padding", [0, 1, 2], ids=lambda n: f"padding{n}")
@pytest.mark.parametrize("big", [False, True], ids=("little", "big"))
def test_every_16_bit_value_is_divided_by_257_and_rounded(big: bool, padding: int) -> None:
    values = list(range(65536))
    rows = [
        [b for v in values[256 * y : 256 * y + 256] for b in v.to_bytes(2, "big" if big else "little")]
        for y in range(256)
    ]
    decoded = decode(raw(rows, "mono16", 256, padding, is_bigendian=big), MAX_PIXELS)
    assert decoded.order == "gray"
    assert decoded.pixels.ravel().tolist() == [(2 * v + 257) // 514 for v in values]  # 257 is odd: there are no ties


@pytest.mark.parametrize("encoding", ["mono8", "bgr8", "bayer_rggb8", "yuyv"])
def test_byte_order_does_not_touch_8_bit_images(encoding: str) -> None:
    data = bytes((11 * i) % 256 for i in range(HEIGHT * 18))
    little, big = (RawImage(HEIGHT, WIDTH, encoding, 18, data, is_bigendian=flag) for flag in (False, True))
    np.testing.assert_array_equal(decode(little, MAX_PIXELS).pixels, decode(big, MAX_PIXELS).pixels)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "pattern"), PATTERNS.items())
def test_a_bayer_mosaic_of_flat_colours_gives_these_colours_back(encoding: str, pattern: str, padding: int) -> None:
    picture = np.empty((9, 12, 3), np.uint8)
    picture[:, :6], picture[:, 6:] = (200, 90, 20), (15, 60, 240)
    decoded = decode(raw(mosaic(picture, pattern), encoding, 12, padding), MAX_PIXELS)
    assert decoded.order == "rgb"
    # Two pixels on either side of the edge mix their neighbours' colours; everything else is exact, borders included.
    for flat in (np.s_[:, :4], np.s_[:, 8:]):
        np.testing.assert_array_equal(decoded.to_rgb()[flat], picture[flat])


@pytest.mark.parametrize(("encoding", "pattern"), PATTERNS.items())
def test_a_bayer_mosaic_is_interpolated_from_the_nearest_samples(encoding: str, pattern: str) -> None:
    """Second implementation: a missing colour is the mean of its samples among the eight neighbours."""
    picture = np.random.default_rng(3).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    samples = np.array(mosaic(picture, pattern), float)
    colour = np.array([["RGB".index(pattern[2 * (y % 2) + x % 2]) for x in range(10)] for y in range(8)])
    rgb = decode(raw(mosaic(picture, pattern), encoding, 10), MAX_PIXELS).to_rgb()
    for y in range(1, 7):
        for x in range(1, 9):
            near = [(j, i) for j in (y - 1, y, y + 1) for i in (x - 1, x, x + 1)]
            for c in range(3):
                at = [(y, x)] if colour[y, x] == c else [(j, i) for j, i in near if colour[j, i] == c]
                mean = np.mean([samples[j, i] for j, i in at])
                assert abs(rgb[y, x, c] - mean) <= 0.5, (y, x, c)


def bt601_rgb(y: int, u: int, v: int) -> list[float]:
    """ITU-R BT.601, 8 bit, limited range, written out."""
    luma, blue, red = (y - 16) / 219, (u - 128) / 112, (v - 128) / 112
    r, b = luma + (1 - 0.299) * red, luma + (1 - 0.114) * blue
    return [255 * min(1.0, max(0.0, c)) for c in (r, (luma - 0.299 * r - 0.114 * b) / 0.587, b)]


@pytest.mark.parametrize("padding", [0, 2, 5])
@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "UYVY"), ("uyvy", "UYVY"), ("yuv422_yuy2", "YUYV"), ("yuyv", "YUYV")]
)
def test_yuv422_is_bt601_with_two_pixels_to_a_colour(encoding: str, order: str, padding: int) -> None:
    rng = np.random.default_rng(5)
    rows, expected = [], []
    for _ in range(16):
        line, colours = [], []
        for _ in range(12):
            y0, y1, u, v = (int(n) for n in rng.integers((16, 16, 16, 16), (236, 236, 241, 241)))
            luma = iter((y0, y1))
            line += [u if name == "U" else v if name == "V" else next(luma) for name in order]
            colours += [bt601_rgb(y0, u, v), bt601_rgb(y1, u, v)]
        rows.append(line)
        expected.append(colours)
    decoded = decode(raw(rows, encoding, 24, padding), MAX_PIXELS)
    assert decoded.order == "rgb"
    # OpenCV works with the coefficients 1.164, 1.596, 0.813, 0.391 and 2.018 in fixed point: a level off at most.
    assert np.abs(decoded.to_rgb() - np.array(expected)).max() <= 1.5


MALFORMED = {
    "no height": (RawImage(0, 6, "bgr8", 18, b""), "zero_size", "6x0"),
    "no width": (RawImage(4, 0, "bgr8", 18, bytes(72)), "zero_size", "0x4"),
    "negative": (RawImage(-4, 6, "bgr8", 18, b""), "zero_size", "6x-4"),
    "no encoding": (RawImage(4, 6, "", 18, bytes(72)), "unknown_encoding", "''"),
    "depth": (RawImage(4, 6, "32FC1", 24, bytes(96)), "unknown_encoding", "publish the camera as one of rgb8"),
    "capitals": (RawImage(4, 6, "BGR8", 18, bytes(72)), "unknown_encoding", "BGR8"),
    "step of pixels": (RawImage(4, 6, "bgr8", 6, bytes(24)), "step_too_small", "step is 6 bytes.* at least 18"),
    "no step": (RawImage(4, 6, "mono16", 0, b""), "step_too_small", "at least 12"),
    "negative step": (RawImage(4, 6, "mono8", -6, b""), "step_too_small", "at least 6"),
    "yuv step": (RawImage(4, 6, "yuyv", 11, bytes(44)), "step_too_small", "at least 12"),
    "odd yuv": (RawImage(4, 5, "yuv422", 10, bytes(40)), "odd_width", "width 5 is odd"),
    "no data": (RawImage(4, 6, "bgr8", 18, b""), "data_length", "0 bytes of data.* 4 x 18 = 72"),
    "a byte short": (RawImage(4, 6, "bgr8", 18, bytes(71)), "data_length", "71 bytes"),
    "a byte over": (RawImage(4, 6, "bgr8", 18, bytes(73)), "data_length", "73 bytes"),
    "last padding gone": (RawImage(4, 6, "mono8", 8, bytes(30)), "data_length", "4 x 8 = 32"),
    "wrong height": (RawImage(5, 6, "mono8", 6, bytes(24)), "data_length", "5 x 6 = 30"),
    "tiny mosaic": (RawImage(2, 6, "bayer_rggb8", 6, bytes(12)), "too_small", "6x2.* needs 3x3"),
    "huge": (RawImage(20_000, 20_000, "bgr8", 60_000, b""), "too_large", "400.0 million pixels.*raise max_image_mpx"),
    "overflow": (RawImage(2**32 - 1, 2**32 - 1, "bgr8", 2**32 - 1, b""), "too_large", "4294967295x4294967295"),
}


@pytest.mark.parametrize(("image", "reason", "text"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_image_is_refused_with_its_reason(image: RawImage, reason: str, text: str) -> None:
    with pytest.raises(FrameError, match=text) as caught:
        decode(image, MAX_PIXELS)
    assert caught.value.reason == reason


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_huge_header_without_data_allocates_nothing_even_where_the_size_is_allowed(encoding: str) -> None:
    image = RawImage(20_000, 20_000, encoding, 80_000, b"\x00" * 100)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError) as caught:
            decode(image, max_pixels=10**9)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "data_length"


def test_the_size_limit_is_inclusive() -> None:
    assert decode(message("bgr8"), WIDTH * HEIGHT).pixels.shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(FrameError) as caught:
        decode(message("bgr8"), WIDTH * HEIGHT - 1)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    ("pixels", "order"),
    [(RGB, "gray"), (GRAY, "rgb"), (RGB, "bgra"), (RGB.astype(np.int32), "rgb"), (RGB[:0], "rgb"), (RGB, "yuv")],
)
def test_a_decoded_image_checks_itself(pixels: np.ndarray, order: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        DecodedImage(pixels, order)
