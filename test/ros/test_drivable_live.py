"""Where to drive, over real ROS 2: what is published, that a replay gives the same, and that the transforms count."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the bags that are written by hand

from bags import message, read_mcap, write_mcap
from street import (
    CAMERA_INFO,
    GROUND,
    HEIGHT,
    IMAGE,
    MOUNT_M,
    MS,
    OPTICAL,
    TF,
    WIDTH,
    Street,
    at_rest,
    mounted,
    rocking,
    stamp_ns_of,
)
from street_camera import (
    DRIVABLE,
    GRID,
    MASK,
    OVERLAY,
    SCAN,
    TYPES,
    Camera,
    Transforms,
    ranges_of,
    set_parameter,
    values_of,
)

pytest.importorskip("tf2_msgs.msg", reason="needs ROS 2 with tf2_msgs")

FOOTPRINT = "camera_footprint"
FOCAL_PX = 250.0


def same(live: Any, replayed: Any) -> bool:
    """Field by field; not-a-number is equal to itself."""
    if hasattr(live, "get_fields_and_field_types"):
        assert type(live) is type(replayed)
        return all(same(getattr(live, n), getattr(replayed, n)) for n in live.get_fields_and_field_types())
    if isinstance(live, list):
        return len(live) == len(replayed) and all(map(same, live, replayed))
    if hasattr(live, "tobytes"):
        return bool(live.tobytes() == replayed.tobytes())
    return bool(live == replayed or (live != live and replayed != replayed))


def replay(street: Street, folder: Path, moving: list[Any], count: int) -> dict[str, list[Any]]:
    """The same messages by way of a bag; what was written of each topic, as rclpy's messages."""
    from rclpy.serialization import deserialize_message, serialize_message

    from seg_perception.cli import main
    from seg_perception.ros.kit import message_class

    rows = [("/tf_static", TF, mounted(), street.stamps_ns[0])]
    rows += [("/tf", TF, m, stamp_ns_of(m.transforms[0]) + 2 * MS) for m in moving]
    for index in range(count):
        late_ns = street.stamps_ns[index] + 5 * MS
        rows += [("/front/camera_info", CAMERA_INFO, street.info(index), late_ns - 1)]
        rows += [("/front/image_raw", IMAGE, street.image(index), late_ns)]
    rows.sort(key=lambda row: row[3])
    write_mcap(folder / "in.mcap", [message(t, kind, ns, bytes(serialize_message(m))) for t, kind, m, ns in rows])
    parameters = ["--param", "backend=replayed", "--param", f"replay_masks={street.folder}"]
    out = folder / "out.mcap"
    assert main(["replay", str(folder / "in.mcap"), "-o", str(out), *parameters]) == 0
    written: dict[str, list[Any]] = {}
    for m in read_mcap(out):
        if m.topic.startswith(("/segmentation/", "/tf")) and m.type_name in {*TYPES.values(), TF}:
            written.setdefault(m.topic, []).append(deserialize_message(m.data, message_class(m.type_name)))
    return written


def footprints(messages: list[Any], child: str = FOOTPRINT) -> dict[int, Any]:
    """Of TFMessages, what says where a footprint is, by stamp."""
    return {stamp_ns_of(t): t for m in messages for t in m.transforms if t.child_frame_id == child}


