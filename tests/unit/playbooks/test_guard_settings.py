"""What the role `guardrail` writes for its units is what the service reads: the Redis that several guards share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, FileSystemLoader
from mutx_guardrail.service.settings import VARIABLES

ROLE = Path(__file__).resolve().parents[3] / "playbooks/roles/guardrail"
UNITS = {"guardrail": "mutx-guardrail", "egress": "mutx-guard-egress"}


def written(unit: str, **changed: Any) -> dict[str, str]:
    """Return a unit's environment, by names without their prefix."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    told = {"guardrail_policy_in_force": "", "guardrail_agent_words": [], **defaults, **changed}
    # As Ansible renders: blocks take their line's end with them.
    templates = Environment(loader=FileSystemLoader(ROLE / "templates"), trim_blocks=True)  # noqa: S701 - no HTML
    text = templates.get_template(f"{unit}.env.j2").render(told)
    return dict(re.findall(r'^MUTX_GUARDRAIL_([A-Z_]+)="(.*)"$', text, re.MULTILINE))


@pytest.mark.parametrize("unit", UNITS)
def test_a_guard_that_shares_a_redis_shows_its_unit_s_own_certificate_and_password(unit: str) -> None:
    told = written(unit, guardrail_redis_host="acme-database-1")

    redis = {name: value for name, value in told.items() if name.startswith("REDIS_")}
    assert redis == {
        "REDIS_URL": "rediss://guard@acme-database-1:6379/0",
        "REDIS_CERTIFICATE": f"/run/{UNITS[unit]}-secrets/server.pem",
        "REDIS_KEY": f"/run/{UNITS[unit]}-secrets/server.pem",
        "REDIS_CA": f"/run/{UNITS[unit]}-secrets/ca.pem",
        "REDIS_PASSWORD_FILE": f"/etc/mutx-guardrail/{UNITS[unit]}.redis",
    }
    assert set(redis) <= set(VARIABLES)


@pytest.mark.parametrize("unit", UNITS)
def test_a_guard_that_shares_none_is_told_of_none(unit: str) -> None:
    assert not [name for name in written(unit) if name.startswith("REDIS_")]


def test_the_units_passwords_are_for_the_accounts_that_the_role_makes() -> None:
    tasks = (ROLE / "tasks/units.yml").read_text(encoding="utf-8")
    accounts = yaml.safe_load((ROLE / "vars/main/main.yml").read_text(encoding="utf-8"))["guardrail_accounts"]

    assert 'dest: "/etc/mutx-guardrail/{{ item.name }}.redis"' in tasks
    assert {account["name"] for account in accounts} == set(UNITS.values())
