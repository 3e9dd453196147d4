"""The Vault Agent beside an agent: what is delivered, how it changes, and what takes it away."""

from __future__ import annotations

import grp
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from mutx_infra.adapters.hvac_vault import HvacSession, HvacVault
from mutx_infra.errors import RefusedError
from mutx_infra.vault.agent import key_paths
from mutx_infra.vault_ports import ClientCertificate
from tests.support.administrator import Administrator
from tests.support.vault import RunningVault
from tests.support.vault_enrolment import signed
from tests.support.vault_machine import OWNER, PROGRAM, Machine, deposit
from tests.support.vault_product import SERVERS, begin, server_of
from tests.support.waiting import until

pytestmark = pytest.mark.story

OPENSSL = shutil.which("openssl") or "openssl"
OWN, SHARED = key_paths("agent-1", "openai")


@pytest.fixture(scope="module", params=SERVERS)
def vault(request: pytest.FixtureRequest) -> Iterator[RunningVault]:
    with server_of(request.param) as made:
        begin(Administrator(made, made.folder / "ann"))
        yield made


@pytest.fixture
def admin(vault: RunningVault) -> Iterator[HvacSession]:
    session = vault.as_admin()
    yield session
    session.end()


@pytest.fixture(scope="module")
def machine(vault: RunningVault) -> Iterator[Machine]:
    """An agent's host, enrolled, with a key of its own; its programs run."""
    made = Machine(vault, vault.folder / "agent-1")
    made.prepare()
    admin = vault.as_admin()
    made.enroll(admin)
    deposit(admin, OWN, "sk-first")
    with made.running():
        until(lambda: made.file("openai").exists(), within_s=15)
        yield made


def holds(file: Path, text: str) -> Callable[[], bool]:
    return lambda: file.exists() and file.read_text() == text


def shown(file: Path, *what: str) -> str:
    return subprocess.run(
        [OPENSSL, "x509", "-in", str(file), "-noout", *what], capture_output=True, text=True, check=True
    ).stdout


