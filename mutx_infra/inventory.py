"""Stack outputs → the hosts that the playbooks configure: who they are, how they are reached, what they may accept.

Pure. `mutx-infra hosts inventory` prints what it returns, so that plain `ansible-playbook` and the compliance suites
work on the same hosts in a pipeline that has no toolkit.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from pydantic import BaseModel, ConfigDict

from mutx_infra.errors import RefusedError
from mutx_infra.flows import Carrier, Flow, Outside, Role
from mutx_infra.host_firewall import HostRule, incoming_rules, outgoing_rules
from mutx_infra.naming import host_name
from mutx_infra.plan import TenantPlan

SSH_PORT = 22


class InventoryHost(BaseModel):
    """One host as the playbooks see it.

    Attributes:
        name: unique among all tenants; the tailnet knows the host by it.
        key: `<role>-<number>`, unique in the tenant.
        address: in the VPC.
        jump: name of the mgmt host that SSH goes through; None where the host is reached over the tailnet itself.
        forwards_to: addresses that SSH may be forwarded to from here, for the hosts that are reached through it.
        incoming: what it accepts.
        outgoing: where it may connect to.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    key: str
    role: Role
    zone: str
    address: IPv4Address
    jump: str | None = None
    forwards_to: tuple[IPv4Address, ...] = ()
    incoming: tuple[HostRule, ...]
    outgoing: tuple[HostRule, ...]

    @property
    def group(self) -> str:
        """The inventory group of its role; Ansible takes no dash in a group's name."""
        return self.role.replace("-", "_")


class Inventory(BaseModel):
    """The hosts of one tenant, in the plan's order."""

    model_config = ConfigDict(frozen=True)

    tenant: str
    hosts: tuple[InventoryHost, ...]

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


def make_inventory(plan: TenantPlan, outputs: Mapping[str, Any], *, handed_over: bool = False) -> Inventory:
    """Return the inventory of a tenant whose stack has these outputs.

    Raises:
        RefusedError: the outputs lack a host of the plan (code `hosts-missing`): the stack is older than the plan.
    """
    made: Mapping[str, Mapping[str, str]] = outputs.get("hosts") or {}
    if missing := [host.key for host in plan.hosts if host.key not in made]:
        raise RefusedError(
            f"the stack of {plan.tenant} has no host {', '.join(missing)} yet",
            code="hosts-missing",
            remedy=f"run `mutx-infra tenant create {plan.tenant}` first",
        )
    addresses = {host.key: IPv4Address(made[host.key]["private_ip"]) for host in plan.hosts}
    jumps = {host.key: _jump(plan, host.role) for host in plan.hosts}
    return Inventory(
        tenant=plan.tenant,
        hosts=tuple(
            InventoryHost(
                name=host_name(plan.tenant, host.key),
                key=host.key,
                role=host.role,
                zone=host.zone,
                address=addresses[host.key],
                jump=jumps[host.key],
                forwards_to=tuple(
                    addresses[key] for key, jump in jumps.items() if jump == host_name(plan.tenant, host.key)
                ),
                incoming=incoming_rules(plan, host.role, handed_over=handed_over),
                outgoing=outgoing_rules(plan, host.role),
            )
            for host in plan.hosts
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
        "sshd_permit_open": [f"{address}:{SSH_PORT}" for address in host.forwards_to],
    }


def _jump(plan: TenantPlan, role: Role) -> str | None:
    """Return the host that leads to a role's, where the flow table has no way to it over the tailnet."""
    if any(_is_operators_ssh(flow) and flow.destination is role for flow in plan.flows):
        return None
    mgmt = next(host for host in plan.hosts if host.role is Role.MGMT)
    return host_name(plan.tenant, mgmt.key)


def _is_operators_ssh(flow: Flow) -> bool:
    return flow.carrier is Carrier.TAILNET and flow.source is Outside.OPERATORS and SSH_PORT in flow.ports


def _incoming(rule: HostRule) -> dict[str, object]:
    return {**_rule(rule), "interface": rule.interface, "source": rule.peer}


def _outgoing(rule: HostRule) -> dict[str, object]:
    return {**_rule(rule), "destination": rule.peer}


def _rule(rule: HostRule) -> dict[str, object]:
    return {"port": rule.port, "protocol": rule.protocol, "comment": rule.reason}
