"""Markdown that shows what it shows, and loads or runs nothing.

Formatting is kept. Three things are broken by writing one character of their syntax as a reference, which no renderer
takes for syntax: raw HTML (`<` before a name, `/`, `!` or `?`), images (`!` before `[`: loading one tells its server
whatever the address holds), and links whose address is not http, https, mailto or relative. The inside of a fenced
block that begins at the margin is left as it is; within other code the reference itself is seen.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

_OPENING: Final = re.compile(r"(`{3,})[^`\r\n]*|(~{3,})[^\r\n]*")
_CLOSING: Final = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*")
_LINE_END: Final = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")
_MARKUP: Final = re.compile(r"<(?=[A-Za-z/!?])")
_IMAGE: Final = re.compile(r"!(?=\[)")

# `](` and `]:`, and what follows up to the end of an address; blanks, a line break and the marks of a quotation may
# stand before it. What follows is looked at and not taken: another target may begin within it. A backslash takes what
# follows it into the address: a parenthesis, and with some renderers a tab as well.
_MOST_BLANKS: Final = 100
_MOST_READ: Final = 400
_TARGET: Final = re.compile(
    rf"\](?P<sort>[(:])(?=(?P<before>[\s>]{{0,{_MOST_BLANKS}}})(?P<address>(?:\\[^\r\n ]|[^\s)]){{0,{_MOST_READ}}}))"
)
_BACKSLASHED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_UNSEEN: Final = re.compile("[\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")
_SCHEME: Final = re.compile(r"[^/?#]*?:")
_ALLOWED: Final = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_REFERENCES: Final = {"(": "&#40;", ":": "&#58;"}


def tame_markdown(text: str) -> str:
    """Return the Markdown without what a renderer would load or run."""
    return "".join(piece if is_code else _tamed(piece) for piece, is_code in _pieces(text))


def _tamed(text: str) -> str:
    text = _MARKUP.sub("&lt;", text)
    text = _IMAGE.sub("&#33;", text)
    return _TARGET.sub(_link, text)


def _link(target: re.Match[str]) -> str:
    is_read = len(target["before"]) < _MOST_BLANKS
    return target[0] if is_read and _is_allowed(target["address"]) else "]" + _REFERENCES[target["sort"]]


def _is_allowed(address: str) -> bool:
    """Say whether an address, read as a browser would, is relative or of an allowed scheme.

    One in angle brackets may hold blanks, and is none of the allowed; nor is one whose scheme cannot be told from its
    begin.
    """
    if address.startswith("<"):
        return False
    read = _UNSEEN.sub("", html.unescape(_BACKSLASHED.sub(r"\1", address)))
    if _ALLOWED.match(read):
        return True
    return _SCHEME.match(read) is None and (len(address) < _MOST_READ or read[:1] in {"/", "#", "?", "."})


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Return the text in pieces, each with whether it is the inside of a fenced block; one that never ends is none."""
    lines = _LINE_END.split(text)
    fences = _Fences(lines)
    begin = at = 0
    while at < len(lines):
        end = fences.closing(at)
        if end is not None:
            yield "".join(lines[begin : at + 1]), False
            yield "".join(lines[at + 1 : end]), True
            begin = at = end
        at += 1
    yield "".join(lines[begin:]), False


class _Fences:
    """Where the fenced blocks of a text end (CommonMark 0.31, section 4.5)."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._closings = [
            (at, fence[1])
            for at, line in enumerate(lines)
            if (fence := _CLOSING.fullmatch(line.rstrip("\r\n")))
        ]
        self._ends: dict[str, list[int]] = {}

    def closing(self, at: int) -> int | None:
        """Return the line that closes the block that line `at` opens; None where it opens none, or none closes it."""
        opening = _OPENING.fullmatch(self._lines[at].rstrip("\r\n"))
        if opening is None:
            return None
        fence = opening[1] or opening[2]
        if fence not in self._ends:
            self._ends[fence] = [line for line, closing in self._closings if closing.startswith(fence)]
        ends = self._ends[fence]
        following = bisect_right(ends, at)
        return ends[following] if following < len(ends) else None
