"""What a recorded run looks like: a video, a contact sheet, a latency table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from seg_perception import images
from seg_perception.bag import Bag, RosbagsKit
from seg_perception.birds_eye import GRID_COLOURS
from seg_perception.labels import LabelSet
from seg_perception.messages import IMAGE, stamp_ns_of
from seg_perception.recorded_ground import RecordedGround
from seg_perception.sources import Source
from seg_perception.types import Frame
from seg_perception.video import VideoWriter
from seg_perception.visualise import beside, contact_sheet, legend, swatches

__all__ = ["camera_times", "read_diagnostics", "write_contact_sheet", "write_video"]

_SHEET_PAIRS = 8
_PAPER = (206, 208, 212)


def read_diagnostics(bag: Path) -> dict[str, dict[str, str]]:
    """The values of every status in the last /diagnostics message that knows its cameras, by the status's name."""
    kit, rows = RosbagsKit(), {}
    with Bag(bag) as recorded:
        for message in recorded.messages(["/diagnostics"]):
            array = kit.deserialize(message.data, message.connection.type_name)
            for status in array.status:
                rows[status.name] = {value.key: value.value for value in status.values}
    return rows


def camera_times(diagnostics: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[float, float, float]]:
    """(p50, p95, max) in milliseconds by stage, of the one camera in there."""
    values = next((v for v in diagnostics.values() if "received" in v), {})
    stages = [key.removesuffix("_p50_ms") for key in values if key.endswith("_p50_ms")]
    return {
        stage: (float(values[f"{stage}_p50_ms"]), float(values[f"{stage}_p95_ms"]), float(values[f"{stage}_max_ms"]))
        for stage in stages
    }


def write_video(
    bag: Path, topic: str, labels: LabelSet, path: Path, rate_hz: float, progress: Callable[[int], None]
) -> int:
    """An H.264 video of the recorded overlays, with the ground and what stands on it from above beside them if there
    is a grid, above a legend; returns the number of frames.
    """
    writer: VideoWriter | None = None
    strip = np.zeros((0, 0, 3), np.uint8)
    count = 0
    try:
        for stamp_ns, overlay, ground in _recorded(bag, topic):
            picture = overlay if ground is None else beside(overlay, ground)
            if writer is None:
                height, width = picture.shape[:2]
                strip = _legend(labels, overlay.shape[1], width)
                writer = VideoWriter(path, (width, height + strip.shape[0]), rate_hz)
            if picture.shape[1] != strip.shape[1]:
                continue  # a source whose pictures change their size halfway
            writer.write(np.vstack([picture, strip]), stamp_ns)
            count += 1
            progress(count)
    finally:
        if writer is not None:
            writer.close()
    return count


def _legend(labels: LabelSet, overlay_width: int, width: int) -> np.ndarray:
    """Of the classes below the overlay, and of the grid below what is beside it."""
    classes = legend(labels, range(len(labels)), width=overlay_width)
    if width == overlay_width:
        return classes
    values = swatches(GRID_COLOURS, width - overlay_width)
    parts, height = (classes, values), max(classes.shape[0], values.shape[0])
    filled = [cv2.copyMakeBorder(p, 0, height - p.shape[0], 0, 0, cv2.BORDER_REPLICATE) for p in parts]
    return np.hstack(filled)


def _recorded(bag: Path, topic: str) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Stamp, overlay RGB uint8 `[H, W, 3]` and the ground from above `[H, W', 3]`, None if there is no grid."""
    with Bag(bag) as recorded:
        ground = RecordedGround(recorded, topic.rpartition("/")[0])
        for message in recorded.messages([topic]):
            picture = RosbagsKit().deserialize(message.data, IMAGE)
            stamp_ns, height = stamp_ns_of(picture), int(picture.height)
            yield stamp_ns, picture.data.reshape(height, picture.width, 3), ground.picture(stamp_ns, height)


def write_contact_sheet(bag: Path, topic: str, source: Source, stamps: Path, path: Path) -> int:
    """A PNG of some overlays, spread over the run; returns how many.

    The ground from above is beside them or, where there is no grid, the source's picture.
    """
    index_of = {int(stamp): int(index) for index, stamp in (line.split() for line in stamps.read_text().splitlines())}
    chosen = {index_of[stamp]: (overlay, ground) for stamp, overlay, ground in _chosen(bag, topic, index_of)}
    rows = [
        (overlay, _framed(ground, overlay.shape[:2]), f"frame {index}")
        for index, (overlay, ground) in chosen.items()
        if ground is not None
    ]
    if not rows and chosen:
        frames = ((i, frame) for i, frame in zip(range(max(chosen) + 1), source) if i in chosen)
        rows = [(_rgb(frame), chosen[index][0], f"frame {index}") for index, frame in frames]
    if rows:
        sheet = contact_sheet(rows, columns=2, width=1600)
        cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return len(rows)


def _chosen(bag: Path, topic: str, index_of: Mapping[int, int]) -> list[tuple[int, np.ndarray, np.ndarray | None]]:
    """A few of what was recorded, evenly spread over the run."""
    with Bag(bag) as recorded:
        kit = RosbagsKit()
        stamps = [stamp_ns_of(kit.deserialize(m.data, IMAGE)) for m in recorded.messages([topic])]
    known = [stamp for stamp in stamps if stamp in index_of]
    wanted = {known[i] for i in np.linspace(0, len(known) - 1, min(_SHEET_PAIRS, len(known))).astype(int)}
    return [(stamp, overlay.copy(), ground) for stamp, overlay, ground in _recorded(bag, topic) if stamp in wanted]


def _framed(picture: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """A picture as large as it can be within this size, in the middle of it."""
    scale = min(size_hw[0] / picture.shape[0], size_hw[1] / picture.shape[1])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    above, left = (size_hw[0] - height) // 2, (size_hw[1] - width) // 2
    below, right = size_hw[0] - height - above, size_hw[1] - width - left
    return cv2.copyMakeBorder(scaled, above, below, left, right, cv2.BORDER_CONSTANT, value=_PAPER)


def _rgb(frame: Frame) -> np.ndarray:
    decoded = images.decode(frame.image, max_pixels=1 << 30)
    return decoded.to_rgb(decoded.pixels)
