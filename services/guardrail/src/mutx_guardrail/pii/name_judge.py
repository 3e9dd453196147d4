"""What speaks for and against a person where a model or a rule sees one: lists, common words, what stands beside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mutx_guardrail.pii.name_lists import NameLists, Word
from mutx_guardrail.pii.name_words import NameWords

SURELY: Final = 0.9
LIKELY: Final = 0.7
PERHAPS: Final = 0.6

# Signs that tie a word to a program's or a file's name.
_TIES_BEFORE: Final = frozenset("_$`#@\\")
_TIES_AFTER: Final = frozenset("_(`@\\[{")
_SHORTEST_ALONE: Final = 3
_LONGEST_ABBREVIATION: Final = 4

_NEXT: Final = re.compile(r" ([^\W\d_]+)")
_LAST: Final = re.compile(r"([^\W\d_]+) $")
_AND_BEFORE: Final = re.compile(r"[^\W\d_] ?& ?$")
_AND_AFTER: Final = re.compile(r" ?& ?[^\W\d_]")
_INNER_CAPITAL: Final = re.compile(r"^(?!Mc|Mac|De|Di|La|Le|O['’]|D['’]|L['’])[^\W\d_]+[^\W\d_A-Z'’\-][A-Z]")
_COMPANY: Final = (
    r"(?:S\.?L\.?U?|S\.?A\.?S?|S\.?A\.?R\.?L|SARL|S\.?p\.?A|S\.?r\.?l|d\.o\.o|d\.d|a\.s|s\.r\.o|e\.V|ry|k[kf]t|zrt|Kkt|Kft|Zrt|Oyj?"
    r"|A[BGS]|ApS|[GM]mbH|KG|N\.?V|B\.?V|PLC|plc|Ltd|LLC|LLP|Inc|Corp|Co|Tbk|Groep|Gruppe|Holding|Şti|San)"
)
_ENDS_AS_COMPANY: Final = re.compile(rf"\s{_COMPANY}\W*$")
_COMPANY_AFTER: Final = re.compile(rf",? {_COMPANY}\.?(?!\w)")
_CONTEXT: Final = 24


class NameJudge:
    """Says how sure a person is that a model sees, and what is no person whoever sees it."""

    def __init__(self, names: NameLists, telling: NameWords) -> None:
        self._names, self._telling = names, telling

    def confidence(self, words: Sequence[Word], *, is_uncased: bool) -> float:
        """Return how sure it is (0 to 1) that words which a model takes for a person are one; 0 where they are not."""
        parts = [
            word.text for word in words if not word.is_initial and word.text not in self._telling.particles
        ]
        if not parts or parts[-1].lower() in self._telling.no_last_names:
            return 0.0
        if not is_uncased and any(map(self._is_shouted, parts)):
            return 0.0
        return (
            self._of_one(words, is_uncased=is_uncased)
            if len(words) == 1
            else self._of_more(parts, is_uncased)
        )

    def is_no_name(self, word: str) -> bool:
        """Say whether it is a common word, and in no list of names."""
        return self._names.is_common(word) and not self._names.is_name(word)

    def is_thing(self, text: str, start: int, end: int) -> bool:
        """Say whether what is written there, or beside it, makes it a company, a program, a storm, and no person."""
        value = " ".join(text[start:end].lower().split())
        if value in self._telling.namesakes or value in self._telling.products:
            return True
        before, after = text[max(0, start - _CONTEXT) : start], text[end : end + _CONTEXT]
        if before[-1:] in _TIES_BEFORE or after[:1] in _TIES_AFTER or _INNER_CAPITAL.match(text[start:end]):
            return True
        if _ENDS_AS_COMPANY.search(text[start:end]) or _COMPANY_AFTER.match(after):
            return True
        if " " not in value and (_AND_BEFORE.search(before) or _AND_AFTER.match(after)):
            return self._names.is_family(value)
        following, leading = _NEXT.match(after), _LAST.search(before)
        return (following is not None and self._makes_thing(following[1])) or (
            leading is not None and self._is_led(value, leading[1].lower())
        )

    def _is_led(self, value: str, leading: str) -> bool:
        is_month = value in self._telling.months and leading in self._telling.before_months
        return is_month or leading in self._telling.before_things

    def _makes_thing(self, word: str) -> bool:
        lowered = word.lower()
        return lowered in self._telling.things or (
            word[0].isupper() and lowered in self._telling.no_last_names
        )

    def _of_one(self, words: Sequence[Word], *, is_uncased: bool) -> float:
        alone = words[0].text
        if alone.isupper() and not is_uncased:
            return 0.0
        if self._names.is_name(alone):
            if len(alone) < _SHORTEST_ALONE:
                return 0.0
            return PERHAPS if self._names.is_word(alone) or self._names.is_place(alone) else SURELY
        return 0.0 if is_uncased or self._names.is_common(alone) else LIKELY

    def _of_more(self, parts: Sequence[str], is_uncased: bool) -> float:
        """Return it of several words: common words are in no name, and one at least is a known or an unknown name."""
        if any(map(self.is_no_name, parts)):
            return 0.0
        known = [part for part in parts if self._names.is_name(part)]
        if any(not self._names.is_word(part) for part in known):
            return SURELY
        if known:
            is_plain = self._names.is_given(parts[0]) and self._names.is_family(parts[-1])
            return PERHAPS if is_plain or len(known) < len(parts) else 0.0
        return 0.0 if is_uncased else LIKELY

    def _is_shouted(self, part: str) -> bool:
        """Say whether a word is in capitals that is no name, as `NSFW` and `DOES`."""
        is_long = len(part) > _LONGEST_ABBREVIATION
        return (
            part.isupper()
            and len(part) > 1
            and not (self._names.is_name(part) if is_long else self._names.is_given(part))
        )
