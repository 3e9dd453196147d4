"""`bootstrap` for what a tenant's administrator does: chooses the adapters of its use cases.

None of it needs an environment profile or a registry. Every function loads what it needs when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mutx_infra.bootstrap import Process, SystemClock
from mutx_infra.byok import TransitSeal
from mutx_infra.errors import RefusedError, SettingsError

if TYPE_CHECKING:
    from datetime import datetime

    from mutx_infra.adapters.private_files import ClaimFolder
    from mutx_infra.vault.claim import Claiming
    from mutx_infra.vault.enrolment import Enrolment
    from mutx_infra.vault.handover import Handover
    from mutx_infra.vault.initialising import Initialising, NewVault
    from mutx_infra.vault.shredding import Shredded, Shredding
    from mutx_infra.vault_ports import (
        ClientCertificate,
        PgpKey,
        ProviderApi,
        SealKey,
        VaultSession,
    )

PROXY_VARIABLE = "VAULT_HTTP_PROXY"
MAX_FILE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Entrance:
    """How an administrator reaches a tenant's Vault.

    Attributes:
        shown: certificate and key.
    """

    handover: Handover
    vault: NewVault
    shown: ClientCertificate

    def enter(self) -> VaultSession:
        """Log in as one of the tenant's administrators.

        Raises:
            RefusedError: the Vault is still to be made (code `vault-empty`), or as `TenantVault.login`.
        """
        from mutx_infra.vault.layout import TENANT_ADMIN  # noqa: PLC0415
        from mutx_infra.vault.products import TRAITS  # noqa: PLC0415

        tenant = self.handover.tenant
        if not TRAITS[self.handover.product].makes_itself and not self.vault.health().is_initialized:
            raise RefusedError(
                f"the Vault of {tenant} is empty: nobody has initialised it",
                code="vault-empty",
                remedy=f"make it: `mutx-infra vault initialise {tenant} --pgp-key FILE`",
            )
        return self.vault.login(self.shown, TENANT_ADMIN)


def load_handover(path: Path, tenant: str) -> Handover:
    """Read the hand-over file of a tenant.

    Raises:
        SettingsError: it is not there or unreadable (`handover-missing`), none (`handover-invalid`), or another
            tenant's (`handover-tenant`).
    """
    from mutx_infra.vault.handover import parse_handover  # noqa: PLC0415

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(
            f"the hand-over file {path} cannot be read",
            code="handover-missing",
            remedy="name the file that the platform's operator gave you with `--vault FILE`",
        ) from exc
    handover = parse_handover(text, str(path))
    if handover.tenant != tenant:
        raise SettingsError(
            f"{path} hands over the Vault of {handover.tenant}, not of {tenant}",
            code="handover-tenant",
            remedy="name the right file with `--vault FILE`, or the right tenant",
        )
    return handover


def url_of(handover: Handover, address: str | None) -> str:
    """Return where a tenant's Vault is asked: as the hand-over names it, or at another address."""
    return (address or handover.url).rstrip("/")


def find_vault(process: Process, handover: Handover, address: str | None) -> NewVault:
    """Wire a tenant's Vault to its API."""
    from mutx_infra.adapters.hvac_vault import HvacVault  # noqa: PLC0415 - vendors load only where they are needed
    from mutx_infra.vault_ports import VaultAddress  # noqa: PLC0415

    proxy = process.variables.get(PROXY_VARIABLE) or None
    return HvacVault(VaultAddress(url_of(handover, address), handover.authority, handover.server_name, proxy))


def find_entrance(
    process: Process, handover: Handover, address: str | None, certificate: Path | None, key: Path | None
) -> Entrance:
    """Wire what an administrator enters by.

    Raises:
        SettingsError: no certificate is named (`vault-certificate`), or it is not valid now (`certificate-time`).
    """
    from mutx_infra.adapters.x509 import check_validity  # noqa: PLC0415
    from mutx_infra.vault_ports import ClientCertificate  # noqa: PLC0415

    if certificate is None or key is None:
        raise SettingsError(
            "no client certificate is named",
            code="vault-certificate",
            remedy="give `--cert` and `--key`, or VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, of the tenant's authority",
        )
    shown = ClientCertificate(certificate, key)
    check_validity(shown, SystemClock().now())
    return Entrance(handover, find_vault(process, handover, address), shown)


def read_pgp_keys(files: list[Path]) -> list[PgpKey]:
    """Read the keys of those who get a recovery share; every one that is of no use is refused by name."""
    from mutx_infra.adapters.openpgp import PgpKeyFiles  # noqa: PLC0415

    reader = PgpKeyFiles(SystemClock())
    return [reader.read(path) for path in files]


def claim_folder(shares: Path | None, elsewhere: Callable[[str], None], receipt: Path) -> ClaimFolder:
    """Return where a claim leaves shares and receipt."""
    from mutx_infra.adapters.private_files import ClaimFolder  # noqa: PLC0415

    return ClaimFolder(receipt, shares, elsewhere)


