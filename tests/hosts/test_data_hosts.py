"""PostgreSQL and Redis on a database host, by their own clients from other places of the network."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.x509 import load_pem_x509_certificate
from mutx_sandbox.machines.kernel import inside

from mutx_infra.adapters.ansible_inventory import literal
from mutx_infra.adapters.vault_templates import render_agent
from mutx_infra.flows import Role
from mutx_infra.inventory import AGENT_UID
from mutx_infra.vault.hosts import VaultHost, agent_plan
from mutx_infra.vault.places import CLIENT_AUTHORITY
from mutx_infra.vault_ports import ClientCertificate
from tests.support.authorities import Authority, make_authority
from tests.support.checkout import make_checkout
from tests.support.databases import HOST, Client, as_owner, as_root, sql
from tests.support.machines import NSENTER, Answer, Hosts
from tests.support.playbook import SSH_RULE, Outcome, Playbook
from tests.support.suites import verdicts

TRIAL = "10.63.255.0/24"
APP_SUBNET, NEIGHBOURS = "10.63.255.192/28", "10.63.255.224/28"
ONLY_DATABASES = ("--start-at-task", "Have PostgreSQL")
REPLICAS = Path(__file__).resolve().parents[1] / "support/guard_replicas.py"
OUR_TASKS = ("postgresql : ", "redis : ")
# A timer is enabled by its file, which check mode does not install.
UNFORESEEN = {
    "postgresql : Make a backup every night | pg-08",
    "redis : Make a backup every night | redis-06",
}
STATE = "find /etc -type f -exec sha256sum {} + | sort | sha256sum; ls -A /etc/mutx /var/lib/mutx/pending 2>&1 || true"


@dataclass(frozen=True)
class Converged:
    """The host after its first run."""

    playbook: Playbook
    check: Outcome
    first: Outcome

    def again(self, **variables: Any) -> Outcome:
        return self.playbook.run(*ONLY_DATABASES, **variables)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(make_checkout(tmp_path_factory.mktemp("data") / "check out"))
    made.up("1")
    yield made
    made.checkout.run("sandbox", "down")


@pytest.fixture(scope="module")
def address(hosts: Hosts) -> str:
    return str(hosts.state(HOST).machine.wire.address)


@pytest.fixture(scope="module")
def converged(hosts: Hosts, address: str, tmp_path_factory: pytest.TempPathFactory) -> Converged:
    """The host with both servers; Redis had run as Debian ships it, and had something in it."""
    as_root(hosts, "systemctl start redis-server; redis-cli set app:before 1")
    rules = [{"port": port, "protocol": "tcp", "interface": None, "source": source, "comment": "clients"}
             for port in (5432, 6379) for source in (APP_SUBNET, NEIGHBOURS)]  # fmt: skip
    variables = {
        "mutx_role": "database",
        "ufw_incoming_rules": [SSH_RULE, *rules],
        "postgresql_listen_addresses": [address],
        "postgresql_client_sources": [APP_SUBNET],
        "redis_listen_addresses": [address],
        "redis_guards": [HOST],
    }
    playbook = Playbook(hosts, (HOST,), tmp_path_factory.mktemp("playbook"), variables, group="database")
    before = as_root(hosts, STATE)
    check = playbook.run("--check", "--diff", *ONLY_DATABASES)
    assert as_root(hosts, STATE) == before, "check mode changed something"
    return Converged(playbook, check, playbook.run())


@pytest.fixture(scope="module")
def app(converged: Converged, hosts: Hosts, address: str) -> Client:
    """An agent in the app subnet; a table that its database's owner made is there."""
    as_owner(hosts, "CREATE TABLE IF NOT EXISTS notes (id serial PRIMARY KEY, text text)")
    passwords = [as_root(hosts, f"cat /etc/mutx/secrets/{name}-app") for name in ("postgresql", "redis")]
    client = Client(hosts.visitor("app", "trial", TRIAL, "10.63.255.193/24"), address, *passwords)
    # Who has just been plugged in is not reached at once.
    deadline = time.monotonic() + 10
    while client.visitor.knock(address, 6379) is not Answer.OPEN:
        assert time.monotonic() < deadline, "Redis does not answer its clients"
    return client


def changed(outcome: Outcome) -> set[str]:
    return {r["task"] for r in outcome.results if r.get("changed") and r["task"].startswith(OUR_TASKS)}


