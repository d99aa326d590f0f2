"""Runs the launch file as `ros2 launch` does, which is not everywhere.

usage: launch_it.py [argument:=value ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "segmentation.launch.py"


def main(arguments: list[str]) -> int:
    given = [tuple(argument.split(":=", 1)) for argument in arguments]
    included = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(LAUNCH_FILE)), launch_arguments=given)
    service = LaunchService()
    service.include_launch_description(LaunchDescription([included]))
    return int(service.run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
