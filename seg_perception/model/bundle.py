"""The model file: an ONNX graph whose metadata says what it is, sealed by its own sha256.

The seal is the file's last metadata entry: the sha256 of every byte before it. Protobuf lets an entry be
appended to a finished message, so sealing changes nothing else, and a truncated or changed file is
recognised before any parser sees it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seg_perception.errors import LabelError, ModelContractError, ModelCorruptError, ModelNotFoundError
from seg_perception.labels import LabelSet
from seg_perception.model import zoo
from seg_perception.model.onnx_header import OnnxHeader, TensorInfo, WireError, read_header

__all__ = [
    "METADATA_KEY",
    "PANOPTIC_DIVISOR",
    "SCHEMA_VERSION",
    "THING_HEADS",
    "ModelBundle",
    "load_bundle",
    "read_bundle",
    "seal",
]

METADATA_KEY = "seg_perception"
SCHEMA_VERSION = 1
OPSETS = (13, 22)
"""Lowest and highest operator set that is accepted."""

_SEAL_KEY = b"seg_perception_sha256"
_SEAL_HEAD = (
    b"\x72" + bytes([2 + len(_SEAL_KEY) + 2 + 64]) + b"\x0a" + bytes([len(_SEAL_KEY)]) + _SEAL_KEY + b"\x12\x40"
)
_SEAL_SIZE = len(_SEAL_HEAD) + 64
_MAX_BYTES = 2**31 - 1  # protobuf's own limit
_HEADS = ("class_ids", "confidence")
PANOPTIC_DIVISOR = 1000
"""Of a model that says nothing else."""
THING_HEADS = ("centers", "offsets")
"""Of a model that tells things of one class apart: both or neither."""


@dataclass(frozen=True)
class ModelBundle:
    """A model file that has been read and checked.

    Attributes:
        path: where it came from.
        data: the whole file.
        sha256: of the whole file, hexadecimal.
        metadata: the JSON under the key `seg_perception`.
        labels: what the class ids mean.
        input_hw: height and width of the input, pixels.
        strides: of every head, in input pixels; `centers` and `offsets` are there if the model has them.
        opset: operator set of the graph.
    """

    path: Path
    data: bytes = field(repr=False)
    sha256: str
    metadata: Mapping[str, Any] = field(repr=False)
    labels: LabelSet = field(repr=False)
    input_hw: tuple[int, int]
    strides: Mapping[str, int]
    opset: int

    @property
    def panoptic_divisor(self) -> int:
        """What its panoptic maps are divided by, unless somebody configures otherwise."""
        return int(self.metadata.get("panoptic_divisor", PANOPTIC_DIVISOR))

    @property
    def tells_things_apart(self) -> bool:
        """Whether it answers centres and offsets."""
        return THING_HEADS[0] in self.strides

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def version(self) -> str:
        return str(self.metadata["version"])


def seal(unsealed: bytes) -> bytes:
    """The model file's bytes with its seal; `unsealed` is a serialised ONNX model with its metadata."""
    return unsealed + _SEAL_HEAD + hashlib.sha256(unsealed).hexdigest().encode()


def load_bundle(model: str) -> ModelBundle:
    """A shipped or fetched model by name, or a file by path.

    Raises:
        ModelNotFoundError, ModelCorruptError, ModelContractError: with what is wrong and how to repair it.
    """
    fetchable, shipped = zoo.fetchable(model), zoo.SHIPPED.get(model)
    if fetchable is not None:
        path = fetchable.model_path
        if not path.is_file():
            raise ModelNotFoundError(
                f"model: {model} has not been fetched ({path}); `seg_perception models fetch {model}` does"
            )
        return read_bundle(path)
    if shipped is None:
        path = Path(model).expanduser()
        if not path.is_file():
            raise ModelNotFoundError(
                f"model: no shipped model and no file {model!r}; shipped are {', '.join(sorted(zoo.SHIPPED))}, "
                f"`seg_perception models fetch` brings {', '.join(sorted(zoo.FETCHABLE))}, a file needs its path"
            )
        return read_bundle(path)
    bundle = read_bundle(zoo.path_of(shipped))
    if bundle.sha256 != shipped.sha256:
        raise ModelCorruptError(
            f"{bundle.path}: expected sha256 {shipped.sha256}, got {bundle.sha256}; install seg_perception again, "
            "or give the file's path if you mean to use a model of your own"
        )
    return bundle