def test_live_gives_what_a_replay_gives(ros: Any, tmp_path: Path) -> None:
    """Frames of a drive with a body that rocks; message for message, footprints included."""
    count, outputs = 4, (DRIVABLE, GRID, SCAN)
    street = Street(tmp_path)
    moving = rocking(street)
    ros.start_node(**street.parameters)
    camera, transforms = Camera(ros, street, listen=outputs), Transforms(ros)
    heard_tf = ros.subscribe(TF, "/tf", 500)
    transforms.fix(mounted())
    # Twice as many: then one whole set has come, whatever was lost while the graph settled.
    ros.until(
        lambda: transforms.move(*moving) or ros.count("transforms_received") > 2 * len(moving), "transforms arrive"
    )
    for index in range(count):
        camera.show(index, *outputs, info=street.info(index))
        stamp_ns = street.stamps_ns[index]
        ros.until(lambda stamp_ns=stamp_ns: stamp_ns in footprints(heard_tf), "the footprint")

    written = replay(street, tmp_path, moving, count)
    stamps = street.stamps_ns[:count]
    for output in outputs:
        replayed = written[f"/segmentation/{output}"]
        assert [stamp_ns_of(m) for m in replayed] == stamps
        for index, m in enumerate(replayed):
            assert same(camera.answer(output, index), m), (output, index)
    live_feet, replayed_feet = footprints(heard_tf), footprints(written["/tf"])
    assert list(replayed_feet) == stamps
    for stamp_ns in stamps:
        assert same(live_feet[stamp_ns], replayed_feet[stamp_ns])
    # They say something, and not the same each time: else the above would be true of anything.
    grids = [values_of(camera.answer(GRID, index)) for index in range(count)]
    assert {-1, 0, 50, 100} == set(np.unique(grids))
    assert all((a != b).any() for a, b in zip(grids, grids[1:]))
    scans = [ranges_of(camera.answer(SCAN, index)) for index in range(count)]
    assert all(np.isfinite(scan).sum() > 50 for scan in scans)
    for index in range(count):
        drivable = np.frombuffer(camera.answer(DRIVABLE, index).data, np.uint8).reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(drivable, np.where(street.mask(index) == 0, 255, 0))


@pytest.mark.filterwarnings("ignore:Deprecated in favor of:DeprecationWarning")  # rclpy's own of another of its own
def test_boundary_ends_where_the_grid_is_occupied_and_its_frame_is_published(ros: Any, tmp_path: Path) -> None:
    street = Street(tmp_path)
    ros.start_node(obstacle_classes="[sidewalk,terrain]", **street.parameters)
    camera, transforms = Camera(ros, street), Transforms(ros)
    heard_tf = ros.subscribe(TF, "/tf", 500)
    transforms.fix(mounted(yaw_rad=0.3))
    moving = [at_rest(s) for s in (street.stamps_ns[0] - MS, street.stamps_ns[-1])]
    checked = 0
    for index in range(5):
        grid, scan = camera.show(index, GRID, SCAN, info=street.info(), before=lambda: transforms.move(*moving))
        stamp_ns = street.stamps_ns[index]
        foot = ros.until(lambda stamp_ns=stamp_ns: footprints(heard_tf).get(stamp_ns), "the footprint")
        assert (grid.header.frame_id, scan.header.frame_id) == (GROUND, foot.child_frame_id) == (GROUND, FOOTPRINT)
        assert foot.header.frame_id == GROUND
        checked += check_ends(grid, scan, foot.transform)
    assert checked > 100
    infos = {o: ros.client.get_publishers_info_by_topic(f"/segmentation/{o}") for o in (MASK, DRIVABLE, GRID, SCAN)}
    profiles = {o: [(p.qos_profile.reliability, p.qos_profile.durability) for p in i] for o, i in infos.items()}
    assert len(profiles[MASK]) == 1 and all(profile == profiles[MASK] for profile in profiles.values())


def check_ends(grid: Any, scan: Any, foot: Any) -> int:
    """Finite ranges within the grid end at occupied cells; how many there were."""
    ranges = ranges_of(scan).astype(float)
    assert scan.angle_max == pytest.approx(scan.angle_min + (len(ranges) - 1) * scan.angle_increment, abs=1e-5)
    finite = np.isfinite(ranges)
    assert (ranges[finite] >= scan.range_min).all() and (ranges[finite] <= scan.range_max).all()
    yaw, side_m, corner = 2 * math.atan2(foot.rotation.z, foot.rotation.w), grid.info.resolution, grid.info.origin
    assert yaw == pytest.approx(0.3) and foot.translation.z == corner.position.z == 0.0
    bearings = scan.angle_min + np.flatnonzero(finite) * scan.angle_increment + yaw
    away = np.stack([np.cos(bearings), np.sin(bearings)], -1) * ranges[finite, None]
    ends = away + (foot.translation.x, foot.translation.y) - (corner.position.x, corner.position.y)
    # An obstacle at the very edge of the grid may have its occupied cells outside.
    within = ((ends > 1) & (ends < np.array([grid.info.width, grid.info.height]) * side_m - 1)).all(axis=1)
    occupied = (np.argwhere(values_of(grid) == 100)[:, ::-1] + 0.5) * side_m
    off_m = np.linalg.norm(ends[within, None] - occupied, axis=-1).min(axis=1)
    # The cell itself or the next; far away a range is known to half a row of pixels.
    row_m = ranges[finite][within] ** 2 / (FOCAL_PX * MOUNT_M[2])
    assert (off_m < 1.5 * side_m + row_m / 2).mean() > 0.97, (ends[within], off_m)
    # The others graze a corner, or the image's edge, where a cell's centre need not be seen.
    assert (off_m < 4 * side_m + row_m / 2).all(), (ends[within], off_m)
    return len(off_m)


