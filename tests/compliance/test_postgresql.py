"""PostgreSQL (NET-4, PRIN-2): asked of the running server over its socket, not of its files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.database import (
    GOOD_CERTIFICATES,
    GOOD_MUTUAL,
    backup,
    certificates,
    is_good,
    listeners,
    loose,
    mutual,
    require_mutual,
)
from mutx_infra.compliance.plugin import Look

pytestmark = pytest.mark.roles("database")

PORT = 5432
SETTINGS = {
    "password_encryption": "scram-sha-256",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_statement": "ddl",
    "log_parameter_max_length": "0",
    "unix_socket_permissions": "0700",
    "fsync": "on",
}
EVERYBODY = {"all", "samehost", "samenet"}
_CLUSTER = """
SELECT json_build_object(
  'settings', (SELECT json_object_agg(name, current_setting(name)) FROM pg_settings),
  'waiting', ARRAY(SELECT name FROM pg_settings WHERE pending_restart),
  'overridden', ARRAY(SELECT name FROM pg_file_settings WHERE sourcefile LIKE '%mutx.conf' AND NOT applied),
  'rules', (SELECT json_agg(r) FROM pg_hba_file_rules r),
  'powers', ARRAY(SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND
    (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)),
  'plain', ARRAY(SELECT rolname FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%'),
  'members', ARRAY(SELECT member::regrole::text FROM pg_auth_members WHERE member::regrole::text !~ '^pg_'),
  'databases', ARRAY(SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate),
  'open', ARRAY(SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres'
    AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0)));
"""
_MAKERS = """
SELECT rolname FROM pg_roles, pg_database WHERE datname = current_database() AND rolcanlogin AND NOT rolsuper
  AND (has_schema_privilege(rolname, 'public', 'CREATE') OR has_database_privilege(rolname, datname, 'CREATE'))
"""


@pytest.fixture(scope="module")
def ask(host: Host) -> Callable[[str, str], str]:
    """Ask a database over the socket, as its administrator's account."""

    def query(database: str, sql: str) -> str:
        command = (
            f"cd / && runuser -u postgres -- psql -XqAt -d {shlex.quote(database)} -c {shlex.quote(sql)}"
        )
        return str(host.check_output(command))

    return query


@pytest.fixture(scope="module")
def cluster(ask: Callable[[str, str], str]) -> dict[str, Any]:
    """What the server says of itself."""
    found: dict[str, Any] = json.loads(ask("postgres", _CLUSTER))
    return found


@pytest.mark.control("pg-01")
def test_it_runs_from_boot_and_listens_on_the_data_interface_alone(
    host: Host, unit: Callable[[str], Unit], variables: dict[str, Any], observe: Look
) -> None:
    seen = {"runs from boot": unit("postgresql.service").runs_from_boot, "listens on": listeners(host, PORT)}
    wanted = {"runs from boot": True, "listens on": sorted(variables.get("postgresql_listen_addresses", []))}

    observe(seen, wanted=wanted)


@pytest.mark.control("pg-02")
def test_settings_are_in_force_and_none_is_overridden(cluster: dict[str, Any], observe: Look) -> None:
    seen = {name: cluster["settings"].get(name) for name in SETTINGS}
    seen |= {"overridden": cluster["overridden"], "waiting for a restart": cluster["waiting"]}

    observe(seen, wanted={**SETTINGS, "overridden": [], "waiting for a restart": []})


@pytest.mark.control("pg-03")
def test_clients_have_tls_1_3_by_the_certificate_of_the_file(
    host: Host, cluster: dict[str, Any], variables: dict[str, Any], observe: Look
) -> None:
    addresses = variables.get("postgresql_listen_addresses", [])
    if not addresses:
        observe.not_applicable("it listens on its socket alone")
    seen = {
        "ssl": cluster["settings"]["ssl"],
        "from": cluster["settings"]["ssl_min_protocol_version"],
        **certificates(host, "postgresql", f"-starttls postgres -connect {addresses[0]}:{PORT}"),
    }

    observe(seen, wanted={"ssl": "on", "from": "TLSv1.3", **GOOD_CERTIFICATES})


