"""An ONNX graph cut down to some of its outputs.

ONNX Runtime computes every node of a graph, whichever outputs are asked for. Who wants a part only needs a graph that
holds no more than that part.
"""

from __future__ import annotations

from collections.abc import Collection

from seg_perception.model.onnx_header import WireError, fields

__all__ = ["cut_to_outputs"]

_GRAPH = 7
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_ATTRIBUTE = 1, 2, 5
_SUBGRAPHS = (6, 11)


def cut_to_outputs(data: bytes, kept: Collection[str]) -> bytes:
    """The same model with these outputs alone, and without the nodes and weights that only the others need.

    What stays is copied byte for byte. A graph with graphs in its nodes (If, Loop) comes back as it is: what those
    look at is not looked into.

    Args:
        data: a ModelProto.

    Raises:
        WireError: the bytes are no protobuf message, or break off; or the graph has no such output.
    """
    out, found = bytearray(), 0
    for number, value in fields(memoryview(data)):
        if number == _GRAPH and not isinstance(value, int):
            graph = _cut_graph(value, frozenset(kept))
            if graph is None:
                return data
            found, value = found + 1, memoryview(graph)
        _put(out, number, value)
    if found != 1:
        raise WireError(f"expected one graph, found {found}")
    return bytes(out)


def _cut_graph(graph: memoryview, kept: frozenset[str]) -> bytes | None:
    """None where it cannot be cut."""
    parts = list(fields(graph))
    nodes = {i: _Node(value) for i, (number, value) in enumerate(parts) if number == _NODE and _is_message(value)}
    if any(node.has_graph for node in nodes.values()):
        return None
    names = {i: _name(value) for i, (number, value) in enumerate(parts) if number in (_INITIALIZER, _OUTPUT)}
    missing = kept - {name for i, name in names.items() if parts[i][0] == _OUTPUT}
    if missing:
        raise WireError(f"the graph has no output {sorted(missing)[0]!r}")
    needed, live = set(kept), set()
    for i, node in reversed(nodes.items()):  # nodes stand in the order in which they can run
        if needed.intersection(node.outputs):
            live.add(i)
            needed.update(node.inputs)
    out = bytearray()
    for i, (number, value) in enumerate(parts):
        unused = (i in nodes and i not in live) or (number == _INITIALIZER and names[i] not in needed)
        if not unused and not (number == _OUTPUT and names[i] not in kept):
            _put(out, number, value)
    return bytes(out)


class _Node:
    """Names of a NodeProto's inputs and outputs, and whether there is a graph in it."""

    def __init__(self, data: int | memoryview) -> None:
        assert not isinstance(data, int)
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.has_graph = False
        for number, value in fields(data):
            if isinstance(value, int):
                continue
            if number == _NODE_INPUT:
                self.inputs.append(bytes(value).decode(errors="replace"))
            elif number == _NODE_OUTPUT:
                self.outputs.append(bytes(value).decode(errors="replace"))
            elif number == _NODE_ATTRIBUTE:
                self.has_graph |= any(inner in _SUBGRAPHS for inner, _ in fields(value))


def _is_message(value: int | memoryview) -> bool:
    return not isinstance(value, int)


def _name(data: int | memoryview) -> str:
    """TensorProto has its name in field 8, ValueInfoProto in field 1."""
    assert not isinstance(data, int)
    texts = {number: value for number, value in fields(data) if number in (1, 8) and not isinstance(value, int)}
    return bytes(texts.get(8, texts.get(1, memoryview(b"")))).decode(errors="replace")


def _put(out: bytearray, number: int, value: int | memoryview) -> None:
    """Append a field; what is no number has length and bytes."""
    if isinstance(value, int):
        out += _varint(number << 3) + _varint(value)
    else:
        out += _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
