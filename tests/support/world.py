"""A cloud, stacks and spec files in memory, for the workflow's tests; each does what its port says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Network

from mutx_infra.archive import LogArchive
from mutx_infra.buckets import YEAR_DAYS
from mutx_infra.capacity import Capacity, Quota
from mutx_infra.changes import ChangeSet, Operation, ResourceChange
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment import Environment
from mutx_infra.errors import MutxInfraError
from mutx_infra.history import RETENTION_DAYS, History
from mutx_infra.naming import host_parameters
from mutx_infra.offboarding import Keeping
from mutx_infra.onboarding import Onboarding
from mutx_infra.plan import Allocation, TenantPlan
from mutx_infra.ports import Reporter
from mutx_infra.records import LogEvent, Owner, StoredObject, Tombstone
from mutx_infra.tailnet_ports import TailnetKeeper
from mutx_infra.tenant import TenantSpec
from mutx_infra.vault.checks import VaultChecks
from mutx_infra.verification import TenantFacts, expected_facts
from tests.support.registry import HandClock, MemoryJournal, MemoryRegistry
from tests.support.specs import ACCOUNT, an_owner

SETTLE = timedelta(minutes=10)
VPC = ResourceChange(operation=Operation.CREATE, kind="aws:ec2/vpc:Vpc", name="acme-vpc")


@dataclass
class MemoryCloud:
    """`ports.Cloud`: what the stacks made, plus what a test adds."""

    account: str = ACCOUNT
    networks: dict[str, TenantFacts] = field(default_factory=dict)
    foreign_blocks: tuple[IPv4Network, ...] = ()
    left: tuple[str, ...] = ()
    keys: dict[str, Tombstone] = field(default_factory=dict)
    limits: dict[Quota, float] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    logs: dict[str, list[LogEvent]] = field(default_factory=dict)

    def in_account(self, account: str) -> MemoryCloud:
        return self

    def account_id(self) -> str:
        return self.account

    def zones(self, region: str) -> tuple[str, ...]:
        return tuple(f"{region}{letter}" for letter in "abc")

    def capacity(self, plan: TenantPlan) -> Capacity:
        kinds = frozenset(host.instance_type for host in plan.hosts)
        return Capacity(
            limits=self.limits,
            used={},
            vcpus=dict.fromkeys(kinds, 2),
            offered=dict.fromkeys(plan.zones, kinds),
            images=frozenset(host.image_parameter for host in plan.hosts),
        )

    def blocks_in_use(self, region: str, *, besides: str) -> tuple[IPv4Network, ...]:
        return self.foreign_blocks

    def observe(self, plan: TenantPlan) -> TenantFacts:
        return self.networks.get(plan.tenant, TenantFacts())

    def clear_parameters(self, tenant: str, region: str) -> int:
        mine = [name for name in self.parameters if name.startswith(host_parameters(tenant))]
        self.parameters -= set(mine)
        return len(mine)

    def tombstones(self, tenant: str, region: str) -> tuple[Tombstone, ...]:
        return tuple(key for key in self.keys.values() if key.id.startswith(tenant))

    def log_groups(self, tenant: str, region: str) -> tuple[str, ...]:
        return tuple(name for name in self.logs if name.startswith(f"/mutx/{tenant}/"))

    def log_events(self, group: str, region: str) -> Iterator[LogEvent]:
        yield from sorted(self.logs.get(group, ()), key=lambda event: event.timestamp)

    def mark_tombstones(self, tenant: str, region: str, *, days: int) -> None:
        for key in self.tombstones(tenant, region):
            if not key.is_going:
                self.keys[key.id] = key.model_copy(update={"retained_until": f"in {days} days"})

    def residue(self, tenant: str, region: str) -> tuple[str, ...]:
        parameters = [
            f"parameter {name}" for name in self.parameters if name.startswith(host_parameters(tenant))
        ]
        return (*self.left, *([f"vpc of {tenant}"] if tenant in self.networks else []), *parameters)


@dataclass
class MemoryStacks:
    """`ports.Stacks`: applies by making the cloud show the plan's facts; `fails` lets the next operation fail.

    Attributes:
        calls: operations in order, with whether they refreshed.
        meanwhile: called inside an operation, as something that happens during it.
    """

    cloud: MemoryCloud
    calls: list[tuple[str, bool]] = field(default_factory=list)
    fails: list[BaseException] = field(default_factory=list)
    meanwhile: Callable[[], None] = field(default=lambda: None)
    replaced: tuple[str, ...] = ()
    waited_for: list[str] = field(default_factory=list)
    unlocked: list[str] = field(default_factory=list)

    def preview(self, plan: TenantPlan, *, refresh: bool) -> ChangeSet:
        self.calls.append(("preview", refresh))
        is_same = self.cloud.networks.get(plan.tenant) == expected_facts(plan)
        return ChangeSet(unchanged=1) if is_same else ChangeSet(changes=(VPC,))

    def apply(
        self, plan: TenantPlan, *, refresh: bool, report: Reporter, replace: tuple[str, ...] = ()
    ) -> ChangeSet:
        self.calls.append(("apply", refresh))
        self.replaced += replace
        self._happen()
        is_same = self.cloud.networks.get(plan.tenant) == expected_facts(plan)
        self.cloud.networks[plan.tenant] = expected_facts(plan)
        key = Tombstone(
            kind="KMS key", id=f"{plan.tenant}-1", purpose="vault", is_going=False, tenant=plan.tenant
        )
        self.cloud.keys.setdefault(key.id, key)
        for group in plan.log_groups:
            self.cloud.logs.setdefault(group.name, [])
        return ChangeSet(unchanged=1) if is_same else ChangeSet(changes=(VPC,))

    def destroy(self, plan: TenantPlan, *, report: Reporter) -> ChangeSet:
        self.calls.append(("destroy", True))
        self._happen()
        self.cloud.networks.pop(plan.tenant, None)
        for group in plan.log_groups:
            self.cloud.logs.pop(group.name, None)
        for key in self.cloud.tombstones(plan.tenant, plan.region):
            self.cloud.keys[key.id] = key.model_copy(update={"is_going": True})
        return ChangeSet()

    def end_writers(self, plan: TenantPlan, *, report: Reporter) -> ChangeSet:
        self.calls.append(("end_writers", True))
        self._happen()
        return ChangeSet()

    def outputs(self, tenant: str) -> dict[str, object]:
        return {"vpc_id": f"vpc-{tenant}"} if tenant in self.cloud.networks else {}

    def state(self, plan: TenantPlan) -> bytes | None:
        return b"{}" if plan.tenant in self.cloud.networks else None

    def unlock(self, plan: TenantPlan) -> None:
        self.unlocked.append(plan.tenant)

    def await_quiet(self, tenant: str) -> None:
        self.waited_for.append(tenant)

    @contextmanager
    def guard(self, silence_s: float) -> Iterator[Callable[[], None]]:
        yield lambda: None

    def _happen(self) -> None:
        self.meanwhile()
        if self.fails:
            raise self.fails.pop(0)


@dataclass
class MemoryObjects:
    """`ports.ObjectStore` in a dictionary.

    Attributes:
        covered: names over which somebody put something.
        unlocked: names that no lock holds.
        tags: the day of the lock by name, as `put_once` tags it.
        puts: names in the order in which they were written.
        meanwhile: called before each write, with its name.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    days: int | None = RETENTION_DAYS
    covered: set[str] = field(default_factory=set)
    unlocked: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    meanwhile: Callable[[str], None] = field(default=lambda _name: None)

    def put_once(self, name: str, content: bytes) -> bool:
        self.meanwhile(name)
        if name in self.objects:
            return False
        self.objects[name] = content
        self.puts.append(name)
        self.tags[name] = self._day
        return True

    def get(self, name: str, version: str = "") -> bytes | None:
        return self.objects.get(name)

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(name for name in self.objects if name.startswith(prefix))

    def stored(self, prefix: str) -> tuple[StoredObject, ...]:
        return tuple(StoredObject(name, "", name in self.covered) for name in sorted(self.names(prefix)))

    def locked(self, prefix: str, kind: str) -> tuple[Tombstone, ...]:
        if self.days is None:
            return ()
        return tuple(
            Tombstone(
                kind=kind,
                id=name,
                purpose=name.split("/")[-2],
                is_going=name not in self.unlocked,
                goes_at=None if name in self.unlocked else datetime.fromisoformat(f"{self._day}T00:00:00Z"),
                retained_until=self.tags.get(name),
                is_locked=name not in self.unlocked,
                tenant=name.partition("/")[0],
            )
            for name in sorted(self.names(prefix))
        )

    def mark(self, prefix: str) -> None:
        for name in self.names(prefix):
            self.tags[name] = self._day

    def retention_days(self) -> int | None:
        return self.days

    @property
    def _day(self) -> str:
        return (HandClock().now() + timedelta(days=self.days or 0)).date().isoformat()