def make_claiming(
    entrance: Entrance, session: VaultSession, files: ClaimFolder, initialised: Path
) -> Claiming:
    """Wire the claim of a tenant's Vault.

    Args:
        entrance: how its administrator reaches it.
        session: as one of them.
        files: where shares and receipt are kept.
        initialised: what `vault initialise` wrote, if it did.
    """
    from mutx_infra.adapters.private_files import KeptReceipt  # noqa: PLC0415
    from mutx_infra.adapters.x509 import Signer  # noqa: PLC0415
    from mutx_infra.vault.claim import Claiming  # noqa: PLC0415

    return Claiming(
        entrance.handover, entrance.vault, session, files, Signer(entrance.shown), SystemClock(),
        KeptReceipt(initialised).receipt(),
    )  # fmt: skip


def make_initialising(entrance: Entrance, files: ClaimFolder, audit_log: str | None) -> Initialising:
    """Wire the beginning of a tenant's Vault that does not make itself.

    Args:
        entrance: how its administrator reaches it.
        files: where shares and record are kept.
        audit_log: where the server writes it; None for where the role `vault` has a place for it.

    Raises:
        SettingsError: the certificate is of another authority than the file calls the tenant's (`handover-not-yours`).
    """
    from mutx_infra.adapters.x509 import Signer, require_admin  # noqa: PLC0415
    from mutx_infra.vault.initialising import Initialising  # noqa: PLC0415
    from mutx_infra.vault.server import ServerPaths  # noqa: PLC0415

    clock = SystemClock()
    require_admin(entrance.shown, entrance.handover.admin_ca, clock.now())
    return Initialising(
        entrance.handover, entrance.vault, entrance.shown, policy_texts(), files, Signer(entrance.shown), clock,
        audit_log or ServerPaths().audit_log,
    )  # fmt: skip


def make_enrolment(handover: Handover, session: VaultSession) -> Enrolment:
    """Wire the enrolment of a tenant's machines."""
    from mutx_infra.adapters.x509 import common_name_of, read_request  # noqa: PLC0415
    from mutx_infra.vault.enrolment import Enrolment  # noqa: PLC0415

    return Enrolment(handover, session, read_request, common_name_of)


def find_provider(process: Process, name: str, url: str | None) -> ProviderApi:
    """Wire a provider of models, by the proxy that this machine goes out by."""
    from mutx_infra.adapters.provider_api import find_provider as find  # noqa: PLC0415

    proxy = process.variables.get("HTTPS_PROXY") or process.variables.get("https_proxy")
    return find(name, url, proxy)


def find_seal_key(process: Process, handover: Handover, token_file: Path | None) -> SealKey | None:
    """Wire the key of a transit seal, where the tenant gave a token for it.

    Raises:
        SettingsError: the token cannot be read (code `seal-token`), or is for no such seal.
    """
    from mutx_infra.adapters.transit_key import TransitKey, system_authorities  # noqa: PLC0415

    if token_file is None:
        return None
    seal = handover.sealed_by
    try:
        token = token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise _no_seal_token(f"{token_file} cannot be read") from exc
    if not isinstance(seal, TransitSeal) or not token:
        raise _no_seal_token(
            "the token's file is empty"
            if not token
            else "the hand-over file names no transit key that seals the Vault"
        )
    proxy = process.variables.get(PROXY_VARIABLE) or None
    return TransitKey(seal, SecretStr(token), seal.ca or system_authorities(), proxy)


def make_shredding(
    entrance: Entrance, session: VaultSession, seal_key: SealKey | None, receipt: Path
) -> Shredding:
    """Wire the end of a tenant's Vault."""
    from mutx_infra.adapters.private_files import KeptReceipt  # noqa: PLC0415
    from mutx_infra.adapters.x509 import Signer  # noqa: PLC0415
    from mutx_infra.vault.shredding import Shredding  # noqa: PLC0415

    return Shredding(
        entrance.handover, entrance.vault, session, seal_key, KeptReceipt(receipt), Signer(entrance.shown),
        SystemClock(),
    )  # fmt: skip


def finish_shredding(entrance: Entrance, seal_key: SealKey | None, receipt: Path) -> Shredded:
    """Go on with a shredding whose Vault answers no more."""
    from mutx_infra.adapters.private_files import KeptReceipt  # noqa: PLC0415
    from mutx_infra.adapters.x509 import Signer  # noqa: PLC0415
    from mutx_infra.vault.shredding import finish_shredding as finish  # noqa: PLC0415

    return finish(entrance.handover, seal_key, KeptReceipt(receipt), Signer(entrance.shown), SystemClock())


def read_file(path: Path) -> bytes:
    """Read a file that an option names.

    Raises:
        SettingsError: it cannot be read (code `file-unreadable`).
    """
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES)
    except OSError as exc:
        raise SettingsError(
            f"{path} cannot be read: {exc.strerror}", code="file-unreadable", remedy="name another file"
        ) from exc


def write_certificate(path: Path, text: str) -> None:
    """Write a certificate that a host is to have; nobody need keep it secret, but nobody else is to change it."""
    from mutx_infra.adapters.private_files import write_private  # noqa: PLC0415

    write_private(path, text)


def now() -> datetime:
    """Return the time, in UTC."""
    return SystemClock().now()


def policy_texts() -> dict[str, str]:
    """Return this release's policies, by name."""
    from mutx_infra.adapters.vault_templates import policy_texts as texts  # noqa: PLC0415

    return texts()


def _no_seal_token(said: str) -> SettingsError:
    return SettingsError(
        said,
        code="seal-token",
        remedy="give a file that holds a token of the tenant's own Vault, or leave `--seal-token-file` out",
    )
