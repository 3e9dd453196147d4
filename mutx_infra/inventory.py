"""Stack outputs → the hosts that the playbooks configure: who they are, how they are reached, what they may accept.

Pure. `mutx-infra hosts inventory` prints what it returns, so that plain `ansible-playbook` and the compliance suites
work on the same hosts in a pipeline that has no toolkit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from pydantic import BaseModel, ConfigDict

from mutx_infra.access import CONVERGE_ACCOUNT, SSH_PORT, HostTarget, targets_of
from mutx_infra.byok import TransitSeal
from mutx_infra.errors import RefusedError
from mutx_infra.flows import POSTGRESQL_PORT, Role
from mutx_infra.guard_hosts import (
    GUARD_ACCOUNTS,
    JUDGE_ACCOUNT,
    JUDGE_UID,
    GuardTerms,
    egress_rules,
    guard_of,
    guard_variables,
    runs_judge,
    shared_state,
    shared_state_rules,
    way_out_by,
)
from mutx_infra.host_firewall import (
    HostRule,
    incoming_rules,
    outgoing_rules,
    partner_roles,
    program_rules,
)
from mutx_infra.naming import host_name
from mutx_infra.plan import TenantPlan
from mutx_infra.vault.agent import AgentPlan
from mutx_infra.vault.hosts import VaultHost, VaultTerms, agent_plan, server_plan
from mutx_infra.vault.places import AGENT_SECRETS, CLIENT_AUTHORITY
from mutx_infra.vault.server import ServerPlan
from mutx_infra.way_out import PROXY_PORT, ProxyClient, proxy_clients, way_out

AGENT_UID = 960
"""Number of the account that agents run under; the host firewall knows their packets by it."""


_PROVIDER_KEY = f"{AGENT_SECRETS}/{{{{ agent_runtime_provider | default('provider', true) | upper }}}}_KEY"
"""The file of the provider that the agent was given: Ansible fills it in."""


class InventoryHost(BaseModel):
    """One host as the playbooks see it.

    Attributes:
        target: who it is and how SSH reaches it.
        forwards_to: addresses that SSH may be forwarded to from here, for the hosts that are reached through it.
        way_out: the environment of programs that leave it; empty where they leave directly.
        proxy_clients: where it is the way out: for whom, and to what.
        incoming: what it accepts.
        outgoing: where it may connect to.
        partners: the hosts that its own program exchanges packets with, addresses by name.
        program: where its own program may connect to.
        guards: of the tenant, names by key, where it is an agent's host, or the database host that they share state by.
        databases: of the tenant, names by key, where it is a guard that shares state with others.
        agents: of the tenant, names by key, where it is a guard.
        guard_terms: of the tenant.
        vault_server: the node of the tenant's Vault that it runs; None where it runs none.
        vault_agent: how it logs in to the tenant's Vault; None where it does not.
        vault_terms: the tenant's terms, where it has to do with the Vault at all.
    """

    model_config = ConfigDict(frozen=True)

    target: HostTarget
    zone: str
    forwards_to: tuple[IPv4Address, ...] = ()
    way_out: dict[str, str] = {}
    proxy_clients: tuple[ProxyClient, ...] = ()
    incoming: tuple[HostRule, ...]
    outgoing: tuple[HostRule, ...]
    partners: dict[str, IPv4Address] = {}
    program: tuple[HostRule, ...] = ()
    guards: dict[str, str] = {}
    databases: dict[str, str] = {}
    agents: dict[str, str] = {}
    guard_terms: GuardTerms = GuardTerms()
    vault_server: ServerPlan | None = None
    vault_agent: AgentPlan | None = None
    vault_terms: VaultTerms | None = None

    @property
    def name(self) -> str:
        """Unique among all tenants; SSH, the tailnet and the host itself know it by it."""
        return self.target.name

    @property
    def key(self) -> str:
        """`<role>-<number>`, unique in the tenant."""
        return self.target.key

    @property
    def role(self) -> Role:
        """What it is for."""
        return Role(self.target.role)

    @property
    def group(self) -> str:
        """The inventory group of its role; Ansible takes no dash in a group's name."""
        return self.target.role.replace("-", "_")

    @property
    def jump(self) -> str | None:
        """Name of the host that SSH goes through; None where the tailnet leads there."""
        return host_name(self.target.tenant, self.target.jump) if self.target.jump else None


class Inventory(BaseModel):
    """Hosts of one tenant, by key.

    Attributes:
        ways: how SSH reaches every host of the tenant, also where `hosts` are some of them: one may lead to another.
    """

    model_config = ConfigDict(frozen=True)

    tenant: str
    hosts: tuple[InventoryHost, ...]
    ways: tuple[HostTarget, ...]

    def host(self, name: str) -> InventoryHost:
        """Return a host by its name or its key.

        Raises:
            RefusedError: the tenant has none of that name.
        """
        for host in self.hosts:
            if name in {host.name, host.key}:
                return host
        raise RefusedError(
            f"{self.tenant} has no host {name}",
            code="host-unknown",
            remedy=f"its hosts are {', '.join(host.key for host in self.hosts)}",
        )

    def only(self, names: tuple[str, ...]) -> Inventory:
        """Return the same with the named hosts alone; all of them where none is named."""
        if not names:
            return self
        chosen = {self.host(name).name for name in names}
        return self.model_copy(update={"hosts": tuple(h for h in self.hosts if h.name in chosen)})


