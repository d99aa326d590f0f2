"""Pictures of people: walking, seen from the side or along the street; standing; riding a bicycle."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np

from seg_perception.simulate.sprites import Sprite, finish, shade_of

__all__ = [
    "AT_REST",
    "BICYCLE_PARTS",
    "FIGURE_HEIGHT_M",
    "HAIR",
    "METAL",
    "PHASES",
    "SHOES",
    "SKIN",
    "TOP",
    "TROUSERS",
    "TYRE",
    "cyclist_sprite",
    "parked_bicycle_sprite",
    "walker_sprite",
]

SKIN, HAIR, TOP, TROUSERS, SHOES, METAL, TYRE = range(1, 8)
"""Parts of these pictures; HAIR is a cyclist's helmet, TYRE a walker's rucksack."""

BICYCLE_PARTS = (METAL, TYRE)
PHASES = 8
"""Pictures to one double step."""

AT_REST = PHASES
"""The phase of a walker who stands on both feet, and of a cyclist who does not pedal."""

FIGURE_HEIGHT_M = 1.9
"""Height shown by a picture, headroom included; a grown-up fills 1.75 m of it."""

_PX_PER_M = 150

_Spot = tuple[float, float]


class _Canvas:
    """Draws in metres: x to the right from the middle, y up from the ground."""

    def __init__(self, width_m: float) -> None:
        self.parts = np.zeros((int(FIGURE_HEIGHT_M * _PX_PER_M), int(width_m * _PX_PER_M)), np.uint8)

    def _px(self, spot: _Spot) -> tuple[int, int]:
        height, width = self.parts.shape
        return int(round(width / 2 + spot[0] * _PX_PER_M)), int(round(height - 1 - spot[1] * _PX_PER_M))

    def limb(self, part: int, thick_m: float, *spots: _Spot) -> None:
        for start, end in zip(spots, spots[1:]):
            cv2.line(self.parts, self._px(start), self._px(end), part, max(1, int(thick_m * _PX_PER_M)))

    def shape(self, part: int, *spots: _Spot) -> None:
        cv2.fillPoly(self.parts, [np.array([self._px(spot) for spot in spots], np.int32)], part)

    def oval(self, part: int, centre: _Spot, half_width: float, half_height: float, thick_m: float = 0.0) -> None:
        axes = (max(1, int(half_width * _PX_PER_M)), int(half_height * _PX_PER_M))
        thick = max(1, int(thick_m * _PX_PER_M)) if thick_m else -1
        cv2.ellipse(self.parts, self._px(centre), axes, 0, 0, 360, part, thick)

    def sprite(self) -> Sprite:
        return finish(self.parts, shade_of(self.parts, 0.8, 9))


@cache
def walker_sprite(view: str, phase: int) -> Sprite:
    """A walker.

    Args:
        view: `side` (walking to the right), `front` or `back`, or `still` (standing, seen from the front).
        phase: 0 to `PHASES` − 1 of the double step, or `AT_REST`.
    """
    walks = phase != AT_REST
    swing = math.sin(2 * math.pi * phase / PHASES) if walks else 0.0
    canvas = _Canvas(1.2)
    if view == "side":
        _side_walker(canvas, swing, math.cos(2 * math.pi * phase / PHASES) if walks else 0.0)
    else:
        _facing_walker(canvas, 0.0 if view == "still" else swing, view == "back")
    return canvas.sprite()


def _side_walker(canvas: _Canvas, swing: float, lift: float) -> None:
    hip, shoulder = (0.0, 0.92), (0.03, 1.42)

    def leg(sign: float) -> None:
        s = sign * swing
        raised = max(0.0, sign * lift) * 0.10
        knee = (hip[0] + 0.24 * s + 0.06 + raised * 0.5, 0.50)
        foot = (hip[0] + 0.36 * s, 0.07 + raised)
        canvas.limb(TROUSERS, 0.15, hip, knee, foot)
        canvas.limb(SHOES, 0.08, (foot[0] - 0.03, foot[1] - 0.03), (foot[0] + 0.15, foot[1] - 0.03))

    def arm(sign: float) -> None:
        elbow = (shoulder[0] - 0.16 * sign * swing - 0.02, 1.16)
        hand = (elbow[0] - 0.12 * sign * swing + 0.07, 0.93)
        canvas.limb(TOP, 0.10, shoulder, elbow, hand)
        canvas.oval(SKIN, hand, 0.045, 0.05)

    arm(-1)
    leg(-1)
    leg(1)
    canvas.shape(TOP, (-0.12, 0.88), (0.13, 0.88), (0.15, 1.25), (0.12, 1.46), (-0.08, 1.48), (-0.14, 1.25))
    arm(1)
    canvas.limb(SKIN, 0.09, (0.03, 1.46), (0.04, 1.56))
    canvas.oval(SKIN, (0.05, 1.63), 0.095, 0.125)
    canvas.shape(
        HAIR, (0.13, 1.72), (0.08, 1.77), (-0.03, 1.76), (-0.07, 1.66), (-0.04, 1.55), (0.0, 1.62), (0.06, 1.69)
    )


def _facing_walker(canvas: _Canvas, swing: float, from_behind: bool) -> None:
    for side in (-1, 1):
        raised = max(0.0, side * swing) * 0.10
        hip, foot = (0.09 * side, 0.90), (0.10 * side, 0.06 + raised)
        canvas.limb(TROUSERS, 0.15, hip, (0.105 * side, 0.50 + raised * 0.4), foot)
        canvas.oval(SHOES, (foot[0] + 0.015 * side, foot[1] - 0.02), 0.06, 0.045)
    for side in (-1, 1):
        hand_y = 0.92 - 0.05 * side * swing
        canvas.limb(TOP, 0.10, (0.20 * side, 1.40), (0.27 * side, 1.14), (0.26 * side, hand_y))
        canvas.oval(SKIN, (0.26 * side, hand_y - 0.03), 0.042, 0.055)
    left = ((-0.08, 1.50), (-0.24, 1.42), (-0.19, 1.10), (-0.18, 0.86))
    canvas.shape(TOP, *((-x, y) for x, y in reversed(left)), *left)
    canvas.limb(SKIN, 0.10, (0.0, 1.48), (0.0, 1.56))
    canvas.oval(HAIR, (0.0, 1.645), 0.098, 0.128)
    if not from_behind:
        canvas.oval(SKIN, (0.0, 1.62), 0.082, 0.105)
    else:
        canvas.shape(TYRE, (-0.15, 1.02), (0.15, 1.02), (0.14, 1.40), (-0.14, 1.40))


@cache
def cyclist_sprite(view: str, phase: int) -> Sprite:
    """A rider on a bicycle: `side` (riding to the right), `front` or `back`; phase of the pedals as for walkers."""
    turn = 2 * math.pi * phase / PHASES
    if view == "side":
        canvas = _Canvas(2.0)
        _bicycle(canvas)
        _side_rider(canvas, turn)
    else:
        canvas = _Canvas(1.0)
        _facing_cyclist(canvas, math.sin(turn), view == "back")
    return canvas.sprite()


@cache
def parked_bicycle_sprite() -> Sprite:
    """A bicycle on its stand, seen from the side."""
    canvas = _Canvas(2.0)
    _bicycle(canvas)
    return canvas.sprite()


def _bicycle(canvas: _Canvas) -> None:
    rear, front, crank = (-0.52, 0.34), (0.54, 0.34), (-0.05, 0.30)
    seat, head = (-0.22, 0.86), (0.38, 0.84)
    for hub in (rear, front):
        canvas.oval(TYRE, hub, 0.32, 0.32, 0.045)
        canvas.oval(METAL, hub, 0.04, 0.04)
    for tube in ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat, head), (head, front)):
        canvas.limb(METAL, 0.04, *tube)
    canvas.limb(METAL, 0.035, head, (0.36, 1.00), (0.47, 1.02))
    canvas.limb(TYRE, 0.07, (-0.32, 0.93), (-0.12, 0.93))


def _side_rider(canvas: _Canvas, turn: float) -> None:
    hip, shoulder, hand = (-0.20, 0.98), (0.12, 1.42), (0.44, 1.04)
    for half_turn in (math.pi, 0.0):
        pedal = (-0.05 + 0.17 * math.cos(turn + half_turn), 0.30 - 0.17 * math.sin(turn + half_turn))
        knee = (0.5 * (hip[0] + pedal[0]) + 0.20, 0.5 * (hip[1] + pedal[1]) + 0.06)
        canvas.limb(TROUSERS, 0.13, hip, knee, (pedal[0], pedal[1] + 0.08))
        canvas.limb(SHOES, 0.07, (pedal[0] - 0.04, pedal[1] + 0.02), (pedal[0] + 0.13, pedal[1] + 0.02))
    canvas.limb(TOP, 0.24, hip, (0.06, 1.32))
    canvas.oval(TOP, (0.08, 1.36), 0.13, 0.13)
    canvas.limb(TOP, 0.09, shoulder, (0.26, 1.18), hand)
    canvas.oval(SKIN, hand, 0.05, 0.05)
    canvas.oval(SKIN, (0.22, 1.58), 0.09, 0.12)
    canvas.shape(HAIR, (0.33, 1.63), (0.27, 1.72), (0.16, 1.73), (0.08, 1.66), (0.08, 1.59))


def _facing_cyclist(canvas: _Canvas, swing: float, from_behind: bool) -> None:
    canvas.oval(TYRE, (0.0, 0.34), 0.035, 0.34)
    canvas.limb(METAL, 0.05, (0.0, 0.55), (0.0, 0.98))
    canvas.limb(METAL, 0.04, (-0.28, 1.03), (0.28, 1.03))
    for side in (-1, 1):
        foot = (0.13 * side, 0.30 + 0.15 * side * swing)
        canvas.limb(TROUSERS, 0.13, (0.11 * side, 0.95), (0.17 * side, 0.62 + 0.10 * side * swing), foot)
        canvas.oval(SHOES, foot, 0.055, 0.07)
        canvas.limb(TOP, 0.09, (0.20 * side, 1.40), (0.30 * side, 1.20), (0.26 * side, 1.05))
        canvas.oval(SKIN, (0.26 * side, 1.05), 0.045, 0.045)
    if from_behind:
        canvas.oval(TROUSERS, (0.0, 0.97), 0.17, 0.11)
    canvas.shape(TOP, (-0.16, 0.98), (0.16, 0.98), (0.24, 1.40), (0.09, 1.50), (-0.09, 1.50), (-0.24, 1.40))
    canvas.oval(SKIN, (0.0, 1.57), 0.085, 0.11)
    canvas.oval(HAIR, (0.0, 1.64 if not from_behind else 1.61), 0.105, 0.09 if not from_behind else 0.12)
