"""Quality of service as rosbag2 writes it into a bag."""

from __future__ import annotations

from seg_perception.config import PipelineConfig

__all__ = ["LATCHED_QOS", "TF_QOS", "frame_qos"]

_FOREVER = "\n    sec: 9223372036\n    nsec: 854775807"


def _text(depth: int, reliable: bool, latched: bool) -> str:
    """In rmw's numbers: Humble reads nothing else, and the later releases read them too."""
    return (
        f"- history: 1\n  depth: {depth}\n  reliability: {1 if reliable else 2}\n  durability: {1 if latched else 2}\n"
        f"  deadline:{_FOREVER}\n  lifespan:{_FOREVER}\n  liveliness: 1\n  liveliness_lease_duration:{_FOREVER}\n"
        "  avoid_ros_namespace_conventions: false"
    )


LATCHED_QOS = _text(depth=1, reliable=True, latched=True)
"""Reliable, transient local: what the node gives label_info."""


TF_QOS = _text(depth=100, reliable=True, latched=False)
"""What everybody gives /tf."""


def frame_qos(config: PipelineConfig) -> str:
    """What the node gives everything that it publishes for a frame."""
    return _text(config.output_depth, config.output_reliability == "reliable", latched=False)
