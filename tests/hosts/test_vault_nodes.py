"""Three Vault hosts by the playbook, sealed by a key in a Vault that the tenant runs elsewhere: on real machines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mutx_sandbox.machines.kernel import inside

from mutx_infra.adapters.ansible_inventory import literal
from mutx_infra.adapters.hvac_vault import HvacSession, HvacVault
from mutx_infra.adapters.vault_templates import policy_texts, render_server
from mutx_infra.byok import TransitSeal
from mutx_infra.errors import MutxInfraError
from mutx_infra.flows import Role
from mutx_infra.vault.hosts import VaultHost, VaultTerms, server_plan
from mutx_infra.vault.layout import TENANT_ADMIN, make_layout
from mutx_infra.vault.places import OWN_AUTHORITY
from mutx_infra.vault.server import LOOPBACK
from mutx_infra.vault_ports import VaultAddress
from tests.support.authorities import Authority, make_authority
from tests.support.checkout import make_checkout
from tests.support.databases import as_root
from tests.support.machines import Hosts, Visitor
from tests.support.playbook import SSH_RULE, Outcome, Playbook
from tests.support.vault import RunningVault
from tests.support.vault_machine import deposit
from tests.support.vault_people import seal_token

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

NAMES = ("trial-1", "trial-2", "trial-3")
TRIAL, TENANT_ADDRESS = "10.63.255.0/24", "10.63.255.193"
KEY = "byok/data/shared/openai"
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
    """

    hosts: Hosts
    place: Visitor
    own: RunningVault
    authority: Authority
    machines: list[VaultHost]
    playbook: Nodes
    known_by: dict[str, str] = field(default_factory=dict)

    def there(self, act: Callable[[], T]) -> T:
        return inside(self.place.place, act)

    def root(self, name: str, script: str) -> str:
        return as_root(self.hosts, script, name)

    def enter(self, machine: VaultHost) -> HvacSession:
        vault = HvacVault(
            VaultAddress(f"https://{machine.address}:8200", "".join(self.known_by.values())), timeout_s=3
        )
        return vault.login(self.authority.client(self.own.folder, "ann"), TENANT_ADMIN)

    def leader(self, within_s: float = 60) -> VaultHost:
        deadline = time.monotonic() + within_s
        while True:
            for machine in self.machines:
                if self.there(lambda machine=machine: self._leads(machine)):
                    return machine
            assert time.monotonic() < deadline, "no node leads"
            time.sleep(0.2)

    def voters(self) -> set[str]:
        def ask() -> set[str]:
            session = self.enter(self.machines[0])
            servers = (session.read("sys/storage/raft/configuration") or {})["config"]["servers"]
            return {server["node_id"] for server in servers if server["voter"]}

        return self.there(ask)

    def _leads(self, machine: VaultHost) -> bool:
        vault = HvacVault(
            VaultAddress(f"https://{machine.address}:8200", "".join(self.known_by.values())), timeout_s=3
        )
        try:
            health = vault.health()
        except MutxInfraError:
            return False
        return health.is_initialized and not health.is_sealed and not health.is_standby


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    hosts = Hosts(make_checkout(tmp_path_factory.mktemp("nodes") / "check out"))
    hosts.up(str(len(NAMES)))
    place = hosts.visitor("tenant", "trial", TRIAL, f"{TENANT_ADDRESS}/24")
    with tempfile.TemporaryDirectory(prefix="own-") as name:
        own = RunningVault("tenants-own", Path(name), TENANT_ADDRESS)
        own.prepare()
        try:
            inside(place.place, own.start)
            yield make_tenant(hosts, place, own, tmp_path_factory.mktemp("playbook"))
        finally:
            own.stop()
            hosts.checkout.run("sandbox", "down")


