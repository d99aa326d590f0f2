"""Transforms over real ROS 2: the tests listen; this file, run as a program, is the process that publishes.

usage: test_transforms_live.py moving | many COUNT
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seg_perception.errors import TransformError
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.geometry.transforms import Transform
from seg_perception.messages import TF_MESSAGE, tf_message, transforms_of

MS = 1_000_000
NO_TURN = (0.0, 0.0, 0.0, 1.0)
RATE_RAD_PER_S, SPEED_M_PER_S = 0.5, 2.0


def _publisher(node: Any, topic: str, latched: bool) -> Any:
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from tf2_msgs.msg import TFMessage

    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    # tf2's broadcasters: depth 100, a latched one 1
    qos = QoSProfile(depth=1 if latched else 100, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
    return node.create_publisher(TFMessage, topic, qos)


def _stamped(parent: str, child: str, stamp_ns: int, at: Any, q: Any) -> Any:
    from geometry_msgs.msg import TransformStamped

    out = TransformStamped()
    out.header.frame_id, out.child_frame_id = parent, child
    out.header.stamp.sec, out.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    moved, turned = out.transform.translation, out.transform.rotation
    moved.x, moved.y, moved.z = map(float, at)
    turned.x, turned.y, turned.z, turned.w = map(float, q)
    return out


def _moving(node: Any) -> Iterator[None]:
    """A cart on a circle at 50 Hz, its camera, and beside every sound transform a broken one."""
    from tf2_msgs.msg import TFMessage

    static, moving = _publisher(node, "/tf_static", True), _publisher(node, "/tf", False)
    static.publish(TFMessage(transforms=[_stamped("base", "camera", 0, (0.5, 0.0, 1.5), NO_TURN)]))
    while True:
        now_ns = time.time_ns()
        half = now_ns % 10**15 / 1e9 * RATE_RAD_PER_S / 2
        q = (0.0, 0.0, math.sin(half), math.cos(half))
        sound = _stamped("odom", "base", now_ns, (now_ns % 10**15 / 1e9 * SPEED_M_PER_S, 0.0, 0.0), q)
        broken = _stamped("odom", "broken", now_ns, (math.nan, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
        moving.publish(TFMessage(transforms=[broken, sound]))
        yield
        time.sleep(0.02)


def _many(node: Any, count: int) -> Iterator[None]:
    """As many publishers, each with one latched message."""
    from tf2_msgs.msg import TFMessage

    publishers = [_publisher(node, "/tf_static", True) for _ in range(count)]
    for number, publisher in enumerate(publishers):
        at = (number, 0.0, 0.0)
        publisher.publish(TFMessage(transforms=[_stamped("base", f"sensor{number}", 0, at, NO_TURN)]))
    while True:
        yield
        time.sleep(0.1)


def main(kind: str, *options: str) -> None:
    import rclpy

    rclpy.init()
    node = rclpy.create_node(f"{kind}_transforms")
    acts = _moving(node) if kind == "moving" else _many(node, int(options[0]))
    next(acts)
    print("published", flush=True)
    while rclpy.ok():
        next(acts)


@contextmanager
def listening(ros: Any, buffer: TransformBuffer, *topics: str) -> Iterator[Any]:
    """A listener of the test's node."""
    from seg_perception.ros.transforms import TransformListener

    listener = TransformListener(ros.client, buffer, *topics)
    listener.listen()
    yield listener
    listener.mute()


def start(ros: Any, *options: str) -> Any:
    pytest.importorskip("tf2_msgs.msg", reason="needs ROS 2 with tf2_msgs")
    sender = ros.start(str(Path(__file__)), *options)
    ros.until(lambda: "published" in sender.text, "the other process publishes")
    return sender


