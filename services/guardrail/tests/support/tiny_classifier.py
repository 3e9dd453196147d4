"""A sequence classifier of a few numbers, as a model folder: an attack is a text with the word "attack" in a window.

The graph gathers one row of logits a token and takes, for each label, the highest of the window.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

VOCABULARY = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "attack": 3, "calm": 4}
LOGITS = np.array([[0, -9], [0, -9], [0, -9], [0, 4], [0, -9]], dtype="<f4")
FLOAT, INT64 = 1, 7


def tiny_graph(*, inputs: tuple[str, ...] = ("input_ids", "attention_mask"), labels: int = 2) -> bytes:
    """Return the graph; all inputs but the ids are taken and not looked at.

    Source: onnx.proto, for the fields' numbers.
    """
    raw = np.ascontiguousarray(LOGITS[:, :labels]).tobytes()
    table = (
        _number(1, len(LOGITS))
        + _number(1, labels)
        + _number(2, FLOAT)
        + _bytes(8, b"table")
        + _bytes(9, raw)
    )
    axes = _bytes(1, b"axes") + _number(8, 1) + _number(20, 7)
    keepdims = _bytes(1, b"keepdims") + _number(3, 0) + _number(20, 2)
    nodes = (
        _node("Gather", ["table", "input_ids"], "rows"),
        _node("ReduceMax", ["rows"], "logits", axes, keepdims),
    )
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, b"tiny") + _bytes(5, table)
    graph += b"".join(_bytes(11, _value(name, INT64, "length")) for name in inputs)
    graph += _bytes(12, _value("logits", FLOAT, labels))
    return _number(1, 8) + _bytes(8, _number(2, 13)) + _bytes(7, graph)


def _node(kind: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    names = b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode())
    return names + _bytes(4, kind.encode()) + b"".join(_bytes(5, each) for each in attributes)


def _value(name: str, kind: int, second: str | int) -> bytes:
    last = _number(1, second) if isinstance(second, int) else _bytes(2, second.encode())
    shape = _bytes(1, _bytes(2, b"batch")) + _bytes(1, last)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def tiny_tokenizer() -> bytes:
    """Return the tokenizer's file: words at white space, with a mark at either end."""
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer.to_str().encode()


def write_folder(folder: Path, graph: bytes, **fields: object) -> Path:
    """Write the model's folder; fields replace those of its manifest."""
    contents = {"model.onnx": graph, "tokenizer.json": tiny_tokenizer()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    manifest = {
        "version": 1,
        "name": "tiny",
        "check": "prompt_injection",
        "labels": ["benign", "attack"],
        "attack": ["attack"],
        "max_length": 16,
        "overlap": 4,
        "threshold": 0.5,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | fields))
    return folder
