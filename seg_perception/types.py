"""What flows through the pipeline: small frozen dataclasses that check themselves.

Field names and meanings are those of ROS's sensor_msgs, so that a message becomes one of these without
thought; none of them needs ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.objects import Objects, Obstacles

__all__ = [
    "Boundary",
    "CameraInfo",
    "CompressedImage",
    "DrivableGround",
    "Frame",
    "Grid",
    "Heads",
    "ImageData",
    "Perception",
    "RawImage",
    "RegionOfInterest",
    "Segmentation",
]

ImageData: TypeAlias = bytes | bytearray | memoryview | np.ndarray
"""Pixels as they came: any one-dimensional byte buffer. Nothing here copies it."""


@dataclass(frozen=True)
class RawImage:
    """sensor_msgs/Image without its header, unchecked: `images.decode` is where it is judged.

    Attributes:
        height, width: pixels.
        encoding: a name of sensor_msgs/image_encodings, `bgr8`.
        step_bytes: bytes from one row's start to the next's.
        data: at least `height * step_bytes` bytes in a sound image.
        is_bigendian: byte order of 16-bit encodings.
    """

    height: int
    width: int
    encoding: str
    step_bytes: int
    data: ImageData = field(repr=False)
    is_bigendian: bool = False


@dataclass(frozen=True)
class CompressedImage:
    """sensor_msgs/CompressedImage without its header, unchecked.

    Attributes:
        format: as the publisher wrote it: `jpeg`, `png`, `rgb8; jpeg compressed bgr8` ...
        data: the file's bytes.
    """

    format: str
    data: ImageData = field(repr=False)


@dataclass(frozen=True)
class RegionOfInterest:
    """sensor_msgs/RegionOfInterest; all zero means the whole image."""

    x_offset: int = 0
    y_offset: int = 0
    height: int = 0
    width: int = 0
    do_rectify: bool = False


@dataclass(frozen=True)
class CameraInfo:
    """sensor_msgs/CameraInfo without its header.

    Attributes:
        height, width: pixels of the full image at which the camera was calibrated.
        distortion_model: `plumb_bob`, `rational_polynomial`, `equidistant` or empty.
        d: distortion coefficients.
        k: 9 numbers, row by row: intrinsic matrix in pixels.
        r: 9 numbers: rectification.
        p: 12 numbers: projection.
        binning_x, binning_y: 0 and 1 both mean none.
    """

    height: int
    width: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]
    binning_x: int = 0
    binning_y: int = 0
    roi: RegionOfInterest = RegionOfInterest()

    def scaled(self, width: int, height: int) -> CameraInfo:
        """The same camera for an image resized to width × height pixels.

        Pixel centres are at integers, as in ROS and OpenCV: x' = (x + 0.5) s − 0.5. A region of interest
        and binning are resolved first (image_geometry's rule: offset, then divide), so that the result
        describes the resized picture as a camera of its own.
        """
        bin_x, bin_y = max(1, self.binning_x), max(1, self.binning_y)
        seen_w = (self.roi.width or self.width) / bin_x
        seen_h = (self.roi.height or self.height) / bin_y
        if seen_w <= 0 or seen_h <= 0:
            return self
        sx, sy = width / seen_w, height / seen_h

        def rescale(m: tuple[float, ...], columns: int) -> tuple[float, ...]:
            out = list(m)
            for row, scale, offset, binning in ((0, sx, self.roi.x_offset, bin_x), (1, sy, self.roi.y_offset, bin_y)):
                out[row * columns + 2] -= offset
                for column in range(columns):
                    out[row * columns + column] *= scale / binning
                out[row * columns + 2] += 0.5 * scale - 0.5
            return tuple(out)

        return replace(
            self,
            width=width,
            height=height,
            k=rescale(self.k, 3),
            p=rescale(self.p, 4),
            binning_x=0,
            binning_y=0,
            roi=RegionOfInterest(do_rectify=self.roi.do_rectify),
        )


@dataclass(frozen=True)
class Frame:
    """One camera image on its way in.

    Attributes:
        stamp_ns: the source's stamp, nanoseconds; every result of this frame carries it.
        frame_id: the source's frame_id.
        image: pixels, not yet decoded.
        camera: calibration, if known.
    """

    stamp_ns: int
    frame_id: str
    image: RawImage | CompressedImage
    camera: CameraInfo | None = None


def _check_map(name: str, array: np.ndarray) -> None:
    if not (isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 2 and array.size):
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name} must be a non-empty uint8 array [H, W], got {got}")


@dataclass(frozen=True)
class Heads:
    """What a model answers for one image, at its own strides.

    Attributes:
        class_ids: uint8 `[h, w]`.
        confidence: uint8 `[h', w']`, 0 to 255, or None where the source has none.
        centers: float32 `[h", w"]`, 0 to 1: how much the cell is the middle of a countable thing (Panoptic-DeepLab,
            Cheng et al. 2020); None where the model does not say. Whatever a network answers may be in it, NaN too.
        offsets: float32 `[2, h", w"]`: (rows, columns) from the cell's centre to the middle of the thing that it
            belongs to, in cells of these very heads; None if and only if `centers` is.
        instances: what a model says that finds whole things by itself; None for all others.
    """

    class_ids: np.ndarray
    confidence: np.ndarray | None = None
    centers: np.ndarray | None = None
    offsets: np.ndarray | None = None
    instances: Objects | None = None

    def __post_init__(self) -> None:
        _check_map("class_ids", self.class_ids)
        if self.confidence is not None:
            _check_map("confidence", self.confidence)
        if (self.centers is None) != (self.offsets is None):
            raise ValueError("centers and offsets come together; give both or neither")
        if self.centers is not None and self.offsets is not None:
            pairs = (("centers", self.centers, 2), ("offsets", self.offsets, 3))
            for name, array, dimensions in pairs:
                if not (isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim == dimensions):
                    raise ValueError(f"{name} must be float32 with {dimensions} dimensions, got {array!r:.80}")
            if self.offsets.shape != (2, *self.centers.shape) or not self.centers.size:
                raise ValueError(f"offsets must be (2, *centers.shape), got {self.offsets.shape}, {self.centers.shape}")


@dataclass(frozen=True)
class Segmentation:
    """A class for every pixel, at the output's size.

    Attributes:
        class_ids: uint8 `[H, W]`; 255 = unlabelled (outside what the model saw). None if nobody asked.
        confidence: uint8 `[H, W]`, softmax probability of the class × 255; None if nobody asked.
    """

    class_ids: np.ndarray | None
    confidence: np.ndarray | None

    def __post_init__(self) -> None:
        given = [(n, a) for n, a in (("class_ids", self.class_ids), ("confidence", self.confidence)) if a is not None]
        for name, array in given:
            _check_map(name, array)
        if len({array.shape for _, array in given}) > 1:
            raise ValueError(f"one size for all maps, got {[(n, a.shape) for n, a in given]}")


@dataclass(frozen=True)
class Grid:
    """What is known of the ground around the vehicle, cell by cell, in the ground frame.

    Attributes:
        values: int8 `[rows, columns]`, rows along y, columns along x (nav_msgs/OccupancyGrid): 0 free, 100 occupied,
            −1 unseen, in between ground to drive on only in need.
        x_m, y_m, z_m: the corner of the first cell.
        resolution_m: side of a cell.
    """

    values: np.ndarray
    x_m: float
    y_m: float
    z_m: float
    resolution_m: float


@dataclass(frozen=True)
class Boundary:
    """How far drivable ground reaches in each direction, in the camera's footprint frame (REP 117).

    Attributes:
        bearing_min_rad: of the first range, from the camera's heading; counter-clockwise.
        bearing_step_rad: from one range to the next.
        range_min_m: distance of the nearest ground that is seen.
        range_max_m: distance to which the ground was looked at.
        ranges_m: float64 `[B]`: where drivable ground ends; +inf: it reaches to range_max_m; NaN: no ground is seen, or
            not how it ends.
    """

    bearing_min_rad: float
    bearing_step_rad: float
    range_min_m: float
    range_max_m: float
    ranges_m: np.ndarray

    @property
    def bearings_rad(self) -> np.ndarray:
        """float64 `[B]`."""
        return self.bearing_min_rad + np.arange(len(self.ranges_m)) * self.bearing_step_rad


@dataclass(frozen=True)
class DrivableGround:
    """What was asked about the ground, in metres.

    Attributes:
        frame_id: the ground frame, in which the grid is.
        footprint_frame_id: the camera's vertical projection on the ground, x along its heading; the boundary's frame.
        ground_from_footprint: float64 `[4, 4]`.
        grid, boundary: None if nobody asked.
        is_fixed: the camera does not move against the ground frame, as long as nobody configures it anew.
        boundary_px: float64 `[B, 2]`, (column, row) on the camera's image where the boundary's finite ranges end, NaN
            for the others; None without a boundary.
    """

    frame_id: str
    footprint_frame_id: str
    ground_from_footprint: np.ndarray
    grid: Grid | None
    boundary: Boundary | None
    is_fixed: bool = False
    boundary_px: np.ndarray | None = None


@dataclass(frozen=True)
class Perception:
    """Everything that was asked about one frame, under the source's stamp and frame_id.

    Attributes:
        stamp_ns, frame_id: the source image's.
        size_hw: height and width of the mask, pixels.
        segmentation: masks; a part that nobody asked for is None.
        overlay: RGB uint8 `[H, W, 3]` at the camera's size, or None if nobody asked.
        camera: calibration of the mask, given when its size is not the camera's; else None.
        drivable_mask: uint8 `[H, W]` at the mask's size, 255 where the class is drivable, else 0; None if nobody asked.
        ground: what was asked in metres; None if nobody asked or it cannot be said.
        ground_problem: (reason, text) why it cannot be said; None if it can, or nobody asked.
        stage_ms: milliseconds of every stage, in order, `total` last.
        panoptic: uint16 `[H, W]` at the mask's size: class × divisor + instance, 65535 = void; None if nobody asked.
        objects: countable things, with `track_ids` and `boxes_px`; None if nobody asked.
        obstacles: where they are; None if nobody asked or it cannot be said (then see `ground_problem`).
        labels: what the class ids mean; None where nobody said.
    """

    stamp_ns: int
    frame_id: str
    size_hw: tuple[int, int]
    segmentation: Segmentation
    overlay: np.ndarray | None
    camera: CameraInfo | None
    stage_ms: Mapping[str, float]
    drivable_mask: np.ndarray | None = None
    ground: DrivableGround | None = None
    ground_problem: tuple[str, str] | None = None
    panoptic: np.ndarray | None = None
    objects: Objects | None = None
    obstacles: Obstacles | None = None
    labels: LabelSet | None = None

    @property
    def thing_counts(self) -> dict[str, int]:
        """What became of the things in this frame: `kept`, those left out by why, and those `without_contact`.

        And `clock_jumps`: 1 if all tracks had to begin anew.
        """
        if self.objects is None:
            return {}
        counts = {"kept": len(self.objects), **self.objects.left_out, "clock_jumps": int(self.objects.clock_jumped)}
        return counts if self.obstacles is None else {**counts, "without_contact": self.obstacles.without_contact}
