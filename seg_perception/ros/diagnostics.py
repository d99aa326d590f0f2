"""What /diagnostics says: a status for each camera, and one for the model."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy

from seg_perception import __version__
from seg_perception.config import PipelineConfig
from seg_perception.latency import FrameCounts
from seg_perception.pipeline import Pipeline
from seg_perception.ros import dds
from seg_perception.ros.stream import CameraStream
from seg_perception.ros.transforms import TransformListener

__all__ = ["ERROR", "OK", "WARN", "CameraReporter", "Status", "model_status", "transform_values"]

OK, WARN, ERROR = 0, 1, 2
"""diagnostic_msgs/DiagnosticStatus levels."""

Status = tuple[int, str, str, str, Mapping[str, str]]
"""Level, name, message, hardware_id and values: a row of `messages.diagnostics_message`."""

_OPTICAL = "optical"
"""What REP 103 has in the name of every optical frame."""

_FUTURE_MS = 50.0
"""Stamps further ahead than this are no jitter: the clocks differ."""


@dataclass(frozen=True)
class _Period:
    """What happened between two reports.

    Attributes:
        seconds: between them.
        received, published, late, idle: frames in that time.
        failed, unlocated: by reason, in that time.
    """

    seconds: float
    received: int
    published: int
    late: int
    idle: int
    failed: Mapping[str, int]
    unlocated: Mapping[str, int]

    @classmethod
    def between(cls, before: FrameCounts, after: FrameCounts, seconds: float) -> _Period:
        return cls(
            max(seconds, 1e-6),
            after.received - before.received,
            after.published - before.published,
            after.late - before.late,
            after.idle - before.idle,
            _more(before.failed, after.failed),
            _more(before.unlocated, after.unlocated),
        )


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was added, without what was not."""
    return {reason: n - before.get(reason, 0) for reason, n in after.items() if n > before.get(reason, 0)}


class CameraReporter:
    """Watches one camera from report to report.

    Args:
        node: for the graph and the names.
        stream: the camera.
    """

    def __init__(self, node: Node, stream: CameraStream) -> None:
        self._node, self._stream = node, stream
        self._before, self._reported_s = stream.monitor.counts(), time.monotonic()

    def status(self, name: str, state: str, config: PipelineConfig) -> Status:
        """The row of this camera; `state` is the node's lifecycle state."""
        now_s, counts = time.monotonic(), self._stream.monitor.counts()
        period = _Period.between(self._before, counts, now_s - self._reported_s)
        self._before, self._reported_s = counts, now_s
        times_ms = self._stream.monitor.percentiles()
        level, text = self._judge(state, config, now_s, period, times_ms)
        return level, name, text, self._stream.image_topic, self._values(counts, period, times_ms)

    def _judge(
        self, state: str, config: PipelineConfig, now_s: float, period: _Period, times_ms: Mapping[str, Any]
    ) -> tuple[int, str]:
        if state != "active":
            return OK, f"{state}: not listening to the camera"
        silent_s = now_s - self._stream.last_image_s
        if silent_s > config.image_timeout_s:
            return self._explain_silence(silent_s)
        busy_s = now_s - (self._stream.busy_since_s or now_s)
        if busy_s > config.image_timeout_s:
            return ERROR, f"an image is being processed since {busy_s:.1f} s: the engine is far too slow, or hangs"
        if period.failed:
            return self._failures(period)
        if period.unlocated:
            reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(period.unlocated.items()))
            return WARN, f"masks go out, but nothing in metres ({reasons}); last: {self._stream.last_ground_error}"
        if period.late:
            late = f"{period.late} of {period.published} masks older than {config.deadline_ms:g} ms"
            return WARN, f"{late}; see the stages' times for where it goes"
        frame_id = self._stream.last_frame_id
        if frame_id and _OPTICAL not in frame_id and _uses_tf(config, self._stream.name):
            return WARN, (
                f"images have the frame_id {frame_id!r}, taken for an optical frame (REP 103: z forward, x right); if "
                "it is one, call it ..._optical_frame, else correct it in the camera's driver"
            )
        if not self._stream.monitor.counts().received:
            return OK, "waiting for the first image"
        if period.idle and not period.published:
            return OK, "images arrive; nobody listens to a result, so that nothing is computed"
        if "age" not in times_ms:
            return OK, "the first images are being processed"
        p50_ms = times_ms["age"][0]
        if p50_ms < -_FUTURE_MS:
            return WARN, (
                f"images are stamped {-p50_ms:.0f} ms in the future; synchronise the clocks of the camera's host and "
                "this one (chrony), or check use_sim_time"
            )
        return OK, f"{period.published / period.seconds:.1f} masks/s, age {p50_ms:.0f} ms (median)"

    def _failures(self, period: _Period) -> tuple[int, str]:
        """Nothing usable for a whole period is an error, single bad images are not."""
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(period.failed.items()))
        level, total = (WARN if period.published else ERROR), sum(period.failed.values())
        return level, f"{total} images refused ({reasons}); last: {self._stream.last_error}"

    def _explain_silence(self, silent_s: float) -> tuple[int, str]:
        """Why no image may have come, from what the graph knows."""
        topic = self._stream.image_topic
        # The one graph call that every distribution has with types and qualities of service.
        publishers = self._node.get_publishers_info_by_topic(topic)
        silence = f"no image on {topic} for {silent_s:.1f} s"
        if not publishers:
            level = ERROR if self._stream.monitor.counts().received else WARN
            return level, f"{silence}: nobody publishes it; start the camera, or remap image to its topic"
        types = sorted({p.topic_type for p in publishers} - {self._stream.image_type})
        if types:
            return ERROR, (
                f"{silence}: it carries {types[0]}, expected {self._stream.image_type}; "
                f"set {self._stream.name}.transport or remap image"
            )
        best_effort = all(p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for p in publishers)
        if best_effort and self._stream.reliable:
            return ERROR, (
                f"{silence}: its publisher is best_effort, which a reliable subscription never hears; "
                "set input_reliability to best_effort"
            )
        names = ", ".join(sorted({f"{p.node_namespace.rstrip('/')}/{p.node_name}" for p in publishers}))
        return ERROR, f"{silence} though {names} publishes it: it sends nothing, or what it sends is lost. {_remedy()}"

    def _values(self, counts: FrameCounts, period: _Period, times_ms: Mapping[str, Any]) -> dict[str, str]:
        values = {
            "image": self._stream.last_image or "none yet",
            "received": str(counts.received),
            "published": str(counts.published),
            "dropped": str(counts.dropped),
            "failed": str(counts.failed_total),
            "idle": str(counts.idle),
            "late": str(counts.late),
            **{f"failed/{reason}": str(n) for reason, n in sorted(counts.failed.items())},
            **{f"without_metres/{reason}": str(n) for reason, n in sorted(counts.unlocated.items())},
            **{f"objects/{what}": str(n) for what, n in sorted(counts.things.items())},
            "images_per_s": f"{period.received / period.seconds:.2f}",
            "masks_per_s": f"{period.published / period.seconds:.2f}",
        }
        for stage, measured in times_ms.items():
            for which, value in zip(("p50", "p95", "max"), measured):
                values[f"{stage}_{which}_ms"] = f"{value:.2f}"
        values["last_error"] = self._stream.last_error or "none"
        return values


