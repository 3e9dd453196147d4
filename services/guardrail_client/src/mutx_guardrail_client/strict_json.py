"""JSON that means one thing: UTF-8, no name twice, no number that is none, bounded depth."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import NoReturn, TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class JsonError(Exception):
    """A body is no such JSON; it holds nothing of the body."""


def read_json(body: bytes) -> Json:
    """Return the value of a body.

    Raises:
        JsonError: it has none, or could be read in two ways.
    """
    found: Json = None
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
        is_read = True
    except (ValueError, RecursionError):
        is_read = False
    if not is_read:
        # Outside the handler: the error in hand there holds the body.
        raise JsonError("the body is no JSON, or a name comes twice")
    return found


def write_json(value: object) -> bytes:
    """Return the shortest UTF-8 form; half of a surrogate pair is written as its escape.

    Raises:
        JsonError: a number is infinite, or the value is too deep.
    """
    written = None
    with suppress(ValueError, RecursionError):
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if written is None:
        raise JsonError("the value has no JSON form")
    return written.encode("utf-8", "backslashreplace")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
