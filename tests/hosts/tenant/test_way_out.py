"""The one way out of a tenant's network: the proxy on mgmt, from the first boot on, with an internet behind it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mutx_sandbox.machines.kernel import inside

from mutx_infra.naming import join_parameter, join_unit
from mutx_infra.way_out import PROXY_PORT
from tests.support.agents import Authority, put, server_side
from tests.support.internet import NETWORK, at, forwarding, mirror
from tests.support.machines import Answer, Hosts, Visitor
from tests.support.onboarded import TENANT, Onboarded
from tests.support.tailnet import CONTROL, coordination_at, tailnet_programs

ROLES = ("agent", "database", "guard", "vault")
MIRROR, CONTROL_AT, RELAY_AT, AWS_AT = (f"203.0.113.{number}" for number in (10, 11, 12, 13))
PACKAGES, COORDINATION, RELAY = "deb.debian.org", "controlplane.tailscale.com", "derp1.tailscale.com"
AWS = "ssm.eu-west-1.amazonaws.com"
INNER, METADATA = "inner.tailscale.com", "metadata.tailscale.com"
RELAY_PORT = 8443
CA_FILE = "/usr/local/share/ca-certificates/test.crt"


@dataclass(frozen=True)
class World:
    """The tenant, and an internet.

    Attributes:
        address: of the proxy.
        asked: what was fetched from the mirror.
    """

    tenant: Onboarded
    address: str
    internet: Visitor
    authority: Authority
    asked: list[str]

    @property
    def hosts(self) -> Hosts:
        return self.tenant.hosts

    @property
    def proxy(self) -> str:
        return f"http://{self.address}:{PROXY_PORT}"

    @property
    def vpc(self) -> str:
        return self.hosts.state(f"{TENANT}-mgmt-1").machine.wire.vpc

    def on(self, host: str, command: str) -> str:
        return self.tenant.on(host, command)

    def by_proxy(self, host: str, url: str, *options: str) -> str:
        """What the proxy answers to a host that wants to be let through; "000" where nothing does."""
        words = ["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_connect}/%{http_code}", *options]
        done = self.tenant.ssh(
            host, " ".join([*(f"'{word}'" for word in words), "-x", self.proxy, f"'{url}'"])
        )
        connected, _, status = done.stdout.strip().partition("/")
        return status if connected == "000" else connected

    def check(self, *names: str, expect: int | None = 0) -> dict[tuple[str, str], str]:
        chosen = (word for name in names for word in ("--host", name))
        done = self.tenant.checkout.run("hosts", "check", TENANT, *chosen, "--json", expect=expect)
        checks = json.loads(done.stdout)["checks"]
        return {(check["target"], check["control"]): check["verdict"] for check in checks}


@pytest.fixture(scope="module")
def world(tenant: Onboarded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    hosts, authority = tenant.hosts, Authority(tmp_path_factory.mktemp("authority"), "internet")
    wire = hosts.state(f"{TENANT}-mgmt-1").machine.wire
    internet = hosts.visitor(
        "internet", wire.vpc, NETWORK, *(f"{a}/24" for a in (MIRROR, CONTROL_AT, RELAY_AT, AWS_AT))
    )
    folder = tmp_path_factory.mktemp("mirror")
    with mirror(internet, MIRROR, server_side(authority, PACKAGES), a_repository(folder)) as asked:
        made = World(tenant, str(wire.address), internet, authority, asked)
        inner = str(hosts.state(f"{TENANT}-vault-1").machine.wire.address)
        names = {
            PACKAGES: MIRROR,
            COORDINATION: CONTROL_AT,
            RELAY: RELAY_AT,
            AWS: AWS_AT,
            INNER: inner,
            METADATA: "169.254.169.254",
        }
        lines = "\n".join(f"{address} {name}" for name, address in names.items())
        made.on("mgmt-1", f"echo '{lines}' | sudo tee -a /etc/hosts && sudo systemctl reload squid")
        yield made


def a_repository(folder: Path) -> Path:
    """The least that apt takes for one: a list of no packages."""
    (folder / "debian").mkdir()
    (folder / "debian/Packages").write_text("")
    return folder


def trust(world: World, host: str) -> None:
    """Have a host trust the internet's authority."""
    put(world.hosts, f"{TENANT}-{host}", CA_FILE, world.authority.file.read_bytes(), "-m 0644", TENANT)
    world.on(host, "sudo update-ca-certificates")


