"""Debian 13: the same roles, twice, and every control; and what its packages do differently."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkout import make_checkout
from tests.support.machines import Hosts
from tests.support.playbook import SSH_RULE, Outcome, Playbook
from tests.support.suites import verdicts

RELEASE, VERSION = "trixie", "13"
FINE = {"pass", "not-applicable"}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """One host of the release."""
    made = Hosts(make_checkout(tmp_path_factory.mktemp("release") / "check out"))
    made.up("1", "--release", RELEASE)
    yield made
    made.checkout.run("sandbox", "down")


@pytest.fixture(scope="module")
def playbook(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    rules = [{**SSH_RULE, "source": "100.64.0.0/10"}]
    told = {"mutx_role": "mgmt", "ansible_become": True, "ufw_incoming_rules": rules}
    return Playbook(hosts, ("trial-1",), tmp_path_factory.mktemp("playbook"), told, group="mgmt")


@pytest.fixture(scope="module")
def first(playbook: Playbook) -> Outcome:
    return playbook.run()


def test_the_roles_apply_and_a_second_run_changes_nothing(
    hosts: Hosts, playbook: Playbook, first: Outcome
) -> None:
    assert hosts.answer("trial-1", "cat /etc/debian_version").startswith(f"{VERSION}.")
    assert first.status == 0, first.text
    assert playbook.run().changed() == {"trial-1": 0}


def test_the_key_exchange_that_only_this_release_has_comes_first(hosts: Hosts, first: Outcome) -> None:
    effective = hosts.answer("trial-1", "sudo sshd -T")

    assert "\nkexalgorithms mlkem768x25519-sha256,sntrup761x25519" in effective


def test_no_unit_is_left_failed(hosts: Hosts, first: Outcome) -> None:
    """The unit that loads the audit rules is this release's own, and its squid is a version later."""
    assert hosts.answer("trial-1", "systemctl --failed --plain --no-legend") == ""
    assert hosts.answer("trial-1", "systemctl is-active squid") == "active"
    assert "audit-rules.service.d/10-mutx.conf" in hosts.answer(
        "trial-1", "systemctl cat audit-rules.service"
    )


@pytest.mark.full
def test_every_control_is_met(playbook: Playbook, first: Outcome) -> None:
    seen = verdicts(playbook)

    assert [control for control, verdict in seen.items() if verdict not in FINE] == []
    assert sum(verdict == "pass" for verdict in seen.values()) > 15
