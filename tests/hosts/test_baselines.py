"""Published baselines on a host with a kernel of its own, before and after: Lynis, and every profile of OpenSCAP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import baselines
import pytest

from tests.support.checkout import make_checkout
from tests.support.machines import Hosts
from tests.support.playbook import Playbook

LEAST_INDEX = 85

pytestmark = [pytest.mark.full, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """One host on User-Mode Linux, with memory for the scanner."""
    made = Hosts(make_checkout(tmp_path_factory.mktemp("baselines") / "check out"))
    made.up("1", "--backend", "uml", "--memory", "1024")
    yield made
    made.checkout.run("sandbox", "down")


def restart(hosts: Hosts) -> None:
    before = hosts.answer("trial-1", "cat /proc/sys/kernel/random/boot_id")
    hosts.ssh("trial-1", "sudo systemctl reboot")
    deadline = time.monotonic() + 600
    while hosts.ssh("trial-1", "cat /proc/sys/kernel/random/boot_id").stdout.strip() in {"", before}:
        assert time.monotonic() < deadline, "the host did not come back"
        time.sleep(2)


def test_every_rule_is_met_or_listed_with_its_reason_and_lynis_is_content(
    hosts: Hosts, tmp_path: Path
) -> None:
    host = baselines.Host("trial-1", hosts.checkout.root)
    baselines.prepare(host)
    before = baselines.measure(host)
    assert Playbook(hosts, ("trial-1",), tmp_path).run().status == 0
    restart(hosts)

    after = baselines.measure(host)

    print(baselines.report(before, after))  # noqa: T201 - what docs/reference/baselines.md is made of
    assert baselines.compare(after, "kernel") == []
    assert after.lynis >= LEAST_INDEX > before.lynis