def _uses_tf(config: PipelineConfig, camera: str) -> bool:
    return any(c.name == camera and c.pose_source == "tf" for c in config.camera_configs)


def _remedy() -> str:
    """What to do about images that are sent and do not arrive."""
    if "fastrtps" not in rclpy.get_rmw_implementation_identifier():
        return "Check the network and the middleware's buffer sizes"
    variable = dds.profile_variable(os.environ)
    profile = dds.find_profile(os.environ)
    here = "" if os.environ.get(variable) else " (this node has none set)"
    return (
        "Fast DDS loses large images without the shared-memory profile, which the camera's process needs as well as "
        f"this one{here}: set {variable}={profile or dds.PROFILE_FILE} for it and start it again"
    )


def transform_values(listener: TransformListener | None) -> dict[str, str]:
    """What became of the transforms that were heard."""
    if listener is None:
        return {}
    values = {"transforms_received": str(listener.received), "transforms_refused": str(listener.refused)}
    return {**values, "last_transform_error": listener.last_error} if listener.last_error else values


def model_status(name: str, state: str, pipeline: Pipeline | None, config: PipelineConfig, error: str) -> Status:
    """The row of the model and its engine.

    Args:
        state: the node's lifecycle state.
        pipeline: None while there is none.
        error: why the last transition failed, or empty.
    """
    values = {"state": state, "seg_perception": __version__, "model": config.model, "backend": config.backend}
    if pipeline is None:
        level, text = (ERROR, error) if error else (OK, f"{state}: no model loaded")
        return level, name, text, config.backend, values
    values.update(_engine(pipeline.backend))
    values["warm_up_ms"] = f"{pipeline.warm_up_ms:.2f}"
    values["labels"] = f"{pipeline.labels.name} ({len(pipeline.labels)})"
    values["panoptic_divisor"] = str(pipeline.panoptic_divisor)
    return (ERROR, name, error, config.backend, values) if error else (OK, name, state, config.backend, values)


def _engine(backend: Any) -> dict[str, str]:
    """What an engine tells about itself; which of these it has is its own affair."""
    values = {"description": backend.description}
    bundle = getattr(backend, "bundle", None)
    if bundle is not None:
        values.update(model=f"{bundle.name} {bundle.version}", model_file=str(bundle.path), sha256=bundle.sha256)
    if backend.input_hw is not None:
        values["input"] = f"{backend.input_hw[1]}x{backend.input_hw[0]}"
    for provider, nodes in getattr(backend, "placement", {}).items():
        values[f"nodes on {provider}"] = str(nodes)
    if hasattr(backend, "threads"):
        values["threads"] = str(backend.threads)
    return values