@pytest.mark.control("pg-04")
def test_users_make_nothing_in_their_databases(
    cluster: dict[str, Any], ask: Callable[[str, str], str], observe: Look
) -> None:
    makers = {name: ask(name, _MAKERS).split() for name in cluster["databases"]}
    seen = {
        "open to everybody": cluster["open"],
        "make tables": {name: roles for name, roles in makers.items() if roles},
        "have another role's rights": cluster["members"],
    }

    observe(seen, wanted={"open to everybody": [], "make tables": {}, "have another role's rights": []})


@pytest.mark.control("pg-05")
def test_named_users_come_by_tls_and_scram_from_named_networks(
    cluster: dict[str, Any], variables: dict[str, Any], observe: Look
) -> None:
    wide = [rule for rule in cluster["rules"] if not _is_narrow(rule)]
    lines = sorted(str(rule["line_number"]) for rule in wide)
    sources = sorted({_source(rule) for rule in cluster["rules"] if rule["type"] != "local"})

    wanted = sorted(variables.get("postgresql_client_sources", sources))
    observe({"lines that admit too much": lines, "from": sources},
            wanted={"lines that admit too much": [], "from": wanted})  # fmt: skip


@pytest.mark.control("pg-06")
def test_its_own_account_alone_has_power(cluster: dict[str, Any], observe: Look) -> None:
    observe(sorted(cluster["powers"]), wanted=["postgres"])


@pytest.mark.control("pg-07")
def test_passwords_and_keys_are_root_s_and_the_server_has_verifiers(
    host: Host, cluster: dict[str, Any], observe: Look
) -> None:
    seen = {"loose": loose(host, "postgresql"), "no verifier": cluster["plain"]}

    observe(seen, wanted={"loose": [], "no verifier": []})


@pytest.mark.control("pg-09")
def test_clients_show_a_certificate_of_the_tenant_s_services(
    host: Host, cluster: dict[str, Any], variables: dict[str, Any], observe: Look
) -> None:
    require_mutual(host, variables.get("postgresql_client_authority", ""), observe)
    rules = [rule for rule in cluster["rules"] if rule["type"] != "local"]
    lax = sorted(rule["line_number"] for rule in rules if not _asks_for_a_certificate(rule))

    observe({"lines without": lax, **mutual(host, "postgresql")}, wanted={"lines without": [], **GOOD_MUTUAL})


@pytest.mark.control("pg-08")
def test_a_backup_of_last_night_was_read_back(host: Host, unit: Callable[[str], Unit], observe: Look) -> None:
    seen = backup(host, "postgresql", unit("mutx-backup-postgresql.timer").runs_from_boot)

    observe(seen, wanted="at most 26 hours old, and a timer for the next", is_met=is_good(seen))


def _is_narrow(rule: dict[str, Any]) -> bool:
    if rule["error"]:
        return False
    if rule["type"] == "local":
        return (rule["user_name"], rule["auth_method"]) == (["postgres"], "peer")
    names = {*rule["database"], *rule["user_name"]}
    is_named = not names & {"all", "sameuser", "samerole", "replication", "postgres"} and not _is_everybody(
        rule["address"], rule["netmask"]
    )
    return is_named and (rule["type"], rule["auth_method"]) == ("hostssl", "scram-sha-256")


def _asks_for_a_certificate(rule: dict[str, Any]) -> bool:
    return any(option.startswith("clientcert=verify-") for option in rule["options"] or [])


def _is_everybody(address: str, netmask: str | None) -> bool:
    return address in EVERYBODY or not (netmask or "").strip("0.:")


def _source(rule: dict[str, Any]) -> str:
    try:
        return str(ip_network(f"{rule['address']}/{rule['netmask']}"))
    except ValueError:
        return str(rule["address"])
