import hashlib
import json

import numpy as np
import pytest
from support import THINGS, tiny_metadata, tiny_onnx

from seg_perception.errors import ModelContractError, ModelCorruptError, ModelNotFoundError
from seg_perception.model import zoo
from seg_perception.model.bundle import load_bundle, read_bundle, seal
from seg_perception.model.onnx_header import WireError, read_header


def test_header_agrees_with_the_onnx_package() -> None:
    onnx = pytest.importorskip("onnx", reason="compares with the onnx package")
    data = zoo.path_of(zoo.SHIPPED["street_pyramid"]).read_bytes()
    header, model = read_header(data), onnx.load_from_string(data)
    assert header.opset == next(o.version for o in model.opset_import if not o.domain)
    assert header.ir_version == model.ir_version
    assert dict(header.metadata) == {p.key: p.value for p in model.metadata_props}
    for ours, theirs in ((header.inputs, model.graph.input), (header.outputs, model.graph.output)):
        assert [t.name for t in ours] == [t.name for t in theirs]
        for info, value in zip(ours, theirs):
            dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim)
            assert info.shape == dims
            assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8 and info.dtype == "uint8"


def test_the_shipped_model_is_pinned_small_and_sound() -> None:
    shipped = zoo.SHIPPED["street_pyramid"]
    data = zoo.path_of(shipped).read_bytes()
    assert hashlib.sha256(data).hexdigest() == shipped.sha256
    assert len(data) <= 10_000_000
    bundle = load_bundle("street_pyramid")
    assert bundle.input_hw == (256, 512) and len(bundle.labels) == 19
    assert bundle.metadata["accuracy"]["camvid_val_miou"] >= 0.50


def test_the_seal_is_the_sha256_of_everything_before_it(tiny_model) -> None:
    path = tiny_model()
    data = path.read_bytes()
    body = tiny_onnx()
    assert data.startswith(body) and data.endswith(hashlib.sha256(body).hexdigest().encode())
    bundle = read_bundle(path)
    assert (bundle.name, bundle.input_hw, dict(bundle.strides)) == (
        "tiny",
        (64, 128),
        {"class_ids": 2, "confidence": 2},
    )
    assert bundle.sha256 == hashlib.sha256(data).hexdigest()


def test_a_sealed_file_is_still_onnx(tiny_model) -> None:
    onnx = pytest.importorskip("onnx", reason="compares with the onnx package")
    onnx.checker.check_model(str(tiny_model()), full_check=True)


def test_every_truncation_is_recognised(tiny_model) -> None:
    path = tiny_model()
    data = path.read_bytes()
    for size in [*range(0, len(data), 97), len(data) - 1, len(data) - 64]:
        path.write_bytes(data[:size])
        with pytest.raises(ModelCorruptError, match="truncated|changed|not an ONNX|missing"):
            read_bundle(path)


def test_every_changed_byte_is_recognised(tiny_model) -> None:
    path = tiny_model()
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*rng.integers(0, len(data), 150), len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(ModelCorruptError):
            read_bundle(path)


def test_a_stranger_in_a_shipped_models_place_is_recognised(tiny_model, monkeypatch) -> None:
    path = tiny_model()
    monkeypatch.setattr(zoo, "path_of", lambda shipped: path)
    with pytest.raises(ModelCorruptError, match="expected sha256"):
        load_bundle("street_pyramid")


def test_missing_files_and_names(tmp_path) -> None:
    with pytest.raises(ModelNotFoundError, match="shipped are street_esp, street_pyramid"):
        load_bundle("no_such_model")
    with pytest.raises(ModelNotFoundError):
        load_bundle(str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        read_bundle(tmp_path / "absent.onnx")


def without(key: str) -> dict:
    return {k: v for k, v in tiny_metadata().items() if k != key}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"opset": 11}, "opset 11; export it with one from 13 to 22"),
        ({"input_name": "pixels"}, "expected the input image: uint8 [?, 64, 128, 3]"),
        ({"input_type": "FLOAT"}, "the graph has image: float32"),
        ({"output_name": "ids"}, "expected the output class_ids"),
        ({"metadata": "{]"}, "is not JSON"),
        ({"metadata": "[]"}, "must be a JSON object"),
        ({"metadata": tiny_metadata() | {"schema": 2}}, "metadata schema 2; this version of seg_perception reads 1"),
        ({"metadata": without("labels")}, "lacks labels"),
        ({"metadata": without("license")}, "lacks license"),
        ({"metadata": tiny_metadata(height=128)}, "expected the input image: uint8 [?, 128, 128, 3]"),
        ({"metadata": tiny_metadata(stride=4)}, "expected the output class_ids: uint8 [?, 16, 32]"),
        ({"metadata": tiny_metadata(stride=3)}, "stride 3 does not divide"),
        ({"metadata": tiny_metadata(stride=0)}, "expected a stride of 1 or more"),
        ({"metadata": tiny_metadata() | {"heads": []}}, "expected a stride"),
        ({"metadata": tiny_metadata() | {"input": {"height_px": -1, "width_px": 2}}}, "from 1 to 16384"),
        ({"metadata": tiny_metadata() | {"labels": {"name": "x", "labels": []}}}, "labels"),
    ],
)
def test_contract(tiny_model, options, says) -> None:
    with pytest.raises(ModelContractError) as caught:
        read_bundle(tiny_model(**options))
    assert says in str(caught.value)


