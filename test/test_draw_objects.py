"""Objects over a camera image, held against plain loops and against what was there before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from seg_perception.draw_objects import draw_objects, track_colours
from seg_perception.labels import CITYSCAPES, Label, LabelSet
from seg_perception.lettering import Lettering
from seg_perception.objects import Objects, Obstacles

PERSON, CAR = CITYSCAPES.id_of("person"), CITYSCAPES.id_of("car")
GREY = 90


def plain(height: int = 480, width: int = 640) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def objects_at(
    boxes: list[tuple[float, float, float, float]],
    class_ids: list[int] | None = None,
    track_ids: list[int] | None = None,
) -> Objects:
    """Objects with these boxes on the image, the instance map left empty."""
    n = len(boxes)
    return Objects(
        instance_map=np.zeros((48, 64), np.uint16),
        class_ids=np.array(class_ids or [PERSON] * n, np.uint8),
        scores=np.ones(n, np.float32),
        areas=np.arange(n, 0, -1).astype(np.int32),
        boxes=np.zeros((n, 4), np.int32),
        track_ids=np.array(track_ids or range(1, n + 1), np.int64),
        boxes_px=np.array(boxes, np.float64).reshape(n, 4),
    )


def obstacles_of(
    rows: list[int], ranges_m: list[float], velocities: list[tuple[float, float]] | None = None
) -> Obstacles:
    m = len(rows)
    return Obstacles(
        "base_footprint", 0.0, np.array(rows, np.intp), np.zeros((m, 2)), np.zeros((m, 2, 2)), np.ones(m), np.ones(m),
        np.array(ranges_m), np.zeros(m), np.zeros((0, 2)), np.zeros(0, np.intp), 0,
        np.full((m, 2), np.nan) if velocities is None else np.array(velocities), is_relative=False,
    )  # fmt: skip


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that found room, in order; they are written all the same."""
    texts: list[str] = []
    write = Lettering.write

    def spy(self: Lettering, text: str, *args: object) -> bool:
        done = write(self, text, *args)  # type: ignore[arg-type]
        texts.extend([text] * done)
        return done

    monkeypatch.setattr(Lettering, "write", spy)
    return texts


def some_map(height: int, width: int, n: int) -> np.ndarray:
    """Rectangles over each other, some at the edges."""
    rng, out = np.random.default_rng(5), np.zeros((height, width), np.uint16)
    for number in range(1, n + 1):
        top, left = rng.integers(-8, height - 4), rng.integers(-8, width - 4)
        out[max(top, 0) : top + 22, max(left, 0) : left + 15] = number
    return out


