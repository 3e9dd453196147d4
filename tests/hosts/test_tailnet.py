"""A host with a real tailscaled: joined by its one-shot parameter, back after a reboot, behind its own firewall."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import pytest
from mutx_sandbox.machines.instances import TRIAL, TrialHosts
from mutx_sandbox.machines.kernel import inside
from mutx_sandbox.machines.machine import BackendName
from mutx_sandbox.machines.tailnet_layer import bake

from mutx_infra.access import HostTarget
from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.adapters.tailscale_admission import TailscaleAdmission
from mutx_infra.adapters.tailscale_api import TailscaleApi
from mutx_infra.bootstrap import SystemClock, load_environment, make_host_ports
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.joining import TailnetPass
from mutx_infra.settings import resolve_settings
from tests.support.machines import NSENTER, SSH, Answer, Hosts, processes_with
from tests.support.playbook import SSH_RULE, Outcome, Playbook
from tests.support.suites import verdicts
from tests.support.tailnet import API, API_KEY, Coordination, Node, coordination, node, tailnet_programs

SERVER, OPERATOR, SECOND = "10.63.255.250", "10.63.255.240", "10.63.255.241"
NAME = "trial-3"
LISTEN = "sudo systemd-run -q --unit listen-9999 python3 -m http.server 9999 --bind ::"
ROLES = ["ufw", "tailscale"]
ROLE = {"tailscale_source": "image", "tailscale_client_logs": False}


@dataclass(frozen=True)
class Joined:
    """The host, and an operator in its tailnet.

    Attributes:
        shown: processes that had the key in their command line while it joined.
    """

    hosts: Hosts
    server: Coordination
    operator: Node
    key: str
    address: str
    shown: list[int]

    @property
    def ssh_options(self) -> tuple[str, ...]:
        return ("-o", "ProxyCommand=none", "-o", "ProxyUseFdpass=no", "-o", f"HostName={self.address}")

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        config = str(self.hosts.files() / "ssh_config")
        return self.operator.place.run(SSH, *self.ssh_options, "-F", config, NAME, command)

    def answer(self, command: str) -> str:
        done = self.ssh(command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def knock(self, port: int) -> Answer:
        return self.operator.place.knock(self.address, port)

    def playbook(self, folder: Path) -> Playbook:
        rules = {"ufw_incoming_rules": [SSH_RULE], "ufw_take_over": True, "mutx_role": "trial", **ROLE}
        prefix = (NSENTER, f"--net={self.operator.place.place}")
        play = folder / "firewall-and-tailnet.yml"
        play.write_text(json.dumps([{"hosts": "all", "become": True, "gather_facts": False, "roles": ROLES}]))
        return Playbook(
            self.hosts,
            (NAME,),
            folder,
            rules,
            prefix=prefix,
            ssh_options=" ".join(self.ssh_options),
            play=play,
        )


@pytest.fixture(scope="module")
def programs() -> Path:
    return tailnet_programs()


@pytest.fixture(scope="module")
def joined(hosts: Hosts, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    """A third host, whose image has tailscale and whose join document names the coordination server."""
    profile = hosts.checkout.root / ".mutx/sandbox/environment.yaml"
    trial = TrialHosts(AwsSession(load_environment(profile).aws))
    target = trial.ensure(3)[-1]
    settings = resolve_settings(
        {"MUTX_INFRA_STATE": str(hosts.checkout.root / ".mutx")},
        hosts.checkout.root,
        environment=str(profile),
    )
    ports = make_host_ports(settings)
    folder = tmp_path_factory.mktemp("tailnet")
    with ExitStack() as stack:
        server = stack.enter_context(coordination(hosts, programs, folder, SERVER))
        operator = stack.enter_context(node(hosts, programs, folder, "operator", OPERATOR))
        keys: list[str] = []
        assert operator.join(server, server.mint()).returncode == 0
        machine = next(trial.machines([target], BackendName.NSPAWN, 512))
        bake(programs, hosts.folder / target.name / "disk/changes")
        stack.callback(trial.terminate, [target])
        stack.callback(hosts.machines.drop, target.name)
        hosts.machines.add(machine.model_copy(update={"tailnet": False}))
        joining = replace(ports.joining, tailnet=_Minting(server, keys))
        with watched("tskey-auth-") as shown:
            joining.bring_in([target], 60)
        (key,) = keys
        stack.callback(joining.forget, [target])
        ports.ssh.prepare(TRIAL, trial.all())
        yield Joined(hosts, server, operator, key, operator.address_of(target.name), shown)


@contextmanager
def watched(text: str) -> Iterator[list[int]]:
    """Look at the process list again and again while the block runs; the machines' processes are in it."""
    found: list[int] = []
    is_over = Event()

    def look() -> None:
        while not is_over.is_set():
            found.extend(processes_with(text))

    thread = Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()


