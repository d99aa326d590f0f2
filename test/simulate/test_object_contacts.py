"""Where objects meet the ground, against boxes worked out by hand and against rays cast one by one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ray_casting import ray_cast, snapshot_of

from seg_perception.errors import ConfigError
from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import GroundTruth, PinholeCamera, SceneObject, SimulatedFrame, StreetScene
from seg_perception.simulate.camera import View, camera_mount
from seg_perception.simulate.lens import Lens
from seg_perception.simulate.mesh import Mesh, MeshBuilder
from seg_perception.simulate.world import Snapshot

CAR, RIDER, SIDEWALK, WALL = (CITYSCAPES.id_of(name) for name in ("car", "rider", "sidewalk", "wall"))
GROUND = [CITYSCAPES.id_of(name) for name in ("road", "sidewalk", "terrain")]
EYE_M = 2.0


def box(number: int, low: tuple[float, ...], high: tuple[float, ...], class_id: int = CAR) -> tuple[Mesh, SceneObject]:
    builder = MeshBuilder()
    builder.box(low, high, (0, 0, 0), class_id)
    mesh = builder.build()
    mesh.instance_ids[:] = number
    middle, size = (np.array(low) + high) / 2, np.array(high) - low
    place = (float(middle[0]), float(middle[1]), 0.0)
    return mesh, SceneObject(number, class_id, place, 0.0, (size[0], size[1], high[2]), (1.0, 2.0))


def truth_of(*things: tuple[Mesh, SceneObject], ground: Mesh | None = None, **mount: float) -> GroundTruth:
    """Boxes before a camera 2 m above (1, 0) that looks 0.1 rad down, in steps of 1/400."""
    mesh = Mesh.joined([thing[0] for thing in things] + ([ground] if ground is not None else []))
    objects = tuple(thing[1] for thing in things)
    snapshot = Snapshot(mesh, np.zeros((len(mesh), 3), np.uint8), (), objects, (), 0)
    camera = PinholeCamera(640, 480, 400.0, 400.0, 319.5, 239.5)
    pose = camera_mount(**{"forward_m": 1.0, "height_m": EYE_M, "pitch_rad": 0.1, **mount})
    return GroundTruth(snapshot, View(camera, pose, np.empty((3, 0, 0), np.float32)), Lens(camera), np.eye(4))


def test_boxes_are_met_where_geometry_has_them() -> None:
    found = truth_of(
        box(7, (9, -1, 0), (11, 1, 1)),
        box(3, (14, 3, 0), (18, 5, 1.5)),
        # 0.3 m above the ground: the line of sight past its lower edge goes on by 2 / 1.7.
        box(5, (9, -5, 0.3), (11, -3, 1)),
    ).contacts()
    assert found.instance_ids.tolist() == [3, 5, 7] and found.without_contact.tolist() == []
    assert found.class_ids.tolist() == [CAR] * 3
    # The nearest corner of the second, the nearest edge of the third, from the camera's foot at (1, 0).
    aside = (9 - 1) * EYE_M / 1.7, -3 * EYE_M / 1.7
    expected = [(14, 3), (1 + aside[0], aside[1]), (9, 0)]
    np.testing.assert_allclose(found.range_m, [math.hypot(x - 1, y) for x, y in expected], atol=2e-3)
    np.testing.assert_allclose(found.contact_xy[:2], expected[:2], atol=0.01)
    assert found.contact_xy[2, 0] == pytest.approx(9, abs=2e-3)
    np.testing.assert_allclose(found.plane_xy, found.contact_xy, atol=1e-9)
    np.testing.assert_allclose(found.lift_m, [0, 0.3, 0], atol=1e-3)
    np.testing.assert_allclose(found.footprint_xy, [(14, 3), (9, -3), (9, 0)], atol=1e-9)
    np.testing.assert_allclose(found.bearing_rad[:2], [math.atan2(y, x - 1) for x, y in expected[:2]], atol=1e-3)
    np.testing.assert_allclose(found.height_m, [1.5, 1, 1], atol=1e-9)
    bearing = math.atan2(3, 13)
    across = [-x * math.sin(bearing) + y * math.cos(bearing) for x in (13, 17) for y in (3, 5)]
    assert found.width_m[0] == pytest.approx(max(across) - min(across), abs=2e-3)
    assert found.width_m[2] == pytest.approx(2, abs=0.3)
    np.testing.assert_allclose(found.velocities_mps, [(1, 2)] * 3)
    np.testing.assert_allclose(found.sizes_m[0], (4, 2, 1.5))
    np.testing.assert_allclose(found.contact_z_m, 0, atol=1e-12)


@pytest.mark.parametrize(
    "hidden",
    [
        box(9, (9, -1, 0.6), (11, 1, 1.2)),  # hangs too high
        box(9, (2.5, -1, 0), (4.5, 1, 1)),  # its foot is below the picture, and it fills what is above
        box(9, (12, -0.5, 0), (13, 0.5, 1.6)),  # behind a wall lower than it
        box(9, (30, -30, 0), (32, -28, 1)),  # beside the picture
        box(9, (75, 5, 0), (77, 7, 1)),  # too far away
        box(9, (9, 3, 0), (10, 4, 1.7), RIDER),
    ],
)
def test_what_is_not_seen_to_stand_has_no_contact(hidden: tuple[Mesh, SceneObject]) -> None:
    wall = MeshBuilder()
    wall.box((11, -2, 0), (11.2, 2, 0.9), (0, 0, 0), WALL)
    found = truth_of(hidden, box(2, (20, 4, 0), (22, 6, 1)), ground=wall.build()).contacts(60.0)
    assert found.instance_ids.tolist() == [2]
    is_seen = hidden[1].position[1] > -20
    assert found.without_contact.tolist() == ([9] if is_seen else [])


def test_a_thing_cut_by_the_picture_is_met_where_it_is_seen_to_be() -> None:
    """A long body beside the camera, whose near end is out of view to the left."""
    found = truth_of(box(4, (-5, 1.5, 0), (30, 3.5, 1))).contacts()
    # Where along its side at y = 1.5 the road before it comes into the picture, at the left edge or the lower one.
    bearings = np.linspace(0.06, 1.0, 40001)
    distance = 1.5 / np.sin(bearings)
    ahead = distance * np.cos(bearings)
    depth, below = ahead * math.cos(0.1) + 2 * math.sin(0.1), 2 * math.cos(0.1) - ahead * math.sin(0.1)
    seen = (400 * 1.5 / depth < 320) & (400 * below / depth < 240)
    assert found.range_m[0] == pytest.approx(distance[seen].min(), abs=0.01)
    assert found.contact_xy[0, 1] == pytest.approx(1.5, abs=2e-3)


def test_on_a_sidewalk_the_place_and_its_image_on_the_road_differ() -> None:
    kerb = 0.2
    raised = MeshBuilder()
    raised.box((0, 2, 0), (60, 9, kerb), (0, 0, 0), SIDEWALK)
    thing = box(6, (12, 3, kerb), (13, 4, 1.7))
    found = truth_of((thing[0], replace(thing[1], position=(12.5, 3.5, kerb))), ground=raised.build()).contacts()
    np.testing.assert_allclose(found.contact_xy, [(12, 3)], atol=0.01)
    assert found.contact_z_m[0] == pytest.approx(kerb, abs=1e-9) and found.lift_m[0] == pytest.approx(0, abs=1e-3)
    beyond = (found.contact_xy - (1, 0)) * EYE_M / (EYE_M - kerb) + (1, 0)
    np.testing.assert_allclose(found.plane_xy, beyond, atol=1e-6)
    assert found.height_m[0] == pytest.approx(1.5)


STREETS: tuple[tuple[dict[str, Any], int], ...] = (
    ({"seed": 0, "kerb_m": 0.0}, 95),
    ({"seed": 1, "crowds": 1.0, "crossers": 1.0}, 252),
    ({"seed": 2, "crowds": 1.0, "crossers": 1.0, "tight_parking": True, "kerb_m": 0.0}, 456),
    ({"seed": 3, "crossers": 1.0, "camera_yaw_rad": 0.3, "camera_roll_rad": 0.05}, 345),
)


def near_by(frame: SimulatedFrame, snapshot: Snapshot, reach_m: float) -> Snapshot:
    """What may hide anything up to a distance: casting rays at more would take long."""
    eye = (frame.world_from_base @ frame.base_from_optical)[:2, 3]
    mesh = snapshot.mesh
    near = np.hypot(*(mesh.corners[..., :2] - eye).transpose(2, 0, 1)).min(axis=1) < reach_m
    # What is large may be near in its middle.
    near |= np.ptp(mesh.corners[..., :2], axis=1).max(axis=1) > 5
    cards = tuple(card for card in snapshot.cards if math.dist(card.foot[:2], eye) < reach_m)
    return replace(snapshot, mesh=Mesh(*(getattr(mesh, name)[near] for name in mesh.__dataclass_fields__)), cards=cards)


class Rays:
    """Rays to places of the road, one by one; shares no code with what is tested."""

    def __init__(self, scene: StreetScene, frame: SimulatedFrame, reach_m: float) -> None:
        self.pose = frame.world_from_base @ frame.base_from_optical
        self.k = np.array(frame.camera.k).reshape(3, 3)
        self.shape = frame.class_ids.shape
        self.snapshot = near_by(frame, snapshot_of(scene, frame), reach_m)
        self.foot, ahead = self.pose[:2, 3], self.pose[:2, 2]
        self.heading = math.atan2(ahead[1], ahead[0])

    def look(self, bearing: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Instance ids, and whether ground is seen: −1 and False off the picture."""
        angle = self.heading + bearing
        x, y = self.foot[0] + distance * np.cos(angle), self.foot[1] + distance * np.sin(angle)
        optical = (np.column_stack([x, y, np.zeros_like(x)]) - self.pose[:3, 3]) @ self.pose[:3, :3]
        column, row = (optical[:, :2] / optical[:, 2:] @ self.k[:2, :2] + self.k[:2, 2]).T
        on = (optical[:, 2] > 0) & (column >= -0.5) & (row >= -0.5)
        on &= (column < self.shape[1] - 0.5) & (row < self.shape[0] - 0.5)
        ids, ground = np.full(len(x), -1), np.zeros(len(x), bool)
        classes, ids[on] = ray_cast(self.snapshot, self.k, self.pose, column[on], row[on])
        ground[on] = np.isin(classes, GROUND)
        return ids, ground


