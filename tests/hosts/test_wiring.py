"""Who reaches whom before any host has a firewall: as the networks are wired, and in no other way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutx_sandbox.machines.kernel import inside

from tests.support.machines import Answer, Hosts, Visitor
from tests.support.tenants import create

TRIAL = "10.63.255.0/24"


@pytest.fixture(scope="module")
def acme(hosts: Hosts) -> Iterator[Any]:
    """Two hosts of a tenant that a stack made: one in the data layer, and the one through which it is reached."""
    hosts.checkout.write_spec("acme")
    create(hosts.checkout, "acme")
    yield hosts.up("--tenant", "acme", "--host", "mgmt-1", "--host", "database-1")["hosts"]
    hosts.checkout.run("sandbox", "hosts", "down", "acme-mgmt-1", "acme-database-1")


@pytest.fixture
def neighbour(hosts: Hosts) -> Visitor:
    return hosts.visitor("neighbour", "trial", TRIAL, "10.63.255.210/24", "fd6d:7574:a3f:ff00::d2/64")


def addresses_of(hosts: Hosts, name: str) -> tuple[str, str]:
    """A trial host's addresses, of either family."""
    wire = hosts.state(name).machine.wire
    return str(wire.address), str(wire.address6)


def test_a_neighbour_reaches_a_host_by_either_family(hosts: Hosts, neighbour: Visitor) -> None:
    four, six = addresses_of(hosts, "trial-1")

    assert [neighbour.knock(four, 22), neighbour.knock(six, 22)] == [Answer.OPEN, Answer.OPEN]
    assert [neighbour.knock(four, 9), neighbour.knock(six, 9)] == [Answer.REFUSED, Answer.REFUSED]
    assert neighbour.knock(four, 9, udp=True) is Answer.REFUSED


def test_hosts_of_one_network_reach_each_other(hosts: Hosts) -> None:
    four, six = addresses_of(hosts, "trial-2")

    assert hosts.answer("trial-1", f"nc -z -w 2 {four} 22 && nc -z -w 2 {six} 22 && echo both") == "both"


