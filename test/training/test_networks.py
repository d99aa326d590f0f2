import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="the training room needs torch")
onnx = pytest.importorskip("onnx", reason="exporting needs onnx")

from seg_perception.training.evaluate import predictor
from seg_perception.training.export import export_graph
from seg_perception.training.models import PyramidNet, build

SMALL = {"width": 0.34}


def test_shapes_and_gradients() -> None:
    network = build("pyramid", 19, **SMALL).train()
    logits, auxiliary = network(torch.rand(2, 3, 128, 256) * 255)
    assert logits.shape == (2, 19, 32, 64) and auxiliary.shape == (2, 19, 8, 16)
    (logits.square().mean() + auxiliary.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert network.eval()(torch.zeros(1, 3, 128, 128)).shape == (1, 19, 32, 32)


def test_a_size_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="multiples of 128"):
        build("pyramid", 19, **SMALL)(torch.zeros(1, 3, 100, 128))


def test_an_architecture_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no architecture 'unet'; there are: espnetv2, pyramid"):
        build("unet", 19)


def test_the_width_multiplier_moves_in_whole_vectors() -> None:
    """Each layer's channels are a multiple of 16, and width and depth change the size as they should."""

    def parameters(**options) -> int:
        return sum(p.numel() for p in PyramidNet(19, **options).parameters())

    for width in (0.34, 2 / 3, 1.0, 1.5):
        for name, layer in PyramidNet(19, width).named_modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.out_channels != 19 and "branches" not in name:
                assert layer.out_channels % 16 == 0, name
    assert parameters(width=0.34) < parameters(width=2 / 3) < parameters() < parameters(width=1.5)
    assert parameters(blocks=(1, 1, 2, 2)) < parameters(blocks=(1, 2, 2, 2)) == parameters()


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_export_answers_as_torch_does(stride) -> None:
    torch.manual_seed(1)
    network = build("pyramid", 19, **SMALL).eval()
    image = torch.randint(0, 256, (1, 128, 256, 3), dtype=torch.uint8)
    session = ort.InferenceSession(
        export_graph(network, (128, 256), stride).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ids, confidence = session.run(["class_ids", "confidence"], {"image": image.numpy()})
    with torch.no_grad():
        logits = network(image.permute(0, 3, 1, 2).float())
        size = (128 // stride, 256 // stride)
        p = torch.softmax(logits, 1).amax(1)
        expected = torch.nn.functional.interpolate(logits, size=size, mode="bilinear").argmax(1)
    assert ids.shape == (1, *size) and confidence.shape == (1, 32, 64)
    assert (ids == expected.numpy()).mean() > 0.999
    assert np.abs(confidence.astype(int) - (p * 255).round().int().numpy()).max() <= 1


def test_the_graph_is_friendly_to_tensorrt() -> None:
    """uint8 turns to float before anything else touches it, and comes back from float only."""
    model = export_graph(build("pyramid", 19, **SMALL).eval(), (128, 256), 2)
    types = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for node in model.graph.node:
        if "image" in node.input:
            assert node.op_type == "Cast"
        if set(node.output) & {"class_ids", "confidence"}:
            assert node.op_type == "Cast" and types[node.input[0]] == onnx.TensorProto.FLOAT


@pytest.mark.parametrize("stride", [4, 2])
def test_the_predictor_is_the_networks_argmax(stride) -> None:
    network = build("pyramid", 19, **SMALL).eval()
    image = np.random.default_rng(0).integers(0, 256, (128, 256, 3)).astype(np.uint8)
    with torch.no_grad():
        logits = network(torch.from_numpy(image).permute(2, 0, 1)[None].float())
        expected = torch.nn.functional.interpolate(logits, scale_factor=4 // stride, mode="bilinear").argmax(1)[0]
    np.testing.assert_array_equal(predictor(network, stride)(image), expected.numpy())
