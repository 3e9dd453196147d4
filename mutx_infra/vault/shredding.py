"""A tenant ends its Vault: everything in it is destroyed, then the key that seals it, so that no backup opens again.

What the API destroys is gone from the live storage; a copy of the storage that was taken before still holds it, under
the seal. So the seal's key is what counts, and that is the tenant's own: in its Vault, or in its KMS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from mutx_infra.byok import AwsKmsSeal, TransitSeal
from mutx_infra.errors import RefusedError
from mutx_infra.ports import Clock, Reporter
from mutx_infra.vault.deposits import places
from mutx_infra.vault.handover import Handover
from mutx_infra.vault.layout import CERT_AUTH, KV_MOUNT, MACHINE_PKI, SERVICE_PKI, SSH_MOUNT, TENANT_ADMIN
from mutx_infra.vault.receipt import Receipt, SignedReceipt, parse_receipt
from mutx_infra.vault.tokens import revoke_others
from mutx_infra.vault_ports import ReceiptFile, SealKey, TenantVault, VaultSession

_ENGINES = (KV_MOUNT, SERVICE_PKI, MACHINE_PKI, SSH_MOUNT)
_BUILT_IN = ("cubbyhole/", "identity/", "sys/")


@dataclass(frozen=True, slots=True)
class Shredded:
    """What a shredding came to.

    Attributes:
        is_seal_key_gone: the key that sealed the storage was destroyed, as its keeper was seen to say.
        next_step: what the tenant must still do by hand; empty where nothing is left.
    """

    receipt: SignedReceipt
    is_seal_key_gone: bool
    next_step: str


@dataclass(frozen=True, slots=True)
class Shredding:
    """The end of one tenant's Vault.

    Attributes:
        session: as one of the tenant's administrators.
        seal_key: destroys the key of a transit seal; None where the tenant gave no credentials for it.
        file: where the receipt is kept.
    """

    handover: Handover
    vault: TenantVault
    session: VaultSession
    seal_key: SealKey | None
    file: ReceiptFile
    sign: Callable[[Receipt], SignedReceipt]
    clock: Clock

    def shred(self, report: Reporter) -> Shredded:
        """Destroy everything, or go on where that was interrupted; the Vault is sealed at the end, for ever."""
        details = self._destroy(report)
        # Before the seal's key: afterwards the Vault may never open again to say which one it was.
        receipt = self._receipt(details, is_seal_key_gone=False)
        is_gone = False
        if self.seal_key is not None:
            with report.step("seal-key", "destroying the key that seals the storage", []):
                self.seal_key.destroy()
                is_gone = True
            receipt = self._receipt(details, is_seal_key_gone=True)
        with report.step("seal", "sealing", []):
            self.session.write("sys/seal", {})
        return Shredded(receipt, is_gone, "" if is_gone else next_step(self.handover))

    def _destroy(self, report: Reporter) -> dict[str, JsonValue]:
        done: list[str] = []
        with report.step("logins", "ending every login", done):
            roles = self._end_logins()
            tokens = revoke_others(self.session)
            done.append(f"{len(roles)} ways to log in and {tokens} tokens")
        done = []
        with report.step("keys", "destroying every version of every key", done):
            keys = self._destroy_keys()
            done.append(f"{keys} keys")
        done = []
        with report.step("engines", "destroying engines and authorities", done):
            engines = self._destroy_engines()
            done.append(", ".join(engines) or "none was left")
        with report.step("identities", "deleting identities", []):
            identities = self._delete_identities()
        return {
            "logins": list(roles),
            "tokens": tokens,
            "keys": keys,
            "engines": list(engines),
            "identities": identities,
            "seal": self.handover.seal,
        }

    def _end_logins(self) -> tuple[str, ...]:
        """Delete every way to log in but the administrators' own, by which an interrupted run goes on."""
        roles = [name for name in self.session.list(f"auth/{CERT_AUTH}/certs") if name != TENANT_ADMIN]
        for name in roles:
            self.session.delete(f"auth/{CERT_AUTH}/certs/{name}")
        others = [p for p in self.session.read("sys/auth") or {} if p not in {"token/", f"{CERT_AUTH}/"}]
        for path in others:
            self.session.delete(f"sys/auth/{path.rstrip('/')}")
        return (*roles, *others)

    def _destroy_keys(self) -> int:
        if not self._has(KV_MOUNT):
            return 0
        found = list(places(self.session))
        for place in found:
            self.session.delete(f"{KV_MOUNT}/metadata/{place.path}")
        return len(found)

    def _destroy_engines(self) -> tuple[str, ...]:
        """Disable every engine, ours first; that revokes its leases and deletes its keys."""
        mounted = [path for path in self.session.read("sys/mounts") or {} if path not in _BUILT_IN]
        ours = [f"{name}/" for name in _ENGINES if f"{name}/" in mounted]
        for path in [*ours, *(each for each in mounted if each not in ours)]:
            self.session.delete(f"sys/mounts/{path.rstrip('/')}")
        return tuple(path.rstrip("/") for path in mounted)

    def _delete_identities(self) -> int:
        mine = (self.session.read("auth/token/lookup-self") or {}).get("entity_id")
        others = [each for each in self.session.list("identity/entity/id") if each != mine]
        for each in others:
            self.session.delete(f"identity/entity/id/{each}")
        return len(others)

    def _has(self, mount: str) -> bool:
        return f"{mount}/" in (self.session.read("sys/mounts") or {})

    def _receipt(self, details: dict[str, JsonValue], *, is_seal_key_gone: bool) -> SignedReceipt:
        signed = self.sign(
            Receipt(
                kind="vault-shred",
                tenant=self.handover.tenant,
                cluster=str((self.vault.open_read("sys/seal-status") or {})["cluster_id"]),
                at=self.clock.now(),
                details={**details, "seal_key_destroyed": is_seal_key_gone},
            )
        )
        self.file.keep_receipt(signed.text())
        return signed


