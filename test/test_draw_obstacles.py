"""Obstacles from above: places, widths, ellipses and arrows measured in the picture."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from seg_perception.birds_eye import birds_eye
from seg_perception.draw_objects import track_colours
from seg_perception.draw_obstacles import ellipses
from seg_perception.objects import Obstacles
from seg_perception.types import Grid

HEIGHT_PX = 660
GRID = Grid(np.full((60, 100), -1, np.int8), 0.0, -6.0, 0.0, 0.2)
"""x from 0 to 20 m, y from -6 to 6 m."""
UNSEEN = birds_eye(GRID, None, None, HEIGHT_PX)


def pixel(x_m: float, y_m: float) -> np.ndarray:
    """(column, row) of a place: the grid's 20 m and 4 % of that around it fill the picture, ahead is up."""
    px_per_m = HEIGHT_PX / (20 * 1.08)
    return np.array([(6.8 - y_m) * px_per_m - 0.5, (20.8 - x_m) * px_per_m - 0.5])


PX_PER_M = float(pixel(0, 0)[1] - pixel(1, 0)[1])


def obstacles_at(positions: list[tuple[float, float]], **changed: object) -> Obstacles:
    """Seen from the origin, a hand wide, known to a millimetre, at a speed that nobody knows."""
    places, m = np.array(positions, np.float64).reshape(-1, 2), len(positions)
    values: dict[str, object] = {
        "frame_id": "base_footprint", "ground_z_m": 0.0, "rows": np.arange(m), "positions_m": places,
        "covariances_m2": np.tile(np.eye(2) * 1e-6, (m, 1, 1)), "widths_m": np.full(m, 0.1), "heights_m": np.ones(m),
        "ranges_m": np.hypot(*places.T), "bearings_rad": np.arctan2(places[:, 1], places[:, 0]),
        "contacts_m": np.zeros((0, 2)), "contact_rows": np.zeros(0, np.intp), "without_contact": 0,
        "velocities_mps": np.full((m, 2), np.nan), "is_relative": False,
    }  # fmt: skip
    return Obstacles(**{**values, **changed})  # type: ignore[arg-type]


def seen(obstacles: Obstacles, track_id: int = 0) -> np.ndarray:
    """(column, row) `[N, 2]` of the pixels in the colour of the first obstacle's track."""
    picture = birds_eye(GRID, None, None, HEIGHT_PX, obstacles, None)
    rows, columns = np.nonzero((np.abs(picture.astype(int) - track_colours(np.array([track_id]))) < 12).all(-1))
    return np.stack([columns, rows], -1)


def test_the_ellipse_is_as_long_as_its_eigenvalues_say() -> None:
    """chi-square with 2 degrees of freedom: 95 % within 5.991; sqrt of it is 2.4477."""
    turn = math.radians(30)
    axes = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    covariance = axes @ np.diag([9.0, 0.25]) @ axes.T
    (outline,) = ellipses(np.array([[5.0, -2.0]]), covariance[None], points=3601)
    along = (outline - (5.0, -2.0)) @ axes
    np.testing.assert_allclose(np.abs(along).max(0), (3 * 2.4477, 0.5 * 2.4477), atol=1e-3)
    np.testing.assert_allclose(outline[0], outline[-1], atol=1e-9)
    drawn = np.random.default_rng(0).multivariate_normal((5.0, -2.0), covariance, 20_000)
    edges, aside = np.diff(outline, axis=0)[::36], drawn[:, None] - outline[None, :-1:36]
    turned = edges[:, 0] * aside[..., 1] - edges[:, 1] * aside[..., 0]  # on the same side of all edges is inside
    assert ((turned > 0).all(1) | (turned < 0).all(1)).mean() == pytest.approx(0.95, abs=0.006)


def test_ellipses_of_odd_covariances() -> None:
    odd = np.array([np.full((2, 2), np.nan), np.diag([np.inf, 1.0]), np.zeros((2, 2)), np.diag([1.0, -1e-9])])
    outlines = ellipses(np.ones((4, 2)), odd)
    assert np.isnan(outlines[:2]).all()
    np.testing.assert_array_equal(outlines[2], np.ones_like(outlines[2]))
    np.testing.assert_allclose(outlines[3, :, 1], 1.0)
    assert ellipses(np.zeros((0, 2)), np.zeros((0, 2, 2))).shape[0] == 0


def test_without_obstacles_the_picture_is_the_same() -> None:
    np.testing.assert_array_equal(birds_eye(GRID, None, None, HEIGHT_PX, obstacles_at([])), UNSEEN)
    np.testing.assert_array_equal(birds_eye(GRID, None, None, HEIGHT_PX, None, np.array([3])), UNSEEN)


@pytest.mark.parametrize("place", [(7.0, 3.0), (12.0, -4.0), (3.0, 0.5)])
def test_an_obstacle_is_where_it_meets_the_ground(place: tuple[float, float]) -> None:
    middle = (seen(obstacles_at([place])).max(0) + seen(obstacles_at([place])).min(0)) / 2
    assert np.abs(middle - pixel(*place)).max() <= 2


