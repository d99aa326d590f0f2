"""Where the time goes: stage times, percentiles, and what became of every frame."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["FrameCounts", "LatencyMonitor", "StageClock", "percentiles"]


class StageClock:
    """Splits one frame's time into named stages; `total` is what `stop` adds."""

    __slots__ = ("_last", "_stages", "_start")

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._stages: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End the stage that ran since the last lap. A stage that comes again is added to."""
        now = time.perf_counter()
        self._stages[stage] = self._stages.get(stage, 0.0) + (now - self._last) * 1e3
        self._last = now

    def stop(self) -> dict[str, float]:
        """Milliseconds by stage, in order, and `total`."""
        self._stages["total"] = (time.perf_counter() - self._start) * 1e3
        return self._stages


def percentiles(values_ms: object) -> tuple[float, float, float]:
    """(p50, p95, max) in the unit given; NaN where there are no values."""
    array = np.asarray(values_ms, dtype=float)
    if not array.size:
        return (float("nan"),) * 3
    p50, p95 = np.percentile(array, (50, 95))
    return float(p50), float(p95), float(array.max())


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames so far: received = published + dropped + failed + idle + at most 2 still inside.

    Attributes:
        received: images that reached the callback.
        published: frames whose results went out.
        dropped: frames replaced by a newer one before their turn.
        failed: by reason.
        late: published, but older than the deadline.
        idle: not looked at, because nobody listened to any result.
        unlocated: published, but without what was asked in metres, by reason.
        things: what became of the things in all frames: `kept`, and by why others were not.
    """

    received: int
    published: int
    dropped: int
    failed: Mapping[str, int]
    late: int
    idle: int = 0
    unlocated: Mapping[str, int] = field(default_factory=dict)
    things: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed_total(self) -> int:
        return sum(self.failed.values())


class LatencyMonitor:
    """Counts and recent times of one camera; safe to use from several threads.

    Args:
        window: how many recent frames the percentiles look at.
    """

    def __init__(self, window: int = 300) -> None:
        self._lock = threading.Lock()
        self._window = window
        self._stages: dict[str, deque[float]] = {}
        self._received = self._published = self._dropped = self._late = self._idle = 0
        self._failed: Counter[str] = Counter()
        self._unlocated: Counter[str] = Counter()
        self._things: Counter[str] = Counter()

    def received(self) -> None:
        with self._lock:
            self._received += 1

    def dropped(self) -> None:
        with self._lock:
            self._dropped += 1

    def idle(self) -> None:
        with self._lock:
            self._idle += 1

    def failed(self, reason: str) -> None:
        with self._lock:
            self._failed[reason] += 1

    def unlocated(self, reason: str) -> None:
        with self._lock:
            self._unlocated[reason] += 1

    def things(self, counts: Mapping[str, int]) -> None:
        """What became of the things in one frame."""
        with self._lock:
            self._things.update(counts)

    def published(self, stage_ms: Mapping[str, float], age_ms: float, deadline_ms: float = 0.0) -> None:
        """A frame went out: its stage times, and how old its stamp was then, milliseconds."""
        with self._lock:
            self._published += 1
            self._late += bool(deadline_ms and age_ms > deadline_ms)
            for stage, value in (*stage_ms.items(), ("age", age_ms)):
                self._stages.setdefault(stage, deque(maxlen=self._window)).append(value)

    def counts(self) -> FrameCounts:
        with self._lock:
            return FrameCounts(
                self._received,
                self._published,
                self._dropped,
                dict(self._failed),
                self._late,
                self._idle,
                dict(self._unlocated),
                dict(self._things),
            )

    def percentiles(self) -> dict[str, tuple[float, float, float]]:
        """(p50, p95, max) of recent frames by stage, milliseconds, in the order of the stages."""
        with self._lock:
            recent = {stage: list(values) for stage, values in self._stages.items()}
        return {stage: percentiles(values) for stage, values in recent.items()}
