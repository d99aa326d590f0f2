"""One street for all tests here: building its first blocks takes longer than most tests."""

from __future__ import annotations

import pytest

from seg_perception.simulate import StreetScene


@pytest.fixture(scope="session")
def street() -> StreetScene:
    return StreetScene(seed=0, width_px=320, height_px=240, rate_hz=15.0)