def test_only_what_is_listened_to_is_computed(ros: Any, tmp_path: Path) -> None:
    """There is neither calibration nor transform: whatever is asked in metres is counted as impossible."""
    street = Street(tmp_path)
    ros.start_node(**street.parameters)
    camera = Camera(ros, street, listen=(DRIVABLE, OVERLAY))
    for index in range(3):
        mask, _ = camera.show(index, DRIVABLE, OVERLAY)  # the boundary in an overlay is no more than an ornament
        assert (mask.encoding, mask.header.frame_id, mask.width, mask.height) == ("mono8", OPTICAL, WIDTH, HEIGHT)
    ros.fresh_report()
    assert ros.count("published") >= 3 and ros.count("failed") == 0
    assert not [key for key in ros.values() if key.startswith("without_metres")]
    assert "masks go out" not in ros.message()

    for subscription in list(ros.client.subscriptions):
        if subscription.topic_name.endswith((DRIVABLE, OVERLAY)):
            ros.client.destroy_subscription(subscription)
    image = street.image(3)
    ros.until(lambda: camera.send(image) or ros.count("idle"), "nobody listens any longer")

    grids = ros.subscribe(TYPES[GRID], f"segmentation/{GRID}")
    ros.until(lambda: camera.send(image) or camera.without_metres("no_camera_info"), "now it is missed")
    assert not grids


def test_classes_are_regrouped_while_it_runs(ros: Any, tmp_path: Path) -> None:
    from rcl_interfaces.srv import GetParameters

    street = Street(tmp_path, still=True)
    pose = {"camera__pose_source": "parameters", "camera__position_m": list(MOUNT_M)}
    ros.start_node(**pose, **street.parameters)
    camera = Camera(ros, street, listen=(DRIVABLE, GRID, SCAN))

    def seen(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mask, grid, scan = camera.show(index, DRIVABLE, GRID, SCAN, info=street.info())
        return np.frombuffer(mask.data, np.uint8).reshape(HEIGHT, WIDTH), values_of(grid), ranges_of(scan)

    before = seen(0)
    sidewalk = street.mask(0) == 1
    assert not before[0][sidewalk].any() and (before[1] == 50).any()
    assert set_parameter(ros, "drivable_classes", ["road", "sidewalk"]).successful
    after = seen(1)
    np.testing.assert_array_equal(after[0] == 255, (street.mask(1) == 0) | sidewalk)
    turned_free = (before[1] == 50) & (after[1] == 0)
    assert turned_free.sum() > 20 and not ((before[1] == 0) & (after[1] != 0)).any()
    assert np.nansum(np.where(np.isfinite(after[2]), after[2], 30.0)) > np.nansum(
        np.where(np.isfinite(before[2]), before[2], 30.0)
    )

    refused = set_parameter(ros, "drivable_classes", ["road", "lawn"])
    assert not refused.successful
    assert "'lawn'" in refused.reason and "sidewalk, building" in refused.reason  # which one, and what there is
    request = GetParameters.Request(names=["drivable_classes"])
    kept = ros.call(GetParameters, "/segmentation/get_parameters", request).values[0].string_array_value
    assert list(kept) == ["road", "sidewalk"]
    for one, other in zip(after, seen(2)):
        np.testing.assert_array_equal(one, other)
    twice = set_parameter(ros, "obstacle_classes", ["sidewalk"])
    assert not twice.successful and "drivable_classes already" in twice.reason
