"""Which way leads to a host, and what SSH is told of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.access import (
    HostKey,
    HostTarget,
    SshFiles,
    SshRoute,
    entered_roles,
    parse_known_hosts,
    render_known_hosts,
    render_ssh_config,
    tailnet_address,
    tailnet_address6,
    tailnet_roles,
    targets_of,
)
from mutx_infra.errors import RefusedError
from mutx_infra.flows import FLOWS, PLATFORM_FLOWS, Carrier, Flow, Outside, Protocol, Role

TAILNET = IPv4Network("100.64.0.0/10")
FILES = SshFiles(
    config=Path("/s p/5%/ssh_config"),
    key=Path("/s/id"),
    certificate=Path("/s/id-cert.pub"),
    known_hosts=Path("/s/50%/k"),
)


def outputs(**roles: str) -> dict[str, Any]:
    """A stack's outputs with one host for each role, at the address given."""
    hosts = {
        f"{role.replace('_', '-')}-1": {
            "instance_id": f"i-{role}",
            "private_ip": ip,
            "role": role.replace("_", "-"),
        }
        for role, ip in roles.items()
    }
    return {"account": "123456789012", "region": "eu-west-1", "hosts": hosts}


def acme() -> dict[str, HostTarget]:
    made = outputs(
        agent="10.0.1.4", database="10.0.1.132", guard="10.0.1.5", mgmt="10.0.1.116", vault="10.0.1.117"
    )
    return {target.key: target for target in targets_of("acme", made, FLOWS)}


def test_the_flow_table_says_who_is_on_the_tailnet() -> None:
    assert tailnet_roles(FLOWS) == {"agent", "guard", "mgmt", "vault"}
    assert tailnet_roles(PLATFORM_FLOWS) == {"control-plane", "mgmt"}


def test_ssh_takes_the_tailnet_where_the_table_has_it_and_else_goes_through_mgmt() -> None:
    ways = {key: target.jump for key, target in acme().items()}

    assert ways == {
        "agent-1": None,
        "guard-1": None,
        "mgmt-1": None,
        "database-1": "mgmt-1",
        "vault-1": "mgmt-1",
    }


def test_platform_hosts_are_reached_by_the_platforms_own_rows() -> None:
    made = outputs(control_plane="10.0.2.4", database="10.0.2.132", mgmt="10.0.2.116", vault="10.0.2.117")

    ways = {target.key: target.jump for target in targets_of("platform", made, PLATFORM_FLOWS)}

    assert ways == {"control-plane-1": None, "database-1": "mgmt-1", "mgmt-1": None, "vault-1": "mgmt-1"}


def section(config: str, host: str) -> list[str]:
    lines = config.splitlines()
    start = lines.index(f"Host {host}") + 1
    return [line.strip() for line in lines[start : lines.index("", start)]]


def test_a_tailnet_host_is_called_by_its_name_and_a_jump_keeps_the_hosts_key() -> None:
    config = render_ssh_config(list(acme().values()), FILES, SshRoute())

    assert section(config, "acme-agent-1") == ["HostName acme-agent-1", "HostKeyAlias acme-agent-1"]
    assert section(config, "acme-database-1") == [
        "HostName 10.0.1.132", "ProxyCommand ssh -F '/s p/5%%/ssh_config' -W '[%h]:%p' acme-mgmt-1",
        "HostKeyAlias acme-database-1",
    ]  # fmt: skip


def test_the_profile_may_say_how_the_tailnet_is_reached() -> None:
    route = SshRoute(proxy_command="tailscale nc %h %p", passes_descriptor=True, tailnet_network=TAILNET)

    config = render_ssh_config(list(acme().values()), FILES, route)

    assert section(config, "acme-mgmt-1") == [
        "HostName 100.64.1.116", "HostKeyAlias acme-mgmt-1", "ProxyCommand tailscale nc %h %p", "ProxyUseFdpass yes"
    ]  # fmt: skip
    assert not [line for line in section(config, "acme-vault-1") if "tailscale" in line or "Fdpass" in line]


@pytest.mark.parametrize(
    "line",
    ["StrictHostKeyChecking yes", "UpdateHostKeys no", "IdentitiesOnly yes", "IdentityAgent none", "BatchMode yes",
     "PasswordAuthentication no", "ForwardAgent no", 'UserKnownHostsFile "/s/50%%/k"',
     "GlobalKnownHostsFile /dev/null"],
)  # fmt: skip
def test_ssh_trusts_known_keys_and_shows_one_certificate(line: str) -> None:
    assert line in section(render_ssh_config(list(acme().values()), FILES, SshRoute()) + "\n", "*")


def test_fixed_addresses_are_as_different_as_the_private_ones() -> None:
    host = acme()["agent-1"]
    others = [host.model_copy(update={"private_ip": IPv4Address(ip)}) for ip in ("10.0.1.5", "10.63.255.254")]

    found = [tailnet_address(one, TAILNET) for one in (host, *others)]

    assert [str(address) for address in found] == ["100.64.1.4", "100.64.1.5", "100.127.255.254"]
    assert str(tailnet_address6(found[0])) == "fd7a:115c:a1e0::6440:104"


@pytest.mark.parametrize("private", ["10.64.0.1", "172.16.0.4", "192.168.0.4"])
def test_an_address_without_a_place_in_the_tailnet_is_refused(private: str) -> None:
    host = acme()["agent-1"].model_copy(update={"private_ip": IPv4Address(private)})

    with pytest.raises(RefusedError) as caught:
        tailnet_address(host, TAILNET)

    assert caught.value.code == "tailnet-address"


def test_known_hosts_come_back_as_they_were_written() -> None:
    keys = {f"acme-{n}": HostKey(instance=f"i-{n}", public=f"ssh-ed25519 AAAA{n}") for n in range(3)}

    assert parse_known_hosts(render_known_hosts(keys)) == keys


class TestHandOver:
    def test_before_it_every_host_is_entered(self) -> None:
        entered = entered_roles(FLOWS, handed_over=False)

        assert entered == {Role.AGENT, Role.DATABASE, Role.GUARD, Role.MGMT, Role.VAULT}

    def test_after_it_none_is_not_even_by_a_row_that_stays(self) -> None:
        """A row leads from mgmt to databases, but nobody enters mgmt any more."""
        assert entered_roles(FLOWS, handed_over=True) == frozenset()

    def test_what_stays_open_leads_on_to_what_stays_open(self) -> None:
        def row(source: Role | Outside, destination: Role, *, until: bool = False) -> Flow:
            return Flow(source, destination, Protocol.TCP, (22,), Carrier.VPC, "a test", until)

        flows = (
            row(Outside.CONVERGE, Role.MGMT),
            row(Role.MGMT, Role.DATABASE),
            row(Role.MGMT, Role.VAULT, until=True),
            row(Outside.OPERATORS, Role.GUARD),
        )

        assert entered_roles(flows, handed_over=True) == {Role.MGMT, Role.DATABASE}