def test_outlines_are_the_pixels_beside_something_else_and_no_others() -> None:
    instances = some_map(70, 90, 9)
    objects = dataclasses.replace(objects_at([(0, 0, 1, 1)] * 9, track_ids=[*range(40, 49)]), boxes_px=None)
    before = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    picture = before.copy()
    assert draw_objects(picture, objects, None, CITYSCAPES, instances) is picture
    colours, casings = track_colours(np.arange(40, 49)), set()
    for y in range(70):
        for x in range(90):
            around = instances[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            if (around == instances[y, x]).all():
                assert (picture[y, x] == before[y, x]).all()
            elif instances[y, x]:
                assert (picture[y, x] == colours[instances[y, x] - 1]).all()
            else:
                casings.add(tuple(picture[y, x].tolist()))
    assert len(casings) == 1 and max(max(casings)) < 30  # one dark line around all


def test_outlines_are_thicker_in_larger_pictures() -> None:
    changed = []
    for height, width in ((480, 640), (1080, 1440)):
        instances = np.zeros((height, width), np.uint16)
        instances[height // 4 : height // 2, width // 4 : width // 2] = 1
        objects = dataclasses.replace(objects_at([(0, 0, 1, 1)]), boxes_px=None)
        picture = draw_objects(plain(height, width), objects, None, CITYSCAPES, instances)
        changed.append(int((picture[height // 3] != GREY).any(-1).sum()))
    assert changed == [4, 8]  # a coloured and a dark line on either side


def test_a_track_keeps_its_colour_and_neighbours_differ() -> None:
    ids = np.array([7, 3, -1, 2**40, 7, 60, 61])
    np.testing.assert_array_equal(track_colours(ids)[::-1], track_colours(ids[::-1].copy()))
    np.testing.assert_array_equal(track_colours(ids)[0], track_colours(ids)[4])
    colours = track_colours(np.arange(200)).astype(float)
    assert (colours @ (0.299, 0.587, 0.114)).min() >= 140  # seen on a dark car
    for apart in range(1, 8):
        assert np.abs(colours[apart:] - colours[:-apart]).sum(1).min() > 40, apart
    assert len({tuple(c) for c in colours[:60].tolist()}) == 60


def test_a_label_says_class_number_distance_and_speed(written: list[str]) -> None:
    boxes = [(30, 100.0 + 60 * i, 200, 130.0 + 60 * i) for i in range(6)]
    objects = objects_at(boxes, [PERSON, CAR, CAR, CAR, CAR, 77], [12, 3, 4, 5, 6, 7])
    velocities = [(1.2, 0.5), (np.nan, np.nan), (0.1, 0.1), (-3.0, 4.0)]
    obstacles = obstacles_of([0, 1, 3, 2], [8.42, 19.96, 41.4, 30.0], velocities)
    draw_objects(plain(), objects, obstacles, CITYSCAPES)
    assert written == [
        "person 12  8.4 m  1.3 m/s", "car 3  20.0 m", "car 4  30 m  5.0 m/s", "car 5  41 m", "car 6", "class 77 7",
    ]  # fmt: skip
    written.clear()
    draw_objects(plain(), objects, dataclasses.replace(obstacles, is_relative=True), CITYSCAPES)
    assert "person 12  8.4 m  1.3 m/s rel" in written and "car 4  30 m  5.0 m/s rel" in written
    written.clear()
    draw_objects(plain(), dataclasses.replace(objects, track_ids=None), None, CITYSCAPES)
    assert written == ["person", "car", "car", "car", "car", "class 77"]


def test_the_nearest_is_named_first_and_who_finds_no_room_is_not(written: list[str]) -> None:
    objects = objects_at([(300, 200, 340, 240)] * 5, track_ids=[1, 2, 3, 4, 5])
    draw_objects(plain(), objects, obstacles_of([0, 1, 2, 3], [30.0, 20.0, 10.0, np.nan]), CITYSCAPES)
    assert written[:3] == ["person 3  10.0 m", "person 2  20 m", "person 1  30 m"]  # above, inside, below
    assert len(written) == 3


def test_a_label_without_room_is_shortened(written: list[str]) -> None:
    """Two take all the room at their place; the fourth is so far to the side that half a label has room."""
    texts = [f"person {i}  1.{i - 1} m  9.0 m/s" for i in (1, 2, 3, 4)]
    sizes = Lettering(plain())
    aside = 310 + sizes.size(texts[0])[0] / 2 + sizes.size("4  1.3 m")[0] / 2 + 6
    row = objects_at([(x - 10, 200, x + 10, 204) for x in (310, 310, 310, aside)])
    draw_objects(plain(), row, obstacles_of([*range(4)], [1.0, 1.1, 1.2, 1.3], [(9.0, 0)] * 4), CITYSCAPES)
    assert written == [*texts[:2], "4  1.3 m"]


@pytest.mark.parametrize("hw", [(480, 640), (240, 320), (1080, 1920)])
@pytest.mark.parametrize(
    "box", [(-50, -40, 20, 30), (0.6, 0.1, 0.98, 1.3), (0.9, -0.2, 1.5, 0.05), (-9, 0.95, 0.01, 9), (-5, -5, 5, 5)]
)
def test_labels_and_corners_stay_inside(hw: tuple[int, int], box: tuple[float, ...], written: list[str]) -> None:
    """Above and below the picture lies memory that must not change; a text that runs off would wrap around to it."""
    height, width = hw
    scaled = tuple(v * side if abs(v) < 9 else v for v, side in zip(box, (width, height, width, height)))
    memory = np.full((height + 40, width, 3), GREY, np.uint8)
    picture = memory[20:-20]
    draw_objects(picture, objects_at([scaled]), obstacles_of([0], [8.4]), CITYSCAPES)  # type: ignore[list-item]
    assert written == ["person 1  8.4 m"]
    assert (memory[:20] == GREY).all() and (memory[-20:] == GREY).all()
    assert (picture != GREY).any()
    # what is written is near the box, and whole: letters do not touch both edges
    columns = np.flatnonzero((picture != GREY).any((0, 2)))
    assert columns.max() - columns.min() < width - 1 or box == (-5, -5, 5, 5)


@pytest.mark.parametrize(
    "box", [(np.nan, 1, 5, 5), (700, 10, 800, 20), (-90, 10, -5, 20), (10, -50, 20, -1), (10, 480, 20, 500)]
)
def test_a_box_that_is_not_in_the_picture_leaves_it_alone(box: tuple[float, float, float, float]) -> None:
    picture = draw_objects(plain(), objects_at([box]), None, CITYSCAPES)
    assert (picture == GREY).all()


def test_endless_boxes_are_drawn_as_far_as_they_are_seen(written: list[str]) -> None:
    draw_objects(plain(), objects_at([(-1e300, 50, 1e300, 90), (-np.inf, 200, np.inf, 220)]), None, CITYSCAPES)
    assert written == ["person 1", "person 2"]


def test_no_object_no_change() -> None:
    before = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    picture = draw_objects(before.copy(), Objects.none((24, 32)), None, CITYSCAPES, np.zeros((48, 64), np.uint16))
    np.testing.assert_array_equal(picture, before)
    picture = draw_objects(before.copy(), Objects.none((24, 32)), obstacles_of([], []), CITYSCAPES)
    np.testing.assert_array_equal(picture, before)


def test_of_very_many_objects_only_so_many_are_named(written: list[str]) -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, (600, 440), (500, 2))
    objects = objects_at([(x, y, x + 30, y + 30) for x, y in corners.tolist()])
    draw_objects(plain(), objects, obstacles_of([*range(500)], [*range(500, 0, -1)]), CITYSCAPES)
    assert 20 <= len(written) <= 60
    assert written[0] == "person 500  1.0 m"


@pytest.mark.parametrize("name", ["x" * 10_000, "\ud800", "a\nb\0c", "voûte – 道", " "], ids=ascii)
def test_whatever_a_class_is_called_it_is_drawn(name: str, written: list[str]) -> None:
    labels = LabelSet("odd", (Label(0, name, (1, 2, 3), True, "obstacle"),))
    picture = draw_objects(plain(), objects_at([(100, 100, 200, 200)], class_ids=[0]), None, labels)
    assert len(written) == 1 and len(written[0]) < 40
    assert (picture[60:100] != GREY).any()


def test_where_nothing_fits_nothing_is_written(written: list[str]) -> None:
    draw_objects(plain(6, 12), objects_at([(0, 0, 8, 5)]), obstacles_of([0], [5.0]), CITYSCAPES)
    assert written == []


@pytest.mark.parametrize(
    ("rgb", "instances", "text"),
    [
        (plain().astype(np.float32), None, "rgb must be contiguous uint8"),
        (plain()[:, ::2], None, "rgb must be contiguous uint8"),
        (plain()[..., 0].copy(), None, "rgb must be contiguous uint8"),
        (plain(), np.zeros((48, 64), np.uint16), r"instance_px must be uint16 \[480, 640\]"),
        (plain(), np.zeros((480, 640), np.int32), "instance_px must be uint16"),
    ],
)
def test_what_cannot_be_drawn_is_refused(rgb: np.ndarray, instances: np.ndarray | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        draw_objects(rgb, objects_at([(1, 1, 9, 9)]), None, CITYSCAPES, instances)


def test_texts_find_room_beside_each_other_and_say_when_there_is_none() -> None:
    picture, boxes = plain(100, 200), []
    lettering = Lettering(picture)
    for i in range(40):
        before = picture.copy()
        done = lettering.write(f"text {i}", [(10 * i - 20, 7 * i % 90), (150, 3 * i)], (255, 255, 255))
        changed = (picture != before).any(-1)
        assert changed.any() == done
        if done:
            ys, xs = np.nonzero(changed)
            boxes.append((xs.min(), ys.min(), xs.max(), ys.max()))
    assert 4 < len(boxes) < 40
    for i, (l0, t0, r0, b0) in enumerate(boxes):
        for l1, t1, r1, b1 in boxes[:i]:
            assert r0 < l1 or r1 < l0 or b0 < t1 or b1 < t0
    assert not lettering.write("", [(0, 0)], (255, 255, 255))
    assert lettering.size("") == (0, 0)
    assert lettering.size("long " * 30)[0] <= lettering.size("m" * 48)[0]


@pytest.mark.parametrize("ground", [0, 90, 255])
def test_letters_are_read_on_any_ground(ground: int) -> None:
    picture = np.full((60, 200, 3), ground, np.uint8)
    assert Lettering(picture).write("HHHH", [(20, 20)], (250, 240, 230))
    assert (picture >= 200).all(-1).sum() > 20 and (picture <= 20).all(-1).sum() > 20
