"""fail2ban (HOST-2): asked of the running server, not of its files."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

WANTED = {"bantime": "3600", "findtime": "600", "maxretry": "3"}


@pytest.mark.control("f2b-02")
def test_three_bad_logins_in_ten_minutes_ban_for_an_hour(host: Host, observe: Look) -> None:
    seen = {
        name: host.run(f"fail2ban-client get sshd {name}").stdout.strip() or "no answer" for name in WANTED
    }
    actions = host.run("fail2ban-client get sshd actions").stdout.partition("\n")[2].strip()

    observe({**seen, "enforced": bool(actions)}, wanted={**WANTED, "enforced": True})


@pytest.mark.control("f2b-03")
def test_it_runs_from_boot_and_watches_those_who_come_back(
    host: Host, unit: Callable[[str], Unit], observe: Look
) -> None:
    jails = host.run("fail2ban-client status").stdout.rpartition("Jail list:")[2]
    seen = {
        "runs from boot": unit("fail2ban.service").runs_from_boot,
        "jails": sorted(jail.strip() for jail in jails.split(",") if jail.strip()),
    }

    is_met = seen["runs from boot"] is True and {"sshd", "recidive"} <= set(seen["jails"])  # type: ignore[call-overload]
    observe(seen, wanted="running from boot, with the jails sshd and recidive", is_met=is_met)
