"""ESPNetv2: its parts against torch's own, the published weights against the original's answers, and its model file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs torch")
pytest.importorskip("onnx", reason="model files are made with the onnx package")
from torch.nn import functional as F

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend
from seg_perception.errors import ConfigError, ModelCorruptError, ModelNotFoundError
from seg_perception.model import zoo
from seg_perception.model.bundle import read_bundle
from seg_perception.training.convert import StreetClasses, convert
from seg_perception.training.export import export_graph
from seg_perception.training.models import ESPNetv2, build, load_espnetv2
from seg_perception.training.models.espnetv2 import WIDTHS, _adaptive_average, resize_corners
from seg_perception.training.models.espnetv2_weights import our_names, published_checkpoint

ort = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def weights() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "models" / "espnetv2_cityscapes"
    if not (folder / "reference_outputs.npz").is_file():
        pytest.skip(f"needs the published weights and the original's answers in {folder}")
    return folder


def checkpoint(weights: Path, width: float) -> Path:
    return weights / zoo.FETCHABLE[f"espnetv2_cityscapes_{width}"].file


@pytest.mark.parametrize(("width", "millions"), [(0.5, 0.08), (1.0, 0.23), (1.5, 0.47), (2.0, 0.79)])
def test_it_has_as_many_parameters_as_published(width: float, millions: float) -> None:
    assert round(sum(p.numel() for p in build("espnetv2", 20, width=width).parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("given", [(16, 32), (23, 30), (45, 60), (18, 24), (384, 768), (6, 9), (270, 360)])
def test_pooling_without_adaptive_pooling_is_adaptive_pooling(given: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *given, generator=torch.Generator().manual_seed(0))
    height, width = given
    for size in ((5, 5), (5, 7), (height // 2, width // 2), (2 * height // 3, 2 * width // 3), (height, 5), given):
        torch.testing.assert_close(_adaptive_average(x, size), F.adaptive_avg_pool2d(x, size), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size_hw", [(256, 512), (384, 512), (480, 640), (360, 480), (72, 100)])
def test_logits_are_at_half_the_size(size_hw: tuple[int, int]) -> None:
    network = ESPNetv2(20, 0.5).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, *size_hw)).shape == (1, 20, size_hw[0] // 2, size_hw[1] // 2)


def test_sizes_and_widths_that_it_cannot_take_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input 250x512: .* multiples of 4"):
        ESPNetv2(20, 0.5)(torch.zeros(1, 3, 250, 512))
    with pytest.raises(ValueError, match=r"width 1.25: expected one of 0.5, 1.0, 1.5, 2.0"):
        ESPNetv2(20, 1.25)
    with pytest.raises(ValueError, match=r"width 3: expected one of"):
        load_espnetv2(Path("nowhere.pth"), 3)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = ESPNetv2(20, 0.5).train()
    network(torch.rand(2, 3, 64, 96) * 255).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


# In the last one the scales' bins are more than the pixels at 1/16.
@pytest.mark.parametrize("size_hw", [(256, 512), (360, 480), (72, 100)])
def test_the_graph_answers_what_the_network_answers(size_hw: tuple[int, int]) -> None:
    torch.manual_seed(1)
    network = StreetClasses(ESPNetv2(20, 0.5)).eval()
    graph = export_graph(network, size_hw, network.stride)
    assert {node.op_type for node in graph.graph.node}.isdisjoint({"ScatterND", "Where", "Loop", "If"})
    image = np.random.default_rng(0).integers(0, 256, (1, *size_hw, 3)).astype(np.uint8)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    ids, confidence = session.run(["class_ids", "confidence"], {"image": image})
    with torch.no_grad():
        p = network(torch.from_numpy(image).permute(0, 3, 1, 2).float()).softmax(1).numpy()
    assert ids.shape == confidence.shape == (1, size_hw[0] // 2, size_hw[1] // 2)
    assert (ids == p.argmax(1)).mean() > 0.9999
    assert np.abs(confidence - p.max(1) * 255).max() <= 1


@pytest.mark.parametrize("width", WIDTHS)
def test_published_weights_give_the_originals_answers(weights: Path, width: float) -> None:
    expected = np.load(weights / "reference_outputs.npz", allow_pickle=False)
    network = load_espnetv2(checkpoint(weights, width), width)
    assert not network.training
    images = torch.from_numpy(expected["images_rgb_uint8"]).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        logits = resize_corners(network(images), (480, 640)).numpy()
    assert (logits.argmax(1) == expected[f"argmax_s{width}"]).mean() >= 0.999
    assert np.abs(logits[:, :, ::8, ::8] - expected[f"logits_s{width}_stride8"]).max() <= 1e-3


def test_every_published_entry_has_its_place_or_is_never_used(weights: Path) -> None:
    state = torch.load(checkpoint(weights, 0.5), map_location="cpu", weights_only=True)
    left_out = len(state) - len(our_names(state))
    assert left_out == sum(name.endswith(".eesp.module_act.weight") for name in state) == 3
    assert set(our_names(state)) == set(ESPNetv2(20, 0.5).state_dict())


def test_another_width_and_changed_bytes_are_refused(weights: Path, tmp_path: Path) -> None:
    whole = checkpoint(weights, 0.5)
    assert published_checkpoint(whole).width == 0.5
    with pytest.raises(ModelCorruptError, match=r"the checkpoint of width 0.5, expected that of 2.0"):
        load_espnetv2(whole, 2.0)
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    changed, cut = tmp_path / "changed.pth", tmp_path / "cut.pth"
    changed.write_bytes(data)
    cut.write_bytes(whole.read_bytes()[:1000])
    for path in (changed, cut):
        with pytest.raises(ModelCorruptError, match=f"{path.name}: .*none of the published checkpoints"):
            load_espnetv2(path, 0.5)


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a stranger's pickle was opened",)


def test_a_strangers_file_is_never_opened_as_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "espnetv2_s_0.5_city_1024x512.pth"
    path.write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(ModelCorruptError, match="none of the published checkpoints"):
        load_espnetv2(path, 0.5)
    huge = tmp_path / "huge.pth"
    with huge.open("wb") as file:
        file.truncate(1 << 40)  # sparse: nobody could read it
    with pytest.raises(ModelCorruptError, match=f"{1 << 40} bytes"):
        load_espnetv2(huge, 0.5)
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        load_espnetv2(tmp_path / "missing.pth", 0.5)


def test_the_model_file_answers_as_the_originals_weights_do(weights: Path, tmp_path: Path) -> None:
    """At another size than the references have, so the truth is torch's answer at that size."""
    published, size_hw = zoo.FETCHABLE["espnetv2_cityscapes_1.0"], (256, 512)
    path = tmp_path / "model.onnx"
    path.write_bytes(convert(checkpoint(weights, 1.0), published, size_hw))
    bundle = read_bundle(path)
    assert bundle.name == published.name and bundle.metadata["license"] == "MIT" and bundle.input_hw == size_hw
    assert "Sachin Mehta" in bundle.metadata["license_text"] and "non-commercial" in json.dumps(bundle.metadata)
    assert bundle.metadata["training"]["weights_sha256"] == published.sha256
    network, backend = load_espnetv2(checkpoint(weights, 1.0), 1.0), OnnxRuntimeBackend(bundle, threads=1)
    for image in np.load(weights / "reference_outputs.npz", allow_pickle=False)["images_rgb_uint8"][:, 100:356, 64:576]:
        image = np.ascontiguousarray(image)
        heads = backend.infer(image, 0)
        with torch.no_grad():
            p = network(torch.from_numpy(image).permute(2, 0, 1)[None].float())[0, :19].softmax(0).numpy()
        assert (heads.class_ids == p.argmax(0)).mean() >= 0.9999
        assert np.abs(heads.confidence - p.max(0) * 255).max() <= 1
    backend.close()


@pytest.mark.parametrize("size_hw", [(250, 512), (32, 512), (256, 8192)])
def test_a_size_that_makes_no_model_is_refused_before_anything_is_read(size_hw: tuple[int, int]) -> None:
    with pytest.raises(
        ConfigError, match=f"size {size_hw[1]}x{size_hw[0]}: expected WIDTHxHEIGHT, both multiples of 4"
    ):
        convert(Path("nowhere.pth"), zoo.FETCHABLE["espnetv2_cityscapes_0.5"], size_hw)
