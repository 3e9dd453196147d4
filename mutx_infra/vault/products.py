"""What differs between the servers that a tenant's Vault may be: OpenBao, and HashiCorp's. Nothing else asks which.

OpenBao makes itself at its first start, and is told in its configuration whereto it logs. HashiCorp's does neither: the
tenant initialises it (`initialising`), which gives recovery keys at once and a root token for a moment. What each
answers when its settings are read back is in `answers` and `answers_hashicorp`, for the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mutx_infra.byok import Product
from mutx_infra.errors import RefusedError
from mutx_infra.vault.layout import AUDIT_DEVICE, ONBOARDER, SSH_MOUNT
from mutx_infra.vault.receipt import parse_receipt
from mutx_infra.vault_ports import Holders, RecoveryShare, TenantVault, VaultSession

_ROTATION, _BACKUP = "sys/rotate/recovery/init", "sys/rotate/recovery/backup"

SET_BY_THE_SERVER = (("ocsp_max_retries", 4),)
"""What HashiCorp's server adds to a certificate role of its own; any other value is somebody's."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a product does and does not.

    Attributes:
        called: its name for people.
        makes_itself: policies, engines and logins, at its first start; else the tenant initialises it.
        declares_audit: audit devices are in its configuration alone; else whoever has `sudo` on `sys/audit` sets them.
        open_to_anybody: paths of its API about new root and recovery keys that answer without a login, by design.
        new_recovery_keys: how holders of the shares make new ones.
    """

    called: str
    makes_itself: bool
    declares_audit: bool
    open_to_anybody: frozenset[str]
    new_recovery_keys: str


TRAITS: Mapping[Product, Traits] = {
    Product.OPENBAO: Traits(
        called="OpenBao",
        makes_itself=True,
        declares_audit=True,
        open_to_anybody=frozenset(),
        new_recovery_keys="bao operator rotate-keys -target=recovery",
    ),
    Product.VAULT: Traits(
        called="HashiCorp Vault",
        makes_itself=False,
        declares_audit=False,
        # Who starts an attempt here gets nowhere without as many shares as are needed, and can cancel that of others.
        open_to_anybody=frozenset(
            {"sys/generate-root/attempt", "sys/rekey/init", "sys/rekey-recovery-key/init"}
        ),
        new_recovery_keys="vault operator rekey -target=recovery",
    ),
}


class RecoveryKeys(Protocol):
    """The recovery keys of one Vault, as a claim sees them."""

    def are_settled(self) -> bool:
        """Say whether they are set, and nobody but their holders has them."""

    def shares(self, holders: Holders) -> tuple[RecoveryShare, ...]:
        """Set them, or go on where that was interrupted; none where they were handed out before.

        Raises:
            RefusedError: they are others' (`recovery-keys-foreign`, `claim-other-keys`, `vault-not-initialised`).
        """

    def settle(self) -> None:
        """See that nobody but the holders has the shares, not even encrypted."""


def recovery_keys(
    product: Product, tenant: str, vault: TenantVault, session: VaultSession, initialised: str | None
) -> RecoveryKeys:
    """Return how a product's recovery keys are set.

    Args:
        product: which server it is.
        tenant: whose.
        vault: as anybody sees it.
        session: as one of the tenant's administrators.
        initialised: text of what `vault initialise` wrote; None where it wrote nothing here.
    """
    if TRAITS[product].makes_itself:
        return _RotatedKeys(tenant, vault, session)
    return _KeysOfTheBeginning(tenant, vault, initialised)


def ssh_authority(product: Product, session: VaultSession) -> str:
    """Return the public key of the tenant's SSH authority; empty where it has none."""
    # OpenBao knows several issuers, of which none need be the one in use.
    if product is Product.OPENBAO and not session.list(f"{SSH_MOUNT}/issuers"):
        return ""
    try:
        shown = session.read(f"{SSH_MOUNT}/config/ca")
    except RefusedError as exc:
        if exc.code != "vault-refused":
            raise
        return ""
    return str(shown["public_key"]).strip() if shown else ""


def audit_devices(product: Product, session: VaultSession) -> tuple[Mapping[str, str], frozenset[str]]:
    """Return the kinds of the audit devices by their paths, and those paths that no caller of the API can change."""
    live = session.read("sys/audit") or {}
    kinds = {path: str(device["type"]) for path, device in live.items() if isinstance(device, Mapping)}
    if not TRAITS[product].declares_audit:
        return kinds, frozenset()
    configured = session.read("sys/config/state/sanitized") or {}
    if configured.get("unsafe_allow_api_audit_creation"):
        return kinds, frozenset()
    return kinds, frozenset(str(device["path"]) for device in configured.get("audits") or ())


