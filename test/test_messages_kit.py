"""Messages about objects made by rosbags' kit and by rclpy's: the same bytes, and as the classes' own setters do it."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
import pytest
from found_objects import BUILDERS, hostile, scene, xyz

pytest.importorskip("rosbags", reason="bags need rosbags")

from seg_perception.bag import RosbagsKit


@pytest.mark.parametrize("type_name", BUILDERS)
@pytest.mark.parametrize("count", [0, 1, 23])
def test_both_worlds_send_the_same(live_kit: Any, type_name: str, count: int) -> None:
    from rclpy.serialization import serialize_message

    seen, there = scene(count, seed=count)
    bags = RosbagsKit()
    stored = bytes(bags.serialize(BUILDERS[type_name](bags, seen, there), type_name))
    sent = bytes(serialize_message(BUILDERS[type_name](live_kit, seen, there)))
    assert len(sent) == len(stored)
    # What lies between fields to align them may be anything.
    assert bytes(bags.serialize(bags.deserialize(sent, type_name), type_name)) == stored


@pytest.mark.parametrize("type_name", BUILDERS)
def test_every_field_is_what_checked_setters_accept(live_kit: Any, type_name: str) -> None:
    """The fast path skips the checks of rclpy's setters; what it sets would pass them, and is the same."""
    from seg_perception.ros.kit import RclpyKit, message_class

    class Checked(RclpyKit):
        def make_many(self, type_name: str, count: int, /, **columns: Any) -> list[Any]:
            kind = message_class(type_name)
            check = {"check_fields": True} if "_check_fields" in kind.__slots__ else {}
            rows = zip(range(count), *columns.values())
            return [kind(**check, **dict(zip(columns, row))) for _, *row in rows]

    seen, there = scene(9, seed=4)
    there = replace(there, velocities_mps=np.nan_to_num(there.velocities_mps))  # NaN is not equal to itself
    assert BUILDERS[type_name](live_kit, seen, there) == BUILDERS[type_name](Checked(), seen, there)


def test_messages_made_in_bulk_can_be_read_shown_and_changed(live_kit: Any) -> None:
    (point,) = live_kit.make_many("geometry_msgs/msg/Point", 1, z=[3.0], x=[1.0], y=repeat(2.0))
    assert xyz(point) == (1.0, 2.0, 3.0) and "z=3.0" in repr(point)
    point.x = 5.0
    assert xyz(point) == (5.0, 2.0, 3.0)


def test_a_column_that_is_too_short_is_refused(kit: Any) -> None:
    with pytest.raises(ValueError, match="Point: y has 1 values; expected 2"):
        kit.make_many("geometry_msgs/msg/Point", 2, x=[0.0, 0.0], y=[0.0], z=repeat(0.0))


@pytest.mark.parametrize("type_name", BUILDERS)
def test_other_message_classes_are_filled_by_their_setters(
    live_kit: Any, type_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, there = scene(5)
    there = replace(there, velocities_mps=np.nan_to_num(there.velocities_mps))
    expected = BUILDERS[type_name](live_kit, seen, there)
    monkeypatch.setattr("seg_perception.ros.kit._filler", lambda *_: None)
    assert BUILDERS[type_name](live_kit, seen, there) == expected


class Plain:
    """A message class that keeps its fields elsewhere than rosidl_generator_py's do."""

    def __init__(self) -> None:
        self.x = self.y = 0.0

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        return {"x": "double", "y": "double"}


class Slotted(Plain):
    __slots__ = ["_x", "_z"]


@pytest.mark.parametrize("kind", [Plain, Slotted])
def test_classes_of_another_make_are_recognised(live_kit: Any, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg_perception.ros.kit.message_class", lambda name: kind)
    first, second = live_kit.make_many(f"test/msg/{kind.__name__}", 2, x=[1.0, 2.0], y=repeat(3.0))
    assert (first.x, second.x, first.y, second.y) == (1.0, 2.0, 3.0, 3.0)


@pytest.mark.parametrize("type_name", BUILDERS)
def test_a_frame_leaves_nothing_for_the_next(live_kit: Any, type_name: str) -> None:
    from rclpy.serialization import deserialize_message, serialize_message

    from seg_perception.ros.kit import RclpyKit, message_class

    def plain(kit: Any, n: int) -> Any:
        """What a receiver gets."""
        seen, there = scene(n, seed=n)
        there = replace(there, velocities_mps=np.nan_to_num(there.velocities_mps))
        return deserialize_message(serialize_message(BUILDERS[type_name](kit, seen, there)), message_class(type_name))

    fresh = [plain(RclpyKit(), n) for n in (50, 3, 20)]
    assert [plain(live_kit, n) for n in (50, 3, 20)] == fresh


@pytest.mark.parametrize("type_name", BUILDERS)
def test_impossible_numbers_pass(live_kit: Any, type_name: str) -> None:
    from rclpy.serialization import serialize_message

    bags = RosbagsKit()
    seen, there = hostile()
    sent = bytes(serialize_message(BUILDERS[type_name](live_kit, seen, there)))
    stored = bytes(bags.serialize(BUILDERS[type_name](bags, seen, there), type_name))
    assert bytes(bags.serialize(bags.deserialize(sent, type_name), type_name)) == stored
