"""What objects cost: milliseconds of each stage for fifty of them, and for input that nobody wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from seg_perception.backends import Backend
from seg_perception.backends.replayed import ReplayedBackend
from seg_perception.config import PipelineConfig
from seg_perception.encounters import Encounters, ThingRules
from seg_perception.fit import Fit
from seg_perception.geometry.camera import CameraModel
from seg_perception.geometry.ground import GroundCamera
from seg_perception.labels import CITYSCAPES
from seg_perception.messages import MessageKit
from seg_perception.outputs import OUTPUTS
from seg_perception.perception.roles import role_table
from seg_perception.perception.truth_heads import true_heads
from seg_perception.simulate import StreetScene
from seg_perception.sources import frame_of_rgb
from seg_perception.types import Heads, Perception, Segmentation

__all__ = ["COST_THINGS", "ObjectCost", "hostile_heads", "many_things", "heads_cost_ms", "measure_objects"]

COST_THINGS = 50
_INPUT_HW, _MAP_HW, _HEADS_HW = (256, 512), (128, 256), (64, 128)
_PERSON, _CAR, _ROAD = (CITYSCAPES.id_of(name) for name in ("person", "car", "road"))
_OWN_TOPICS = ("detections", "obstacles", "obstacles/points", "obstacles/markers")
_NAN_EVERY, _TURN = 7, 25


def many_things() -> Heads:
    """True heads of a road with 50 people and cars on it, some of whom touch, at the shipped model's strides."""
    ids = np.full(_MAP_HW, CITYSCAPES.id_of("building"), np.uint8)
    ids[50:] = _ROAD
    instances = np.zeros(_MAP_HW, np.uint16)
    for number in range(COST_THINGS):
        row, column = divmod(number, 10)
        middle, size = (12 + 25 * column + 3 * row, 54 + 16 * row), ((5, 9) if number % 3 else (11, 7))
        stencil = cv2.ellipse(np.zeros(_MAP_HW, np.uint8), middle, size, 0, 0, 360, 1, cv2.FILLED) > 0
        ids[stencil], instances[stencil] = (_PERSON if number % 3 else _CAR), number + 1
    return Heads(ids, np.full(_HEADS_HW, 200, np.uint8), *true_heads(instances, _HEADS_HW))


def hostile_heads() -> dict[str, Heads]:
    """Answers that no street gives, by name."""
    usual, rng = many_things(), np.random.default_rng(0)
    assert usual.centers is not None and usual.offsets is not None
    people = np.full(_MAP_HW, _PERSON, np.uint8)
    specks = np.full(_MAP_HW, _ROAD, np.uint8)
    specks.ravel()[rng.choice(specks.size, 5000, replace=False)] = _PERSON
    still = np.zeros_like(usual.offsets)
    checkers = np.indices(_MAP_HW).sum(0) % 2
    centers, offsets = usual.centers.copy(), usual.offsets.copy()
    centers.ravel()[::_NAN_EVERY], offsets.ravel()[3::_NAN_EVERY] = np.nan, np.inf
    one = true_heads(np.ones(_MAP_HW, np.uint16), _HEADS_HW)
    alone = replace(usual, class_ids=np.where(checkers == 0, _PERSON, _CAR).astype(np.uint8), offsets=still)
    return {
        "nothing": replace(usual, class_ids=np.full(_MAP_HW, _ROAD, np.uint8)),
        "every pixel a thing of its own": replace(alone, centers=np.ones(_HEADS_HW, np.float32)),
        "the same without heads": replace(alone, centers=None, offsets=None),
        "5,000 specks": replace(usual, class_ids=specks),
        "5,000 specks without heads": replace(usual, class_ids=specks, centers=None, offsets=None),
        "one thing everywhere": Heads(people, usual.confidence, *one),
        "one thing everywhere without heads": Heads(people, usual.confidence),
        "no numbers in the heads": replace(usual, centers=centers, offsets=offsets),
        "nothing but no numbers": replace(
            usual, centers=np.full(_HEADS_HW, np.nan, np.float32), offsets=np.full((2, *_HEADS_HW), np.nan, np.float32)
        ),
    }


