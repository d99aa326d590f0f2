"""The executable `segmentation_node`."""

from __future__ import annotations

import sys

from seg_perception.ros.stop import StopRequest

__all__ = ["main"]


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: command line, the program's name first; None takes the process's.

    Returns:
        exit code: 0 after a request to stop, 1 after an error, 2 for a wrong command line.
    """
    stop = StopRequest()
    stop.install()
    # What is slow to import comes after the signals are in good hands.
    from seg_perception.ros.run import run

    try:
        return run(sys.argv if args is None else args, stop)
    finally:
        stop.finished()


if __name__ == "__main__":
    sys.exit(main())
