"""A tenant's Vault on a host of its own, and an agent's host that logs in to it: by the playbook, on real machines."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from mutx_sandbox.machines.kernel import inside

from mutx_infra.adapters.ansible_inventory import literal
from mutx_infra.adapters.hvac_vault import HvacSession, HvacVault
from mutx_infra.adapters.vault_templates import policy_texts, render_agent, render_server
from mutx_infra.byok import StaticSeal
from mutx_infra.errors import MutxInfraError
from mutx_infra.flows import Role
from mutx_infra.inventory import AGENT_UID
from mutx_infra.vault.agent import AgentPlan, key_paths
from mutx_infra.vault.hosts import VaultHost, VaultTerms, agent_plan, server_plan
from mutx_infra.vault.layout import TENANT_ADMIN, make_layout
from mutx_infra.vault.places import MACHINE_REQUEST, VAULT_AUTHORITY
from mutx_infra.vault.server import LOOPBACK, ServerPlan
from mutx_infra.vault_ports import VaultAddress
from tests.support.authorities import Authority, make_authority
from tests.support.checkout import make_checkout
from tests.support.machines import SSH, SSH_KEYGEN, Answer, Hosts, Visitor
from tests.support.playbook import SSH_RULE, Outcome, Playbook
from tests.support.suites import verdicts
from tests.support.vault_enrolment import enrolled
from tests.support.vault_machine import deposit
from tests.support.waiting import until

VAULT, AGENT = "trial-1", "trial-2"
TRIAL = "10.63.255.0/24"
ADMIN_ADDRESS, STRANGER_ADDRESS = "10.63.255.193", "10.63.255.211"
OUR_TASKS = ("vault : ", "vault_agent : ")
OWN, SHARED = key_paths("agent-1", "openai")
KEY = "/run/mutx-agent-secrets/OPENAI_KEY"
# Stands in for a tenant's agent: it waits for its certificate, as the role `agent_runtime` has it.
AGENT_UNIT = f"""
groupadd --system --gid {AGENT_UID} mutx-agent
useradd --system --uid {AGENT_UID} --gid {AGENT_UID} --shell /usr/sbin/nologin --no-create-home mutx-agent
cat >/etc/systemd/system/mutx-agent.service <<'END'
[Unit]
ConditionPathExists=/run/mutx-agent-secrets/server.pem
[Service]
User=mutx-agent
ExecStart=/usr/bin/sleep infinity
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl -q enable mutx-agent
systemctl start mutx-agent
"""


@dataclass(frozen=True)
class Tenant:
    """What the tenant and its hosts are.

    Attributes:
        authority: of its administrators.
    """

    hosts: Hosts
    folder: Path
    addresses: dict[str, IPv4Address]
    authority: Authority = field(default_factory=lambda: make_authority("trial administrators"))
    platform: Authority = field(default_factory=lambda: make_authority("mutx platform"))

    @property
    def machines(self) -> list[VaultHost]:
        return [
            VaultHost(VAULT, "vault-1", Role.VAULT, self.addresses[VAULT]),
            VaultHost(AGENT, "agent-1", Role.AGENT, self.addresses[AGENT]),
        ]

    @property
    def server(self) -> ServerPlan:
        layout = make_layout("trial", policy_texts(), self.authority.pem, self.platform.pem, LOOPBACK)
        made = server_plan(self.machines[0], self.machines, VaultTerms(layout, StaticSeal(type="static")))
        assert made is not None
        return made

    @property
    def agent(self) -> AgentPlan:
        made = agent_plan(self.machines[1], self.machines, agent_group=AGENT_UID)
        assert made is not None
        return made

    def root(self, name: str, script: str) -> str:
        done = self.tries(name, script)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def tries(self, name: str, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SSH, "-F", str(self.hosts.files() / "ssh_config"), name, "sudo", "sh", "-s"],
            input=script, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


@dataclass(frozen=True)
class TwoGroups(Playbook):
    """The playbook on both hosts, each with what the toolkit tells it."""

    told: dict[str, dict[str, Any]] = field(default_factory=dict)

    def _inventory(self, variables: dict[str, Any]) -> dict[str, Any]:
        one = super()._inventory(variables)[self.group]
        groups = {"vault": VAULT, "agent": AGENT}
        return {
            group: {"hosts": {name: {**one["hosts"][name], **self.told[name]}}, "vars": one["vars"]}
            for group, name in groups.items()
            if name in self.names
        }


@dataclass(frozen=True)
class Converged:
    tenant: Tenant
    playbook: TwoGroups
    check: Outcome
    first: Outcome

    def again(self, **variables: Any) -> Outcome:
        return self.playbook.run("--tags", "all", **variables)


@dataclass(frozen=True)
class Admin:
    """The tenant's administrator, in the network, with a certificate."""

    tenant: Tenant
    visitor: Visitor
    vault: HvacVault
    folder: Path

    def does(self, act: Callable[[HvacSession], Any]) -> Any:
        """Log in from there, act, log out."""

        def run() -> Any:
            session = self.vault.login(self.tenant.authority.client(self.folder, "ann"), TENANT_ADMIN)
            try:
                return act(session)
            finally:
                session.end()

        return inside(self.visitor.place, run)

    def deposits(self, path: str, value: str) -> None:
        self.does(lambda session: deposit(session, path, value))


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    hosts = Hosts(make_checkout(tmp_path_factory.mktemp("vault") / "check out"))
    hosts.up("2")
    addresses = {name: hosts.state(name).machine.wire.address for name in (VAULT, AGENT)}
    yield Tenant(hosts, tmp_path_factory.mktemp("tenant"), addresses)
    hosts.checkout.run("sandbox", "down")


