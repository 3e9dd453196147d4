"""A tenant makes its Vault itself, where the server cannot: HashiCorp's, from the tenant's own machine, over TLS.

The server's answer holds a root token. It lives in this process's memory and does what nobody else can: the audit
device first, so that all is logged, then how the tenant's administrators log in. With that it is revoked. Everything
else is made by the administrator, so that an initialisation which was killed after it goes on where it stopped. One
that was killed before leaves a Vault that nobody can enter and in which nothing lies: it is to be made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import SecretStr

from mutx_infra.canonical import canonical_json
from mutx_infra.errors import MutxInfraError, OutsideError, RefusedError, SettingsError, VerificationError
from mutx_infra.ports import Clock, Reporter
from mutx_infra.vault.handover import Handover
from mutx_infra.vault.inspection import differences
from mutx_infra.vault.layout import (
    AUDIT_DEVICE,
    MACHINE_PKI,
    SERVICE_PKI,
    TENANT_ADMIN,
    VaultLayout,
    digest_of,
    first_requests,
    make_layout,
)
from mutx_infra.vault.products import TRAITS, audit_request, recovery_status, ssh_authority
from mutx_infra.vault.readback import role_digest
from mutx_infra.vault.receipt import Receipt, SignedReceipt, parse_receipt
from mutx_infra.vault.server import LOOPBACK
from mutx_infra.vault.tokens import revoke_root
from mutx_infra.vault_ports import (
    ClaimFiles,
    ClientCertificate,
    Holders,
    RecoveryShare,
    TenantVault,
    VaultSession,
)

_UNSEALED_WITHIN_S = 60.0
_PAUSE_S = 0.2
_TRIES = 25
_ADMINS_FIRST = (f"policy-{TENANT_ADMIN}", "auth-cert", f"role-{TENANT_ADMIN}")
"""The requests that a root token is needed for, by their names in `first_requests`."""
_SHOWN = 20

Request = tuple[str, str, dict[str, Any]]


class NewVault(TenantVault, Protocol):
    """A Vault that may be initialised from here."""

    def with_token(self, token: SecretStr) -> VaultSession:
        """Return the Vault as the bearer of a token sees it."""


@dataclass(frozen=True, slots=True)
class Initialised:
    """How things stand after an initialisation.

    Attributes:
        digests: of each policy and role, as found.
        shares: encrypted to their holders; none where they were handed out by a run before.
        was_before: it was initialised before, and nothing was done.
    """

    receipt: SignedReceipt
    digests: Mapping[str, str]
    shares: tuple[RecoveryShare, ...] = ()
    was_before: bool = False


@dataclass(frozen=True, slots=True)
class Initialising:
    """The beginning of one tenant's Vault.

    Attributes:
        shown: the administrator's certificate.
        policies: every policy's text by its name, as this release has them.
        files: where shares are kept, and what says that it was the tenant who initialised it.
        sign: by the administrator's key.
        audit_log: where the server writes, on its host.
    """

    handover: Handover
    vault: NewVault
    shown: ClientCertificate
    policies: Mapping[str, str]
    files: ClaimFiles
    sign: Callable[[Receipt], SignedReceipt]
    clock: Clock
    audit_log: str

    def initialise(self, holders: Holders, report: Reporter) -> Initialised:
        """Make the Vault, or go on with an initialisation that was interrupted.

        Args:
            holders: of the recovery key's shares.
            report: receives the progress.

        Raises:
            RefusedError: the server makes itself (code `initialise-not-needed`); it was initialised by somebody else,
                or by a run that was killed too early (`initialise-lost`), with other keys (`claim-other-keys`), or is
                claimed (`vault-claimed`).
            SettingsError: the hand-over file does not fit this release (`handover-release`).
            VerificationError: the server has another seal than the file says, or what was made is not as published
                (`vault-differs`).
        """
        layout = self._layout()
        self._require_the_seal()
        if not self.vault.health().is_initialized:
            shares = self._begin(holders, layout, report)
            return self._finish(holders, layout, shares, report)
        receipt = self._kept(holders)
        with self._administrator() as session:
            if ssh_authority(self.handover.product, session):
                raise RefusedError(
                    f"the Vault of {self.handover.tenant} is claimed",
                    code="vault-claimed",
                    remedy="nothing is left to do here; `mutx-infra vault check` looks at it",
                )
            if not revoke_root(session) and not self._wanting(session, layout):
                return Initialised(receipt, layout.digests(), was_before=True)
        return self._finish(holders, layout, (), report)

    def _layout(self) -> VaultLayout:
        """Return what is to be made: this release's, for the two authorities that the file names."""
        handover = self.handover
        if TRAITS[handover.product].makes_itself or handover.platform_ca is None:
            raise RefusedError(
                f"the Vault of {handover.tenant} is {TRAITS[handover.product].called}, which makes itself",
                code="initialise-not-needed",
                remedy=f"claim it: `mutx-infra vault claim {handover.tenant} --pgp-key FILE`",
            )
        layout = make_layout(
            handover.tenant, self.policies, handover.admin_ca, handover.platform_ca, LOOPBACK
        )
        expected = layout.digests()
        if wrong := sorted(name for name in expected if handover.digests.get(name) != expected[name]):
            raise SettingsError(
                f"the hand-over file was written by release {handover.release}, whose {wrong[0]} is not this one's",
                code="handover-release",
                remedy="install the release that the file names, whose manifest you checked; nothing was changed",
                detail="\n".join(wrong[1:_SHOWN]),
            )
        return layout

    def _require_the_seal(self) -> None:
        seal = self.vault.health().seal
        if seal != self.handover.seal:
            raise VerificationError(
                f"the Vault of {self.handover.tenant} is sealed by {seal}, not by {self.handover.seal}",
                code="vault-differs",
                remedy="initialise nothing, and ask the platform's operator which key seals it; nothing was changed",
            )

    def _begin(self, holders: Holders, layout: VaultLayout, report: Reporter) -> tuple[RecoveryShare, ...]:
        """Initialise it, and let the administrators in; the root token ends here, whatever happens."""
        done: list[str] = []
        with report.step("initialise", "initialising the Vault, its audit log first", done):
            made = self.vault.unknown().write(
                "sys/init",
                {
                    "recovery_shares": len(holders.keys),
                    "recovery_threshold": holders.threshold,
                    "recovery_pgp_keys": [key.data for key in holders.keys],
                },
            )
            root = self.vault.with_token(SecretStr(str(made["root_token"])))
            try:
                shares = tuple(
                    RecoveryShare(key, bytes.fromhex(text))
                    for key, text in zip(holders.keys, made["recovery_keys"], strict=True)
                )
                self.files.keep_shares(shares)
                self._await_leader()
                self._keep_receipt(holders, layout)
                root.write(*audit_request(self.audit_log))
                for _, path, data in _requests(layout, are_admins=True):
                    root.write(path, data)
            finally:
                root.end()
            done.append(
                f"{len(shares)} shares, of which {holders.threshold} are needed; the root token is revoked"
            )
        return shares

    def _finish(
        self, holders: Holders, layout: VaultLayout, shares: tuple[RecoveryShare, ...], report: Reporter
    ) -> Initialised:
        done: list[str] = []
        with self._administrator() as session:
            with report.step("layout", "making policies, engines and logins as published", done):
                revoke_root(session)
                wanting = self._wanting(session, layout)
                for name, path, data in wanting:
                    self._write(session, name, path, data)
                done.append(f"{len(wanting)} requests by an administrator")
            done = []
            with report.step("check", "holding it against what was published", done):
                if found := [*differences(session, layout), *self._unlogged(session)]:
                    raise VerificationError(
                        f"the Vault of {self.handover.tenant} is not as published: {found[0]}",
                        code="vault-differs",
                        remedy="claim nothing and deposit nothing; find out who else is in it, and have it made anew",
                        detail="\n".join(found[1:_SHOWN]),
                    )
                done.append(f"{len(layout.policies)} policies, {len(layout.roles)} logins, no root token")
        return Initialised(self._kept(holders), layout.digests(), shares)

    def _wanting(self, session: VaultSession, layout: VaultLayout) -> list[Request]:
        """Return the requests whose result is not there."""
        logged = audit_request(self.audit_log)
        audit = (
            []
            if AUDIT_DEVICE in {p.rstrip("/") for p in session.read("sys/audit") or {}}
            else [("audit", *logged)]
        )
        return [
            *audit,
            *(each for each in _requests(layout, are_admins=False) if not _is_done(session, *each)),
        ]

    def _unlogged(self, session: VaultSession) -> Iterator[str]:
        devices = session.read("sys/audit") or {}
        found = {path: device["options"].get("file_path") for path, device in devices.items()}
        if found != {f"{AUDIT_DEVICE}/": self.audit_log}:
            yield f"audit devices: {', '.join(f'{path} {where}' for path, where in found.items()) or 'none'}"

    def _write(self, session: VaultSession, name: str, path: str, data: Mapping[str, Any]) -> None:
        """Write; an engine of version 2 takes no settings while it makes itself ready, some milliseconds long."""
        for _ in range(_TRIES if name == "kv-settings" else 0):
            try:
                session.write(path, data)
            except RefusedError:
                self.clock.sleep(_PAUSE_S)
            else:
                return
        session.write(path, data)

    def _await_leader(self) -> None:
        """Wait until it has opened itself by the tenant's key, and answers."""
        for _ in range(int(_UNSEALED_WITHIN_S / _PAUSE_S)):
            health = self.vault.health()
            if health.is_initialized and not health.is_sealed and not health.is_standby:
                return
            self.clock.sleep(_PAUSE_S)
        raise OutsideError(
            f"the Vault of {self.handover.tenant} was initialised, and did not open itself",
            code="vault-sealed",
            remedy="see that the key which seals it can be used from its host. Once it is open, have the operator make "
            "it anew, since nothing lies in it, and initialise it again",
        )

    def _keep_receipt(self, holders: Holders, layout: VaultLayout) -> None:
        signed = self.sign(
            Receipt(
                kind="vault-initialise",
                tenant=self.handover.tenant,
                cluster=str(recovery_status(self.vault)["cluster_id"]),
                at=self.clock.now(),
                details={
                    "fingerprints": list(holders.fingerprints),
                    "threshold": holders.threshold,
                    "digests": {**layout.digests()},
                },
            )
        )
        self.files.keep_receipt(signed.text())

    def _kept(self, holders: Holders) -> SignedReceipt:
        """Return what says that the tenant initialised this very Vault, with these holders."""
        text, status = self.files.receipt(), recovery_status(self.vault)
        kept = parse_receipt(text) if text is not None else None
        if kept is None or kept.receipt.cluster != status.get("cluster_id"):
            raise self._lost("it was initialised, and nothing here says that it was by you")
        details = kept.receipt.details
        if (details.get("fingerprints"), details.get("threshold")) != (
            holders.fingerprints,
            holders.threshold,
        ):
            raise RefusedError(
                f"the Vault of {self.handover.tenant} was initialised with other PGP keys or another threshold",
                code="claim-other-keys",
                remedy=f"go on with those: {details.get('fingerprints')}, threshold {details.get('threshold')}",
            )
        return kept

    @contextmanager
    def _administrator(self) -> Iterator[VaultSession]:
        try:
            session = self.vault.login(self.shown, TENANT_ADMIN)
        except MutxInfraError as exc:
            if exc.code != "vault-login":
                raise
            raise self._lost("it was initialised, and lets no administrator in") from exc
        try:
            yield session
        finally:
            session.end()

    def _lost(self, why: str) -> RefusedError:
        tenant = self.handover.tenant
        return RefusedError(
            f"the Vault of {tenant} cannot be gone on with: {why}",
            code="initialise-lost",
            remedy="nothing of yours lies in it. If a run of this command was killed, have the operator make it anew "
            "(`mutx-vault make-anew` on its host), remove the shares, and initialise it again; if none was, somebody "
            "else initialised it: find out who first",
        )


def _requests(layout: VaultLayout, *, are_admins: bool) -> Iterator[Request]:
    """Yield what lets administrators in, or all the rest."""
    return (each for each in first_requests(layout) if (each[0] in _ADMINS_FIRST) is are_admins)


def _is_done(session: VaultSession, name: str, path: str, data: Mapping[str, Any]) -> bool:
    kind, _, called = name.partition("-")
    if kind == "mount":
        return f"{called}/" in (session.read("sys/mounts") or {})
    if kind == "root":
        return bool(session.list(f"{SERVICE_PKI if called == 'services' else MACHINE_PKI}/issuers"))
    try:
        found = session.read(path)
    except RefusedError:
        return False
    if found is None:
        return False
    if kind == "role":
        return role_digest(called, found) == digest_of(canonical_json(data).decode())
    return all(found.get(field) == value for field, value in data.items())
