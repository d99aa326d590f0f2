import threading
import time

import numpy as np
import pytest

from seg_perception.latency import LatencyMonitor, StageClock, percentiles


def test_stages_add_up_to_the_total() -> None:
    clock = StageClock()
    for stage, seconds in (("a", 0.01), ("b", 0.02), ("a", 0.01)):
        time.sleep(seconds)
        clock.lap(stage)
    stages = clock.stop()
    assert list(stages) == ["a", "b", "total"]
    assert stages["a"] >= 20 and stages["b"] >= 20
    assert stages["total"] >= stages["a"] + stages["b"]


def test_percentiles_of_known_values() -> None:
    assert percentiles(range(101)) == (50.0, 95.0, 100.0)
    assert all(np.isnan(v) for v in percentiles([]))


def test_every_frame_is_accounted_for_across_threads() -> None:
    monitor = LatencyMonitor(window=10)

    def work(fate: int) -> None:
        for i in range(500):
            monitor.received()
            if fate == 0:
                monitor.published({"inference": float(i)}, age_ms=30.0 if i % 2 else 5.0, deadline_ms=10.0)
            elif fate == 1:
                monitor.dropped()
            else:
                monitor.failed("data_length" if i % 5 else "too_large")

    threads = [threading.Thread(target=work, args=(i % 3,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = monitor.counts()
    assert counts.received == 3000 == counts.published + counts.dropped + counts.failed_total
    assert counts.failed == {"data_length": 800, "too_large": 200}
    assert counts.late == 500
    p50, _, maximum = monitor.percentiles()["age"]
    assert maximum == 30.0 and p50 in (5.0, 17.5, 30.0)
    assert max(monitor.percentiles()["inference"]) <= 499 and monitor.percentiles()["inference"][0] > 400


def test_no_deadline_means_never_late() -> None:
    monitor = LatencyMonitor()
    monitor.published({}, age_ms=1e9)
    assert monitor.counts().late == 0
    assert monitor.percentiles() == {"age": pytest.approx((1e9, 1e9, 1e9))}
