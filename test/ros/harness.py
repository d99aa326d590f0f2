"""Real ROS 2 between separate processes: what the tests of the node share."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
IMAGE = "sensor_msgs/msg/Image"

_WHEELS_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
_domains = itertools.count(random.randrange(100))


def free_domain() -> int:
    """A ROS domain in which nobody is: its discovery port can be bound."""
    for number in _domains:
        domain = 1 + number % 100
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7400 + 250 * domain))
                return domain
            except OSError:
                continue
    raise AssertionError("unreachable")


def environment(domain: int) -> dict[str, str]:
    """For another Python that runs this source tree in this domain, with the shipped profile."""
    from seg_perception.ros import dds

    env = dict(os.environ)
    if env.pop(_WHEELS_GUARD, None):
        # The wheels set both for this interpreter alone.
        env.pop("LD_LIBRARY_PATH", None)
    env["PYTHONPATH"] = os.pathsep.join([str(REPO), *filter(None, [env.get("PYTHONPATH")])])
    env["ROS_DOMAIN_ID"] = str(domain)
    env.update(dds.profile_environment(REPO / "config" / dds.PROFILE_FILE, env))
    return env


class Process:
    """A child process whose output is kept."""

    def __init__(self, command: list[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, env=dict(env), stdout=out, stderr=subprocess.STDOUT)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float = 30.0) -> int:
        """The exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s:\n{self.text}") from None

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 30.0) -> int:
        """Send a signal; the exit code."""
        self.send(number)
        return self.wait(timeout_s)

    def wait_for_library(self, name: str, extra_s: float = 0.0) -> None:
        """Until it has loaded a shared library of that name, and a little longer."""
        maps = Path(f"/proc/{self.pid}/maps")
        while self.running and name not in maps.read_text():
            time.sleep(0.005)
        time.sleep(extra_s)

    def end(self) -> None:
        """By SIGTERM: what is killed leaves its shared memory behind, and a container has little of it."""
        if self.running:
            self.send(signal.SIGTERM)
        try:
            self._process.wait(3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Ros:
    """This test's own domain: child processes in it, and a client node in this process.

    Args:
        folder: for logs and parameter files.
    """

    def __init__(self, folder: Path) -> None:
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor

        self.folder, self.domain = folder, free_domain()
        self.env = environment(self.domain)
        self._children: list[Process] = []
        self._clients: dict[str, Any] = {}
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self.domain)
        self.client = rclpy.create_node("client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.client)
        self.statuses: dict[str, Any] = {}
        self.reports = 0
        from diagnostic_msgs.msg import DiagnosticArray

        self.client.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, message: Any) -> None:
        self.reports += 1
        for status in message.status:
            self.statuses[status.name] = status

    def close(self) -> None:
        for child in self._children:
            child.end()
        self._executor.shutdown()
        self.client.destroy_node()
        self._context.shutdown()

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> Process:
        """Another Python: `start("-m", "some.module")` or `start("script.py")`."""
        log = self.folder / f"process{len(self._children)}.log"
        child = Process([sys.executable, *command], {**self.env, **(env or {})}, log)
        self._children.append(child)
        return child

    def start_node(self, *ros_args: str, **parameters: Any) -> Process:
        """The segmentation node; `__` in a parameter's name stands for a dot."""
        return self.start(*node_command(parameters), *ros_args)

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
        """Serve callbacks until the condition holds; its value."""
        end_s = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > end_s:
                logs = "\n".join(f"--- {child.log.name}\n{child.text}" for child in self._children)
                raise AssertionError(f"not within {timeout_s} s: {what}\n{self.describe()}\n{logs}")
            self._executor.spin_once(timeout_sec=0.02)
        return value

    def spin(self, seconds: float) -> None:
        """Serve callbacks for a while."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.02)

    def describe(self) -> str:
        return "\n".join(f"{name}: {s.level!r} {s.message} {self.values(name)}" for name, s in self.statuses.items())

    def values(self, name: str = "segmentation: camera") -> dict[str, str]:
        """Key and value of a diagnostic status; empty before the first."""
        status = self.statuses.get(name)
        return {v.key: v.value for v in status.values} if status else {}

    def level(self, name: str = "segmentation: camera") -> int:
        return int.from_bytes(self.statuses[name].level, "little")

    def message(self, name: str = "segmentation: camera") -> str:
        return str(self.statuses[name].message) if name in self.statuses else ""

    def state(self) -> str:
        return self.values("segmentation: model").get("state", "")

    def fresh_report(self) -> None:
        """Wait until diagnostics have been told anew, about all that happened before this call."""
        seen = self.reports
        self.until(lambda: self.reports >= seen + 2, "two more diagnostics")

    def count(self, key: str, camera: str = "segmentation: camera") -> int:
        return int(self.values(camera).get(key, "0"))

    def wait_active(self) -> None:
        self.until(lambda: self.state() == "active", "the node is active")

    def subscribe(self, type_name: str, topic: str, qos: Any = 50) -> list[Any]:
        """The list that fills with what arrives."""
        from seg_perception.ros.kit import message_class

        got: list[Any] = []
        self.client.create_subscription(message_class(type_name), topic, got.append, qos)
        return got

    def publisher(self, type_name: str, topic: str, qos: Any = None) -> Any:
        """A publisher that somebody is matched to already."""
        from rclpy.qos import qos_profile_sensor_data

        from seg_perception.ros.kit import message_class

        publisher = self.client.create_publisher(message_class(type_name), topic, qos or qos_profile_sensor_data)
        self.until(publisher.get_subscription_count, f"a subscriber of {topic}")
        return publisher

    def publish_until_seen(self, publisher: Any, message: Any, got: list[Any]) -> Any:
        """Publish, again and again while the graph settles, until its answer is among what was got; the answer."""
        before, sent_s = len(got), 0.0

        def answer() -> Any:
            nonlocal sent_s
            if time.monotonic() - sent_s > 0.3:
                sent_s = time.monotonic()
                publisher.publish(message)
            return next((m for m in got[before:] if m.header.stamp == message.header.stamp), None)

        return self.until(answer, "a result for the image")

    def call(self, srv_class: Any, name: str, request: Any) -> Any:
        """A service's answer."""
        if name not in self._clients:
            self._clients[name] = client = self.client.create_client(srv_class, name)
            self.until(client.service_is_ready, f"service {name}")
            self.spin(0.7)  # ready is what this side knows; the other loses its answer if it does not know us yet
        future = self._clients[name].call_async(request)
        self.until(future.done, f"answer of {name}")
        return future.result()


def node_command(parameters: Mapping[str, Any]) -> list[str]:
    """Arguments for Python; `__` in a parameter's name stands for a dot."""
    options = [arg for name, value in parameters.items() for arg in ("-p", _rule(name, value))]
    return ["-m", "seg_perception.ros.node", "--ros-args", *options]


def start_alone(folder: Path, **parameters: Any) -> Process:
    """The segmentation node in a free domain, nobody else there."""
    env = environment(free_domain())
    return Process([sys.executable, *node_command(parameters)], env, folder / "node.log")


def _rule(name: str, value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{name.replace('__', '.')}:={text}"