def make_inventory(
    plan: TenantPlan,
    outputs: Mapping[str, Any],
    *,
    handed_over: bool = False,
    coordination: Sequence[str] = (),
    vault: VaultTerms | None = None,
    guard: GuardTerms | None = None,
) -> Inventory:
    """Return the inventory of a tenant whose stack has these outputs.

    Args:
        plan: the tenant's.
        outputs: of its stack.
        handed_over: True once the tenant has taken over.
        coordination: places at which hosts of the tailnet find its server; a sandbox has some.
        vault: the tenant's terms for its Vault; None leaves hosts without one.
        guard: the tenant's terms for its guards.

    Raises:
        RefusedError: the outputs lack a host of the plan (code `hosts-not-made`): the stack is older than the plan.
    """
    made: Mapping[str, Mapping[str, str]] = outputs.get("hosts") or {}
    if missing := [host.key for host in plan.hosts if host.key not in made]:
        raise RefusedError(
            f"the stack of {plan.tenant} has no host {', '.join(missing)} yet",
            code="hosts-not-made",
            remedy=f"run `mutx-infra tenant create {plan.tenant}` first",
        )
    known = {host.key: host for host in plan.hosts}
    targets = [target for target in targets_of(plan.tenant, outputs, plan.flows) if target.key in known]
    addresses = {
        role: tuple(t.private_ip for t in targets if t.role == role)
        for role in {Role(t.role) for t in targets}
    }
    names = {
        role: {t.key: t.name for t in targets if Role(t.role) is role}
        for role in (Role.GUARD, Role.AGENT, Role.DATABASE)
    }
    share = any(flow.several_guards_only for flow in plan.flows)
    hears_of_guards = {Role.AGENT, Role.DATABASE} if share else {Role.AGENT}
    seen = [VaultHost(t.name, t.key, Role(t.role), t.private_ip) for t in targets]
    return Inventory(
        tenant=plan.tenant,
        ways=tuple(targets),
        hosts=tuple(
            InventoryHost(
                target=target,
                zone=known[target.key].zone,
                forwards_to=tuple(t.private_ip for t in targets if t.jump == target.key),
                way_out=way_out(plan, Role(target.role)),
                proxy_clients=proxy_clients(plan) if Role(target.role) is Role.MGMT else (),
                incoming=incoming_rules(plan, Role(target.role), handed_over=handed_over),
                outgoing=outgoing_rules(plan, Role(target.role), coordination),
                partners={
                    t.name: t.private_ip for t in targets if t.role in partner_roles(plan, Role(target.role))
                },
                program=program_rules(plan, Role(target.role), addresses),
                guards=names[Role.GUARD] if Role(target.role) in hears_of_guards else {},
                databases=names[Role.DATABASE] if share and Role(target.role) is Role.GUARD else {},
                agents=names[Role.AGENT] if Role(target.role) is Role.GUARD else {},
                guard_terms=guard or GuardTerms(),
                vault_server=server_plan(one, seen, vault) if vault else None,
                vault_agent=agent_plan(one, seen, agent_group=AGENT_UID) if vault else None,
                vault_terms=vault,
            )
            for target, one in zip(targets, seen, strict=True)
        ),
    )


def variables_of(host: InventoryHost, tenant: str) -> dict[str, object]:
    """Return what the roles are told about one host, by the names of their variables."""
    return {
        "mutx_tenant": tenant,
        "mutx_role": str(host.role),
        "mutx_host": host.key,
        "ufw_incoming_rules": [_incoming(rule) for rule in host.incoming],
        "ufw_outgoing_policy": "deny",
        "ufw_outgoing_rules": [_outgoing(rule) for rule in host.outgoing],
        "sshd_allow_groups": [CONVERGE_ACCOUNT],
        "sshd_permit_open": [
            *(f"{address}:{SSH_PORT}" for address in host.forwards_to),
            # By which the platform looks at a new Vault, before it hands it over; SSH to that host ends with the claim.
            *([f"127.0.0.1:{host.vault_server.api_port}"] if host.vault_server else []),
        ],
        **(_of_a_way_out(host) if host.proxy_clients else {}),
        **(_by_the_way_out(host) if host.way_out else {}),
        **(_of_an_agent(host) if host.role is Role.AGENT else {}),
        **(_of_a_guard(host) if host.role is Role.GUARD else {}),
        **(_of_a_database(host) if host.role is Role.DATABASE else {}),
        **(
            _of_a_vault(host, host.vault_server, host.vault_terms)
            if host.vault_server and host.vault_terms
            else {}
        ),
        **(
            _of_a_vault_client(host, host.vault_agent, host.vault_terms)
            if host.vault_agent and host.vault_terms
            else {}
        ),
    }


