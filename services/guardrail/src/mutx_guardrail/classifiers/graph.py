"""Cut a serialised ONNX graph short: keep what leads to some inner values and give those out.

Only what that takes is read of the format: messages are runs of numbered fields, and a graph lists its nodes in an
order in which each comes after what it needs.

Source: protobuf's encoding guide; onnx.proto: ModelProto.graph = 7, GraphProto.node = 1, GraphProto.output = 12,
NodeProto.output = 2, ValueInfoProto.name = 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

_GRAPH: Final = 7
_NODE, _OUTPUT = 1, 12
_NODE_OUTPUT: Final = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LOW, _MORE = 0x7F, 0x80


def cut(model: bytes, outputs: Collection[str]) -> bytes:
    """Return the model with these inner values as its outputs, in this order, and without the nodes behind them.

    Raises:
        ValueError: it is no ONNX model, or has no such values.
    """
    whole = b""
    for number, raw, content in _fields(memoryview(model)):
        whole += _message(_GRAPH, _cut_graph(content, outputs)) if number == _GRAPH else bytes(raw)
    return whole


def _cut_graph(graph: memoryview, outputs: Collection[str]) -> bytes:
    missing = set(outputs)
    kept: list[bytes | memoryview] = []
    for number, raw, content in _fields(graph):
        if number == _OUTPUT or (number == _NODE and not missing):
            continue
        if number == _NODE:
            missing -= {bytes(name).decode() for at, _, name in _fields(content) if at == _NODE_OUTPUT}
        kept.append(raw)
    if missing:
        raise ValueError(f"the graph has no {', '.join(sorted(missing))}")
    kept += [_message(_OUTPUT, _message(1, name.encode())) for name in outputs]
    return b"".join(kept)


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
