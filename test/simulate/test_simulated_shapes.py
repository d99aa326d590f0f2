"""Projection, the z-buffer and the meshes on shapes simple enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ray_casting import directions, hit_polygon, outline

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import PinholeCamera, StreetScene
from seg_perception.simulate.camera import View, camera_mount, clip_near
from seg_perception.simulate.layout import street_of
from seg_perception.simulate.mesh import Mesh, MeshBuilder
from seg_perception.simulate.planner import plan_block
from seg_perception.simulate.raster import CardView, Raster
from seg_perception.simulate.render import Renderer
from seg_perception.simulate.scenery import block_mesh
from seg_perception.simulate.vehicles import BODY_COLORS, VEHICLES, vehicle_mesh
from seg_perception.simulate.world import Snapshot

CAMERA = PinholeCamera(640, 480, 500.0, 500.0, 319.5, 239.5)
CAR = CITYSCAPES.id_of("car")


def view_from(pose: np.ndarray) -> View:
    return View(CAMERA, pose, np.zeros((3, 1, 1), np.float32))


@pytest.mark.parametrize(
    ("point", "pixel"),
    [
        ((10, -1, 0), (319.5 + 50, 239.5 + 75)),  # 1 m to the right, 1.5 m below, 10 m ahead
        ((20, 4, 0), (319.5 - 100, 239.5 + 37.5)),
        ((50, 0, 1.5), (319.5, 239.5)),
        ((5, 0, 2.5), (319.5, 239.5 - 100)),
    ],
)
def test_points_project_as_a_pinhole_does(point: tuple[float, float, float], pixel: tuple[float, float]) -> None:
    seen = CAMERA.project(view_from(camera_mount(0.0, 1.5, 0.0)).to_optical(np.array(point, float)))
    np.testing.assert_allclose(seen, pixel, atol=1e-9)


def test_a_pitched_camera_sees_its_aim_in_the_middle() -> None:
    pitch = 0.2
    aim = np.array([1.6 + 1.5 / math.tan(pitch), 0, 0])
    seen = CAMERA.project(view_from(camera_mount(1.6, 1.5, pitch)).to_optical(aim))
    np.testing.assert_allclose(seen, [319.5, 239.5], atol=1e-9)


def draw(builder: MeshBuilder, street: StreetScene, pose: np.ndarray) -> np.ndarray:
    mesh = builder.build()
    colors = np.full((len(mesh), 3), 128, np.uint8)
    return Renderer(street.world, CAMERA).render(Snapshot(mesh, colors, (), (), (), 0), pose).class_ids


def test_a_box_fills_exactly_the_pixels_whose_centres_it_covers(street: StreetScene) -> None:
    builder = MeshBuilder()
    builder.box((10, -1, 0), (12, 1, 2), (1, 2, 3), CAR)
    class_ids = draw(builder, street, camera_mount(0.0, 1.5, 0.0))
    expected = np.zeros((480, 640), bool)
    expected[215:315, 270:370] = True  # its front spans 269.5 to 369.5 and 214.5 to 314.5
    np.testing.assert_array_equal(class_ids == CAR, expected)


def test_boxes_hide_each_other_as_their_slabs_say(street: StreetScene) -> None:
    """Against the slab method: a ray is inside a box where it is between all three pairs of planes."""
    rng = np.random.default_rng(3)
    low = np.column_stack([rng.uniform(3, 30, 60), rng.uniform(-8, 8, 60), rng.uniform(-0.5, 2, 60)])
    high = low + rng.uniform(0.2, 4, (60, 3))
    ids = rng.integers(1, 19, 60)
    builder = MeshBuilder()
    for a, b, class_id in zip(low, high, ids):
        builder.box(a, b, (0, 0, 0), int(class_id), faces="xXyYzZ")
    pose = camera_mount(0.0, 1.4, 0.05)
    class_ids = draw(builder, street, pose)
    rows, columns = rng.integers(0, 480, 4000), rng.integers(0, 640, 4000)
    rays, eye = directions(CAMERA.k, pose, columns.astype(float), rows.astype(float)), pose[:3, 3]
    nearest = np.where(rays[:, 2] < 0, eye[2] / -np.minimum(rays[:, 2], -1e-9), np.inf)
    expected = np.where(np.isfinite(nearest) & (rays[:, 2] < 0), 0, 10)
    for a, b, class_id in zip(low, high, ids):
        entry, leave = np.sort([(a - eye) / rays, (b - eye) / rays], axis=0)
        enter = entry.max(axis=1)
        wins = (enter < leave.min(axis=1)) & (enter > 0) & (enter < nearest)
        nearest[wins], expected[wins] = enter[wins], class_id
    assert (class_ids[rows, columns] != expected).mean() < 0.001


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_no_gap() -> None:
    """A fan around a point: every pixel inside is drawn, by exactly one of its triangles."""
    angles = np.linspace(0, 2 * math.pi, 38)[:-1]
    ring = np.column_stack([30 + 25.3 * np.cos(angles), 30 + 25.3 * np.sin(angles)])
    drawn = np.zeros((60, 60), int)
    for a, b in zip(ring, np.roll(ring, -1, axis=0)):
        raster = Raster(np.zeros((60, 60)), np.zeros((60, 60)))
        triangle = np.array([[[30.17, 29.61], a, b]])
        raster.draw_polygons(triangle, np.array([[0, 0, 0.5]]), np.array([1], np.int32))
        drawn += raster.surface
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(x - 30, y - 30)
    assert drawn.max() == 1
    assert (drawn[distance < 25.3 * math.cos(math.pi / 37) - 1e-6] == 1).all()
    assert (drawn[distance > 25.3] == 0).all()


@pytest.mark.parametrize("scale", [0.7, 4.0])
def test_large_and_small_cards_are_sampled_alike(scale: float) -> None:
    """One large card alone, or together with many: the picture is the same."""
    rng = np.random.default_rng(2)
    codes = (rng.integers(0, 3, (90, 70)) * 32).astype(np.uint8)
    numbers = (np.arange(256) // 32).astype(np.int32)
    card = CardView(11.3, -7.9, scale, 0.1, codes, numbers, np.arange(256, dtype=np.uint32))
    raster = Raster(np.zeros((120, 140)), np.zeros((120, 140)))
    raster.draw_cards([card])
    for row in range(120):
        for column in range(140):
            v, u = math.floor((row + 7.9) * scale), math.floor((column - 11.3) * scale)
            code = int(codes[v, u]) if 0 <= v < 90 and 0 <= u < 70 else 0
            assert raster.surface[row, column] == code // 32
            assert not code or raster.paint[row, column] == code


def test_clipping_keeps_what_is_beyond_the_plane() -> None:
    square = np.array([[[-1, 0, -1], [1, 0, -1], [1, 0, 3], [-1, 0, 3]]], float)
    clipped = clip_near(square, 0.5)[0]
    corners = {tuple(corner) for corner in clipped.round(9).tolist()}
    assert corners == {(1, 0, 0.5), (1, 0, 3), (-1, 0, 3), (-1, 0, 0.5)}
    corner_behind = np.array([[[0, 0, 0], [2, 0, 2], [0, 0, 4], [-2, 0, 2]]], float)
    clipped = clip_near(corner_behind, 1.0)[0]
    corners = {tuple(corner) for corner in clipped.round(9).tolist()}
    assert corners == {(1, 0, 1), (2, 0, 2), (0, 0, 4), (-2, 0, 2), (-1, 0, 1)}


def assert_sound(mesh: Mesh) -> None:
    """Flat, convex, and facing where its corners say."""
    for corners, normal in zip(mesh.corners, mesh.normals):
        polygon = outline(corners)
        assert len(polygon) >= 3
        np.testing.assert_allclose((polygon - polygon[0]) @ normal, 0, atol=1e-6)
        edges = np.roll(polygon, -1, axis=0) - polygon
        turns = np.cross(edges, np.roll(edges, -1, axis=0)) @ normal
        assert (turns > -1e-9).all() and turns.max() > 0


@pytest.mark.parametrize("kind", VEHICLES)
def test_vehicles_are_flat_faced_symmetrical_and_of_their_size(kind: str) -> None:
    mesh, shape = vehicle_mesh(kind, BODY_COLORS[0]), VEHICLES[kind]
    assert_sound(mesh)
    points = mesh.corners.reshape(-1, 3)
    np.testing.assert_allclose(points[:, 0].max() - points[:, 0].min(), shape.length, atol=0.05)
    np.testing.assert_allclose(points[:, 2].max(), shape.height, atol=1e-9)
    np.testing.assert_allclose(points[:, 1].max(), -points[:, 1].min(), atol=1e-9)
    assert set(mesh.class_ids) == {CITYSCAPES.id_of(shape.class_name)}


@pytest.mark.parametrize("kind", VEHICLES)
@pytest.mark.parametrize("detailed", [True, False])
def test_nobody_can_look_into_a_vehicle(kind: str, detailed: bool) -> None:
    """From wherever a camera may be, a surface is met from outside before any is met from inside."""
    mesh, shape = vehicle_mesh(kind, BODY_COLORS[0], detailed), VEHICLES[kind]
    rng = np.random.default_rng(7)
    holes = 0
    for bearing in np.linspace(0, 2 * math.pi, 9):
        eye = np.array([12 * math.cos(bearing), 9 * math.sin(bearing), 2.2])
        half = np.array([shape.length / 2, shape.width / 2])
        aims = np.column_stack([rng.uniform(-half, half, (200, 2)), rng.uniform(shape.sill, shape.height, 200)])
        rays = (aims - eye) / np.linalg.norm(aims - eye, axis=1, keepdims=True)
        outer, inner = np.full(200, np.inf), np.full(200, np.inf)
        for corners in mesh.corners:
            depth, front = hit_polygon(outline(corners), eye, rays)
            outer, inner = np.minimum(outer, np.where(front, depth, np.inf)), np.minimum(inner, depth)
        met = np.isfinite(inner)
        assert met.sum() > 100
        # Below the sill one looks through under the vehicle.
        above = (eye + inner[met, None] * rays[met])[:, 2] >= shape.sill
        holes += int(((outer[met] > inner[met] + 0.1) & above).sum())
    # Panes stand 8 mm off the body: a ray in a thousand slips between the two.
    assert holes <= 3


@pytest.mark.parametrize("seed", [0, 9])
def test_everything_along_the_street_is_flat_faced(seed: int) -> None:
    for index in range(3):
        assert_sound(block_mesh(street_of(seed), plan_block(seed, index)))