def told_of(tenant: Tenant) -> dict[str, dict[str, Any]]:
    """What the toolkit's inventory tells each host, and the flow table its firewall."""
    address = str(tenant.addresses[VAULT])
    rules = [
        {"port": 8200, "protocol": "tcp", "interface": None, "source": f"{source}/32", "comment": "Vault"}
        for source in (tenant.addresses[AGENT], ADMIN_ADDRESS)
    ]
    return {
        VAULT: {
            "mutx_role": "vault",
            "ufw_incoming_rules": [SSH_RULE, *rules],
            "vault_server_config": literal(render_server(tenant.server)),
            "vault_names": [VAULT, "localhost", address, "127.0.0.1"],
            "vault_url": tenant.server.api_address,
            "vault_seal": "static",
        },
        AGENT: {
            "mutx_role": "agent",
            "ufw_incoming_rules": [SSH_RULE],
            "vault_agent_config": literal(render_agent(tenant.agent)),
            "vault_agent_settings": tenant.agent.settings(),
        },
    }


@pytest.fixture(scope="module")
def converged(tenant: Tenant) -> Converged:
    tenant.root(AGENT, AGENT_UNIT)
    playbook = TwoGroups(tenant.hosts, (VAULT, AGENT), tenant.folder, told=told_of(tenant))
    check = playbook.run("--check")
    return Converged(tenant, playbook, check, playbook.run())


@pytest.fixture(scope="module")
def authority(converged: Converged) -> str:
    return converged.tenant.root(VAULT, f"cat {VAULT_AUTHORITY}") + "\n"


@pytest.fixture(scope="module")
def admin(converged: Converged, authority: str) -> Admin:
    tenant = converged.tenant
    visitor = tenant.hosts.visitor("admin", "trial", TRIAL, f"{ADMIN_ADDRESS}/24")
    until(lambda: visitor.knock(str(tenant.addresses[VAULT]), 8200) is Answer.OPEN, within_s=15)
    return Admin(
        tenant, visitor, HvacVault(VaultAddress(tenant.server.api_address, authority)), tenant.folder
    )


@pytest.fixture(scope="module")
def enrolled_agent(converged: Converged, admin: Admin, authority: str) -> Converged:
    """The agent's host, let in by the administrator; a key lies there for it."""
    tenant = converged.tenant
    request = tenant.root(AGENT, f"cat {MACHINE_REQUEST}")
    admin.deposits(SHARED, "sk-shared")
    signed = admin.does(
        lambda session: enrolled(session, AGENT, str(tenant.addresses[AGENT]), request, agent_id="agent-1")
    )
    told = {"vault_agent_certificate": signed, "vault_agent_authorities": authority}
    converged.playbook.told[AGENT].update(told)
    run = converged.playbook.run()
    assert run.status == 0, run.text
    return converged


def changed(outcome: Outcome) -> set[str]:
    return {r["task"] for r in outcome.results if r.get("changed") and r["task"].startswith(OUR_TASKS)}


def listening(tenant: Tenant, name: str) -> set[str]:
    """Addresses and ports that others than the host itself can knock at."""
    listed = tenant.root(name, "ss -Hltn | awk '{print $4}'").split()
    return {place for place in listed if not place.startswith(("127.", "[::1]"))}


