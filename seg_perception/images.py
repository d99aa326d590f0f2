"""Encoding and bytes in, pixels out: the room where an image message is judged.

An 8-bit image stays where it is: its pixels are a read-only view of the message's bytes, row padding and all, in
the channel order they came in. Channels are swapped by `DecodedImage.to_rgb`, on the few pixels that the network
sees.

A refused image is a `FrameError`, whose `reason` is one of

- raw: `unknown_encoding`, `zero_size`, `too_small`, `too_large`, `odd_width`, `step_too_small`, `data_length`;
- compressed: `unknown_format`, `corrupt_compressed`, `zero_size`, `too_small`, `too_large`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from seg_perception.errors import FrameError
from seg_perception.image_files import check_size, corrupt, inspect
from seg_perception.types import CompressedImage, RawImage

__all__ = ["ENCODINGS", "DecodedImage", "decode"]

_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "gray": 1}
_TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "gray": cv2.COLOR_GRAY2RGB,
}

_VIEWS = {
    "rgb8": "rgb",
    "bgr8": "bgr",
    "rgba8": "rgba",
    "bgra8": "bgra",
    "mono8": "gray",
    "8UC1": "gray",
    "8UC3": "bgr",
    "8UC4": "bgra",
}

# ROS names a Bayer pattern by the first pixels of its first two rows; OpenCV by those that lie one further down and
# to the right: the same mosaic has opposite names.
_BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}

# `uyvy` and `yuyv` are what sensor_msgs calls them since Jazzy; drivers still send the older, deprecated names.
_YUV422 = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
}

ENCODINGS = (*_VIEWS, "mono16", *_BAYER, *_YUV422)
"""Every `RawImage.encoding` that can be decoded."""

# An EXIF orientation must not turn the picture: camera_info describes the sensor's rows and columns.
_READ_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True)
class DecodedImage:
    """Pixels, and what their channels are.

    Attributes:
        pixels: uint8 `[H, W, C]`, or `[H, W]` for gray. From `decode`: read-only, and the message's own memory
            where the encoding is 8-bit gray or colour.
        order: of the channels: `rgb`, `bgr`, `rgba`, `bgra` or `gray`.
    """

    pixels: np.ndarray = field(repr=False)
    order: str

    def __post_init__(self) -> None:
        if self.order not in _CHANNELS:
            raise ValueError(f"order must be one of {', '.join(_CHANNELS)}, got {self.order!r}")
        self._check(self.pixels)

    def _check(self, pixels: np.ndarray) -> None:
        channels = _CHANNELS[self.order]
        fits = pixels.ndim == 2 if channels == 1 else pixels.ndim == 3 and pixels.shape[2] == channels
        if pixels.dtype != np.uint8 or not fits or not pixels.size:
            shape = "[H, W]" if channels == 1 else f"[H, W, {channels}]"
            raise ValueError(f"{self.order} pixels must be uint8 {shape}, got {pixels.dtype} {list(pixels.shape)}")

    def to_rgb(self, pixels: np.ndarray | None = None) -> np.ndarray:
        """RGB uint8 `[H, W, 3]`, C-contiguous; contiguous `rgb` pixels come back as they are, not copied.

        Args:
            pixels: in this image's channel order, such as `self.pixels` resized; None is `self.pixels`.
        """
        if pixels is None:
            pixels = self.pixels
        else:
            self._check(pixels)
        if self.order == "rgb":
            return np.ascontiguousarray(pixels)
        return cv2.cvtColor(pixels, _TO_RGB[self.order])


def decode(image: RawImage | CompressedImage, max_pixels: int) -> DecodedImage:
    """Pixels of an image message, whose memory is never written to.

    8-bit gray and colour are views; 16-bit samples are divided by 257 and rounded, as cv_bridge does; Bayer mosaics
    are interpolated bilinearly; YUV is BT.601 of limited range, as cv_bridge takes it. A JPEG or PNG gives `bgr` or
    `gray`, without alpha, and is not turned by its EXIF orientation.

    Args:
        max_pixels: width * height above which an image is refused before anything is allocated for it.

    Raises:
        FrameError: the image is malformed, too large, or of a kind that is not known; see `reason`.
    """
    if isinstance(image, CompressedImage):
        return _decode_compressed(image, max_pixels)
    return _decode_raw(image, max_pixels)


def _decode_raw(image: RawImage, max_pixels: int) -> DecodedImage:
    encoding, height, width = image.encoding, image.height, image.width
    if encoding not in ENCODINGS:
        raise FrameError(
            "unknown_encoding",
            f"encoding {encoding!r} is not known; publish the camera as one of {', '.join(ENCODINGS)}",
        )
    check_size(f"{encoding} image", width, height, max_pixels)
    row_bytes = _row_bytes(image)
    padded = _padded_rows(image)
    if encoding == "mono16":
        kind = ">u2" if image.is_bigendian else "<u2"
        samples = np.ndarray((height, width), kind, buffer=padded, strides=(image.step_bytes, 2))
        return _read_only(_scale_to_8_bit(np.require(samples, np.uint16, ["ALIGNED"])), "gray")
    rows = padded[:, :row_bytes]
    if encoding in _BAYER:
        return _demosaic(rows, encoding)
    if encoding in _YUV422:
        return _read_only(cv2.cvtColor(rows.reshape(height, width, 2), _YUV422[encoding]), "rgb")
    order = _VIEWS[encoding]
    return _read_only(rows if order == "gray" else rows.reshape(height, width, _CHANNELS[order]), order)


def _row_bytes(image: RawImage) -> int:
    """Bytes of a row's pixels, without padding; FrameError when the row cannot be made of them."""
    encoding, width = image.encoding, image.width
    if encoding in _YUV422 and width % 2:
        raise FrameError(
            "odd_width",
            f"{encoding} image: width {width} is odd, but two pixels share a colour; set the camera to an even width",
        )
    row_bytes = width * (_CHANNELS[_VIEWS[encoding]] if encoding in _VIEWS else 1 if encoding in _BAYER else 2)
    if image.step_bytes < row_bytes:
        raise FrameError(
            "step_too_small",
            f"{encoding} image {width} pixels wide: step is {image.step_bytes} bytes, a row needs at least {row_bytes}"
            "; the driver must set step to the bytes from one row's start to the next's",
        )
    return row_bytes


