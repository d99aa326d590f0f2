"""What a recorded run looks like: an overlay video, a contact sheet, a latency table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from seg_perception import images
from seg_perception.bag import Bag, RosbagsKit
from seg_perception.labels import LabelSet
from seg_perception.messages import IMAGE, stamp_ns_of
from seg_perception.sources import Source
from seg_perception.types import Frame
from seg_perception.video import VideoWriter
from seg_perception.visualise import contact_sheet, legend

__all__ = ["camera_times", "read_diagnostics", "write_contact_sheet", "write_video"]

_SHEET_PAIRS = 8


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
    """An H.264 video of the recorded overlays above a legend; returns the number of frames."""
    writer: VideoWriter | None = None
    strip = np.zeros((0, 0, 3), np.uint8)
    count = 0
    try:
        for stamp_ns, picture in _overlays(bag, topic):
            if writer is None:
                height, width = picture.shape[:2]
                strip = legend(labels, range(len(labels)), width=width)
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


def _overlays(bag: Path, topic: str) -> Iterator[tuple[int, np.ndarray]]:
    """Stamp and RGB uint8 `[H, W, 3]` of every recorded picture."""
    kit = RosbagsKit()
    with Bag(bag) as recorded:
        for message in recorded.messages([topic]):
            picture = kit.deserialize(message.data, IMAGE)
            yield stamp_ns_of(picture), picture.data.reshape(picture.height, picture.width, 3)


def write_contact_sheet(bag: Path, topic: str, source: Source, stamps: Path, path: Path) -> int:
    """A PNG of some of a source's pictures and their overlays side by side, spread over the run; returns how many."""
    index_of = {int(stamp): int(index) for index, stamp in (line.split() for line in stamps.read_text().splitlines())}
    painted = {index_of[s]: picture for s, picture in _chosen(bag, topic, index_of)}
    rows = []
    for index, frame in enumerate(source):
        if index in painted:
            rows.append((_rgb(frame), painted[index], f"frame {index}"))
        if len(rows) == len(painted):
            break
    if rows:
        sheet = contact_sheet(rows, columns=2, width=1600)
        cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return len(rows)


def _chosen(bag: Path, topic: str, index_of: Mapping[int, int]) -> list[tuple[int, np.ndarray]]:
    """A few overlays, evenly spread over the run."""
    with Bag(bag) as recorded:
        kit = RosbagsKit()
        stamps = [stamp_ns_of(kit.deserialize(m.data, IMAGE)) for m in recorded.messages([topic])]
    known = [stamp for stamp in stamps if stamp in index_of]
    wanted = {known[i] for i in np.linspace(0, len(known) - 1, min(_SHEET_PAIRS, len(known))).astype(int)}
    return [(stamp, picture.copy()) for stamp, picture in _overlays(bag, topic) if stamp in wanted]


def _rgb(frame: Frame) -> np.ndarray:
    decoded = images.decode(frame.image, max_pixels=1 << 30)
    return decoded.to_rgb(decoded.pixels)
