"""How likely a sentence is an instruction to the agent that nobody gave it: named facts, each with a weight.

The likelihood is a logistic function of the sum of the weights (`data/intent/weights.yaml`). They were fitted to the
half of the measurement that may be looked at (`tune` in benchmarks/corpora), each drawn towards a value set by hand;
the other half was only ever measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import yaml

from mutx_guardrail.intent.directive import Directive
from mutx_guardrail.intent.genre import Genre
from mutx_guardrail.intent.lexicon import Deed
from mutx_guardrail.intent.purpose import Cover
from mutx_guardrail.intent.segment import Place

TO_AGENT: Final = frozenset({"addressed", "override", "conceal", "flow"})
"""Signs that speak to an agent whatever kind of text it is, and that no purpose covers."""
_MANY, _FEW = 0.3, 0.1
"""Shares of a text's other sentences that command: from there on it is a manual, up to there nothing else commands."""
_OFF, _ON = 0.2, 0.5
"""Shares of a sentence's words that stand elsewhere in the text: out of place up to there, in place from there."""
_TAKES: Final = frozenset({Deed.SEND, Deed.COLLECT, Deed.RUN, Deed.OPEN})
_ALTERS: Final = frozenset({Deed.DELETE, Deed.CHANGE, Deed.PAY})
_SPEAKS: Final = frozenset({Deed.SAY, Deed.ANSWER, Deed.PRODUCE})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The text that a sentence stands in.

    Attributes:
        genres: what kind of text it is.
        commanding: which share (0 to 1) of the other sentences command.
        topic: which share (0 to 1) of the sentence's words stand elsewhere in it; None where that cannot be told.
    """

    genres: frozenset[Genre]
    commanding: float
    topic: float | None


def facts(
    directive: Directive | None, signs: frozenset[str], place: Place, around: Surroundings, cover: Cover
) -> frozenset[str]:
    """Return what is so of a sentence, by name; nothing where it neither wants anything nor speaks to an agent."""
    spoken = bool(signs & TO_AGENT)
    if directive is None and not ("addressed" in signs or {"override", "flow"} <= signs):
        return frozenset()
    found = {f"sign:{name}" for name in signs if directive is not None or name in TO_AGENT}
    found |= {f"genre:{genre}" for genre in around.genres}
    found.add(f"place:{place}")
    if directive is None:
        return frozenset(found | {"mood:none"})
    deeds = directive.deeds
    found.add(f"mood:{directive.mood}")
    found |= {f"deed:{deed}" for deed in deeds}
    if around.commanding > _MANY:
        found.add("text:commands-spoken" if spoken else "text:commands")
    elif around.commanding <= _FEW:
        found.add("text:alone")
    if around.topic is not None:
        found |= {
            name
            for name, is_so in (("topic:off", around.topic <= _OFF), ("topic:on", around.topic >= _ON))
            if is_so
        }
    if Deed.ASK in deeds and "knowledge" in signs and around.topic is not None and around.topic <= _OFF:
        found.add("joint:foreign-question")
    joint = {
        "takes-out": bool(deeds & _TAKES) and bool(signs & {"asset", "whole"}) and "destination" in signs,
        "alters-assets": bool(deeds & _ALTERS) and bool(signs & {"asset", "amount", "destination", "whole"}),
        "shapes-answer": bool(deeds & _SPEAKS) and bool(signs & {"answer", "form", "quoted"}),
        "works-off-topic": Deed.PRODUCE in deeds and "topic:off" in found,
        "tells-user": bool(deeds & (_SPEAKS | {Deed.SEND})) and "user" in signs,
        "runs-script": bool(deeds & _TAKES) and "shell" in signs and "destination" in signs,
    }
    found |= {f"joint:{name}" for name, is_so in joint.items() if is_so}
    for genre in around.genres & {Genre.LETTER, Genre.CHAT, Genre.MANUAL, Genre.CODE}:
        found |= {
            f"{genre}:{name}"
            for name in ("user", "answer", "destination", "asset", "whole", "call")
            if name in signs
        }
        if spoken:
            found.add(f"{genre}:spoken")
    if not spoken and place is not Place.HIDDEN:
        found.add(f"covered:{cover}")
    return frozenset(found)


@cache
def load_weights() -> Mapping[str, float]:
    """Return the weight of each fact, in log-odds; `base` is that of none. One that is not named weighs nothing."""
    text = files("mutx_guardrail").joinpath("data/intent/weights.yaml").read_text("utf-8")
    return {str(name): float(weight) for name, weight in yaml.safe_load(text)["weights"].items()}


def likelihood(found: frozenset[str], weights: Mapping[str, float]) -> float:
    """Return the likelihood, 0 to 1; 0 where nothing was found."""
    if not found:
        return 0.0
    total = weights["base"] + sum(weights.get(name, 0.0) for name in found)
    return 1 / (1 + math.exp(-total))
