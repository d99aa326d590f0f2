"""What stands around the weights in an ONNX file: opset, metadata, inputs and outputs.

ONNX is protobuf (https://github.com/onnx/onnx, onnx.proto); these few fields of its wire format are read
here so that a robot needs no ONNX package, and so that weights are skipped and never parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["OnnxHeader", "TensorInfo", "WireError", "fields", "read_header"]

_TYPE_NAMES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}


class WireError(ValueError):
    """The bytes are no protobuf message, or break off."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of the graph.

    Attributes:
        dtype: `uint8`, `float32` ... or `type <n>` for a rarer one.
        shape: sizes; None for one that is decided at run time.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} [{', '.join('?' if n is None else str(n) for n in self.shape)}]"


@dataclass(frozen=True)
class OnnxHeader:
    """Everything but the nodes and weights."""

    ir_version: int
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a number breaks off or is too long")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) in order: an int for varints, a view for length-delimited and fixed-size ones."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(data, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise WireError(f"wire type {wire_type} does not exist in ONNX")
        if size > len(data) - at:
            raise WireError(f"a field of {size} bytes breaks off after {len(data) - at}")
        yield number, data[at : at + size]
        at += size


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise WireError("a number where a message should be")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise WireError("a message where a number should be")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return bytes(_message(value)).decode()
    except UnicodeDecodeError as exc:
        raise WireError("a name is not UTF-8") from exc


def _pair(data: memoryview) -> dict[int, int | memoryview]:
    return dict(fields(data))


def _tensor_info(data: memoryview) -> TensorInfo:
    """ValueInfoProto: name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { value = 1 }}}}."""
    info = _pair(data)
    name = _text(info.get(1, memoryview(b"")))
    tensor = _pair(_message(_pair(_message(info.get(2, memoryview(b"")))).get(1, memoryview(b""))))
    dims: list[int | None] = []
    for number, dim in fields(_message(tensor.get(2, memoryview(b"")))):
        if number == 1:
            value = _pair(_message(dim)).get(1)
            dims.append(None if value is None else _number(value))
    code = _number(tensor.get(1, 0))
    return TensorInfo(name, _TYPE_NAMES.get(code, f"type {code}"), tuple(dims))


def read_header(data: bytes) -> OnnxHeader:
    """Read a ModelProto: ir_version = 1, graph = 7 { input = 11, output = 12 }, opset_import = 8, metadata_props = 14.

    Raises:
        WireError: the bytes are no protobuf message, break off, or hold no graph.
    """
    ir_version, opset, metadata = 0, 0, {}
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    has_graph = False
    for number, value in fields(memoryview(data)):
        if number == 1:
            ir_version = _number(value)
        elif number == 7:
            has_graph = True
            for field_number, part in fields(_message(value)):
                if field_number == 11:
                    inputs.append(_tensor_info(_message(part)))
                elif field_number == 12:
                    outputs.append(_tensor_info(_message(part)))
        elif number == 8:
            entry = _pair(_message(value))
            if not entry.get(1):  # the default operator set has an empty domain
                opset = _number(entry.get(2, 0))
        elif number == 14:
            entry = _pair(_message(value))
            metadata[_text(entry.get(1, memoryview(b"")))] = _text(entry.get(2, memoryview(b"")))
    if not has_graph:
        raise WireError("there is no graph")
    return OnnxHeader(ir_version, opset, tuple(inputs), tuple(outputs), metadata)