def test_a_vault_comes_up_by_itself_and_check_mode_foretold_it(converged: Converged) -> None:
    assert converged.first.status == 0, converged.first.text
    assert converged.check.status == 0, converged.check.text
    foretold = {"vault : Foretell what a new host is given | vault-03",
                "vault_agent : Foretell what a new host is given | va-03"}  # fmt: skip
    assert foretold <= changed(converged.check)

    said = converged.tenant.root(
        VAULT, "/usr/libexec/mutx/mutx-vault wait 5; ls /var/lib/openbao; journalctl -o cat -u openbao"
    )

    assert "its root token is revoked" in said
    assert "complete" in said.split()
    assert "begun" not in said.split()


def test_a_second_run_changes_nothing(converged: Converged) -> None:
    second = converged.again()

    assert second.status == 0, second.text
    assert second.changed() == {VAULT: 0, AGENT: 0}, changed(second)


def test_it_listens_as_the_flow_table_says_and_nobody_else_reaches_it(
    converged: Converged, admin: Admin
) -> None:
    tenant = converged.tenant
    address = str(tenant.addresses[VAULT])
    stranger = tenant.hosts.visitor("stranger", "trial", TRIAL, f"{STRANGER_ADDRESS}/24")

    ports = {int(place.rpartition(":")[2]) for place in listening(tenant, VAULT)}

    assert ports == {22, 8200, 8201}
    assert admin.visitor.knock(address, 8200) is Answer.OPEN
    assert [stranger.knock(address, port) for port in (8200, 8201)] == [Answer.SILENCE, Answer.SILENCE]
    assert admin.visitor.knock(address, 8201) is Answer.SILENCE


def test_the_certificate_lasts_a_day_and_is_renewed_by_a_reload(converged: Converged) -> None:
    tenant = converged.tenant
    show = (
        f"openssl s_client -connect {tenant.addresses[VAULT]}:8200 -CAfile {VAULT_AUTHORITY} </dev/null 2>&1"
    )
    serial = f"{show} | openssl x509 -noout -serial"
    pid = "systemctl show --property=MainPID --value openbao"
    before = (tenant.root(VAULT, serial), tenant.root(VAULT, pid))
    lasts = tenant.tries(VAULT, "openssl x509 -in /etc/openbao/tls/server.crt -noout -checkend 86400")

    tenant.root(VAULT, "systemctl start mutx-vault-certificate")
    until(lambda: tenant.root(VAULT, serial) != before[0], within_s=10)

    assert lasts.returncode == 1
    assert "Verify return code: 0" in tenant.root(VAULT, show)
    assert tenant.root(VAULT, pid) == before[1]


def test_a_host_that_nobody_enrolled_waits(converged: Converged) -> None:
    tenant = converged.tenant
    assert tenant.tries(AGENT, "test -e /etc/mutx/vault/machine.crt").returncode == 1, (
        "it is enrolled already"
    )
    failed = "systemctl --failed --no-legend 'mutx-vault*' 'mutx-hand*'"
    key = "stat -c '%U %a' /etc/mutx/vault/machine.key"
    seen = tenant.root(AGENT, f"systemctl is-enabled mutx-vault-agent; {failed}; {key}")

    assert seen.splitlines() == ["enabled", "mutx-vault 400"]


def test_an_enrolled_agent_s_host_is_given_its_key_and_its_agent_starts(enrolled_agent: Converged) -> None:
    tenant = enrolled_agent.tenant
    until(lambda: tenant.tries(AGENT, f"test -e {KEY}").returncode == 0, within_s=30)

    seen = tenant.root(AGENT, f"stat -c '%U %a' {KEY}; cat {KEY}; stat -f -c %T {KEY}")

    assert seen.split() == ["mutx-agent", "400", "sk-shared", "tmpfs"] or seen.startswith(
        "mutx-agent 400\nsk-shared"
    )
    until(lambda: tenant.tries(AGENT, "systemctl is-active mutx-agent").stdout == "active\n", within_s=30)


def test_a_rotated_key_arrives_within_ten_seconds(enrolled_agent: Converged, admin: Admin) -> None:
    tenant = enrolled_agent.tenant
    admin.deposits(SHARED, "sk-before")
    until(lambda: tenant.tries(AGENT, f"cat {KEY}").stdout == "sk-before", within_s=20)

    admin.deposits(SHARED, "sk-after")

    assert until(lambda: tenant.tries(AGENT, f"cat {KEY}").stdout == "sk-after", within_s=10) < 10


