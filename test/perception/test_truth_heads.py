"""Centres and offsets of known instances, by their definition."""

from __future__ import annotations

import numpy as np
import pytest

from seg_perception.perception.truth_heads import true_heads


def things() -> np.ndarray:
    instances = np.zeros((40, 60), np.int64)
    instances[4:20, 8:20] = 3
    instances[10:36, 16:24] = 70000  # hides part of the first; numbers are not dense
    instances[30:38, 40:59:2] = 9  # in stripes
    return instances


@pytest.mark.parametrize("heads_hw", [(40, 60), (20, 30), (10, 15), (13, 17), (80, 120)])
def test_every_cell_points_at_its_middle(heads_hw: tuple[int, int]) -> None:
    instances = things()
    _, offsets = true_heads(instances, heads_hw)
    scale = heads_hw[0] / 40, heads_hw[1] / 60
    for row in range(heads_hw[0]):
        for column in range(heads_hw[1]):
            own = instances[int((row + 0.5) / scale[0]), int((column + 0.5) / scale[1])]
            if not own:
                assert not offsets[:, row, column].any()
                continue
            rows, columns = np.nonzero(instances == own)
            middle = (rows.mean() + 0.5) * scale[0] - 0.5, (columns.mean() + 0.5) * scale[1] - 0.5
            to = row + offsets[0, row, column], column + offsets[1, row, column]
            np.testing.assert_allclose(to, middle, atol=1e-4)


def test_the_heat_is_one_in_the_middles_and_falls_all_around() -> None:
    centers, offsets = true_heads(things(), (20, 30))
    assert centers.dtype == offsets.dtype == np.float32
    assert 0 <= centers.min() and centers.max() == 1
    assert np.count_nonzero(centers == 1) == 3
    for row, column in np.argwhere(centers == 1):
        line = centers[row, column : column + 3]
        assert (np.diff(line) < 0).all()
    one, _ = true_heads(np.where(things() == 9, 9, 0), (20, 30))
    other, _ = true_heads(np.where(things() == 9, 0, things()), (20, 30))
    alone = [true_heads(np.where(things() == name, 1, 0), (20, 30))[0] for name in (3, 9, 70000)]
    assert (one <= centers).all() and other.max() == 1
    # The middles of mass differ from these only where something hides something, which numbers do not change.
    np.testing.assert_array_equal(centers, np.maximum.reduce(alone))


def test_nothing_and_a_single_pixel() -> None:
    centers, offsets = true_heads(np.zeros((16, 16), np.uint16), (4, 4))
    assert not centers.any() and not offsets.any()
    instances = np.zeros((16, 16), np.uint16)
    instances[15, 0] = 65535
    centers, _ = true_heads(instances, (4, 4))
    assert np.argwhere(centers == 1).tolist() == [[3, 0]]
