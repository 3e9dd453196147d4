"""Device posture: whether a device's attributes meet a posture's terms, e.g. `node:os IN ['linux', 'macos']`.

The terms are those of Tailscale's reference: an attribute, an operator, and a string, number, boolean or list in
brackets; or an attribute with `IS SET` or `NOT SET`. All terms of a posture must hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mutx_infra.errors import RefusedError

_TERM = re.compile(r"^\s*([\w:.-]+)\s+(IS SET|NOT SET|NOT IN|IN|==|!=|>=|<=|>|<)\s*(.*?)\s*$", re.DOTALL)


def _equal(seen: object, wanted: object) -> bool:
    """Say whether two values are one; a truth value is no number, whatever Python says."""
    return isinstance(seen, bool) is isinstance(wanted, bool) and seen == wanted


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "!=": lambda seen, wanted: not _equal(seen, wanted),
    "IN": lambda seen, wanted: any(_equal(seen, each) for each in wanted),
    "NOT IN": lambda seen, wanted: not any(_equal(seen, each) for each in wanted),
    ">=": lambda seen, wanted: seen is not None and _version(seen) >= _version(wanted),
    "<=": lambda seen, wanted: seen is not None and _version(seen) <= _version(wanted),
    ">": lambda seen, wanted: seen is not None and _version(seen) > _version(wanted),
    "<": lambda seen, wanted: seen is not None and _version(seen) < _version(wanted),
}


def meets(terms: Sequence[str], attributes: Mapping[str, object]) -> bool:
    """Say whether a device with these attributes meets every term.

    Raises:
        RefusedError: a term cannot be read (code `tailnet-posture-invalid`).
    """
    # Each of them is looked at, so that one that cannot be read is named.
    held = [_holds(term, attributes) for term in terms]
    return all(held)


def _holds(term: str, attributes: Mapping[str, object]) -> bool:
    found = _TERM.match(term)
    if found is None:
        raise _unreadable(term)
    name, operator, written = found.groups()
    if operator in {"IS SET", "NOT SET"}:
        if written:
            raise _unreadable(term)
        return (name in attributes) is (operator == "IS SET")
    wanted = _value(written, term)
    if (operator in {"IN", "NOT IN"}) is not isinstance(wanted, list):
        raise _unreadable(term)
    return _OPERATORS[operator](attributes.get(name), wanted)


def _value(written: str, term: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    # Strings stand in single quotes.
    text = re.sub(r"'([^'\"]*)'", r'"\1"', written)
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise _unreadable(term) from exc
    if not all(
        isinstance(each, str | int | float) for each in (value if isinstance(value, list) else [value])
    ):
        raise _unreadable(term)
    return value


def _version(value: object) -> tuple[tuple[int, str], ...]:
    """Return what orders versions: numbers by value, texts behind them by letters."""
    parts = re.findall(r"\d+|[a-zA-Z]+", str(value))
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _unreadable(term: str) -> RefusedError:
    return RefusedError(
        f"the posture's term {term!r} cannot be read",
        code="tailnet-posture-invalid",
        remedy="write it as `attribute OPERATOR value`, e.g. `node:os IN ['linux', 'macos']`",
    )
