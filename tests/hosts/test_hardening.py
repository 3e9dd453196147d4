"""`mutx-infra hosts …` on a tenant's real machines: hardened, looked at, broken by hand, mended, lost and found."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.supervised import is_at_work
from tests.support.breakage import BREAKAGES
from tests.support.checkout import Checkout, make_checkout
from tests.support.tenants import create

HOSTS = ("agent-1", "database-1", "mgmt-1")
CHOSEN = tuple(word for host in HOSTS for word in ("--host", host))
IN_CONTAINERS = sorted(name for name, breakage in BREAKAGES.items() if not breakage.own_kernel)
FINE = {"pass", "not-applicable"}


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with a tenant, three of whose hosts run; a database is reached through mgmt alone."""
    made = make_checkout(tmp_path_factory.mktemp("tenant") / "check out")
    made.run("sandbox", "up")
    made.write_spec("acme")
    create(made, "acme")
    made.run("sandbox", "hosts", "up", "--tenant", "acme", *CHOSEN)
    yield made
    made.run("sandbox", "down")


@pytest.fixture(scope="module")
def hardened(acme: Checkout) -> Any:
    """What the first run did."""
    return acme.json("hosts", "harden", "acme", *CHOSEN)


def on(checkout: Checkout, host: str, script: str) -> str:
    return checkout.run("sandbox", "hosts", "ssh", f"acme-{host}", "--", script).stdout


def verdicts(bundle: Any) -> dict[tuple[str, str], str]:
    return {(check["target"], check["control"]): check["verdict"] for check in bundle["checks"]}


def failures(bundle: Any) -> list[tuple[str, str]]:
    return sorted(pair for pair, verdict in verdicts(bundle).items() if verdict not in FINE)


def observed(bundle: Any, control: str, target: str) -> Any:
    found = [c["seen"] for c in bundle["checks"] if (c["control"], c["target"]) == (control, target)]
    return found[0] if len(found) == 1 else found


def test_a_second_run_changes_nothing_and_a_look_ahead_sees_nothing(acme: Checkout, hardened: Any) -> None:
    again = acme.json("hosts", "harden", "acme", *CHOSEN)
    ahead = acme.json("hosts", "harden", "acme", *CHOSEN, "--check")

    assert {host["state"] for host in hardened["hosts"]} == {"done"}
    assert all(host["changes"] for host in hardened["hosts"])
    assert [host["changes"] for host in (*again["hosts"], *ahead["hosts"])] == [[]] * 6
    kinds = [entry["kind"] for entry in acme.json("history", "list", "acme")["entries"]]
    assert kinds[:2] == ["create", "harden"]


def test_nothing_of_a_run_is_left_but_what_it_printed(acme: Checkout, hardened: Any) -> None:
    place = acme.root / ".mutx/hosts/sandbox/acme"

    assert not list(place.glob("run-*"))
    assert Path(hardened["artifacts"]).is_file()
    assert Path(hardened["artifacts"]).stat().st_mode & 0o077 == 0


def test_every_control_is_met_and_what_was_seen_is_kept(acme: Checkout, hardened: Any) -> None:
    seen = acme.json("hosts", "check", "acme", *CHOSEN)

    kept = json.loads(Path(seen["path"]).read_text(encoding="utf-8"))
    assert failures(seen) == []
    assert {target for target, _ in verdicts(seen)} == {f"acme-{host}" for host in HOSTS}
    assert sum(verdict == "pass" for verdict in verdicts(seen).values()) > 45
    assert kept["checks"] == seen["checks"]
    assert not kept["subject"]["is_production"]


def break_and_mend(acme: Checkout, broken: dict[str, list[str]]) -> None:
    """Break controls on hosts, see exactly those fail, and see one run mend them all."""
    wanted = set()
    for host, controls in broken.items():
        on(acme, host, f"sudo sh -c {shlex.quote(' && '.join(BREAKAGES[name].script for name in controls))}")
        wanted |= {(f"acme-{host}", name) for c in controls for name in (c, *BREAKAGES[c].also)}

    seen = acme.json("hosts", "check", "acme", *CHOSEN, expect=6)
    acme.run("hosts", "harden", "acme", *CHOSEN)
    mended = acme.run("hosts", "check", "acme", *CHOSEN, "--json", expect=None)
    for host in broken:
        on(acme, host, "sudo /usr/libexec/mutx/mutx-aide acknowledge")
    explained = acme.json("hosts", "check", "acme", *CHOSEN)

    assert failures(seen) == sorted(wanted)
    # The run looked before it changed anything: that somebody changed files stays known until it is explained.
    assert {control for _, control in failures(json.loads(mended.stdout))} <= {"aide-04"}
    assert failures(explained) == []


