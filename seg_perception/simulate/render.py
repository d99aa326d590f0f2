"""Draws a snapshot of the world through a camera: colours, and exactly matching class and instance ids."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate.atlas import GROUND, TextureStrip
from seg_perception.simulate.camera import PinholeCamera, View
from seg_perception.simulate.cards import Card
from seg_perception.simulate.lens import Lens
from seg_perception.simulate.mesh import FLAT
from seg_perception.simulate.projection import card_views, polygon_views
from seg_perception.simulate.raster import Raster
from seg_perception.simulate.shading import Shader, SurfaceTable
from seg_perception.simulate.sky import Sky
from seg_perception.simulate.world import Snapshot, World

__all__ = ["Images", "Renderer"]

_SKY_SURFACE, _ROAD_SURFACE = 0, 1


@dataclass(frozen=True)
class Images:
    """One rendered view: class_ids uint8 `[H, W]`, instance_ids uint16 `[H, W]`, rgb uint8 `[H, W, 3]`.

    Unshaded, `rgb` is empty: `[0, 0, 3]`.
    """

    rgb: np.ndarray
    class_ids: np.ndarray
    instance_ids: np.ndarray


class Renderer:
    """Draws one world through one camera. Keeps textures between calls; what it draws depends on its arguments only.

    Args:
        world: what there is.
        camera: a camera without distortion, or a lens.
        turning: the camera's direction changes from frame to frame; the sky, which is then drawn anew for each, is
            drawn in less detail.
    """

    def __init__(self, world: World, camera: PinholeCamera | Lens, turning: bool = False) -> None:
        self._lens = camera if isinstance(camera, Lens) else Lens(camera)
        self._camera = self._lens.view
        step_px = (2 if self._camera is self._lens.camera else 4) if turning else 1
        sky = Sky(world.seed, world.light, step_px)
        self._shader = Shader(world.light, TextureStrip(world.pictures.picture), sky)
        self._optical_rays: np.ndarray | None = None
        self._rays: tuple[bytes, np.ndarray] | None = None
        self._empty: tuple[bytes, Raster] | None = None

    def render(self, snapshot: Snapshot, world_from_optical: np.ndarray, shaded: bool = True) -> Images:
        """Draw what a camera at that pose (float64 `[4, 4]`) sees; ids alone unless `shaded`."""
        heading = snapshot.bend.heading(snapshot.street_place(world_from_optical[:2, 3])[0]) if shaded else 0.0
        view = self.view(world_from_optical, shaded, heading)
        raster = _empty_street(view.rays[2], view.eye[2]) if shaded else self._empty_street_again(view)
        surfaces = _Surfaces(view.eye[2])
        _draw_mesh(raster, surfaces, view, snapshot)
        _draw_cards(raster, surfaces, view, snapshot.cards)
        table = surfaces.table()
        if not shaded:
            surface = self._lens.ids(raster.surface)
            # "clip" spares a check that nothing here needs.
            own = (np.take(ids, surface, mode="clip") for ids in _ids(table.labels))
            return Images(np.empty((0, 0, 3), np.uint8), *own)
        labels = np.take(table.labels, raster.surface)
        rgb = self._shader.shade(raster, table, labels.astype(np.uint8), view, snapshot)
        return Images(self._lens.colors(rgb), *_ids(self._lens.ids(labels)))

    def view(self, world_from_optical: np.ndarray, with_rays: bool = False, heading_rad: float = 0.0) -> View:
        """The camera that is drawn through at a pose; without rays for whoever shades nothing."""
        turn = np.ascontiguousarray(world_from_optical[:3, :3])
        if heading_rad:
            turn = _turned_back(turn, heading_rad)
        if not with_rays:
            return View(self._camera, world_from_optical, np.empty((3, 0, 0), np.float32))
        if self._rays is None or self._rays[0] != turn.tobytes():
            if self._optical_rays is None:
                self._optical_rays = self._camera.rays()
            directions = (self._optical_rays @ turn.T).astype(np.float32)
            self._rays = (turn.tobytes(), np.ascontiguousarray(np.moveaxis(directions, 2, 0)))
        return View(self._camera, world_from_optical, self._rays[1], heading_rad)

    def _empty_street_again(self, view: View) -> Raster:
        """Remembered while the camera keeps its direction and height, which a whole drive may do."""
        key = view.world_from_optical[2].tobytes()
        if self._empty is None or self._empty[0] != key:
            self._empty = (key, _empty_street(self._upward_rays(view.world_from_optical), view.eye[2]))
        return Raster(self._empty[1].inverse_depth.copy(), self._empty[1].surface.copy())

    def _upward_rays(self, world_from_optical: np.ndarray) -> np.ndarray:
        """float32 `[H, W]`, how much every ray rises: all that ids need of the rays."""
        camera, (right, down, forward) = self._camera, world_from_optical[2, :3]
        across = (np.arange(camera.width_px) - camera.cx) / camera.fx * right + forward
        rises = (np.arange(camera.height_px) - camera.cy) / camera.fy * down
        return (rises[:, None] + across).astype(np.float32)


def _empty_street(upward: np.ndarray, eye_height: float) -> Raster:
    """The road's plane up to the horizon, the sky above it; `upward` is how much every ray rises, float32 `[H, W]`."""
    inverse = np.maximum(upward * np.float32(-1.0 / eye_height), 0)
    return Raster(inverse, np.where(inverse > 0, _ROAD_SURFACE, _SKY_SURFACE))


def _turned_back(turn: np.ndarray, heading_rad: float) -> np.ndarray:
    """A rotation `[3, 3]` in axes turned to the left: the same to the last bit all along a bend."""
    c, s = math.cos(heading_rad), math.sin(heading_rad)
    turned = turn.copy()
    turned[:2] = np.round([c * turn[0] + s * turn[1], c * turn[1] - s * turn[0]], 12)
    return turned


def _ids(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (labels >> 8).astype(np.uint8), (labels >> 16).astype(np.uint16)


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
    mesh, seen = snapshot.mesh, polygon_views(snapshot.mesh, view)
    chosen = seen.chosen
    numbers = surfaces.following + np.arange(len(chosen), dtype=np.int32)
    surfaces.polygons = (
        mesh.class_ids[chosen], mesh.instance_ids[chosen], snapshot.colors[chosen], mesh.texture[chosen], seen.distance,
    )  # fmt: skip
    for own, corners in seen.shapes:
        raster.draw_polygons(corners, seen.planes[own], numbers[own])


def _draw_cards(raster: Raster, surfaces: _Surfaces, view: View, cards: tuple[Card, ...]) -> None:
    seen = card_views(cards, view, surfaces.following)
    surfaces.labels.extend(label for card, _ in seen for label in card.labels)
    raster.draw_cards([shown for _, shown in seen])
