"""How a camera's image meets a model's input, and how the answer finds its way back.

Every table here is made once for a pair of sizes. Pixel centres lie at half-integers of a continuous
image plane (`(i + 0.5) / n` of its height), so that nothing shifts when sizes change.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg_perception.geometry.ground import Axis, ClassMap
from seg_perception.images import DecodedImage
from seg_perception.labels import VOID_ID
from seg_perception.types import CameraInfo

__all__ = ["PAD_RGB", "Fit", "Window", "windows"]

PAD_RGB = (124, 116, 104)
"""Colour of `pad`'s margins: the mean that models subtract, so that a margin is close to nothing."""

_AREA_FROM = 2.0
"""From this shrinking factor on pixels are averaged; bilinear sampling would skip some and flicker."""


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels."""

    x: int
    y: int
    width: int
    height: int


def windows(camera_hw: tuple[int, int], model_hw: tuple[int, int], mode: str, anchor: float) -> tuple[Window, Window]:
    """The part of the camera's image that is used, and the part of the model's input that it fills.

    Args:
        mode: `stretch`, `crop` or `pad`, as `CameraConfig.fit` describes them.
        anchor: for crop, 0 (top, left) to 1 (bottom, right).
    """
    (camera_h, camera_w), (model_h, model_w) = camera_hw, model_hw
    whole_camera, whole_model = Window(0, 0, camera_w, camera_h), Window(0, 0, model_w, model_h)
    if mode == "crop":
        height = min(camera_h, max(1, round(camera_w * model_h / model_w)))
        width = min(camera_w, max(1, round(camera_h * model_w / model_h)))
        x, y = round((camera_w - width) * anchor), round((camera_h - height) * anchor)
        return Window(x, y, width, height), whole_model
    if mode == "pad":
        scale = min(model_w / camera_w, model_h / camera_h)
        width, height = max(1, round(camera_w * scale)), max(1, round(camera_h * scale))
        return whole_camera, Window((model_w - width) // 2, (model_h - height) // 2, width, height)
    return whole_camera, whole_model


def _cells(out: int, camera: int, used: tuple[int, int], model: int, filled: tuple[int, int], cells: int) -> np.ndarray:
    """For each of `out` output pixels along one axis the model's output cell, or −1 where it saw nothing.

    All in integers, so that it is exact: the output pixel's centre, in the camera's pixels, is
    c = (2i + 1) camera / (2 out); in the model's, m = filled0 + (c − used0) filled1 / used1; its cell is
    floor(m cells / model).
    """
    doubled = (2 * np.arange(out, dtype=np.int64) + 1) * camera - 2 * out * used[0]
    outside = (doubled < 0) | (doubled >= 2 * out * used[1])
    numerator = (2 * out * used[1] * filled[0] + doubled * filled[1]) * cells
    index = numerator // (2 * out * used[1] * model)
    return np.where(outside, -1, index).astype(np.intp)


def _axis(used: tuple[int, int], filled: tuple[int, int], model: int, cells: int) -> Axis:
    """The rule of `_cells` for any place between pixels: pixel i's centre is i + 0.5 of the camera's image plane."""
    per_model = cells / model
    scale = filled[1] / used[1] * per_model
    low = filled[0] * per_model
    return Axis(scale, low + (0.5 - used[0]) * scale, low, low + filled[1] * per_model, cells)


def _edges_px(table: np.ndarray, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """For each edge of a map's cells, 0 … cells, float64: the edge of the first pixel that shows what is beyond it, and
    where it is exactly; along one axis, pixels' centres at integers.

    Args:
        table: of the pixels, see `_cells`.
    """
    edges, seen = np.arange(axis.cells + 1), np.flatnonzero(table >= 0)
    start = int(seen[0]) if seen.size else 0
    exact = np.clip((edges - axis.offset) / axis.scale, start - 0.5, start + len(seen) - 0.5)
    return start + np.searchsorted(table[seen], edges) - 0.5, exact


def _axes(onto: ClassMap) -> tuple[Axis, Axis]:
    return onto.rows, onto.columns


class Fit:
    """One camera size, one model size and one output size.

    Args:
        camera_hw: height and width of the camera's image, pixels.
        model_hw: the model's input, or None for a backend that answers for the whole image by itself.
        mode, anchor: see `windows`.
        output_hw: height and width of the masks to publish.
    """

    def __init__(
        self,
        camera_hw: tuple[int, int],
        model_hw: tuple[int, int] | None,
        mode: str,
        anchor: float,
        output_hw: tuple[int, int],
    ) -> None:
        self.camera_hw, self.model_hw, self.output_hw = camera_hw, model_hw, output_hw
        # Without a model's input the answer covers the camera's image: a model of the camera's own size.
        self.seen_hw = model_hw or camera_hw
        self.used, self.filled = windows(camera_hw, self.seen_hw, mode if model_hw else "stretch", anchor)
        shrink = max(self.used.width / self.filled.width, self.used.height / self.filled.height)
        self._interpolation = cv2.INTER_AREA if shrink >= _AREA_FROM else cv2.INTER_LINEAR
        self._padded: np.ndarray | None = None
        self._class_maps: dict[tuple[int, int], ClassMap] = {}
        self._edges: dict[tuple[int, int], tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {}
        self._tables: dict[tuple[tuple[int, int], tuple[int, int]], tuple[np.ndarray, np.ndarray, bool]] = {}

    def to_model(self, image: DecodedImage) -> np.ndarray | None:
        """RGB uint8 `[H, W, 3]` at the model's size, C-contiguous; None for a backend that takes no pixels.

        It is resized in the source's channel order, which is cheaper to change afterwards. The array may be the
        message's own memory, read-only, or be overwritten by the next call.

        Raises:
            ValueError: the image is not of the size that this was made for.
        """
        if self.model_hw is None:
            return None
        if image.pixels.shape[:2] != self.camera_hw:
            raise ValueError(f"made for {self.camera_hw} pixels, got {image.pixels.shape[:2]}")
        used, filled = self.used, self.filled
        part = image.pixels[used.y : used.y + used.height, used.x : used.x + used.width]
        if part.shape[:2] != (filled.height, filled.width):
            part = cv2.resize(part, (filled.width, filled.height), interpolation=self._interpolation)
        rgb = image.to_rgb(part)
        if (filled.height, filled.width) == self.model_hw:
            return rgb
        if self._padded is None:
            self._padded = np.empty((*self.model_hw, 3), np.uint8)
            self._padded[:] = PAD_RGB
        self._padded[filled.y : filled.y + filled.height, filled.x : filled.x + filled.width] = rgb
        return self._padded

    def to_camera(self, answer: np.ndarray, outside: int = VOID_ID) -> np.ndarray:
        """The model's map at the output's size by nearest neighbour; `outside` where the model saw nothing."""
        return self._spread(answer, self.output_hw, outside)

    def at_camera_size(self, answer: np.ndarray, outside: int = VOID_ID) -> np.ndarray:
        """The same at the camera's own size."""
        return self._spread(answer, self.camera_hw, outside)

    def class_map(self, cells_hw: tuple[int, int]) -> ClassMap:
        """How the camera's pixels, their centres at integers, fall on a map of the model's."""
        if cells_hw not in self._class_maps:
            used, filled = self.used, self.filled
            self._class_maps[cells_hw] = ClassMap(
                rows=_axis((used.y, used.height), (filled.y, filled.height), self.seen_hw[0], cells_hw[0]),
                columns=_axis((used.x, used.width), (filled.x, filled.width), self.seen_hw[1], cells_hw[1]),
            )
        return self._class_maps[cells_hw]

    def without_margins(self, class_ids: np.ndarray) -> np.ndarray:
        """The model's class map with void where all is `pad`'s margin; the very array where there is none."""
        if (self.filled.height, self.filled.width) == self.seen_hw:
            return class_ids
        rows, columns = (
            np.flatnonzero((np.arange(axis.cells) + 1 > axis.low) & (np.arange(axis.cells) < axis.high))
            for axis in _axes(self.class_map((class_ids.shape[0], class_ids.shape[1])))
        )
        if not (rows.size and columns.size):
            return np.full_like(class_ids, VOID_ID)
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        cut = np.full_like(class_ids, VOID_ID)
        cut[part] = class_ids[part]
        return cut

    def boxes_px(self, boxes: np.ndarray, cells_hw: tuple[int, int]) -> np.ndarray:
        """Boxes on a map of the model's as boxes on the camera's image: just around the pixels that show those cells.

        Args:
            boxes: int `[n, 4]`, (x begin, y begin, x end, y end) in cells, ends excluded.
            cells_hw: size of the map.

        Returns:
            float64 `[n, 4]`, (x min, y min, x max, y max): edges of pixels, whose centres are at integers. What is
            thinner than a pixel has the width that it has.
        """
        if cells_hw not in self._edges:
            rows, columns, _ = self._known_table(cells_hw, self.camera_hw)
            onto = self.class_map(cells_hw)
            self._edges[cells_hw] = _edges_px(columns, onto.columns), _edges_px(rows, onto.rows)
        out = np.empty((len(boxes), 4))
        for first, (pixels, exact) in enumerate(self._edges[cells_hw]):
            edges = boxes[:, first::2]
            around = pixels.take(edges)
            out[:, first::2] = np.where(around[:, :1] == around[:, 1:], exact.take(edges), around)
        return out

    def scaled_camera(self, camera: CameraInfo | None) -> CameraInfo | None:
        """The calibration that belongs to the masks; None where they have the camera's own size."""
        if camera is None or self.output_hw == self.camera_hw:
            return None
        return camera.scaled(width=self.output_hw[1], height=self.output_hw[0])

    def _spread(self, answer: np.ndarray, out_hw: tuple[int, int], outside: int) -> np.ndarray:
        rows, columns, complete = self._known_table(answer.shape[:2], out_hw)
        if answer.shape == out_hw and complete and self.model_hw is None:
            return answer
        # Columns first, on the few rows that there are; then whole rows are copied.
        out = answer.take(columns, axis=1).take(rows, axis=0)
        if not complete:
            out[rows < 0] = outside
            out[:, columns < 0] = outside
        return out

    def _known_table(self, cells_hw: tuple[int, int], out_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, bool]:
        key = (cells_hw, out_hw)
        if key not in self._tables:
            self._tables[key] = self._table(*key)
        return self._tables[key]

    def _table(self, cells_hw: tuple[int, int], out_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, bool]:
        used, filled = self.used, self.filled
        rows = _cells(
            out_hw[0],
            self.camera_hw[0],
            (used.y, used.height),
            self.seen_hw[0],
            (filled.y, filled.height),
            cells_hw[0],
        )
        columns = _cells(
            out_hw[1], self.camera_hw[1], (used.x, used.width), self.seen_hw[1], (filled.x, filled.width), cells_hw[1]
        )
        return rows, columns, bool((rows >= 0).all() and (columns >= 0).all())
