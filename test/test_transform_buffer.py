"""The buffer of transforms: other times, other frames, waiting, broken clocks and broken trees."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
from plain_transforms import MS, NO_TURN, SECOND, T0_NS, Placed, at, interpolated, pose, refusal, some, turn

from seg_perception.errors import ConfigError, TransformError
from seg_perception.geometry.transform_buffer import TransformBuffer
from seg_perception.geometry.transforms import Transform, transform_of_matrix


@pytest.mark.parametrize("angle", [1e-9, 1e-6, 1e-3, 0.1, 1.0, 3.1])
def test_between_two_stamps_it_is_interpolated(angle: float) -> None:
    rng = np.random.default_rng(4)
    first = Placed("odom", "base", T0_NS, rng.normal(size=3), 2.0, rng.uniform(-9, 9, 3))
    axis, where = rng.normal(size=3), rng.uniform(-9, 9, 3)
    for sign in (1, -1):  # q and -q: the shorter way all the same
        last = pose(first.matrix[:3, :3] @ turn(axis, angle), where)
        transform = transform_of_matrix("odom", "base", T0_NS + 100 * MS, last)
        q = tuple(sign * v for v in transform.rotation)
        buffer = TransformBuffer()
        buffer.add(first.transform)
        buffer.add(Transform("odom", "base", transform.stamp_ns, transform.translation, q))  # type: ignore[arg-type]
        for ms in (0, 1, 25, 50, 99, 100):
            got = buffer.lookup("odom", "base", T0_NS + ms * MS)
            part = ms / 100
            truth = pose(
                first.matrix[:3, :3] @ turn(axis, part * angle), (1 - part) * first.matrix[:3, 3] + part * where
            )
            np.testing.assert_allclose(got, truth, atol=1e-11)
            np.testing.assert_allclose(got[:3, :3] @ got[:3, :3].T, np.eye(3), atol=1e-14)


def test_every_frame_in_every_other_of_a_random_tree() -> None:
    rng = np.random.default_rng(5)
    frames = [f"f{i}" for i in range(12)]
    stamp_ns = T0_NS + 30 * MS
    buffer, root_from = TransformBuffer(), {"f0": np.eye(4)}
    for i, child in enumerate(frames[1:], 1):
        parent = frames[rng.integers(max(0, i - 4), i)]
        first, last = some(rng, parent, child), some(rng, parent, child, T0_NS + 100 * MS)
        static = bool(rng.integers(2))
        buffer.add(first.transform, static)
        if not static:
            buffer.add(last.transform)
        truth = first.matrix if static else interpolated(first.matrix, last.matrix, 0.3)
        root_from[child] = root_from[parent] @ truth
    for target in frames:
        for source in frames:
            truth = np.linalg.inv(root_from[target]) @ root_from[source]
            np.testing.assert_allclose(buffer.lookup(target, f"/{source}", stamp_ns), truth, atol=1e-9)


def test_a_frame_is_in_its_own_place_without_any_transform() -> None:
    np.testing.assert_array_equal(TransformBuffer().lookup("base", "base", 0), np.eye(4))


def test_extrapolation_is_refused_on_both_sides() -> None:
    buffer = TransformBuffer()
    for ms in (0, 100, 200):
        buffer.add(at("odom", "base", T0_NS + ms * MS))
    buffer.add(at("base", "camera", 0, 1.0), static=True)
    assert buffer.lookup("odom", "camera", T0_NS)[0, 3] == buffer.lookup("camera", "odom", T0_NS)[0, 3] * -1 == 1.0
    past = refusal(lambda: buffer.lookup("odom", "camera", T0_NS - 1))
    assert past.reason == "extrapolation_past" and "0.000 ms before" in str(past)
    future = refusal(lambda: buffer.lookup("camera", "odom", T0_NS + 245_678_901))
    assert future.reason == "extrapolation_future" and "45.679 ms after" in str(future)
    for text in (str(past), str(future)):
        assert "base in odom: 3 stamps from 1700000000.123456789 s to 1700000000.323456789 s" in text
        assert "clocks" in text
    assert buffer.lookup("base", "camera", 2**70)[0, 3] == 1.0  # static: always


def test_what_no_waiting_cures_is_told_first() -> None:
    buffer = TransformBuffer()
    buffer.add(at("odom", "base", T0_NS))
    buffer.add(at("base", "mast", T0_NS + SECOND))
    between = T0_NS + SECOND // 2
    for pair in (("odom", "mast"), ("mast", "odom")):
        error = refusal(lambda pair=pair: buffer.wait(*pair, between, 60.0))  # type: ignore[misc]
        assert error.reason == "extrapolation_past" and "mast in base" in str(error)


def test_the_order_of_arrival_does_not_matter_and_the_later_word_counts() -> None:
    rng = np.random.default_rng(6)
    placed = [some(rng, "odom", "base", T0_NS + i * 10 * MS, most=1.0) for i in range(40)]
    buffer = TransformBuffer()
    for i in rng.permutation(40):
        buffer.add(at("odom", "base", placed[i].transform.stamp_ns))  # to be corrected
    for i in rng.permutation(40):
        buffer.add(placed[i].transform)
    for i in range(39):
        truth = interpolated(placed[i].matrix, placed[i + 1].matrix, 0.7)
        np.testing.assert_allclose(buffer.lookup("odom", "base", T0_NS + i * 10 * MS + 7 * MS), truth, atol=1e-10)
    assert buffer.jumps == buffer.replaced == 0


def test_each_edge_keeps_its_history_and_no_more() -> None:
    buffer = TransformBuffer(history_s=2.0)
    for tenth in range(51):
        buffer.add(at("odom", "base", T0_NS + tenth * 100 * MS, tenth))
    buffer.add(at("base", "arm", T0_NS))
    assert buffer.lookup("odom", "base", T0_NS + 3 * SECOND)[0, 3] == 30.0
    assert refusal(lambda: buffer.lookup("odom", "base", T0_NS + 3 * SECOND - 1)).reason == "extrapolation_past"
    assert buffer.lookup("base", "arm", T0_NS)[0, 3] == 0.0


def test_a_clock_that_is_set_back_starts_anew() -> None:
    buffer = TransformBuffer(history_s=10.0)
    for child in ("base", "wheel"):
        for second in range(30):
            buffer.add(at("odom", child, T0_NS + second * SECOND, second))
    buffer.add(at("base", "camera", T0_NS + 30 * SECOND, 1.0), static=True)
    assert buffer.jumps == 0
    buffer.add(at("odom", "base", T0_NS, -5.0))
    assert buffer.jumps == 1
    assert buffer.lookup("odom", "camera", T0_NS)[0, 3] == -4.0  # the static one is still there
    assert refusal(lambda: buffer.lookup("odom", "base", T0_NS + 25 * SECOND)).reason == "extrapolation_future"
    assert refusal(lambda: buffer.lookup("odom", "wheel", T0_NS)).reason == "extrapolation_past"  # no stale answer
    buffer.add(at("odom", "wheel", T0_NS, 7.0))
    assert buffer.lookup("odom", "wheel", T0_NS)[0, 3] == 7.0
    assert buffer.jumps == 2 and buffer.replaced == 0


def test_a_publisher_with_a_broken_clock_costs_its_own_frame_alone() -> None:
    """Stamp 0 between good ones, again and again."""
    buffer = TransformBuffer(history_s=10.0)
    buffer.add(at("base", "camera", T0_NS), static=True)
    for tenth in range(100):
        now_ns = T0_NS + tenth * 100 * MS
        buffer.add(at("odom", "base", now_ns, tenth))
        buffer.add(at("base", "wheel", now_ns, 1.0))
        buffer.add(at("base", "wheel", 0, 2.0))
        assert buffer.lookup("odom", "camera", now_ns)[0, 3] == tenth
    assert buffer.jumps == 100


def test_stamps_within_the_history_are_late_and_no_jump() -> None:
    buffer = TransformBuffer(history_s=10.0)
    buffer.add(at("odom", "base", T0_NS + 10 * SECOND, 10.0))
    buffer.add(at("odom", "base", T0_NS, 0.0))
    assert buffer.jumps == 0
    assert buffer.lookup("odom", "base", T0_NS + 4 * SECOND)[0, 3] == pytest.approx(4.0)
    buffer.add(at("odom", "base", T0_NS - 1, 0.0))
    assert buffer.jumps == 1


def test_one_broken_stamp_costs_its_own_edge_only() -> None:
    buffer = TransformBuffer()
    buffer.add(at("odom", "base", T0_NS))
    buffer.add(at("base", "arm", T0_NS))
    buffer.add(at("base", "arm", (2**31 - 1) * SECOND))
    buffer.add(at("base", "arm", T0_NS + MS))
    assert buffer.jumps == 1
    assert buffer.lookup("odom", "base", T0_NS).shape == (4, 4)
    assert buffer.lookup("base", "arm", T0_NS + MS).shape == (4, 4)


def test_another_parent_replaces_the_old_one_even_on_a_path_already_asked_for() -> None:
    buffer = TransformBuffer()
    buffer.add(at("map", "left", 0, 10.0), static=True)
    buffer.add(at("map", "right", 0, 20.0), static=True)
    buffer.add(at("left", "cart", T0_NS, 1.0))
    assert buffer.lookup("map", "cart", T0_NS)[0, 3] == 11.0
    buffer.add(at("right", "cart", T0_NS, 1.0))
    assert buffer.lookup("map", "cart", T0_NS)[0, 3] == 21.0
    assert buffer.replaced == 1
    buffer.add(at("right", "cart", T0_NS, 3.0), static=True)
    assert buffer.lookup("map", "cart", T0_NS + SECOND)[0, 3] == 23.0
    assert buffer.replaced == 2
    buffer.add(at("right", "cart", 0, 4.0), static=True)  # told again, differently: the later word
    assert buffer.lookup("map", "cart", T0_NS)[0, 3] == 24.0
    assert buffer.replaced == 2


def test_circles_are_refused_and_do_no_harm() -> None:
    buffer = TransformBuffer()
    for parent, child in (("a", "b"), ("b", "c"), ("c", "d")):
        buffer.add(at(parent, child, T0_NS, 1.0))
    for parent, child in (("b", "a"), ("d", "a"), ("d", "b"), ("d", "c")):
        error = refusal(lambda parent=parent, child=child: buffer.add(at(parent, child, T0_NS)))  # type: ignore[misc]
        assert error.reason == "bad_transform" and "circle" in str(error)
    assert buffer.lookup("a", "d", T0_NS)[0, 3] == 3.0
    buffer.add(at("d", "e", T0_NS, 1.0))
    buffer.add(at("a", "c", T0_NS, 5.0))  # no circle: c moves up with all that hangs from it
    assert buffer.lookup("a", "e", T0_NS)[0, 3] == 7.0


def test_all_that_can_be_used_of_many_is_used() -> None:
    buffer = TransformBuffer()
    refused = buffer.add_all([at("a", "b", 0, 1.0), at("b", "a", 0), at("b", "c", 0, 1.0)])
    assert len(refused) == 1 and "circle" in refused[0]
    assert buffer.lookup("a", "c", 0)[0, 3] == 2.0


def test_ten_thousand_frames() -> None:
    buffer = TransformBuffer()
    for i in range(10_000):
        buffer.add(at(f"hub{i // 100}", f"f{i}", T0_NS, i))
    for hub in range(100):
        buffer.add(at("map", f"hub{hub}", T0_NS))
    assert buffer.lookup("f1", "f9999", T0_NS)[0, 3] == 9998.0
    error = refusal(lambda: buffer.lookup("map", "nowhere", T0_NS))
    assert error.reason == "unknown_frame" and len(str(error)) < 1000 and "10089 more" in str(error)


def test_there_is_a_limit_to_frames_depth_and_samples() -> None:
    buffer = TransformBuffer()
    with pytest.raises(TransformError, match="makes up names"):
        for i in range(10**6):
            buffer.add(at("map", f"made_up_{i}", T0_NS))
    buffer.add(at("map", "made_up_7", T0_NS + 1, 7.0))  # what is known goes on
    assert buffer.lookup("map", "made_up_7", T0_NS + 1)[0, 3] == 7.0
    buffer = TransformBuffer()
    with pytest.raises(TransformError, match="frames above it"):
        for i in range(10**6):
            buffer.add(at(f"link{i}", f"link{i + 1}", T0_NS, 1.0))
    assert buffer.lookup("link0", "link1000", T0_NS)[0, 3] == 1000.0
    for i in range(30_000):
        buffer.add(at("base", "shaken", T0_NS + i))
    error = refusal(lambda: buffer.lookup("base", "shaken", T0_NS))
    assert error.reason == "extrapolation_past" and "20000 stamps" in str(error)


def test_why_there_is_no_way() -> None:
    buffer = TransformBuffer()
    assert "none yet" in str(refusal(lambda: buffer.lookup("base", "camera", 0)))
    buffer.add(at("odom", "base", T0_NS))
    buffer.add(at("rig", "camera", T0_NS))
    unknown = refusal(lambda: buffer.lookup("base", "camera_optical", T0_NS))
    assert unknown.reason == "unknown_frame" and "'camera_optical'" in str(unknown) and "odom" in str(unknown)
    apart = refusal(lambda: buffer.lookup("base", "camera", T0_NS))
    assert apart.reason == "not_connected" and "'odom'" in str(apart) and "'rig'" in str(apart)
    apart = refusal(lambda: buffer.lookup("odom", "rig", T0_NS))
    assert apart.reason == "not_connected"
    for name in ("", "/"):
        nameless = refusal(lambda name=name: buffer.wait("base", name, T0_NS, 60.0))  # type: ignore[misc]
        assert nameless.reason == "unknown_frame" and "frame_id" in str(nameless)


class Waiter(threading.Thread):
    """Asks in a thread of its own; keeps what it got."""

    def __init__(self, buffer: TransformBuffer, timeout_s: float = 60.0) -> None:
        super().__init__(daemon=True)
        self._buffer, self._timeout_s = buffer, timeout_s
        self.got: np.ndarray | None = None
        self.error: TransformError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.got = self._buffer.wait("odom", "camera", T0_NS + 50 * MS, self._timeout_s)
        except TransformError as exc:
            self.error = exc

    def end(self) -> None:
        self.join(30.0)
        assert not self.is_alive()


def test_waiting_ends_when_the_last_piece_has_come() -> None:
    buffer = TransformBuffer()
    waiter = Waiter(buffer)
    for transform, static in (  # unknown, then not connected, then too early, then there
        (at("base", "camera", 0, 1.0), True),
        (at("odom", "cart", T0_NS, 0.0), False),
        (at("odom", "base", T0_NS, 0.0), False),
    ):
        time.sleep(0.02)
        assert waiter.is_alive()
        buffer.add(transform, static)
    time.sleep(0.02)
    assert waiter.is_alive()
    buffer.add_all([at("odom", "base", T0_NS + 100 * MS, 10.0)])
    waiter.end()
    assert waiter.got is not None and waiter.got[0, 3] == pytest.approx(6.0)


def test_waiting_ends_with_the_last_reason_when_time_is_up() -> None:
    buffer = TransformBuffer()
    assert refusal(lambda: buffer.wait("odom", "camera", T0_NS, 0.0)).reason == "unknown_frame"
    waiter = Waiter(buffer, timeout_s=0.5)
    buffer.add(at("odom", "camera", T0_NS))
    waiter.end()
    assert waiter.error is not None and waiter.error.reason == "extrapolation_future"
    before_s = time.monotonic()
    refusal(lambda: buffer.wait("odom", "camera", T0_NS + 1, 0.2))
    assert time.monotonic() - before_s >= 0.2


def test_closing_releases_who_waits_until_it_is_opened() -> None:
    buffer = TransformBuffer()
    waiter = Waiter(buffer)
    time.sleep(0.02)
    buffer.close()
    waiter.end()
    assert waiter.error is not None and waiter.error.reason == "unknown_frame"
    waiter = Waiter(buffer)  # nor does anybody begin to
    waiter.end()
    buffer.add(at("odom", "camera", T0_NS + 50 * MS))
    assert buffer.lookup("odom", "camera", T0_NS + 50 * MS).shape == (4, 4)  # what is known can be asked for
    buffer = TransformBuffer()
    buffer.close()
    buffer.open()
    waiter = Waiter(buffer)
    time.sleep(0.05)
    assert waiter.is_alive()
    buffer.add(at("odom", "camera", T0_NS + 50 * MS))
    waiter.end()
    assert waiter.got is not None


def test_an_endless_wait_can_be_asked_for() -> None:
    buffer = TransformBuffer()
    waiter = Waiter(buffer, timeout_s=math.inf)
    time.sleep(0.02)
    assert waiter.is_alive()
    buffer.add(at("odom", "camera", T0_NS + 50 * MS))
    waiter.end()
    assert waiter.got is not None


def test_many_threads_never_see_half_a_transform() -> None:
    """x = y = z = the stamp in milliseconds, in every transform: so it must be in every answer."""
    buffer = TransformBuffer(history_s=0.5)
    stop = threading.Event()
    answers: list[int] = []
    wrong = []

    def send() -> None:
        ms = 0
        while not stop.is_set():
            ms += 7
            buffer.add(Transform("odom", "base", ms * MS, (ms, ms, ms), NO_TURN))
            if not ms % 5:
                buffer.add(at(f"p{ms % 3}", "other", ms * MS))

    def ask() -> None:
        ms = 3
        while not stop.is_set():
            try:
                got = buffer.wait("odom", "base", ms * MS, 1.0)
            except TransformError as exc:
                ms += 100 if exc.reason == "extrapolation_past" else 0
                continue
            answers.append(ms)
            if not np.allclose(got[:3, 3], ms, rtol=1e-12):
                wrong.append((ms, got))
            ms += 11

    threads = [threading.Thread(target=target) for target in (send, ask, ask)]
    for thread in threads:
        thread.start()
    end_s = time.monotonic() + 30.0
    while len(answers) < 500 and time.monotonic() < end_s:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(answers) >= 500 and not wrong


@pytest.mark.parametrize("history_s", [0.0, -1.0, math.nan, math.inf])
def test_a_history_that_is_none_is_refused(history_s: float) -> None:
    with pytest.raises(ConfigError, match="history_s"):
        TransformBuffer(history_s)
