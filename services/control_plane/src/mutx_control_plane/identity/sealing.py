"""Sealing what must be kept whole: by AES-256-GCM under `SECRET_ENCRYPTION_KEY`, where there is no Vault.

A sealed text is bound to its context (whose it is): moved to another row it does not open. It names its key, so that
keys rotate while old texts still open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mutx_control_plane.identity.encoding import EncodingError, decode_base64url, encode_base64url
from mutx_control_plane.identity.secret_keys import DerivedKey, SecretKeys

_VERSION = "g1"
_NONCE_BYTES = 12
_PARTS = 3


class SealBroken(Exception):  # noqa: N818 - an answer, as a problem is
    """A sealed text does not open: another context, a key that is gone, or a text that was changed."""


class Sealer(Protocol):
    """Seals and opens."""

    async def seal(self, plain: bytes, context: str) -> str:
        """Return the sealed text."""

    async def open(self, sealed: str, context: str) -> bytes:
        """Return what was sealed in the same context.

        Raises:
            SealBroken: it does not open.
        """

    def is_current(self, sealed: str) -> bool:
        """Say whether a text is sealed as a new one would be."""


class Box:
    """AES-256-GCM, a random nonce for each text.

    Args:
        keys: of one purpose; the first seals.
        random_bytes: of the system.
    """

    def __init__(self, keys: tuple[DerivedKey, ...], random_bytes: Callable[[int], bytes]) -> None:
        self._keys = {key.id: AESGCM(key.key) for key in keys}
        self._current, self._random_bytes = keys[0].id, random_bytes

    def seal(self, plain: bytes, context: str) -> str:
        """Return the sealed text, as `g1.KEY.BASE64URL`."""
        nonce = self._random_bytes(_NONCE_BYTES)
        content = self._keys[self._current].encrypt(nonce, plain, _bind(self._current, context))
        return f"{_VERSION}.{self._current}.{encode_base64url(nonce + content)}"

    def open(self, sealed: str, context: str) -> bytes:
        """Return what was sealed in the same context.

        Raises:
            SealBroken: it does not open.
        """
        parts = sealed.split(".")
        if len(parts) != _PARTS or parts[0] != _VERSION or parts[1] not in self._keys:
            raise SealBroken("the text names no key that is known")
        try:
            content = decode_base64url(parts[2])
            nonce, rest = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
            return self._keys[parts[1]].decrypt(nonce, rest, _bind(parts[1], context))
        except (EncodingError, InvalidTag, ValueError):
            raise SealBroken("the text does not open") from None

    def is_current(self, sealed: str) -> bool:
        """Say whether the key in force sealed it."""
        return sealed.startswith(f"{_VERSION}.{self._current}.")


class AesSealer:
    """A sealer that needs nothing but the keys.

    Args:
        keys: the first seals.
        random_bytes: of the system.
    """

    def __init__(self, keys: SecretKeys, random_bytes: Callable[[int], bytes]) -> None:
        self._box = Box(keys.derive("seal"), random_bytes)

    async def seal(self, plain: bytes, context: str) -> str:
        """Return the sealed text."""
        return self._box.seal(plain, context)

    async def open(self, sealed: str, context: str) -> bytes:
        """Return what was sealed in the same context.

        Raises:
            SealBroken: it does not open.
        """
        return self._box.open(sealed, context)

    def is_current(self, sealed: str) -> bool:
        """Say whether the key in force sealed it."""
        return self._box.is_current(sealed)


def _bind(key: str, context: str) -> bytes:
    return f"{_VERSION}|{key}|{context}".encode()
