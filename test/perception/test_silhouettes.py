"""Shapes laid over each other, against sets of cells."""

from __future__ import annotations

import numpy as np
import pytest

from seg_perception.fit import Fit
from seg_perception.perception.silhouettes import Silhouettes, overlaps, shifts_px


def silhouettes(instance_map: np.ndarray, camera_hw: tuple[int, int] | None = None) -> Silhouettes:
    """On a camera's image of this size, or of the map's own."""
    cells_hw = instance_map.shape
    fit = Fit(camera_hw or cells_hw, None, "stretch", 0.5, camera_hw or cells_hw)
    return Silhouettes(instance_map.astype(np.uint16), fit.class_map(cells_hw))


def cells_of(instance_map: np.ndarray, number: int) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(instance_map == number))}


def some_map(rng: np.random.Generator, things: int, hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Rectangles, over each other, some of them at the border."""
    out = np.zeros(hw, np.uint16)
    for number in range(1, things + 1):
        y, x = rng.integers(-4, hw[0]), rng.integers(-4, hw[1])
        out[max(y, 0) : y + rng.integers(5, 20), max(x, 0) : x + rng.integers(5, 20)] = number
    return out


@pytest.mark.parametrize("seed", range(6))
def test_overlaps_are_those_of_sets_of_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, now = some_map(rng, 9), some_map(rng, 7)
    of, rows = np.array([3, 1, 9, 5]), np.array([0, 6, 2])
    x, y = rng.integers(-8, 9, 4), rng.integers(-6, 7, 4)
    found = overlaps(silhouettes(before), silhouettes(now), of, (x.astype(float), y.astype(float)), rows)
    for i, number in enumerate(of):
        moved = {(r + y[i], c + x[i]) for r, c in cells_of(before, number)}
        moved = {(r, c) for r, c in moved if 0 <= r < 48 and 0 <= c < 64}
        for j, row in enumerate(rows):
            other = cells_of(now, row + 1)
            expected = len(moved & other) / max(1, len(moved | other))
            assert found[i, j] == pytest.approx(expected, abs=1e-9)


def test_pixels_become_cells() -> None:
    """A map half as fine as the image, along x a quarter: 8 pixels are 2 cells, and 4 are 2."""
    before, now = np.zeros((40, 40), np.uint16), np.zeros((40, 40), np.uint16)
    before[10:20, 10:20], now[12:22, 12:22] = 1, 1
    one, other = silhouettes(before, (80, 160)), silhouettes(now, (80, 160))
    (iou,), (too_far,) = (
        overlaps(one, other, np.array([1]), (np.array([x]), np.array([4.0])), np.array([0])) for x in (8.0, 1e9)
    )
    assert iou == 1.0 and too_far == 0.0


def test_large_maps_are_thinned_out_and_say_about_the_same() -> None:
    rng = np.random.default_rng(0)
    before, now = (np.kron(some_map(rng, 6), np.ones((20, 20), np.uint16)) for _ in range(2))
    args = np.arange(1, 7), (np.full(6, 3.0), np.full(6, -5.0)), np.arange(6)
    found = overlaps(silhouettes(before), silhouettes(now), *args)
    for i in range(6):
        moved = np.roll(before == i + 1, (-5, 3), (0, 1))
        for j in range(6):
            other = now == j + 1
            assert found[i, j] == pytest.approx((moved & other).sum() / max(1, (moved | other).sum()), abs=0.06)
    assert len(silhouettes(before).counted.cells) <= 10_000


@pytest.mark.parametrize("hw", [(0, 0), (0, 9), (9, 0), (1, 1), (5, 300)])
def test_maps_of_every_size(hw: tuple[int, int]) -> None:
    onto = Fit((8, 8), None, "stretch", 0.5, (8, 8)).class_map((8, 8))
    for value in (0, 1, 65535):
        shapes = Silhouettes(np.full(hw, value, np.uint16), onto)
        found = overlaps(shapes, shapes, np.array([1, 65535]), (np.zeros(2), np.zeros(2)), np.array([0, 3, 65534]))
        expected = np.zeros((2, 3))
        if value and np.prod(hw):
            expected[0 if value == 1 else 1, 0 if value == 1 else 2] = 1.0
        np.testing.assert_allclose(found, expected)


def test_an_edge_at_the_border_does_not_say_how_far_a_thing_went() -> None:
    borders = (-0.5, -0.5, 99.5, 79.5)
    places = np.array([[-0.5, 40.0, 20.0], [10.0, -0.5, 30.0], [30.0, 60.0, 99.5], [40.0, 30.0, 60.0]])
    moves = np.array([[0.0, -4.0, 5.0], [1.0, 0.0, 1.0], [-9.0, -6.0, 0.0], [3.0, 7.0, 2.0]])
    x, y = shifts_px(places, moves, borders)
    np.testing.assert_allclose(x, [-9.0, -5.0, 5.0])
    np.testing.assert_allclose(y, [2.0, 7.0, 1.5])