@pytest.mark.parametrize(("options", "index"), STREETS)
def test_contacts_are_where_rays_leave_the_ground(options: dict[str, Any], index: int) -> None:
    scene = StreetScene(width_px=320, height_px=240, **options)
    frame = scene.frame(index, shaded=False)
    reach_m = 40.0
    found = scene.ground_truth(index).contacts(reach_m)
    rays = Rays(scene, frame, 1.6 * reach_m)
    assert len(found) >= 5 and (found.range_m <= reach_m).all()
    along = np.hypot(*(found.plane_xy - scene.ground_truth(index).foot_xy).T)
    # Of two grounds in one plane the later one is preferred by 3e-5 of its depth.
    _, ground = rays.look(found.bearing_rad, along * (1 - 4e-5) - 2e-4)
    ids, _ = rays.look(found.bearing_rad, along + 1.2e-3)
    # A pixel of a card, or a polygon's edge, may be met a hair beside it.
    assert ground.mean() > 0.9 and (ids == found.instance_ids).mean() > 0.9
    # No ray of a grid, a pixel apart, leaves the ground onto any of them nearer by.
    bearings = np.linspace(-0.6, 0.6, 300)
    inverse = np.arange(1 / 3.0, 1 / reach_m, -1 / (320 * 0.78 * 1.45))
    grid = np.meshgrid(bearings, 1 / inverse, indexing="ij")
    seen, is_ground = (image.reshape(grid[0].shape) for image in rays.look(grid[0].ravel(), grid[1].ravel()))
    left = is_ground[:, :-1] & (seen[:, 1:] > 0)
    for number, thing in {thing.instance_id: thing for thing in frame.objects}.items():
        ray, step = np.nonzero(left & (seen[:, 1:] == number))
        if not len(ray) or thing.class_id == RIDER:
            continue
        place = np.array(thing.position[:2]) - rays.foot
        nearest = np.hypot(*place) - np.hypot(*thing.size[:2]) / 2 - 0.3
        # What is met so high above the ground, at most, that it is surely said to stand on it.
        sure = frame.base_from_optical[2, 3] * (1 - nearest / grid[1][ray, step + 1]) < 0.45 + thing.position[2]
        if sure.any():
            (row,) = np.flatnonzero(found.instance_ids == number)
            assert along[row] <= grid[1][ray[sure], step[sure] + 1].min() + 2e-3


