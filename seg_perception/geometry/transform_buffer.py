"""A buffer that knows where every frame was a moment ago.

It does what tf2's does and nothing more: for the exact time asked, or not at all.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from seg_perception.errors import ConfigError, TransformError
from seg_perception.geometry.transforms import Pose, Transform, bad_transform, between, inverse, matrix_of, product

__all__ = ["TransformBuffer"]

_MOST_FRAMES = 20_000
_MOST_SAMPLES = 20_000
_DEEPEST = 1000
"""What a robot never reaches and a broken publisher must not exceed: frames, transforms kept of one edge, and
edges from a frame to its root, as in tf2."""
_LONGEST_NAP_S = 3600.0

_CURED_BY_TIME = ("unknown_frame", "not_connected", "extrapolation_future")


class TransformBuffer:
    """The tree of frames and its recent past. Any thread may call anything.

    A transform may come late or twice; the later word on the same stamp counts. A child has one parent: another
    one replaces it. A stamp more than the history older than what its edge has means that the clock was set back (a bag
    that loops, a simulation that starts again): then the edge's past is forgotten. The others go on until their own
    publishers say so: one publisher with a broken clock costs its own frame.

    Args:
        history_s: how far an edge's past reaches back from its newest stamp, more than 0.

    Attributes:
        history_s: as given.
        jumps: how often an edge's clock was set back.
        replaced: how often a frame got another parent, or became static or dynamic; two publishers that
            disagree make it grow.

    Raises:
        ConfigError: a history that is none.
    """

    def __init__(self, history_s: float = 10.0) -> None:
        if not 0.0 < history_s <= 1e6:
            raise ConfigError(f"history_s: expected more than 0 and at most 1e6 seconds, got {history_s}")
        self.history_s, self.jumps, self.replaced = history_s, 0, 0
        self._history_ns = round(history_s * 1e9)
        self._edges: dict[str, _Edge] = {}
        self._paths: dict[tuple[str, str], tuple[list[_Edge], list[_Edge]]] = {}
        self._changed = threading.Condition(threading.Lock())
        self._closed = False

    def add(self, transform: Transform, static: bool = False) -> None:
        """Take in one transform; `static` holds at all times.

        Raises:
            TransformError: `bad_transform`, it would close a circle, or the tree grows beyond all measure.
        """
        with self._changed:
            self._add(transform, static)
            self._changed.notify_all()

    def add_all(self, transforms: Iterable[Transform], static: bool = False) -> list[str]:
        """Take in all that can be; why the others cannot, a sentence each."""
        refused = []
        with self._changed:
            for transform in transforms:
                try:
                    self._add(transform, static)
                except TransformError as exc:
                    refused.append(str(exc))
            self._changed.notify_all()
        return refused

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """Where `source` was in `target` at exactly that time: float64 `[4, 4]`, target_from_source.

        Between two stamps of an edge the translation is interpolated linearly and the rotation spherically, the
        shorter way, as tf2 does. A frame is in its own place, whether or not anything is known of it.

        Raises:
            TransformError: `unknown_frame`, `not_connected`, `extrapolation_past` (asked for a time before what is
                known, which waiting does not cure) or `extrapolation_future`.
        """
        return self.wait(target, source, stamp_ns, 0.0)

    def wait(self, target: str, source: str, stamp_ns: int, timeout_s: float) -> np.ndarray:
        """`lookup`, for which what is missing may still arrive within that many seconds of real time.

        Not for the thread that calls `add`: it would wait for itself.

        Raises:
            TransformError: as `lookup`, when the time is up, after `close`, or at once where time is no cure.
        """
        target, source = _checked_name(target), _checked_name(source)
        end_s = time.monotonic() + timeout_s if timeout_s > 0.0 else 0.0
        with self._changed:
            while True:
                answer = self._answer(target, source, stamp_ns)
                if not isinstance(answer, TransformError):
                    return answer
                left_s = end_s - time.monotonic() if end_s else 0.0
                if left_s <= 0.0 or self._closed or answer.reason not in _CURED_BY_TIME:
                    raise answer
                self._changed.wait(min(left_s, _LONGEST_NAP_S))

    def close(self) -> None:
        """Let every `wait` end now, those to come as well, until `open`. What is known stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def open(self) -> None:
        """Allow to wait again; a new buffer does."""
        with self._changed:
            self._closed = False

    def _add(self, transform: Transform, static: bool) -> None:
        child, stamp_ns = transform.child, transform.stamp_ns
        edge = self._edges.get(child)
        if edge is None or edge.parent != transform.parent or edge.static != static:
            self._check_place(transform)
            self.replaced += edge is not None
            edge = self._edges[child] = _Edge(transform.parent, child, static)
            self._paths.clear()
        elif not static and edge.stamps_ns[-1] - stamp_ns > self._history_ns:
            self.jumps += 1
            edge.forget()
        edge.put(stamp_ns, (*transform.translation, *transform.rotation), self._history_ns)

    def _check_place(self, transform: Transform) -> None:
        """A new edge must leave the tree a tree."""
        if len(self._edges) >= _MOST_FRAMES and transform.child not in self._edges:
            raise bad_transform(
                f"{transform.child!r}: there are {_MOST_FRAMES} frames already; which publisher makes up names?"
            )
        above = transform.parent
        for _ in range(_DEEPEST):
            edge = self._edges.get(above)
            if edge is None:
                return
            above = edge.parent
            if above == transform.child:
                raise bad_transform(
                    f"{transform.child!r} in {transform.parent!r} closes a circle: {transform.parent!r} is below "
                    f"{above!r} already; of the two publishers one must go"
                )
        raise bad_transform(
            f"{transform.child!r}: its parent {transform.parent!r} has {_DEEPEST} frames above it; is that meant?"
        )

    def _answer(self, target: str, source: str, stamp_ns: int) -> np.ndarray | TransformError:
        path = self._paths.get((target, source)) or self._find_path(target, source)
        if path is None:
            return self._why_no_path(target, source)
        up, down = _above(path[0], stamp_ns), _above(path[1], stamp_ns)
        if up is None or down is None:
            return self._why_not_then(f"{source} in {target}", [*path[0], *path[1]], stamp_ns)
        return matrix_of(product(inverse(down), up) if path[1] else up)

    def _find_path(self, target: str, source: str) -> tuple[list[_Edge], list[_Edge]] | None:
        """Edges from the source and from the target up to the frame where they meet; None if they do not."""
        up, down = self._to_root(source), self._to_root(target)
        while up and down and up[-1] is down[-1]:
            up.pop()
            down.pop()
        if (up[-1].parent if up else source) != (down[-1].parent if down else target):
            return None
        self._paths[target, source] = path = (up, down)
        return path

    def _to_root(self, frame: str) -> list[_Edge]:
        edges = []
        while (edge := self._edges.get(frame)) is not None:
            edges.append(edge)
            frame = edge.parent
        return edges

    def _why_no_path(self, target: str, source: str) -> TransformError:
        frames = dict.fromkeys(name for e in self._edges.values() for name in (e.child, e.parent))
        for name in (source, target):
            if name not in frames:
                listed = ", ".join(islice(frames, 12)) or "none yet"
                more = f" and {len(frames) - 12} more" if len(frames) > 12 else ""
                text = f"no transform names the frame {name!r}; known are: {listed}{more}. Start its publisher"
                return TransformError("unknown_frame", f"{text} (robot_state_publisher, odometry), or correct the name")
        roots = [self._to_root(name)[-1].parent if name in self._edges else name for name in (source, target)]
        text = f"{source!r} and {target!r} are not connected: one hangs from {roots[0]!r}, the other from {roots[1]!r}"
        return TransformError("not_connected", f"{text}; publish a transform between these two")

    def _why_not_then(self, what: str, edges: Iterable[_Edge], stamp_ns: int) -> TransformError:
        """The worst gap; one in the past comes first, because no waiting closes it."""
        dynamic = [edge for edge in edges if not edge.static]
        late, late_edge = max(((e.stamps_ns[0] - stamp_ns, e) for e in dynamic), key=lambda item: item[0])
        early, early_edge = max(((stamp_ns - e.stamps_ns[-1], e) for e in dynamic), key=lambda item: item[0])
        edge, past = (late_edge, True) if late > 0 else (early_edge, False)
        off_ns, side = (late, "before") if past else (early, "after")
        text = (
            f"{what} was asked for {_seconds(stamp_ns)}, {off_ns / 1e6:.3f} ms {side} what is known of {edge.child} in "
            f"{edge.parent}: {len(edge.stamps_ns)} stamps from {_seconds(edge.stamps_ns[0])} to "
            f"{_seconds(edge.stamps_ns[-1])}. "
        )
        if past:
            cure = f"It was published too late, or is older than the {self.history_s:g} s that are kept"
            return TransformError("extrapolation_past", f"{text}{cure}; compare the clocks of both publishers")
        cure = "Its publisher is late or has stopped: wait longer for it, or compare the clocks of both publishers"
        return TransformError("extrapolation_future", text + cure)


