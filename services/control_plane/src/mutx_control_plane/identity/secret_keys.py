"""`SECRET_ENCRYPTION_KEY`: the secrets that everything else is derived of, the first in force, the others still known.

Written `ID:BASE64[,ID:BASE64…]`, each of 32 random bytes. Each purpose has a key of its own (HKDF-SHA-256, RFC 5869),
so that what is made for one opens nothing of another.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
MOST_KEYS = 8
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
_FEWEST_VALUES = 12
"""Different bytes among 32: of random ones, fewer than that are as good as never seen."""


class SecretKeyError(Exception):
    """The keys cannot be used. The message holds nothing of them."""


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A key for one purpose, and the id of the one that it came of."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"DerivedKey(id={self.id!r})"


class SecretKeys:
    """The keys in force.

    Raises:
        SecretKeyError: there is none, or an id comes twice.
    """

    def __init__(self, keys: list[DerivedKey]) -> None:
        if not 0 < len(keys) <= MOST_KEYS or len({key.id for key in keys}) != len(keys):
            raise SecretKeyError(f"holds no keys, more than {MOST_KEYS}, or one id twice")
        self._keys = keys

    def derive(self, purpose: str) -> tuple[DerivedKey, ...]:
        """Return the keys for a purpose, the one to make new things with first."""
        return tuple(DerivedKey(key.id, _derive(key.key, purpose)) for key in self._keys)

    def __repr__(self) -> str:
        return f"SecretKeys({', '.join(key.id for key in self._keys)})"


def read_secret_keys(text: str) -> SecretKeys:
    """Return the keys that a setting holds.

    Raises:
        SecretKeyError: a key has not the form, not the size, or is not random.
    """
    return SecretKeys([_read_key(part.strip()) for part in text.split(",")])


def _read_key(text: str) -> DerivedKey:
    name, colon, encoded = text.partition(":")
    if not colon or not _ID.fullmatch(name):
        raise SecretKeyError("is not written ID:BASE64, the id of up to 16 of a-z, 0-9 and hyphens")
    try:
        key = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise SecretKeyError(f"holds no base64 in its key {name}") from None
    if len(key) != KEY_BYTES:
        raise SecretKeyError(f"holds a key {name} of another size than {KEY_BYTES} bytes")
    if len(set(key)) < _FEWEST_VALUES:
        raise SecretKeyError(f"holds a key {name} that is not random")
    return DerivedKey(name, key)


def _derive(key: bytes, purpose: str) -> bytes:
    info = f"mutx-control-plane/{purpose}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(key)
