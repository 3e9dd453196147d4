"""Base64url and JSON as every reader reads them: what two parsers could understand differently is refused."""

from __future__ import annotations

import base64
import re

from mutx_service.strict_json import Json, JsonError, read_json

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
    """Return a JSON object that everybody reads alike, not nested past a bound.

    Raises:
        EncodingError: it is no such object.
    """
    try:
        value = read_json(content, _DEEPEST)
    except JsonError as error:
        raise EncodingError(str(error)) from None
    if not isinstance(value, dict):
        raise EncodingError("is no JSON object")
    return value