@dataclass
class MemoryFiles:
    """`ports.SpecFiles`."""

    lock_file: Allocation | None = None
    beside: tuple[IPv4Network, ...] = ()

    def lock(self, allocation: Allocation, spec: TenantSpec, plan_digest: str) -> None:
        self.lock_file = allocation

    def blocks_beside(self) -> tuple[IPv4Network, ...]:
        return self.beside

    def locked(self) -> Allocation | None:
        return self.lock_file


@dataclass
class Listener:
    """`ports.Reporter` that keeps what it hears."""

    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, title: str, done: list[str]) -> Iterator[None]:
        self.steps.append(name)
        yield

    def resource(self, operation: str, kind: str, name: str, *, done: bool) -> None:
        raise AssertionError("the stacks in memory report no resources")

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class MemoryTailnet:
    """`TailnetDevices`: devices by name, with the tag of each; what refuses is raised at every question."""

    devices: dict[str, str] = field(default_factory=dict)
    refuses: MutxInfraError | None = None

    def left(self, tags: Collection[str]) -> tuple[str, ...]:
        if self.refuses is not None:
            raise self.refuses
        return tuple(name for name, tag in self.devices.items() if tag in tags)

    def remove(self, tags: Collection[str]) -> int:
        found = self.left(tags)
        for name in found:
            del self.devices[name]
        return len(found)


