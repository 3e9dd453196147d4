"""What the use cases of a tenant's Vault need of the world. Apart from the others: most commands never ask a Vault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """Where a tenant's Vault is, and by which authority it is known.

    Attributes:
        url: of its API.
        authority: PEM of the authority, or authorities, of its certificate; no other is trusted.
        server_name: what its certificate must name, where that is not the URL's host: one that is reached by a tunnel.
        proxy: URL of an HTTP proxy that leads there, or None.
    """

    url: str
    authority: str
    server_name: str | None = None
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a person or host shows: PEM files, the key never read by us but handed to the TLS library."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Health:
    """What a node says of itself to anybody.

    Attributes:
        seal: kind of its seal.
        is_standby: another node answers requests; this one hands them on.
    """

    is_initialized: bool
    is_sealed: bool
    is_standby: bool
    seal: str
    version: str


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a request for a certificate asks for; that the asker has the key is proved.

    Attributes:
        common_names: all that it has; one of ours has one.
        key: its kind, e.g. `EC secp256r1`.
        fingerprint: SHA-256 of the public key, 64 hex digits.
    """

    common_names: tuple[str, ...]
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PgpKey:
    """A public key that a recovery share is encrypted to.

    Attributes:
        fingerprint: in hex, lower case.
        holder: the first user id, for people to read; empty where it has none.
        data: in base64, without armor, as a Vault takes it.
    """

    fingerprint: str
    holder: str
    data: str


@dataclass(frozen=True, slots=True)
class Holders:
    """Who gets a share of the recovery key, and how many of them it takes."""

    keys: tuple[PgpKey, ...]
    threshold: int

    @property
    def fingerprints(self) -> list[str]:
        """Return their keys' fingerprints, sorted."""
        return sorted(key.fingerprint for key in self.keys)


@dataclass(frozen=True, slots=True)
class RecoveryShare:
    """A share of the recovery key, encrypted to its holder.

    Attributes:
        message: an OpenPGP message, without armor.
    """

    key: PgpKey
    message: bytes

    @property
    def file_name(self) -> str:
        """Return the name of the file that it is kept in."""
        return f"share-{self.key.fingerprint}.asc"


class ReceiptFile(Protocol):
    """Where a receipt is kept, on the administrator's machine."""

    def receipt(self) -> str | None:
        """Return the receipt that was kept; None where there is none."""

    def keep_receipt(self, text: str) -> None:
        """Write the receipt."""


class ClaimFiles(ReceiptFile, Protocol):
    """Where a claim leaves what it makes, on the administrator's machine."""

    def keep_shares(self, shares: Sequence[RecoveryShare]) -> None:
        """Write them, readable by their owner alone; when this returns they are on the disk."""


class SealKey(Protocol):
    """The key of the tenant's own that seals its Vault."""

    def destroy(self) -> None:
        """Destroy it, if it is still there, and see that it is gone.

        Raises:
            RefusedError: its keeper does not allow that (code `seal-key-refused`).
            OutsideError: its keeper cannot be reached, or fails.
        """


class ProviderApi(Protocol):
    """A provider of models, asked whether a key is good."""

    def check(self, key: SecretStr) -> None:
        """Ask, with the key, for what costs nothing; no answer's content is kept.

        Raises:
            RefusedError: it does not take the key (code `provider-refused`).
            OutsideError: it cannot be reached, or says something else (`provider-unreachable`).
        """


class VaultSession(Protocol):
    """A Vault as one who is logged in sees it: paths as its API has them, without `/v1/`.

    Raises for every method:
        RefusedError: no right to do this (code `vault-denied`), or the request makes no sense to the Vault
            (`vault-refused`).
        OutsideError: it cannot be reached (`vault-unreachable`), is sealed (`vault-sealed`), or fails, as it does while
            it cannot write its audit log (`vault-failing`).
    """

    def read(self, path: str) -> Mapping[str, Any] | None:
        """Return what lies at a path; None where there is nothing."""

    def write(self, path: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write, and return what the Vault answers; empty where it says nothing."""

    def list(self, path: str) -> tuple[str, ...]:
        """Return the names below a path, sorted; none where there is nothing."""

    def delete(self, path: str) -> None:
        """Delete what lies at a path, if there is anything."""

    def end(self) -> None:
        """Have the token revoked."""


class TenantVault(Protocol):
    """A tenant's Vault, from outside. Raises as `VaultSession`."""

    def health(self) -> Health:
        """Return what it says of itself to anybody."""

    def open_read(self, path: str) -> Mapping[str, Any] | None:
        """Read what it shows to anybody, such as the public key of its SSH authority; None where there is nothing."""

    def unknown(self) -> VaultSession:
        """Return it as somebody sees it who has not logged in."""

    def login(self, shown: ClientCertificate, role: str) -> VaultSession:
        """Log in by a client certificate, as a role, or with an empty one as whatever fits the certificate.

        Raises:
            RefusedError: the certificate is none for that role, has ended, or comes from elsewhere (`vault-login`).
            SettingsError: a file cannot be read, or key and certificate do not belong together (`vault-certificate`).
        """
