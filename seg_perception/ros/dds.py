"""Fast DDS and camera images: which environment variable names the shared-memory profile.

Fast DDS's default shared-memory segment is smaller than an image, so that images fall back to fragmented
UDP, where most of them are lost. `config/fastdds_shm.xml` repairs that in every process that has it, the
camera's included. Nothing here imports rclpy: the profile must be set before anything does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

__all__ = ["PROFILE_FILE", "find_profile", "profile_environment", "profile_variable"]

PROFILE_FILE = "fastdds_shm.xml"

_OLD_NAME = "FASTRTPS_DEFAULT_PROFILES_FILE"
_NEW_NAME = "FASTDDS_DEFAULT_PROFILES_FILE"
_CHOSEN_BY_USER = (_OLD_NAME, _NEW_NAME, "FASTDDS_BUILTIN_TRANSPORTS")
_READ_THE_OLD_NAME_ONLY = ("foxy", "galactic", "humble", "iron", "jazzy")
_FIRST_RCLPY_WITH_NEW_NAME = 9  # Kilted
_RCLPY_PACKAGES = ("ros-rclpy", "rclpy")  # the wheel's name and a ROS installation's


def profile_variable(environ: Mapping[str, str]) -> str:
    """The environment variable from which this ROS distribution's Fast DDS reads a profile file.

    Fast DDS 2 (up to Jazzy) reads only `FASTRTPS_DEFAULT_PROFILES_FILE`; Fast DDS 3 (from Kilted on) warns
    about it and reads `FASTDDS_DEFAULT_PROFILES_FILE`.
    """
    distribution = environ.get("ROS_DISTRO", "")
    if distribution:
        return _OLD_NAME if distribution in _READ_THE_OLD_NAME_ONLY else _NEW_NAME
    # The wheels set no ROS_DISTRO.
    return _NEW_NAME if _rclpy_major() >= _FIRST_RCLPY_WITH_NEW_NAME else _OLD_NAME


def _rclpy_major() -> int:
    for package in _RCLPY_PACKAGES:
        try:
            return int(metadata.version(package).split(".")[0])
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return 0


def profile_environment(profile: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What to add to a process's environment for the profile; empty where the user has chosen transports already."""
    if any(environ.get(name) for name in _CHOSEN_BY_USER):
        return {}
    return {profile_variable(environ): str(profile)}


def find_profile(environ: Mapping[str, str]) -> Path | None:
    """The shipped profile of this installation or source tree, None where it was not installed."""
    return next((path for path in _candidates(environ) if path.is_file()), None)


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Beside the package in a source tree; then under `share` of every prefix that may hold it."""
    here = Path(__file__).resolve()
    yield here.parents[2] / "config" / PROFILE_FILE
    prefixes = [p for p in environ.get("AMENT_PREFIX_PATH", "").split(":") if p]
    # A colcon or --prefix installation keeps lib/python3.x/site-packages three levels below its prefix's lib.
    prefixes += [str(parent.parent) for parent in Path(__file__).parents if parent.name in ("lib", "local")]
    for prefix in (*prefixes, sys.prefix):
        yield Path(prefix) / "share" / "seg_perception" / "config" / PROFILE_FILE
