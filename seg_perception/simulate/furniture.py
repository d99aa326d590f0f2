"""Street furniture: lamp posts, traffic signs, traffic lights."""

from __future__ import annotations

import math

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.layout import Post
from seg_perception.simulate.mesh import MeshBuilder, Point

__all__ = ["add_post"]

_POLE = CITYSCAPES.id_of("pole")
_SIGN = CITYSCAPES.id_of("traffic sign")
_LIGHT = CITYSCAPES.id_of("traffic light")

_STEEL = (120, 124, 128)
_RED, _WHITE, _BLUE, _YELLOW = (188, 26, 32), (234, 234, 230), (26, 74, 156), (234, 188, 34)
_BACK = (136, 138, 140)
_OFF = (34, 30, 28)


def add_post(builder: MeshBuilder, post: Post, ground_m: float) -> None:
    """Draw one post that stands on ground of that height; its top is where it is in any case."""
    {"lamp": _lamp, "sign": _sign, "light": _traffic_light}[post.kind](builder, post, ground_m)


def _lamp(builder: MeshBuilder, post: Post, ground_m: float) -> None:
    top = 7.4
    builder.pillar(post.x, post.y, (ground_m, 1.2), 0.11, (92, 96, 98), _POLE, sides=8)
    builder.pillar(post.x, post.y, (1.2, top), 0.07, (104, 108, 110), _POLE, sides=8)
    reach = -post.sign * 1.9
    y0, y1 = sorted((post.y, post.y + reach))
    builder.box((post.x - 0.04, y0, top - 0.04), (post.x + 0.04, y1, top + 0.05), _STEEL, _POLE, faces="xXyYzZ")
    y0, y1 = sorted((post.y + reach * 0.75, post.y + reach * 1.15))
    builder.box(
        (post.x - 0.14, y0, top - 0.12), (post.x + 0.14, y1, top + 0.06), (150, 152, 152), _POLE, faces="xXyYzZ"
    )


def _sign(builder: MeshBuilder, post: Post, ground_m: float) -> None:
    builder.pillar(post.x, post.y, (ground_m, 2.95), 0.035, _STEEL, _POLE)
    # Left-hand signs face oncoming traffic, right-hand signs the ego lane; the other side is bare metal.
    face = float(post.facing)
    height = 2.55

    def plate(out: float, size: float, color: Point, corners: int, turn: float = 0.0) -> None:
        for facing, tint in ((face, color), (-face, _BACK)):
            if facing != face and out > 0:
                continue
            x = post.x + facing * (0.05 + out)
            angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
            ring = [(x, post.y + facing * size * math.sin(-a), height + size * math.cos(a)) for a in angles]
            builder.polygon(ring, tint, _SIGN)

    eighth = math.pi / 4
    if post.variant == 0:
        plate(0.0, 0.36, _RED, 10)
        plate(0.006, 0.26, _WHITE, 10)
    elif post.variant == 1:
        plate(0.0, 0.46, _RED, 3)
        plate(0.006, 0.27, _WHITE, 3)
    elif post.variant == 2:
        plate(0.0, 0.46, _BLUE, 4, eighth)
        plate(0.006, 0.16, _WHITE, 10)
    else:
        plate(0.0, 0.44, _WHITE, 4)
        plate(0.006, 0.33, _YELLOW, 4)


def _traffic_light(builder: MeshBuilder, post: Post, ground_m: float) -> None:
    builder.pillar(post.x, post.y, (ground_m, 3.3), 0.06, (70, 74, 76), _POLE, sides=8)
    face = float(post.facing)
    x0, x1 = sorted((post.x + face * 0.07, post.x + face * 0.30))
    low, high = 2.35, 3.35
    builder.box((x0, post.y - 0.17, low), (x1, post.y + 0.17, high), (30, 32, 34), _LIGHT, faces="xXyYzZ")
    front = post.x + face * 0.306
    lamps = ((high - 0.18, _OFF), (high - 0.5, _OFF), (high - 0.82, (40, 226, 130)))
    for z, color in lamps:
        builder.disc((front, post.y, z), (0, face * 0.115, 0), (0, 0, 0.115), color, _LIGHT, sides=8)