def test_all_that_is_seen_is_accounted_for_and_the_picture_spares_looking() -> None:
    scene = StreetScene(1, 320, 240, crowds=1.0, crossers=1.0)
    frame, truth = scene.frame(252, shaded=False), scene.ground_truth(252)
    found, again = truth.contacts(50.0), truth.contacts(50.0, frame.instance_ids)
    told = np.union1d(found.instance_ids, found.without_contact)
    np.testing.assert_array_equal(
        np.union1d(again.instance_ids, again.without_contact), np.unique(frame.instance_ids)[1:]
    )
    # Rounding may cost or win a thing of one pixel.
    assert len(np.setxor1d(told, np.unique(frame.instance_ids)[1:])) <= 2
    assert not np.intersect1d(found.instance_ids, found.without_contact).size
    assert RIDER not in found.class_ids
    both, first, second = np.intersect1d(found.instance_ids, again.instance_ids, return_indices=True)
    assert len(both) >= len(found) - 1
    np.testing.assert_array_equal(found.contact_xy[first], again.contact_xy[second])
    with pytest.raises(ConfigError, match="instance_map has objects that are not near by"):
        truth.contacts(50.0, np.full((2, 2), 65_500, np.uint16))
    with pytest.raises(ConfigError, match="range_max_m must be a number from 0.1 to 1000 m, got 0"):
        truth.contacts(0)