@dataclass(frozen=True)
class _Minting:
    """Admits by the API of a server that is reached from its own network alone; remembers the key."""

    server: Coordination
    keys: list[str]

    def _real(self) -> TailscaleAdmission:
        tailnet = Tailnet(name="mutx.test", api_url=f"http://127.0.0.1:{API}")
        return TailscaleAdmission(
            TailscaleApi(tailnet, {"TAILSCALE_API_KEY": API_KEY}),
            SystemClock(),
            self.server.url,
        )

    def admit(self, host: HostTarget) -> TailnetPass:
        found = inside(self.server.place.place, lambda: self._real().admit(host))
        self.keys.append(found.auth_key.get_secret_value())
        return found

    def confirm(self, host: HostTarget) -> None:
        inside(self.server.place.place, lambda: self._real().confirm(host))


@pytest.fixture(scope="module")
def hardened(joined: Joined, tmp_path_factory: pytest.TempPathFactory) -> tuple[Playbook, Outcome, Outcome]:
    """The roles on it, over the tailnet: a look ahead and a first run."""
    playbook = joined.playbook(tmp_path_factory.mktemp("playbook"))
    return playbook, playbook.run("--check", "--diff"), playbook.run()


EVERYTHING = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}
IN_FORCE = {"ts-01", "ts-02", "ts-03", "ts-04", "ts-05"}


