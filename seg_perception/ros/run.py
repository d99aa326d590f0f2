"""The life of the process: start, spin, stop."""

from __future__ import annotations

import contextlib
import sys
import traceback

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from seg_perception.errors import SegPerceptionError
from seg_perception.ros.segmentation import SegmentationNode
from seg_perception.ros.stop import StopRequest

__all__ = ["run"]

_PAUSE_AFTER_ERROR_S = 0.1

_USAGE = (
    "usage: segmentation_node [--ros-args [-p NAME:=VALUE] [--params-file FILE] [-r image:=TOPIC] ...]\n"
    "Parameters and topics: config/node.yaml and README.md of seg_perception."
)


def run(args: list[str], stop: StopRequest) -> int:
    """The node until it is asked to stop.

    Args:
        args: the command line, the program's name first.

    Returns:
        exit code: 0 after a request to stop, 1 after an error, 2 for a wrong command line.
    """
    try:
        extra = remove_ros_args(args)[1:]
        if extra:
            asked = extra[0] in ("-h", "--help")
            print(_USAGE, file=sys.stdout if asked else sys.stderr)
            return 0 if asked else 2
        # Signals are ours: rclpy's own handlers would pull the middleware from under a frame in progress.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as exc:  # RCLError and UnknownROSArgsError have no common base
        print(f"segmentation_node: wrong command line: {type(exc).__name__} {exc}", file=sys.stderr)
        return 2
    try:
        return _serve(stop)
    finally:
        with contextlib.suppress(Exception):
            rclpy.try_shutdown()


def _serve(stop: StopRequest) -> int:
    try:
        node = SegmentationNode()
    except SegPerceptionError as exc:
        get_logger("segmentation").fatal(str(exc))
        return 1
    try:
        if node.config.autostart and not node.bring_up(lambda: not stop.requested):
            return 1
        _spin(node, stop)
        return 0
    finally:
        node.close()


def _spin(node: SegmentationNode, stop: StopRequest) -> None:
    """Serve callbacks until a stop is requested; an error in one of them ends nothing."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop.on_request(executor.wake)
    while rclpy.ok() and not stop.requested:
        try:
            executor.spin_once()
        except ExternalShutdownException:
            break
        except Exception:
            node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
            stop.wait(_PAUSE_AFTER_ERROR_S)
    stop.on_request(lambda: None)
    executor.remove_node(node)
    executor.shutdown()
