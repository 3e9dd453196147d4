"""A sequence classifier of any make as a detector: a local folder with an ONNX graph, a tokenizer and a manifest.

This is how a deployment sets in a larger model, `meta-llama/Llama-Prompt-Guard-2-86M` or PIGuard, say. The folder holds
`model.onnx` (with its external data, if any), `tokenizer.json` and `manifest.json`:

    {"version": 1, "name": "prompt-guard-2-86m", "check": "prompt_injection",
     "labels": ["benign", "malicious"], "attack": ["malicious"], "max_length": 512, "overlap": 64, "threshold": 0.5,
     "files": {"model.onnx": "<sha256>", "tokenizer.json": "<sha256>"}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Encoding, Tokenizer

from mutx_guardrail.classifiers.calibration import Score
from mutx_guardrail.classifiers.encoder import encodable, read_verified, session_options
from mutx_guardrail.classifiers.readings import judge_readings
from mutx_guardrail.classifiers.store import MANIFEST, Sha256, read_manifest
from mutx_guardrail.deadline import check_time
from mutx_guardrail.document import Document, View
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.verdict import CheckName, Finding, Layer

MODEL: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
_INPUTS: Final = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class SequenceManifest(BaseModel):
    """What a folder holds, and how its answer is to be read.

    `labels` are the model's, in the order of its output; the text's likelihood is that of the `attack` labels
    together, in the highest of its windows of `max_length` pieces, which share `overlap` pieces.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    name: Annotated[str, Field(min_length=1, max_length=100)]
    check: CheckName
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    attack: Annotated[tuple[str, ...], Field(min_length=1)]
    max_length: Annotated[int, Field(ge=16, le=8_192)] = 512
    overlap: Annotated[int, Field(ge=0, le=1_024)] = 64
    threshold: Score = 0.5
    files: Mapping[str, Sha256]


class SequenceDetector:
    """A sequence classifier, window by window. Safe to share between threads."""

    layer: Layer = Layer.CLASSIFIER

    def __init__(
        self, manifest: SequenceManifest, tokenizer: Tokenizer, session: ort.InferenceSession
    ) -> None:
        self._manifest, self._tokenizer, self._session = manifest, tokenizer, session
        self._columns = [manifest.labels.index(label) for label in manifest.attack]
        self._inputs = [each.name for each in session.get_inputs()]

    @property
    def threshold(self) -> float:
        """The likelihood from which a text is held for an attack, unless a policy says another."""
        return self._manifest.threshold

    def judge(self, document: Document) -> Signal:
        """Return the highest likelihood of the text's readings, and the windows that carry it.

        Raises:
            LayerUnavailable: the model does not answer as its manifest says.
        """
        return judge_readings(document, self._judge)

    def _judge(self, view: View) -> Signal:
        found = [(encoding, self._likelihood(encoding)) for encoding in self._windows(view.text)]
        score = max(alone for _, alone in found)
        findings = tuple(
            Finding(
                self._manifest.check.value, view.original(*_extent(encoding)), alone, self.layer,
                self._manifest.name, view.name,
            )
            for encoding, alone in found
            if alone >= self.threshold
        )  # fmt: skip
        return Signal(self.layer, score, findings)

    def _windows(self, text: str) -> Iterator[Encoding]:
        first = self._tokenizer.encode(encodable(text))
        yield first
        yield from first.overflowing

    def _likelihood(self, encoding: Encoding) -> float:
        check_time()
        feeds = {name: np.array([getattr(encoding, _INPUTS[name])], dtype=np.int64) for name in self._inputs}
        try:
            logits = np.asarray(self._session.run(None, feeds)[0], dtype=np.float64).reshape(-1)
        except Exception as error:  # noqa: BLE001 - libraries' own types, some of them bare
            raise LayerUnavailable(self.layer, f"the classifier failed ({type(error).__name__})") from None
        if len(logits) != len(self._manifest.labels) or not np.isfinite(logits).all():
            raise LayerUnavailable(
                self.layer, "the classifier does not answer with one finite number a label"
            )
        return float(_softmax(logits)[self._columns].sum())


def load_sequence(folder: Path) -> SequenceDetector:
    """Return the detector of a model folder.

    Raises:
        LayerUnavailable: a file is missing, is another than the manifest names, or cannot be used as it says.
    """
    manifest = read_manifest(folder / MANIFEST, SequenceManifest)
    if not {MODEL, TOKENIZER} <= set(manifest.files) or not set(manifest.attack) <= set(manifest.labels):
        raise LayerUnavailable(
            Layer.CLASSIFIER, f"{MANIFEST} names no model, no tokenizer or an unknown label"
        )
    if any(Path(name).name != name for name in manifest.files):
        raise LayerUnavailable(Layer.CLASSIFIER, f"{MANIFEST} names a file outside of its folder")
    contents = {name: read_verified(folder / name, sha256) for name, sha256 in manifest.files.items()}
    # A graph with external data finds it beside itself, so it is loaded by its path.
    graph = str(folder / MODEL) if set(contents) - {MODEL, TOKENIZER} else contents[MODEL]
    try:
        session = ort.InferenceSession(graph, session_options(), providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_buffer(contents[TOKENIZER])
        tokenizer.no_padding()
        tokenizer.enable_truncation(manifest.max_length, stride=manifest.overlap)
    except Exception as error:  # noqa: BLE001 - libraries' own types, some of them bare
        raise LayerUnavailable(
            Layer.CLASSIFIER, f"{manifest.name} cannot be loaded ({type(error).__name__})"
        ) from None
    if unknown := {each.name for each in session.get_inputs()} - set(_INPUTS):
        raise LayerUnavailable(Layer.CLASSIFIER, f"{manifest.name} wants {', '.join(sorted(unknown))}")
    return SequenceDetector(manifest, tokenizer, session)


def _extent(encoding: Encoding) -> tuple[int, int]:
    """Return the characters that a window stands for."""
    spans = [
        span
        for span, special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        if not special and span[0] < span[1]
    ]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else (0, 0)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())
