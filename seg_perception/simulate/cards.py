"""Upright pictures in the world: which sprite stands where, what its parts are, and how it meets a camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.figures import (
    AT_REST,
    BICYCLE_PARTS,
    FIGURE_HEIGHT_M,
    cyclist_sprite,
    parked_bicycle_sprite,
    walker_sprite,
)
from seg_perception.simulate.foliage import bush_sprite, tree_sprite
from seg_perception.simulate.layout import Plant, Stander
from seg_perception.simulate.light import Light
from seg_perception.simulate.seeded import stream
from seg_perception.simulate.sprites import SHADES, Sprite, card_colors

__all__ = ["Card", "cyclist_card", "growth", "plant_card", "stander_card", "walker_card"]

_VEGETATION = CITYSCAPES.id_of("vegetation")
_PERSON = CITYSCAPES.id_of("person")
_RIDER = CITYSCAPES.id_of("rider")
_BICYCLE = CITYSCAPES.id_of("bicycle")

_SKIN = ((208, 164, 138), (188, 142, 114), (142, 100, 76), (98, 68, 52))
_HAIR = ((44, 34, 28), (82, 58, 38), (128, 100, 64), (30, 28, 28), (142, 138, 134))
_HELMETS = ((216, 218, 220), (34, 36, 40), (182, 40, 36), (40, 74, 140))
_TOPS = (
    (34, 36, 42), (58, 62, 70), (128, 34, 38), (38, 54, 92),
    (190, 186, 178), (92, 104, 82), (168, 126, 52), (82, 52, 78),
)  # fmt: skip
_TROUSERS = ((44, 54, 82), (34, 36, 42), (96, 88, 76), (60, 62, 66), (74, 86, 112))
_SHOES = ((28, 26, 26), (70, 52, 40), (188, 186, 182))
_FRAMES = ((60, 64, 70), (150, 36, 38), (44, 78, 120), (186, 188, 190), (40, 96, 72))


@dataclass(frozen=True)
class Card:
    """A picture parallel to the image plane, its lower edge's middle at `foot`.

    Attributes:
        foot: (x, y, z), metres, world frame.
        height_m: of the whole picture.
        sprite: what it shows.
        paint: uint32 `[256]`, packed RGB by code.
        labels: (class id, instance id) of every kind of part.
        label_of_code: int32 `[256]`, index into `labels` by code.
    """

    foot: tuple[float, float, float]
    height_m: float
    sprite: Sprite
    paint: np.ndarray
    labels: tuple[tuple[int, int], ...]
    label_of_code: np.ndarray


_ONE_LABEL = np.zeros(256, np.int32)
_BICYCLE_CODES = np.isin(np.arange(256) // SHADES, BICYCLE_PARTS).astype(np.int32)


@cache
def _plant_sprite(kind: str, variant: int, mirrored: bool) -> Sprite:
    sprite = tree_sprite(variant) if kind == "tree" else bush_sprite(variant)
    return sprite.mirrored() if mirrored else sprite


def plant_card(plant: Plant, light: Light) -> Card:
    """A tree or a bush."""
    shine = light.on(np.array([-0.75, 0.0, 0.66])) * 1.08
    paint = card_colors((plant.color * shine, (104, 88, 72) * shine))
    sprite = _plant_sprite(plant.kind, plant.variant, plant.mirrored)
    return Card((plant.x, plant.y, plant.z), plant.height, sprite, paint, ((_VEGETATION, 0),), _ONE_LABEL)


@lru_cache(maxsize=512)
def _outfit(key: int, helmet: bool, light: Light) -> np.ndarray:
    rng = stream(key, 0x0F)

    def pick(options: tuple[tuple[int, int, int], ...]) -> np.ndarray:
        return np.array(options[int(rng.random() * len(options))], np.float64)

    skin, hair, top, trousers = pick(_SKIN), pick(_HELMETS if helmet else _HAIR), pick(_TOPS), pick(_TROUSERS)
    shoes, metal = pick(_SHOES), pick(_FRAMES)
    rucksack = np.array((44, 46, 52)) if rng.random() < 0.4 else top
    last = np.array((30, 30, 32)) if helmet else rucksack
    shine = light.on(np.array([-1.0, 0.0, 0.0])) * 1.1
    return card_colors([part * shine for part in (skin, hair, top, trousers, shoes, metal, last)])


def growth(key: int) -> float:
    """How large a person is: a share of a picture's size in metres."""
    return 0.90 + 0.14 * stream(key, 0x57A).random()


def _stature(key: int) -> float:
    return FIGURE_HEIGHT_M * growth(key)


def stander_card(stander: Stander, ground_m: float, light: Light) -> Card:
    """A person or a bicycle at rest, on ground of that height."""
    foot = (stander.x, stander.y, ground_m)
    if stander.kind == "bicycle":
        paint = _outfit(stander.key, True, light)
        return Card(
            foot, FIGURE_HEIGHT_M, parked_bicycle_sprite(), paint, ((_BICYCLE, stander.instance_id),), _ONE_LABEL
        )
    paint = _outfit(stander.key, False, light)
    view = stander.view
    sprite = walker_sprite("still", stander.key % 2) if view == "still" else _turned(view, AT_REST, False)
    return Card(foot, _stature(stander.key), sprite, paint, ((_PERSON, stander.instance_id),), _ONE_LABEL)


@cache
def _mirrored(view: str, phase: int, rides: bool) -> Sprite:
    return (cyclist_sprite if rides else walker_sprite)(view, phase).mirrored()


def _turned(view: str, phase: int, rides: bool) -> Sprite:
    if view == "left":
        return _mirrored("side", phase, rides)
    return (cyclist_sprite if rides else walker_sprite)("side" if view == "right" else view, phase)


def walker_card(
    foot: tuple[float, float, float], view: str, phase: int, key: int, instance_id: int, light: Light
) -> Card:
    """A walker seen from `front` or `back`, or walking to the `left` or `right` of the picture."""
    paint = _outfit(key, False, light)
    return Card(foot, _stature(key), _turned(view, phase, False), paint, ((_PERSON, instance_id),), _ONE_LABEL)


def cyclist_card(
    foot: tuple[float, float, float], view: str, phase: int, key: int, instance_id: int, light: Light
) -> Card:
    """A rider (`instance_id`) on a bicycle (`instance_id` + 1); views as for walkers."""
    labels = ((_RIDER, instance_id), (_BICYCLE, instance_id + 1))
    return Card(foot, FIGURE_HEIGHT_M, _turned(view, phase, True), _outfit(key, True, light), labels, _BICYCLE_CODES)
