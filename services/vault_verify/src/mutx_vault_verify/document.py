"""JSON from files and servers, read so that one text has one meaning, and shown so that it cannot fool a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mutx_vault_verify.problem import Unanswered

_LONGEST_SHOWN = 80


def parse(text: str | bytes) -> Any:  # noqa: ANN401 - what JSON may be
    """Read JSON.

    Raises:
        ValueError: it is none, says one thing twice, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def canonical(value: object) -> bytes:
    """Return a value's one text: sorted keys, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def shown(value: object) -> str:
    """Return a value for people: short, and without characters that a terminal acts on."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    safe = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return safe if len(safe) <= _LONGEST_SHOWN else f"{safe[: _LONGEST_SHOWN - 1]}…"


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """Return an object of JSON; what else stands there leaves the question open."""
    if isinstance(value, dict):
        return value
    raise Unanswered(f"{what} is no object, but {shown(value)}")


def sequence(value: object, what: str) -> list[Any]:
    """Return a list of JSON; `null` is an empty one, as Go writes it."""
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise Unanswered(f"{what} is no list, but {shown(value)}")


def texts(value: object, what: str) -> list[str]:
    """Return a list of strings."""
    found = sequence(value, what)
    if all(isinstance(each, str) for each in found):
        return found
    raise Unanswered(f"{what} does not hold names alone, but {shown(value)}")


def text(source: Mapping[str, Any], name: str) -> str:
    """Return a string from an object."""
    found = source.get(name)
    if isinstance(found, str):
        return found
    raise Unanswered(f"{name} is no text, but {shown(found)}")


def number(source: Mapping[str, Any], name: str) -> int:
    """Return a whole number from an object."""
    found = source.get(name)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise Unanswered(f"{name} is no number, but {shown(found)}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("it says one thing twice")
    return made


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
