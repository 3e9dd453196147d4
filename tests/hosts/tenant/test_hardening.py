"""`mutx-infra hosts …` on the tenant's machines: looked at, broken by hand, mended, killed and gone on with."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.supervised import is_at_work
from tests.support.breakage import BREAKAGES
from tests.support.checkout import Checkout
from tests.support.onboarded import NAMES, TENANT, Onboarded, kill_among_hosts

HOSTS = ("agent-1", "database-1", "mgmt-1")
CHOSEN = tuple(word for host in HOSTS for word in ("--host", host))
IN_CONTAINERS = sorted(name for name, breakage in BREAKAGES.items() if not breakage.own_kernel)
FINE = {"pass", "not-applicable"}
ACKNOWLEDGE = "sudo /usr/libexec/mutx/mutx-aide acknowledge"


def verdicts(bundle: Any) -> dict[tuple[str, str], str]:
    return {(check["target"], check["control"]): check["verdict"] for check in bundle["checks"]}


def failures(bundle: Any) -> list[tuple[str, str]]:
    return sorted(pair for pair, verdict in verdicts(bundle).items() if verdict not in FINE)


def observed(bundle: Any, control: str, target: str) -> Any:
    found = [c["seen"] for c in bundle["checks"] if (c["control"], c["target"]) == (control, target)]
    return found[0] if len(found) == 1 else found


def test_a_look_ahead_sees_nothing_on_hosts_that_are_hardened(checkout: Checkout, tenant: Onboarded) -> None:
    ahead = checkout.json("hosts", "harden", TENANT, "--check")

    assert [host["changes"] for host in ahead["hosts"]] == [[]] * len(NAMES)


def test_every_control_is_met_and_what_was_seen_is_kept(checkout: Checkout, tenant: Onboarded) -> None:
    seen = checkout.json("hosts", "check", TENANT)

    kept = json.loads(Path(seen["path"]).read_text(encoding="utf-8"))
    assert failures(seen) == []
    assert {target for target, _ in verdicts(seen)} == set(NAMES)
    assert sum(verdict == "pass" for verdict in verdicts(seen).values()) > 75
    assert kept["checks"] == seen["checks"]
    assert not kept["subject"]["is_production"]


def break_and_mend(tenant: Onboarded, broken: dict[str, list[str]]) -> None:
    """Break controls on hosts, see exactly those fail, and see one run mend them all."""
    checkout, wanted = tenant.checkout, set()
    for host, controls in broken.items():
        tenant.on(host, f"sudo sh -c {shlex.quote(' && '.join(BREAKAGES[name].script for name in controls))}")
        wanted |= {(f"{TENANT}-{host}", name) for c in controls for name in (c, *BREAKAGES[c].also)}

    seen = checkout.json("hosts", "check", TENANT, *CHOSEN, expect=6)
    checkout.run("hosts", "harden", TENANT, *CHOSEN)
    mended = checkout.run("hosts", "check", TENANT, *CHOSEN, "--json", expect=None)
    for host in broken:
        tenant.on(host, ACKNOWLEDGE)
    explained = checkout.json("hosts", "check", TENANT, *CHOSEN)

    assert failures(seen) == sorted(wanted)
    # The run looked before it changed anything: that somebody changed files stays known until it is explained.
    assert {control for _, control in failures(json.loads(mended.stdout))} <= {"aide-04"}
    assert failures(explained) == []


@pytest.mark.full
def test_a_watched_file_that_somebody_changed_is_named_until_it_is_explained(
    checkout: Checkout, tenant: Onboarded
) -> None:
    look, one = "sudo systemctl start aidecheck.service", ("--host", "database-1")
    tenant.on("database-1", look)
    tenant.on("database-1", "echo '# mine' | sudo tee -a /etc/hosts.allow")

    assert tenant.ssh("database-1", look).returncode == 1
    named = checkout.json("hosts", "check", TENANT, *one, expect=6)
    tenant.on("database-1", f"sudo sed -i '/^# mine$/d' /etc/hosts.allow; {ACKNOWLEDGE}")
    explained = checkout.json("hosts", "check", TENANT, *one)

    assert failures(named) == [("acme-database-1", "aide-04")]
    assert "hosts.allow" in observed(named, "aide-04", "acme-database-1")
    assert failures(explained) == []


def test_controls_that_somebody_broke_are_named_and_mended(tenant: Onboarded) -> None:
    """Others in every run; pytest-randomly's seed, printed at the top, brings the same ones back."""
    chosen = random.sample(IN_CONTAINERS, 2 * len(HOSTS))
    break_and_mend(tenant, {host: chosen[n :: len(HOSTS)] for n, host in enumerate(HOSTS)})


@pytest.mark.full
@pytest.mark.parametrize("turn", range(len(HOSTS)))
def test_every_control_is_broken_on_every_host(tenant: Onboarded, turn: int) -> None:
    """In each turn a host has a third of them; dealt anew each time, so that none hides behind another."""
    dealt = random.sample(IN_CONTAINERS, len(IN_CONTAINERS))
    break_and_mend(
        tenant, {host: dealt[(n + turn) % len(HOSTS) :: len(HOSTS)] for n, host in enumerate(HOSTS)}
    )


def test_the_suites_run_by_plain_pytest_on_the_printed_inventory(
    checkout: Checkout, tenant: Onboarded, tmp_path: Path
) -> None:
    inventory, evidence = tmp_path / "inventory.json", tmp_path / "checks.jsonl"
    inventory.write_text(checkout.run("hosts", "inventory", TENANT, *CHOSEN).stdout, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--pyargs", "mutx_infra.compliance", "-q", "-p", "no:cacheprovider",
         "-c", os.devnull, "--rootdir", str(tmp_path), "--hosts=ansible://acme-agent-1",
         f"--ansible-inventory={inventory}", f"--evidence={evidence}"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip

    lines = [json.loads(line) for line in evidence.read_text(encoding="utf-8").splitlines()]
    assert done.returncode == 0, done.stdout
    assert {line["verdict"] for line in lines} <= FINE
    assert len(lines) > 15


def test_a_run_that_is_killed_ends_its_playbooks_and_the_next_one_goes_on(
    checkout: Checkout, tenant: Onboarded
) -> None:
    kill_among_hosts(checkout, checkout.start("hosts", "harden", TENANT, *CHOSEN[:4]), 60)

    again = checkout.json("hosts", "harden", TENANT, "--failed")

    assert not is_at_work(str(tenant.place))
    assert {host["host"] for host in again["hosts"]} == {f"{TENANT}-{host}" for host in HOSTS[:2]}
    assert [(host["state"], host["changes"]) for host in again["hosts"]] == [("done", [])] * 2
    assert not list(tenant.place.glob("run-*"))
