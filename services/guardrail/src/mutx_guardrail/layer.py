"""What a detector of the guardrail is, whichever layer it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mutx_guardrail.document import Document
from mutx_guardrail.verdict import Finding, Layer


class LayerUnavailable(Exception):  # noqa: N818 - the state of a layer, told as one
    """A layer could not judge. `why` never holds a piece of the judged text."""

    def __init__(self, layer: Layer, why: str) -> None:
        super().__init__(f"{layer.value}: {why}")
        self.layer, self.why = layer, why


@dataclass(frozen=True, slots=True)
class Signal:
    """What one detector says of one text.

    Args:
        score: calibrated likelihood (0 to 1) that the text is what the detector looks for.
        findings: where it saw it; may be empty though the score is high.
    """

    layer: Layer
    score: float
    findings: tuple[Finding, ...] = ()


class Detector(Protocol):
    """Judges a text by itself: pure, without network, safe to call from several threads at once."""

    layer: Layer

    def judge(self, document: Document) -> Signal:
        """Return what the text looks like.

        Raises:
            LayerUnavailable: it cannot judge; the caller fails closed.
        """
