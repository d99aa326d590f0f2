"""Compressed images: PNG files are written here by hand, JPEG files by OpenCV and then damaged."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_perception.errors import FrameError
from seg_perception.images import DecodedImage, decode
from seg_perception.types import CompressedImage

MAX_PIXELS = 64_000_000
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RGB = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(rows: list[bytes], width: int, depth: int, colour: int, extra: bytes = b"") -> bytes:
    """A PNG file by its specification; `rows` unfiltered, `colour` 0 gray, 2 RGB, 3 palette, 4 gray + alpha, 6 RGBA."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b"")


RGB_PNG = png([row.tobytes() for row in RGB], 7, 8, 2)


def smooth_picture(height: int = 48, width: int = 64) -> np.ndarray:
    """RGB: red grows to the right, green downwards, blue is flat: what JPEG keeps within a few levels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([255 * x // (width - 1), 255 * y // (height - 1), np.full_like(x, 90)]).astype(np.uint8)


def jpeg(*options: int, rgb: np.ndarray | None = None) -> bytes:
    picture = smooth_picture() if rgb is None else rgb
    bgr = picture if picture.ndim == 2 else picture[..., ::-1]
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95, *options])[1].tobytes()


JPEGS = {
    "baseline": jpeg(),
    "progressive": jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "gray": jpeg(rgb=smooth_picture()[..., 0]),
}


def read(data: bytes, name: str = "jpeg", max_pixels: int = MAX_PIXELS) -> DecodedImage:
    return decode(CompressedImage(name, data), max_pixels)


def reason_of(data: bytes, name: str = "jpeg", max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(FrameError) as caught:
        read(data, name, max_pixels)
    return caught.value.reason


@pytest.mark.parametrize("name", ["png", "bgr8; png compressed bgr8", "rgb8; png compressed bgr8", "", "jpeg"])
def test_a_png_is_read_exactly_whatever_the_publisher_calls_it(name: str) -> None:
    decoded = read(RGB_PNG, name)
    np.testing.assert_array_equal(decoded.to_rgb(), RGB)
    assert not decoded.pixels.flags.writeable


@pytest.mark.parametrize(
    "name", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed ", "yuv422_yuy2; jpeg compressed bgr8"]
)
@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
def test_a_jpeg_has_its_own_colours_whatever_the_publisher_calls_it(kind: str, name: str) -> None:
    rgb = read(JPEGS[kind], name).to_rgb()
    assert np.abs(rgb.astype(int) - smooth_picture()).mean() < 3  # a swap of red and blue gives about 80


def test_gray_files_stay_gray() -> None:
    decoded = read(JPEGS["gray"], "mono8; jpeg compressed ")
    assert decoded.order == "gray"
    assert decoded.pixels.shape == (48, 64)
    assert np.abs(decoded.pixels.astype(int) - smooth_picture()[..., 0]).max() <= 4
    gray = read(png([row.tobytes() for row in RGB[..., 0]], 7, 8, 0), "mono8; png compressed ")
    np.testing.assert_array_equal(gray.pixels, RGB[..., 0])


def test_alpha_is_left_out_and_a_palette_looked_up() -> None:
    rgba = [b"".join(bytes((*pixel, 3)) for pixel in row) for row in RGB.tolist()]
    np.testing.assert_array_equal(read(png(rgba, 7, 8, 6)).to_rgb(), RGB)
    indices = [bytes(7 * y + x for x in range(7)) for y in range(5)]
    np.testing.assert_array_equal(read(png(indices, 7, 8, 3, chunk(b"PLTE", RGB.tobytes()))).to_rgb(), RGB)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)], ids=("gray", "rgb"))
def test_16_bit_png_is_divided_by_257_and_rounded(colour: int, channels: int) -> None:
    values = np.random.default_rng(2).integers(0, 65536, (6, 9 * channels))
    decoded = read(png([row.astype(">u2").tobytes() for row in values], 9, 16, colour), "mono16; png compressed ")
    expected = ((2 * values + 257) // 514).reshape(6, 9, channels)
    np.testing.assert_array_equal(decoded.to_rgb(), np.broadcast_to(expected, (6, 9, 3)))


def test_a_compressed_bayer_mosaic_becomes_colour() -> None:
    """compressed_image_transport compresses a Bayer image as it is and says so in the format only."""
    rows = [bytes((200, 90) * 4 if y % 2 == 0 else (90, 20) * 4) for y in range(6)]  # RGGB of one colour
    for name in ("bayer_rggb8; png compressed ", "bayer_rggb8; png compressed mono8"):
        decoded = read(png(rows, 8, 8, 0), name)
        np.testing.assert_array_equal(decoded.to_rgb(), np.broadcast_to((200, 90, 20), (6, 8, 3)))
    assert read(png(rows, 8, 8, 0), "mono8; png compressed ").order == "gray"
    assert reason_of(png(rows[:2], 8, 8, 0), "bayer_rggb8; png compressed ") == "too_small"


def test_an_exif_orientation_does_not_turn_the_picture() -> None:
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)  # one entry: orientation 6
    payload = b"Exif\x00\x00" + tiff
    turned = JPEGS["baseline"][:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + JPEGS["baseline"][2:]
    plain = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert plain is not None
    assert plain.shape == (64, 48, 3)  # without the flag it is turned
    np.testing.assert_array_equal(read(turned).pixels, read(JPEGS["baseline"]).pixels)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_cut_anywhere_is_refused_and_nothing_is_printed(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = JPEGS[kind]
    for length in range(2, len(whole), 7):
        assert reason_of(whole[:length]) == "corrupt_compressed", length
    assert reason_of(whole[:-1]) == reason_of(whole[:-2]) == "corrupt_compressed"
    assert reason_of(whole[:-2] + b"\x00" * 64) == "corrupt_compressed"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tail", [b"\x00" * 1000, b"\xff" * 9, b"trailing words", b"\x00\xff\xd8\xff"], ids=repr)
def test_bytes_after_the_end_of_a_jpeg_do_not_matter(tail: bytes) -> None:
    np.testing.assert_array_equal(read(JPEGS["baseline"] + tail).pixels, read(JPEGS["baseline"]).pixels)


def test_a_png_cut_or_changed_anywhere_is_refused_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for length in range(4, len(RGB_PNG)):
        assert reason_of(RGB_PNG[:length]) == "corrupt_compressed", length
    for i in range(4, len(RGB_PNG)):
        changed = bytearray(RGB_PNG)
        changed[i] ^= 0x10
        assert reason_of(bytes(changed)) == "corrupt_compressed", i
    assert capfd.readouterr() == ("", "")


def test_checksums_that_are_right_do_not_hide_missing_pixels() -> None:
    short = png([b"\x05" * 8] * 8, 8, 8, 0)
    taller = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 9, 8, 0, 0, 0, 0))
    assert reason_of(short[:8] + taller + short[8 + len(taller) :]) == "corrupt_compressed"


def test_a_jpeg_of_random_damage_gives_pixels_or_a_frame_error() -> None:
    rng, outcomes = np.random.default_rng(4), set()
    for _ in range(300):
        data = bytearray(JPEGS["progressive"] if rng.random() < 0.5 else JPEGS["restarts"])
        for position in rng.integers(2, len(data), rng.integers(1, 8)):
            data[position] = rng.integers(0, 256)
        try:
            outcomes.add(str(read(bytes(data), max_pixels=1_000_000).to_rgb().dtype))
        except FrameError as error:
            outcomes.add(error.reason)
    assert {"uint8", "corrupt_compressed"} <= outcomes <= {"uint8", "corrupt_compressed", "too_large", "zero_size"}


def with_jpeg_size(width: int, height: int) -> bytes:
    """A sound JPEG whose header lies about its size."""
    start = JPEGS["baseline"].index(b"\xff\xc0") + 5
    return JPEGS["baseline"][:start] + struct.pack(">HH", height, width) + JPEGS["baseline"][start + 4 :]


def test_decompression_bombs_are_refused_by_their_header() -> None:
    """One bit a pixel: a sound file of some kilobytes that OpenCV would make 400 MB of; and a JPEG for 1.2 GB."""
    bomb = png([bytes(2500)] * 20_000, 20_000, 1, 0)
    assert len(bomb) < 100_000
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (bomb, bomb[:40], with_jpeg_size(20_000, 20_000), with_jpeg_size(20_000, 20_000)[:-50]):
        assert reason_of(data) == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 50_000


def test_the_error_says_width_before_height() -> None:
    for data in (with_jpeg_size(20_000, 10_000), png([bytes(2500)] * 10_000, 20_000, 1, 0)):
        with pytest.raises(FrameError, match="20000x10000 is 200.0 million pixels, at most 64 are allowed"):
            read(data)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    head = JPEGS["baseline"][: JPEGS["baseline"].index(b"\xff\xda")]
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    assert reason_of(head + scan * 101 + b"\xff\xd9") == "corrupt_compressed"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "corrupt_compressed"),
        (b"\xff", "unknown_format"),
        (b"\xff\xd8", "corrupt_compressed"),
        (b"\xff\xd8\xff\xd9", "corrupt_compressed"),
        (b"\x89PNG", "corrupt_compressed"),
        (RGB_PNG[:8] + chunk(b"IEND", b""), "corrupt_compressed"),
        (RGB_PNG[:33] + chunk(b"IEND", b""), "corrupt_compressed"),
        (png([], 7, 8, 2), "zero_size"),
        (with_jpeg_size(64, 0), "zero_size"),
        (bytes(12) + RGB_PNG, "unknown_format"),  # compressedDepth puts a header before its PNG
        (b"GIF89a" + bytes(50), "unknown_format"),
        (b"BM" + bytes(50), "unknown_format"),
        (b"RIFF\x00\x00\x00\x00WEBP", "unknown_format"),
        (b"II*\x00" + bytes(50), "unknown_format"),
    ],
)
def test_what_is_no_whole_jpeg_or_png_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_the_error_names_the_format_and_what_came_instead() -> None:
    with pytest.raises(FrameError, match=r"'16UC1; compressedDepth png' starts with 00 01.*set the publisher's format"):
        read(bytes((0, 1)) + RGB_PNG, "16UC1; compressedDepth png")


@pytest.mark.parametrize(
    ("pattern", "size"), [("camvid/val/*.png", (360, 480)), ("highway/*.jpg", (720, 1280))], ids=("png", "jpeg")
)
def test_real_files(pattern: str, size: tuple[int, int]) -> None:
    files = sorted(SHARED.glob(pattern))[:8]
    if not files:
        pytest.skip(f"no {pattern} in {SHARED}")
    for path in files:
        data = path.read_bytes()
        decoded = read(data, path.suffix[1:])
        assert decoded.pixels.shape == (*size, 3)
        by_opencv = cv2.imread(str(path))
        assert by_opencv is not None
        np.testing.assert_array_equal(decoded.to_rgb(), by_opencv[..., ::-1])
        assert reason_of(data[: len(data) * 9 // 10]) == "corrupt_compressed"
