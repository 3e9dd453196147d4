"""HuJSON: JSON with comments and trailing commas, the form of a tailnet's policy file."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<mark>[{}\[\]:,])"""
    r"""|(?P<value>"(?:[^"\\\n]|\\.)*"|[^\s{}\[\]:,"/]+)""",
    re.DOTALL,
)


def problem(text: str) -> str | None:
    """Say why a text is no HuJSON, with the line; None if it is."""
    try:
        json.loads("".join(_without_comments(text)))
    except ValueError as exc:
        where = f"line {exc.lineno}: {exc.msg}" if isinstance(exc, json.JSONDecodeError) else str(exc)
        return f"is invalid HuJSON: {where}"
    return None


def canonical(text: str) -> str:
    """Return one text for all that differ in layout and trailing commas only; what is no HuJSON stays as it is.

    Comments and the order of members count, as for the vendor's provider. That formats both texts and compares the
    results, which keep most line breaks: it also updates where a list was on one line before and is on three now.

    Source: terraform-provider-tailscale, tailscale/plan_modifiers.go, `aclHuJSONModifier`.
    """
    try:
        words = [word for kind, word in _tokens(text) if kind != "space"]
    except ValueError:
        return text
    return "\n".join(word.rstrip() for at, word in enumerate(words) if not _trails(words, at))


def _trails(words: list[str], at: int) -> bool:
    """Say whether a word is the comma that HuJSON allows before the end of a list or object; comments do not count."""
    if words[at] != ",":
        return False
    before = _first_said(words, range(at - 1, -1, -1))
    return _first_said(words, range(at + 1, len(words))) in {"]", "}"} and before not in {"", "[", "{", ","}


def _first_said(words: list[str], places: range) -> str:
    return next((words[at] for at in places if not words[at].startswith("/")), "")


def _without_comments(text: str) -> list[str]:
    """Return plain JSON's tokens; each comment leaves its lines, so that errors name the right one."""
    tokens = _tokens(text)
    words = [word for kind, word in tokens if kind in {"mark", "value"}]
    made, seen = [], 0
    for kind, word in tokens:
        if kind in {"space", "comment"}:
            made.append(" " + "\n" * word.count("\n"))
            continue
        made.append(" " if _trails(words, seen) else word)
        seen += 1
    return made


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"line {text.count(chr(10), 0, at) + 1}: a stray {text[at]!r}")
        found.append((str(match.lastgroup), match[0]))
        at = match.end()
    return found
