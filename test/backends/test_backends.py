import cv2
import numpy as np
import pytest
from support import THINGS, tiny_metadata

from seg_perception.backends import open_backend
from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.backends.replayed import ReplayedBackend
from seg_perception.config import PipelineConfig
from seg_perception.errors import BackendError, ConfigError
from seg_perception.model.bundle import load_bundle, read_bundle, seal


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 128, 3)).astype(np.uint8)


def test_answers_are_the_graphs(tiny_model, image) -> None:
    backend = OnnxRuntimeBackend(read_bundle(tiny_model()), threads=1)
    heads = backend.infer(image, 0)
    np.testing.assert_array_equal(heads.class_ids, image[::2, ::2, 0] // 16)
    np.testing.assert_array_equal(heads.confidence, image[::2, ::2, 1])


def test_centres_and_offsets_are_the_graphs(tiny_model, image) -> None:
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(metadata=tiny_metadata(things=4), things=THINGS)), threads=1)
    heads = backend.infer(image, 0)
    np.testing.assert_array_equal(heads.class_ids, image[::2, ::2, 0] // 16)
    np.testing.assert_allclose(heads.centers, image[::4, ::4, 2] / np.float32(255), rtol=1e-6)
    np.testing.assert_array_equal(heads.offsets, image[::4, ::4, :2].transpose(2, 0, 1).astype(np.float32))
    plain = OnnxRuntimeBackend(read_bundle(tiny_model()), threads=1).infer(image, 0)
    assert plain.centers is None and plain.offsets is None


def test_placement_is_what_really_ran(tiny_model) -> None:
    backend = OnnxRuntimeBackend(read_bundle(tiny_model()), threads=1)
    assert set(backend.placement) == {"CPUExecutionProvider"} and sum(backend.placement.values()) >= 3
    assert "nodes on CPUExecutionProvider" in backend.description and "1 threads" in backend.description


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("spinning", [False, True])
def test_threads_and_spinning_change_no_answer(threads, spinning) -> None:
    bundle = load_bundle("street_pyramid")
    picture = np.random.default_rng(1).integers(0, 256, (256, 512, 3)).astype(np.uint8)
    reference = OnnxRuntimeBackend(bundle, threads=1).infer(picture, 0)
    heads = OnnxRuntimeBackend(bundle, threads=threads, spinning=spinning).infer(picture, 0)
    assert (heads.class_ids == reference.class_ids).mean() > 0.9999
    assert heads.class_ids.max() < len(bundle.labels)


def test_wrong_input_is_refused_by_name(tiny_model, image) -> None:
    backend = OnnxRuntimeBackend(read_bundle(tiny_model()))
    for wrong in (image[:32], image.astype(np.float32), None):
        with pytest.raises(BackendError, match=r"expected a uint8 image \(64, 128, 3\)"):
            backend.infer(wrong, 0)
    assert backend.infer(image, 0).class_ids.shape == (32, 64)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.infer(image, 0)


def test_a_graph_that_the_engine_refuses(tmp_path) -> None:
    """Sound in every way that the loader can see, but with an operator that does not exist."""
    onnx = pytest.importorskip("onnx", reason="compares with the onnx package")
    from support import tiny_onnx

    model = onnx.load_from_string(tiny_onnx())
    model.graph.node[-1].op_type = "CastToTheWind"
    path = tmp_path / "wind.onnx"
    path.write_bytes(seal(model.SerializeToString()))
    with pytest.raises(BackendError, match="refuses the graph"):
        OnnxRuntimeBackend(read_bundle(path))


def test_replayed_from_a_folder(tmp_path) -> None:
    mask = np.random.default_rng(2).integers(0, 19, (5, 7)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "1700000000123456789.png"), mask)
    cv2.imwrite(str(tmp_path / "readme.png"), mask)
    (tmp_path / "5.png").write_bytes(b"not a png")
    cv2.imwrite(str(tmp_path / "6.png"), np.zeros((2, 2, 3), np.uint8))
    backend = open_backend(PipelineConfig(backend="replayed", replay_masks=str(tmp_path)))
    assert backend.input_hw is None and "3 masks" in backend.description
    np.testing.assert_array_equal(backend.infer(None, 1700000000123456789).class_ids, mask)
    for stamp_ns in (5, 6, 7):
        with pytest.raises(BackendError):
            backend.infer(None, stamp_ns)


def test_replayed_needs_masks(tmp_path) -> None:
    for folder in ("", str(tmp_path), str(tmp_path / "absent")):
        with pytest.raises(ConfigError, match="replay_masks"):
            ReplayedBackend.from_folder(folder)
