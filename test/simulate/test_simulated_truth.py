"""Class ids, instance ids and poses of the simulated street against geometry worked out another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ray_casting import directions, ray_cast, snapshot_of

from seg_perception.labels import CITYSCAPES
from seg_perception.simulate import SimulatedFrame, StreetScene
from seg_perception.simulate.layout import BLOCK_M, JUNCTION_M, is_junction

THINGS = [label.id for label in CITYSCAPES if label.is_thing]


def pose_of(frame: SimulatedFrame) -> np.ndarray:
    return frame.world_from_base @ frame.base_from_optical


def k_of(frame: SimulatedFrame) -> np.ndarray:
    return np.array(frame.camera.k).reshape(3, 3)


def bent(street: StreetScene, curvature_per_m: float) -> StreetScene:
    """The same street, which is a long way to build, or the same with a bend."""
    options = {"seed": 0, "width_px": 320, "height_px": 240, "rate_hz": 15.0}
    return StreetScene(**options, curvature_per_m=curvature_per_m) if curvature_per_m else street  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("index", "curvature"), [(0, 0.0), (95, 0.0), (310, 0.0), (60, 0.02), (500, 0.007), (95, -0.012), (310, -0.02)]
)
def test_ids_are_those_of_the_surface_that_a_ray_meets_first(street: StreetScene, index: int, curvature: float) -> None:
    scene = bent(street, curvature)
    frame = scene.frame(index, shaded=not curvature)
    rng = np.random.default_rng(index)
    rows, columns = rng.integers(0, 240, 700), rng.integers(0, 320, 700)
    pose = pose_of(frame)
    classes, instances = ray_cast(snapshot_of(scene, frame, curvature), k_of(frame), pose, columns, rows)
    seen = frame.class_ids[rows, columns]
    wrong = np.flatnonzero((seen != classes) | (frame.instance_ids[rows, columns] != instances))
    # Rounding may move a surface's edge across a pixel's centre, no further.
    assert len(wrong) <= 3
    for i in wrong:
        around = frame.class_ids[max(0, rows[i] - 1) : rows[i] + 2, max(0, columns[i] - 1) : columns[i] + 2]
        assert classes[i] in around
    assert len(set(classes.tolist())) >= 6


@pytest.mark.parametrize("index", [20, 230])
def test_ground_classes_lie_where_the_street_has_them(street: StreetScene, index: int) -> None:
    frame, profile = street.frame(index), street.world.street
    pose, height = pose_of(frame), pose_of(frame)[2, 3]
    for name, level in (("road", 0.0), ("terrain", 0.125)):
        rows, columns = np.nonzero(frame.class_ids == CITYSCAPES.id_of(name))
        rays = directions(k_of(frame), pose, columns.astype(float), rows.astype(float))
        ground = pose[:3, 3] + rays * ((height - level) / -rays[:, 2:])
        y, x = ground[:, 1], ground[:, 0]
        on_road = (y > profile.kerb_right) & (y < profile.kerb_left)
        in_side_street = np.array([is_junction(0, math.floor(v / BLOCK_M)) and v % BLOCK_M <= JUNCTION_M for v in x])
        if name == "road":
            assert (on_road | in_side_street | (x > 380)).all()
        else:
            assert not on_road.any() and not in_side_street.any()
        assert len(rows) > 20


@pytest.mark.parametrize(("index", "curvature"), [(0, 0.0), (140, 0.0), (140, 0.02), (140, -0.014)])
def test_every_instance_is_inside_its_objects_box(street: StreetScene, index: int, curvature: float) -> None:
    frame = bent(street, curvature).frame(index, shaded=not curvature)
    pose, k = pose_of(frame), k_of(frame)
    objects = {thing.instance_id: thing for thing in frame.objects}
    assert len(objects) == len(frame.objects)
    seen = [int(i) for i in np.unique(frame.instance_ids) if i]
    assert len(seen) >= 10
    for instance_id in seen:
        thing = objects[instance_id]
        rows, columns = np.nonzero(frame.instance_ids == instance_id)
        assert set(np.unique(frame.class_ids[rows, columns])) == {thing.class_id}
        # Mirrors stand out by 0.17 m; a walker's picture has room for arms and steps.
        room = 0.2 if thing.size[0] > 3 else 0.85
        half = np.array(thing.size) / 2 * [1, 1, 0] + [room, room, 0]
        low, high = -half, half + [0, 0, thing.size[2] + room]
        box = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        c, s = math.cos(thing.yaw_rad), math.sin(thing.yaw_rad)
        corners = box @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + thing.position
        optical = (corners - pose[:3, 3]) @ pose[:3, :3]
        if optical[:, 2].min() < 0.3:
            continue
        pixels = optical[:, :2] / optical[:, 2:] * k[0, 0] + k[:2, 2]
        assert pixels[:, 0].min() - 1 <= columns.min() and columns.max() <= pixels[:, 0].max() + 1
        assert pixels[:, 1].min() - 1 <= rows.min() and rows.max() <= pixels[:, 1].max() + 1


def test_things_have_instances_and_stuff_has_none(street: StreetScene) -> None:
    frame = street.frame(95)
    assert frame.class_ids.dtype == np.uint8 and frame.instance_ids.dtype == np.uint16
    np.testing.assert_array_equal(np.isin(frame.class_ids, THINGS), frame.instance_ids > 0)


@pytest.mark.parametrize("pitch_rad", [-0.1, 0.0, 0.03, 0.2])
def test_the_horizon_is_where_the_pitch_puts_it(pitch_rad: float) -> None:
    scene = StreetScene(seed=1, width_px=64, height_px=96, camera_pitch_rad=pitch_rad, focal_px=100)
    class_ids = scene.frame(0).class_ids
    horizon = 47.5 - 100 * math.tan(pitch_rad)
    sky = np.flatnonzero((class_ids == CITYSCAPES.id_of("sky")).any(axis=1))
    road = np.flatnonzero((class_ids == CITYSCAPES.id_of("road")).any(axis=1))
    assert sky.max() < horizon < road.min()
    # Along an endless street the road is seen to reach to within a few pixels of it.
    assert road.min() - horizon < 3


def test_the_colours_belong_to_the_classes(street: StreetScene) -> None:
    frame = street.frame(95)

    def mean(name: str) -> np.ndarray:
        return frame.rgb[frame.class_ids == CITYSCAPES.id_of(name)].mean(axis=0)

    assert frame.rgb.shape == (240, 320, 3) and frame.rgb.dtype == np.uint8
    sky, road, leaves = mean("sky"), mean("road"), mean("vegetation")
    assert sky[2] > sky[0] and sky.mean() > 150
    assert np.ptp(road) < 20 and 50 < road.mean() < 130
    assert leaves[1] > leaves[0] and leaves[1] > leaves[2]
