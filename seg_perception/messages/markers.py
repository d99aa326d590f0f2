"""Obstacles as RViz shows them: labelled boxes, and lines for their velocities."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

import numpy as np

from seg_perception.labels import LabelSet
from seg_perception.messages.boxes import StandingBoxes, class_names, nowhere, points, poses, turns
from seg_perception.messages.images import compressed_message
from seg_perception.messages.kit import MessageKit, header
from seg_perception.objects import Objects, Obstacles

__all__ = ["MARKER_ARRAY", "markers_message"]

MARKER_ARRAY = "visualization_msgs/msg/MarkerArray"

_CUBE, _LINE_LIST, _TEXT_VIEW_FACING = 1, 5, 9
_ADD, _DELETEALL = 0, 3
"""visualization_msgs/Marker's constants."""

_BOX_OPACITY = 0.5
_LETTER_M, _LABEL_ABOVE_M, _LINE_M = 0.4, 0.3, 0.08
_THINNEST_M = 0.05
"""RViz complains of boxes without a size."""


class _Markers:
    """Makes markers of one frame; what all share is made once."""

    def __init__(self, kit: MessageKit, stamp_ns: int, frame_id: str) -> None:
        nothing = np.empty(0, np.uint8)
        self._kit = kit
        self._usual = {
            "header": repeat(header(kit, stamp_ns, frame_id)),
            "action": repeat(_ADD),
            "lifetime": repeat(kit.make("builtin_interfaces/msg/Duration", sec=0, nanosec=0)),  # until deleted
            "frame_locked": repeat(False),
            "points": repeat([]),
            "colors": repeat([]),
            "texture_resource": repeat(""),
            "texture": repeat(compressed_message(kit, 0, "", nothing, "")),
            "uv_coordinates": repeat([]),
            "text": repeat(""),
            "mesh_resource": repeat(""),
            "mesh_file": repeat(
                kit.make("visualization_msgs/msg/MeshFile", filename="", data=kit.byte_sequence(nothing))
            ),
            "mesh_use_embedded_materials": repeat(False),
        }

    def make(self, namespace: str, shape: int, ids: list[int], **columns: Iterable[Any]) -> list[Any]:
        """A marker for each id; columns as in `MessageKit.make_many`, those that have no usual value at least."""
        return self._kit.make_many(
            "visualization_msgs/msg/Marker",
            len(ids),
            ns=repeat(namespace),
            id=ids,
            type=repeat(shape),
            **{**self._usual, **columns},
        )

    def sizes(self, sizes_m: np.ndarray) -> list[Any]:
        """geometry_msgs/Vector3 of each row, float64 `[n, 3]`."""
        x, y, z = sizes_m.T.tolist()
        return self._kit.make_many("geometry_msgs/msg/Vector3", len(sizes_m), x=x, y=y, z=z)

    def colours(self, rgb: np.ndarray, opacity: float) -> list[Any]:
        """std_msgs/ColorRGBA of each row, uint8 `[n, 3]`."""
        r, g, b = (rgb.T / 255).tolist()
        return self._kit.make_many("std_msgs/msg/ColorRGBA", len(rgb), r=r, g=g, b=b, a=repeat(opacity))


def markers_message(kit: MessageKit, stamp_ns: int, obstacles: Obstacles, objects: Objects, labels: LabelSet) -> Any:
    """visualization_msgs/MarkerArray in the ground frame: what deletes all that was shown before; then, for each
    obstacle, a box in its class's colour and a label; then, for all whose velocity is known, lines as long as their
    way in a second, one marker.

    Namespaces are `box`, `label` and `velocity`; ids the track ids' last 31 bits, the objects' numbers where nobody
    tracks.

    Args:
        objects: of the same frame.
    """
    make, rows = _Markers(kit, stamp_ns, obstacles.frame_id), obstacles.rows
    boxes, class_ids = StandingBoxes.of(obstacles), objects.class_ids[rows]
    ids = ((rows + 1 if objects.track_ids is None else objects.track_ids[rows]) & 0x7FFFFFFF).tolist()
    centres = points(kit, boxes.centres_m)
    above = boxes.centres_m.copy()
    above[:, 2] += boxes.sizes_m[:, 2] / 2 + _LABEL_ABOVE_M
    upright = nowhere(kit)
    no_size, letters, line = make.sizes(np.array([[0, 0, 0], [0, 0, _LETTER_M], [_LINE_M, 0, 0]]))
    white, colours = make.colours(np.full((1, 3), 255), 1.0)[0], labels.palette[class_ids]
    moves = np.flatnonzero(np.isfinite(obstacles.velocities_mps).all(axis=1))
    markers = [
        *make.make("", _CUBE, [0], action=[_DELETEALL], pose=[upright], scale=[no_size], color=[white]),
        *make.make(
            "box", _CUBE, ids,
            pose=poses(kit, centres, turns(kit, boxes.yaws_rad)),
            scale=make.sizes(np.fmax(boxes.sizes_m, _THINNEST_M)),
            color=make.colours(colours, _BOX_OPACITY),
        ),
        *make.make(
            "label", _TEXT_VIEW_FACING, ids,
            pose=poses(kit, points(kit, above), repeat(upright.orientation)),
            scale=repeat(letters),
            color=repeat(white),
            text=_texts(class_names(class_ids, labels), ids, obstacles),
        ),
    ]  # fmt: skip
    if moves.size:
        ends = boxes.centres_m[moves]
        ends[:, :2] += obstacles.velocities_mps[moves]
        starts = [centres[row] for row in moves.tolist()]
        pairs = list(chain.from_iterable(zip(starts, points(kit, ends))))
        markers += make.make(
            "velocity", _LINE_LIST, [0],
            pose=[upright], scale=[line], color=[white], points=[pairs],
        )  # fmt: skip
    return kit.make(MARKER_ARRAY, markers=markers)


def _texts(names: list[str], ids: list[int], obstacles: Obstacles) -> list[str]:
    """`car 12  8.4 m  3.1 m/s`; the speed where it is known, followed by `rel` where the vehicle's is still in it."""
    suffix = " m/s rel" if obstacles.is_relative else " m/s"
    speeds = np.hypot(*obstacles.velocities_mps.T).tolist()
    return [
        f"{name} {number}  {range_m:.1f} m" + (f"  {speed:.1f}{suffix}" if speed == speed else "")
        for name, number, range_m, speed in zip(names, ids, obstacles.ranges_m.tolist(), speeds)
    ]
