"""How the node starts, is driven, falls silent and ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import start_alone
from pictures import image_of, picture, stamp_ns

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def test_silence_is_explained_with_its_remedy(ros: Any, replayed: dict[str, Any]) -> None:
    from seg_perception.ros import dds

    ros.start_node(image_timeout_s=1.0, **replayed)
    ros.until(lambda: "nobody publishes" in ros.message(), "it is said that nobody publishes")
    assert ros.level() == 1
    publisher = ros.publisher(IMAGE, "image")
    ros.until(lambda: dds.profile_variable(ros.env) in ros.message(), "the remedy is named")
    assert ros.level() == 2 and dds.PROFILE_FILE in ros.message() and "/client publishes it" in ros.message()
    masks = ros.subscribe(IMAGE, "segmentation/mask")
    ros.publish_until_seen(publisher, image_of(picture(0), 0), masks)
    ros.until(lambda: ros.level() == 0, "all is well again")


@pytest.mark.filterwarnings("ignore:Deprecated in favor of:DeprecationWarning")  # rclpy's own of another of its own
def test_silence_of_the_wrong_type_or_quality_is_named(ros: Any, replayed: dict[str, Any]) -> None:
    ros.start_node(input_reliability="reliable", image_timeout_s=0.5, **replayed)
    ros.wait_active()
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image

    publisher = ros.client.create_publisher(Image, "image", qos_profile_sensor_data)
    ros.until(lambda: "set input_reliability" in ros.message(), "the quality of service is named")
    ros.client.destroy_publisher(publisher)
    ros.client.create_publisher(CompressedImage, "image", 1)
    ros.until(lambda: "it carries sensor_msgs/msg/CompressedImage" in ros.message(), "the type is named")


def test_clocks_that_stand_still_jump_back_or_are_wrong_break_nothing(ros: Any, replayed: dict[str, Any]) -> None:
    from seg_perception.ros.kit import message_class

    node = ros.start_node(use_sim_time=True, **replayed)
    masks = ros.subscribe(IMAGE, "segmentation/mask")
    publisher = ros.publisher(IMAGE, "image")
    ros.publish_until_seen(publisher, image_of(picture(0), 0), masks)  # at time zero: diagnostics still come
    ros.until(lambda: "in the future" in ros.message(), "stamps ahead of the clock are told")
    clock = ros.publisher("rosgraph_msgs/msg/Clock", "/clock", 10)
    for number, shift_s in enumerate((5, 3600, -3600), 1):
        now = message_class("rosgraph_msgs/msg/Clock")()
        now.clock.sec = stamp_ns(0) // 1_000_000_000 + shift_s
        clock.publish(now)
        ros.spin(0.2)
        ros.publish_until_seen(publisher, image_of(picture(number), number), masks)
    ros.fresh_report()
    assert ros.count("failed") == 0
    assert "Traceback" not in node.text


def test_lifecycle_manager_drives_it_up_and_down_again(ros: Any, replayed: dict[str, Any]) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    node = ros.start_node(autostart=False, **replayed)
    masks = ros.subscribe(IMAGE, "segmentation/mask")

    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(ros.call(ChangeState, "/segmentation/change_state", request).success)

    def state() -> str:
        return str(ros.call(GetState, "/segmentation/get_state", GetState.Request()).current_state.label)

    assert state() == "unconfigured"
    assert not change(Transition.TRANSITION_ACTIVATE)  # not from here; and the node answers, and lives
    for index in range(2):
        assert change(Transition.TRANSITION_CONFIGURE) and state() == "inactive"
        ros.until(lambda: ros.state() == "inactive", "diagnostics in every state")
        assert change(Transition.TRANSITION_ACTIVATE) and state() == "active"
        publisher = ros.publisher(IMAGE, "image")
        ros.publish_until_seen(publisher, image_of(picture(index), index), masks)
        assert change(Transition.TRANSITION_DEACTIVATE) and state() == "inactive"
        ros.until(lambda publisher=publisher: not publisher.get_subscription_count(), "nothing is subscribed")
        assert change(Transition.TRANSITION_ACTIVATE)
        assert change(Transition.TRANSITION_DEACTIVATE)
        assert change(Transition.TRANSITION_CLEANUP) and state() == "unconfigured"
        ros.client.destroy_publisher(publisher)
    assert change(Transition.TRANSITION_CONFIGURE) and change(Transition.TRANSITION_ACTIVATE)
    assert change(Transition.TRANSITION_ACTIVE_SHUTDOWN) and state() == "finalized"
    assert "Traceback" not in node.text
    assert node.stop(signal.SIGTERM) == 0


def test_a_lifecycle_manager_is_told_that_a_model_cannot_be_used(ros: Any) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    node = ros.start_node(autostart=False, model="/nowhere.onnx", diagnostics_period_s=0.2)
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not ros.call(ChangeState, "/segmentation/change_state", request).success
    ros.until(lambda: "/nowhere.onnx" in ros.message("segmentation: model"), "diagnostics tell why")
    assert ros.level("segmentation: model") == 2 and ros.state() == "unconfigured"
    assert node.running and "Traceback" not in node.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_within_two_seconds(number: int, ros: Any, tiny_model: Callable[..., Path]) -> None:
    """While nothing arrives, and while images are processed as fast as they come."""
    idle = ros.start_node("-r", "__node:=idle", model=tiny_model())
    ros.until(lambda: "listening to" in idle.text, "the first node listens")
    assert idle.stop(number, timeout_s=2.0) == 0

    busy = ros.start_node(model=tiny_model())
    masks = ros.subscribe(IMAGE, "segmentation/mask")
    publisher = ros.publisher(IMAGE, "image")
    message = image_of(picture(0), 0)
    ros.until(lambda: publisher.publish(message) or len(masks) > 5, "masks flow")
    busy.send(number)
    ros.until(lambda: publisher.publish(message) or not busy.running, "it ends", timeout_s=2.0)
    assert busy.wait() == 0
    for node in (idle, busy):
        assert "Traceback" not in node.text and "rror" not in node.text


def test_signals_while_it_starts(ros_environment: None, tmp_path: Path) -> None:
    """Sent as soon as the middleware is being loaded, and a little later each time."""
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        node = start_alone(folder)
        node.wait_for_library("rclpy", extra_s=0.1 * attempt)
        assert node.stop(signal.SIGINT, timeout_s=2.0) == 0, node.text
        assert "Traceback" not in node.text
