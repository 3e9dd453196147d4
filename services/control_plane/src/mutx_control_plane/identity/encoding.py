"""Base64url and JSON as every reader reads them: what two parsers could understand differently is refused."""

from __future__ import annotations

import base64
import json
import re
from typing import NoReturn

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")
_DEEPEST = 32


class EncodingError(Exception):
    """A text has not the one form that it may have. The message holds nothing of it."""


def encode_base64url(content: bytes) -> str:
    """Return base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """Return what a text encodes; exactly one text encodes it.

    Raises:
        EncodingError: padding, white space, another alphabet, or bits set in the last character that say nothing.
    """
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise EncodingError("is no base64url")
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(content) != text:
        raise EncodingError("is no canonical base64url")
    return content


def read_object(content: bytes) -> dict[str, Json]:
    """Return a JSON object: UTF-8, no name twice, no NaN, no half characters, not nested past a bound.

    Raises:
        EncodingError: it is no such object.
    """
    try:
        text = content.decode()
        value: Json = _DECODER.decode(text)
        if "\\u" in text:
            # A lone surrogate can be escaped in JSON, and nothing can store it.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise EncodingError("is no JSON") from None
    if not isinstance(value, dict):
        raise EncodingError("is no JSON object")
    _check_depth(value, _DEEPEST)
    return value


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise EncodingError("holds a name twice")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise EncodingError("holds a number that is none")


def _check_depth(value: Json, deepest: int) -> None:
    if isinstance(value, list | dict):
        if not deepest:
            raise EncodingError("is nested too deep")
        for each in value if isinstance(value, list) else value.values():
            _check_depth(each, deepest - 1)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
