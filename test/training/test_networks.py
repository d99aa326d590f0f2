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
    with pytest.raises(ValueError, match="no architecture 'unet'; there are: esp_pyramid, espnetv2, pyramid"):
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


def lived_in(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """In eval mode, with statistics and slopes of all kinds, as if it had learned."""
    generator = torch.Generator().manual_seed(seed)

    def between(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean, module.running_var = between(module.bias, -1, 1), between(module.bias, 0.5, 2)
            module.weight.data, module.bias.data = between(module.bias, -1.5, 1.5), between(module.bias, -1, 1)
        if isinstance(module, torch.nn.PReLU):
            module.weight.data = between(module.weight, -1.2, 1.6)
    return network.eval()


@pytest.mark.parametrize("width", [0.5, 1.0, 1.5, 2.0])
def test_espnetv2s_encoder_is_exported_as_it_is(width) -> None:
    """Padded branches, groups made whole and PReLU as convolutions change nothing but rounding."""
    network = lived_in(build("esp_pyramid", 19, width=width, blocks=(1, 2)))
    exported = network.for_export()
    x = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(exported(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        assert torch.equal(network(x), expected)  # it was a copy
    for name, module in exported.named_modules():
        assert not isinstance(module, torch.nn.PReLU), name
        if isinstance(module, torch.nn.Conv2d) and 1 < module.groups < module.in_channels:
            per_group = module.in_channels // module.groups, module.out_channels // module.groups
            assert all(n % 16 == 0 for n in per_group), f"{name}: {per_group} channels per group"
        if ".pyramid.branches" in name and isinstance(module, torch.nn.Conv2d):
            assert module.out_channels % 16 == 0, name


def test_slopes_are_those_of_prelu_up_to_one() -> None:
    network = lived_in(build("esp_pyramid", 19, width=0.5))
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(2))
    act = network.stem[2]
    expected = torch.nn.functional.prelu(x, act.weight.clamp(max=1))
    torch.testing.assert_close(act(x), expected)
    assert bool((act.weight > 1).any())


def test_it_begins_with_the_published_encoder() -> None:
    """Every layer of the encoder has the name and shape that it has in the whole ESPNetv2; none of the decoder has."""
    whole = build("espnetv2", 20, width=1.0)
    network = build("esp_pyramid", 19, width=1.0)
    there = {k for k, v in whole.state_dict().items() if network.state_dict().get(k, v[..., None]).shape == v.shape}
    encoder = {
        k for k in network.state_dict() if k.split(".")[0] in ("stem", "down2", "down3", "down4", "stage3", "stage4")
    }
    assert there == encoder
    slow = set(map(id, network.encoder_parameters()))
    assert {k for k, p in network.named_parameters() if id(p) in slow} == encoder & dict(
        network.named_parameters()
    ).keys()


def test_espnetv2s_encoder_learns_and_refuses_odd_sizes() -> None:
    network = build("esp_pyramid", 19, width=0.5, blocks=(1, 1)).train()
    logits = network(torch.rand(2, 3, 128, 192) * 255)
    assert logits.shape == (2, 19, 32, 48)
    logits.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    with pytest.raises(ValueError, match="multiples of 64"):
        network(torch.zeros(1, 3, 96, 128))


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(("architecture", "options"), [("pyramid", SMALL), ("esp_pyramid", {"width": 1.0})])
def test_export_answers_as_torch_does(architecture, options, stride) -> None:
    torch.manual_seed(1)
    network = build(architecture, 19, **options).eval()
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
