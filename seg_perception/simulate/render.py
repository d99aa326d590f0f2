"""Draws a snapshot of the world through a camera: colours, and exactly matching class and instance ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.atlas import GROUND, TextureStrip
from seg_perception.simulate.camera import PinholeCamera, View, clip_near
from seg_perception.simulate.cards import Card
from seg_perception.simulate.mesh import FLAT
from seg_perception.simulate.raster import CardView, Raster
from seg_perception.simulate.shading import Shader, SurfaceTable
from seg_perception.simulate.sky import Sky
from seg_perception.simulate.world import Snapshot, World

__all__ = ["NEAREST_CARD_M", "NEAR_M", "Images", "Renderer", "card_views"]

NEAR_M = 0.1
"""No part of a polygon nearer than this along the optical axis is drawn."""

NEAREST_CARD_M = 0.6
"""A card nearer than this is not drawn."""

_SMALLEST_CARD_PX = 3.0
_SKY_SURFACE, _ROAD_SURFACE = 0, 1


@dataclass(frozen=True)
class Images:
    """One rendered view: rgb uint8 `[H, W, 3]`, class_ids uint8 `[H, W]`, instance_ids uint16 `[H, W]`."""

    rgb: np.ndarray
    class_ids: np.ndarray
    instance_ids: np.ndarray


class Renderer:
    """Draws one world through one camera. Keeps textures between calls; what it draws depends on its arguments only."""

    def __init__(self, world: World, camera: PinholeCamera) -> None:
        self._camera = camera
        self._shader = Shader(world.light, TextureStrip(world.pictures.picture), Sky(world.seed, world.light))
        self._optical_rays = camera.rays()
        self._rays: tuple[bytes, np.ndarray] | None = None

    def render(self, snapshot: Snapshot, world_from_optical: np.ndarray) -> Images:
        """Draw what a camera at that pose (float64 `[4, 4]`) sees."""
        view = self._view(world_from_optical)
        # The road's plane up to the horizon, the sky above it.
        inverse = np.maximum(view.rays[2] * np.float32(-1.0 / view.eye[2]), 0)
        raster = Raster(inverse, np.where(inverse > 0, _ROAD_SURFACE, _SKY_SURFACE))
        surfaces = _Surfaces(view.eye[2])
        _draw_mesh(raster, surfaces, view, snapshot)
        _draw_cards(raster, surfaces, view, snapshot.cards)
        table = surfaces.table()
        labels = np.take(table.labels, raster.surface)
        texture, class_ids = labels.astype(np.uint8), (labels >> 8).astype(np.uint8)
        rgb = self._shader.shade(raster, table, texture, view, snapshot)
        return Images(rgb, class_ids, (labels >> 16).astype(np.uint16))

    def _view(self, world_from_optical: np.ndarray) -> View:
        turn = np.ascontiguousarray(world_from_optical[:3, :3])
        if self._rays is None or self._rays[0] != turn.tobytes():
            directions = (self._optical_rays @ turn.T).astype(np.float32)
            self._rays = (turn.tobytes(), np.ascontiguousarray(np.moveaxis(directions, 2, 0)))
        return View(self._camera, world_from_optical, self._rays[1])


@dataclass
class _Surfaces:
    """Numbers surfaces as they are drawn."""

    eye_height: float
    polygons: tuple[np.ndarray, ...] | None = None
    labels: list[tuple[int, int]] = field(default_factory=list)

    @property
    def following(self) -> int:
        """The number of the next surface."""
        return 2 + (len(self.polygons[0]) if self.polygons else 0) + len(self.labels)

    def table(self) -> SurfaceTable:
        sky, road = CITYSCAPES.id_of("sky"), CITYSCAPES.id_of("road")
        ids, instances, colors, texture, distance = self.polygons or ((),) * 5
        cards = len(self.labels)
        class_ids = np.concatenate([[sky, road], ids, [label[0] for label in self.labels]]).astype(np.uint32)
        instance_ids = np.concatenate([[0, 0], instances, [label[1] for label in self.labels]]).astype(np.uint32)
        textures = np.concatenate([[FLAT, GROUND], texture, [FLAT] * cards]).astype(np.uint32)
        paint = np.zeros((2 + len(ids) + cards, 4), np.uint8)
        paint[2 : 2 + len(ids), :3] = colors
        return SurfaceTable(
            labels=instance_ids << 16 | class_ids << 8 | textures,
            paint=paint.view(np.uint32).ravel(),
            distance=np.concatenate([[1.0, self.eye_height], distance, [1.0] * cards]).astype(np.float32),
            first_card=2 + len(ids),
        )


def _draw_mesh(raster: Raster, surfaces: _Surfaces, view: View, snapshot: Snapshot) -> None:
    mesh, camera = snapshot.mesh, view.camera
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
    numbers = surfaces.following + np.arange(len(chosen), dtype=np.int32)
    surfaces.polygons = (
        mesh.class_ids[chosen], mesh.instance_ids[chosen], snapshot.colors[chosen], mesh.texture[chosen], distance,
    )  # fmt: skip
    cut = (corners[..., 2] < NEAR_M).any(axis=1)
    simple = ~cut & (corners[:, 4] == corners[:, 3]).all(axis=1)
    for own, shape in (
        (simple, corners[simple, :4]),
        (~cut & ~simple, corners[~cut & ~simple]),
        (cut, clip_near(corners[cut], NEAR_M)),
    ):
        raster.draw_polygons(camera.project(shape), planes[own], numbers[own])


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


def _draw_cards(raster: Raster, surfaces: _Surfaces, view: View, cards: tuple[Card, ...]) -> None:
    seen = card_views(cards, view, surfaces.following)
    surfaces.labels.extend(label for card, _ in seen for label in card.labels)
    raster.draw_cards([shown for _, shown in seen])