@pytest.mark.parametrize("network", ["trial", "tailnet"])
def test_a_machine_that_goes_takes_no_other_s_way_along(hosts: Hosts, network: str) -> None:
    record = hosts.machines.record
    assert record is not None
    place = f"/proc/{record.inner}/root/run/netns/{network}"
    listed = subprocess.run(
        ["/usr/bin/nsenter", f"--net={place}", "/usr/sbin/ip", "-j", "-d", "link"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    links = [link for link in json.loads(listed.stdout) if "linkinfo" in link]
    bridges = {link["address"] for link in links if link["linkinfo"]["info_kind"] == "bridge"}
    cables = {link["address"] for link in links if link["linkinfo"]["info_kind"] == "veth"}
    # A bridge that has a cable's address gets another one when that cable goes.
    assert bridges
    assert len(cables) >= 2
    assert not bridges & cables


def test_what_was_unplugged_is_off_the_wire_whoever_keeps_its_namespace(
    hosts: Hosts, neighbour: Visitor
) -> None:
    def links() -> list[str]:
        return [
            line.split(":")[0].strip()
            for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
        ]

    with neighbour.place.open() as kept:
        place = Path(f"/proc/self/fd/{kept.fileno()}")
        before = inside(place, links)
        hosts.visitor("neighbour", "trial", TRIAL, "10.63.255.210/24")
        after = inside(place, links)

    assert "eth0" in before
    assert "eth0" not in after


def test_a_visitor_comes_from_anywhere_that_is_asked_for(hosts: Hosts) -> None:
    four, _ = addresses_of(hosts, "trial-1")
    stranger = hosts.visitor("stranger", "trial", "203.0.113.0/24", "203.0.113.7/24")

    assert stranger.knock(four, 22) is Answer.OPEN
    assert "203.0.113.7" in hosts.answer("trial-1", "sudo grep -a 203.0.113.7 /var/log/auth.log | tail -1")


def test_the_tailnet_leads_to_tailnet_addresses_only(hosts: Hosts) -> None:
    four, six = addresses_of(hosts, "trial-1")
    peer = hosts.visitor("peer", "tailnet", "", "100.64.0.9/10", "fd7a:115c:a1e0::9/48")

    assert peer.knock("100.127.255." + four.rpartition(".")[2], 22) is Answer.OPEN
    assert [peer.knock(four, 22), peer.knock(six, 22)] == [Answer.NO_WAY, Answer.NO_WAY]


@pytest.mark.parametrize("option", ["--tailnet", "--hosts"])
def test_hosts_with_fixed_addresses_are_not_cut_off_by_a_tailnet_that_comes_later(
    hosts: Hosts, option: str
) -> None:
    done = hosts.checkout.run("sandbox", "up", option, expect=4)

    assert "error[sandbox-hosts-fixed]: trial-1, trial-2 came up with fixed" in done.stderr
    assert hosts.ssh("trial-1", "true").returncode == 0


def test_a_host_is_told_its_way_out_before_it_joins_and_mgmt_is_that_way_from_its_first_boot(
    hosts: Hosts, acme: Any
) -> None:
    nowhere = "203.0.113.9 controlplane.tailscale.com"
    hosts.answer(
        "acme-mgmt-1",
        f"echo '{nowhere}' | sudo tee -a /etc/hosts && sudo systemctl reload squid",
        tenant="acme",
    )
    proxy = acme["acme-mgmt-1"]["private_ip"]
    asked = f"curl -s -o /dev/null -m 10 -w '%{{http_connect}}' -x http://{proxy}:3128 https://"

    told = hosts.answer("acme-database-1", "cat /etc/mutx/way-out.env", tenant="acme")
    answers = [
        hosts.ssh("acme-database-1", f"{asked}{name}/", tenant="acme").stdout
        for name in ("example.com", "controlplane.tailscale.com")
    ]

    assert told.split("\n")[0] == f"HTTPS_PROXY=http://{proxy}:3128"
    # The second name is let through, and its address has no way to it.
    assert answers == ["403", "503"]


def test_a_tenants_network_is_reached_from_no_other(hosts: Hosts, neighbour: Visitor, acme: Any) -> None:
    database = acme["acme-database-1"]

    assert neighbour.knock(database["private_ip"], 22) is Answer.NO_WAY
    assert neighbour.knock(database["private_ip6"], 22) is not Answer.OPEN


def test_a_tenants_hosts_stand_where_its_stack_put_them(hosts: Hosts, acme: Any) -> None:
    outputs = hosts.checkout.json("tenant", "outputs", "acme")["outputs"]

    assert {name: host["private_ip"] for name, host in acme.items()} == {
        f"acme-{key}": outputs["hosts"][key]["private_ip"] for key in ("mgmt-1", "database-1")
    }
    assert {host["vpc"] for host in acme.values()} == {outputs["vpc_id"]}


def test_a_database_host_is_reached_through_mgmt_and_has_no_way_out(hosts: Hosts, acme: Any) -> None:
    assert acme["acme-database-1"]["jump"] == "mgmt-1"
    assert hosts.answer("acme-database-1", "hostname", tenant="acme") == "acme-database-1"

    shown = hosts.answer("acme-database-1", "ip -brief link; ip route; ip -6 route", tenant="acme")
    assert "tailscale0" not in shown
    assert "default" not in shown
    assert hosts.answer("acme-database-1", "sudo grep -ac 10.0.0.116 /var/log/auth.log", tenant="acme") != "0"


def test_a_tenants_host_acts_as_its_own_role(hosts: Hosts, acme: Any) -> None:
    ask = (
        "T=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token); "
        'curl -s -H "X-aws-ec2-metadata-token: $T" http://169.254.169.254/latest/meta-data/iam/security-credentials/'
    )

    assert hosts.answer("acme-mgmt-1", ask, tenant="acme") == "mutx-acme-mgmt-1"
