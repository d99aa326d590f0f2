"""Which topics of a bag are the camera, and its messages as frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seg_perception.bag.kit import RosbagsKit
from seg_perception.bag.reader import Bag
from seg_perception.bag.records import Connection, RawMessage
from seg_perception.errors import BagError, FrameError
from seg_perception.messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    LABEL_INFO,
    camera_of,
    frame_of_compressed,
    frame_of_image,
)
from seg_perception.types import CameraInfo, Frame

__all__ = ["CameraTopics", "FrameReader", "find_camera"]

_FRAMES_OF = {IMAGE: frame_of_image, COMPRESSED_IMAGE: frame_of_compressed}
_TWINS = ("/compressed", "/compressedDepth")


@dataclass(frozen=True)
class CameraTopics:
    """A camera in a bag.

    Attributes:
        image: its images.
        image_count: how many.
        camera_info: topic of its calibration; None where the bag has none.
    """

    image: Connection
    image_count: int
    camera_info: str | None


def find_camera(bag: Bag, topic: str | None = None) -> CameraTopics:
    """The image topic to use, and the camera_info beside it.

    Args:
        topic: its name, or that of the raw topic where the bag has only the compressed one. None takes the only
            camera there is; a compressed twin of a raw topic, and the masks and overlays of an earlier run (they
            have a label_info beside them), are no cameras of their own.

    Raises:
        BagError: there is no such topic, or there is more than one to choose from; the text lists them.
    """
    images = [c for c in bag.connections if c.type_name in _FRAMES_OF and c.message_encoding == "cdr"]
    if topic is not None:
        wanted = f"/{topic.strip('/')}"
        found = [c for c in images if c.topic == wanted] or [c for c in images if c.topic == f"{wanted}/compressed"]
        if not found:
            raise BagError(f"{bag.path}: no image topic {wanted}; {_listing(bag, images)}")
    else:
        found = _cameras(bag.connections, images)
        if len({c.topic for c in found}) != 1:
            problem = "several image topics; name one with --topic" if found else "no camera"
            raise BagError(f"{bag.path}: {problem}; {_listing(bag, images)}")
    image = found[0]
    count = sum(c.count for c in images if c.topic == image.topic)
    return CameraTopics(image, count, _camera_info_beside(bag, image))


def _cameras(everything: Iterable[Connection], images: list[Connection]) -> list[Connection]:
    results = {_parent(c.topic) for c in everything if c.type_name == LABEL_INFO}
    names = {c.topic for c in images}
    return [
        c
        for c in images
        if not any(c.topic.startswith(f"{parent}/") for parent in results)
        and not any(c.topic.endswith(twin) and c.topic.removesuffix(twin) in names for twin in _TWINS)
    ]


def _camera_info_beside(bag: Bag, image: Connection) -> str | None:
    """image_transport's rule: the sibling of the raw topic."""
    base = image.topic.removesuffix("/compressed") if image.type_name == COMPRESSED_IMAGE else image.topic
    sibling = f"{_parent(base)}/camera_info"
    known = any(
        c.topic == sibling and c.type_name == CAMERA_INFO and c.message_encoding == "cdr" for c in bag.connections
    )
    return sibling if known else None


def _parent(topic: str) -> str:
    return topic.rpartition("/")[0]


def _listing(bag: Bag, images: list[Connection]) -> str:
    """What there is, for people: the image topics, or what else the bag has."""
    shown = images or list(bag.connections)
    rows = [f"{c.topic} ({c.type_name}, {c.count} messages)" for c in shown[:20]]
    more = [f"and {len(shown) - 20} more"] if len(shown) > 20 else []
    what = "its image topics are" if images else "no sensor_msgs Image or CompressedImage among"
    return f"{what}: {', '.join(rows + more)}" if rows else "it has no topics at all"


class FrameReader:
    """Turns a camera's messages into frames; each has the newest calibration that was recorded before it.

    What came before the first camera_info has that one: the calibration does not change while a bag is recorded.
    """

    def __init__(self, bag: Bag, topics: CameraTopics, kit: RosbagsKit) -> None:
        self._kit, self._topics = kit, topics
        self._camera: CameraInfo | None = None
        if topics.camera_info is not None:
            for message in bag.messages([topics.camera_info]):
                if self.see_camera_info(message):
                    break

    @property
    def topics(self) -> list[str]:
        """What to read from the bag."""
        return [name for name in (self._topics.image.topic, self._topics.camera_info) if name is not None]

    def is_image(self, message: RawMessage) -> bool:
        """Is this one of the camera's images?"""
        connection = message.connection
        return connection.topic == self._topics.image.topic and connection.type_name in _FRAMES_OF

    def is_camera_info(self, message: RawMessage) -> bool:
        """Is this the camera's calibration?"""
        return message.connection.topic == self._topics.camera_info

    def see_camera_info(self, message: RawMessage) -> bool:
        """Use this calibration from now on; False, and the last one stays, if it is no whole message."""
        try:
            self._camera = camera_of(self._kit.deserialize(message.data, CAMERA_INFO))
        except BagError:
            return False
        return True

    def frame(self, message: RawMessage) -> Frame:
        """The image as a frame that shares the message's memory.

        Raises:
            FrameError: `cdr`, the message cannot be deserialized.
        """
        type_name = message.connection.type_name
        try:
            return _FRAMES_OF[type_name](self._kit.deserialize(message.data, type_name), self._camera)
        except BagError as exc:
            raise FrameError("cdr", str(exc)) from exc
