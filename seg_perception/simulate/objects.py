"""The countable things of the street: what they are, how large, where, and where they go."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.bend import Bend
from seg_perception.simulate.cards import growth
from seg_perception.simulate.traffic import Mover
from seg_perception.simulate.vehicles import VEHICLES

__all__ = ["SceneObject", "bent_thing", "moving_things", "resting_thing"]


@dataclass(frozen=True)
class SceneObject:
    """One countable thing and where it truly is, world frame.

    Attributes:
        instance_id: its pixels' value in the instance image; unique in a frame, constant over time.
        class_id: its pixels' class.
        position: (x, y, z) of the middle of its footprint, m.
        yaw_rad: heading about the vertical axis.
        size: (length, width, height), m. A vehicle's are its body's, without mirrors. People and bicycles are flat
            pictures that turn to the camera: their height is that of the picture, their length and width those of the
            body that it stands for, a rider's with the bicycle.
        velocity: (vx, vy) over the ground, m/s; of what rests, 0.
    """

    instance_id: int
    class_id: int
    position: tuple[float, float, float]
    yaw_rad: float
    size: tuple[float, float, float]
    velocity: tuple[float, float]


_SIZE = {
    "person": (0.4, 0.55, 1.775),
    "walker": (0.4, 0.55, 1.775),
    "bicycle": (1.75, 0.5, 1.05),
    "cyclist": (1.75, 0.6, 1.735),
}
"""People come in different sizes: this is what a picture shows at 1."""

_CLASS = {"person": "person", "walker": "person", "bicycle": "bicycle", "cyclist": "rider"}


def resting_thing(kind: str, place: tuple[float, float, float], yaw: float, key: int, instance_id: int) -> SceneObject:
    """Something at rest; `key` is what a person looks like."""
    return _object(kind, place, yaw, (0.0, 0.0), key, instance_id)


def _object(
    kind: str,
    position: tuple[float, float, float],
    yaw: float,
    velocity: tuple[float, float],
    key: int,
    instance_id: int,
) -> SceneObject:
    if kind in VEHICLES:
        shape = VEHICLES[kind]
        class_name, size = shape.class_name, (shape.length, shape.width, shape.height)
    else:
        share = growth(key) if kind in ("person", "walker") else 1.0
        length, width, height = _SIZE[kind]
        class_name, size = _CLASS[kind], (share * length, share * width, share * height)
    return SceneObject(instance_id, CITYSCAPES.id_of(class_name), position, yaw, size, velocity)


def bent_thing(thing: SceneObject, bend: Bend) -> SceneObject:
    """A thing given in street coordinates, in the world."""
    x, y, z = thing.position
    return replace(
        thing,
        position=(*bend.place(x, y), z),
        yaw_rad=math.remainder(thing.yaw_rad + bend.heading(x), 2 * math.pi),
        velocity=bend.velocity(x, y, *thing.velocity),
    )


def moving_things(mover: Mover) -> list[SceneObject]:
    """What moves; a cyclist is a rider and a bicycle."""
    place, velocity = (mover.x, mover.y, mover.z), (mover.vx, mover.vy)
    things = [_object(mover.kind, place, mover.yaw_rad, velocity, mover.key, mover.instance_id)]
    if mover.kind == "cyclist":
        things.append(_object("bicycle", place, mover.yaw_rad, velocity, mover.key, mover.instance_id + 1))
    return things
