"""Grid and boundary against a plain walk over the ground, cell by cell and ray by ray."""

from __future__ import annotations

import math

import numpy as np
import pytest
from plain_ground import (
    FAN,
    GRID,
    LENSES,
    POSES,
    ROAD,
    ROLES,
    THINGS,
    WALK,
    WALL,
    a_little_nearer,
    plain_contacts,
    plain_stops,
    pose,
    scribbled,
    seen_at,
    tables,
)


@pytest.mark.parametrize("where", list(POSES))
@pytest.mark.parametrize("lens", list(LENSES))
@pytest.mark.parametrize("seed", range(3))
def test_the_grid_is_what_a_plain_walk_over_its_cells_finds(seed: int, lens: str, where: str) -> None:
    picture, made = scribbled(seed), tables(pose(*POSES[where]), LENSES[lens])
    made.read(picture, ROLES)
    values = made.grid(caution_value=50)
    ground = made.ground
    x, y = GRID.centres()
    expected, certain = np.full(values.shape, -1), np.ones(values.shape, bool)
    hidden = np.zeros(values.shape, bool)
    for row, column in np.ndindex(values.shape):
        place = np.array([x[column], y[row]])
        kind, (i, j), margin = seen_at(ground, picture, place)
        nearer, _, near_margin = seen_at(ground, picture, a_little_nearer(ground, place))
        # On the line between two pixels either is right.
        certain[row, column] = min(margin, near_margin) > 1e-3
        hidden[row, column] = kind in THINGS
        if kind == ROAD:
            around = picture[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            expected[row, column] = -1 if THINGS & set(around.ravel().tolist()) else 0
        elif kind == WALK:
            expected[row, column] = 50
        elif kind in THINGS and nearer in (ROAD, WALK, None):
            expected[row, column] = 100
    for place in plain_contacts(ground, picture):
        column, row = (
            math.floor((place[k] - low) / GRID.resolution_m) for k, low in enumerate((x[0] - 0.1, y[0] - 0.1))
        )
        if 0 <= row < values.shape[0] and 0 <= column < values.shape[1]:
            near = np.s_[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            if not hidden[near].any():
                expected[row, column] = 100
            certain[row, column] &= bool(certain[near].all())
    np.testing.assert_array_equal(values[certain], expected[certain])
    assert certain.mean() > 0.9 and min(int((expected == v).sum()) for v in (-1, 0, 50, 100)) > 10


@pytest.mark.parametrize("where", list(POSES))
@pytest.mark.parametrize("lens", list(LENSES))
@pytest.mark.parametrize("seed", range(3))
def test_the_boundary_is_where_a_plain_walk_along_each_ray_stops(seed: int, lens: str, where: str) -> None:
    picture, made = scribbled(seed), tables(pose(*POSES[where]), LENSES[lens])
    made.read(picture, ROLES)
    found = made.boundary()
    ground = made.ground
    finite = 0
    thin = [place - ground.foot for place in plain_contacts(ground, picture)]
    for bearing, value in zip(found.bearings_rad + ground.heading_rad, found.ranges_m.tolist()):
        between = [
            np.hypot(*p)
            for p in thin
            if abs(math.remainder(math.atan2(p[1], p[0]) - bearing, math.tau)) <= FAN.step_rad / 2 + 1e-9
        ]
        if any(abs(value - distance) < 1e-5 * value for distance in between):
            continue  # a thing between two rays
        stops = plain_stops(ground, picture, bearing, found.range_min_m, found.range_max_m)
        if math.isfinite(value):
            along = np.array([math.cos(bearing), math.sin(bearing)])
            there = ground.project(ground.foot + along * value)
            misses = [math.dist(ground.project(ground.foot + along * at), there) for at, _ in stops if at < math.inf]
            assert min(misses) < 0.6, bearing
            finite += 1
        else:
            assert any(at == math.inf and np.array_equal(end, value, equal_nan=True) for at, end in stops), bearing
    assert finite > 15


@pytest.mark.parametrize("where", list(POSES))
def test_ranges_are_those_of_the_samples_to_the_last_digit(where: str) -> None:
    """Half way, in the image, between the last sample on the road and the first that is not on it."""
    made = tables(pose(*POSES[where]))
    picture = scribbled(7)
    made.read(picture, ROLES)
    found, compared = made.boundary(), 0
    thin = [np.hypot(*(place - made.ground.foot)) for place in plain_contacts(made.ground, picture)]
    assert made._rays is not None
    inverse = made._rays.inverse_range  # how finely a ray is sampled is the code's own business
    for bearing, value in zip((found.bearings_rad + made.ground.heading_rad).tolist(), found.ranges_m.tolist()):
        along, before, expected, clear = np.array([math.cos(bearing), math.sin(bearing)]), None, math.inf, True
        for q in inverse.tolist():
            kind, _, margin = seen_at(made.ground, picture, made.ground.foot + along / q)
            clear &= margin > 1e-3
            if kind != ROAD and not (kind is None and before is None):
                here = kind in (WALK, WALL, 13, 11)
                expected = 2 / (q + (before or q)) if here else math.nan
                break
            before = q if kind == ROAD else None
        if clear and not any(abs(value - distance) < 1e-5 * value for distance in thin):
            expected = math.nan if before is None and expected == math.inf else expected
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-9)
            compared += 1
    assert compared > 20