def _of_a_way_out(host: InventoryHost) -> dict[str, object]:
    """Say where the proxy listens, and for whom."""
    return {
        "squid_addresses": [str(host.target.private_ip)],
        "squid_port": PROXY_PORT,
        "squid_clients": [client.model_dump(mode="json") for client in host.proxy_clients],
    }


def _by_the_way_out(host: InventoryHost) -> dict[str, object]:
    """Say by what packages come, and the tailnet's coordination."""
    proxy = host.way_out["HTTPS_PROXY"]
    return {
        "base_apt_proxy": proxy,
        **({"tailscale_environment": host.way_out} if host.target.on_tailnet else {}),
        **({"gpu_node_http_proxy": proxy} if host.role is Role.GUARD else {}),
    }


def _of_a_database(host: InventoryHost) -> dict[str, object]:
    """Say where its servers listen, and from where the flow table has their clients come."""
    address = str(host.target.private_ip)
    return {
        "postgresql_listen_addresses": [address],
        "postgresql_client_sources": [rule.peer for rule in host.incoming if rule.port == POSTGRESQL_PORT],
        "redis_listen_addresses": [address],
        "redis_guards": list(host.guards.values()),
    }


def _of_a_vault(host: InventoryHost, server: ServerPlan, terms: VaultTerms) -> dict[str, object]:
    """Return what the role `vault` is told, beside the configuration: an adapter renders that."""
    seal = terms.seal
    return {
        "vault_names": [host.name, "localhost", str(host.target.private_ip), "127.0.0.1"],
        "vault_url": server.api_address,
        "vault_product": str(server.product),
        "vault_awaits_tenant": server.awaits_its_tenant,
        "vault_seal": seal.type,
        "vault_seal_authority": (seal.ca or "") if isinstance(seal, TransitSeal) else "",
        "vault_seal_token_file": terms.seal_token_file,
        "vault_peer_authorities": [
            text for name, text in sorted(terms.authorities.items()) if name != host.name
        ],
    }


def _of_a_vault_client(host: InventoryHost, agent: AgentPlan, terms: VaultTerms) -> dict[str, object]:
    """Return what the role `vault_agent` is told, beside the configuration: an adapter renders that."""
    return {
        "vault_agent_settings": agent.settings(),
        "vault_agent_authorities": terms.known_by,
        "vault_agent_certificate": terms.certificates.get(host.name, ""),
        **({"agent_runtime_key_file": _PROVIDER_KEY} if host.role is Role.AGENT else {}),
        **(
            {"postgresql_client_authority": CLIENT_AUTHORITY, "redis_client_authority": CLIENT_AUTHORITY}
            if host.role is Role.DATABASE
            else {}
        ),
    }


def _of_an_agent(host: InventoryHost) -> dict[str, object]:
    """Return what the role `agent_runtime` is told, and the firewall of its account."""
    guard = guard_of(host.key, host.guards)
    return {
        "agent_runtime_address": str(host.target.private_ip),
        "agent_runtime_peers": [f"{address}/32" for address in host.partners.values()],
        "agent_runtime_uid": AGENT_UID,
        **(
            {
                "agent_runtime_proxy": way_out_by(guard),
                "agent_runtime_is_judged": bool(host.guard_terms.spec.providers),
            }
            if guard
            else {}
        ),
        "agent_runtime_callers": list(host.guards.values()),
        "base_hosts": _by_name(host),
        "ufw_outgoing_accounts": [
            {
                "uid": AGENT_UID,
                "comment": "agent",
                "rules": [_outgoing(rule) for rule in host.program],
            }
        ],
    }


def _of_a_guard(host: InventoryHost) -> dict[str, object]:
    """Return what the role `guardrail` is told, and the firewall of its accounts."""
    address, addresses = str(host.target.private_ip), map(str, host.partners.values())
    rules: dict[str, Iterable[HostRule]] = {
        "mutx-guardrail": host.program,
        "mutx-guard-egress": (*egress_rules(host.outgoing), *shared_state_rules(host.program)),
    }
    accounts = [(account, uid, rules[account]) for account, uid in GUARD_ACCOUNTS.items()]
    if runs_judge(host.guard_terms):
        accounts.append((JUDGE_ACCOUNT, JUDGE_UID, ()))
    return {
        **guard_variables(host.key, host.name, address, host.agents, addresses, host.guard_terms),
        **shared_state(host.databases),
        "base_hosts": _by_name(host),
        "ufw_outgoing_accounts": [
            {"uid": uid, "comment": account, "rules": [_outgoing(rule) for rule in permitted]}
            for account, uid, permitted in accounts
        ],
    }


def _by_name(host: InventoryHost) -> list[dict[str, object]]:
    """Return its partners for its file of names: their programs ask no name server, which would be a way out."""
    return [{"address": str(address), "names": [name]} for name, address in host.partners.items()]


def _incoming(rule: HostRule) -> dict[str, object]:
    return {**_rule(rule), "interface": rule.interface, "source": rule.peer}


def _outgoing(rule: HostRule) -> dict[str, object]:
    return {**_rule(rule), "destination": rule.peer}


def _rule(rule: HostRule) -> dict[str, object]:
    return {"port": rule.port, "protocol": rule.protocol, "comment": rule.reason}
