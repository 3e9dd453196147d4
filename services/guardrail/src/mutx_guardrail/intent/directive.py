"""Whether a sentence wants something done: commands, requests, duties, prohibitions, questions.

Grammar by words: what may lead a command in is skipped, then a verb has to stand where only a command has one. It
errs on the side of seeing a command; who it is for, and whether it fits, is judged elsewhere (`evidence`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from mutx_guardrail.intent.lexicon import Deed, Lexicon


class Mood(StrEnum):
    """How it is said."""

    COMMAND = "command"
    REQUEST = "request"
    DUTY = "duty"
    FORBID = "forbid"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class Directive:
    """What a sentence wants: how it says so first, and what is to be done in all."""

    mood: Mood
    deeds: frozenset[Deed]


_Wanted = tuple[Mood, frozenset[Deed]]
_WORD: Final = re.compile(r"[^\W_]+(?:['_-][^\W_]+)*")
_PHRASE: Final = re.compile(
    r"\b(?:make sure|be sure|ensure|remember|don'?t forget|do not forget|see|take care)(?: that)?(?: you| to)?\b"
    r"|\bi(?:'d| would)? (?:want|need|like|expect|ask) you to\b|\bis (?:now )?to\b"
    r"|\b(?:it is|it's) (?:necessary|important|required|essential|vital) (?:to|that you)\b"
    r"|\bif you (?:could|would|can)\b"
    r"|\b(?:grateful|great|nice|kind|helpful|appreciate it) if you\b|\bfeel free to\b|\bhelp (?:me |us )?(?:to|with)?\b"
    r"|\b(?:asks?|asked|wants?|wanted|needs?|requests?|requested|instructs?|instructed|authori[sz]ed)(?: for)?"
    r"(?: you| the \w{1,30})?(?: \w{1,30}){0,3} to (?:be )?\b"
    r"|\b(?:assistants?|models?|agents?|ais?|bots?|llms?|you) (?:must|should|shall|needs? to|ha(?:s|ve) to"
    r"|(?:is|are) (?:required|instructed|expected|asked) to)\b"
    r"|\b(?:you (?:can|may|are allowed to|are free to))\b|\bproceed (?:with|to)\b|\bgo ahead and\b|\bplease\b|\bdo \{?"
)
"""After which a verb says what is to be done."""
_PASSIVE: Final = re.compile(r"\b(?:should|must|needs to|has to|is to|are to|shall) be \w{1,30}(?:ed|en|t)\b")
_POLITE: Final = frozenset({"bitte", "favor", "favore", "veuillez", "gelieve", "graag"})
"""After these a verb may stand at the end, in its plain form."""
_BREAK: Final = re.compile(r"[:;,()\u2013\u2014\"\u201c\u201d>\u2026.!?=]|^-")
_STRONG: Final = re.compile(r"[:;\u2013\u2014>.!?]|^-$")
_OPENS_OBJECT: Final = frozenset("\"'`\u201c/[<$@")
_LINKS: Final = frozenset({"http", "https", "www"})
_PHRASES: Final = frozenset({("make", "sure"), ("take", "care"), ("make", "certain")})
"""They open a phrase of duty: what is to be done stands behind."""
_REACH: Final = 5
_REACH_BEHIND: Final = 8
"""Words behind a modal, and behind a phrase, among which the verb is looked for."""
_MOST_WORDS: Final = 120


def find_directive(text: str, lowered: str, lexicon: Lexicon) -> Directive | None:
    """Return what a sentence wants done; None where it only says something.

    Args:
        text: the sentence.
        lowered: the same in lower case, with plain apostrophes.
        lexicon: the verbs.
    """
    forms = _WORD.findall(lowered)[:_MOST_WORDS]
    if not forms or (not lexicon.mentions(forms) and "?" not in lowered):
        return None
    # A few letters change their number in lower case; then nothing is told by capitals.
    sentence = _Sentence(text if len(text) == len(lowered) else lowered, lowered, forms, lexicon)
    wanted = sentence.commanded() or sentence.due()
    if sentence.asks():
        mood, deeds = wanted or (Mood.QUESTION, frozenset[Deed]())
        return Directive(mood, deeds | {Deed.ASK})
    return Directive(*wanted) if wanted else None


class _Sentence:
    """A sentence in words, with their places."""

    def __init__(self, given: str, lowered: str, forms: list[str], lexicon: Lexicon) -> None:
        self._given, self._lowered, self._forms = given, lowered, forms
        self._lexicon, self._grammar = lexicon, lexicon.grammar
        self._places = [match.span() for match in islice(_WORD.finditer(lowered), _MOST_WORDS)]

    def commanded(self) -> _Wanted | None:
        """Return how the first command is said, and what all of them want."""
        mood: Mood | None = None
        deeds: frozenset[Deed] = frozenset()
        opens = False
        for at, form in enumerate(self._forms):
            gap = self._gap(at)
            begins = at == 0 or bool(gap and _STRONG.search(gap)) or self._stands_out(at)
            if begins:
                opens = form in self._grammar.subordinate
            elif self._forms[at - 1] not in self._grammar.joins and not (gap and _BREAK.search(gap)):
                continue
            first = self._behind_leads(at)
            if begins or mood is not None or opens or first > at:
                found = self._command_at(first)
                if found is not None:
                    mood = mood or found[0]
                    deeds |= found[1]
        return (mood, deeds) if mood else None

    def due(self) -> _Wanted | None:
        """Return what somebody is to do by a phrase of duty, or is asked for within the sentence."""
        for each in _PHRASE.finditer(self._lowered):
            if deeds := self._verb_behind(each.end()):
                return Mood.REQUEST, deeds
        return (Mood.DUTY, frozenset({Deed.SAY})) if _PASSIVE.search(self._lowered) else None

    def asks(self) -> bool:
        """Say whether it is a question."""
        asks = self._grammar.asks
        opens = self._forms[0] in asks or self._forms[0] in self._grammar.leads
        return opens and "?" in self._lowered and any(form in asks for form in self._forms[:4])

    def _gap(self, at: int) -> str:
        """Return what stands before a word, without blanks."""
        before = self._places[at - 1][1] if at else 0
        return self._lowered[before : self._places[at][0]].strip()

    def _stands_out(self, at: int) -> bool:
        """Say whether a verb begins with a capital before a small letter, as where a sentence begins without a stop."""
        if at + 1 >= len(self._places) or self._forms[at] not in self._lexicon.verbs:
            return False
        first, following = self._given[self._places[at][0]], self._given[self._places[at + 1][0]]
        return first.isupper() and not following.isupper()

    def _behind_leads(self, at: int) -> int:
        forms, grammar = self._forms, self._grammar
        while forms[at] in grammar.leads and at + 1 < len(forms):
            if forms[at] in grammar.who and forms[at + 1] in grammar.must:
                break
            at += 1
        return at

    def _command_at(self, at: int) -> _Wanted | None:
        forms, grammar = self._forms, self._grammar
        word, after = forms[at], forms[at + 1] if at + 1 < len(forms) else ""
        if word in {"don't", "dont", "never"}:
            return self._within(Mood.FORBID, at + 1)
        if word == "do" and after == "not":
            return self._within(Mood.FORBID, at + 2)
        if word in grammar.modals and after in grammar.you:
            return self._within(Mood.REQUEST, at + 2)
        if word in grammar.who and after in grammar.must:
            return self._within(Mood.DUTY, at + 2)
        if at and forms[at - 1] in _POLITE and word not in self._lexicon.verbs:
            return self._within(Mood.REQUEST, at, len(forms))
        return (Mood.COMMAND, self._lexicon.verbs[word]) if self._is_command(at) else None

    def _within(self, mood: Mood, at: int, reach: int = _REACH) -> _Wanted | None:
        verbs = self._lexicon.verbs
        return next(((mood, verbs[word]) for word in self._forms[at : at + reach] if word in verbs), None)

    def _is_command(self, at: int) -> bool:
        """Say whether a word is a verb that commands, and no noun."""
        word, lexicon = self._forms[at], self._lexicon
        if word not in lexicon.verbs:
            return False
        is_nounish = word in lexicon.nounish
        if at + 1 == len(self._forms):
            return not is_nounish and word in lexicon.english
        after, gap = self._forms[at + 1], self._gap(at + 1)
        if after in self._grammar.no_objects or gap in {":", "/", ".", ",", "=", "("}:
            return False
        if (word, after) in _PHRASES:
            return False
        opens = after in self._grammar.objects or after in _LINKS or after[0].isdigit() or "_" in after
        return not is_nounish or opens or not _OPENS_OBJECT.isdisjoint(gap)

    def _verb_behind(self, place: int) -> frozenset[Deed]:
        verbs = self._lexicon.verbs
        behind = (form for form, (start, _) in zip(self._forms, self._places, strict=True) if start >= place)
        for form in islice(behind, _REACH_BEHIND):
            if form in verbs:
                return verbs[form]
            if form.endswith("ing") and (deeds := verbs.get(form[:-3]) or verbs.get(form[:-3] + "e")):
                return deeds
        return frozenset()