def refusal(variables: dict[str, Any], code: str) -> Any:
    """A case of the long form of the tests."""
    return pytest.param(variables, code, marks=pytest.mark.full)


def test_check_mode_on_a_new_host_foretells_the_first_run(converged: Converged) -> None:
    assert (converged.check.status, converged.first.status) == (0, 0), (
        converged.check.text + converged.first.text
    )
    assert changed(converged.check) | UNFORESEEN == changed(converged.first)


def test_a_second_run_changes_nothing(converged: Converged) -> None:
    second = converged.playbook.run()

    assert second.changed() == {HOST: 0}, changed(second)


def test_what_redis_held_before_is_still_there(app: Client) -> None:
    assert app.redis_cli("GET", "app:before") == "1"


def test_an_agent_reads_and_writes_over_tls_1_3(app: Client) -> None:
    done = app.psql("INSERT INTO notes (text) VALUES ('a') RETURNING text; "
                    "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")  # fmt: skip

    assert (done.stdout.split(), done.stderr) == (["a", "TLSv1.3"], "")
    assert app.redis_cli("SET", "app:a", "1") == "OK"
    assert app.redis_cli("GET", "app:a") == "1"


def test_the_stand_in_certificate_names_the_host_and_its_address(
    app: Client, hosts: Hosts, address: str, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(as_root(hosts, "cat /etc/mutx/tls/postgresql.crt"))
    program = "import psycopg, sys; print(psycopg.connect(sys.argv[1]).execute('SELECT 1').fetchone())"
    line = f"host={address} user=app dbname=app sslmode=verify-full sslrootcert={tmp_path}/ca.pem"

    done = subprocess.run(
        [NSENTER, f"--net={app.visitor.place}", sys.executable, "-c", program, line],
        env={**os.environ, "PGPASSWORD": app.postgresql}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.stdout == "(1,)\n", done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"sslmode": "disable"}, "no encryption"),
        ({"ssl_max_protocol_version": "TLSv1.2", "ssl_min_protocol_version": "TLSv1.2"}, "protocol version"),
        ({"password": "wrong-wrong-wrong"}, "password authentication failed"),
        ({"user": "postgres"}, "no pg_hba.conf entry"),
        ({"user": "app_owner"}, "no pg_hba.conf entry"),
        ({"dbname": "postgres"}, "no pg_hba.conf entry"),
    ],
    ids=["no TLS", "TLS 1.2", "password", "administrator", "owner", "database"],
)
def test_postgresql_refuses(app: Client, more: dict[str, str], said: str) -> None:
    done = app.psql("SELECT 1", **more)

    assert done.returncode == 2
    assert said in done.stderr


def test_redis_refuses_who_has_no_tls_or_no_password(app: Client) -> None:
    assert "rror" in app.redis_cli("PING", plain=True)
    assert "WRONGPASS" in app.redis_cli("PING", password="wrong-wrong-wrong")
    assert "WRONGPASS" in app.redis_cli("PING", user="default", password="x")
    assert app.redis_cli("PING") == "PONG"


def test_others_reach_neither_or_are_refused(app: Client, hosts: Hosts, address: str) -> None:
    stranger = hosts.visitor("stranger", "trial", TRIAL, "10.63.255.211/24")
    neighbour = Client(
        hosts.visitor("neighbour", "trial", TRIAL, "10.63.255.225/24"), address, app.postgresql, app.redis
    )

    assert [app.visitor.knock(address, port) for port in (5432, 6379)] == [Answer.OPEN, Answer.OPEN]
    assert [stranger.knock(address, port) for port in (5432, 6379)] == [Answer.SILENCE, Answer.SILENCE]
    # The firewall lets this one pass, so the refusal is the server's own.
    assert neighbour.visitor.knock(address, 5432) is Answer.OPEN
    assert "no pg_hba.conf entry" in neighbour.psql("SELECT 1").stderr


def test_an_agent_can_make_nothing_and_see_nothing_of_others(app: Client) -> None:
    forbidden = [
        "CREATE TABLE mine (id int)", "CREATE SCHEMA mine", "CREATE TEMP TABLE mine (id int)", "DROP TABLE notes",
        "TRUNCATE notes", "ALTER TABLE notes ADD more int", "CREATE ROLE eve", "SET ROLE app_owner",
        "ALTER SYSTEM SET log_connections = off", "SELECT * FROM pg_authid", "SELECT pg_read_file('/etc/passwd')",
        "COPY notes TO PROGRAM 'cat'", "COPY notes FROM '/etc/passwd'", "CREATE EXTENSION dblink",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "ALTER ROLE app SUPERUSER",
    ]  # fmt: skip

    allowed = [statement for statement in forbidden if app.psql(statement).returncode == 0]

    assert allowed == []


