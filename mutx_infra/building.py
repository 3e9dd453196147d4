"""The whole of `tenant create`: what the cloud has of a tenant, then its hosts, then the Vault that is handed over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mutx_infra.access import entered_roles
from mutx_infra.errors import MutxInfraError
from mutx_infra.hardening import HostCare, HostsFailedError
from mutx_infra.host_records import Configured
from mutx_infra.onboarding import Outcome
from mutx_infra.ports import HostReporter
from mutx_infra.records import TenantRecord
from mutx_infra.tenant import PLATFORM_ID
from mutx_infra.vault.checks import needs_token

if TYPE_CHECKING:
    from mutx_infra.vault.custody import Custody
    from mutx_infra.vault.handed_out import HandedOut


@dataclass(frozen=True, slots=True)
class Built:
    """What was built.

    Attributes:
        configured: what was done on the hosts; None where they were left alone.
        handed: what the tenant is given to claim its Vault with; None where there is none, or nothing to claim.
        failure: some hosts did not come through, or the Vault did not: the stack stands all the same.
    """

    outcome: Outcome
    configured: Configured | None = None
    handed: HandedOut | None = None
    failure: MutxInfraError | None = None


def with_hosts(outcome: Outcome, care: Callable[[], HostCare] | None, report: HostReporter) -> Built:
    """Bring the hosts of a tenant whose stack stands up to the playbooks.

    That is a run, a lease and a history entry of its own. A command that dies in between leaves a tenant that is
    ready and hosts that are not; the next one looks at both.

    Args:
        outcome: of the stack.
        care: gives the use cases of hosts; None where hosts are to be left alone.
        report: told of each host and task.

    Raises:
        MutxInfraError: no host could be worked on; says which command goes on.
    """
    tenant = outcome.record.spec.id
    if care is None or tenant == PLATFORM_ID or not outcome.plan.hosts:
        return Built(outcome)
    entered = entered_roles(outcome.plan.flows, handed_over=outcome.record.is_handed_over)
    if not any(host.role in entered for host in outcome.plan.hosts):
        report.note(f"the hosts of {tenant} are left alone: hand-over closed them to the platform")
        return Built(outcome)
    try:
        return Built(outcome, care().harden(tenant, report))
    except HostsFailedError as exc:
        return Built(outcome, exc.configured, failure=exc)


def with_vault(
    built: Built,
    care: Callable[[], HostCare] | None,
    custody: Callable[[], Custody] | None,
    report: HostReporter,
) -> Built:
    """Hand over the Vault of a tenant whose hosts have come through, unless that was done and is not awaited.

    Args:
        built: with its hosts.
        care: gives the use cases of hosts.
        custody: gives those of Vaults; None where the profile does not say by what Vaults know the platform.
        report: told of each step.
    """
    record = built.outcome.record
    if record.spec.byok is None or record.is_handed_over:
        return built
    if built.configured is None or care is None or custody is None or needs_token(record):
        if record.vault is None:
            report.note(_why_not(record, has_authority=custody is not None))
        return built
    use_cases = custody()
    try:
        if built.failure is not None and not _waits_for_authorities(built, use_cases):
            return built
        handed = _collect_and_hand_over(record.spec.id, care(), use_cases, report)
    except MutxInfraError as exc:
        return replace(built, failure=exc)
    return replace(built, outcome=replace(built.outcome, record=handed.record), handed=handed, failure=None)


def bring_up_vault(tenant: str, care: HostCare, custody: Custody, report: HostReporter) -> HandedOut:
    """Bring up the hosts of a tenant's Vault and those that log in to it, and hand it over; safe to repeat.

    Raises:
        HostsFailedError: some of these hosts did not come through.
        RefusedError: the tenant brings nothing (`byok-missing`), or the Vault is its own (`vault-handed-over`).
        VerificationError: the Vault is not complete, or not as published.
    """
    nodes = custody.nodes(tenant)
    try:
        care.harden(tenant, report, hosts=(*nodes, *custody.clients(tenant)))
    except HostsFailedError as exc:
        if not _are_joining({host.host for host in exc.configured.failed}, nodes):
            raise
    return _collect_and_hand_over(tenant, care, custody, report)


def _why_not(record: TenantRecord, *, has_authority: bool) -> str:
    tenant = record.spec.id
    if not has_authority:
        return f"the Vault of {tenant} is not brought up: the profile names no authority for it (`vault`)"
    token = " --seal-token-file FILE" if needs_token(record) else ""
    return f"the Vault of {tenant} is not brought up yet: `mutx-infra vault init {tenant}{token}` does that"


def _collect_and_hand_over(tenant: str, care: HostCare, custody: Custody, report: HostReporter) -> HandedOut:
    """Tell hosts by what the Vault's nodes are known, where they were told otherwise so far; then hand it over."""
    nodes = custody.nodes(tenant)
    if custody.collect_authorities(tenant):
        if len(nodes) > 1:
            care.harden(tenant, report, hosts=nodes)
        care.harden(tenant, report, hosts=custody.clients(tenant))
    return custody.hand_over(tenant, report)


def _waits_for_authorities(built: Built, custody: Custody) -> bool:
    """Say whether all that failed is nodes that join another one, whose authority they were not told yet."""
    if not isinstance(built.failure, HostsFailedError):
        return False
    failed = {host.host for host in built.failure.configured.failed}
    return _are_joining(failed, custody.nodes(built.outcome.record.spec.id))


def _are_joining(failed: set[str], nodes: tuple[str, ...]) -> bool:
    return bool(failed) and failed <= set(nodes[1:])
