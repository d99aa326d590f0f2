"""Messages about objects: what is in them, in whose classes ever they are built."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from found_objects import BUILDERS, CAR, STAMP_NS, car_ahead, hostile, scene, two_objects, xyz

from seg_perception.config import PipelineConfig
from seg_perception.labels import CITYSCAPES
from seg_perception.messages import (
    DETECTION_2D_ARRAY,
    DETECTION_3D_ARRAY,
    IMAGE,
    MARKER_ARRAY,
    POINT_CLOUD,
    image_message,
    markers_message,
    obstacles_message,
    panoptic_message,
)
from seg_perception.outputs import OUTPUTS, wanted_for
from seg_perception.types import Perception, Segmentation


def yaw(pose: Any) -> float:
    assert pose.orientation.x == pose.orientation.y == 0
    return 2 * math.atan2(pose.orientation.z, pose.orientation.w)


def test_detections_say_what_is_where_on_the_image(kit: Any) -> None:
    message = BUILDERS[DETECTION_2D_ARRAY](kit, two_objects(), car_ahead())
    person, car = message.detections
    for part in (message, person, car):
        assert (part.header.stamp.sec, part.header.stamp.nanosec, part.header.frame_id) == (12, 345, "camera")
    # the pixels 3 to 5 and 2 to 9, whose centres are at integers
    centre = person.bbox.center
    assert (centre.position.x, centre.position.y, centre.theta) == (4.0, 5.5, 0.0)
    assert (person.bbox.size_x, person.bbox.size_y, person.id) == (3.0, 8.0, "7")
    assert (car.bbox.center.position.x, car.bbox.center.position.y, car.id) == (130.0, 70.0, "12")
    assert (car.bbox.size_x, car.bbox.size_y) == (60.0, 40.0)
    (one,) = person.results
    (other,) = car.results
    assert (one.hypothesis.class_id, one.hypothesis.score) == ("person", 0.5)
    assert (other.hypothesis.class_id, other.hypothesis.score) == ("car", 0.75)
    assert (
        xyz(one.pose.pose.position) == (0, 0, 0) and one.pose.pose.orientation.w == 1 and not any(one.pose.covariance)
    )


def test_detections_need_boxes(kit: Any) -> None:
    with pytest.raises(ValueError, match="boxes_px"):
        BUILDERS[DETECTION_2D_ARRAY](kit, replace(two_objects(), boxes_px=None), car_ahead())


def test_an_obstacle_stands_behind_its_contact_along_the_line_of_sight(kit: Any) -> None:
    message = obstacles_message(kit, STAMP_NS, replace(car_ahead(), heading_rad=math.pi / 2), two_objects(), CITYSCAPES)
    assert (message.header.stamp.sec, message.header.frame_id) == (12, "base_link")
    (car,) = message.detections
    assert (car.header.stamp.nanosec, car.header.frame_id, car.id) == (345, "base_link", "12")
    (result,) = car.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("car", 0.75)
    assert xyz(result.pose.pose.position) == (0.0, 8.0, -0.25)
    assert yaw(result.pose.pose) == pytest.approx(math.pi / 2)
    expected = np.zeros((6, 6))
    expected[0, :2], expected[1, :2] = (0.04, 0.01), (0.01, 0.09)
    expected[range(2, 6), range(2, 6)] = 1e6
    np.testing.assert_array_equal(np.reshape(result.pose.covariance, (6, 6)), expected)
    assert xyz(car.bbox.center.position) == pytest.approx((0.0, 8.9, 0.5))
    assert yaw(car.bbox.center) == pytest.approx(math.pi / 2)
    assert xyz(car.bbox.size) == (1.8, 1.8, 1.5)


def test_lines_of_sight_differ_by_their_bearings(kit: Any) -> None:
    there = replace(car_ahead(), bearings_rad=np.array([-math.pi / 4]), heading_rad=math.pi / 2)
    (car,) = obstacles_message(kit, STAMP_NS, there, two_objects(), CITYSCAPES).detections
    assert yaw(car.bbox.center) == pytest.approx(math.pi / 4)
    assert xyz(car.bbox.center.position) == pytest.approx((0.9 * math.sqrt(0.5), 8 + 0.9 * math.sqrt(0.5), 0.5))


def points_of(message: Any) -> list[dict[str, float]]:
    """A PointCloud2 read byte by byte as its own fields say."""
    codes = {2: "B", 4: "H", 6: "I", 7: "f"}
    assert message.row_step == message.point_step * message.width == len(message.data) and message.height == 1
    assert all(field.count == 1 for field in message.fields)
    order, data = ">" if message.is_bigendian else "<", bytes(message.data)
    return [
        {
            field.name: struct.unpack_from(order + codes[field.datatype], data, start + field.offset)[0]
            for field in message.fields
        }
        for start in range(0, len(data), message.point_step)
    ]


def test_contacts_stand_as_columns_of_points(kit: Any) -> None:
    message = BUILDERS[POINT_CLOUD](kit, two_objects(), car_ahead())
    assert message.is_dense and message.header.frame_id == "base_link" and message.header.stamp.sec == 12
    points = points_of(message)
    heights = [-0.25 + 0.125 + 0.25 * i for i in range(6)]  # 1.5 m over ground at -0.25
    places = [(x, y, z) for x, y in ((-0.9, 8.0), (0.9, 8.5)) for z in heights]
    np.testing.assert_allclose([(p["x"], p["y"], p["z"]) for p in points], places, rtol=1e-6)
    rest = {"class": CAR, "instance": 2, "track": 12, "vx": 3.0, "vy": -4.0, "relative": 1}
    assert all({name: point[name] for name in rest} == rest and len(point) == 9 for point in points)


def test_points_of_a_street_are_those_of_a_plain_loop(kit: Any) -> None:
    seen, there = scene(30, seed=2)
    assert seen.track_ids is not None
    expected = []
    for (x, y), owner in zip(there.contacts_m, there.contact_rows):
        row = there.rows[owner]
        for level in range(8):
            over_ground = 0.125 + 0.25 * level
            if level and over_ground > there.heights_m[owner]:
                break
            vx, vy = there.velocities_mps[owner]
            expected.append((x, y, 0.1 + over_ground, vx, vy, seen.track_ids[row], seen.class_ids[row], row + 1, 0))
    names = ("x", "y", "z", "vx", "vy", "track", "class", "instance", "relative")
    got = [tuple(point[name] for name in names) for point in points_of(BUILDERS[POINT_CLOUD](kit, seen, there))]
    np.testing.assert_allclose(got, np.array(expected, np.float64), rtol=1e-6)
    assert max(p[2] for p in got) == pytest.approx(0.1 + 1.875) and np.isnan(got).any()


def test_markers_delete_what_was_and_show_what_is(kit: Any) -> None:
    message = markers_message(kit, STAMP_NS, replace(car_ahead(), heading_rad=math.pi / 2), two_objects(), CITYSCAPES)
    clear, box, label, velocity = message.markers
    assert (clear.action, clear.ns) == (3, "")
    for marker, namespace, shape, number in (
        (box, "box", 1, 12),
        (label, "label", 9, 12),
        (velocity, "velocity", 5, 0),
    ):
        assert (marker.ns, marker.type, marker.id, marker.action) == (namespace, shape, number, 0)
        assert (marker.header.frame_id, marker.header.stamp.sec) == ("base_link", 12)
        assert (marker.lifetime.sec, marker.lifetime.nanosec, marker.frame_locked) == (0, 0, False)
    assert xyz(box.pose.position) == pytest.approx((0.0, 8.9, 0.5)) and yaw(box.pose) == pytest.approx(math.pi / 2)
    assert xyz(box.scale) == (1.8, 1.8, 1.5)
    assert (box.color.r, box.color.g, box.color.b, box.color.a) == pytest.approx((0, 0, 142 / 255, 0.5))
    assert label.text == "car 12  8.0 m  5.0 m/s rel"
    assert label.scale.z > 0 and label.color.a == 1 and label.pose.position.z > 1.25  # the box's top
    start, end = velocity.points
    assert xyz(start) == pytest.approx((0.0, 8.9, 0.5)) and xyz(end) == pytest.approx((3.0, 4.9, 0.5))
    assert velocity.scale.x > 0 and velocity.color.a == 1 and velocity.pose.orientation.w == 1


def test_labels_tell_apart_what_is_known_of_a_speed(kit: Any) -> None:
    over_ground = replace(car_ahead(), is_relative=False)
    assert BUILDERS[MARKER_ARRAY](kit, two_objects(), over_ground).markers[2].text == "car 12  8.0 m  5.0 m/s"
    unknown = replace(car_ahead(), velocities_mps=np.full((1, 2), np.nan))
    *_, label = BUILDERS[MARKER_ARRAY](kit, two_objects(), unknown).markers
    assert label.text == "car 12  8.0 m"


def test_panoptic_is_sixteen_bits_little_endian(kit: Any) -> None:
    numbers = np.array([[1, 256, 65535], [11_003, 0, 13_001]], np.uint16)
    wide = np.repeat(numbers, 2, axis=1)
    for array in (numbers, numbers.astype(">u2"), wide[:, ::2]):
        message = panoptic_message(kit, STAMP_NS, "camera", array)
        assert (message.encoding, message.is_bigendian, message.step) == ("mono16", 0, 6)
        assert (message.height, message.width, message.header.frame_id) == (2, 3, "camera")
        assert struct.unpack("<6H", bytes(message.data)) == (1, 256, 65535, 11_003, 0, 13_001)


def test_an_image_of_other_numbers_is_refused(kit: Any) -> None:
    with pytest.raises(TypeError, match="cast"):
        image_message(kit, STAMP_NS, "camera", np.zeros((2, 2), np.uint16), "mono8")
    with pytest.raises(TypeError, match="cast"):
        image_message(kit, STAMP_NS, "camera", np.zeros((2, 2), np.int64), "mono16")


def test_nothing_there_is_said(kit: Any) -> None:
    seen, there = scene(0)
    assert len(BUILDERS[DETECTION_2D_ARRAY](kit, seen, there).detections) == 0
    assert len(BUILDERS[DETECTION_3D_ARRAY](kit, seen, there).detections) == 0
    cloud = BUILDERS[POINT_CLOUD](kit, seen, there)
    assert (cloud.width, len(cloud.data), len(cloud.fields)) == (0, 0, 9)
    (clear,) = BUILDERS[MARKER_ARRAY](kit, seen, there).markers
    assert clear.action == 3


def test_ids_keep_what_fits(kit: Any) -> None:
    seen, there = hostile()
    markers = BUILDERS[MARKER_ARRAY](kit, seen, there).markers
    points = points_of(BUILDERS[POINT_CLOUD](kit, seen, there))
    # every second of four objects has no contact
    boxes = [marker for marker in markers if marker.ns == "box"]
    assert [box.id for box in boxes] == [0, 2**31 - 1, 2**31 - 1, 0, 9, 3]
    assert boxes[0].scale.z >= 0.01 and markers[7].text.startswith("200 0 ")
    tracks = {point["instance"]: point["track"] for point in points}
    assert tracks == {1: 2**31, 3: 2**32 - 1, 4: 2**32 - 1, 5: 0, 7: 9, 8: 3}
    assert all(math.isfinite(point[axis]) for point in points for axis in "xyz")
    assert len({(p["x"], p["y"]) for p in points}) == len(there.contacts_m) - 2
    detections = BUILDERS[DETECTION_2D_ARRAY](kit, seen, there).detections
    assert [detection.id for detection in detections][:2] == ["2147483648", "4294967301"]
    assert [d.results[0].hypothesis.class_id for d in detections][:3] == ["200", "255", "person"]


def test_objects_that_nobody_tracks(kit: Any) -> None:
    seen = replace(two_objects(), track_ids=None)
    assert [d.id for d in BUILDERS[DETECTION_2D_ARRAY](kit, seen, car_ahead()).detections] == ["", ""]
    assert {point["track"] for point in points_of(BUILDERS[POINT_CLOUD](kit, seen, car_ahead()))} == {0}
    assert BUILDERS[MARKER_ARRAY](kit, seen, car_ahead()).markers[1].id == 2


NAMES = ("panoptic", "detections", "obstacles", "obstacles/points", "obstacles/markers")


def perceived(**parts: Any) -> Perception:
    return Perception(STAMP_NS, "camera", (4, 6), Segmentation(None, None), None, None, {}, labels=CITYSCAPES, **parts)


def built(kit: Any, seen: Perception) -> dict[str, Any]:
    return {o.name: o.build(kit, seen, PipelineConfig()) for o in OUTPUTS if o.name in NAMES}


def test_outputs_publish_what_was_found(kit: Any) -> None:
    seen = perceived(panoptic=np.zeros((4, 6), np.uint16), objects=two_objects(), obstacles=car_ahead())
    types = {output.name: output.type_name for output in OUTPUTS}
    assert [types[name] for name in NAMES] == [IMAGE, DETECTION_2D_ARRAY, DETECTION_3D_ARRAY, POINT_CLOUD, MARKER_ARRAY]
    messages = built(kit, seen)
    assert messages["panoptic"].encoding == "mono16"
    assert len(messages["detections"].detections) == 2 and len(messages["obstacles"].detections) == 1
    assert messages["obstacles/points"].width == 12 and len(messages["obstacles/markers"].markers) == 4


def test_outputs_say_nothing_of_what_nobody_knows(kit: Any) -> None:
    assert set(built(kit, perceived()).values()) == {None}
    without_metres = built(kit, perceived(objects=two_objects()))
    assert [name for name, message in without_metres.items() if message is not None] == ["detections"]
    seen, there = scene(0)
    nothing = built(kit, perceived(objects=seen, obstacles=there))
    assert len(nothing["detections"].detections) == 0 and nothing["obstacles/points"].width == 0
    assert len(nothing["obstacles/markers"].markers) == 1


def test_outputs_ask_for_what_they_need() -> None:
    for name in NAMES:
        wanted = wanted_for([name])
        flags = {flag: getattr(wanted, flag) for flag in ("panoptic", "detections", "obstacles", "mask", "grid")}
        assert [flag for flag, is_on in flags.items() if is_on] == [name.split("/")[0]]
