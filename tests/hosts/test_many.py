"""Ten hosts in one run: one does not answer, one restarts in the middle, and the others are none the worse for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.support.checkout import make_checkout
from tests.support.machines import Hosts
from tests.support.playbook import Playbook

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

NAMES = tuple(f"trial-{number}" for number in range(1, 11))
AWAY_S = 25
"""As long as a real machine takes to come back; one of these is there again before the next task asks for it."""
DEAD, RESTARTED = "trial-4", "trial-7"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(make_checkout(tmp_path_factory.mktemp("many") / "check out"))
    made.up(str(len(NAMES)))
    yield made
    made.checkout.run("sandbox", "down")


def test_of_ten_hosts_eight_come_through_two_are_named_and_made_up_for(hosts: Hosts, tmp_path: Path) -> None:
    playbook = Playbook(hosts, NAMES, tmp_path)
    events = tmp_path / "events.jsonl"
    events.write_text("")

    def restart() -> None:
        while sum(f'"{RESTARTED}"' in line for line in events.read_text().splitlines()) < 12:
            time.sleep(0.02)
        hosts.machines.cut(RESTARTED)
        time.sleep(AWAY_S)
        hosts.machines.reboot(RESTARTED)

    inventory = playbook.prepare()
    hosts.machines.cut(DEAD)
    restarting = Thread(target=restart)
    restarting.start()
    first = playbook.run_prepared(inventory)
    restarting.join()
    hosts.machines.reboot(DEAD)
    for name in (DEAD, RESTARTED):
        hosts.await_login(name, 30)
    second = playbook.run()

    failed = {name for name, counts in first.stats.items() if counts["unreachable"] or counts["failures"]}
    assert failed == {DEAD, RESTARTED}, first.stats
    assert second.status == 0, second.stats
    assert {name for name, count in second.changed().items() if count} == {DEAD, RESTARTED}
