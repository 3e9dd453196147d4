"""Readings that undo disguise: compatibility forms, look-alike letters, digits for letters, letters set apart."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex  # type: ignore[import-untyped]

from mutx_guardrail.document import PLAIN, Edit, View
from mutx_guardrail.normalise.characters import look_alikes
from mutx_guardrail.normalise.segmenting import word_starts

_LONGEST_STACK = 30
"""Marks upon one letter that are put in order together: more take time by their square (UAX #15, stream-safe text)."""
_LONG_STACK = regex.compile(rf"\p{{M}}{{{_LONGEST_STACK + 1},}}")
_LONGEST_REMEMBERED = 8
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_LETTER_NAME = re.compile(
    r"(?:LATIN (?:SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL |TURNED |REVERSED |SIDEWAYS |OPEN |SCRIPT )*"
    r"|(?:NEGATIVE |CROSSED NEGATIVE )?(?:SQUARED|CIRCLED) LATIN CAPITAL LETTER |REGIONAL INDICATOR SYMBOL LETTER )"
    r"([A-Z])(?: WITH .+)?"
)
_HANGUL_JAMO = "\u1160", "\u11ff"
_KANA_MARKS = "\uff9e\uff9f"
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "!": "i",
         "|": "l", "+": "t", "€": "e", "(": "c"}  # fmt: skip
_LEET_WORD = re.compile(r"[\w@$!|+€(]{2,}")
_LEET_CHARACTER = re.compile(r"11|[01345789@$!|+€(]")
_LONGEST_LEET_WORD = 16
_APART = re.compile(r"(?<!\w)[^\W_](?:[\s.\-_*,/|~+·•]{1,3}[^\W_](?!\w)){3,}")
_SEPARATORS = re.compile(r"\W+|_+")


def fold_compatibility(cleaned: View) -> View:
    """Return the NFKC form, letter by letter with its marks, so that every offset stays known."""
    if not _LONG_STACK.search(cleaned.text) and unicodedata.is_normalized("NFKC", cleaned.text):
        return View(PLAIN, cleaned.text, cleaned.offsets)
    edits = []
    for run in _NOT_ASCII.finditer(cleaned.text):
        at, end = run.span()
        # A mark after an ASCII letter composes with it.
        if at and _continues(cleaned.text[at]):
            at -= 1
        while at < end:
            stop = at + 1
            while stop < end and stop - at <= _LONGEST_STACK and _continues(cleaned.text[stop]):
                stop += 1
            group = cleaned.text[at:stop]
            folded = (
                _nfkc(group) if len(group) <= _LONGEST_REMEMBERED else unicodedata.normalize("NFKC", group)
            )
            if folded != group:
                edits.append(Edit(at, stop, folded))
            at = stop
    return cleaned.edited(PLAIN, edits)


def fold_look_alikes(plain: View) -> View | None:
    """Return the text in small ASCII letters where letters look like such; None where nothing changes but case."""
    if plain.text.isascii():
        return None
    edits = []
    for run in _NOT_ASCII.finditer(plain.text):
        for at, character in enumerate(run.group(), run.start()):
            folded = _skeleton(character)
            if folded != character:
                edits.append(Edit(at, at + 1, folded))
    return plain.edited("skeleton", edits) if edits else None


def fold_digits(view: View) -> View | None:
    """Return the text with digits and signs within words read as letters; None where there are no such words."""
    edits = []
    for word in _LEET_WORD.finditer(view.text):
        letters = word.group()
        if not letters.isalpha() and len(letters) <= _LONGEST_LEET_WORD and any(map(str.isalpha, letters)):
            edits += [_read_digit(found) for found in _LEET_CHARACTER.finditer(view.text, *word.span())]
    return view.edited("leet", edits) if len(edits) > 1 else None


def _read_digit(found: re.Match[str]) -> Edit:
    return Edit(found.start(), found.end(), "ll" if found.group() == "11" else _LEET[found.group()])


def join_letters(view: View) -> View | None:
    """Return the text with letters that stand apart joined to words; None where there are none."""
    edits = [
        # Two blanks or more stand between words that are spelt with single ones.
        Edit(gap.start(), gap.end(), " " if gap.group().isspace() and len(gap.group()) > 1 else "")
        for run in _APART.finditer(view.text)
        for gap in _SEPARATORS.finditer(view.text, *run.span())
    ]
    if not edits:
        return None
    joined = view.edited("joined", edits)
    return joined.edited("joined", [Edit(start, start, " ") for start in word_starts(joined.text)])


def _continues(character: str) -> bool:
    return (
        unicodedata.category(character).startswith("M")
        or _HANGUL_JAMO[0] <= character <= _HANGUL_JAMO[1]
        or character in _KANA_MARKS
    )


@lru_cache(maxsize=65_536)
def _nfkc(group: str) -> str:
    return unicodedata.normalize("NFKC", group)


@lru_cache(maxsize=65_536)
def _skeleton(character: str) -> str:
    """Return the small ASCII letter that a character looks like, nothing for a mark, or the character itself."""
    if unicodedata.combining(character):
        return ""
    small = character.casefold()
    alike = look_alikes().get(small) or look_alikes().get(character)
    if alike:
        return alike.casefold()
    base = unicodedata.normalize("NFD", small)[0]
    if base.isascii():
        return base
    named = _LETTER_NAME.fullmatch(unicodedata.name(character, ""))
    return named[1].casefold() if named else character
