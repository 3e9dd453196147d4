"""Hosts in memory: a configurer and an auditor that do what their ports say, and a listener to both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address

from mutx_infra.access import HostKey, HostTarget
from mutx_infra.evidence import Bundle, Check, Control, judge
from mutx_infra.host_records import Configured, HostChange, HostOutcome, HostState
from mutx_infra.inventory import Inventory
from mutx_infra.joining import JoinDocument, JoinReport
from mutx_infra.ports import HostReporter
from tests.support.world import Listener

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CONTROL = Control(id="ssh-02", title="Passwords are refused", requirements=("HOST-1",), remedy="harden")


def a_host(key: str = "agent-1", **fields: object) -> HostTarget:
    """A host as a stack's outputs name it, with what a test cares about changed."""
    given = {
        "tenant": "acme", "account": "123456789012", "region": "eu-west-1", "key": key, "instance": "i-1",
        "role": "agent", "private_ip": IPv4Address("10.0.1.4"), "on_tailnet": True, **fields,
    }  # fmt: skip
    return HostTarget.model_validate(given)


@dataclass
class HostListener(Listener):
    """`ports.HostReporter` that keeps what it hears."""

    tasks: list[tuple[str, str, int]] = field(default_factory=list)

    def task(self, host: str, task: str, *, changed: int) -> None:
        self.tasks.append((host, task, changed))


@dataclass
class MemoryMailbox:
    """`joining.JoinMailbox`: a host that is told to join has joined at once, unless it is `deaf`."""

    deaf: set[str] = field(default_factory=set)
    reports: dict[str, JoinReport] = field(default_factory=dict)

    def deliver(self, host: HostTarget, document: JoinDocument) -> None:
        if host.key not in self.deaf:
            self.reports[host.name] = JoinReport(
                tenant=host.tenant, host=host.key, instance=host.instance, host_key=f"ssh-ed25519 {'A' * 68}"
            )

    def report(self, host: HostTarget) -> JoinReport | None:
        return self.reports.get(host.name)

    def clear(self, host: HostTarget) -> None:
        self.reports.pop(host.name, None)


@dataclass
class MemoryKnownHosts:
    """`joining.KnownHosts`."""

    hosts: dict[str, dict[str, HostKey]] = field(default_factory=dict)

    def read(self, tenant: str) -> dict[str, HostKey]:
        return dict(self.hosts.get(tenant, {}))

    def write(self, tenant: str, keys: dict[str, HostKey]) -> None:
        self.hosts[tenant] = dict(keys)


@dataclass
class MemoryHosts:
    """`ports.HostConfigurer`: the first run changes each host once; `states` says which do not come through.

    Attributes:
        configured: hosts that are as the playbooks say.
        runs: the hosts of each run, with whether it was a check.
        meanwhile: called inside a run.
    """

    states: dict[str, HostState] = field(default_factory=dict)
    configured: set[str] = field(default_factory=set)
    runs: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)
    waited_for: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = field(default=lambda: None)

    def configure(self, inventory: Inventory, report: HostReporter, *, check: bool, diff: bool) -> Configured:
        self.runs.append((tuple(host.key for host in inventory.hosts), check))
        self.meanwhile()
        outcomes = tuple(self._outcome(host.name, host.key) for host in inventory.hosts)
        if not check:
            self.configured |= {outcome.host for outcome in outcomes if outcome.is_done}
        return Configured(hosts=outcomes, duration_s=1.0, artifacts="/runs/1.log")

    def await_quiet(self, tenant: str) -> None:
        self.waited_for.append(tenant)

    @contextmanager
    def guard(self, silence_s: float) -> Iterator[Callable[[], None]]:
        yield lambda: None

    def _outcome(self, name: str, key: str) -> HostOutcome:
        state = self.states.get(key, HostState.DONE)
        if state is not HostState.DONE:
            return HostOutcome(host=name, state=state, failed_task="Load rules", reason="no space left")
        changes = () if name in self.configured else (HostChange(task="Install sshd policy"),)
        return HostOutcome(host=name, state=state, tasks=10, changes=changes)


@dataclass
class MemoryAuditor:
    """`ports.HostAuditor`: one control, met by the hosts that are configured."""

    hosts: MemoryHosts

    def audit(self, inventory: Inventory, report: HostReporter) -> tuple[Check, ...]:
        return tuple(
            judge(
                CONTROL,
                host.name,
                seen="no" if host.name in self.hosts.configured else "yes",
                wanted="no",
                is_met=host.name in self.hosts.configured,
                started_at=NOON,
                ended_at=NOON,
            )
            for host in inventory.hosts
        )

    def unseen(self, inventory: Inventory, reason: str) -> tuple[Check, ...]:
        return tuple(
            judge(
                CONTROL, host.name, seen="", wanted="", is_met=None, started_at=NOON, ended_at=NOON,
                reason=reason,
            )
            for host in inventory.hosts
        )  # fmt: skip

    def tools(self) -> dict[str, str]:
        return {"memory": "1"}


@dataclass
class MemoryEvidence:
    """`ports.EvidenceStore`."""

    bundles: list[Bundle] = field(default_factory=list)

    def keep(self, bundle: Bundle) -> str:
        self.bundles.append(bundle)
        return f"/evidence/{len(self.bundles)}.json"
