import dataclasses

import pytest

from seg_perception.config import BACKENDS_RESERVED, CameraConfig, PipelineConfig
from seg_perception.errors import BackendNotBuiltError, ConfigError


def test_parameters_there_and_back() -> None:
    values = {"cameras": ["front", "rear"], "front.fit": "pad", "rear.mask_size": [320, 160], "threads": 3}
    config = PipelineConfig.from_parameters(values)
    assert [c.name for c in config.camera_configs] == ["front", "rear"]
    assert config.camera_configs[0].fit == "pad" and config.camera_configs[1].mask_size == (320, 160)
    assert PipelineConfig.from_parameters(config.to_parameters()) == config


def test_every_parameter_is_described_and_its_default_is_valid() -> None:
    specs = PipelineConfig.parameters(("a", "b"))
    assert len({s.name for s in specs}) == len(specs)
    for spec in specs:
        assert len(spec.description) > 10, spec.name
        assert spec.check(spec.default) == spec.default
    named = {f.name for f in dataclasses.fields(PipelineConfig)} - {"camera_configs"}
    assert named <= {s.name for s in specs}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"thread": 1}, "no such parameter"),
        ({"threads": -1}, "expected 0 to 256, got -1"),
        ({"threads": 1.5}, "expected int, got float"),
        ({"threads": True}, "expected int, got bool"),
        ({"overlay_opacity": float("nan")}, "expected 0.0 to 1.0"),
        ({"camera.fit": "squash"}, "expected one of stretch, crop, pad"),
        ({"camera.mask_size": [640]}, "expected [width, height]"),
        ({"camera.mask_size": [640, 0]}, "expected [width, height]"),
        ({"camera.mask_size": [-1, -1]}, "expected 0 to 16384"),
        ({"camera.mask_size": "640x480"}, "expected a list"),
        ({"camera.mask_size": [640.0, 480.0]}, "expected a list of int"),
        ({"cameras": []}, "one or more different names"),
        ({"cameras": ["a", "a"]}, "one or more different names"),
        ({"cameras": ["Front Left"]}, "lower-case letters"),
        ({"front.fit": "pad"}, "no such parameter"),
        ({"model": ""}, "expected a model's name"),
        ({"grid_x_m": [0.0, 20.05]}, "grid_x_m: [0.0, 20.05] is no whole number of cells"),
        ({"grid_y_m": [0.0, 20.05]}, "grid_y_m: [0.0, 20.05] is no whole number of cells"),
        ({"backend": "magic"}, "expected one of"),
    ],
)
def test_refusals_say_what_is_wrong(values: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=r".") as caught:
        PipelineConfig.from_parameters(values)
    assert says in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS_RESERVED)
def test_reserved_backends_are_not_built_yet(backend: str) -> None:
    with pytest.raises(BackendNotBuiltError, match="not built yet"):
        PipelineConfig(backend=backend)


def test_an_integer_serves_for_a_real_number() -> None:
    assert PipelineConfig(overlay_opacity=1).overlay_opacity == 1.0


def test_changes_at_run_time() -> None:
    config = PipelineConfig()
    changed = config.with_parameters({"camera.mask_size": [64, 32], "jpeg_quality": 50, "threads": 0})
    assert changed.camera_configs[0].mask_size == (64, 32) and changed.jpeg_quality == 50
    assert config.camera_configs[0] == CameraConfig()
    with pytest.raises(ConfigError, match="fixed once the node has started"):
        config.with_parameters({"threads": 2})
    with pytest.raises(ConfigError, match="jpeg_quality: expected 1 to 100, got 0"):
        config.with_parameters({"jpeg_quality": 0})
