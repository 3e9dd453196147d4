"""A tenant takes its Vault over: recovery keys of its own, an SSH authority of its own, and the platform's access ends.

Each step looks first at what is there, so that a claim which was killed goes on where it stopped. OpenBao keeps the
shares, encrypted to their holders, until they lie in files: a claim that dies while it is answered loses none.
HashiCorp's server has had recovery keys since its tenant initialised it; a claim asks whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mutx_infra import naming
from mutx_infra.errors import RefusedError, UsageError, VerificationError
from mutx_infra.ports import Clock, Reporter
from mutx_infra.vault.handover import Handover
from mutx_infra.vault.layout import (
    CERT_AUTH,
    ONBOARDER,
    SSH_MOUNT,
    SSH_ROLE,
    SSH_TTL,
    TENANT_ADMIN,
    admin_role,
)
from mutx_infra.vault.products import TRAITS, RecoveryKeys, recovery_keys, recovery_status, ssh_authority
from mutx_infra.vault.readback import Compared, compare
from mutx_infra.vault.receipt import Receipt, SignedReceipt, parse_receipt
from mutx_infra.vault.tokens import revoke_tokens
from mutx_infra.vault_ports import ClaimFiles, Holders, PgpKey, RecoveryShare, TenantVault, VaultSession

_ONBOARDERS_ROLE = f"auth/{CERT_AUTH}/certs/{ONBOARDER}"
FEWEST_OF_SEVERAL = 2


@dataclass(frozen=True, slots=True)
class Claimed:
    """How things stand after a claim.

    Attributes:
        ssh_authority: public key of the tenant's SSH authority.
        compared: everything that decides who may do what, against the hand-over.
        shares: encrypted to their holders; none where these have them already.
        revoked: number of the onboarder's tokens that were ended.
        was_before: it was claimed before, and nothing was done.
    """

    receipt: SignedReceipt
    ssh_authority: str
    compared: tuple[Compared, ...]
    shares: tuple[RecoveryShare, ...] = ()
    revoked: int = 0
    was_before: bool = False


@dataclass(frozen=True, slots=True)
class Claiming:
    """The claim of one tenant's Vault.

    Attributes:
        vault: as anybody sees it.
        session: as one of the tenant's administrators.
        files: where shares and receipt are kept.
        sign: by the administrator's key.
        initialised: text of what `vault initialise` wrote; None where it wrote nothing here.
    """

    handover: Handover
    vault: TenantVault
    session: VaultSession
    files: ClaimFiles
    sign: Callable[[Receipt], SignedReceipt]
    clock: Clock
    initialised: str | None = None

    def claim(self, holders: Holders, principals: Sequence[str], report: Reporter) -> Claimed:
        """Take the Vault over, or go on with a claim that was interrupted.

        Args:
            holders: of the recovery key's shares.
            principals: that operators' SSH certificates may name; never root.
            report: receives the progress.

        Raises:
            VerificationError: it is not what was handed over (code `vault-differs`); nothing was changed.
            RefusedError: it was claimed with other keys, or its recovery keys are somebody else's doing.
            UsageError: no operator may be called so.
        """
        role = ssh_role(principals)
        before = self._checked()
        if self._is_finished():
            return self._claimed_before(holders, before)
        done: list[str] = []
        with report.step("recovery", "setting the recovery keys", done):
            shares = self._recovery.shares(holders)
            self.files.keep_shares(shares)
            done.append(f"{len(holders.keys)} shares, of which {holders.threshold} are needed")
        with report.step("ssh", "making the tenant's SSH authority", []):
            authority = self._ssh_authority(role)
        done = []
        with report.step("onboarder", "ending the platform's access", done):
            self.session.delete(_ONBOARDERS_ROLE)
            revoked = revoke_tokens(self.session, ONBOARDER)
            done.append(f"the role {ONBOARDER} is gone, with {revoked} tokens")
        compared = compare(self.session, self._expected())
        with report.step("receipt", "signing the receipt", []):
            receipt = self._receipt(holders, authority, compared)
            # The last step: from here on nobody but the holders has the shares, not even encrypted.
            self._recovery.settle()
        return Claimed(receipt, authority, compared, shares, revoked)

    @property
    def _recovery(self) -> RecoveryKeys:
        return recovery_keys(
            self.handover.product, self.handover.tenant, self.vault, self.session, self.initialised
        )

    def _checked(self) -> tuple[Compared, ...]:
        """Refuse a Vault that is not what was handed over; the onboarder's role may be gone already."""
        compared = compare(self.session, self._expected())
        machines = {f"role {machine.name}" for machine in self.handover.machines}
        wrong = [
            each
            for each in compared
            if not each.is_same
            and each.name not in machines
            and (each.name, each.found) != (f"role {ONBOARDER}", None)
        ]
        if wrong and not self._is_finished():
            raise VerificationError(
                f"the Vault of {self.handover.tenant} is not what was handed over: {wrong[0].name} {wrong[0].said}",
                code="vault-differs",
                remedy="claim nothing and deposit nothing; ask the platform's operator what changed since `vault init`",
                detail="\n".join(f"{each.name} {each.said}" for each in wrong[1:]),
            )
        return compared

    def _expected(self) -> dict[str, str]:
        """Return the digests of the hand-over; who the administrators are, the platform is not asked.

        That we logged in shows that the authority in the hand-over file is ours. A role with another one beside it,
        and a hand-over file that has its digest, would let somebody else in as well.
        """
        return {
            **self.handover.digests,
            f"role {TENANT_ADMIN}": admin_role(self.handover.admin_ca).digest(),
        }

    def _is_finished(self) -> bool:
        return (
            self._recovery.are_settled()
            and self.session.read(_ONBOARDERS_ROLE) is None
            and bool(self._public_key())
        )

    def _claimed_before(self, holders: Holders, compared: tuple[Compared, ...]) -> Claimed:
        """Return how it stands where the receipt of this very claim is here."""
        text, status = self.files.receipt(), recovery_status(self.vault)
        receipt = parse_receipt(text) if text is not None else None
        if (
            receipt is None
            or receipt.receipt.cluster != status["cluster_id"]
            or receipt.receipt.details.get("fingerprints") != holders.fingerprints
        ):
            raise RefusedError(
                f"the Vault of {self.handover.tenant} is claimed: its recovery key has {status['n']} shares, of which "
                f"{status['t']} are needed, and nothing was changed",
                code="vault-claimed",
                remedy="the receipt of whoever claimed it names the holders; with their shares "
                f"`{TRAITS[self.handover.product].new_recovery_keys}` makes new ones",
            )
        return Claimed(receipt, self._public_key(), compared, was_before=True)

    def _ssh_authority(self, role: Mapping[str, Any]) -> str:
        self.session.write(f"{SSH_MOUNT}/roles/{SSH_ROLE}", role)
        # A second one would take the first one's place, and hosts would have to follow.
        if not self._public_key():
            self.session.write(
                f"{SSH_MOUNT}/config/ca", {"generate_signing_key": True, "key_type": "ed25519"}
            )
        return self._public_key()

    def _public_key(self) -> str:
        return ssh_authority(self.handover.product, self.session)

    def _receipt(self, holders: Holders, authority: str, compared: tuple[Compared, ...]) -> SignedReceipt:
        signed = self.sign(
            Receipt(
                kind="vault-claim",
                tenant=self.handover.tenant,
                cluster=str(recovery_status(self.vault)["cluster_id"]),
                at=self.clock.now(),
                details={
                    "fingerprints": list(holders.fingerprints),
                    "threshold": holders.threshold,
                    "ssh_authority": authority,
                    "digests": {each.name: each.found for each in compared if each.found is not None},
                },
            )
        )
        self.files.keep_receipt(signed.text())
        return signed


