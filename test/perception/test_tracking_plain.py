"""Filters, costs and assignment against plain ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from plain_tracking import best_pairs, edge_cost, overlap_cost, place_cost, predict, update

from seg_perception.perception.association import associate, box_costs, place_costs
from seg_perception.perception.kalman import LineFilters, PlaneFilters

JUMP_STD = 4.0


def covariance(rng: np.random.Generator) -> np.ndarray:
    turned = rng.normal(size=(2, 2))
    return turned @ turned.T + 0.05 * np.eye(2)


@pytest.mark.parametrize("seed", range(3))
def test_line_filters_are_textbook_filters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places, velocities = rng.normal(0, 50, (4, 6)), rng.normal(0, 9, (4, 6))
    place_std, velocity_std = rng.uniform(0.5, 3, (4, 6)), rng.uniform(1, 20, (4, 6))
    filters = LineFilters(4)
    filters.start(places, velocities, place_std, velocity_std)
    plain = {
        (i, j): (
            np.array([places[i, j], velocities[i, j]]),
            np.diag([place_std[i, j] ** 2, velocity_std[i, j] ** 2]),
        )
        for i in range(4)
        for j in range(6)
    }
    for _ in range(4):
        passed_s, wander = rng.uniform(0.02, 0.3), rng.uniform(1, 60, (4, 6))
        seen = np.flatnonzero(rng.random(6) < 0.7)
        std = rng.uniform(0.5, 4, (4, len(seen)))
        filters.predict(passed_s, wander)
        measured = filters.places[:, seen] + rng.normal(0, 3, (4, len(seen))) + 400 * (rng.random((4, len(seen))) < 0.2)
        filters.update(seen, measured, std, wander[:, seen], JUMP_STD)
        for (i, j), state in plain.items():
            state = predict(*state, passed_s, wander[i, j])
            if j in seen:
                column = int(np.flatnonzero(seen == j)[0])
                noise = np.array([[std[i, column] ** 2]])
                state = update(*state, measured[i, [column]], noise, wander[i, j], JUMP_STD)
            plain[i, j] = state
            mean, cov = state
            expected = [*mean, cov[0, 0], cov[0, 1], cov[1, 1]]
            np.testing.assert_allclose(filters.state[:, i, j], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_plane_filters_are_textbook_filters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    filters, plain = PlaneFilters(), []
    filters.start(5)
    places, noise = rng.normal(0, 9, (5, 2)), np.stack([covariance(rng) for _ in range(5)])
    filters.seat(np.arange(5), places, noise, np.array([1.0, -2.0]), 6.0)
    for place, cov in zip(places, noise):
        whole = np.diag([0, 0, 36.0, 36.0])
        whole[:2, :2] = cov
        plain.append((np.array([*place, 1.0, -2.0]), whole))
    for _ in range(4):
        passed_s, seen = rng.uniform(0.02, 0.3), np.flatnonzero(rng.random(5) < 0.7)
        filters.predict(passed_s, 2.0)
        noise = np.array([covariance(rng) for _ in seen]).reshape(-1, 2, 2)
        measured = filters.means[seen, :2] + rng.normal(0, 1, (len(seen), 2)) + 90 * (rng.random((len(seen), 1)) < 0.2)
        filters.update(seen, measured, noise, 2.0, JUMP_STD)
        for i in range(5):
            plain[i] = predict(*plain[i], passed_s, 2.0)
            if i in seen:
                at = int(np.flatnonzero(seen == i)[0])
                plain[i] = update(*plain[i], measured[at], noise[at], 2.0, JUMP_STD)
            np.testing.assert_allclose(filters.means[i], plain[i][0], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(filters.covariances[i], plain[i][1], rtol=1e-4, atol=1e-4)


def test_costs_are_likelihood_ratios() -> None:
    rng = np.random.default_rng(4)
    low = rng.uniform(0, 60, (2, 12))
    boxes = np.concatenate([low, low + rng.uniform(5, 40, (2, 12))])
    edges = LineFilters(4)
    edges.start(boxes[:, :5] + rng.normal(0, 3, (4, 5)), np.zeros((4, 5)), rng.uniform(0.5, 4, (4, 5)), np.ones(5))
    std, scale = rng.uniform(0.5, 3, (4, 5)), rng.uniform(5, 40, 5)
    costs = box_costs(edges, std, scale, boxes)
    for i in range(5):
        variance = edges.variances[:, i] + std[:, i] ** 2
        for j in range(12):
            expected = sum(
                edge_cost(boxes[k, j] - edges.places[k, i], variance[k], scale[i]) for k in range(4)
            ) + overlap_cost(edges.places[:, i], np.sqrt(variance), boxes[:, j])
            assert costs[i, j] > 1e5 if math.isinf(expected) else costs[i, j] == pytest.approx(expected, abs=1e-9)


def test_place_costs_are_likelihood_ratios() -> None:
    rng = np.random.default_rng(5)
    plane = PlaneFilters()
    plane.start(4)
    plane.seat(np.arange(4), rng.normal(0, 2, (4, 2)), np.stack([covariance(rng) for _ in range(4)]), np.zeros(2), 1.0)
    places, noise = rng.normal(0, 2, (6, 2)), np.stack([covariance(rng) for _ in range(6)])
    costs = place_costs(plane, np.array([3, 1]), places, noise)
    for row, i in enumerate((3, 1)):
        for j in range(6):
            off = places[j] - plane.means[i, :2]
            assert costs[row, j] == pytest.approx(place_cost(off, plane.covariances[i, :2, :2] + noise[j]), abs=1e-9)


def test_no_assignment_is_cheaper() -> None:
    rng = np.random.default_rng(6)
    for _ in range(150):
        costs = rng.normal(0, 20, (rng.integers(0, 5), rng.integers(0, 5)))
        rows, columns = associate(costs.copy())
        found = set(zip(rows.tolist(), columns.tolist()))
        _, sure = best_pairs(costs, -20.0)
        rest = costs.copy()
        for i, j in sure:
            rest[i, :], rest[:, j] = 1e6, 1e6
        total, _ = best_pairs(rest, 0.0)
        assert sure <= found
        assert sum(costs[pair] for pair in found - sure) == pytest.approx(total)
