"""Small labelled data sets on disk, and PNG files of kinds that OpenCV does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

CITY_IDS = {"road": 7, "sidewalk": 8, "building": 11, "car": 26, "license plate": 255, "ego vehicle": 1, "sky": 23}


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples: np.ndarray, bits: int, kind: int, palette: bytes = b"") -> bytes:
    """A PNG of `[H, W]` samples by the specification: kind 0 is gray, 3 has a palette; rows unfiltered."""
    height, width = samples.shape
    rows = b""
    for row in samples:
        text = "".join(format(int(v), f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")]
    if palette:
        chunks.insert(1, _chunk(b"PLTE", palette) + _chunk(b"tRNS", b"\0\xff"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write(path: Path, pixels: np.ndarray) -> Path:
    """Gray or RGB pixels as a PNG or JPEG, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return path


def picture(height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def camvid(root: Path, frames: dict[str, tuple[np.ndarray, np.ndarray]], split: str = "val") -> Path:
    for name, (image, labels) in frames.items():
        write(root / split / f"{name}.png", image)
        write(root / f"{split}annot" / f"{name}.png", labels)
    return root


def cityscapes(
    root: Path, frames: dict[str, tuple[np.ndarray, np.ndarray]], split: str = "val", kind: str = "labelIds"
) -> Path:
    for name, (image, labels) in frames.items():
        city = name.split("_")[0]
        write(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image)
        write(root / "gtFine" / split / city / f"{name}_gtFine_{kind}.png", labels)
        write(root / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", labels.astype(np.uint16) * 1000)
    return root


def folder(
    root: Path, label_map: str, frames: dict[str, tuple[np.ndarray, np.ndarray]], split: str = "", suffix: str = ".png"
) -> Path:
    place = root / split
    for name, (image, labels) in frames.items():
        write(place / "images" / f"{name}{suffix}", image)
        write(place / "labels" / f"{name}.png", labels)
    (root / "labels.yaml").write_text(label_map)
    return root