def test_hosts_are_told_the_way_by_their_first_boot_and_mgmt_is_it(world: World) -> None:
    told = {role: world.on(f"{role}-1", "cat /etc/mutx/way-out.env").split("\n")[0] for role in ROLES}

    assert told == dict.fromkeys(ROLES, f"HTTPS_PROXY={world.proxy}")
    assert world.tenant.ssh("mgmt-1", "test -e /etc/mutx/way-out.env").returncode == 1


@pytest.mark.parametrize("role", ROLES)
def test_packages_come_by_the_proxy_and_by_no_other_way(world: World, role: str) -> None:
    direct = f"curl -sk -m 2 -o /dev/null --noproxy '*' --resolve {PACKAGES}:443:{MIRROR} https://{PACKAGES}/"

    assert world.by_proxy(f"{role}-1", f"https://{PACKAGES}/debian/Packages", "-k") == "200"
    if role != "guard":  # whose own proxy for providers' names needs 443
        assert world.tenant.ssh(f"{role}-1", direct).returncode != 0


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://example.com/", ()),
        (f"https://{PACKAGES}.example.com/", ()),
        (f"https://{PACKAGES}:22/", ()),
        (f"http://{PACKAGES}/", ()),
        (f"http://{PACKAGES}/", ("-p", "--proxy-header", "X: y")),
        (f"https://{MIRROR}/", ()),
        ("https://169.254.169.254/latest/", ()),
        (f"https://{INNER}/", ()),
        (f"https://{METADATA}/", ()),
        ("https://127.0.0.1/", ()),
        ("https://[::1]/", ()),
        ("https://[::ffff:169.254.169.254]/", ()),
    ],
)
def test_the_proxy_refuses(world: World, url: str, options: tuple[str, ...]) -> None:
    assert world.by_proxy("agent-1", url, *options) == "403"


