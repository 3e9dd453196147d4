"""A tenant that stands, its hosts in memory, and the use cases over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network

from mutx_infra.chronicle import Chronicle
from mutx_infra.evidence import Waiver
from mutx_infra.hardening import HostCare
from mutx_infra.joining import FixedTailnet, Joining
from mutx_infra.plan import make_plan
from mutx_infra.records import TenantState
from tests.support.hosts import (
    HostListener,
    MemoryAuditor,
    MemoryEvidence,
    MemoryHosts,
    MemoryKnownHosts,
    MemoryMailbox,
)
from tests.support.specs import a_spec, an_owner, first_fit, outputs_of
from tests.support.world import World, a_world


@dataclass
class Yard:
    """A tenant that stands, and its hosts."""

    world: World = field(default_factory=a_world)
    hosts: MemoryHosts = field(default_factory=MemoryHosts)
    evidence: MemoryEvidence = field(default_factory=MemoryEvidence)
    listener: HostListener = field(default_factory=HostListener)
    waivers: tuple[Waiver, ...] = ()
    mailbox: MemoryMailbox = field(default_factory=MemoryMailbox)
    known: MemoryKnownHosts = field(default_factory=MemoryKnownHosts)

    def __post_init__(self) -> None:
        record = self.world.registry.reserve(a_spec(), first_fit(a_spec()))
        plan = make_plan(record.spec, record.allocation)
        self.world.registry.update("acme", state=TenantState.READY, outputs=outputs_of(plan))

    def care(self, pid: int = 4242) -> HostCare:
        world = self.world
        joining = Joining(
            self.mailbox,
            FixedTailnet(IPv4Network("100.64.0.0/10")),
            self.known,
            ("ssh-ed25519 AAAA",),
            world.clock,
        )
        return HostCare(
            world.environment, world.registry, world.journal, joining, self.hosts, MemoryAuditor(self.hosts),
            Chronicle(world.history, lambda _: None, world.clock), self.evidence, self.waivers, world.clock,
            an_owner(pid), lambda owner: owner.pid not in world.dead,
        )  # fmt: skip

    def harden(self, **options: object) -> object:
        return self.care().harden("acme", self.listener, **options)  # type: ignore[arg-type]