def test_the_bracket_is_as_wide_as_the_obstacle_across_the_line_of_sight() -> None:
    ahead = seen(obstacles_at([(12.0, 0.0)], widths_m=np.array([3.0])))
    assert np.ptp(ahead[:, 0]) == pytest.approx(3.0 * PX_PER_M, abs=4)
    near_row, back_row = ahead[:, 1].max(), ahead[:, 1].min()
    assert near_row == pytest.approx(pixel(12.0, 0.0)[1], abs=2.5)
    assert 0 < near_row - back_row < 1.2 * PX_PER_M  # its sides go away from the camera, not on for ever
    # At 90 degrees to the left of a camera that looks to the right: the line of sight is the frame's x axis again.
    turned = {"bearings_rad": np.array([math.pi / 2]), "heading_rad": -math.pi / 2}
    np.testing.assert_array_equal(seen(obstacles_at([(12.0, 0.0)], widths_m=np.array([3.0]), **turned)), ahead)
    # Seen from the side it stands the other way.
    side = obstacles_at([(12.0, 0.0)], widths_m=np.array([3.0]), bearings_rad=np.array([math.pi / 2]))
    assert np.ptp(seen(side)[:, 1]) == pytest.approx(3.0 * PX_PER_M, abs=4)


def test_the_ellipse_in_the_picture_is_as_large_as_the_covariance() -> None:
    covariances = np.array([[[2.25, 0.0], [0.0, 0.25]]])
    found = seen(obstacles_at([(9.0, 1.0)], covariances_m2=covariances))
    np.testing.assert_allclose((found.max(0) + found.min(0)) / 2, pixel(9.0, 1.0), atol=2)
    np.testing.assert_allclose(np.ptp(found, axis=0), 2 * 2.4477 * np.array([0.5, 1.5]) * PX_PER_M, atol=4)


def shaft(relative: bool) -> float:
    """How much of the way to where it will be in a second has the track's colour."""
    moving = obstacles_at([(4.0, 2.0)], velocities_mps=np.array([[8.0, 0.0]]), is_relative=relative)
    found = seen(moving)
    assert found[:, 1].min() == pytest.approx(pixel(12.0, 2.0)[1], abs=5)  # one second at 8 m/s, straight on
    column = round(float(pixel(4.0, 2.0)[0]))
    rows = set(found[np.abs(found[:, 0] - column) <= 1, 1].tolist())
    first, last = (round(float(pixel(x, 2.0)[1])) for x in (11.0, 5.0))
    return sum(row in rows for row in range(first, last)) / (last - first)


def test_an_arrow_is_whole_over_ground_and_dashed_relative_to_the_vehicle() -> None:
    assert shaft(relative=False) > 0.97
    assert 0.3 < shaft(relative=True) < 0.75


def test_what_stands_or_is_not_known_to_move_has_no_arrow() -> None:
    still = birds_eye(GRID, None, None, HEIGHT_PX, obstacles_at([(5.0, 0.0)]))
    for velocity in ((0.0, 0.0), (0.1, -0.1), (np.nan, 2.0)):
        moving = obstacles_at([(5.0, 0.0)], velocities_mps=np.array([velocity]))
        np.testing.assert_array_equal(birds_eye(GRID, None, None, HEIGHT_PX, moving), still)


def test_a_track_has_one_colour_and_its_number_beside_it() -> None:
    obstacles = obstacles_at([(5.0, 2.0), (9.0, -2.0)])
    picture = birds_eye(GRID, None, None, HEIGHT_PX, obstacles, np.array([42, 7]))
    without = birds_eye(GRID, None, None, HEIGHT_PX, obstacles, None)
    for place, colour in zip(((5.0, 2.0), (9.0, -2.0)), track_colours(np.array([42, 7]))):
        column, row = np.rint(pixel(*place)).astype(int)
        around = np.s_[row - 25 : row + 40, column - 60 : column + 60]
        exact = (picture[around] == colour).all(-1)
        assert exact.any()
        assert (picture[around] != without[around]).any(-1).sum() > exact.sum()
    assert (picture[:100] == UNSEEN[:100]).all()


def test_nothing_is_too_odd_to_be_drawn() -> None:
    """Far outside, on the edges, not finite, huge, in any number: the picture stays a picture."""
    rng = np.random.default_rng(0)
    places = [
        (1e12, 0.0),
        (-5.0, 0.0),
        (np.nan, 1.0),
        (20.0, 6.0),
        (0.0, 0.0),
        *rng.uniform(-20, 20, (500, 2)).tolist(),
    ]
    m = len(places)
    covariances = np.tile(np.eye(2), (m, 1, 1)) * rng.choice([0.0, 1.0, 1e12, np.nan], m)[:, None, None]
    odd = obstacles_at(
        places,  # type: ignore[arg-type]
        widths_m=rng.choice([0.0, np.nan, np.inf, 1e9, 1.0], m),
        covariances_m2=covariances,
        velocities_mps=rng.choice([0.0, 1e9, -3.0, np.nan], (m, 2)),
        ranges_m=rng.choice([np.nan, np.inf, 5.0], m),
    )
    for relative in (False, True):
        obstacles = dataclasses.replace(odd, is_relative=relative)
        picture = birds_eye(GRID, None, None, 200, obstacles, np.arange(m) - 3)
        assert picture.shape[0] == 200 and picture.dtype == np.uint8
