"""Characters that hide, reorder or imitate: which they are, and the text without them.

Where a character does honest work it stays: joiners within scripts that need them and within emoji, one variation
selector after a base, the tags of the three flags that have them.
Sources: Unicode 16, chapters 23.2 to 23.9; UTS #39 (confusables); UTS #51 (emoji sequences).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

from mutx_guardrail.document import Edit, View
from mutx_guardrail.verdict import Finding, Layer, Span

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MOST_MARKS = 6
"""So many combining marks follow one letter in no script's ordinary spelling; more are taken out."""

_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_ZERO_WIDTH = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028\u2029\u2060-\u2065\u206a-\u206f\u3164"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_TAGS = "\U000e0000-\U000e007f"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SURROGATES = "\ud800-\udfff"
_UNASSIGNED = "\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"

_RUN = re.compile(
    f"(?P<control_character>[{_CONTROLS}]+)|(?P<zero_width>[{_ZERO_WIDTH}]+)|(?P<bidi_control>[{_BIDI}]+)"
    f"|(?P<tag_character>[{_TAGS}]+)|(?P<variation_selector>[{_SELECTORS}]+)|(?P<surrogate>[{_SURROGATES}]+)"
    f"|(?P<unassigned>[{_UNASSIGNED}]+)"
)
_FLAG_TAGS = re.compile("\U000e0067\U000e0062(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|"
                        "\U000e0077\U000e006c\U000e0073)\U000e007f")  # fmt: skip
_BLACK_FLAG = "\N{WAVING BLACK FLAG}"
_JOINERS = "\u200c\u200d"
_JOINING = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0f00-\u0fff\u1000-\u109f\u1780-\u18af\ua840-\ua87f\ufb50-\ufdff\ufe70-\ufefc]"
)
"""Scripts whose letters joiners shape: Arabic, Indic, Tibetan, Myanmar, Khmer, Mongolian."""
_SPACE_LIKE = {"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\x0b": "\n", "\x0c": "\n"}
_WORD = re.compile(r"[^\W\d_]{3,}")
_ASCII_LETTER = re.compile("[A-Za-z]")
_MARKS = re.compile(
    "[\u0300-\u034e\u0350-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
    f"{{{MOST_MARKS + 1},}}"
)


def clean(text: str) -> tuple[View, tuple[Edit, ...], tuple[Finding, ...]]:
    """Return the text without what hides or imitates, the edits that lead there, and a finding for each piece."""
    given = View.whole("cleaned", text)
    if text.isascii() and not _RUN.search(text):
        return given, (), ()
    edits = sorted([*_unseen(text), *_mark_runs(text), *_imitations(text)], key=lambda each: each[0].start)
    findings = tuple(
        Finding(kind, Span(edit.start, edit.end), 1.0, Layer.NORMALISE) for edit, kind in _merged(edits)
    )
    made = tuple(edit for edit, _ in edits)
    return given.edited("cleaned", made), made, findings


@lru_cache(maxsize=1)
def look_alikes() -> dict[str, str]:
    """Return the ASCII letter or digit that each other character is mistaken for.

    Source: UTS #39's confusables, as the package confusable-homoglyphs carries them.
    """
    table = json.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_text("utf-8"))
    found = {}
    for character, alternatives in table.items():
        if len(character) != 1 or character.isascii():
            continue
        for alternative in alternatives:
            shown = alternative["c"]
            if len(shown) == 1 and shown.isascii() and shown.isalnum():
                found[character] = shown
                break
    return found


def _unseen(text: str) -> Iterator[tuple[Edit, str]]:
    for run in _RUN.finditer(text):
        kind, start = run.lastgroup or "", run.start() + _honest(text, run)
        if start < run.end():
            yield Edit(start, run.end(), _stand_in(kind, text[start : run.end()])), kind


def _stand_in(kind: str, run: str) -> str:
    if kind == "surrogate":
        return REPLACEMENT * len(run)
    return "".join(_SPACE_LIKE.get(character, "") for character in run)


def _honest(text: str, run: re.Match[str]) -> int:
    """Return how many characters at a run's begin do honest work."""
    start, end = run.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    match run.lastgroup:
        case "zero_width" if end - start == 1:
            return int(_joins(before, after, run.group()) or _is_mongolian(before, run.group()))
        case "variation_selector":
            return int(_takes_a_selector(before))
        case "tag_character" if before == _BLACK_FLAG:
            flag = _FLAG_TAGS.match(text, start)
            return flag.end() - start if flag else 0
    return 0


def _is_mongolian(before: str, selector: str) -> bool:
    return "\u180b" <= selector <= "\u180f" and "\u1800" <= before <= "\u18af"


def _joins(before: str, after: str, joiner: str) -> bool:
    if joiner not in _JOINERS:
        return False
    if _JOINING.match(before) and _JOINING.match(after):
        return True
    return joiner == "\u200d" and _is_pictograph(before) and _is_pictograph(after)


def _is_pictograph(character: str) -> bool:
    """Say whether emoji sequences are made of such characters: symbols, skin tones, and their selector."""
    return character != "" and (
        character == "\ufe0f"
        or unicodedata.category(character) in {"So", "Sk"}
        or character in "\u2640\u2642"
    )


def _takes_a_selector(before: str) -> bool:
    if not before:
        return False
    if before in "#*0123456789\u203c\u2049\u3030\u303d" or unicodedata.category(before) == "Sm":
        return True
    if _is_pictograph(before):
        return before != "\ufe0f"
    return unicodedata.name(before, "").startswith(("CJK UNIFIED", "MYANMAR", "PHAGS-PA"))


def _mark_runs(text: str) -> Iterator[tuple[Edit, str]]:
    for run in _MARKS.finditer(text):
        yield Edit(run.start() + MOST_MARKS, run.end()), "combining_run"


def _imitations(text: str) -> Iterator[tuple[Edit, str]]:
    """Yield the letters of another script that stand within a Latin word and look Latin."""
    if text.isascii():
        return
    table = look_alikes()
    for word in _WORD.finditer(text):
        letters = word.group()
        if letters.isascii() or not _ASCII_LETTER.search(letters):
            continue
        for at, letter in enumerate(letters, word.start()):
            if letter in table and not unicodedata.name(letter, "LATIN").startswith("LATIN"):
                yield Edit(at, at + 1, table[letter]), "confusable"


def _merged(edits: list[tuple[Edit, str]]) -> list[tuple[Edit, str]]:
    """Join neighbours of one kind, so that a long hidden message is one finding."""
    merged: list[tuple[Edit, str]] = []
    for edit, kind in edits:
        if merged and merged[-1][1] == kind and merged[-1][0].end == edit.start:
            merged[-1] = Edit(merged[-1][0].start, edit.end), kind
        else:
            merged.append((edit, kind))
    return merged