def audit_request(path: str) -> tuple[str, dict[str, Any]]:
    """Return the request by which a server that declares none has its audit device: path and data."""
    return f"sys/audit/{AUDIT_DEVICE}", {"type": "file", "options": {"file_path": path, "mode": "0600"}}


def recovery_status(vault: TenantVault) -> Mapping[str, Any]:
    """Return what a Vault says of its recovery keys to anybody: `n` shares, `t` needed; and its `cluster_id`."""
    status = vault.open_read("sys/seal-status")
    return status if status is not None else {}


@dataclass(frozen=True, slots=True)
class _RotatedKeys:
    """OpenBao has none until somebody sets them; it keeps the encrypted shares until it is told that they are safe."""

    tenant: str
    vault: TenantVault
    session: VaultSession

    def are_settled(self) -> bool:
        return bool(recovery_status(self.vault)["n"]) and self._backup() is None

    def shares(self, holders: Holders) -> tuple[RecoveryShare, ...]:
        if not recovery_status(self.vault)["n"]:
            made = self.session.write(
                _ROTATION,
                {
                    "secret_shares": len(holders.keys),
                    "secret_threshold": holders.threshold,
                    "pgp_keys": [key.data for key in holders.keys],
                    "backup": True,
                },
            )
            if not made.get("keys_base64"):
                # Somebody else's claim came first: this was taken for a change of their keys.
                self.session.delete(_ROTATION)
        return tuple(self._kept(holders))

    def settle(self) -> None:
        self.session.delete(_BACKUP)

    def _kept(self, holders: Holders) -> Iterator[RecoveryShare]:
        """Yield the shares as the server keeps them for the claim that made them."""
        kept = self._backup()
        if kept is None:
            raise RefusedError(
                f"the Vault of {self.tenant} has recovery keys that no claim made",
                code="recovery-keys-foreign",
                remedy="somebody with an administrator's certificate set them by hand: find out who, and see that the "
                f"role {ONBOARDER} is deleted; nothing was changed",
            )
        threshold = recovery_status(self.vault)["t"]
        if sorted(kept) != holders.fingerprints or threshold != holders.threshold:
            raise _other_keys(self.tenant, "a claim of", sorted(kept), threshold)
        for key in holders.keys:
            yield RecoveryShare(key, bytes.fromhex(kept[key.fingerprint][0]))

    def _backup(self) -> Mapping[str, Sequence[str]] | None:
        try:
            answer = self.session.read(_BACKUP)
        except RefusedError as exc:
            if "no backed-up keys" in exc.message:
                return None
            raise
        return answer["keys"] if answer else None


@dataclass(frozen=True, slots=True)
class _KeysOfTheBeginning:
    """HashiCorp's server has recovery keys since the tenant initialised it, and shows nobody whose they are."""

    tenant: str
    vault: TenantVault
    initialised: str | None

    def are_settled(self) -> bool:
        return True

    def shares(self, holders: Holders) -> tuple[RecoveryShare, ...]:
        status = recovery_status(self.vault)
        kept = parse_receipt(self.initialised).receipt if self.initialised is not None else None
        if kept is None or kept.kind != "vault-initialise" or kept.cluster != status["cluster_id"]:
            raise RefusedError(
                f"nothing here says that the tenant itself initialised the Vault of {self.tenant}",
                code="vault-not-initialised",
                remedy="give the file that `vault initialise` wrote with `--initialised FILE`; if nobody of the tenant "
                "ran that, somebody else has its recovery keys: deposit nothing, and have the operator make it anew",
            )
        named, threshold = kept.details.get("fingerprints"), kept.details.get("threshold")
        if named != holders.fingerprints or (threshold, status["t"]) != (
            holders.threshold,
            holders.threshold,
        ):
            raise _other_keys(
                self.tenant, "the Vault of", [*map(str, named)] if isinstance(named, list) else [], threshold
            )
        return ()

    def settle(self) -> None:
        """Leave it: the shares went to files alone."""


def _other_keys(tenant: str, what: str, fingerprints: Sequence[str], threshold: object) -> RefusedError:
    return RefusedError(
        f"{what} {tenant} was begun with the PGP keys {', '.join(fingerprints)}, of whose "
        f"shares {threshold} are needed",
        code="claim-other-keys",
        remedy="go on with those keys and that `--threshold`",
    )