def test_an_agent_that_somebody_stopped_stays_stopped(enrolled_agent: Converged) -> None:
    tenant = enrolled_agent.tenant
    until(lambda: tenant.tries(AGENT, "systemctl is-active mutx-agent").stdout == "active\n", within_s=30)
    tenant.root(
        AGENT,
        "systemctl stop mutx-agent; systemctl restart mutx-vault-agent; rm -f /run/mutx-vault/delivered",
    )

    until(lambda: tenant.tries(AGENT, "test -e /run/mutx-vault/delivered").returncode == 0, within_s=20)
    time.sleep(2)

    assert tenant.tries(AGENT, "systemctl is-active mutx-agent").stdout == "inactive\n"
    tenant.root(AGENT, "systemctl start mutx-agent")


def test_a_run_changes_nothing_of_an_enrolled_host(enrolled_agent: Converged) -> None:
    second = enrolled_agent.again()

    assert second.changed() == {VAULT: 0, AGENT: 0}, changed(second)


def test_a_killed_server_comes_back_with_what_it_had(enrolled_agent: Converged, admin: Admin) -> None:
    tenant = enrolled_agent.tenant
    before = tenant.root(VAULT, "systemctl show --property=MainPID --value openbao")

    tenant.root(VAULT, "systemctl kill --signal=KILL openbao")
    tenant.root(VAULT, "sleep 1; /usr/libexec/mutx/mutx-vault wait 60")

    assert tenant.root(VAULT, "systemctl show --property=MainPID --value openbao") != before
    assert admin.does(lambda session: session.list("byok/metadata/shared")) == ("openai",)


def test_without_room_for_its_audit_log_it_refuses_and_with_room_it_serves(
    enrolled_agent: Converged, admin: Admin
) -> None:
    tenant = enrolled_agent.tenant
    tenant.root(VAULT, """systemctl stop openbao
        mount -t tmpfs -o size=64k,mode=0700,uid=$(id -u openbao),gid=$(id -g openbao) tmpfs /var/log/openbao
        head -c 60k /dev/zero >/var/log/openbao/full; chown openbao: /var/log/openbao/full
        systemctl start openbao --no-block; sleep 6""")  # fmt: skip

    refused = []
    for _ in range(10):
        try:
            admin.does(lambda session: session.list("byok/metadata/shared"))
        except MutxInfraError as exc:
            refused.append(exc.code)
    tenant.root(VAULT, "systemctl stop openbao; umount /var/log/openbao; systemctl start openbao; "
                       "/usr/libexec/mutx/mutx-vault wait 60")  # fmt: skip

    assert refused, "it served what it could not log"
    assert admin.does(lambda session: session.list("byok/metadata/shared")) == ("openai",)


def test_no_key_is_in_a_journal_a_file_or_a_command_line_of_either_host(
    enrolled_agent: Converged, admin: Admin
) -> None:
    tenant = enrolled_agent.tenant
    admin.deposits(SHARED, "sk-canary-on-machines")
    until(lambda: tenant.tries(AGENT, f"cat {KEY}").stdout == "sk-canary-on-machines", within_s=20)
    search = """{ journalctl -o cat --no-pager; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
        find /etc /var /root /home -xdev -type f -exec cat {} + 2>/dev/null; } | grep -ac sk-canar[y] || true"""

    assert {name: tenant.root(name, search) for name in (VAULT, AGENT)} == {VAULT: "0", AGENT: "0"}


BREAKS = {
    VAULT: {
        "vault-02": "chmod 0755 /var/lib/openbao",
        "vault-03": "systemctl -q disable openbao",
        "vault-04": "systemctl -q disable --now mutx-vault-certificate.timer",
        "vault-06": "rm /var/lib/openbao/complete",
        "vault-07": "chmod 0644 /var/log/openbao/audit.log",
        "vault-08": "systemctl -q disable --now mutx-hand-over.timer",
    },
    AGENT: {
        "va-02": "chmod 0440 /etc/mutx/vault/machine.key",
        "va-03": "mkdir -p /etc/systemd/system/mutx-vault-agent.service.d; "
        "printf '[Service]\\nNoNewPrivileges=no\\n' >/etc/systemd/system/mutx-vault-agent.service.d/a.conf; "
        "systemctl daemon-reload",
        "va-04": "systemctl -q disable mutx-vault-agent",
        "va-05": f"chmod 0444 {KEY}; systemctl stop mutx-vault-deliver",
    },
}


