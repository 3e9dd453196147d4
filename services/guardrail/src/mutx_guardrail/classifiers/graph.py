"""Cut a piece out of a serialised ONNX graph: what lies between some values and some others.

Only what that takes is read of the format: messages are runs of numbered fields, and a graph lists its nodes in an
order in which each comes after what it needs.

Source: protobuf's encoding guide; onnx.proto: ModelProto.graph = 7, GraphProto.node = 1, .input = 11, .output = 12,
NodeProto.input = 1, .output = 2, ValueInfoProto.name = 1, .type = 2, TypeProto.tensor_type = 1, .elem_type = 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

_GRAPH: Final = 7
_NODE, _INPUT, _OUTPUT = 1, 11, 12
_NODE_INPUT, _NODE_OUTPUT = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LOW, _MORE = 0x7F, 0x80
_FLOAT_TENSOR: Final = b"\x12\x04\x0a\x02\x08\x01"


def cut(model: bytes, outputs: Collection[str], inputs: Collection[str] = ()) -> bytes:
    """Return the model with these inner values as its outputs, and only the nodes that they need.

    Args:
        model: a serialised ModelProto.
        outputs: names of values, in the order in which they are to be given out.
        inputs: names of float32 values that are given from now on, instead of computed.

    Raises:
        ValueError: it is no ONNX model, or has no such values.
    """
    whole = b""
    for number, raw, content in _fields(memoryview(model)):
        whole += _message(_GRAPH, _cut_graph(content, outputs, inputs)) if number == _GRAPH else bytes(raw)
    return whole


def _cut_graph(graph: memoryview, outputs: Collection[str], inputs: Collection[str]) -> bytes:
    fields = list(_fields(graph))
    made = {
        name for number, _, content in fields if number == _NODE for name in _names(content, _NODE_OUTPUT)
    }
    if missing := {*outputs, *inputs} - made:
        raise ValueError(f"the graph has no {', '.join(sorted(missing))}")
    needed = set(outputs)
    kept: list[bytes | memoryview] = []
    for number, raw, content in reversed(fields):
        if number == _NODE:
            if not _names(content, _NODE_OUTPUT) & needed:
                continue
            needed |= _names(content, _NODE_INPUT) - set(inputs)
        if number != _OUTPUT:
            kept.append(raw)
    kept.reverse()
    kept += [_message(_INPUT, _message(1, name.encode()) + _FLOAT_TENSOR) for name in inputs]
    kept += [_message(_OUTPUT, _message(1, name.encode())) for name in outputs]
    return b"".join(kept)


def _names(node: memoryview, field: int) -> set[str]:
    return {bytes(name).decode() for number, _, name in _fields(node) if number == field}


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield each field's number, the whole of it, and its content (empty unless it is bytes or a message)."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _read_varint(message, at)
        kind, content = key & 7, message[:0]
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind == _BYTES:
            size, at = _read_varint(message, at)
            content = message[at : at + size]
            at += size
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("no ONNX model")
        if at > len(message):
            raise ValueError("the ONNX model is cut off")
        yield key >> 3, message[begin:at], content


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & _LOW) << shift
        at, shift = at + 1, shift + 7
        if byte < _MORE:
            return value, at
    raise ValueError("the ONNX model is cut off")


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    head = b""
    while value > _LOW:
        head += bytes([value & _LOW | _MORE])
        value >>= 7
    return head + bytes([value])