@dataclass
class World:
    """Everything around the workflow, and the workflow itself.

    Attributes:
        dead: pids whose processes are gone; of other hosts nothing is known.
    """

    environment: Environment
    clock: HandClock = field(default_factory=HandClock)
    cloud: MemoryCloud = field(default_factory=MemoryCloud)
    dead: set[int] = field(default_factory=set)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    archived: MemoryObjects = field(default_factory=lambda: MemoryObjects(days=YEAR_DAYS))
    keeps_logs: bool = True
    tailnet: MemoryTailnet | None = None
    keeper: TailnetKeeper | None = None
    vaults: VaultChecks = field(default_factory=VaultChecks)

    def __post_init__(self) -> None:
        self.registry, self.journal = MemoryRegistry(self.clock), MemoryJournal(self.clock)
        self.stacks = MemoryStacks(self.cloud)
        self.history = History(self.objects, self.registry)
        self.archive = LogArchive(self.archived, chunk_bytes=300)

    def onboarding(self, owner: Owner | None = None) -> Onboarding:
        """The workflow as one process runs it."""
        keeping = Keeping(self.history, self.archive if self.keeps_logs else None, SETTLE, self.clock)
        return Onboarding(
            self.environment, self.registry, self.journal, self.cloud, self.stacks,
            owner or an_owner(), self._is_alive, Chronicle(self.history, self.stacks.state, self.clock), keeping,
            self.tailnet, self.keeper, self.vaults,
        )  # fmt: skip

    def _is_alive(self, owner: Owner) -> bool | None:
        return owner.pid not in self.dead if owner.host == an_owner().host else None


def a_world() -> World:
    """An empty world whose environment is pinned to the account that the cloud is."""
    environment = Environment.model_validate(
        {
            "name": "test",
            "aws": {"account_id": ACCOUNT, "endpoint_url": "http://127.0.0.1:1"},
            "pulumi": {"backend_url": "file:///state", "passphrase_file": "/passphrase"},
            "registry": {"url": "sqlite:////registry.db"},
        }
    )
    return World(environment)