def failing(converged: Converged, name: str, *suites: str) -> set[str]:
    one = TwoGroups(converged.tenant.hosts, (name,), converged.playbook.folder, told=converged.playbook.told)
    one.prepare()
    return {control for control, verdict in verdicts(one, *suites).items() if verdict == "fail"}


@pytest.mark.full
def test_what_somebody_broke_by_hand_is_seen(enrolled_agent: Converged) -> None:
    tenant = enrolled_agent.tenant
    before = {name: failing(enrolled_agent, name, "test_vault") for name in BREAKS}
    for name, broken in BREAKS.items():
        tenant.root(name, "\n".join(broken.values()))

    after = {name: failing(enrolled_agent, name, "test_vault") for name in BREAKS}
    tenant.root(VAULT, "touch /var/lib/openbao/complete")
    tenant.root(AGENT, "rm -r /etc/systemd/system/mutx-vault-agent.service.d; systemctl daemon-reload")
    mended = enrolled_agent.again()

    # A static seal is for trials.
    assert before == {VAULT: {"vault-05"}, AGENT: set()}
    assert after == {VAULT: {"vault-05", *BREAKS[VAULT]}, AGENT: set(BREAKS[AGENT])}
    assert mended.status == 0, mended.text
    assert {name: failing(enrolled_agent, name, "test_vault") for name in BREAKS} == before


def test_a_first_start_that_was_cut_off_begins_anew_and_a_complete_store_is_never_touched(
    enrolled_agent: Converged, admin: Admin
) -> None:
    tenant = enrolled_agent.tenant
    tenant.root(
        VAULT, "systemctl stop openbao; cp -a /var/lib/openbao /root/whole; rm /var/lib/openbao/complete"
    )
    foreign = tenant.tries(VAULT, "/usr/libexec/mutx/mutx-vault before-start")

    tenant.root(
        VAULT, "touch /var/lib/openbao/begun; systemctl start openbao; /usr/libexec/mutx/mutx-vault wait 60"
    )
    anew = admin.does(lambda session: session.list("byok/metadata/shared"))
    tenant.root(VAULT, "systemctl stop openbao; rm -r /var/lib/openbao; mv /root/whole /var/lib/openbao; "
                       "systemctl start openbao; /usr/libexec/mutx/mutx-vault wait 60")  # fmt: skip

    assert (foreign.returncode, "did not begin" in foreign.stderr) == (1, True)
    assert anew == ()
    assert admin.does(lambda session: session.list("byok/metadata/shared")) == ("openai",)


def test_a_claim_gives_the_agent_s_host_to_the_tenant_and_closes_the_vault_s(
    enrolled_agent: Converged, admin: Admin, tmp_path: Path
) -> None:
    tenant = enrolled_agent.tenant
    hosts, address = tenant.hosts, str(tenant.addresses[VAULT])
    principal = tenant.root(AGENT, "cat /etc/ssh/mutx_principals/mutx")
    assert not is_closed(hosts, VAULT)

    admin.does(lambda session: session.write("ssh/config/ca", {"generate_signing_key": True}))
    until(lambda: is_closed(hosts, VAULT) and is_closed(hosts, AGENT), within_s=90)

    subprocess.run([SSH_KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ann"], check=True)
    certificate = admin.does(lambda session: ssh_certificate(session, tmp_path / "ann.pub", principal))
    (tmp_path / "ann-cert.pub").write_text(certificate)
    shown = (
        "-o",
        "ControlPath=none",
        "-o",
        f"IdentityFile={tmp_path}/ann",
        "-o",
        f"CertificateFile={tmp_path}/ann-cert.pub",
    )
    assert hosts.ssh(AGENT, "cat /var/lib/mutx/handed-over", *shown).returncode == 0
    assert hosts.ssh(VAULT, "true", *shown).returncode != 0
    assert admin.visitor.knock(address, 8200) is Answer.OPEN


def is_closed(hosts: Hosts, name: str) -> bool:
    done = hosts.ssh(name, "true", "-o", "ControlPath=none", "-o", "ConnectTimeout=3")
    return done.returncode != 0


def ssh_certificate(session: HvacSession, key: Path, principal: str) -> str:
    """Have a certificate signed as the tenant's operators are."""
    role = {"key_type": "ca", "allow_user_certificates": True, "allowed_users": principal, "ttl": "30m",
            "default_extensions": {"permit-pty": ""}}  # fmt: skip
    session.write("ssh/roles/operator", role)
    asked = {"public_key": key.read_text(), "valid_principals": principal}
    return str(session.write("ssh/sign/operator", asked)["signed_key"])
