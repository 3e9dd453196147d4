"""The layer's data: each sign finds its own examples, each weight weighs something that can be so."""

from __future__ import annotations

import pytest
from mutx_guardrail.intent.directive import Mood
from mutx_guardrail.intent.evidence import load_weights
from mutx_guardrail.intent.genre import Genre
from mutx_guardrail.intent.language import is_known
from mutx_guardrail.intent.lexicon import Deed, load_lexicon
from mutx_guardrail.intent.purpose import Cover
from mutx_guardrail.intent.segment import Place
from mutx_guardrail.intent.signs import load_signs

SIGNS = load_signs()


@pytest.mark.parametrize("sign", SIGNS.listed, ids=lambda sign: sign.name)
def test_a_sign_finds_what_it_says_it_finds_and_nothing_that_it_says_it_does_not(sign):
    found = {text for text in (*sign.match, *sign.exempt) if sign.name in SIGNS.of(text)}

    assert found == set(sign.match)


def test_every_weight_is_of_a_fact_that_can_be_so():
    values = {
        "mood": {*Mood, "none"}, "sign": {sign.name for sign in SIGNS.listed}, "deed": set(Deed), "place": set(Place),
        "genre": set(Genre), "covered": set(Cover),
    }  # fmt: skip
    named = [name.partition(":") for name in load_weights() if ":" in name]

    unknown = [f"{kind}:{value}" for kind, _, value in named if kind in values and value not in values[kind]]

    assert unknown == []


def test_every_class_of_action_has_verbs_in_every_language():
    commanded = {deed for deeds in load_lexicon().verbs.values() for deed in deeds}

    assert commanded == set(Deed) - {Deed.ASK, Deed.CONCEAL}


@pytest.mark.parametrize(
    "text",
    [
        "We met on Monday and went through the plan for the spring with the whole team.",
        "Wir haben uns am Montag getroffen und sind den Plan für das Frühjahr mit allen durchgegangen.",
        "Nous avons vu le plan pour le printemps avec toute l'équipe et les clients de la maison.",
        "Ja.",
    ],
)
def test_a_language_of_the_lexicon_is_known(text):
    assert is_known(text)


@pytest.mark.parametrize(
    "text",
    [
        "Мы встретились в понедельник и обсудили план на весну со всей командой.",
        "我们星期一见面并讨论了春天的计划",
        "Tapasimme maanantaina ja kävimme kevään suunnitelman läpi yhdessä koko ryhmän kanssa ennen lounasta.",
    ],
)
def test_another_language_is_not(text):
    assert not is_known(text)
