"""The platform's side of a tenant's Vault: looks at it once it is made, hands it over, takes down that it was claimed.

The Vault makes itself, or its tenant makes it; nobody of the platform's is given a root token. What the platform holds
is the way to its host, until the tenant claims it, and a certificate that may read its configuration there. Both end
with the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from mutx_infra.byok import Byok
from mutx_infra.changes import ChangeSet, Operation, ResourceChange
from mutx_infra.chronicle import Chronicle, Written
from mutx_infra.errors import RefusedError, VerificationError
from mutx_infra.flows import Role
from mutx_infra.inventory import Inventory, InventoryHost, make_inventory
from mutx_infra.leases import Leases
from mutx_infra.naming import host_name
from mutx_infra.plan import TenantPlan, make_plan
from mutx_infra.ports import Clock, Journal, Registry, Reporter
from mutx_infra.records import (
    STANDING,
    VAULT_KIND,
    Owner,
    RunKind,
    RunRecord,
    TenantRecord,
    TenantState,
    VaultRecord,
)
from mutx_infra.runs import InsideStep, closing, journaled_step
from mutx_infra.tailnet_ports import TailnetKeeper
from mutx_infra.vault.attestation import require_cluster
from mutx_infra.vault.checks import needs_token
from mutx_infra.vault.custody_ports import CustodyFiles, PlatformIdentity, Tools, VaultHosts
from mutx_infra.vault.handed_out import HandedOut
from mutx_infra.vault.handover import Handover, Machine
from mutx_infra.vault.hosts import MACHINE_ROLES
from mutx_infra.vault.inspection import Inspection
from mutx_infra.vault.layout import VaultLayout, make_layout
from mutx_infra.vault.places import MACHINE_REQUEST, OWN_AUTHORITY
from mutx_infra.vault.products import TRAITS
from mutx_infra.vault.server import API_PORT, LOOPBACK


@dataclass(frozen=True, slots=True)
class _Known:
    record: TenantRecord
    byok: Byok
    plan: TenantPlan
    inventory: Inventory

    @property
    def tenant(self) -> str:
        return self.plan.tenant

    @property
    def nodes(self) -> tuple[InventoryHost, ...]:
        return tuple(host for host in self.inventory.hosts if host.role is Role.VAULT)

    @property
    def clients(self) -> tuple[InventoryHost, ...]:
        return tuple(host for host in self.inventory.hosts if host.role in MACHINE_ROLES)


class Custody:
    """Use cases over the ports.

    Args:
        leases: one worker at a time.
        url_of: where the tenant's administrators reach a Vault host, over the tailnet.
        keeper: keeps the tailnet's policy; None where the profile names no tailnet.
    """

    def __init__(
        self, registry: Registry, journal: Journal, leases: Leases, chronicle: Chronicle, hosts: VaultHosts,
        identity: PlatformIdentity, files: CustodyFiles, tools: Tools, url_of: Callable[[InventoryHost], str],
        clock: Clock, owner: Owner, keeper: TailnetKeeper | None = None,
    ) -> None:  # fmt: skip
        self._registry, self._journal, self._leases, self._chronicle = registry, journal, leases, chronicle
        self._hosts, self._identity, self._files, self._tools = hosts, identity, files, tools
        self._url_of, self._clock, self._owner, self._keeper = url_of, clock, owner, keeper

    def nodes(self, tenant: str) -> tuple[str, ...]:
        """Return the names of the Vault's own hosts.

        Raises:
            RefusedError: no such tenant or stack, it brings nothing of its own (`byok-missing`), or the Vault is its
                tenant's already (`vault-handed-over`).
        """
        return tuple(host.name for host in self._known(tenant).nodes)

    def needs_token(self, tenant: str) -> bool:
        """Say whether the Vault cannot start before somebody brings the token for its key. Raises as `nodes`."""
        return needs_token(self._known(tenant).record)

    def clients(self, tenant: str) -> tuple[str, ...]:
        """Return the names of the hosts that log in to it. Raises as `nodes`."""
        return tuple(host.name for host in self._known(tenant).clients)

    def collect_authorities(self, tenant: str) -> bool:
        """Fetch the authorities by which the Vault's nodes are known; True where the hosts were told of others so far.

        Raises:
            VerificationError: a node has none: its playbook did not come through (code `vault-not-made`).
        """
        known = self._known(tenant)
        found = {node.name: self._authority_of(known, node) for node in known.nodes}
        if found == self._files.authorities(tenant):
            return False
        self._files.keep_authorities(tenant, found)
        return True

    def hand_over(self, tenant: str, report: Reporter) -> HandedOut:
        """Look at the Vault as it came up, and write what its tenant claims it with; safe to repeat until it does.

        Where the server does not make itself, what is written first is by what the tenant initialises it.

        Raises:
            VerificationError: it is not complete, or not as it was published (`vault-not-made`, `vault-differs`).
        """
        with self._leases.hold(tenant, "vault", report):
            known = self._known(tenant)
            with self._running(known) as (run, written):
                with journaled_step(
                    self._journal, run, "requests", "fetch the hosts' requests for certificates", report
                ) as done:
                    machines = tuple(self._machine(known, host) for host in known.clients)
                    waiting = tuple(machine.name for machine in machines if machine.request is None)
                    done.append(f"{len(machines) - len(waiting)} of {len(machines)} hosts have asked")
                with journaled_step(
                    self._journal, run, "look", "hold the Vault against what was published", report
                ) as done:
                    layout = self._layout(known)
                    inspection = self._inspection(known, layout)
                    if self._is_the_tenants_to_make(known, inspection):
                        done.append("it awaits its tenant, who initialises it")
                        handover = self._handover(known, layout, machines)
                        path = self._files.keep_handover(handover)
                        return HandedOut(handover, path, waiting, known.record, is_empty=True)
                    cluster = inspection.look()
                    done.append(f"{len(layout.policies)} policies, {len(layout.roles)} logins as published")
                handover = self._handover(known, layout, machines)
                path = self._files.keep_handover(handover)
                vault = known.record.vault
                if vault is None or vault.cluster != cluster:
                    vault = VaultRecord(cluster=cluster, made_at=self._clock.now())
                    written.changes = _changed(known, Operation.CREATE, f"cluster {cluster}")
                stands = known.record.state in STANDING
                record = self._registry.update(
                    tenant, state=TenantState.AWAITING_CLAIM if stands else None, vault=vault
                )
        return HandedOut(handover, path, waiting, record)

    def take_certificates(self, tenant: str, texts: Sequence[str]) -> tuple[str, ...]:
        """Keep what the tenant signed for its hosts, for the next run of the playbooks; returns the hosts' names.

        All are looked at before one is kept.

        Raises:
            RefusedError: nothing was handed over (`vault-not-handed-over`), or one is for no host's request
                (`certificate-other`).
        """
        self._known(tenant)
        handover = self._files.handover(tenant)
        if handover is None:
            raise _never_handed_over(tenant)
        found: dict[str, str] = {}
        for number, text in enumerate(texts, 1):
            host = next(
                (m.name for m in handover.machines if m.request and self._tools.matches(text, m.request)),
                None,
            )
            if host is None:
                raise RefusedError(
                    f"certificate {number} of {len(texts)} is for no request of a host of {tenant}",
                    code="certificate-other",
                    remedy="give what `vault enroll` wrote for this tenant's hosts; a host that was made anew asks "
                    f"anew: `mutx-infra vault init {tenant}` writes the file that the tenant enrolls it by",
                )
            found[host] = text
        for host, text in found.items():
            self._files.keep_certificate(tenant, host, text)
        return tuple(sorted(found))

    def take_claim(self, tenant: str, text: str, report: Reporter) -> TenantRecord:
        """Take down that the tenant claimed its Vault; from then on the platform has no way to its hosts.

        Safe to repeat: whatever was not done the first time is done then.

        Raises:
            RefusedError: the Vault was never handed over (`vault-not-handed-over`), or the receipt is of no use
                (`receipt-*`).
        """
        with self._leases.hold(tenant, "vault", report):
            known = self._known(tenant, may_be_handed_over=True)
            vault = known.record.vault
            if vault is None:
                raise _never_handed_over(tenant)
            receipt = self._tools.check_receipt(text, known.byok.admin_ca, tenant, "vault-claim")
            require_cluster(receipt, vault)
            with self._running(known) as (run, written):
                with journaled_step(
                    self._journal, run, "hand-over", "take down that the tenant claimed it", report
                ) as done:
                    digest = sha256(text.encode()).hexdigest()
                    if not known.record.is_handed_over:
                        self._files.keep_receipt(tenant, "claim", text)
                        written.changes = _changed(
                            known, Operation.UPDATE, f"claimed at {receipt.at.isoformat()}, receipt {digest}"
                        )
                        self._hand_over(known.record, vault)
                    done.append(f"claimed at {receipt.at:%Y-%m-%d %H:%M} UTC, receipt {digest[:12]}")
                if self._keeper is not None:
                    with journaled_step(
                        self._journal, run, "tailnet", "close the platform's way in over the tailnet", report
                    ) as done:
                        done.append(self._keeper.follow(InsideStep(report)))
            return self._require(tenant)

    def _hand_over(self, record: TenantRecord, vault: VaultRecord) -> None:
        awaited = record.state is TenantState.AWAITING_CLAIM
        self._registry.update(
            record.spec.id,
            state=TenantState.READY if awaited else None,
            vault=vault.model_copy(update={"handed_over_at": self._clock.now()}),
        )

    def _known(self, tenant: str, *, may_be_handed_over: bool = False) -> _Known:
        record = self._require(tenant)
        if record.spec.byok is None:
            raise RefusedError(
                f"{tenant} has no Vault: its spec has no `byok`",
                code="byok-missing",
                remedy=f"add what the tenant brings to its spec, then `mutx-infra tenant create {tenant}`",
            )
        if record.is_handed_over and not may_be_handed_over:
            raise RefusedError(
                f"the Vault of {tenant} is its tenant's since {record.handed_over_at:%Y-%m-%d %H:%M} UTC",
                code="vault-handed-over",
                remedy="nothing is left to do for the platform; the tenant checks it with `mutx-vault-verify`",
            )
        plan = make_plan(record.spec, record.allocation)
        inventory = make_inventory(plan, record.outputs, handed_over=record.is_handed_over)
        return _Known(record, record.spec.byok, plan, inventory)

    def _require(self, tenant: str) -> TenantRecord:
        record = self._registry.tenant(tenant)
        if record is None:
            raise RefusedError(
                f"there is no tenant {tenant}",
                code="tenant-unknown",
                remedy="`mutx-infra tenant list` shows the tenants",
            )
        return record

    @contextmanager
    def _running(self, known: _Known) -> Iterator[tuple[RunRecord, Written]]:
        last = self._journal.last_run(known.tenant)
        self._chronicle.close_interrupted(last, known.record, known.plan)
        run = self._journal.begin(known.tenant, RunKind.VAULT, known.plan.digest, self._owner)
        record = known.record
        with (
            closing(self._journal, run),
            self._chronicle.writing(run, record.spec, record.allocation, known.plan) as written,
        ):
            yield run, written

    def _authority_of(self, known: _Known, node: InventoryHost) -> str:
        text = (self._hosts.read(known.inventory, node, OWN_AUTHORITY) or "").strip()
        if not text:
            raise VerificationError(
                f"{node.name} has made no authority for its Vault",
                code="vault-not-made",
                remedy=f"run `mutx-infra vault init {known.tenant}`, which has the playbooks make it",
            )
        return f"{text}\n"

    def _known_by(self, known: _Known) -> str:
        """Return the authorities of all nodes in one text."""
        return "".join(text for _, text in sorted(self._files.authorities(known.tenant).items()))

    def _request(self, known: _Known, host: InventoryHost) -> str | None:
        """Return a host's request as it was handed over, or as it lies there; it is public."""
        text = self._hosts.read(known.inventory, host, MACHINE_REQUEST)
        if text is None:
            return None
        asked = self._tools.read_request(text)
        if asked.common_names != (host.name,):
            raise VerificationError(
                f"{host.name} asks for a certificate of {', '.join(asked.common_names) or 'nobody'}",
                code="request-other",
                remedy="find out who wrote it: a host asks for its own name alone; then have the host made anew",
            )
        return text

    def _machine(self, known: _Known, host: InventoryHost) -> Machine:
        return Machine(
            name=host.name,
            key=host.key,
            role=str(host.role),
            address=host.target.private_ip,
            request=self._request(known, host),
        )

    def _layout(self, known: _Known) -> VaultLayout:
        return make_layout(
            known.tenant, self._tools.policies(), known.byok.admin_ca, self._identity.certificate(), LOOPBACK
        )

    def _is_the_tenants_to_make(self, known: _Known, inspection: Inspection) -> bool:
        """Say whether the Vault is still to be made by its tenant; one that was handed over is not empty again."""
        if TRAITS[known.byok.server].makes_itself or known.record.vault is not None:
            return False
        return inspection.awaits_its_tenant()

    def _inspection(self, known: _Known, layout: VaultLayout) -> Inspection:
        return Inspection(
            self._hosts,
            self._identity,
            self._tools,
            known.inventory,
            known.nodes,
            self._known_by(known),
            layout,
            known.byok.seal,
        )

    def _handover(self, known: _Known, layout: VaultLayout, machines: tuple[Machine, ...]) -> Handover:
        node = known.nodes[0]
        url = self._url_of(node)
        return Handover(
            tenant=known.tenant,
            url=url,
            server_name=None if url == f"https://{node.name}:{API_PORT}" else node.name,
            authority=self._known_by(known),
            admin_ca=known.byok.admin_ca,
            seal=known.byok.seal.type,
            sealed_by=known.byok.seal,
            release=self._tools.release,
            digests=layout.digests(),
            machines=machines,
            product=known.byok.server,
            platform_ca=None if TRAITS[known.byok.server].makes_itself else self._identity.certificate(),
        )


def _changed(known: _Known, operation: Operation, said: str) -> ChangeSet:
    name = host_name(known.tenant, str(Role.VAULT))
    return ChangeSet(
        changes=(ResourceChange(operation=operation, kind=VAULT_KIND, name=name, fields=(said,)),)
    )


def _never_handed_over(tenant: str) -> RefusedError:
    return RefusedError(
        f"the Vault of {tenant} was never handed over",
        code="vault-not-handed-over",
        remedy=f"run `mutx-infra vault init {tenant}` first; its tenant claims and enrolls by what that writes",
    )