def eventually(seen: Callable[[], object], wanted: object, within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while (last := seen()) != wanted:
        assert time.monotonic() < deadline, last
        time.sleep(0.2)


def test_it_joins_and_lets_the_operator_in_over_the_tailnet(joined: Joined) -> None:
    assert joined.answer("hostname; id -un").split() == [NAME, "mutx"]
    assert joined.answer("ip -o -4 address show tailscale0").split()[3] == f"{joined.address}/32"


def test_the_key_is_nowhere_on_the_host(joined: Joined) -> None:
    """Looked for from outside: a command there that names it would itself be logged."""
    disk = joined.hosts.folder / NAME / "disk/changes"

    def files_with(text: str) -> list[str]:
        found = subprocess.run(
            ["/usr/bin/grep", "-rlaF", "--devices=skip", "-e", text, str(disk)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return found.stdout.splitlines()

    assert joined.shown == []
    assert files_with(joined.key) == []
    assert [name for name in files_with("has joined") if "/var/log/journal/" in name], (
        "the journal is not searched"
    )
    assert joined.answer("sudo ls -A /run/mutx") == ""
    assert joined.answer("systemctl show -P Result 'mutx-join@trial:3.service'") == "success"


def test_a_key_is_good_for_one_use(joined: Joined, tmp_path: Path, programs: Path) -> None:
    with node(joined.hosts, programs, tmp_path, "second", SECOND) as second:
        again = second.join(joined.server, joined.key)

    assert again.returncode != 0
    assert "was used already" in again.stderr


def test_by_default_tailscaled_lets_everything_past_the_firewall(joined: Joined) -> None:
    """Why the role turns that off: the host's firewall is on, and decides nothing here."""
    joined.answer(f"{LISTEN}; sudo tailscale set --netfilter-mode=on; sudo ufw allow in on tailscale0 to any port 22; "
                  "sudo ufw --force enable")  # fmt: skip

    eventually(lambda: joined.knock(9999), Answer.OPEN)


def test_a_look_ahead_foretells_the_first_run_and_the_second_changes_nothing(
    hardened: tuple[Playbook, Outcome, Outcome],
) -> None:
    playbook, check, first = hardened

    assert (check.status, first.status) == (0, 0), check.text + first.text
    assert check.changed()[NAME] > 0
    assert playbook.run().changed() == {NAME: 0}


def test_the_firewall_decides_what_comes_over_the_tailnet(
    joined: Joined, hardened: tuple[Playbook, Outcome, Outcome]
) -> None:
    assert joined.knock(22) is Answer.OPEN
    assert joined.knock(9999) is Answer.SILENCE
    assert "ts-" not in joined.answer("sudo iptables -S; sudo ip6tables -S")


def test_what_policy_or_firewall_denies_stays_silent_whatever_starts_last(
    joined: Joined, hardened: tuple[Playbook, Outcome, Outcome]
) -> None:
    """The firewall opens 22 and not 9999, where somebody listens; the policy opens one, then both."""
    devices = joined.server.ask("GET", "tailnet/-/devices")["devices"]
    (tag,) = next(device["tags"] for device in devices if device["hostname"] == NAME)

    def grant(*ports: int) -> None:
        opened = {"src": ["autogroup:member"], "dst": [tag], "ip": [f"tcp:{port}" for port in ports]}
        joined.server.ask("POST", "tailnet/-/acl", {"tagOwners": {tag: []}, "grants": [opened]})

    try:
        grant(9999)
        eventually(lambda: joined.knock(22), Answer.SILENCE)
        assert joined.knock(9999) is Answer.SILENCE
        grant(22, 9999)
        eventually(lambda: joined.knock(22), Answer.OPEN)
        assert joined.knock(9999) is Answer.SILENCE
        for last in ("ufw reload", "systemctl restart ufw", "systemctl restart tailscaled"):
            joined.ssh(f"sudo {last}")
            eventually(lambda: joined.ssh("true").returncode, 0, within_s=30)
            assert joined.knock(9999) is Answer.SILENCE, last
    finally:
        joined.server.ask("POST", "tailnet/-/acl", EVERYTHING)
        eventually(lambda: joined.ssh("true").returncode, 0, within_s=30)


def test_settings_changed_by_hand_are_mended(
    joined: Joined, hardened: tuple[Playbook, Outcome, Outcome]
) -> None:
    before = verdicts(hardened[0], "test_tailscale")
    joined.answer("sudo tailscale set --accept-routes --netfilter-mode=on --accept-dns=true --operator=root")
    joined.answer("sudo sh -c 'systemctl disable -q tailscaled; chmod 0755 /var/lib/tailscale'")
    broken = verdicts(hardened[0], "test_tailscale")

    mended = hardened[0].run("--diff")

    assert before == {**dict.fromkeys(IN_FORCE, "pass"), "ts-06": "not-applicable"}
    assert {control for control in IN_FORCE if broken[control] == "fail"} == IN_FORCE - {"ts-01"}
    assert mended.changed()[NAME] > 0, mended.text
    assert verdicts(hardened[0], "test_tailscale") == before
    assert joined.knock(9999) is Answer.SILENCE
    assert "nameserver 100.100.100.100" not in joined.answer("cat /etc/resolv.conf")


def test_it_is_back_after_a_reboot(joined: Joined, hardened: tuple[Playbook, Outcome, Outcome]) -> None:
    joined.hosts.machines.reboot(NAME)

    eventually(lambda: joined.hosts.state(NAME).boots, 2, within_s=30)
    eventually(lambda: joined.ssh("true").returncode, 0, within_s=30)
    assert joined.answer(
        "systemctl is-enabled tailscaled; sudo stat -c %a:%U /var/lib/tailscale"
    ).split() == [
        "enabled",
        "700:root",
    ]
    assert joined.knock(9999) is Answer.SILENCE