def test_a_model_may_tell_things_apart(tiny_model) -> None:
    bundle = read_bundle(tiny_model(metadata=tiny_metadata(things=4), things=THINGS))
    assert bundle.tells_things_apart
    assert dict(bundle.strides) == {"class_ids": 2, "confidence": 2, "centers": 4, "offsets": 4}
    assert not read_bundle(tiny_model()).tells_things_apart


def uneven() -> dict:
    metadata = tiny_metadata(things=4)
    metadata["heads"]["offsets"]["stride"] = 8
    return metadata


@pytest.mark.parametrize(
    ("metadata", "things", "says"),
    [
        (tiny_metadata(things=4), {}, "the metadata has centers, offsets, the graph neither"),
        (tiny_metadata(), THINGS, "the metadata has neither, the graph centers, offsets"),
        (tiny_metadata(things=4), {"centers": THINGS["centers"]}, "has centers, offsets, the graph centers"),
        (
            tiny_metadata() | {"heads": {**tiny_metadata()["heads"], "offsets": {"stride": 4, "resize": "nearest"}}},
            {"offsets": THINGS["offsets"]},
            "centers and offsets come together",
        ),
        (
            tiny_metadata(things=4), THINGS | {"centers": ("FLOAT16", [1, 16, 32])},
            "expected the output centers: float32 [?, 16, 32], the graph has",
        ),
        (
            tiny_metadata(things=4), THINGS | {"offsets": ("FLOAT", [1, 16, 32, 2])},
            "expected the output offsets: float32 [?, 2, 16, 32]",
        ),
        (tiny_metadata(things=8), THINGS, "expected the output centers: float32 [?, 8, 16]"),
        (tiny_metadata(things=3), THINGS, "stride 3 does not divide"),
        (tiny_metadata(things=0), THINGS, "heads, centers: expected a stride of 1 or more"),
        (uneven(), THINGS | {"offsets": ("FLOAT", [1, 2, 8, 16])}, "centers and offsets must have one stride"),
    ],
)  # fmt: skip
def test_centres_and_offsets_come_together_and_fit(tiny_model, metadata, things, says) -> None:
    with pytest.raises(ModelContractError) as caught:
        read_bundle(tiny_model(metadata=metadata, things=things))
    assert says in str(caught.value)


def test_a_foreign_model_is_told_what_it_lacks(tmp_path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(tiny_onnx(metadata={}))
    with pytest.raises(ModelContractError, match="without the metadata entry"):
        read_bundle(path)


def test_hostile_bytes_end_in_a_clear_error(tmp_path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "hostile.onnx"
    for size in (0, 1, 7, 64, 4096):
        path.write_bytes(rng.bytes(size))
        with pytest.raises(ModelCorruptError):
            read_bundle(path)
        path.write_bytes(seal(rng.bytes(size)))  # an honest seal around rubbish
        with pytest.raises((ModelCorruptError, ModelContractError)):
            read_bundle(path)


@pytest.mark.parametrize(
    "data", [b"\x80" * 11, b"\x3a\xff\xff\xff\xff\x0f", b"\x0b", b"\x08", b"\x3a\x02\x5a\x05", b"", b"\x38\x01"]
)
def test_broken_wire_format(data) -> None:
    with pytest.raises(WireError):
        read_header(data)


def test_metadata_is_plain_json() -> None:
    bundle = load_bundle("street_pyramid")
    assert json.loads(json.dumps(bundle.metadata)) == bundle.metadata
