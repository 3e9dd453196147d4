"""The whole of `tenant create`: what the cloud has of a tenant, then its hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mutx_infra.hardening import HostCare, HostsFailedError
from mutx_infra.host_records import Configured
from mutx_infra.onboarding import Outcome
from mutx_infra.ports import HostReporter
from mutx_infra.tenant import PLATFORM_ID


@dataclass(frozen=True, slots=True)
class Built:
    """What was built.

    Attributes:
        configured: what was done on the hosts; None where they were left alone.
        failure: some hosts did not come through: the stack stands all the same.
    """

    outcome: Outcome
    configured: Configured | None = None
    failure: HostsFailedError | None = None


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
    try:
        return Built(outcome, care().harden(tenant, report))
    except HostsFailedError as exc:
        return Built(outcome, exc.configured, exc)
