"""A graph cut down to some outputs: the same answers, nothing that only the others need, and no surprise."""

from __future__ import annotations

import numpy as np
import pytest
from support import THINGS, tiny_metadata, tiny_onnx

from seg_perception.backends.onnx_runtime import OnnxRuntimeBackend, open_session
from seg_perception.model import zoo
from seg_perception.model.bundle import read_bundle
from seg_perception.model.onnx_cut import cut_to_outputs
from seg_perception.model.onnx_header import WireError, read_header


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (64, 128, 3)).astype(np.uint8)


def test_the_rest_answers_as_before_and_nothing_else_is_left(image: np.ndarray) -> None:
    onnx = pytest.importorskip("onnx", reason="reads the cut graph with the onnx package")
    whole = tiny_onnx(things=THINGS)
    cut = cut_to_outputs(whole, ["class_ids", "confidence"])
    model = onnx.load_model_from_string(cut)
    onnx.checker.check_model(model, full_check=True)
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    assert not names & {"blue", "blue4", "red_green", "centers", "offsets"}
    assert {tensor.name for tensor in model.graph.initializer} <= names and len(cut) < len(whole)
    feed = {"image": image[None]}
    before = open_session(whole).run(["class_ids", "confidence"], feed)
    for expected, got in zip(before, open_session(cut).run(None, feed), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_cut_to_everything_changes_nothing() -> None:
    onnx = pytest.importorskip("onnx", reason="compares graphs with the onnx package")
    for data in (tiny_onnx(), zoo.path_of(zoo.SHIPPED["street_pyramid_tiny_int8"]).read_bytes()):
        outputs = [tensor.name for tensor in read_header(data).outputs]
        cut = cut_to_outputs(data, outputs)
        assert onnx.load_model_from_string(cut) == onnx.load_model_from_string(data)


def test_a_graph_within_a_node_is_not_looked_into() -> None:
    onnx = pytest.importorskip("onnx", reason="builds a graph with an If")
    helper, kind = onnx.helper, onnx.TensorProto
    inner = helper.make_graph(
        [helper.make_node("Identity", ["hidden"], ["y"])], "inner", [], [helper.make_tensor_value_info("y", 1, [1])]
    )
    nodes = [
        helper.make_node("Identity", ["x"], ["hidden"]),
        helper.make_node("If", ["which"], ["out"], then_branch=inner, else_branch=inner),
        helper.make_node("Identity", ["x"], ["other"]),
    ]
    inputs = [helper.make_tensor_value_info("x", 1, [1]), helper.make_tensor_value_info("which", kind.BOOL, [])]
    outputs = [helper.make_tensor_value_info(name, 1, [1]) for name in ("out", "other")]
    data = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs)).SerializeToString()
    assert cut_to_outputs(data, ["out"]) == data


@pytest.mark.parametrize("damage", [b"", b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x04\x0a\x7fab"])
def test_what_is_no_graph_is_refused(damage: bytes) -> None:
    with pytest.raises(WireError):
        cut_to_outputs(damage, ["class_ids"])


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(WireError, match="no output 'depth'"):
        cut_to_outputs(tiny_onnx(), ["depth"])


def test_who_asks_for_no_things_gets_the_same_classes(tiny_model, image: np.ndarray) -> None:
    backend = OnnxRuntimeBackend(read_bundle(tiny_model(metadata=tiny_metadata(things=4), things=THINGS)), threads=1)
    whole, part = backend.infer(image, 0), backend.infer(image, 0, things=False)
    np.testing.assert_array_equal(whole.class_ids, part.class_ids)
    np.testing.assert_array_equal(whole.confidence, part.confidence)
    assert whole.centers is not None and part.centers is None and part.offsets is None
    assert backend.session is not None and len(backend.session.get_outputs()) == 2
    backend.close()
    assert backend.session is None
