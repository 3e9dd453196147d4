"""A spaCy model's entity recogniser, alone: no tagger, parser or lemmatizer is loaded; nothing is written."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import spacy
from spacy.language import Language

from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.models import verify_model
from mutx_guardrail.verdict import Layer

_KIND_OF: Final[Mapping[str, Kind]] = {
    "PERSON": Kind.PERSON,
    "PER": Kind.PERSON,
    "GPE": Kind.LOCATION,
    "LOC": Kind.LOCATION,
    "FAC": Kind.LOCATION,
    "ORG": Kind.ORGANIZATION,
    "NORP": Kind.NRP,
    "DATE": Kind.DATE_TIME,
    "TIME": Kind.DATE_TIME,
}
_ONLY: Final = "ner"

# spaCy keeps words as UTF-8, which cannot hold half of a pair.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entity:
    """What the model saw, in code points of the text that it was given."""

    start: int
    end: int
    kind: Kind


class EntityReader:
    """Reads texts with one model. Threads take turns: the model is pure, its vocabulary is not."""

    def __init__(self, language: Language) -> None:
        self._language, self._lock = language, threading.Lock()

    @property
    def stop_words(self) -> frozenset[str]:
        """The commonest words of the model's language."""
        return frozenset(self._language.Defaults.stop_words)

    def read(self, text: str) -> tuple[Entity, ...]:
        """Return the entities of a text, from left to right.

        The words it was read with are forgotten again, so that memory does not grow with what was seen.

        Raises:
            LayerUnavailable: the model failed.
        """
        try:
            with self._lock, self._language.memory_zone():
                read = self._language(_SURROGATE.sub("\ufffd", text))
                found = [(e.start_char, e.end_char, e.label_) for e in read.ents]
        except (ValueError, RuntimeError, MemoryError, ArithmeticError, LookupError, TypeError) as error:
            raise LayerUnavailable(Layer.NAMES, f"the model failed ({type(error).__name__})") from None
        return tuple(Entity(start, end, _KIND_OF[label]) for start, end, label in found if label in _KIND_OF)


def load_reader(folder: Path, sha256: str) -> EntityReader:
    """Return a reader of the model in a folder, whose files must have the hash.

    Raises:
        LayerUnavailable: the model is not there, is another one, or cannot be loaded.
    """
    verify_model(folder, sha256)
    try:
        language = spacy.load(folder, exclude=_all_but(folder, _ONLY))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise LayerUnavailable(Layer.NAMES, f"the model cannot be loaded ({type(error).__name__})") from None
    if _ONLY not in language.pipe_names:
        raise LayerUnavailable(Layer.NAMES, "the model has no entity recogniser")
    return EntityReader(language)


def _all_but(folder: Path, wanted: str) -> Iterable[str]:
    configuration = spacy.util.load_config(folder / "config.cfg")
    return [name for name in configuration["nlp"]["pipeline"] if name != wanted]