def test_another_process_moves_and_we_know_where_it_was(ros: Any) -> None:
    """Asked for a time that nobody stamped; the motion is even, so that the interpolated answer is the true one."""
    start(ros, "moving")
    buffer = TransformBuffer()
    with listening(ros, buffer) as listener:
        ros.until(lambda: listener.received > 10, "some transforms")
        asked_ns = time.time_ns() - 101 * MS  # 5 intervals ago: between two stamps, both arrived
        answers: list[np.ndarray] = []
        waiting = threading.Thread(target=lambda: answers.append(buffer.wait("odom", "camera", asked_ns, 60.0)))
        waiting.start()
        ros.until(lambda: answers, "an answer")
        waiting.join()
        angle, x = (asked_ns % 10**15 / 1e9 * factor for factor in (RATE_RAD_PER_S, SPEED_M_PER_S))
        c, s = math.cos(angle), math.sin(angle)
        truth = [[c, -s, 0, x + 0.5 * c], [s, c, 0, 0.5 * s], [0, 0, 1, 1.5], [0, 0, 0, 1]]
        np.testing.assert_allclose(answers[0], truth, atol=1e-6)
        assert listener.refused > 0 and "broken in odom" in listener.last_error
        assert abs(listener.refused - (listener.received - 1)) <= 1  # one each, and the camera


def test_waiting_for_what_is_not_sent_yet(ros: Any) -> None:
    start(ros, "moving")
    buffer = TransformBuffer()
    with listening(ros, buffer) as listener:
        ros.until(lambda: listener.received > 10, "some transforms")
        asked_ns = time.time_ns() + 300 * MS
        with pytest.raises(TransformError) as caught:
            buffer.lookup("odom", "camera", asked_ns)
        assert caught.value.reason == "extrapolation_future"
        answers: list[np.ndarray] = []
        waiting = threading.Thread(target=lambda: answers.append(buffer.wait("odom", "camera", asked_ns, 60.0)))
        waiting.start()
        ros.until(lambda: answers, "an answer")
        waiting.join()
        assert time.time_ns() >= asked_ns


def test_each_of_many_latched_messages_arrives_however_busy_the_executor_is(ros: Any) -> None:
    start(ros, "many", "250")
    buffer = TransformBuffer()
    with listening(ros, buffer) as listener:
        time.sleep(3.0)  # all of them arrive while no callback is served
        ros.until(lambda: listener.received >= 250, "all transforms")
        for number in range(250):
            assert buffer.lookup("base", f"sensor{number}", time.time_ns())[0, 3] == number
        assert listener.received == 250 and listener.refused == 0


def test_muted_it_hears_nothing_releases_who_waits_and_can_listen_again(ros: Any) -> None:
    start(ros, "moving")
    buffer = TransformBuffer()
    with listening(ros, buffer) as listener:
        ros.until(lambda: listener.received > 10, "some transforms")
        errors: list[str] = []

        def wait() -> None:
            try:
                buffer.wait("odom", "nowhere", 0, 60.0)
            except TransformError as exc:
                errors.append(exc.reason)

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.1)
        assert waiting.is_alive()
        listener.mute()
        waiting.join(30.0)
        assert errors == ["unknown_frame"]
        before = listener.received
        ros.spin(0.5)
        assert listener.received == before
        listener.listen()
        listener.listen()  # once is enough
        assert len(list(ros.client.subscriptions)) == 3  # with the harness's own
        ros.until(lambda: listener.received > before + 10, "transforms again")


def test_what_we_publish_is_what_we_read_and_topics_can_be_named(ros: Any) -> None:
    pytest.importorskip("tf2_msgs.msg", reason="needs ROS 2 with tf2_msgs")
    from seg_perception.ros.kit import RclpyKit

    half = math.sqrt(0.5)
    sent = [
        Transform("odom", "base", 1_700_000_000_999_999_999, (1.5, -2.0, 0.25), (0.0, half, 0.0, half)),
        Transform("base", "camera", 0, (0.0, 0.0, 1e-3), NO_TURN),
    ]
    message = tf_message(RclpyKit(), sent)
    assert transforms_of(message) == (sent, [])
    buffer = TransformBuffer()
    with listening(ros, buffer, "robot1/tf", "robot1/tf_static") as listener:
        publisher = ros.publisher(TF_MESSAGE, "/robot1/tf", 10)
        for _ in itertools.count():
            publisher.publish(message)
            ros.spin(0.1)
            if listener.received:
                break
        ros.until(lambda: not listener.received % 2, "both transforms")
        assert buffer.lookup("odom", "base", sent[0].stamp_ns)[0, 3] == 1.5


if __name__ == "__main__":
    main(*sys.argv[1:])
