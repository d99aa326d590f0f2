"""A camera made of a recording: `python -m seg_perception.ros.player SOURCE --topic /camera/image_raw --rate 15`.

Publishes a bag's, a video's or a folder's pictures, or the simulated street, as a camera driver would: sensor
QoS, one picture every 1 / rate seconds, stamped when it is sent.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from seg_perception.errors import SegPerceptionError
from seg_perception.messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, camera_info_message, sent_image
from seg_perception.ros.kit import RclpyKit, message_class
from seg_perception.sources import Source, open_source
from seg_perception.types import CompressedImage, Frame

__all__ = ["Player", "main"]

_LISTENER_S = 60.0
_SETTLE_S = 0.5
"""Discovery is mutual: what is sent best effort before the subscriber knows of us as well is lost, and so may be
what was sent just before its sender went away."""
_AHEAD = 8


class _Ahead:
    """The same frames, read a few ahead in a thread, so that reading does not disturb the rate.

    The thread has ended when the context is left: one that still renders while the interpreter goes
    down takes the process with it.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._ready: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(frames,), name="reader")
        self._thread.start()

    def _read(self, frames: Iterable[Frame]) -> None:
        try:
            for frame in frames:
                if not self._put(frame):
                    return
            self._put(None)
        except Exception as exc:  # handed over to the consumer, which raises it
            self._put(exc)

    def _put(self, item: object) -> bool:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(item, timeout=0.1)
                return True
        return False

    def __iter__(self) -> Iterator[Frame]:
        while True:
            item = self._ready.get()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


class Player(Node):
    """Publishes frames and, where they have one, their calibration.

    Args:
        topic: of the images; compressed ones go to `<topic>/compressed`, camera_info beside it.
        compressed: what the frames hold.
    """

    def __init__(self, topic: str, compressed: bool) -> None:
        super().__init__("player")
        self._kit = RclpyKit()
        base = topic.rsplit("/", 1)[0]
        kind, name = (COMPRESSED_IMAGE, f"{topic}/compressed") if compressed else (IMAGE, topic)
        self._images = self.create_publisher(message_class(kind), name, qos_profile_sensor_data)
        self._infos = self.create_publisher(message_class(CAMERA_INFO), f"{base}/camera_info", qos_profile_sensor_data)

    def wait_for_listener(self) -> None:
        """Until somebody subscribes to the images; SegPerceptionError after a minute."""
        deadline = time.monotonic() + _LISTENER_S
        while not self._images.get_subscription_count():
            if time.monotonic() > deadline:
                raise SegPerceptionError(f"nobody subscribed to {self._images.topic_name} in {_LISTENER_S:.0f} s")
            time.sleep(0.02)
        time.sleep(_SETTLE_S)

    def send(self, frame: Frame) -> int:
        """Publish one frame now; returns the stamp that it got, nanoseconds."""
        stamp_ns = time.time_ns()
        if frame.camera is not None:
            self._infos.publish(camera_info_message(self._kit, stamp_ns, frame.frame_id, frame.camera))
        self._images.publish(sent_image(self._kit, stamp_ns, frame))
        return stamp_ns


def play(source: Source, topic: str, rate_hz: float, limit: int, stamps: Path | None) -> int:
    """Publish a source's frames; returns how many. `stamps` gets a line `<index> <stamp_ns>` for each."""
    sent: list[int] = []
    with _Ahead(itertools.islice(source, limit or None)) as frames:
        player: Player | None = None
        due_s = 0.0
        for frame in frames:
            if player is None:
                player = Player(topic, isinstance(frame.image, CompressedImage))
                player.wait_for_listener()
                due_s = time.monotonic()
            time.sleep(max(0.0, due_s - time.monotonic()))
            sent.append(player.send(frame))
            # Where reading or the machine was slow there is a gap; a camera does not catch up in a burst.
            due_s = max(due_s, time.monotonic() - 0.5 / rate_hz) + 1 / rate_hz
    if player is None:
        raise SegPerceptionError(f"{source.name}: there is no image in it")
    if stamps is not None:
        stamps.write_text("".join(f"{i} {stamp_ns}\n" for i, stamp_ns in enumerate(sent)))
    time.sleep(_SETTLE_S)
    player.destroy_node()
    return len(sent)


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a bag, a video or a folder of images; `simulated` for the embedded street")
    parser.add_argument("--topic", default="/camera/image_raw", help="to publish on (default %(default)s)")
    parser.add_argument("--from-topic", help="which topic of a bag with several")
    parser.add_argument("--rate", type=float, default=15.0, help="pictures per second (default %(default)s)")
    parser.add_argument("--limit", type=int, default=0, help="stop after so many; 0 plays all")
    parser.add_argument("--stamps", type=Path, help="file for the stamp of every picture")
    args = parser.parse_args(argv)
    rclpy.init()
    try:
        with contextlib.closing(open_source(args.source, topic=args.from_topic, rate_hz=args.rate)) as source:
            play(source, args.topic, args.rate, args.limit, args.stamps)
        return 0
    except SegPerceptionError as exc:
        print(f"player: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if rclpy.ok():
            rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
