"""The two detectors of layer 2, over one reading of the text: it is tokenised and embedded once for both."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np

from mutx_guardrail.classifiers.calibration import Calibration
from mutx_guardrail.classifiers.encoder import WIDTH, Floats
from mutx_guardrail.classifiers.fusion import Fusion
from mutx_guardrail.classifiers.head import TASKS
from mutx_guardrail.classifiers.readings import judge_readings
from mutx_guardrail.classifiers.store import BUILT_IN, Loaded, load
from mutx_guardrail.classifiers.windows import Window, split
from mutx_guardrail.deadline import check_time
from mutx_guardrail.document import Document, View
from mutx_guardrail.layer import Signal
from mutx_guardrail.verdict import CheckName, Finding, Layer

KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Judged:
    """One text's windows, with one row of logits each (columns as in `TASKS`)."""

    windows: tuple[Window, ...]
    logits: Floats


class Reader:
    """Judges texts window by window, and keeps what it found of the latest ones, by digests of them.

    Safe to share between threads.
    """

    def __init__(self, model: Loaded, kept: int = KEPT) -> None:
        self._model, self._room = model, kept
        self._kept: OrderedDict[bytes, Judged] = OrderedDict()
        self._lock = threading.Lock()

    def judge(self, text: str) -> Judged:
        """Return what the model says of each window of a text."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        with self._lock:
            if (known := self._kept.get(digest)) is not None:
                self._kept.move_to_end(digest)
                return known
        found = self._read(text)
        with self._lock:
            self._kept[digest] = found
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
        return found

    def _read(self, text: str) -> Judged:
        encoder, head = self._model.encoder, self._model.head
        tokens = encoder.tokens(text)
        windows = tuple(split(tokens, len(text)))
        logits = np.empty((len(windows), len(TASKS)), dtype=np.float32)
        known: dict[tuple[bytes, str], Floats] = {}
        for place, window in enumerate(windows):
            ids, piece = tokens.ids[window.first : window.last], text[window.start : window.end]
            # A text that repeats itself is read once: twenty thousand equals signs would take seconds.
            key = (ids.tobytes(), piece)
            if key not in known:
                check_time()
                inner = tokens.inner[window.first : window.last]
                known[key] = head.logits(piece, ids, inner, encoder.hidden(ids))
            logits[place] = known[key]
        return Judged(windows, logits)


class WindowDetector:
    """One of the two checks: prompt injection or toxic content."""

    layer: Layer = Layer.CLASSIFIER

    def __init__(self, reader: Reader, task: str, calibration: Calibration, model: str) -> None:
        self._reader, self._task, self._calibration, self._model = reader, task, calibration, model
        self._column = TASKS.index(task)

    @property
    def threshold(self) -> float:
        """The likelihood from which a text is held for one, unless a policy says another."""
        return self._calibration.threshold

    def judge(self, document: Document) -> Signal:
        """Return the highest likelihood of the text's readings, and the windows that carry it."""
        return judge_readings(document, self._judge)

    def _judge(self, view: View) -> Signal:
        judged = self._reader.judge(view.text)
        logits = judged.logits[:, self._column].astype(float)
        highest = float(logits.max())
        score = self._calibration.likelihood(highest, len(logits))
        if score < self.threshold:
            return Signal(self.layer, score)
        findings = tuple(
            Finding(
                self._task, view.original(window.start, window.end), alone, self.layer, self._model, view.name
            )
            for window, logit in zip(judged.windows, logits, strict=True)
            if (alone := self._calibration.likelihood(float(logit), 1)) >= self.threshold or logit == highest
        )
        return Signal(self.layer, score, findings)


class Classifiers:
    """Layer 2's two detectors, and the vectors that they share with drift detection."""

    def __init__(self, model: Loaded) -> None:
        self._reader, self._encoder = Reader(model), model.encoder
        injection, toxicity = (
            WindowDetector(self._reader, task, model.manifest.calibration[task], model.manifest.name)
            for task in TASKS
        )
        self.injection, self.toxicity = injection, toxicity
        self.name = model.manifest.name
        self.fusion = Fusion(model.manifest.fusion)

    def judge_all(self, document: Document) -> dict[CheckName, Signal]:
        """Return both signals; the text is read once."""
        return {
            CheckName.PROMPT_INJECTION: self.injection.judge(document),
            CheckName.TOXIC_CONTENT: self.toxicity.judge(document),
        }

    def embed(self, text: str) -> Floats:
        """Return the text's vector: 384 numbers of length one together, or zeros for an empty text.

        It takes the whole encoder (half as long again as judging), so it is for what is watched, not for each text.
        """
        total = np.zeros(WIDTH, dtype=np.float32)
        tokens = self._encoder.tokens(text)
        for window in split(tokens, len(text)) if len(tokens) else ():
            total += self._encoder.last(tokens.ids[window.first : window.last]).sum(axis=0)
        length = float(np.linalg.norm(total))
        return total / np.float32(length) if length > 0 else total


def load_classifiers(folder: Path | None = None) -> Classifiers:
    """Return the detectors of a model folder; of the one that is built in, if none is named.

    Raises:
        LayerUnavailable: a file is missing, or is another than the manifest names.
    """
    return Classifiers(load(folder or BUILT_IN))
