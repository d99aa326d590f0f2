"""Tracking's arithmetic once more: textbook matrices, one thing at a time, and every assignment tried."""

from __future__ import annotations

import itertools
import math

import numpy as np


def predict(mean: np.ndarray, cov: np.ndarray, passed_s: float, wander: float) -> tuple[np.ndarray, np.ndarray]:
    """A constant-velocity filter with state (places, velocities), of any dimension, after some time.

    The noise is integrated numerically: what a velocity that wanders adds up to, in steps far shorter than the time.
    """
    half = len(mean) // 2
    steps = 200
    move = np.eye(2 * half)
    move[:half, half:] = passed_s / steps * np.eye(half)
    kick = np.zeros((2 * half, 2 * half))
    kick[half:, half:] = wander**2 * passed_s / steps * np.eye(half)
    for _ in range(steps):
        mean, cov = move @ mean, move @ (cov + kick / 2) @ move.T + kick / 2
    return mean, cov


def update(
    mean: np.ndarray, cov: np.ndarray, measured: np.ndarray, noise: np.ndarray, wander: float, jump_std: float
) -> tuple[np.ndarray, np.ndarray]:
    """What the filter knows after a measurement of the places: in information form, so as not to be the same code."""
    half = len(mean) // 2
    off = measured - mean[:half]
    total = cov[:half, :half] + noise
    if off @ np.linalg.solve(total, off) > jump_std**2:
        seated = np.zeros_like(cov)
        seated[:half, :half] = noise
        seated[half:, half:] = cov[half:, half:] + wander**2 * np.eye(half)
        return np.concatenate([measured, mean[half:]]), seated
    look = np.eye(2 * half)[:half]
    prior, seen = np.linalg.inv(cov), np.linalg.inv(noise)
    new_cov = np.linalg.inv(prior + look.T @ seen @ look)
    return new_cov @ (prior @ mean + look.T @ seen @ measured), new_cov


def edge_cost(off: float, variance: float, scale: float) -> float:
    """Minus twice the log of a normal likelihood over that of anywhere within eight sizes; at most that of hiding."""
    likelihood = math.exp(-0.5 * off * off / variance) / math.sqrt(2 * math.pi * variance)
    if likelihood == 0.0:
        return 2.0
    return min(-2 * math.log(likelihood * 8 * scale), 2.0)


def overlap_cost(expected: np.ndarray, stds: np.ndarray, box: np.ndarray) -> float:
    """10 without overlap, −10 where 60 % of the smaller box are in the other; infinite where they are too far apart."""
    sides = []
    for low, high in ((0, 2), (1, 3)):
        side = min(expected[high], box[high]) - max(expected[low], box[low])
        if side < -3 * max(stds[low], stds[high]) - 1:
            return math.inf
        sides.append(max(side, 0.0))
    areas = [max((b[2] - b[0]) * (b[3] - b[1]), 1.0) for b in (expected, box)]
    return 10 - 20 * min(sides[0] * sides[1] / min(areas) / 0.6, 1.0)


def place_cost(off: np.ndarray, cov: np.ndarray) -> float:
    """The same for a place, over anywhere on 100 m²; half of it, and at most half of 2."""
    log_likelihood = -0.5 * off @ np.linalg.solve(cov, off) - math.log(2 * math.pi * math.sqrt(np.linalg.det(cov)))
    return 0.5 * min(-2 * (log_likelihood + math.log(100.0)), 2.0)


def best_pairs(costs: np.ndarray, below: float) -> tuple[float, set[tuple[int, int]]]:
    """The least total of cost − below over all ways to pair some rows with some columns, and the pairs."""
    rows, columns = costs.shape
    best, pairs = 0.0, set[tuple[int, int]]()
    for count in range(1, min(rows, columns) + 1):
        for some in itertools.combinations(range(rows), count):
            for others in itertools.permutations(range(columns), count):
                chosen = set(zip(some, others))
                total = sum(costs[pair] - below for pair in chosen)
                if total < best - 1e-12:
                    best, pairs = total, chosen
    return best, pairs
