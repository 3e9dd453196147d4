"""A tenant's Vault hosts by the playbook, sealed by a Vault that the tenant runs elsewhere in their network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from mutx_sandbox.machines.kernel import inside

from mutx_infra.adapters.ansible_inventory import literal
from mutx_infra.adapters.hvac_vault import HvacSession, HvacVault
from mutx_infra.adapters.vault_templates import policy_texts, render_server
from mutx_infra.byok import Product, TransitSeal
from mutx_infra.flows import Role
from mutx_infra.vault.hosts import VaultHost, VaultTerms, server_plan
from mutx_infra.vault.layout import TENANT_ADMIN, make_layout
from mutx_infra.vault.server import LOOPBACK
from mutx_infra.vault_ports import VaultAddress
from tests.support.authorities import Authority, make_authority
from tests.support.checkout import make_checkout
from tests.support.databases import as_root
from tests.support.machines import Hosts, Visitor
from tests.support.playbook import SSH_RULE, Outcome, Playbook
from tests.support.vault import RunningVault, leads
from tests.support.vault_people import seal_token

TRIAL, TENANT_ADDRESS = "10.63.255.0/24", "10.63.255.193"
T = TypeVar("T")


@dataclass(frozen=True)
class Nodes(Playbook):
    """The playbook on all of them, each with what the toolkit tells it."""

    told: dict[str, dict[str, Any]] = field(default_factory=dict)

    def _inventory(self, variables: dict[str, Any]) -> dict[str, Any]:
        groups = super()._inventory(variables)
        for name, more in self.told.items():
            groups[self.group]["hosts"][name].update(more)
        return groups


@dataclass(frozen=True)
class Tenant:
    """A tenant with hosts of its own, as seen from where it is.

    Attributes:
        place: in the network; its own Vault runs there.
        own: that Vault, whose key seals the other one.
        authority: of its administrators.
        platform: the platform's.
    """

    hosts: Hosts
    place: Visitor
    own: RunningVault
    authority: Authority
    platform: Authority
    machines: list[VaultHost]
    playbook: Nodes
    known_by: dict[str, str] = field(default_factory=dict)

    def converge(self) -> Outcome:
        done = self.playbook.run()
        assert done.status == 0, done.text
        return done

    def there(self, act: Callable[[], T]) -> T:
        return inside(self.place.place, act)

    def root(self, name: str, script: str) -> str:
        return as_root(self.hosts, script, name)

    def enter(self, machine: VaultHost) -> HvacSession:
        return self._vault(machine).login(self.authority.client(self.own.folder, "ann"), TENANT_ADMIN)

    def leader(self, within_s: float = 60) -> VaultHost:
        deadline = time.monotonic() + within_s
        while True:
            for machine in self.machines:
                if self.there(lambda machine=machine: leads(self._vault(machine))):
                    return machine
            assert time.monotonic() < deadline, "no node leads"
            time.sleep(0.2)

    def voters(self) -> set[str]:
        def ask() -> set[str]:
            session = self.enter(self.machines[0])
            servers = (session.read("sys/storage/raft/configuration") or {})["config"]["servers"]
            return {server["node_id"] for server in servers if server["voter"]}

        return self.there(ask)

    def _vault(self, machine: VaultHost) -> HvacVault:
        where = VaultAddress(f"https://{machine.address}:8200", "".join(self.known_by.values()))
        return HvacVault(where, timeout_s=3)


def seal_of(own: RunningVault) -> TransitSeal:
    """Return the tenant's key as its spec has it."""
    return TransitSeal(type="transit", address=own.url, key="acme", ca=own.server_ca.pem)


def make_tenant(
    hosts: Hosts, place: Visitor, own: RunningVault, folder: Path, names: tuple[str, ...], product: Product
) -> Tenant:
    machines = [
        VaultHost(name, f"vault-{n}", Role.VAULT, hosts.state(name).machine.wire.address)
        for n, name in enumerate(names, 1)
    ]
    authority, platform = make_authority("trial administrators"), make_authority("mutx platform")
    token = folder / "seal-token"
    token.write_text(inside(place.place, lambda: seal_token(own)))
    layout = make_layout("trial", policy_texts(), authority.pem, platform.pem, LOOPBACK)
    told = {
        machine.name: _told(
            machine,
            machines,
            VaultTerms(layout, seal_of(own), product=product),
            str(token),
            own.server_ca.pem,
        )
        for machine in machines
    }
    playbook = Nodes(hosts, names, folder, group="vault", told=told)
    return Tenant(hosts, place, own, authority, platform, machines, playbook)


def _told(
    machine: VaultHost, machines: list[VaultHost], terms: VaultTerms, token_file: str, seal_authority: str
) -> dict[str, Any]:
    """What the toolkit's inventory tells a node."""
    plan = server_plan(machine, machines, terms)
    assert plan is not None
    others: list[IPv4Address] = [other.address for other in machines if other != machine]
    rules = [(8200, TENANT_ADDRESS), *((port, str(other)) for other in others for port in (8200, 8201))]
    return {
        "mutx_role": "vault",
        "ufw_incoming_rules": [
            SSH_RULE,
            *({"port": port, "protocol": "tcp", "interface": None, "source": f"{source}/32", "comment": "Vault"}
              for port, source in rules),
        ],
        "vault_server_config": literal(render_server(plan)),
        "vault_names": [machine.name, "localhost", str(machine.address), "127.0.0.1"],
        "vault_url": plan.api_address,
        "vault_product": str(plan.product),
        "vault_awaits_tenant": plan.awaits_its_tenant,
        "vault_seal": "transit",
        "vault_seal_authority": seal_authority,
        "vault_seal_token_file": token_file,
    }  # fmt: skip


@contextmanager
def vault_hosts(scratch: Path, *names: str, product: Product = Product.OPENBAO) -> Iterator[Tenant]:
    """Yield a tenant whose hosts are up and not converged yet; its own Vault serves."""
    hosts = Hosts(make_checkout(scratch / "check out"))
    hosts.up(str(len(names)))
    place = hosts.visitor("tenant", "trial", TRIAL, f"{TENANT_ADDRESS}/24")
    with tempfile.TemporaryDirectory(prefix="own-") as name:
        own = RunningVault("tenants-own", Path(name), TENANT_ADDRESS)
        own.prepare()
        folder = scratch / "playbook"
        folder.mkdir()
        try:
            inside(place.place, own.start)
            yield make_tenant(hosts, place, own, folder, names, product)
        finally:
            own.stop()
            hosts.checkout.run("sandbox", "down")
