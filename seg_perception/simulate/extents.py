"""How far the countable things of a snapshot truly reach: the corners of what is drawn of each."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from seg_perception.simulate.camera import View
from seg_perception.simulate.cards import Card
from seg_perception.simulate.world import Snapshot

__all__ = ["corners_of_things"]


def corners_of_things(snapshot: Snapshot, view: View, wanted: Collection[int]) -> dict[int, np.ndarray]:
    """World points float64 `[N, 3]` by instance id, for those of the `wanted` that there are.

    A vehicle's are its corners, those of a part of a card are the box around it: a card faces the camera, so that they
    depend on the view.
    """
    mesh = snapshot.mesh
    own = np.flatnonzero(np.isin(mesh.instance_ids, list(wanted)))
    own = own[np.argsort(mesh.instance_ids[own], kind="stable")]
    ids, begins = np.unique(mesh.instance_ids[own], return_index=True)
    parts = np.split(mesh.corners[own], begins[1:]) if len(ids) else []
    found = {int(number): corners.reshape(-1, 3) for number, corners in zip(ids, parts)}
    for card in snapshot.cards:
        for index, (_, number) in enumerate(card.labels):
            if number in wanted:
                found[number] = _card_corners(card, index, view)
    return found


def _card_corners(card: Card, label: int, view: View) -> np.ndarray:
    codes = card.sprite.levels[0]
    own = (card.label_of_code == label)[codes] & (codes > 0)
    height, width = own.shape
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    up = card.height_m * (1 - np.array([rows[-1] + 1, rows[-1] + 1, rows[0], rows[0]]) / height)
    left, right = columns[0] / width - 0.5, (columns[-1] + 1) / width - 0.5
    aside = card.height_m * card.sprite.aspect * np.array([left, right, left, right])
    turn = view.world_from_optical[:3, :3]
    corners: np.ndarray = np.array(card.foot) + aside[:, None] * turn[:, 0] - up[:, None] * turn[:, 1]
    return corners
