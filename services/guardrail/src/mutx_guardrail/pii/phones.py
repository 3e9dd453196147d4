"""Telephone numbers: international forms, national forms that are rare otherwise, and any form with a word near.

A run of digits that might be a number in some country is not enough: that has a precision of four in a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import phonenumbers

from mutx_guardrail.pii.context import Mentions
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.matching import Haystack, Hit, Pattern, compile_pattern
from mutx_guardrail.pii.rule import Candidate
from mutx_guardrail.pii.validators import digits_of

_CONTEXT: Final = ("phone",)
_FEWEST, _MOST = 7, 15
_GAP = r"(?: ?[-./\x{2010}-\x{2015}\x{2212}] ?|[ \t]{1,2})"
_GROUP = r"(?:\(\d{1,5}\)|\d{1,7})"
_EXTENSION = r"(?: ?(?:x|ext\.?|extension|#) ?\d{1,6})?"
_NUMBER = rf"((?:\+ ?|\+\()?{_GROUP}(?:{_GAP}?{_GROUP}){{1,7}}{_EXTENSION}|\+?\d{{7,15}}{_EXTENSION})"

# Forms that are seldom anything else, with the plan that says whether the number can be.
_NATIONAL: Final = (
    (r"\([2-9]\d\d\) ?\d{3}[-. ]\d{4}|[2-9]\d\d([-.])[2-9]\d\d[-.]\d{4}", "US"),
    (r"0[1-9](?:[ .]\d\d){4}", "FR"),
    (r"07\d{3} \d{3} ?\d{3}|0[12]\d{2,3} \d{3} ?\d{4}|020 \d{4} \d{4}", "GB"),
    (r"01[567]\d[ /\-]\d{6,8}|0[2-9]\d{1,3}[/\-] ?\d{5,8}", "DE"),
)


class PhoneRule:
    """Finds telephone numbers."""

    id: Final = "phone"

    def __init__(self, date: Pattern) -> None:
        # Else a plan is read when the first number of its country comes: tens of milliseconds in a request.
        phonenumbers.PhoneMetadata.load_all()
        self._date = date
        self._number = compile_pattern("(?i)" + _NUMBER)
        self._decimal = compile_pattern(r"\d+[.]\d+|\d{1,3}(?:[.,]\d{3})+|\d{4}-\d{4}")
        self._national = tuple((compile_pattern(pattern), region) for pattern, region in _NATIONAL)

    def find(self, hay: Haystack, mentions: Mentions) -> Iterator[Candidate]:
        """Return the numbers of a text."""
        if hay.digits < _FEWEST:
            return
        for hit in hay.hits(self._number):
            value = hay.text[hit.start : hit.end]
            if not self._is_possible(hay, hit, value):
                continue
            confidence, rule = self._judge(value, mentions, hit)
            if confidence:
                yield Candidate(hit.start, hit.end, Kind.PHONE_NUMBER, confidence, rule)

    def _is_possible(self, hay: Haystack, hit: Hit, value: str) -> bool:
        main = value.lower().partition("x")[0].partition("#")[0]
        if not _FEWEST <= len(digits_of(main)) <= _MOST or len(set(digits_of(main))) == 1:
            return False
        before, after = hay.text[hit.start - 1 : hit.start], hay.text[hit.end : hit.end + 1]
        if (
            before.isalnum()
            or before in {"_", "+", "#", "$", "€", "£", "%"}
            or after.isalnum()
            or after in {"_", "%"}
        ):
            return False
        return not hay.is_glued(hit.start, hit.end, "-/._@:=") or self._labelled(hay.text, hit.start)

    @staticmethod
    def _labelled(text: str, start: int) -> bool:
        """Say whether what ties the number to the text before it is the sign after a label, as in `Tel.:+49 …`."""
        label = text[max(0, start - 3) : start].rstrip(":./=")
        return len(label) < len(text[max(0, start - 3) : start]) and label[-1:].isalpha()

    def _judge(self, value: str, mentions: Mentions, hit: Hit) -> tuple[float, str]:
        other = mentions.nearest_is_other(_CONTEXT, hit.start)
        near = mentions.near(_CONTEXT, hit.start, hit.end)
        if value.startswith("+"):
            return self._international(value, near)
        data = value.encode()
        if other or self._date.fullmatch(data):
            return 0.0, ""
        if value.startswith("00") and len(digits_of(value)) > _FEWEST + 3:
            confidence, rule = self._international("+" + value[2:].lstrip(" -."), near)
            if confidence:
                return confidence, rule
        if near:
            return (0.0, "") if self._decimal.fullmatch(data) else (0.8, "phone-named")
        for pattern, region in self._national:
            if pattern.fullmatch(data) and _is_valid(value, region):
                return 0.6, f"phone-{region.lower()}"
        return 0.0, ""

    @staticmethod
    def _international(value: str, near: bool) -> tuple[float, str]:
        if _is_valid(value, None):
            return 0.95, "phone-international"
        possible = near or _is_possible(value)
        return (0.75, "phone-international") if possible else (0.0, "")


def _is_valid(value: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, region))
    except phonenumbers.NumberParseException:
        return False


def _is_possible(value: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        return False
