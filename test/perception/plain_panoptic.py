"""Slow references for panoptic maps: cell by cell, in the order in which one would say it."""

from __future__ import annotations

import math

import numpy as np

from seg_perception.perception.panoptic import PanopticSpec


def centres(heat: np.ndarray, window: int, threshold: float) -> list[tuple[int, int]]:
    """Cells that no cell of the square is hotter than; of equal neighbours the first."""
    reach, found = window // 2, []
    height, width = heat.shape
    for row in range(height):
        for column in range(width):
            rows = range(max(0, row - reach), min(height, row + reach + 1))
            columns = range(max(0, column - reach), min(width, column + reach + 1))
            hottest = all(heat[row, column] >= heat[r, c] for r in rows for c in columns)
            if hottest and heat[row, column] >= threshold:
                if any(abs(r - row) <= reach and abs(c - column) <= reach for r, c in found):
                    continue
                found.append((row, column))
    return found


def group(class_ids: np.ndarray, heat: np.ndarray, offsets: np.ndarray, spec: PanopticSpec) -> np.ndarray:
    """Panoptic-DeepLab's rule, heads as fine as the class map: number of the nearest centre + 1, 0 for stuff."""
    found = centres(heat, spec.nms_cells, spec.centre_threshold)
    groups = np.zeros(class_ids.shape, int)
    for row, column in np.argwhere(spec.is_thing[class_ids]):
        to = row + offsets[0, row, column], column + offsets[1, row, column]
        groups[row, column] = 1 + min(range(len(found)), key=lambda k: math.dist(to, found[k]))
    return groups


def majority(class_ids: np.ndarray, groups: np.ndarray) -> dict[int, int]:
    """The class of most of a group's cells."""
    return {
        int(g): int(np.bincount(class_ids[groups == g]).argmax()) for g in np.unique(groups) if g
    }  # fmt: skip


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def components(class_ids: np.ndarray, is_thing: np.ndarray) -> list[set[tuple[int, int]]]:
    """Cells of one class that touch, corners included, by walking from one to the next."""
    left = {(int(r), int(c)) for r, c in np.argwhere(is_thing[class_ids])}
    found = []
    while left:
        edge = [left.pop()]
        region = set(edge)
        while edge:
            row, column = edge.pop()
            for near in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if near in left and class_ids[near] == class_ids[row, column]:
                    left.discard(near)
                    region.add(near)
                    edge.append(near)
        found.append(region)
    return found


def same_things(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the cells of either that lie in things which are the same in both, whatever their numbers."""
    pairs = set(zip(one.ravel().tolist(), other.ravel().tolist()))
    same = sum(
        int(np.count_nonzero(one == a))
        for a, b in pairs
        if a and b and np.array_equal(one == a, other == b)
    )  # fmt: skip
    return same / max(1, np.count_nonzero((one > 0) | (other > 0)))


def paste(box_px: np.ndarray, mask: np.ndarray, map_hw: tuple[int, int]) -> np.ndarray:
    """A mask stretched over its box, pixel by pixel, bilinearly, zeros around it: bool."""
    out = np.zeros(map_hw, bool)
    (x0, y0, x1, y1), (m, n) = box_px, mask.shape
    for y in range(max(0, math.floor(y0)), min(map_hw[0], math.ceil(y1))):
        for x in range(max(0, math.floor(x0)), min(map_hw[1], math.ceil(x1))):
            v, u = (y + 0.5 - y0) * m / (y1 - y0) - 0.5, (x + 0.5 - x0) * n / (x1 - x0) - 0.5
            total = 0.0
            for i in (math.floor(v), math.floor(v) + 1):
                for j in (math.floor(u), math.floor(u) + 1):
                    if 0 <= i < m and 0 <= j < n:
                        total += float(mask[i, j]) * (1 - abs(v - i)) * (1 - abs(u - j))
            out[y, x] = total >= 0.5
    return out


def quality(
    frames: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], is_thing: np.ndarray, min_area: float
) -> dict[int, tuple[float, int, int, int]]:
    """Sum of IoUs, TP, FP, FN by class, from sets of pixels (Kirillov et al. 2019)."""
    totals = {c: [0.0, 0, 0, 0] for c in range(len(is_thing))}
    for truth_ids, truth_numbers, ids, numbers in frames:
        truth, predicted = _segments(truth_ids, truth_numbers, is_thing), _segments(ids, numbers, is_thing)
        truth = {k: v for k, v in truth.items() if not is_thing[k[0]] or len(v) >= min_area}
        real = set().union(*truth.values()) if truth else set()
        void = {(int(r), int(c)) for r, c in np.ndindex(truth_ids.shape)} - real
        used = set()
        for name, cells in truth.items():
            for other, found in predicted.items():
                if other[0] != name[0]:
                    continue
                iou = len(cells & found) / len((cells | found) - void)
                if iou > 0.5:
                    totals[name[0]][0] += iou
                    totals[name[0]][1] += 1
                    used.add(other)
                    break
            else:
                totals[name[0]][3] += 1
        for name, found in predicted.items():
            if name not in used and len(found & void) * 2 <= len(found):
                totals[name[0]][2] += 1
    return {c: (t[0], int(t[1]), int(t[2]), int(t[3])) for c, t in totals.items()}


def _segments(ids: np.ndarray, numbers: np.ndarray, is_thing: np.ndarray) -> dict[tuple[int, int], set]:
    found: dict[tuple[int, int], set] = {}
    for row, column in np.ndindex(ids.shape):
        class_id, number = int(ids[row, column]), int(numbers[row, column])
        if class_id >= len(is_thing) or (is_thing[class_id] and not number):
            continue
        found.setdefault((class_id, number if is_thing[class_id] else 0), set()).add((int(row), int(column)))
    return found