def test_a_name_that_is_not_allowed_is_not_even_looked_up(world: World) -> None:
    wire = world.hosts.state(f"{TENANT}-agent-1").machine.wire
    # The VPC's own resolver, which is the only one that the firewall of mgmt lets it ask.
    address = str(wire.block.network_address + 2)
    place = world.hosts.visitor("resolver", wire.vpc, str(wire.subnet), f"{address}/{wire.subnet.prefixlen}")
    asked = b""
    with inside(place.place, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as resolver:
        resolver.bind((address, 53))
        resolver.settimeout(8)
        setting = f"echo 'nameserver {address}' | sudo tee /etc/resolv.conf && sudo systemctl reload squid"
        world.on("mgmt-1", setting)
        world.by_proxy("agent-1", "https://secret-word.example.com/")
        world.by_proxy("agent-1", "https://known-word.tailscale.com/", "-m", "2")
        while b"known-word" not in asked:
            asked += resolver.recv(1024)

    assert b"secret-word" not in asked


def test_the_data_layer_gets_packages_and_no_tailnet(world: World) -> None:
    assert world.by_proxy("database-1", f"https://{COORDINATION}/") == "403"
    assert world.by_proxy("database-1", f"https://{PACKAGES}/", "-k") == "200"


def test_nobody_else_reaches_it(world: World) -> None:
    stranger = world.hosts.visitor("stranger", world.vpc, "203.0.113.64/26", "203.0.113.66/26")

    assert stranger.knock(world.address, PROXY_PORT) is Answer.SILENCE


def test_it_is_back_after_it_was_killed(world: World) -> None:
    before = world.on("mgmt-1", "pgrep -o squid; sudo pkill -KILL squid")
    deadline = time.monotonic() + 15
    while world.by_proxy("agent-1", f"https://{PACKAGES}/", "-k") != "200":
        assert time.monotonic() < deadline, "nobody gets out any more"
        time.sleep(0.2)

    assert world.on("mgmt-1", "pgrep -o squid") != before


def test_every_connection_is_one_line_in_the_journal(world: World) -> None:
    world.by_proxy("vault-1", "https://written-down.example.com/")
    address = world.hosts.state(f"{TENANT}-vault-1").machine.wire.address

    lines = world.on("mgmt-1", "sudo journalctl -q -o cat -u squid --since -60s | grep written-down || true")

    assert [line.split()[:3] for line in lines.split("\n")] == [
        [str(address), "TCP_DENIED/403", "written-down.example.com:443"]
    ]


@pytest.mark.full
def test_apt_of_a_host_without_any_route_out_takes_its_lists_by_it(world: World) -> None:
    trust(world, "database-1")
    source = f"deb [trusted=yes] http://{PACKAGES}/debian ./"
    world.on("database-1", f"echo '{source}' | sudo tee /etc/apt/sources.list.d/plain.list")

    broken = world.check("database-1", expect=6)
    world.hosts.checkout.run("hosts", "harden", TENANT, "--host", "database-1")
    world.on("database-1", "sudo /usr/libexec/mutx/mutx-aide acknowledge")
    world.on("database-1", "sudo apt-get update -qq -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/plain.list "
                           "-o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root")  # fmt: skip

    assert broken[f"{TENANT}-database-1", "base-10"] == "fail"
    assert any(path.startswith("/debian/") and "Packages" in path for path in world.asked)
    assert world.check("database-1")[f"{TENANT}-database-1", "base-10"] == "pass"


def test_a_host_asks_aws_by_it_where_the_tier_has_no_endpoints(world: World) -> None:
    """The report of a host that has joined, said once more: by AWS's own names, as outside of the sandbox."""
    trust(world, "database-1")
    cloud = urlsplit(world.hosts.checkout.endpoint)
    connect = partial(socket.create_connection, (cloud.hostname, cloud.port), 5)
    parameter = join_parameter(TENANT, "database-1")
    ssm = world.hosts.checkout.aws("ssm")
    ssm.delete_parameter(Name=parameter)
    with forwarding(world.internet, AWS_AT, connect, server_side(world.authority, AWS)) as came:
        world.on(
            "database-1",
            "sudo mv /etc/mutx/join.json /etc/mutx/join.json.away "
            '&& sudo sed -i \'s/"reported": true/"reported": false/\' /var/lib/mutx/join.json '
            f"&& sudo timeout 30 systemctl restart {join_unit(TENANT, 'database-1')}; status=$?; "
            "sudo mv /etc/mutx/join.json.away /etc/mutx/join.json; exit $status",
        )

    said = json.loads(ssm.get_parameter(Name=parameter)["Parameter"]["Value"])
    assert (said["kind"], said["host"]) == ("joined", "database-1")
    assert set(came) == {world.address}


def test_a_host_joins_a_tailnet_and_is_relayed_by_the_proxy_alone(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trust(world, "vault-1")
    world.on("vault-1", "sudo systemctl restart tailscaled")
    server = coordination_at(
        world.internet, tailnet_programs(), tmp_path_factory.mktemp("tailnet"), CONTROL_AT,
        "-advertise", f"{RELAY}:443", "-relay-port", str(RELAY_PORT),
    )  # fmt: skip
    control = (at(world.internet, CONTROL_AT, CONTROL), server_side(world.authority, COORDINATION))
    with (
        server as coordination,
        forwarding(world.internet, CONTROL_AT, *control) as controlled,
        forwarding(world.internet, RELAY_AT, at(world.internet, CONTROL_AT, RELAY_PORT)) as relayed,
    ):
        key = coordination.mint("tag:t-acme-vault").encode()
        put(world.hosts, f"{TENANT}-vault-1", "/run/join-key", key, "-m 0600", TENANT)
        world.on("vault-1", "sudo tailscale up --reset --force-reauth --auth-key=file:/run/join-key --timeout=30s "
                            f"--login-server=https://{COORDINATION} --hostname=acme-vault-1 --operator=mutx "
                            "--netfilter-mode=off --accept-dns=false")  # fmt: skip
        deadline = time.monotonic() + 20
        while not relayed and time.monotonic() < deadline:
            time.sleep(0.2)
        status = json.loads(world.on("vault-1", "sudo tailscale status --json"))
        devices = coordination.ask("GET", "tailnet/-/devices")["devices"]

    assert (status["BackendState"], status["Self"]["Relay"]) == ("Running", "test")
    assert [device["hostname"] for device in devices] == ["acme-vault-1"]
    assert set(controlled) == set(relayed) == {world.address}


@pytest.mark.full
def test_what_somebody_opened_by_hand_fails_and_a_run_closes_it(world: World) -> None:
    names = ("agent-1", "mgmt-1")
    before = world.check(*names)
    world.on(
        "mgmt-1",
        "sudo sed -i 's/^http_access deny !connect/http_access allow all/' /etc/squid/mutx.conf "
        "&& sudo systemctl disable -q squid && sudo systemctl reload squid",
    )
    opened = world.check(*names, expect=6)
    world.hosts.checkout.run("hosts", "harden", TENANT, "--host", "mgmt-1")
    world.on("mgmt-1", "sudo /usr/libexec/mutx/mutx-aide acknowledge")
    after = world.check(*names)

    controls = {
        (f"{TENANT}-mgmt-1", "proxy-01"), (f"{TENANT}-mgmt-1", "proxy-02"), (f"{TENANT}-agent-1", "proxy-03"),
    }  # fmt: skip
    assert {before[control] for control in controls} == {"pass"}
    assert {pair for pair, verdict in opened.items() if verdict == "fail"} == controls
    assert {after[control] for control in controls} == {"pass"}