def heads_cost_ms(backend: Backend, runs: int = 200) -> tuple[float, float]:
    """Median milliseconds of a model's inference without and with what tells things apart.

    In turns of 25 frames each, as a robot has them frame after frame; the first ones of each turn, which find the
    caches full of the other's weights, do not count.

    Args:
        backend: that of a model with centres and offsets.
        runs: frames of each kind.
    """
    hw = backend.input_hw or _INPUT_HW
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8), (hw[1], hw[0]))
    times: dict[bool, list[float]] = {False: [], True: []}
    backend.warm_up(3)
    while len(times[True]) < runs:
        for things, measured in times.items():
            clock = _Clock()
            for _ in range(_TURN):
                backend.infer(image, 0, things)
                clock.lap()
            measured += clock.laps[_TURN // 5 :]
    return float(np.median(times[False])), float(np.median(times[True]))


@dataclass(frozen=True)
class ObjectCost:
    """Median milliseconds for one frame.

    Attributes:
        kept: objects that came of it.
        panoptic_ms: finding them, and the panoptic map at 512x256.
        follow_ms: track ids and places on the ground.
        messages_ms: building detections, obstacles, points and markers.
    """

    kept: int
    panoptic_ms: float
    follow_ms: float
    messages_ms: float

    @property
    def total_ms(self) -> float:
        return self.panoptic_ms + self.follow_ms + self.messages_ms


def measure_objects(kit: MessageKit, runs: int = 200) -> dict[str, ObjectCost]:
    """Fifty things frame after frame; then they and `hostile_heads` in turns, so that a busy moment hits all alike.

    In turns each finds the processor's caches full of the others' data, as on a robot that does something else between
    two frames.

    Args:
        kit: whose messages to build.

    Returns:
        By name; the second is what the others are to be compared with.
    """
    alone = f"{COST_THINGS} things, frame after frame"
    cases = {
        alone: many_things(),
        f"{COST_THINGS} things, in turns with what follows": many_things(),
        **hostile_heads(),
    }
    benches = {name: _Case(heads, kit) for name, heads in cases.items()}
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in cases}
    warm = benches.pop(alone)
    times[alone] += [warm.run() for _ in range(runs + 3)][3:]
    for run in range(-3, runs):
        for name, bench in benches.items():
            measured = bench.run()
            if run >= 0:
                times[name].append(measured)
    benches[alone] = warm
    return {
        name: ObjectCost(benches[name].kept, *np.median(np.array(rows), axis=0).tolist())
        for name, rows in times.items()
    }


class _Case:
    """One answer, seen again and again by a camera that stands still while time goes on."""

    def __init__(self, heads: Heads, kit: MessageKit) -> None:
        self._heads, self._kit, self._config = heads, kit, PipelineConfig(object_min_score=0.0)
        self._rules = ThingRules.of(ReplayedBackend({}), self._config, role_table(CITYSCAPES))
        self._fit = Fit(_INPUT_HW, _INPUT_HW, "stretch", 0.5, _INPUT_HW)
        scene = StreetScene(0, _INPUT_HW[1], _INPUT_HW[0], camera_pitch_rad=0.05)
        self._place = GroundCamera(CameraModel.of(scene.lens.camera_info(), _INPUT_HW), scene.base_from_optical)
        self._encounters, self._stamps = Encounters(CITYSCAPES), _stamps()
        self._builders = [output.build for output in OUTPUTS if output.name in _OWN_TOPICS]
        self.kept = 0

    def run(self) -> tuple[float, float, float]:
        """Milliseconds of finding, following, and telling."""
        config, fit, camera = self._config, self._fit, self._config.camera_configs[0]
        frame = frame_of_rgb(next(self._stamps), "camera", np.zeros((1, 1, 3), np.uint8))
        clock = _Clock()
        objects = self._rules.find(self._heads, fit)
        panoptic = self._rules.panoptic(self._heads, objects, fit)
        clock.lap()
        obstacles = self._encounters.locate(
            objects, self._heads.class_ids, self._rules, self._place, fit, config, camera
        )
        objects, placed = self._encounters.follow(frame, objects, obstacles, np.eye(4), fit, config)
        clock.lap()
        seen = Perception(
            frame.stamp_ns, "camera", _INPUT_HW, Segmentation(None, None), None, None, {}, panoptic=panoptic,
            objects=objects, obstacles=placed, labels=CITYSCAPES,
        )  # fmt: skip
        messages = [build(self._kit, seen, config) for build in self._builders]
        clock.lap()
        assert all(message is not None for message in messages)
        self.kept = len(objects)
        return clock.laps[0], clock.laps[1], clock.laps[2]


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self.laps: list[float] = []
        self._now: Callable[[], float] = time.perf_counter
        self._last = self._now()

    def lap(self) -> None:
        now = self._now()
        self.laps.append((now - self._last) * 1e3)
        self._last = now


def _stamps() -> Iterator[int]:
    """Thirty a second."""
    number = 0
    while True:
        number += 1
        yield 1_700_000_000_000_000_000 + number * 33_333_333