def test_nothing_seen_is_no_contact() -> None:
    found = truth_of(box(9, (-30, -30, 0), (-28, -28, 1))).contacts()
    assert len(found) == 0 and found.contact_xy.shape == (0, 2) and found.without_contact.tolist() == []


@pytest.mark.parametrize(
    "options",
    [{"weave_m": 1.0, "curvature_per_m": 0.015}, {"slope_rad": 0.05, "crossers": 1.0}, {"curvature_per_m": -0.02}],
)
def test_relative_velocities_are_how_fast_coordinates_change(options: dict[str, Any]) -> None:
    scene = StreetScene(3, 160, 120, rate_hz=1000.0, crowds=0.5, **options)
    before, now, after = (scene.frame(30_000 + i, shaded=False) for i in (-1, 0, 1))
    found = scene.ground_truth(30_000).contacts(60.0)
    seconds = (after.stamp_ns - before.stamp_ns) / 1e9
    assert len(found) >= 3
    for number, relative, over, world in zip(
        found.instance_ids, found.relative_mps, found.velocities_mps, found.world_mps
    ):
        places, grounded = [], []
        for frame in (before, now, after):
            (thing,) = [thing for thing in frame.objects if thing.instance_id == number]
            places.append((np.linalg.inv(frame.world_from_base) @ [*thing.position, 1])[:2])
            grounded.append(np.array(thing.position[:2]))
        np.testing.assert_allclose((places[2] - places[0]) / seconds, relative, atol=2e-3)
        np.testing.assert_allclose((grounded[2] - grounded[0]) / seconds, world, atol=2e-3)
        np.testing.assert_allclose(now.world_from_base[:2, :2] @ over, world, atol=0.02)
