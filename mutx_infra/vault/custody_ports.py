"""What handing over a tenant's Vault needs of the world: its hosts, the platform's certificates, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mutx_infra.inventory import Inventory, InventoryHost
from mutx_infra.vault.attestation import ReceiptCheck
from mutx_infra.vault.handover import Handover
from mutx_infra.vault_ports import ClientCertificate, SigningRequest, TenantVault, VaultAddress


class VaultHosts(Protocol):
    """A tenant's hosts over SSH, as far as a hand-over needs them.

    Raises for every method:
        OutsideError: a host does not answer, or refuses (code `host-unreadable`).
    """

    def read(self, inventory: Inventory, host: InventoryHost, path: str) -> str | None:
        """Return a file of a host's; None where there is none."""

    def reach(self, inventory: Inventory, host: InventoryHost, port: int) -> AbstractContextManager[str]:
        """Yield the URL at which a host's own loopback port is reached from here, over TLS, while the context lasts."""


class PlatformIdentity(Protocol):
    """By what Vaults know the platform until they are claimed."""

    def certificate(self) -> str:
        """Return the authority's certificate in PEM."""

    def shown(self, role: str, tenant: str) -> AbstractContextManager[ClientCertificate]:
        """Yield a certificate for one role in one tenant's Vault, which is gone afterwards."""


class CustodyFiles(Protocol):
    """What the platform keeps of tenants' Vaults between runs; no secret."""

    def authorities(self, tenant: str) -> Mapping[str, str]:
        """Return each Vault host's own authority, PEM by host name, as they were collected last."""

    def keep_authorities(self, tenant: str, authorities: Mapping[str, str]) -> None:
        """Keep them in place of those before."""

    def certificates(self, tenant: str) -> Mapping[str, str]:
        """Return what the tenant signed for its hosts, PEM by host name."""

    def keep_certificate(self, tenant: str, host: str, certificate: str) -> None:
        """Keep one of these."""

    def handover(self, tenant: str) -> Handover | None:
        """Return what was written for the tenant last; None before."""

    def keep_handover(self, handover: Handover) -> str:
        """Write the file for the tenant, and return where it lies."""

    def keep_receipt(self, tenant: str, kind: str, text: str) -> str:
        """Keep what the tenant signed, and return where it lies."""


@dataclass(frozen=True, slots=True)
class Tools:
    """How certificates are read, and Vaults are opened: adapters, each a function.

    Attributes:
        open: a Vault at an address.
        read_request: of a request for a certificate; raises `RefusedError` (`request-invalid`).
        matches: says whether a certificate in PEM is for a host's request: the same key, the same name.
        check_receipt: of what a tenant signed.
        policies: every policy's text by its name.
        release: version of the toolkit.
    """

    open: Callable[[VaultAddress], TenantVault]
    read_request: Callable[[str], SigningRequest]
    matches: Callable[[str, str], bool]
    check_receipt: ReceiptCheck
    policies: Callable[[], Mapping[str, str]]
    release: str
