"""Transforms, as messages and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seg_perception.errors import TransformError
from seg_perception.geometry.transforms import Transform
from seg_perception.messages.kit import MessageKit, header, stamp_ns_of

__all__ = [
    "TF_MESSAGE",
    "tf_message",
    "transforms_of",
]

TF_MESSAGE = "tf2_msgs/msg/TFMessage"


def transforms_of(message: Any) -> tuple[list[Transform], list[str]]:
    """tf2_msgs/TFMessage to the transforms that can be used; why the others cannot, a sentence each."""
    usable, refused = [], []
    for stamped in message.transforms:
        moved, turned = stamped.transform.translation, stamped.transform.rotation
        try:
            usable.append(
                Transform(
                    str(stamped.header.frame_id),
                    str(stamped.child_frame_id),
                    stamp_ns_of(stamped),
                    (moved.x, moved.y, moved.z),
                    (turned.x, turned.y, turned.z, turned.w),
                )
            )
        except TransformError as exc:
            refused.append(str(exc))
    return usable, refused


def tf_message(kit: MessageKit, transforms: Sequence[Transform]) -> Any:
    """tf2_msgs/TFMessage."""
    return kit.make(TF_MESSAGE, transforms=[_transform_stamped(kit, transform) for transform in transforms])


def _transform_stamped(kit: MessageKit, transform: Transform) -> Any:
    moved = kit.make("geometry_msgs/msg/Vector3", **dict(zip("xyz", transform.translation)))
    turned = kit.make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", transform.rotation)))
    return kit.make(
        "geometry_msgs/msg/TransformStamped",
        header=header(kit, transform.stamp_ns, transform.parent),
        child_frame_id=transform.child,
        transform=kit.make("geometry_msgs/msg/Transform", translation=moved, rotation=turned),
    )
