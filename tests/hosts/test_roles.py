"""The roles on real machines: what they demand holds against real traffic, and nobody is locked out on the way."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import baselines
import pytest
from mutx_sandbox.machines.kernel import inside

from tests.support.checkout import make_checkout
from tests.support.machines import SSH, SSH_KEYGEN, Answer, Hosts, Visitor
from tests.support.playbook import Logins, Outcome, Playbook, new_logins

NAMES = ("trial-1", "trial-2")
SHORT_BAN_S = 20
TRIAL = "10.63.255.0/24"
ANONYMOUS = (
    *("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10"),
)
WIDEST_PROFILE = "anssi_bp28_high"
LISTEN = "sudo systemd-run -q --unit listen-{port} python3 -m http.server {port} --bind ::"


class Converged:
    """Both hosts after their first run, and what was seen on the way."""

    def __init__(
        self, playbook: Playbook, check: Outcome, first: Outcome, logins: Logins, session: str
    ) -> None:
        self.playbook, self.check, self.first = playbook, check, first
        self.logins, self.session = logins, session


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Two hosts of this file's own: once hardened, they are nothing that other tests expect."""
    made = Hosts(make_checkout(tmp_path_factory.mktemp("roles") / "check out"))
    made.up("2")
    yield made
    made.checkout.run("sandbox", "down")