def test_an_agent_s_redis_user_can_do_no_more_than_it_must(app: Client) -> None:
    forbidden = [
        "CONFIG GET dir", "ACL LIST", "KEYS *", "FLUSHALL", "FLUSHDB", "SET other:key 1", "GET other:key",
        "EVAL return 0", "SHUTDOWN", "CLIENT LIST", "MONITOR", "SAVE", "BGSAVE", "REPLICAOF NO ONE",
        "MODULE LIST", "INFO", "PUBLISH other 1", "SLOWLOG GET", "SWAPDB 0 1",
    ]  # fmt: skip

    answers = {command: app.redis_cli(*command.split()) for command in forbidden}

    assert {command: said for command, said in answers.items() if "NOPERM" not in said} == {}


def test_no_password_is_printed_logged_or_in_a_command_line(
    app: Client, converged: Converged, hosts: Hosts
) -> None:
    printed = converged.check.text + converged.first.text + converged.first.said()
    logs = as_root(
        hosts,
        "cat /var/log/postgresql/*.log; journalctl --no-pager -o cat; cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
    )

    for secret in (app.postgresql, app.redis, "SCRAM-SHA-256$"):
        assert secret not in printed
        assert secret not in logs


def test_a_replaced_certificate_is_taken_by_a_reload(app: Client, hosts: Hosts) -> None:
    started = sql(hosts, "SELECT pg_postmaster_start_time()")
    as_root(hosts, "cp -a /etc/mutx/tls /root/former")
    make = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=replaced "
            "-keyout /etc/mutx/tls/{0}.key -out /etc/mutx/tls/{0}.crt 2>/dev/null")  # fmt: skip
    as_root(hosts, "; ".join(make.format(name) for name in ("postgresql", "redis")))
    as_root(hosts, "systemctl reload postgresql redis-server")

    ways = (f"-starttls postgres -connect {app.address}:5432", f"-connect {app.address}:6379")
    show = "openssl s_client {} </dev/null 2>/dev/null | openssl x509 -noout -subject"
    shown = [as_root(hosts, show.format(way)) for way in ways]

    as_root(
        hosts,
        "cp -a /root/former/* /etc/mutx/tls; rm -r /root/former; systemctl reload postgresql redis-server",
    )

    assert shown == ["subject=CN = replaced"] * 2
    assert sql(hosts, "SELECT pg_postmaster_start_time()") == started


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"postgresql_listen_addresses": ["10.9.9.9"]}, "[file-check]"),
        ({"redis_app_commands": ["+@nonsense"]}, "[file-check]"),
        refusal({"postgresql_client_sources": ["10.0.0.0/99"]}, "[file-check]"),
        refusal({"postgresql_client_sources": ["0.0.0.0/0"]}, "[postgresql-names]"),
        refusal({"postgresql_settings": {"ssl": "off"}}, "[postgresql-settings]"),
        refusal({"redis_settings": {"maxmemory-samples": "many"}}, "[file-check]"),
        refusal({"redis_app_commands": ["+@all"]}, "[redis-user]"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_bad_variable_is_refused_before_anything_is_changed(
    app: Client, converged: Converged, hosts: Hosts, variables: dict[str, Any], code: str
) -> None:
    before = as_root(hosts, STATE)

    refused = converged.again(**variables)

    assert refused.status != 0
    assert code in refused.said()
    assert as_root(hosts, STATE) == before
    assert app.psql("SELECT 1").stdout == "1\n"
    assert app.redis_cli("PING") == "PONG"


def test_a_run_that_died_before_the_server_knew_is_made_up_for_without_a_restart(
    app: Client, converged: Converged, hosts: Hosts
) -> None:
    started = sql(hosts, "SELECT pg_postmaster_start_time()")
    setting = {"postgresql_settings": {"work_mem": "5MB"}}
    as_root(hosts, "kill -STOP $(head -1 /var/lib/postgresql/15/main/postmaster.pid)")
    died: list[Outcome] = []
    run = threading.Thread(target=lambda: died.append(converged.again(**setting)))
    run.start()
    deadline = time.monotonic() + 60
    while not as_root(hosts, "ls /var/lib/mutx/pending") and time.monotonic() < deadline:
        time.sleep(0.3)
    as_root(hosts, "sleep 2; kill -9 $(ps -o ppid= -C runuser); kill -9 $(pidof runuser psql) 2>/dev/null; "
                   "kill -CONT $(head -1 /var/lib/postgresql/15/main/postmaster.pid)")  # fmt: skip
    run.join()
    between = (as_root(hosts, "ls /var/lib/mutx/pending"), sql(hosts, "SHOW work_mem"))

    again = converged.again(**setting)

    assert died[0].status != 0
    assert between == ("postgresql", "4MB")
    assert "the files changed" in [reason for r in again.results for reason in r.get("reasons", [])]
    assert sql(hosts, "SHOW work_mem; SELECT pg_postmaster_start_time()") == f"5MB\n{started}"
    converged.again()


def test_what_was_lost_since_the_backup_is_restored(app: Client, hosts: Hosts) -> None:
    app.psql("INSERT INTO notes (text) SELECT 'kept' FROM generate_series(1, 1000)")
    app.redis_cli("SET", "app:kept", "1")
    as_root(hosts, "systemctl start mutx-backup-postgresql mutx-backup-redis")
    as_owner(hosts, "DROP TABLE notes")
    app.redis_cli("DEL", "app:kept")
    assert (app.psql("SELECT FROM notes").returncode, app.redis_cli("GET", "app:kept")) == (1, "")

    said = as_root(hosts, "mutx-backup restore postgresql latest app; mutx-backup restore redis latest")

    assert app.psql("SELECT count(*) FROM notes WHERE text = 'kept'").stdout == "1000\n"
    assert app.psql("INSERT INTO notes (text) VALUES ('new')").returncode == 0
    assert app.redis_cli("GET", "app:kept") == "1"
    assert said.count("restored") == 2


def test_a_full_disk_leaves_the_former_backups_and_is_said(app: Client, hosts: Hosts) -> None:
    app.psql("INSERT INTO notes (text) SELECT md5(random()::text) FROM generate_series(1, 20000)")
    place = "/var/backups/mutx/postgresql"
    as_root(
        hosts,
        f"""cp -a {place} /tmp/former; mount -t tmpfs -o size=256k,mode=0700 tmpfs {place}
        cp -a /tmp/former/last-success $(ls -d /tmp/former/2* | tail -1) {place}""",
    )
    before = as_root(hosts, f"cd {place}; find . -type f ! -name .lock -exec sha256sum {{}} +")

    said = as_root(hosts, "mutx-backup make postgresql 2>&1 || true")
    after = as_root(
        hosts,
        f"cd {place}; find . -type f ! -name .lock -exec sha256sum {{}} +; ls -A | grep unfinished || true",
    )
    as_root(hosts, f"umount {place}; rm -r /tmp/former")

    assert "[backup-failed]" in said
    assert "No space left on device" in said
    assert "1 former backups are as they were" in said
    assert after == before


BREAKS = (
    {
        "pg-01": "systemctl -q disable postgresql",
        "pg-03": "cd /etc/mutx/tls; cat redis.crt >postgresql.crt; cat redis.key >postgresql.key; cd /",
        "pg-05": "echo 'host all all 10.0.0.0/8 md5' >>/etc/postgresql/15/main/pg_hba.conf",
        "pg-07": "chmod 644 /etc/mutx/secrets/postgresql-app",
        "redis-02": 'ask CONFIG SET maxmemory-policy allkeys-lru',
        "redis-04": "sed -i 's/^user app .*/& +@all/' /etc/redis/mutx.acl; ask ACL LOAD",
        "redis-06": "sed -i 's/2026-/2025-/' /var/backups/mutx/redis/last-success",
    },
    {
        "pg-02": "psql -c 'ALTER SYSTEM SET log_connections = off'; systemctl reload postgresql",
        "pg-04": "psql -d app -c 'GRANT CREATE ON SCHEMA public TO app'",
        "pg-06": "psql -c 'CREATE ROLE eve SUPERUSER'",
        "pg-08": "rm -r /var/backups/mutx/postgresql/2*",
        "redis-01": "systemctl -q disable redis-server",
        "redis-03": "cd /etc/mutx/tls; openssl req -x509 -key redis.key -days 30 -subj /CN=other -out redis.crt; cd /",
        "redis-05": "chmod 640 /etc/mutx/secrets/redis-ops",
    },
)  # fmt: skip
HELP = """set -e; cd /
psql() { runuser -u postgres -- /usr/bin/psql -Xq "$@"; }
export REDISCLI_AUTH=$(cat /etc/mutx/secrets/redis-ops)
ask() { redis-cli -e -s /run/redis/redis.sock --user ops --no-auth-warning "$@"; }
"""
NOT_A_RUN_S = "psql -c 'DROP ROLE IF EXISTS eve'; systemctl start mutx-backup-postgresql mutx-backup-redis"
"""What no run may mend: a role that somebody made, a backup that was not."""


@pytest.mark.full
def test_what_somebody_broke_by_hand_fails_and_a_run_mends_it(
    app: Client, converged: Converged, hosts: Hosts
) -> None:
    seen = []
    for half in BREAKS:
        as_root(hosts, HELP + "\n".join(half.values()))
        seen.append(failing(converged))
        converged.again()
        as_root(hosts, HELP + NOT_A_RUN_S)
    seen.append(failing(converged))

    assert seen == [set(BREAKS[0]), set(BREAKS[1]), set()]


def failing(converged: Converged) -> set[str]:
    """The controls of the two suites that are not met."""
    seen = verdicts(converged.playbook, "test_postgresql", "test_redis")
    assert len(seen) == 16
    return {control for control, verdict in seen.items() if verdict not in {"pass", "not-applicable"}}


@dataclass(frozen=True)
class Known:
    """The host as one that the tenant's Vault knows. What the Vault Agent would have had issued, the test puts there.

    Attributes:
        authority: of the tenant's services.
        told: what the toolkit tells such a host.
    """

    hosts: Hosts
    folder: Path
    authority: Authority
    playbook: Playbook
    told: dict[str, Any]

    def converge(self) -> Outcome:
        return self.playbook.run("--start-at-task", "Speak with the tenant's Vault", **self.told)

    def issue(self) -> str:
        """Have a new certificate, as the agent renders it; returns its serial number once both servers show it."""
        made = self.authority.service(self.folder, HOST)
        self._put("service-ca.pem", self.authority.pem)
        self._put("service.pem", made.key.read_text() + made.certificate.read_text() + self.authority.pem)
        serial = f"{load_pem_x509_certificate(made.certificate.read_bytes()).serial_number:X}"
        deadline = time.monotonic() + 20
        while (shown := self._shown()) != [serial, serial]:
            assert time.monotonic() < deadline, (
                shown,
                as_root(self.hosts, "journalctl -u mutx-vault-install -o cat"),
            )
            time.sleep(0.2)
        return serial

    def _put(self, name: str, text: str) -> None:
        place = f"/run/mutx-vault/{name}"
        as_root(self.hosts, f"umask 077; cat >{place}.new <<'END'\n{text}END\n"
                            f"chown mutx-vault: {place}.new; mv {place}.new {place}")  # fmt: skip

    def _shown(self) -> list[str]:
        listened = "$(ss -Hltn 'sport = :5432' | awk 'NR==1 {print $4}')"
        show = "openssl s_client {} </dev/null 2>/dev/null | openssl x509 -noout -serial || true"
        ways = (f"-starttls postgres -connect {listened}", "-connect 127.0.0.1:6379")
        return [as_root(self.hosts, show.format(way)).removeprefix("serial=").lstrip("0") for way in ways]


@pytest.fixture(scope="module")
def known(app: Client, converged: Converged, hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """It comes last in the file: from here on nobody is let in without a certificate."""
    (host,) = [VaultHost(HOST, "database-1", Role.DATABASE, IPv4Address(app.address))]
    vault = VaultHost("trial-vault-1", "vault-1", Role.VAULT, IPv4Address("10.63.255.9"))
    plan = agent_plan(host, [vault, host], agent_group=AGENT_UID)
    assert plan is not None
    told = {
        "vault_agent_config": literal(render_agent(plan)),
        "vault_agent_settings": plan.settings(),
        "postgresql_client_authority": CLIENT_AUTHORITY,
        "redis_client_authority": CLIENT_AUTHORITY,
    }
    authority = make_authority("trial services")
    made = Known(hosts, tmp_path_factory.mktemp("service"), authority, converged.playbook, told)
    done = made.converge()
    assert done.status == 0, done.text
    return made


def test_nobody_is_let_in_before_certificates_are_issued(app: Client, known: Known) -> None:
    assert "requires a valid client certificate" in app.psql("SELECT 1").stderr
    assert "PONG" not in app.redis_cli("PING")
    assert known.converge().changed() == {HOST: 0}


def test_a_certificate_of_the_tenant_s_services_lets_in_and_rotates_without_a_restart(
    app: Client, known: Known, hosts: Hosts
) -> None:
    known.issue()
    started = sql(hosts, "SELECT pg_postmaster_start_time()")
    agent = known.authority.service(known.folder, "trial-agent-1")
    stranger = make_authority("others").service(known.folder, "other-agent-1")

    let_in = [
        speaks(app, known.authority.pem, agent) for _ in range(2) if known.issue()
    ]  # after each of two rotations

    assert let_in == ["1 PONG", "1 PONG"]
    assert speaks(app, known.authority.pem, stranger) == "refused refused"
    assert app.psql("SELECT 1").returncode == 2
    assert sql(hosts, "SELECT pg_postmaster_start_time()") == started


def test_guards_share_what_they_know_of_agents_by_their_certificate_and_their_user(
    app: Client, known: Known, hosts: Hosts, tmp_path: Path
) -> None:
    known.issue()
    guard = known.authority.service(known.folder, "trial-guard-1")
    stranger = make_authority("others").service(known.folder, "other-guard-1")
    names, ca, secret = (tmp_path / name for name in ("hosts", "ca.pem", "redis-guard"))
    names.write_text(f"{app.address} {HOST}\n")
    ca.write_text(known.authority.pem)
    secret.write_text(as_root(hosts, "cat /etc/mutx/secrets/redis-guard"))

    def ask(shown: ClientCertificate, password: Path) -> str:
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        done = subprocess.run(
            [NSENTER, f"--net={app.visitor.place}", "unshare", "--mount", "sh", "-c", script, names, sys.executable,
             REPLICAS, HOST, shown.certificate, shown.key, ca, password],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout.strip() or done.stderr

    assert ask(guard, secret) == "100 of 103"
    assert "store failed" in ask(stranger, secret)
    wrong = tmp_path / "wrong"
    wrong.write_text(app.redis)
    assert ask(guard, wrong) == "the store failed (AuthenticationError)"
    assert as_root(hosts, HELP + "ask ACL LIST | grep -c '^user guard on .* ~mutx-guardrail:'") == "1"


@pytest.mark.full
def test_what_is_asked_of_clients_is_checked_and_put_right(known: Known, hosts: Hosts) -> None:
    as_root(hosts, "install -o mutx-vault -m 0444 /etc/mutx/tls/postgresql.crt /etc/mutx/vault/machine.crt")
    mutual = {"pg-03", "pg-09", "redis-03", "redis-07"}

    def unmet() -> set[str]:
        seen = verdicts(known.playbook, "test_postgresql", "test_redis")
        return {control for control in mutual if seen[control] != "pass"}

    whole = unmet()
    as_root(hosts, HELP + "sed -i 's/ clientcert=.*//' /etc/postgresql/15/main/pg_hba.conf; "
                          "systemctl reload postgresql; ask CONFIG SET tls-auth-clients no")  # fmt: skip
    broken = unmet()
    known.converge()

    assert (whole, broken, unmet()) == (set(), {"pg-09", "redis-07"}, set())


def speaks(app: Client, authority: str, shown: ClientCertificate) -> str:
    """Say what both servers answer to who shows a certificate and knows the passwords."""

    def postgresql() -> str:
        place = shown.certificate.with_name("ca.pem")
        place.write_text(authority)
        line = (f"host={HOST} hostaddr={app.address} user=app dbname=app sslmode=verify-full sslrootcert={place} "
                f"sslcert={shown.certificate} sslkey={shown.key} password={app.postgresql}")  # fmt: skip
        with psycopg.connect(line) as connection:
            return str(connection.execute("SELECT 1").fetchone()[0])  # type: ignore[index]

    def redis() -> str:
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(shown.certificate, shown.key)
        with (
            socket.create_connection((app.address, 6379), 10) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as secret,
        ):
            secret.sendall(f"AUTH app {app.redis}\r\nPING\r\n".encode())
            said = b""
            while said.count(b"\r\n") < 2 and (more := secret.recv(100)):
                said += more
            return said.decode().split("+")[-1].strip()

    return " ".join(inside(app.visitor.place, partial(_or_refused, ask)) for ask in (postgresql, redis))


def _or_refused(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (OSError, psycopg.OperationalError):
        return "refused"
