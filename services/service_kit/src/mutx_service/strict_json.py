"""JSON as every reader reads it: what two parsers could understand differently is refused.

Names that come twice, NaN and infinities, lone surrogates, a byte-order mark, bytes that are no UTF-8, and nesting past
a bound. What passes is written anew from what was read, so that what was judged is what leaves.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

DEEPEST = 64
MOST_CONTAINERS = 100_000
"""Brackets, also those within texts: looking at each takes time in which nobody else is served."""
_INFINITIES = frozenset({float("inf"), float("-inf")})
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonError(Exception):
    """The text is not JSON of one meaning. The message holds nothing of it."""


def parse_json(content: bytes | str) -> Json:
    """Return what a JSON text says; names twice in one object, NaN and infinities by name are none.

    Raises:
        JsonError: it is no JSON.
    """
    try:
        value: Json = json.loads(content, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise JsonError(f"is no JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise JsonError("is nested too deep") from None
    except ValueError:
        raise JsonError("is no JSON") from None
    return value


def read_json(content: bytes, deepest: int = DEEPEST) -> Json:
    """Return the value, within the bounds of what is written anew and sent on.

    Args:
        content: UTF-8.
        deepest: lists and objects within one another.

    Raises:
        JsonError: it is not JSON that everybody reads alike.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise JsonError("is no UTF-8") from None
    if text.count("[") + text.count("{") > MOST_CONTAINERS:
        raise JsonError("holds too many lists and objects")
    value = parse_json(text)
    _check(value, deepest, may_hold_halves="\\u" in text)
    return value


def write_json(value: Json) -> bytes:
    """Return the value as UTF-8 without spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("holds a name twice")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise JsonError("holds a number that is none")


def _check(value: Json, deepest: int, *, may_hold_halves: bool) -> None:
    if isinstance(value, str):
        if may_hold_halves and _SURROGATE.search(value):
            raise JsonError("holds half a character")
    elif isinstance(value, float):
        if value in _INFINITIES:
            raise JsonError("holds a number that is too large")
    elif isinstance(value, list | dict):
        if not deepest:
            raise JsonError("is nested too deep")
        for each in value if isinstance(value, list) else (*value.keys(), *value.values()):
            _check(each, deepest - 1, may_hold_halves=may_hold_halves)