def lasts(file: Path, seconds: int) -> bool:
    command = [OPENSSL, "x509", "-in", str(file), "-noout", "-checkend", str(seconds)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Servers:
    """Two servers of a host that show its certificate, as far as its program sees them: files and `systemctl`."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._paths, self._scratch, self.folder = machine.plan.paths, folder, folder / "tls"
        self.folder.mkdir()
        self._told = folder / "told"

    @property
    def reloads(self) -> list[str]:
        return [line.split()[1] for line in self._told.read_text().splitlines()]

    def file(self, name: str) -> Path:
        return self.folder / name

    def public_key(self, name: str) -> str:
        command = [OPENSSL, "pkey", "-in", str(self.file(name)), "-pubout"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def install(self, source: str | None = None, *, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the program; `source` in the place of what the agent rendered, `status` is what a reload ends with."""
        if source is not None:
            (self._scratch / "service.pem").write_text(source)
        systemctl = self._scratch / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$@" >>{self._told}\nexit {status}\n')
        systemctl.chmod(0o755)
        group = grp.getgrgid(os.getgid()).gr_name
        installs = {
            "source": str(self._scratch / "service.pem") if source is not None else self._paths.service_certificate,
            "issuer": self._paths.service_authority,
            "authority": str(self.file("service-ca.crt")),
            "servers": [
                {"certificate": str(self.file(f"{name}.crt")), "key": str(self.file(f"{name}.key")),
                 "group": group, "unit": f"{name}.service"}
                for name in ("one", "two")
            ],
        }  # fmt: skip
        settings = self._scratch / "machine.json"
        settings.write_text(json.dumps({"installs": installs}))
        return subprocess.run(
            [sys.executable, str(PROGRAM), "install", f"--settings={settings}"],
            env={**os.environ, "PATH": f"{self._scratch}:{os.environ['PATH']}"},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip


def test_a_key_is_delivered_to_its_owner_alone(machine: Machine) -> None:
    file = machine.file("openai")

    assert (file.owner(), oct(file.stat().st_mode & 0o7777)) == (OWNER, "0o400")
    assert file.read_text() in {"sk-first", "sk-second", "sk-shared"}
    assert not machine.file("anthropic").exists()


def test_a_rotated_key_arrives_in_time_and_no_reader_sees_anything_else(
    machine: Machine, admin: HvacSession
) -> None:
    file, seen, is_over = machine.file("openai"), set(), Event()
    deposit(admin, OWN, "sk-before")
    until(holds(file, "sk-before"), within_s=10)

    def read() -> None:
        while not is_over.is_set():
            try:
                seen.add(file.read_text())
            except OSError as exc:
                seen.add(type(exc).__name__)

    reader = Thread(target=read)
    reader.start()
    deposit(admin, OWN, "sk-after")
    took = until(lambda: "sk-after" in seen, within_s=10)
    is_over.set()
    reader.join()

    assert took < 10
    assert seen == {"sk-before", "sk-after"}


def test_a_shared_key_counts_where_the_agent_has_none_of_its_own(
    machine: Machine, admin: HvacSession
) -> None:
    file = machine.file("openai")
    deposit(admin, SHARED, "sk-shared")
    deposit(admin, OWN, "sk-own")
    until(holds(file, "sk-own"), within_s=10)

    admin.delete(OWN.replace("/data/", "/metadata/"))
    until(holds(file, "sk-shared"), within_s=10)
    deposit(admin, OWN, "sk-own again")
    until(holds(file, "sk-own again"), within_s=20)


def test_a_key_that_is_gone_is_taken_away_and_one_that_comes_late_arrives(
    machine: Machine, admin: HvacSession
) -> None:
    own, shared = key_paths("agent-1", "anthropic")
    file = machine.file("anthropic")

    deposit(admin, shared, "sk-late")
    until(holds(file, "sk-late"), within_s=20)
    admin.delete(shared.replace("/data/", "/metadata/"))
    until(lambda: not file.exists(), within_s=10)

    until(
        lambda: "took ANTHROPIC_KEY away" in machine.log("deliver"), within_s=5
    )  # it is said after it is done
    assert own != shared


def test_no_key_is_in_a_log_of_the_host(machine: Machine) -> None:
    assert "sk-" not in machine.log("run") + machine.log("deliver")


def test_the_service_certificate_is_the_host_s_own_and_lasts_a_day_at_most(machine: Machine) -> None:
    file, authority = machine.secrets / "server.pem", machine.secrets / "ca.pem"
    until(lambda: file.exists() and authority.exists(), within_s=15)

    assert "acme-agent-1" in shown(file, "-subject")
    assert not lasts(file, 24 * 3600)
    assert lasts(file, 23 * 3600)
    verified = subprocess.run(
        [OPENSSL, "verify", "-CAfile", str(authority), str(file)], capture_output=True, check=False
    )
    assert verified.returncode == 0
    assert "PRIVATE KEY" in file.read_text()


def test_the_host_s_servers_show_that_certificate_and_a_server_that_did_not_take_it_is_told_again(
    machine: Machine, tmp_path: Path
) -> None:
    until(Path(machine.plan.paths.service_certificate).exists, within_s=15)
    servers = Servers(machine, tmp_path)

    refused = servers.install(status=1)
    taken, again = servers.install(), servers.install()

    assert (refused.returncode, "does not take the new certificate" in refused.stderr) == (1, True)
    assert (taken.stdout, again.stdout) == ("given a new certificate: one.service two.service\n", "")
    assert servers.reloads == ["one.service", "one.service", "two.service"]
    for name in ("one", "two"):
        assert oct(servers.file(f"{name}.key").stat().st_mode & 0o7777) == "0o640"
        assert "acme-agent-1" in shown(servers.file(f"{name}.crt"), "-subject")
        assert shown(servers.file(f"{name}.crt"), "-pubkey") == servers.public_key(f"{name}.key")
    assert "BEGIN CERTIFICATE" in servers.file("service-ca.crt").read_text()


def test_a_certificate_of_another_authority_or_key_is_not_shown(machine: Machine, tmp_path: Path) -> None:
    servers = Servers(machine, tmp_path)
    text = Path(machine.plan.paths.service_certificate).read_text()
    stranger = machine.vault.client(machine.vault.tenant_ca, "stranger")
    leaf = stranger.certificate.read_text()

    for source in (
        text.replace(text[text.index("-----BEGIN CERT") :], leaf),
        stranger.key.read_text() + text,
        "-",
    ):
        refused = servers.install(source)
        assert (refused.returncode, "error[vault-machine]: install" in refused.stderr) == (1, True), source

    assert sorted(path.name for path in servers.folder.iterdir()) == []


def test_its_token_is_short_bound_to_its_address_and_reads_no_other_agent_s_keys(
    vault: RunningVault, machine: Machine, admin: HvacSession
) -> None:
    other, _ = key_paths("agent-2", "openai")
    deposit(admin, other, "sk-other")
    paths = machine.plan.paths
    session = HvacVault(vault.where).login(
        ClientCertificate(Path(paths.certificate), Path(paths.key)), machine.name
    )

    token = session.read("auth/token/lookup-self") or {}

    assert 0 < int(token["ttl"]) <= 15 * 60
    assert token["bound_cidrs"] == ["127.0.0.1"]
    assert sorted(token["policies"]) == ["agent", "machine"]
    with pytest.raises(RefusedError, match="does not allow") as refused:
        session.read(other)
    assert refused.value.code == "vault-denied"
    session.end()


def test_a_certificate_that_ends_soon_is_renewed_by_the_vault_and_no_other_is_taken(
    vault: RunningVault, machine: Machine, admin: HvacSession
) -> None:
    there = Path(machine.plan.paths.certificate)
    former = there.read_text()
    assert (machine.does("renew").stdout, there.read_text()) == ("", former)

    there.write_text(signed(admin, machine.name, machine.request, ttl="2h"))
    renewed = machine.does("renew")

    assert "took a certificate" in renewed.stdout, renewed.stderr
    assert lasts(there, 29 * 86_400)
    stranger = vault.client(vault.tenant_ca, "stranger")
    refused = machine.does("take", str(stranger.certificate))
    assert (refused.returncode, "another key's" in refused.stderr) == (1, True)
    assert machine.does("request").stdout == ""


def test_what_was_delivered_stays_while_the_vault_does_not_answer(
    machine: Machine, vault: RunningVault
) -> None:
    file = machine.file("openai")
    before = file.read_text()

    vault.stop()
    time.sleep(8)
    during = file.read_text()
    vault.start()
    admin = vault.as_admin()
    deposit(admin, OWN, "sk-then")
    until(holds(file, "sk-then"), within_s=45)

    assert during == before


def test_a_host_that_is_no_longer_let_in_loses_keys_and_certificates(
    machine: Machine, vault: RunningVault
) -> None:
    admin = vault.as_admin()
    admin.delete(f"auth/cert/certs/{machine.name}")
    for accessor in admin.list("auth/token/accessors"):
        try:
            found = admin.write("auth/token/lookup-accessor", {"accessor": accessor})
        except RefusedError:
            continue  # it has ended meanwhile
        if machine.name in str(found["meta"]):
            admin.write("auth/token/revoke-accessor", {"accessor": accessor})

    until(lambda: not list(machine.secrets.iterdir()), within_s=30)
