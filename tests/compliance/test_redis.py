"""Redis (NET-4, PRIN-2): asked of the running server over its socket, not of its files."""

from __future__ import annotations

import re
from collections.abc import Callable
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

PORT = 6379
LOOPBACK = "127.0.0.1"
SETTINGS = {
    "protected-mode": "yes",
    "appendonly": "yes",
    "aclfile": "/etc/redis/mutx.acl",
    "unixsocketperm": "700",
    "enable-debug-command": "no",
    "enable-module-command": "no",
    "enable-protected-configs": "no",
}
POWERS = {
    "+@all",
    "+@admin",
    "+@dangerous",
    "+acl",
    "+config",
    "+acl|setuser",
    "+module",
    "+debug",
    "allcommands",
}
# The shell's own expansion: the password is in no command line.
_ASK = (
    "REDISCLI_AUTH=$(cat /etc/mutx/secrets/redis-ops) redis-cli -e -s /run/redis/redis.sock --user ops "
    "--no-auth-warning {command}"
)


@pytest.fixture(scope="module")
def ask(host: Host) -> Callable[[str], list[str]]:
    """Ask the server, as the user who looks after it."""
    return lambda command: str(host.check_output(_ASK.format(command=command))).split("\n")


@pytest.fixture(scope="module")
def live(ask: Callable[[str], list[str]]) -> dict[str, str]:
    """The settings that it has."""
    lines = ask("CONFIG GET '*'")
    return dict(zip(lines[::2], lines[1::2], strict=False))


@pytest.mark.control("redis-01")
def test_it_runs_from_boot_and_listens_on_the_data_interface_alone(
    host: Host, unit: Callable[[str], Unit], variables: dict[str, Any], observe: Look
) -> None:
    seen = {
        "runs from boot": unit("redis-server.service").runs_from_boot,
        "listens on": listeners(host, PORT),
    }
    wanted = sorted([LOOPBACK, *variables.get("redis_listen_addresses", [])])

    observe(seen, wanted={"runs from boot": True, "listens on": wanted})


@pytest.mark.control("redis-02")
def test_settings_are_in_force(live: dict[str, str], variables: dict[str, Any], observe: Look) -> None:
    policy = variables.get("redis_maxmemory_policy", "noeviction")
    wanted = {**SETTINGS, "maxmemory-policy": policy}
    seen = {name: live.get(name, "") for name in wanted}
    has_limit = live.get("maxmemory", "0") != "0"

    observe({**seen, "has a limit": has_limit}, wanted={**wanted, "has a limit": True})


@pytest.mark.control("redis-03")
def test_clients_have_tls_1_3_by_the_certificate_of_the_file(
    host: Host, live: dict[str, str], observe: Look
) -> None:
    seen = {
        "plain port": live.get("port"),
        "protocols": live.get("tls-protocols"),
        **certificates(host, "redis", f"-connect {LOOPBACK}:{PORT}"),
    }

    observe(seen, wanted={"plain port": "0", "protocols": "TLSv1.3", **GOOD_CERTIFICATES})


@pytest.mark.control("redis-04")
def test_users_are_named_and_can_do_little(
    ask: Callable[[str], list[str]], variables: dict[str, Any], observe: Look
) -> None:
    users = {words[1]: set(words[2:]) for line in ask("ACL LIST") if (words := line.split())}
    seen = {
        "users": sorted(name for name, rules in users.items() if "on" in rules),
        "no password": sorted(name for name, rules in users.items() if "nopass" in rules),
        "power": sorted(name for name, rules in users.items() if rules & POWERS or "-@all" not in rules),
        "every key": sorted(name for name, rules in users.items() if rules & {"~*", "allkeys"}),
        "administers and has keys": sorted(
            name for name, rules in users.items() if _any(r"\+(acl|config)\|", rules) and _any("[~%]", rules)
        ),
    }  # fmt: skip

    wanted: dict[str, list[str]] = {name: [] for name in seen}
    guards = ["guard"] if variables.get("redis_guards") else []
    observe(seen, wanted={**wanted, "users": ["app", *guards, "ops"]})


@pytest.mark.control("redis-05")
def test_passwords_and_keys_are_root_s(host: Host, observe: Look) -> None:
    files = loose(host, "redis")
    acl = host.check_output("stat -c '%a %U %G' /etc/redis/mutx.acl").strip()
    plain = host.run("grep -cE ' >' /etc/redis/mutx.acl").stdout.strip()

    observe({"loose": files, "users' file": acl, "plain passwords": plain},
            wanted={"loose": [], "users' file": "640 root redis", "plain passwords": "0"})  # fmt: skip


@pytest.mark.control("redis-07")
def test_clients_show_a_certificate_of_the_tenant_s_services(
    host: Host, live: dict[str, str], variables: dict[str, Any], observe: Look
) -> None:
    require_mutual(host, variables.get("redis_client_authority", ""), observe)
    seen = {"asks for one": live.get("tls-auth-clients"), **mutual(host, "redis")}

    observe(seen, wanted={"asks for one": "yes", **GOOD_MUTUAL})


@pytest.mark.control("redis-06")
def test_a_backup_of_last_night_was_checked(host: Host, unit: Callable[[str], Unit], observe: Look) -> None:
    seen = backup(host, "redis", unit("mutx-backup-redis.timer").runs_from_boot)

    observe(seen, wanted="at most 26 hours old, and a timer for the next", is_met=is_good(seen))


def _any(start: str, rules: set[str]) -> bool:
    return any(re.match(start, rule) for rule in rules)
