"""What a tenant is given with its Vault, and what whom holds of it then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mutx_infra.records import TenantRecord
from mutx_infra.vault.handover import Handover
from mutx_infra.vault.products import TRAITS


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What a tenant is given.

    Attributes:
        path: of the file for the tenant.
        waiting: hosts that have made no request yet.
        record: the tenant's, as it is now.
        is_empty: the tenant has to make the Vault first, by this file; it is not handed over yet.
    """

    TENANT_HOLDS: ClassVar = (
        "the authority of its administrators, by whose certificates alone the Vault is ruled",
        "the key that seals the Vault's storage",
    )
    PLATFORM_NEVER_HELD: ClassVar = (
        "a root token: the Vault made itself, and revoked it before it served anybody",
        "a key share: there is none until the tenant makes its own",
        "a right to read or write a key, a policy or a login",
    )
    PLATFORM_HOLDS_UNTIL_CLAIMED: ClassVar = (
        "the way to the hosts by SSH, as root on the Vault's own: until then it must be trusted",
        "certificates of half an hour that read the Vault's configuration, on its host alone",
    )

    handover: Handover
    path: str
    waiting: tuple[str, ...]
    record: TenantRecord
    is_empty: bool = False

    @property
    def never_held(self) -> tuple[str, ...]:
        """Return what the platform never held."""
        if TRAITS[self.handover.product].makes_itself:
            return self.PLATFORM_NEVER_HELD
        return (
            "a root token: the tenant's own machine has one while it initialises the Vault, and revokes it",
            "a key share: they are the tenant's from the beginning",
            *self.PLATFORM_NEVER_HELD[2:],
        )

    @property
    def is_trial(self) -> bool:
        """True where the seal's key lies on the Vault host itself."""
        return self.handover.seal == "static"
