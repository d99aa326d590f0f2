"""Messages of rosbags' classes: CDR in and out, without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from seg_perception.bag.records import Buffer
from seg_perception.errors import BagError
from seg_perception.messages.kit import columns_of_length
from seg_perception.types import ImageData

__all__ = ["Definition", "RosbagsKit"]

_VISION_MSGS = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y\n",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id\n"
    ),
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections\n",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id\n"
    ),
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n",
}
"""What rosbags does not know and this package writes. A message's field names and types are its wire format."""


class Definition(NamedTuple):
    """What a bag stores about a message type.

    Attributes:
        text: with the definitions of all the types in it, as `ros2msg`.
        type_hash: RIHS01, REP-2016.
    """

    text: str
    type_hash: str


@lru_cache(maxsize=1)
def _typestore() -> Any:
    """Types of Jazzy; those used here are the same from Humble to Kilted."""
    # Imported late: whoever only asks whether a file is a bag shall not need it.
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in _VISION_MSGS.items():
        store.register(get_types_from_msg(text, name))
    return store


class RosbagsKit:
    """A messages.MessageKit; also turns messages into CDR and back."""

    def __init__(self) -> None:
        self._store = _typestore()

    def make(self, type_name: str, **fields: Any) -> Any:
        """A message of a type such as `sensor_msgs/msg/Image`, every field given."""
        for name, value in fields.items():
            if isinstance(value, bytes) and len(value) == 1:  # a `byte` field: rclpy takes bytes, rosbags an int
                fields[name] = value[0]
        return self._store.types[type_name](**fields)

    def make_many(self, type_name: str, count: int, /, **columns: Iterable[Any]) -> list[Any]:
        """As messages.MessageKit says."""
        values = columns_of_length(type_name, count, columns)
        return [self.make(type_name, **dict(zip(values, row))) for row in zip(*values.values())]

    def byte_sequence(self, data: ImageData) -> np.ndarray:
        """A uint8 array that shares the memory of the data."""
        if isinstance(data, np.ndarray):
            return data.reshape(-1).view(np.uint8)
        return np.frombuffer(data, np.uint8)

    def float_sequence(self, values: Sequence[float]) -> np.ndarray:
        """A float64 array."""
        return np.asarray(values, np.float64)

    def int8_sequence(self, values: np.ndarray) -> np.ndarray:
        """The array itself."""
        return values

    def float32_sequence(self, values: np.ndarray) -> np.ndarray:
        """The array itself."""
        return values

    def knows(self, type_name: str) -> bool:
        """Is the type's definition known without the bag?"""
        return type_name in self._store.types

    def definition(self, type_name: str) -> Definition:
        """What a bag stores about a type that is known."""
        # in 0.10 a tuple too, so that one form serves both
        text, _ = self._store.generate_msgdef(type_name, ros_version=2)
        return Definition(text, self._store.hash_rihs01(type_name))

    def serialize(self, message: Any, type_name: str) -> Buffer:
        """CDR, little-endian, with its 4-byte header.

        Raises:
            BagError: a field's value does not fit its type.
        """
        try:
            data: Buffer = self._store.serialize_cdr(message, type_name)
        except Exception as exc:  # struct.error and more, as in deserialize
            raise BagError(f"{type_name} cannot be serialized: {exc}") from exc
        return data

    def deserialize(self, data: Buffer, type_name: str) -> Any:
        """A message whose arrays share the memory of the data.

        Raises:
            BagError: the data is no such message.
        """
        try:
            # A memoryview is sliced without a copy, bytes are not.
            return self._store.deserialize_cdr(memoryview(data), type_name)
        except Exception as exc:  # struct.error, IndexError, ValueError, UnicodeDecodeError or rosbags' own
            raise BagError(f"{len(data)} bytes are no whole {type_name}: {exc}") from exc