@pytest.fixture(scope="module")
def converged(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Converged:
    playbook = Playbook(hosts, NAMES, tmp_path_factory.mktemp("playbook"))
    before = fingerprint(hosts, "trial-1")
    check = playbook.run("--check", "--diff")
    assert fingerprint(hosts, "trial-1") == before, "check mode changed something"
    session = subprocess.Popen(
        [SSH, "-F", str(hosts.files() / "ssh_config"), "trial-1", "cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with new_logins(hosts, "trial-1") as logins:
        first = playbook.run()
    said, _ = session.communicate("still here", timeout=20)
    return Converged(playbook, check, first, logins, said)


@pytest.fixture
def guard(hosts: Hosts) -> Visitor:
    return hosts.visitor("guard", "trial", TRIAL, "10.63.255.210/24", "fd6d:7574:a3f:ff00::d2/64")


@pytest.fixture
def stranger(hosts: Hosts) -> Visitor:
    return hosts.visitor("stranger-2", "trial", TRIAL, "10.63.255.211/24", "fd6d:7574:a3f:ff00::d3/64")


def tailnet_address(hosts: Hosts, name: str) -> str:
    return "100.127.255." + str(hosts.state(name).machine.wire.address).rpartition(".")[2]


def fingerprint(hosts: Hosts, name: str) -> str:
    """What a converge could change: files below /etc, units and the kernel's rules."""
    files = "find /etc -type f -exec sha256sum {} + | sort | sha256sum"
    owners = 'find /etc /root -printf "%m %u %p\\n" | sort | sha256sum'
    units = "systemctl list-unit-files --state=enabled,masked --no-legend | sha256sum"
    return hosts.answer(name, f"sudo sh -c '{files}; {owners}; {units}; iptables -S'")


def test_check_mode_on_a_new_host_foretells_the_first_run(converged: Converged) -> None:
    assert (converged.check.status, converged.first.status) == (0, 0), converged.first.text
    assert all(count > 0 for count in converged.check.changed().values())
    assert "+PasswordAuthentication no" in converged.check.text


def test_a_session_survives_and_new_ones_come_in_throughout(converged: Converged) -> None:
    assert converged.session == "still here"
    assert converged.logins.count > 3
    # Each login takes as long as the machine lets it, so the gap is measured in logins that failed: none may.
    assert converged.logins.longest_gap_s < 10


def test_a_second_run_changes_nothing_and_an_unreachable_host_stops_no_other(
    converged: Converged, hosts: Hosts, tmp_path: Path
) -> None:
    playbook = Playbook(hosts, NAMES, tmp_path, {"ansible_timeout": 3})
    gone = {"gone": {"hosts": {"gone-1": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}
    (tmp_path / "more.json").write_text(json.dumps(gone))

    second = playbook.run("-i", str(tmp_path / "more.json"))

    assert second.stats["gone-1"]["unreachable"] == 1
    for name in NAMES:
        counts = second.stats[name]
        assert (counts["changed"], counts["failures"], counts["unreachable"]) == (0, 0, 0), second.text
        assert counts["ok"] > 10


def test_what_is_not_in_force_in_a_container_is_said(converged: Converged) -> None:
    assert "[auditd-not-in-force]" in converged.first.said()
    assert "[base-not-in-force]" in converged.first.said()
    assert "[apparmor-not-in-force]" in converged.first.said()


def test_rules_of_a_published_baseline_are_met_or_listed_with_their_reason(
    converged: Converged, hosts: Hosts
) -> None:
    host = baselines.Host("trial-2", hosts.checkout.root)
    baselines.prepare(host)

    seen = baselines.measure(host, [WIDEST_PROFILE], with_lynis=False)

    assert baselines.compare(seen, "container", whole=False) == []
    assert list(seen.profiles[WIDEST_PROFILE].values()).count("pass") > 190


def test_sshd_has_the_policy(converged: Converged, hosts: Hosts) -> None:
    effective = hosts.answer("trial-1", "sudo sshd -T").splitlines()

    assert {
        "passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin no", "loglevel VERBOSE",
        "allowtcpforwarding no", "x11forwarding no", "allowgroups mutx",
    } <= set(effective)  # fmt: skip
    assert (
        next(line for line in effective if line.startswith("kexalgorithms "))
        .split()[1]
        .startswith("sntrup761x25519")
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "PreferredAuthentications=password,keyboard-interactive"], "Permission denied"),
        (["-o", "User=root"], "Permission denied"),
        (["-o", "KexAlgorithms=diffie-hellman-group14-sha256"], "no matching key exchange"),
        (["-o", "Ciphers=aes128-cbc"], "no matching cipher"),
        (["-o", "Ciphers=aes256-ctr", "-o", "MACs=hmac-sha1"], "no matching MAC"),
        (["-o", "HostKeyAlgorithms=ssh-rsa"], "no matching host key type"),
    ],
    ids=["password", "root", "kex", "cipher", "mac", "host key"],
)
def test_a_weak_login_is_refused(converged: Converged, hosts: Hosts, options: list[str], said: str) -> None:
    # Each from an address of its own: fail2ban counts them.
    last = 70 + len("".join(options)) % 100
    tester = hosts.visitor(f"tester-{last}", "tailnet", "", f"100.64.0.{last}/10")

    done = tester.run(SSH, *ANONYMOUS, *options, f"mutx@{tailnet_address(hosts, 'trial-2')}", "true")

    assert done.returncode == 255
    assert said in done.stderr


def test_a_listed_port_is_open_from_its_rightful_source_only(
    converged: Converged, hosts: Hosts, guard: Visitor, stranger: Visitor
) -> None:
    wire = hosts.state("trial-1").machine.wire
    hosts.answer("trial-1", f"{LISTEN.format(port=8080)}; {LISTEN.format(port=9999)}; sleep 2")
    addresses = [str(wire.address), str(wire.address6)]

    assert [guard.knock(address, 8080) for address in addresses] == [Answer.OPEN, Answer.OPEN]
    assert [stranger.knock(address, 8080) for address in addresses] == [Answer.SILENCE, Answer.SILENCE]
    assert [guard.knock(address, 9999) for address in addresses] == [Answer.SILENCE, Answer.SILENCE]
    assert [guard.knock(address, 22) for address in addresses] == [Answer.SILENCE, Answer.SILENCE]
    assert guard.knock(addresses[0], 5353, udp=True) is Answer.SILENCE


def test_with_the_firewall_off_the_same_ports_answer_and_a_run_mends_that_and_rules_changed_by_hand(
    converged: Converged, hosts: Hosts, stranger: Visitor
) -> None:
    address = str(hosts.state("trial-2").machine.wire.address)
    hosts.answer("trial-2", f"{LISTEN.format(port=9999)}; sleep 2; sudo ufw disable")
    hosts.answer(
        "trial-1",
        "sudo iptables -I INPUT -p tcp --dport 9999 -j ACCEPT; sudo ip6tables -P INPUT ACCEPT; sudo ufw allow 9998",
    )

    before = stranger.knock(address, 9999)
    mended = converged.playbook.run()
    after = stranger.knock(address, 9999)

    assert (before, after) == (Answer.OPEN, Answer.SILENCE)
    assert mended.changed()["trial-2"] == 2
    of_the_other = [result for result in mended.results if result["host"] == "trial-1"]
    reasons = [reason for result in of_the_other for reason in result.get("reasons", [])]
    assert "not ours: iptables -A INPUT -p tcp -m tcp --dport 9999 -j ACCEPT" in reasons
    rules = hosts.answer("trial-1", "sudo iptables -S; sudo ip6tables -S; sudo ufw status")
    assert "999" not in rules
    assert rules.count("-P INPUT DROP") == 2


@pytest.fixture
def short_ban(hosts: Hosts) -> Iterator[Callable[[str], None]]:
    """Shortens the bans of a host for one test."""
    shortened: list[str] = []

    def shorten(host: str) -> None:
        shortened.append(host)
        hosts.answer(host, f"sudo fail2ban-client set sshd bantime {SHORT_BAN_S}")

    yield shorten
    for host in shortened:
        hosts.answer(host, "sudo fail2ban-client set sshd bantime 3600")


def test_three_bad_logins_ban_their_address_and_no_other(
    converged: Converged, hosts: Hosts, short_ban: Callable[[str], None], tmp_path: Path
) -> None:
    subprocess.run([SSH_KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "bad")], check=True)
    attacker = hosts.visitor("attacker", "tailnet", "", "100.64.0.66/10")
    address = tailnet_address(hosts, "trial-2")
    bad = [SSH, *ANONYMOUS, "-i", str(tmp_path / "bad"), f"mutx@{address}", "true"]
    with_key = [SSH, "-o", "ProxyCommand=none", "-o", f"HostName={address}", "-o", "ConnectTimeout=2",
                "-o", "ConnectionAttempts=1", "-F", str(hosts.files() / "ssh_config"), "trial-2", "true"]  # fmt: skip
    short_ban("trial-2")

    assert attacker.run(*with_key).returncode == 0
    for _ in range(3):
        assert "Permission denied" in attacker.run(*bad).stderr
    begun = time.monotonic()
    while attacker.knock(address, 22, patience_s=0.5) is not Answer.SILENCE:
        assert time.monotonic() < begun + 5, "not banned within 5 s"
        time.sleep(0.2)  # who knocks without a pause fills the queue of sshd, and is met by silence for that
    assert attacker.run(*with_key).returncode == 255, "a valid key comes in from a banned address"
    assert hosts.ssh("trial-2", "true").returncode == 0
    while attacker.knock(address, 22, patience_s=0.5) is not Answer.OPEN:
        assert time.monotonic() < begun + SHORT_BAN_S + 10, "the ban does not end"
    assert time.monotonic() > begun + SHORT_BAN_S - 2
    assert attacker.run(*with_key).returncode == 0


REFUSED: dict[str, tuple[str, dict[str, object]]] = {
    "groups": ("[sshd-lockout]", {"sshd_allow_groups": ["nobody-here"]}),
    "rules": ("[ufw-lockout]", {"ufw_incoming_rules": []}),
    "release": ("[host-distribution]", {"host_supported": {"debian": ["11"]}}),
    "algorithm": ("[sshd-algorithms]", {"sshd_ciphers": ["no-such-cipher"]}),
    "weak": ("[sshd-weak]", {"sshd_ciphers": ["3des-cbc"]}),
}
"""What would lock out or is not known here: what is said of it, and the variables."""


def test_what_would_lock_out_is_refused_before_anything_is_changed(
    converged: Converged, hosts: Hosts, tmp_path: Path
) -> None:
    """All in one run: each is a name of its own for one of the hosts."""
    ssh = f"-F '{hosts.files() / 'ssh_config'}'"
    places = {
        name: {"ansible_host": NAMES[number % 2], "ansible_ssh_common_args": ssh, **variables}
        for number, (name, (_, variables)) in enumerate(REFUSED.items())
    }
    (tmp_path / "more.json").write_text(json.dumps({"agent": {"hosts": places}}))
    before = [fingerprint(hosts, name) for name in NAMES]

    refused = converged.playbook.run("-i", str(tmp_path / "more.json"), "--limit", ",".join(REFUSED))

    said = {name: [str(r.get("msg", "")) for r in refused.results if r["host"] == name] for name in REFUSED}
    assert {name: refused.stats[name]["failures"] for name in REFUSED} == dict.fromkeys(REFUSED, 1)
    assert [name for name, (code, _) in REFUSED.items() if code not in "\n".join(said[name])] == []
    assert set(refused.changed().values()) == {0}
    assert [fingerprint(hosts, name) for name in NAMES] == before


def test_a_fragment_that_defeats_the_policy_is_named(converged: Converged, hosts: Hosts) -> None:
    hosts.answer("trial-1", "echo PermitRootLogin yes | sudo tee /etc/ssh/sshd_config.d/00-aaa.conf")
    try:
        refused = converged.playbook.run("--limit", "trial-1")
    finally:
        hosts.answer("trial-1", "sudo rm /etc/ssh/sshd_config.d/00-aaa.conf")

    assert "[file-effect]" in refused.said()
    assert "permitrootlogin no" in refused.said()


# What dockerd 20.10 makes at its start and for one container with two published ports (libnetwork, drivers/bridge),
# by hand: it cannot run in a container without changing the kernel's settings. It may be run again, as a restart does.
DOCKER = """
set -e
ip link show docker0 >/dev/null 2>&1 || {
  ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip addr add fd00:d0c::1/64 dev docker0 nodad
  ip netns add box; ip link add in0 type veth peer name eth0 netns box; ip link set in0 master docker0 up
  ip -n box addr add 172.17.0.2/16 dev eth0; ip -n box addr add fd00:d0c::2/64 dev eth0 nodad
  ip -n box link set eth0 up; ip -n box link set lo up; ip link set docker0 up
  ip -n box route add default via 172.17.0.1; ip -n box route add default via fd00:d0c::1
  ip netns exec box sh -c 'cd /usr/share; nohup python3 -m http.server 80 --bind :: >/dev/null 2>&1 &'
}
tables() { t=$1 net=$2 box=$3 to=$4
  have() { $t -w -t $1 -C "${@:2}" 2>/dev/null || $t -w -t $1 -A "${@:2}"; }
  top() { $t -w -D FORWARD "$@" 2>/dev/null || true; $t -w -I FORWARD "$@"; }
  for c in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do
    $t -w -N $c 2>/dev/null || true
  done
  $t -w -t nat -N DOCKER 2>/dev/null || true
  have nat PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
  have nat OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
  have nat POSTROUTING -s $net ! -o docker0 -j MASQUERADE
  have nat DOCKER -i docker0 -j RETURN
  for port in 8080 8081; do
    have nat DOCKER ! -i docker0 -p tcp -m tcp --dport $port -j DNAT --to-destination $to:80
  done
  have filter DOCKER -d $box ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
  have filter DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
  have filter DOCKER-ISOLATION-STAGE-1 -j RETURN
  have filter DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
  have filter DOCKER-ISOLATION-STAGE-2 -j RETURN
  top -i docker0 -o docker0 -j ACCEPT; top -i docker0 ! -o docker0 -j ACCEPT; top -o docker0 -j DOCKER
  top -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; top -j DOCKER-ISOLATION-STAGE-1
  have filter DOCKER-USER -j RETURN; top -j DOCKER-USER
}
tables iptables 172.17.0.0/16 172.17.0.2/32 172.17.0.2
tables ip6tables fd00:d0c::/64 fd00:d0c::2/128 [fd00:d0c::2]
for address in 172.17.0.2 [fd00:d0c::2]; do curl -sS -o /dev/null --retry 20 --retry-all-errors http://$address/; done
"""


def start_docker(hosts: Hosts, name: str) -> None:
    """Have on a host what dockerd makes; packets are let through from outside, the container may not say so."""

    def forward() -> None:
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", setting).write_text("1", encoding="ascii")

    record = hosts.machines.record
    assert record is not None
    inside(Path(f"/proc/{record.inner}/root/run/netns/{name}"), forward)
    hosts.answer(name, f"echo {base64.b64encode(DOCKER.encode()).decode()} | base64 -d | sudo bash")


def test_what_docker_publishes_passes_the_same_rules(
    converged: Converged, hosts: Hosts, guard: Visitor, stranger: Visitor
) -> None:
    wire = hosts.state("trial-2").machine.wire

    def answers(port: int) -> dict[str, set[Answer]]:
        addresses = [str(wire.address), str(wire.address6)]
        return {who.name: {who.knock(address, port) for address in addresses} for who in (guard, stranger)}

    start_docker(hosts, "trial-2")
    before = [answers(8080), answers(8081)]
    first = converged.playbook.run("--limit", "trial-2", ufw_docker=True)
    start_docker(hosts, "trial-2")
    after = [answers(8080), answers(8081)]
    second = converged.playbook.run("--limit", "trial-2", ufw_docker=True)
    hosts.restart("trial-2", 30)
    # A login comes before the last service has started; dockerd comes after it.
    hosts.answer("trial-2", "systemctl is-system-running --wait || true")
    start_docker(hosts, "trial-2")
    booted = [answers(8080), answers(8081)]

    # Without the rules everybody gets in: that is what Docker's own rules do, whatever ufw says.
    assert before == [{"guard": {Answer.OPEN}, "stranger-2": {Answer.OPEN}}] * 2
    changed = [result["task"] for result in first.results if result.get("changed")]
    # Forwarding is Docker's now, so the base no longer turns it off.
    assert {task.rpartition(" ")[2] for task in changed} == {"base-04", "ufw-03", "ufw-04"}
    closed = {"guard": {Answer.SILENCE}, "stranger-2": {Answer.SILENCE}}
    assert after == [{**closed, "guard": {Answer.OPEN}}, closed]
    assert second.changed() == {"trial-2": 0}, second.text
    assert booted == after
