"""OpenPGP keys by Sequoia: whose a recovery share is to be, looked at before a Vault encrypts anything to it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pysequoia
from pysequoia.packet import Packet, PacketPile, PublicKeyAlgorithm, Tag

from mutx_infra.errors import SettingsError
from mutx_infra.ports import Clock
from mutx_infra.vault_ports import PgpKey

MAX_BYTES = 1_048_576
MIN_RSA_BITS = 3072
_RSA = (
    PublicKeyAlgorithm.RSAEncryptSign,
    PublicKeyAlgorithm.RSAEncrypt,
    PublicKeyAlgorithm.RSASign,
)
_ELLIPTIC = (
    PublicKeyAlgorithm.ECDH,
    PublicKeyAlgorithm.ECDSA,
    PublicKeyAlgorithm.EdDSA,
    PublicKeyAlgorithm.Ed25519,
    PublicKeyAlgorithm.Ed448,
    PublicKeyAlgorithm.X25519,
    PublicKeyAlgorithm.X448,
)
"""What the server can encrypt to, besides RSA (ProtonMail's OpenPGP library for Go)."""
_SECRET = (Tag.SecretKey, Tag.SecretSubkey)
_WITH_LENGTH = 6
"""From this version on, a key's packet has four bytes of length before its numbers (RFC 9580, 5.5.2.3)."""


@dataclass(frozen=True, slots=True)
class PgpKeyFiles:
    """Reads public keys, armored or not, and refuses those that a recovery share must not be encrypted to."""

    clock: Clock

    def read(self, path: Path) -> PgpKey:
        """Return one key.

        Raises:
            SettingsError: it cannot be read (`pgp-key-unreadable`), is more than one key or none (`pgp-key-which`),
                holds the secret key (`pgp-key-secret`), was revoked (`pgp-key-revoked`), has ended
                (`pgp-key-expired`), is weak (`pgp-key-weak`), or encrypts nothing (`pgp-key-cannot-encrypt`).
                The message names the file.
        """
        content = _content(path)
        packets = _packets(path, content)
        if any(each.tag in _SECRET for each in packets):
            raise SettingsError(
                f"{path} holds a secret key",
                code="pgp-key-secret",
                remedy="give the public key alone (`gpg --export KEY`); keep the secret one where it was",
            )
        certificate = _certificate(path, content, packets)
        self._check_time(path, certificate)
        for packet in PacketPile.from_bytes(bytes(certificate)):
            _check_strength(path, packet)
        _check_use(path, certificate)
        holders = [str(each) for each in certificate.user_ids]
        return PgpKey(
            fingerprint=certificate.fingerprint,
            holder=holders[0] if holders else "",
            data=base64.b64encode(bytes(certificate)).decode("ascii"),
        )

    def _check_time(self, path: Path, certificate: pysequoia.Cert) -> None:
        if certificate.is_revoked:
            raise SettingsError(
                f"the key in {path} was revoked",
                code="pgp-key-revoked",
                remedy="give the key that its holder uses now",
            )
        try:
            end: datetime | None = certificate.expiration
        except RuntimeError as exc:  # Sequoia's only kind: no signature that binds the key is good
            raise _weak(path, "nothing but signatures by SHA-1, or broken ones, says whose it is") from exc
        if end is not None and end <= self.clock.now():
            raise SettingsError(
                f"the key in {path} ended at {end.isoformat(timespec='seconds')}",
                code="pgp-key-expired",
                remedy="have its holder prolong it and export it anew, or give another; see this machine's clock too",
            )


def armored(message: bytes) -> str:
    """Return an encrypted message as text, as `gpg --decrypt` reads it."""
    return str(pysequoia.armor(message, pysequoia.ArmorKind.Message))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as exc:
        raise _unreadable(path, exc.strerror or "cannot be opened") from exc
    if not content or len(content) > MAX_BYTES:
        raise _unreadable(path, "it is empty" if not content else "it is longer than any key")
    return content


def _packets(path: Path, content: bytes) -> tuple[Packet, ...]:
    try:
        return tuple(PacketPile.from_bytes(content))
    except RuntimeError as exc:
        raise _unreadable(path, _first_line(exc)) from exc


def _certificate(path: Path, content: bytes, packets: tuple[Packet, ...]) -> pysequoia.Cert:
    number = sum(each.tag == Tag.PublicKey for each in packets)
    if number != 1:
        raise SettingsError(
            f"{path} holds {number or 'no'} public keys",
            code="pgp-key-which",
            remedy="give a file for each holder, with that holder's public key alone (`gpg --export KEY`)",
        )
    try:
        return pysequoia.Cert.from_bytes(content)
    except RuntimeError as exc:
        raise _unreadable(path, _first_line(exc)) from exc


def _check_strength(path: Path, packet: Packet) -> None:
    algorithm = packet.key_algorithm
    if algorithm is None or algorithm in _ELLIPTIC:
        return
    if algorithm not in _RSA:
        raise _weak(path, f"it has a part of kind {str(algorithm).rpartition('.')[2]}")
    bits = _rsa_bits(packet.body)
    if bits < MIN_RSA_BITS:
        raise _weak(path, f"it has a part of RSA with {bits} bits")


def _check_use(path: Path, certificate: pysequoia.Cert) -> None:
    """Encrypt something: Sequoia takes keys alone that are bound to the certificate, live, and meant for that."""
    try:
        pysequoia.encrypt(b"", recipients=[certificate])
    except RuntimeError as exc:
        raise SettingsError(
            f"nothing can be encrypted to the key in {path}",
            code="pgp-key-cannot-encrypt",
            remedy="give a key with a part for encryption that has neither ended nor been revoked",
            detail=_first_line(exc),
        ) from exc


def _rsa_bits(body: bytes) -> int:
    at = 10 if body[0] >= _WITH_LENGTH else 6
    return int.from_bytes(body[at : at + 2], "big")


def _first_line(exc: RuntimeError) -> str:
    """Return what Sequoia says, without the trace that it adds."""
    return next(iter(str(exc).splitlines()), "")


def _unreadable(path: Path, why: str) -> SettingsError:
    return SettingsError(
        f"{path} is no OpenPGP key: {why}",
        code="pgp-key-unreadable",
        remedy="give a public key as `gpg --export` or `gpg --export --armor` writes it",
    )


def _weak(path: Path, why: str) -> SettingsError:
    return SettingsError(
        f"the key in {path} is too weak for a recovery share: {why}",
        code="pgp-key-weak",
        remedy=f"give an elliptic-curve key, or RSA with {MIN_RSA_BITS} bits or more, signed with SHA-2",
    )
