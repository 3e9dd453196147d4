"""Text escaped for where it goes: what comes of an agent is data there, never markup, code or a formula.

What "escaped" means for each sink:

- `text`: the text itself; where nothing is interpreted.
- `html`: text with character references; between tags, or in an attribute value in either sort of quotes. Not in
  `<script>`, `<style>`, a URL, an event handler or an unquoted value.
- `markdown`: Markdown whose formatting works, without raw HTML, images, and links to other than http, https, mailto and
  relative addresses; where CommonMark or GFM is rendered.
- `sql`: a string literal of standard SQL, quotes included; where an expression may stand. MySQL and MariaDB need
  `NO_BACKSLASH_ESCAPES`, PostgreSQL `standard_conforming_strings`, which is its default.
- `shell`: one word of a POSIX shell, quotes included; an argument, behind `--` where the command takes options.
- `json`: a JSON string in ASCII, quotes included; a value, also within `<script>` or an attribute.
- `csv`: one field of RFC 4180, quotes included; between separators. A spreadsheet shows it as text.

NUL and lone surrogates, which none of these can carry, become U+FFFD everywhere but in `text`.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

from mutx_guardrail.output.markdown import tame_markdown

SinkName = Literal["text", "html", "markdown", "sql", "shell", "json", "csv"]
SINKS: Final[tuple[SinkName, ...]] = get_args(SinkName)

_UNCARRIED: Final = re.compile("[\x00\ud800-\udfff]")
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,3}(?:[ ,]\d{3})+|\d+)(?:[.,]\d+)?(?:[eE][+-]?\d+)? ?%?", re.ASCII)

# What a spreadsheet takes for the begin of a formula or of a DDE call. Source: OWASP, "CSV Injection".
_FORMULA: Final = frozenset("=+-@|%")


def encode(text: str, sink: SinkName) -> str:
    """Return the text escaped for a sink.

    Raises:
        ValueError: there is no such sink.
    """
    if sink not in _ENCODERS:
        raise ValueError(f"there is no sink {sink!r}; there are {', '.join(SINKS)}")
    return text if sink == "text" else _ENCODERS[sink](_UNCARRIED.sub("\ufffd", text))


def _html(text: str) -> str:
    """Escape for HTML; a carriage return too, which a parser would else read as a line feed."""
    return html.escape(text, quote=True).replace("`", "&#96;").replace("=", "&#61;").replace("\r", "&#13;")


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _shell(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _json(text: str) -> str:
    """Escape for JSON, and what could end a `<script>` or an attribute."""
    encoded = json.dumps(text, ensure_ascii=True)
    for character in "<>&'":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded


def _csv(text: str) -> str:
    """Quote a field; one that a spreadsheet would compute gets an apostrophe before it, a plain number does not."""
    return '"' + ("'" if _is_formula(text) else "") + text.replace('"', '""') + '"'


def _is_formula(text: str) -> bool:
    if text[:1] in {"\t", "\r", "\n"}:
        return True
    shown = "".join(
        c for c in unicodedata.normalize("NFKC", text[:64]) if unicodedata.category(c) not in {"Cf", "Cc"}
    )
    return shown.lstrip()[:1] in _FORMULA and _NUMBER.fullmatch(text) is None and bool(shown.strip())


_ENCODERS: Final[Mapping[str, Callable[[str], str]]] = {
    "text": str,
    "html": _html,
    "markdown": tame_markdown,
    "sql": _sql,
    "shell": _shell,
    "json": _json,
    "csv": _csv,
}
