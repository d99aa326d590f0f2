"""A camera process: publishes numbered pictures, best effort, and says how it went.

usage: camera.py COUNT RATE_HZ
"""

from __future__ import annotations

import sys
import time

import rclpy
from pictures import PERIOD, picture, stamp_ns
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image


def main(count: int, rate_hz: float) -> None:
    rclpy.init()
    node = rclpy.create_node("camera_driver")
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
    messages = []
    for index in range(min(count, PERIOD)):
        pixels = picture(index)
        message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="bgr8", step=pixels.shape[1] * 3)
        message.header.frame_id = "front_camera"
        message.data.frombytes(pixels.reshape(-1))
        messages.append(message)
    while not publisher.get_subscription_count():
        time.sleep(0.02)
    time.sleep(0.5)  # discovery is mutual; best effort loses what comes before the other side knows
    start_s = due_s = time.monotonic()
    for index in range(count):
        message = messages[index % PERIOD]
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp_ns(index), 1_000_000_000)
        time.sleep(max(0.0, due_s - time.monotonic()))
        publisher.publish(message)
        # Where the machine stood still, a camera has a gap; it does not catch up in a burst.
        due_s = max(due_s, time.monotonic() - 0.5 / rate_hz) + 1 / rate_hz
    print(f"sent {count} in {time.monotonic() - start_s:.2f} s", flush=True)
    time.sleep(1.0)
    rclpy.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
