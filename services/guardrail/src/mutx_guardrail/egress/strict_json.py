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
_LONGEST_NUMBER = 40
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonError(Exception):
    """The text is not JSON of one meaning. The message holds nothing of it."""


def read_json(content: bytes) -> Json:
    """Return the value.

    Raises:
        JsonError: it is not JSON that everybody reads alike.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise JsonError("is no UTF-8") from None
    _check_depth(text)
    try:
        value: Json = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except (ValueError, RecursionError):
        raise JsonError("is no JSON") from None
    if "\\u" in text and _has_surrogate(value):
        raise JsonError("holds half a character")
    return value


def write_json(value: Json) -> bytes:
    """Return the value as UTF-8 without spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _check_depth(text: str) -> None:
    depth, in_string, at = 0, False, 0
    for found in re.finditer(r'\\.|["\[\]{}]', text, re.DOTALL):
        mark = found[0]
        if mark == '"':
            in_string = not in_string
        elif in_string or mark[0] == "\\":
            continue
        elif mark in "[{":
            depth += 1
            at = max(at, depth)
        else:
            depth -= 1
        if depth > DEEPEST:
            raise JsonError("is nested too deep")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("holds a name twice")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise JsonError("holds a number that is none")


def _float(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise JsonError("holds a number that is too large")
    return value


def _int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise JsonError("holds a number that is too large")
    return int(text)


def _has_surrogate(value: Json) -> bool:
    if isinstance(value, str):
        return _SURROGATE.search(value) is not None
    if isinstance(value, list):
        return any(_has_surrogate(each) for each in value)
    if isinstance(value, dict):
        return any(_has_surrogate(name) or _has_surrogate(each) for name, each in value.items())
    return False
