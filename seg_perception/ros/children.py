"""Nodes in processes of their own, for the demo and the benchmark: started with this interpreter, always ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from seg_perception.errors import SegPerceptionError
from seg_perception.ros.dds import find_profile, profile_environment

__all__ = ["Child", "node_arguments", "private_graph"]

_STOP_S = 5.0


def private_graph(environ: Mapping[str, str]) -> dict[str, str]:
    """What to add to the environment so that only this machine's processes of ours talk to each other.

    The shared-memory profile, a domain of our own unless the user has chosen one, discovery on this
    machine only (Humble reads the second name, later distributions the first).
    """
    added = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if environ.get("ROS_DISTRO", "") == "humble":
        added = {"ROS_LOCALHOST_ONLY": "1"}
    if not environ.get("ROS_DOMAIN_ID"):
        added["ROS_DOMAIN_ID"] = str(20 + os.getpid() % 80)
    profile = find_profile(environ)
    if profile is not None:
        added.update(profile_environment(profile, environ))
    return added


def node_arguments(parameters: Mapping[str, object], remappings: Mapping[str, str]) -> list[str]:
    """`--ros-args` of a node: parameters in YAML's spelling, and what is renamed to what."""
    arguments = ["--ros-args"]
    for name, value in parameters.items():
        spelt = str(value).lower() if isinstance(value, bool) else f"'{value}'" if value == "" else str(value)
        arguments += ["-p", f"{name}:={spelt}"]
    for name, target in remappings.items():
        arguments += ["-r", f"{name}:={target}"]
    return arguments


class Child:
    """One module run as a process, `python -m module arguments`; leaving the context ends it.

    Args:
        log: file for what it prints.
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path, environ: Mapping[str, str]) -> None:
        self.module, self.log = module, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def check(self, may_end: bool = False) -> None:
        """SegPerceptionError with the end of its log if it failed, or ended although it should not."""
        code = self._process.poll()
        if code is None or (code == 0 and may_end):
            return
        said = self.log.read_text(errors="replace").strip().splitlines()[-8:]
        raise SegPerceptionError("\n  ".join([f"{self.module} ended with exit code {code}:", *said]))

    def stop(self) -> None:
        """SIGINT, then SIGKILL where that does not help."""
        if not self.running:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
