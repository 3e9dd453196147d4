"""The detectors of one process: built once, each replaceable; what cannot be built says so at every text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mutx_guardrail.classifiers.fusion import Fusion
from mutx_guardrail.document import Document
from mutx_guardrail.intent.detector import IntentDetector
from mutx_guardrail.judge.judge import Judge
from mutx_guardrail.judge.settings import JudgeSettings
from mutx_guardrail.layer import Detector, LayerUnavailable, Signal
from mutx_guardrail.output.secrets import secret_detector
from mutx_guardrail.patterns.detector import PatternDetector
from mutx_guardrail.patterns.pack import load_pack
from mutx_guardrail.pii.structured import structured_detector
from mutx_guardrail.verdict import Layer

if TYPE_CHECKING:
    from mutx_guardrail.classifiers import Classifiers

T = TypeVar("T")


class ScoredDetector(Detector, Protocol):
    """A detector that says from which score on it holds a text for what it looks for."""

    @property
    def threshold(self) -> float:
        """Its own threshold, fixed on validation sources."""


class ForeignDetector(Protocol):
    """Judges what a text from outside wants of an agent."""

    layer: Layer

    def judge(
        self, document: Document, purpose: str = "", task: str = "", exempt: frozenset[str] = frozenset()
    ) -> Signal:
        """Return what the text looks like; it raises as `Detector.judge` does."""


Embed = Callable[[str], NDArray[np.float32]]


class Broken:
    """Stands for a layer that could not be built: it judges nothing, and says why."""

    threshold = 0.5

    def __init__(self, layer: Layer, why: str) -> None:
        self.layer, self._why = layer, why

    def judge(self, document: Document, *_further: object) -> Signal:  # noqa: ARG002 - a detector's signature
        """Raise LayerUnavailable."""
        raise LayerUnavailable(self.layer, self._why)


@dataclass(frozen=True, slots=True)
class Parts:
    """All that judges. None stands for a part that this node does without."""

    injection_patterns: PatternDetector
    toxicity_patterns: PatternDetector
    personal: Detector
    secrets: Detector
    injection: ScoredDetector | None = None
    toxicity: ScoredDetector | None = None
    embed: Embed | None = None
    fusion: Fusion | None = None
    intent: ForeignDetector | None = None
    names: Detector | None = None
    judge: Judge | None = None

    def broken(self) -> tuple[Layer, ...]:
        """Return the layers that could not be built."""
        parts = (self.personal, self.secrets, self.injection, self.toxicity, self.intent, self.names)
        return tuple(dict.fromkeys(part.layer for part in parts if isinstance(part, Broken)))


@dataclass(frozen=True, slots=True)
class Models:
    """Where classifiers are, if not the built-in ones.

    Attributes:
        folder: a folder in the form of the built-in one.
        injection: a sequence classifier's folder for prompt injection (`classifiers/sequence.py`).
        toxicity: the same for toxic content.
    """

    folder: Path | None = None
    injection: Path | None = None
    toxicity: Path | None = None


def build_parts(
    layers: tuple[Layer, ...], *, models: Models | None = None, judge: JudgeSettings | None = None
) -> Parts:
    """Build what some layers need; it takes one to two seconds with the models.

    Args:
        layers: those that the policy wants.
        models: classifiers instead of the built-in ones.
        judge: where the judge is; a policy that wants one and has none finds it broken.
    """
    models = models or Models()
    wanted = Layer.CLASSIFIER in layers
    built = _build(Layer.CLASSIFIER, lambda: _load_classifiers(models.folder)) if wanted else None
    broken = built if isinstance(built, Broken) else None
    classifiers = None if isinstance(built, Broken) else built
    injection = _sequence(models.injection) if wanted else None
    toxicity = _sequence(models.toxicity) if wanted else None
    # The joint likelihood was fitted to the built-in classifiers; another one stands for itself.
    is_built_in = injection is None and toxicity is None
    return Parts(
        injection_patterns=PatternDetector(load_pack("injection")),
        toxicity_patterns=PatternDetector(load_pack("toxicity")),
        personal=structured_detector(),
        secrets=secret_detector(),
        injection=injection or (classifiers.injection if classifiers else broken),
        toxicity=toxicity or (classifiers.toxicity if classifiers else broken),
        embed=classifiers.embed if classifiers else None,
        fusion=classifiers.fusion if classifiers and is_built_in else None,
        intent=_build(Layer.INTENT, IntentDetector) if Layer.INTENT in layers else None,
        names=_build(Layer.NAMES, _load_names) if Layer.NAMES in layers else None,
        judge=Judge(judge) if judge is not None and Layer.JUDGE in layers else None,
    )


# These import libraries that take seconds, which a policy may do without.
def _load_classifiers(models: Path | None) -> Classifiers:
    from mutx_guardrail.classifiers import load_classifiers  # noqa: PLC0415

    return load_classifiers(models)


def _sequence(folder: Path | None) -> ScoredDetector | None:
    if folder is None:
        return None
    from mutx_guardrail.classifiers.sequence import load_sequence  # noqa: PLC0415

    return _build(Layer.CLASSIFIER, lambda: load_sequence(folder))


def _load_names() -> Detector:
    from mutx_guardrail.pii.names import names_detector  # noqa: PLC0415

    return names_detector()


def _build(layer: Layer, make: Callable[[], T]) -> T | Broken:
    try:
        return make()
    except LayerUnavailable as error:
        return Broken(layer, error.why)
