"""The keys that sign our own access tokens, and their rotation.

A key lies in a file whose name says from when on it signs, as `20261130T220000Z.pem`: several servers with the same
files agree without a word. It is published as soon as it is there, signs from its time until the next one's, and
verifies until the last token that it signed has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from joserfc.jwk import ECKey

from mutx_control_plane.identity.jose import VerifyingKey
from mutx_control_plane.identity.private_file import write_private
from mutx_control_plane.identity.validity import LEEWAY_S

ALGORITHM = "ES256"
LIFETIME_S = 15 * 60
"""Of an access token (AUTH-2)."""
_NAME = "%Y%m%dT%H%M%SZ"
_EVERY_S = 5.0
_FOR_OTHERS = 0o007


class SigningKeyError(Exception):
    """The keys cannot be used; the message names the file."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key on P-256, which signs from `begins` on (seconds since 1970). Its `kid` is its thumbprint."""

    kid: str
    begins: float
    private: ECKey

    @property
    def public(self) -> VerifyingKey:
        """The public part."""
        return VerifyingKey(self.kid, ALGORITHM, ECKey.import_key(self.private.as_dict(private=False)))


class KeyRing:
    """Keys in the order of their times.

    Raises:
        SigningKeyError: there is none.
    """

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        if not keys:
            raise SigningKeyError("there is no signing key")
        self._keys = sorted(keys, key=lambda key: key.begins)
        self._public = [key.public for key in self._keys]

    def signer(self, now: float) -> SigningKey:
        """Return the key whose time has come last; the first one before any has."""
        begun = [key for key in self._keys if key.begins <= now]
        return begun[-1] if begun else self._keys[0]

    def verifying(self, now: float) -> list[VerifyingKey]:
        """Return the public keys whose tokens may still be valid, or will be."""
        ends = [later.begins + LIFETIME_S + 2 * LEEWAY_S for later in self._keys[1:]]
        return [key for key, end in zip(self._public, [*ends, float("inf")], strict=True) if now < end]

    def document(self, now: float) -> dict[str, list[dict[str, str]]]:
        """Return what `/.well-known/jwks.json` answers (RFC 7517): public parts only."""
        return {
            "keys": [
                {**_text_members(key), "kid": key.kid, "use": "sig", "alg": ALGORITHM}
                for key in self.verifying(now)
            ]
        }


class KeyFolder:
    """A folder of keys, looked at again after some seconds; a folder that cannot be used leaves the last ring in force.

    Raises:
        SigningKeyError: it cannot be used at the start.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder, self._clock = folder, clock
        self._ring, self._seen, self._looked = KeyRing(read_keys(folder)), _names(folder), clock()

    def current(self) -> KeyRing:
        """Return the ring as the folder has it."""
        now = self._clock()
        if abs(now - self._looked) >= _EVERY_S:
            self._looked = now
            names = _names(self._folder)
            if names != self._seen:
                try:
                    self._ring, self._seen = KeyRing(read_keys(self._folder)), names
                except SigningKeyError:
                    return self._ring
        return self._ring


def read_keys(folder: Path) -> list[SigningKey]:
    """Return the keys of a folder.

    Raises:
        SigningKeyError: a file is no P-256 key in PEM, is named otherwise, or can be read by everybody.
    """
    return [_read_key(path) for path in sorted(folder.glob("*.pem"))]


def make_key(folder: Path, begins: datetime) -> Path:
    """Write a new key, which signs from `begins` on, and return its file. Only its owner can read it.

    Raises:
        FileExistsError: there is one of that second.
    """
    path = folder / f"{begins.astimezone(UTC).strftime(_NAME)}.pem"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    write_private(path, pem)
    return path


def ensure_key(folder: Path, now: datetime) -> Path:
    """Return the folder, made with a first key where it has none."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not any(folder.glob("*.pem")):
        with contextlib.suppress(FileExistsError):  # another process was first
            make_key(folder, now)
    return folder


def _read_key(path: Path) -> SigningKey:
    try:
        begins = datetime.strptime(path.stem, _NAME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SigningKeyError(f"{path} is not named as 20261130T220000Z.pem, from when on it signs") from None
    try:
        if path.stat().st_mode & _FOR_OTHERS:
            raise SigningKeyError(f"{path} can be read by everybody")
        private = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        raise SigningKeyError(f"{path} is no private key in PEM") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise SigningKeyError(f"{path} is no key on P-256")
    key = ECKey.import_key(private)
    return SigningKey(key.thumbprint(), begins, key)


def _names(folder: Path) -> frozenset[tuple[str, int]]:
    try:
        return frozenset((path.name, path.stat().st_mtime_ns) for path in folder.glob("*.pem"))
    except OSError:
        return frozenset()


def _text_members(key: VerifyingKey) -> dict[str, str]:
    return {name: value for name, value in key.key.as_dict(private=False).items() if isinstance(value, str)}