def read_bundle(path: Path) -> ModelBundle:
    """Read and check one model file.

    Raises:
        ModelNotFoundError: it cannot be opened.
        ModelCorruptError: it is truncated, was changed, or is no ONNX model.
        ModelContractError: it does not keep the contract.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelCorruptError(f"{path}: {path.stat().st_size} bytes; an ONNX model has at most {_MAX_BYTES}")
        data = path.read_bytes()
    except OSError as exc:
        raise ModelNotFoundError(
            f"{path}: cannot be read ({exc.strerror}); check the path and its permissions"
        ) from exc
    try:
        header: OnnxHeader | None = read_header(data)
        damage = ""
    except WireError as exc:
        header, damage = None, str(exc)
    _check_seal(path, data, header, damage)
    if header is None:
        raise ModelCorruptError(f"{path}: not an ONNX model: {damage}")
    return _check_contract(path, data, header)


def _check_seal(path: Path, data: bytes, header: OnnxHeader | None, damage: str) -> None:
    body, tail = data[:-_SEAL_SIZE], data[-_SEAL_SIZE:]
    if tail.startswith(_SEAL_HEAD):
        expected, actual = tail[-64:].decode("ascii", "replace"), hashlib.sha256(body).hexdigest()
        if expected != actual:
            raise ModelCorruptError(
                f"{path}: changed after it was made: its seal says sha256 {expected}, its content has {actual}; "
                "copy or download it again"
            )
    elif header is not None and METADATA_KEY not in header.metadata:
        raise ModelContractError(
            f"{path}: an ONNX model without the metadata entry {METADATA_KEY!r}; it has to be exported by "
            "seg_perception's training, or given that metadata and sealed (docs/models.md)"
        )
    else:
        raise ModelCorruptError(
            f"{path}: the seal at its end is missing{f' ({damage})' if damage else ''}: the file is truncated "
            f"({len(data)} bytes) or no model file; copy or download it again"
        )


def _check_contract(path: Path, data: bytes, header: OnnxHeader) -> ModelBundle:
    metadata = _metadata(path, header)
    if not OPSETS[0] <= header.opset <= OPSETS[1]:
        raise ModelContractError(f"{path}: opset {header.opset}; export it with one from {OPSETS[0]} to {OPSETS[1]}")
    try:
        labels = LabelSet.from_json(metadata["labels"])
    except LabelError as exc:
        raise ModelContractError(f"{path}: metadata, labels: {exc}") from exc
    divisor = metadata.get("panoptic_divisor", PANOPTIC_DIVISOR)
    if "panoptic_divisor" in metadata and not (type(divisor) is int and 2 <= divisor <= 65535 // len(labels)):
        raise ModelContractError(
            f"{path}: metadata, panoptic_divisor: {len(labels)} classes times it must fit into 65535; expected "
            f"2 to {65535 // len(labels)}, got {divisor!r}"
        )
    input_hw = _size(path, metadata)
    _check_tensor(path, header.inputs, "input", TensorInfo("image", "uint8", (None, *input_hw, 3)))
    strides = {}
    for head in (*_HEADS, *_thing_heads(path, metadata, header)):
        strides[head] = stride = _stride(path, metadata, head)
        if input_hw[0] % stride or input_hw[1] % stride:
            raise ModelContractError(f"{path}: head {head}: stride {stride} does not divide the input {input_hw}")
        channels = (2,) if head == "offsets" else ()
        shape = (None, *channels, input_hw[0] // stride, input_hw[1] // stride)
        kind = "uint8" if head in _HEADS else "float32"
        _check_tensor(path, header.outputs, "output", TensorInfo(head, kind, shape))
    if len({strides[head] for head in THING_HEADS if head in strides}) > 1:
        raise ModelContractError(f"{path}: metadata, heads: centers and offsets must have one stride, got {strides}")
    return ModelBundle(path, data, hashlib.sha256(data).hexdigest(), metadata, labels, input_hw, strides, header.opset)


def _thing_heads(path: Path, metadata: Mapping[str, Any], header: OnnxHeader) -> tuple[str, ...]:
    """`THING_HEADS` or none; what the metadata says and what the graph has must be the same."""
    entries = metadata["heads"] if isinstance(metadata["heads"], dict) else {}
    told = [head for head in THING_HEADS if head in entries]
    there = [tensor.name for tensor in header.outputs if tensor.name in THING_HEADS]
    if sorted(told) != sorted(there) or len(told) == 1:
        raise ModelContractError(
            f"{path}: centers and offsets come together, in the metadata's heads and among the graph's outputs; the "
            f"metadata has {', '.join(told) or 'neither'}, the graph {', '.join(there) or 'neither'}: export it again"
        )
    return THING_HEADS if told else ()


def _metadata(path: Path, header: OnnxHeader) -> Mapping[str, Any]:
    try:
        metadata = json.loads(header.metadata[METADATA_KEY])
    except ValueError as exc:
        raise ModelContractError(f"{path}: metadata entry {METADATA_KEY!r} is not JSON: {exc}") from exc
    if not isinstance(metadata, dict):
        raise ModelContractError(f"{path}: metadata must be a JSON object, got {type(metadata).__name__}")
    if metadata.get("schema") != SCHEMA_VERSION:
        raise ModelContractError(
            f"{path}: metadata schema {metadata.get('schema')!r}; this version of seg_perception reads "
            f"{SCHEMA_VERSION}: install the version that made the model, or export it again"
        )
    missing = [key for key in ("name", "version", "license", "labels", "input", "heads") if key not in metadata]
    if missing:
        raise ModelContractError(f"{path}: metadata lacks {', '.join(missing)}")
    return metadata


def _size(path: Path, metadata: Mapping[str, Any]) -> tuple[int, int]:
    try:
        height, width = metadata["input"]["height_px"], metadata["input"]["width_px"]
        if type(height) is int and type(width) is int and 0 < height <= 16384 and 0 < width <= 16384:
            return height, width
        problem = f"{height!r} x {width!r}"
    except (KeyError, TypeError):
        problem = repr(metadata["input"])
    raise ModelContractError(f"{path}: metadata, input: expected height_px and width_px from 1 to 16384, got {problem}")


def _stride(path: Path, metadata: Mapping[str, Any], head: str) -> int:
    entry = metadata["heads"].get(head) if isinstance(metadata["heads"], dict) else None
    stride = entry.get("stride") if isinstance(entry, dict) else None
    if type(stride) is not int or stride < 1:
        raise ModelContractError(f"{path}: metadata, heads, {head}: expected a stride of 1 or more, got {entry!r}")
    if entry is not None and entry.get("resize") != "nearest":
        raise ModelContractError(
            f"{path}: metadata, heads, {head}: resize must be 'nearest', got {entry.get('resize')!r}"
        )
    return stride


def _check_tensor(path: Path, tensors: tuple[TensorInfo, ...], kind: str, expected: TensorInfo) -> None:
    found = next((t for t in tensors if t.name == expected.name), None)
    fits = (
        found is not None
        and found.dtype == expected.dtype
        and len(found.shape) == len(expected.shape)
        and found.shape[0] in (None, 1)
        and found.shape[1:] == expected.shape[1:]
    )
    if not fits or (kind == "input" and len(tensors) != 1):
        there = "; ".join(str(t) for t in tensors) or "none"
        raise ModelContractError(f"{path}: expected the {kind} {expected}, the graph has {there}; export it again")
