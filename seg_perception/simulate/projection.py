"""Where polygons and cards fall on the image: the same for whoever draws them and for whoever asks about a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg_perception.simulate.camera import PinholeCamera, View, clip_near
from seg_perception.simulate.cards import Card
from seg_perception.simulate.mesh import Mesh
from seg_perception.simulate.raster import CardView

__all__ = ["NEAREST_CARD_M", "NEAR_M", "PolygonViews", "card_views", "polygon_views"]

NEAR_M = 0.1
"""No part of a polygon nearer than this along the optical axis is drawn."""

NEAREST_CARD_M = 0.6
"""A card nearer than this is not drawn."""

_SMALLEST_CARD_PX = 3.0

_COVER = 1 + 3e-5
"""By how much ground in the road's plane is preferred to the road: more than rounding makes of their equal depths."""


@dataclass(frozen=True)
class PolygonViews:
    """The P polygons of a mesh that face the camera and may be on its image.

    Attributes:
        chosen: int `[P]`, their numbers in the mesh.
        distance: float64 `[P]`, from the eye to their planes, m.
        planes: float64 `[P, 3]`: inverse depth (1/m) is planes · (column, row, 1).
        shapes: (which of the P, float64 `[p, V, 2]` corners in pixels), one for each way of having corners: four,
            more, cut off near the camera.
    """

    chosen: np.ndarray
    distance: np.ndarray
    planes: np.ndarray
    shapes: tuple[tuple[np.ndarray, np.ndarray], ...]


def polygon_views(mesh: Mesh, view: View) -> PolygonViews:
    """Project a mesh."""
    camera = view.camera
    distance = np.einsum("pc,pc->p", mesh.normals, view.eye - mesh.corners[:, 0])
    facing = np.flatnonzero(distance > 1e-6)
    corners = view.to_optical(mesh.corners[facing])
    inside = _in_sight(corners, camera)
    chosen, corners = facing[inside], corners[inside]
    distance = distance[chosen]
    normals = mesh.normals[chosen] @ view.world_from_optical[:3, :3]
    # n · X = −distance on the plane, with X = (x, y, 1) / inverse depth.
    tilt = -normals / distance[:, None]
    planes = np.empty_like(tilt)
    planes[:, 0], planes[:, 1] = tilt[:, 0] / camera.fx, tilt[:, 1] / camera.fy
    planes[:, 2] = tilt[:, 2] - planes[:, 0] * camera.cx - planes[:, 1] * camera.cy
    planes[(mesh.corners[chosen, :, 2] == 0).all(axis=1)] *= _COVER
    cut = (corners[..., 2] < NEAR_M).any(axis=1)
    simple = ~cut & (corners[:, 4] == corners[:, 3]).all(axis=1)
    kinds = (
        (simple, corners[simple, :4]),
        (~cut & ~simple, corners[~cut & ~simple]),
        (cut, clip_near(corners[cut], NEAR_M)),
    )
    return PolygonViews(
        chosen, distance, planes, tuple((np.flatnonzero(own), camera.project(shape)) for own, shape in kinds)
    )


def _in_sight(corners: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Which polygons `[P, V, 3]` (optical frame) are not wholly to one side of the image, nor too near."""
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    sides = (
        camera.fx * x + (camera.cx + 1) * z >= 0,
        camera.fx * x - (camera.width_px - camera.cx) * z <= 0,
        camera.fy * y + (camera.cy + 1) * z >= 0,
        camera.fy * y - (camera.height_px - camera.cy) * z <= 0,
        z > NEAR_M,
    )
    return np.logical_and.reduce([side.any(axis=1) for side in sides])


def card_views(cards: Sequence[Card], view: View, following: int = 0) -> list[tuple[Card, CardView]]:
    """Where cards fall on the image, without those out of sight; surfaces are numbered from `following` on."""
    if not cards:
        return []
    camera = view.camera
    feet = view.to_optical(np.array([card.foot for card in cards]))
    feet[:, 2] = np.where(feet[:, 2] < NEAREST_CARD_M, np.nan, feet[:, 2])
    pixels = camera.project(feet).tolist()
    heights = (np.array([card.height_m for card in cards]) * camera.fy / feet[:, 2]).tolist()
    views: list[tuple[Card, CardView]] = []
    for card, (column, row), height_px, depth in zip(cards, pixels, heights, feet[:, 2].tolist()):
        half_width = height_px * card.sprite.aspect / 2
        # A comparison with NaN, which stands for too near, is false.
        if not (height_px >= _SMALLEST_CARD_PX and -half_width < column < camera.width_px + half_width):
            continue
        codes = card.sprite.levels[card.sprite.level_for(height_px)]
        scale = codes.shape[0] / height_px
        left = column - codes.shape[1] / scale / 2
        numbers = card.label_of_code + np.int32(following)
        following += len(card.labels)
        views.append((card, CardView(left, row - height_px, scale, 1 / depth, codes, numbers, card.paint)))
    return views