def make_tenant(hosts: Hosts, place: Visitor, own: RunningVault, folder: Path) -> Tenant:
    machines = [
        VaultHost(name, f"vault-{n}", Role.VAULT, hosts.state(name).machine.wire.address)
        for n, name in enumerate(NAMES, 1)
    ]
    authority, platform = make_authority("trial administrators"), make_authority("mutx platform")
    token = folder / "seal-token"
    token.write_text(inside(place.place, lambda: seal_token(own)))
    seal = TransitSeal(type="transit", address=own.url, key="acme", ca=own.server_ca.pem)
    layout = make_layout("trial", policy_texts(), authority.pem, platform.pem, LOOPBACK)
    told = {
        machine.name: _told(machine, machines, VaultTerms(layout, seal), str(token), own.server_ca.pem)
        for machine in machines
    }
    playbook = Nodes(hosts, NAMES, folder, group="vault", told=told)
    return Tenant(hosts, place, own, authority, machines, playbook)


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
        "vault_seal": "transit",
        "vault_seal_authority": seal_authority,
        "vault_seal_token_file": token_file,
    }  # fmt: skip


def run(tenant: Tenant) -> Outcome:
    done = tenant.playbook.run()
    assert done.status == 0, done.text
    return done


@pytest.fixture(scope="module")
def standing(tenant: Tenant) -> Tenant:
    """Twice, as `vault init` does it: once the hosts have made their authorities, each is told of the others."""
    first = run(tenant)
    assert "[vault-waits]" in first.text
    tenant.known_by.update({name: tenant.root(name, f"cat {OWN_AUTHORITY}") + "\n" for name in NAMES})
    for name in NAMES:
        tenant.playbook.told[name]["vault_peer_authorities"] = [
            text for other, text in tenant.known_by.items() if other != name
        ]
    run(tenant)
    return tenant


def test_all_three_are_one_vault_and_a_further_run_changes_nothing(standing: Tenant) -> None:
    deadline = time.monotonic() + 60
    while standing.voters() != set(NAMES):
        assert time.monotonic() < deadline, standing.voters()
        time.sleep(0.5)

    again = run(standing)

    assert again.changed() == dict.fromkeys(NAMES, 0)


def test_a_lost_leader_loses_nothing_and_comes_back(standing: Tenant) -> None:
    leader = standing.leader()
    standing.there(lambda: deposit(standing.enter(leader), KEY, "sk-before"))

    standing.root(leader.name, "systemctl kill -s KILL openbao; systemctl stop openbao")
    after = standing.leader()
    held = standing.there(lambda: standing.enter(after).read(KEY))
    standing.there(lambda: deposit(standing.enter(after), KEY, "sk-after"))
    standing.root(leader.name, "systemctl start openbao; /usr/libexec/mutx/mutx-vault wait 60")
    late = standing.there(lambda: standing.enter(leader).read(KEY))

    assert after.name != leader.name
    assert held is not None
    assert late is not None
    assert (held["data"]["value"], late["data"]["value"]) == ("sk-before", "sk-after")


def test_it_stays_closed_while_the_tenant_s_own_vault_is_away(standing: Tenant) -> None:
    name = standing.leader().name
    standing.own.stop()
    standing.root(name, "systemctl restart --no-block openbao; sleep 8")
    closed = standing.root(name, "/usr/libexec/mutx/mutx-vault wait 1 2>&1 || true")

    standing.there(standing.own.start)
    standing.root(name, "/usr/libexec/mutx/mutx-vault wait 120")

    assert "not there after 1 s" in closed
    assert standing.there(lambda: standing.enter(standing.leader()).read(KEY)) is not None


def test_a_seal_without_its_token_is_named(standing: Tenant) -> None:
    name = NAMES[2]
    standing.root(
        name, "mv /etc/openbao/seal-token /root/seal-token; systemctl restart --no-block openbao; sleep 4"
    )
    said = standing.root(name, "journalctl -u openbao -n 20 -o cat --no-pager")

    standing.root(name, "mv /root/seal-token /etc/openbao/seal-token; /usr/libexec/mutx/mutx-vault wait 120")

    assert "/etc/openbao/seal-token holds no token" in said