def _padded_rows(image: RawImage) -> np.ndarray:
    """The message's bytes as uint8 `[height, step]`, without a copy.

    The length must be height * step exactly, as sensor_msgs/Image defines it and cv_bridge demands it. With a last
    row short of its padding, or bytes left over, some field is wrong, and the rows may not be where we look.
    """
    data = np.frombuffer(image.data, np.uint8)
    expected = image.height * image.step_bytes
    if data.size != expected:
        raise FrameError(
            "data_length",
            f"{image.encoding} image {image.width}x{image.height}: {data.size} bytes of data, expected height x step = "
            f"{image.height} x {image.step_bytes} = {expected}; the message was cut short, or height or step is wrong",
        )
    return data.reshape(image.height, image.step_bytes)


def _read_only(pixels: np.ndarray, order: str) -> DecodedImage:
    pixels.setflags(write=False)
    return DecodedImage(pixels, order)


def _scale_to_8_bit(samples: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(samples, alpha=1 / 257)


def _demosaic(mosaic: np.ndarray, encoding: str) -> DecodedImage:
    height, width = mosaic.shape
    if min(height, width) < 3:  # OpenCV gives black
        raise FrameError(
            "too_small", f"{encoding} image: {width}x{height} pixels; a Bayer mosaic needs 3x3; check the driver"
        )
    return _read_only(cv2.cvtColor(mosaic, _BAYER[encoding]), "rgb")


def _decode_compressed(image: CompressedImage, max_pixels: int) -> DecodedImage:
    data = np.frombuffer(image.data, np.uint8)
    height, width = inspect(data.data, image.format, max_pixels)
    try:
        pixels = cv2.imdecode(data, _READ_FLAGS)
    except cv2.error as exc:
        raise corrupt(f"OpenCV cannot decode it ({exc.err})") from exc
    if pixels is None or pixels.shape[:2] != (height, width):
        raise corrupt("whole on the outside, damaged within")
    if pixels.dtype == np.uint16:
        pixels = _scale_to_8_bit(pixels)
    source_encoding = image.format.partition(";")[0].strip()
    if pixels.ndim == 2 and source_encoding in _BAYER:  # compressed_image_transport compresses the bare mosaic
        return _demosaic(pixels, source_encoding)
    return _read_only(pixels, "gray" if pixels.ndim == 2 else "bgr")
