"""A policy file and a stack of the tailnet in memory, and the writer over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mutx_infra.changes import ChangeSet, Operation, ResourceChange
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import MutxInfraError
from mutx_infra.history import History
from mutx_infra.leases import Leases
from mutx_infra.ports import ProgressWatcher, Reporter
from mutx_infra.tailnet.access import TailnetAccess
from mutx_infra.tailnet.difference import PolicyChange
from mutx_infra.tailnet.plan import TailnetPlan
from mutx_infra.tailnet.writer import TailnetWriter
from mutx_infra.tailnet_ports import UNTOUCHED, LivePolicy, Recorded
from mutx_infra.tenant import TenantSpec
from tests.support.registry import HandClock, MemoryJournal, MemoryRegistry
from tests.support.specs import a_spec, an_allocation
from tests.support.world import MemoryObjects, an_owner

OPEN = '{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}'


@dataclass
class MemoryPolicyFile:
    """`PolicyFile`.

    Attributes:
        before_replace: called before each replacement, as somebody who writes meanwhile; then taken away.
        refuses: raised at every validation.
        garbles: what is put in force is something else.
    """

    text: str = OPEN
    version: str = UNTOUCHED
    written: list[str] = field(default_factory=list)
    validated: list[str] = field(default_factory=list)
    before_replace: list[Callable[[], None]] = field(default_factory=list)
    refuses: MutxInfraError | None = None
    garbles: bool = False

    def live(self) -> LivePolicy:
        return LivePolicy(self.text, self.version)

    def readable(self) -> str:
        return self.text

    def validate(self, text: str) -> None:
        self.validated.append(text)
        if self.refuses is not None:
            raise self.refuses

    def replace(self, text: str, seen: str) -> bool:
        if self.before_replace:
            self.before_replace.pop(0)()
        if seen != self.version:
            return False
        self.put(OPEN if self.garbles else text)
        self.written.append(text)
        return True

    def put(self, text: str) -> None:
        """Put a policy in force, as anybody may."""
        self.text = text
        self.version = f"{len(self.written)}-{hash(text)}"


@dataclass
class MemoryTailnetStack:
    """`TailnetStack` over that file; with `fails` it dies before it records anything."""

    file: MemoryPolicyFile
    known: Recorded | None = None
    plans: list[TailnetPlan] = field(default_factory=list)
    fails: MutxInfraError | None = None

    @contextmanager
    def guard(self, silence_s: float) -> Iterator[Callable[[], None]]:
        del silence_s
        yield lambda: None

    def await_quiet(self, tenant: str) -> None:
        del tenant

    def recorded(self) -> Recorded | None:
        return self.known

    def state(self) -> bytes | None:
        return None if self.known is None else self.known.policy.encode()

    def preview(self, plan: TailnetPlan) -> ChangeSet:
        assert plan.policy == self.file.text, "a preview asks about all but the policy"
        return self._changes(plan)

    def _changes(self, plan: TailnetPlan) -> ChangeSet:
        if self.known is not None and self.known.plan_digest == plan.digest:
            return ChangeSet(unchanged=3)
        change = ResourceChange(
            operation=Operation.UPDATE,
            kind="tailscale:index/tailnetSettings:TailnetSettings",
            name="settings",
        )
        return ChangeSet(changes=(change,))

    def apply(self, plan: TailnetPlan, watch: ProgressWatcher) -> ChangeSet:
        del watch
        if self.fails is not None:
            raise self.fails
        changes = self._changes(plan)
        self.plans.append(plan)
        self.known = Recorded(plan.policy, plan.digest)
        return changes


class TailnetWorld:
    """A registry with tenants, and everything around the writer."""

    def __init__(self, *tenants: str) -> None:
        self.clock = HandClock()
        self.registry, self.journal = MemoryRegistry(self.clock), MemoryJournal(self.clock)
        self.history = History(MemoryObjects(), self.registry)
        self.file = MemoryPolicyFile()
        self.stack = MemoryTailnetStack(self.file)
        self.tailnet = Tailnet(name="example.com", operators=("alice@mutx.dev",))
        for tenant in tenants:
            self.add(tenant)

    def add(self, tenant: str) -> None:
        """Register a tenant."""
        spec = a_spec(tenant)
        block = f"10.0.{len(self.registry.tenants())}.0/24"
        self.registry.reserve(spec, lambda _: an_allocation(spec, block))

    def writer(self) -> TailnetWriter:
        """Return the writer as one process has it."""
        return TailnetWriter(
            TailnetAccess(self.registry, self.tailnet), self.tailnet, self.file, self.stack, self.journal,
            Leases(self.registry, self.stack, an_owner(), lambda _: True),
            Chronicle(self.history, lambda _: None, self.clock), self.clock, an_owner(),
        )  # fmt: skip

    def wanted(self) -> str:
        """Return the policy that the registry asks for now."""
        return TailnetAccess(self.registry, self.tailnet).wanted().policy.text()


@dataclass
class MemoryKeeper:
    """`TailnetKeeper` over a registry: what was asked for is in force at once.

    Attributes:
        in_force: the policies, the newest last.
    """

    registry: MemoryRegistry
    in_force: list[str] = field(default_factory=list)

    def foresee(self, spec: TenantSpec) -> PolicyChange:
        return self._access().foreseen(spec)

    def follow(self, report: Reporter) -> str:
        del report
        self.in_force.append(self._access().wanted().policy.text())
        return "the tailnet is up to the registry"

    def _access(self) -> TailnetAccess:
        return TailnetAccess(self.registry, Tailnet(name="example.com"))