def finish_shredding(
    handover: Handover,
    seal_key: SealKey | None,
    file: ReceiptFile,
    sign: Callable[[Receipt], SignedReceipt],
    clock: Clock,
) -> Shredded:
    """Go on where a shredding was interrupted after it had sealed the Vault, or when its key had gone.

    Raises:
        RefusedError: no shredding of this Vault was begun here (code `shred-sealed`).
    """
    text = file.receipt()
    begun = parse_receipt(text).receipt if text is not None else None
    if begun is None or begun.kind != "vault-shred" or begun.tenant != handover.tenant:
        raise RefusedError(
            f"the Vault of {handover.tenant} is sealed, and no shredding of it was begun here",
            code="shred-sealed",
            remedy="open it first: what lies in it can be destroyed by itself alone. Or destroy the key that seals it",
        )
    is_gone = bool(begun.details.get("seal_key_destroyed"))
    if seal_key is not None and not is_gone:
        seal_key.destroy()
        is_gone = True
    signed = sign(
        begun.model_copy(
            update={"at": clock.now(), "details": {**begun.details, "seal_key_destroyed": is_gone}}
        )
    )
    file.keep_receipt(signed.text())
    return Shredded(signed, is_gone, "" if is_gone else next_step(handover))


def next_step(handover: Handover) -> str:
    """Return what the tenant does so that no copy of the storage opens again."""
    seal = handover.sealed_by
    if isinstance(seal, TransitSeal):
        return (
            f"delete the key {seal.key} of {seal.mount} in your Vault at {seal.address}: run this again with "
            "--seal-token-file, or allow its deletion and delete it there"
        )
    if isinstance(seal, AwsKmsSeal):
        asked = f"--region {seal.region} --key-id {seal.key_arn} --pending-window-in-days 7"
        return f"in your AWS account: aws kms schedule-key-deletion {asked}"
    if handover.seal == "static":
        return "the key of this seal lies on the Vault host: it ends with the platform's `tenant destroy`"
    return f"destroy the key of your own that seals it ({handover.seal})"