def make_holders(keys: Sequence[PgpKey], threshold: int | None) -> Holders:
    """Return who gets a share; without a threshold, most of them are needed.

    Raises:
        UsageError: there is no key, one of them twice, or so many cannot be needed (code `holders-invalid`).
    """
    needed = threshold if threshold is not None else len(keys) // 2 + 1
    fingerprints = [key.fingerprint for key in keys]
    twice = [each for each in fingerprints if fingerprints.count(each) > 1]
    why = ""
    if not keys:
        why = "nobody's PGP key was given"
    elif twice:
        why = f"the key {twice[0]} was given twice"
    elif not min(len(keys), FEWEST_OF_SEVERAL) <= needed <= len(keys):
        why = f"of {len(keys)} shares {needed} cannot be needed"
    if why:
        raise UsageError(
            why,
            code="holders-invalid",
            remedy="give `--pgp-key` once for each holder, and a `--threshold` of 2 up to their number (1 for one)",
        )
    return Holders(tuple(keys), needed)


def ssh_role(principals: Sequence[str]) -> dict[str, Any]:
    """Return what `ssh/roles/operator` takes: half an hour, named accounts, never root.

    Raises:
        UsageError: root, anybody or nobody is named (code `principal-invalid`).
    """
    wrong = [name for name in principals if not naming.is_ssh_principal(name)]
    if wrong or not principals:
        raise UsageError(
            f"{wrong[0]!r} is no principal of operators" if wrong else "no principal is named",
            code="principal-invalid",
            remedy="name accounts or roles, such as converge@acme: letters, digits and .@_-; never root",
        )
    return {
        "key_type": "ca",
        "allow_user_certificates": True,
        "allow_host_certificates": False,
        "allowed_users": ",".join(principals),
        "default_extensions": {"permit-pty": "", "permit-port-forwarding": ""},
        "ttl": SSH_TTL,
        "max_ttl": SSH_TTL,
    }
