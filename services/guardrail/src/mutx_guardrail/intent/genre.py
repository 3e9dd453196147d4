"""What kind of text it is, and so what it may well ask of its reader.

Recipes and manuals command in every sentence, letters ask, pages call to buy: none of it is meant for an agent. The
kind is told by form alone, and whoever writes the text chooses its form; so it lessens doubt, and never takes it away
from what speaks to an agent.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Final

LOOKED_AT: Final = 4_000
"""Characters of a text that its kind is told by."""


class Genre(StrEnum):
    """A kind of text."""

    LETTER = "letter"
    CHAT = "chat"
    MANUAL = "manual"
    PAGE = "page"
    DATA = "data"
    CODE = "code"
    PROSE = "prose"


_LINES: Final[dict[Genre, re.Pattern[str]]] = {
    Genre.LETTER: re.compile(
        r"(?i)(?:from|to|subject|betreff|asunto|onderwerp|objet|oggetto|assunto|cc|date): "
        r"|(?:hi|hello|hey|dear|hallo|liebe[rs]?|sehr geehrte|beste|bonjour|cher|chère|estimad[oa]|hola|ciao|gentile"
        r"|prezad[oa]|caro|olá)\b[^\n]{0,60}[,!:]?$"
        r"|(?:best|thanks|thank you|kind regards|best regards|regards|cheers|yours|sincerely|cordialement|un saludo"
        r"|gruß|viele grüße|mit freundlichen grüßen|groet|saluti|cumprimentos)\b[^\n]{0,40}$"
    ),
    Genre.CHAT: re.compile(r"(?:\[[\d:. ]{4,20}\] ?)?[A-Za-z][\w .-]{0,24}: \S"),
    Genre.MANUAL: re.compile(
        r"#{1,6} \S|(?:={4,}|-{4,}|~{4,})$|\.\. | {0,3}\d{1,2}[.)] \S|```| {0,3}[*-] \S|\$ "
    ),
    Genre.DATA: re.compile(
        r"\s{0,40}[\[{]|[^\n]{0,40}\"[\w -]{1,40}\"\s?:\s|[\w -]{1,30}(?:,[\w .:/-]{0,60}){3,}$|\|.{3,200}\|$"
        r"|\d{4}-\d\d-\d\d[T ,]| {0,12}(?:- )?\w{1,30}: \S"
    ),
    Genre.CODE: re.compile(
        r"\s{0,40}(?:def|class|import|from|return|function|const|let|var|public|static|export|#include|package|func|if"
        r"|for|while)\b[^\n]{0,200}[:;{()]\s{0,4}$|[^\n]{0,200}[;{}]$|#!/|@@ "
    ),
}
"""What a line begins with."""
_ANYWHERE: Final[dict[Genre, re.Pattern[str]]] = {
    Genre.MANUAL: re.compile(
        r"`[^`\n]{2,60}`|\b\d{1,4} (?:g|ml|kg|cups?|minutes|Minuten|minutos|minuti) "
        r"|\b(?i:licen[cs]e|copyright|warranty)\b"
    ),
    Genre.PAGE: re.compile(
        r"(?i)<(?:html|head|body|div|p|h[1-6]|a |img|nav|main|article|footer|button|li)\b"
    ),
}
_ENOUGH: Final = {
    Genre.LETTER: 2, Genre.CHAT: 4, Genre.MANUAL: 3, Genre.PAGE: 2, Genre.DATA: 2, Genre.CODE: 3
}  # fmt: skip
_LINES_PER_SIGN: Final = {Genre.CHAT: 2.0, Genre.CODE: 4.0, Genre.DATA: 3.0}
"""Signs that any text may hold now and then have to stand in one of so many lines at least."""


def genres(text: str) -> frozenset[Genre]:
    """Return the kinds that a text has the form of; `PROSE` if none."""
    seen = text[:LOOKED_AT]
    lines = seen.split("\n")
    found = set()
    for genre, enough in _ENOUGH.items():
        wanted = max(enough, len(lines) / _LINES_PER_SIGN.get(genre, math.inf))
        begins, anywhere = _LINES.get(genre), _ANYWHERE.get(genre)
        count = sum(begins.match(line) is not None for line in lines) if begins else 0
        if anywhere and count < wanted:
            count += len(anywhere.findall(seen))
        if count >= wanted:
            found.add(genre)
    return frozenset(found) or frozenset({Genre.PROSE})
