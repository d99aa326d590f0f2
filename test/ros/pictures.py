"""Camera images that anybody can make again from their number, and the messages that carry them."""

from __future__ import annotations

from typing import Any

import numpy as np

PERIOD = 60
"""Pictures repeat after so many."""

START_NS = 1_700_000_000_000_000_000


def picture(index: int, height: int = 480, width: int = 640) -> np.ndarray:
    """Picture number `index`: BGR uint8 `[H, W, 3]`, blocks of random colour under a ramp and noise."""
    random = np.random.default_rng(index % PERIOD)
    blocks = random.integers(0, 200, (height // 40, width // 40, 3), np.uint8)
    large = blocks.repeat(40, axis=0).repeat(40, axis=1)
    ramp = np.linspace(0, 40, width).astype(np.uint8)[None, :, None]
    return np.ascontiguousarray(large + ramp + random.integers(0, 15, large.shape, np.uint8))


def stamp_ns(index: int) -> int:
    """An odd stamp, different for every picture."""
    return START_NS + index * 33_333_334 + 7


def image_of(
    pixels: np.ndarray, index: int, encoding: str = "bgr8", *, keep_bytes: int | None = None, **spoilt: Any
) -> Any:
    """sensor_msgs/Image of a uint8 array with the stamp of picture `index`.

    Args:
        keep_bytes: cut the data off after so many.
        spoilt: fields to overwrite.
    """
    from sensor_msgs.msg import Image

    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=pixels.strides[0])
    message.header.frame_id = "front_camera"
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns(index), 1_000_000_000)
    message.data.frombytes(pixels.reshape(-1))
    if keep_bytes is not None:
        del message.data[keep_bytes:]
    for name, value in spoilt.items():
        setattr(message, name, value)
    return message


def compressed_of(data: bytes, index: int) -> Any:
    """sensor_msgs/CompressedImage of a JPEG file's bytes."""
    from sensor_msgs.msg import CompressedImage

    message = CompressedImage(format="jpeg")
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns(index), 1_000_000_000)
    message.data.frombytes(data)
    return message


def stamps_of(messages: list[Any]) -> list[int]:
    """Stamps in nanoseconds."""
    return [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]


def pixels_of(message: Any) -> np.ndarray:
    """uint8 `[H, W]` of a mono8 message."""
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