class _Edge:
    """One child in one parent; never empty once it is in a buffer.

    Attributes:
        stamps_ns: sorted; of a static edge only the latest.
        poses: parent_from_child at each of them.
    """

    __slots__ = ("child", "parent", "poses", "stamps_ns", "static")

    def __init__(self, parent: str, child: str, static: bool) -> None:
        self.parent, self.child, self.static = parent, child, static
        self.stamps_ns: list[int] = []
        self.poses: list[Pose] = []

    def forget(self) -> None:
        """All of its past."""
        self.stamps_ns.clear()
        self.poses.clear()

    def put(self, stamp_ns: int, pose: Pose, history_ns: int) -> None:
        stamps, poses = self.stamps_ns, self.poses
        if self.static:
            stamps[:], poses[:] = [stamp_ns], [pose]
            return
        at = bisect_left(stamps, stamp_ns)
        if at < len(stamps) and stamps[at] == stamp_ns:
            poses[at] = pose
            return
        stamps.insert(at, stamp_ns)
        poses.insert(at, pose)
        old = max(bisect_left(stamps, stamps[-1] - history_ns), len(stamps) - _MOST_SAMPLES)
        if old:
            del stamps[:old], poses[:old]

    def at(self, stamp_ns: int) -> Pose | None:
        """parent_from_child then; None outside of what is known."""
        if self.static:
            return self.poses[0]
        stamps, poses = self.stamps_ns, self.poses
        after = bisect_left(stamps, stamp_ns)
        if after == len(stamps):
            return None
        if stamps[after] == stamp_ns:
            return poses[after]
        if after == 0:
            return None
        before_ns = stamps[after - 1]
        return between(poses[after - 1], poses[after], (stamp_ns - before_ns) / (stamps[after] - before_ns))


def _checked_name(frame: str) -> str:
    name = frame.lstrip("/")
    if not name:
        raise TransformError("unknown_frame", f"expected the name of a frame, got {frame!r}; set the image's frame_id")
    return name


def _seconds(stamp_ns: int) -> str:
    """Exactly: a float64 of today's seconds since 1970 is good for 0.2 µs only."""
    sign = "-" if stamp_ns < 0 else ""
    return f"{sign}{abs(stamp_ns) // 1_000_000_000}.{abs(stamp_ns) % 1_000_000_000:09d} s"


def _above(edges: Sequence[_Edge], stamp_ns: int) -> Pose | None:
    """Pose of the lowest frame of a chain in the one on top; None if an edge is not known then."""
    pose: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    for index, edge in enumerate(edges):
        link = edge.at(stamp_ns)
        if link is None:
            return None
        pose = product(link, pose) if index else link
    return pose
