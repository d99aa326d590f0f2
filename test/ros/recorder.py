"""A process that notes what the node publishes, until SIGTERM.

usage: recorder.py OUT.json

For `mask` and `confidence` each, in the order of arrival: [stamp_ns, frame_id, height, width, step, encoding,
sha256 of the pixels].
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image


def _row(message: Any) -> list[Any]:
    header = message.header
    stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
    pixels = hashlib.sha256(message.data).hexdigest()
    return [stamp_ns, header.frame_id, message.height, message.width, message.step, message.encoding, pixels]


def main(out: Path) -> None:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("recorder")
    rows: dict[str, list[Any]] = {"mask": [], "confidence": []}
    for name, got in rows.items():
        node.create_subscription(Image, f"segmentation/{name}", lambda message, got=got: got.append(_row(message)), 50)
    print("ready", flush=True)
    while not stopped:
        rclpy.spin_once(node, timeout_sec=0.1)
    out.write_text(json.dumps(rows))
    rclpy.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