def test_a_watched_file_that_somebody_changed_is_named_until_it_is_explained(
    acme: Checkout, hardened: Any
) -> None:
    look = ("sandbox", "hosts", "ssh", "acme-database-1", "--", "sudo systemctl start aidecheck.service")
    before = acme.run(*look).returncode
    on(acme, "database-1", "echo '# mine' | sudo tee -a /etc/hosts.allow")

    acme.run(*look, expect=1)
    named = acme.json("hosts", "check", "acme", "--host", "database-1", expect=6)
    on(
        acme,
        "database-1",
        "sudo sed -i '/^# mine$/d' /etc/hosts.allow; sudo /usr/libexec/mutx/mutx-aide acknowledge",
    )
    explained = acme.json("hosts", "check", "acme", "--host", "database-1")

    assert before == 0
    assert failures(named) == [("acme-database-1", "aide-04")]
    assert "hosts.allow" in observed(named, "aide-04", "acme-database-1")
    assert failures(explained) == []


def test_controls_that_somebody_broke_are_named_and_mended(acme: Checkout, hardened: Any) -> None:
    """Others in every run; pytest-randomly's seed, printed at the top, brings the same ones back."""
    chosen = random.sample(IN_CONTAINERS, 2 * len(HOSTS))
    break_and_mend(acme, {host: chosen[n :: len(HOSTS)] for n, host in enumerate(HOSTS)})


@pytest.mark.full
@pytest.mark.parametrize("turn", range(len(HOSTS)))
def test_every_control_is_broken_on_every_host(acme: Checkout, hardened: Any, turn: int) -> None:
    """In each turn a host has a third of them; dealt anew each time, so that none hides behind another."""
    dealt = random.sample(IN_CONTAINERS, len(IN_CONTAINERS))
    break_and_mend(acme, {host: dealt[(n + turn) % len(HOSTS) :: len(HOSTS)] for n, host in enumerate(HOSTS)})


def test_the_suites_run_by_plain_pytest_on_the_printed_inventory(
    acme: Checkout, hardened: Any, tmp_path: Path
) -> None:
    inventory, evidence = tmp_path / "inventory.json", tmp_path / "checks.jsonl"
    inventory.write_text(acme.run("hosts", "inventory", "acme", *CHOSEN).stdout, encoding="utf-8")

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
    acme: Checkout, hardened: Any
) -> None:
    running = acme.start("hosts", "harden", "acme", *CHOSEN)
    place = acme.root / ".mutx/hosts/sandbox/acme"
    deadline = time.monotonic() + 60
    while not list(place.glob("run-*/artifacts/run/job_events/*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    running.kill()
    running.wait()

    again = acme.json("hosts", "harden", "acme", "--failed")

    assert not is_at_work(str(place))
    assert {host["host"] for host in again["hosts"]} == {f"acme-{host}" for host in HOSTS}
    assert {host["state"] for host in again["hosts"]} == {"done"}
    assert not list(place.glob("run-*"))


def test_a_host_that_is_gone_is_named_the_others_are_done_and_it_is_made_up_for(
    acme: Checkout, hardened: Any
) -> None:
    acme.run("sandbox", "hosts", "kill", "acme-agent-1")

    lost = acme.run("hosts", "harden", "acme", *CHOSEN, "--json", expect=5)
    acme.run("sandbox", "hosts", "up", "--tenant", "acme", *CHOSEN)
    found = acme.json("hosts", "harden", "acme", "--failed")

    states = {host["host"]: host["state"] for host in json.loads(lost.stdout)["hosts"]}
    assert states == {"acme-agent-1": "unreachable", "acme-database-1": "done", "acme-mgmt-1": "done"}
    assert "error[hosts-failed]" in lost.stderr
    assert "acme-agent-1 did not answer" in lost.stderr
    assert [host["host"] for host in found["hosts"]] == ["acme-agent-1"]
