"""What ansible-runner says, line by line, and what that comes to for each host."""

from __future__ import annotations

import json
from typing import Any

from mutx_infra.adapters.ansible_events import EventCollector
from mutx_infra.host_records import HostState
from tests.support.hosts import HostListener

HOSTS = ("acme-agent-1", "acme-vault-1")


def line(event: str, host: str = "", task: str = "", **data: Any) -> str:
    """One line as `ansible-runner run --json` prints it."""
    return json.dumps({"event": event, "stdout": "", "event_data": {"host": host, "task": task, **data}})


def stats(**counts: dict[str, int]) -> str:
    return line("playbook_on_stats", **{"ok": {}, "dark": {}, "failures": {}, "changed": {}, **counts})


def collect(*lines: str, diff: bool = True) -> EventCollector:
    collector = EventCollector(HOSTS, HostListener(), diff=diff)
    for one in lines:
        collector(one)
    return collector


def test_a_change_carries_its_task_its_controls_and_its_difference() -> None:
    diff = [{"before": "a\nold\n", "after": "a\nnew\n", "after_header": "/etc/ssh/x"}]
    collector = collect(
        line("runner_on_start", HOSTS[0], "Install sshd policy | ssh-01, ssh-02"),
        line(
            "runner_on_ok",
            HOSTS[0],
            "Install sshd policy | ssh-01, ssh-02",
            res={"changed": True, "diff": diff},
        ),
        line("runner_on_ok", HOSTS[0], "Look | ssh-03", res={"changed": False}),
        stats(ok={HOSTS[0]: 2, HOSTS[1]: 1}),
    )

    agent, _ = collector.outcomes()

    assert (agent.state, agent.tasks) == (HostState.DONE, 2)
    (change,) = agent.changes
    assert (change.task, change.controls) == ("Install sshd policy", ("ssh-01", "ssh-02"))
    assert "-old" in change.difference.splitlines()
    assert "+new" in change.difference.splitlines()


def test_a_difference_that_nobody_asked_for_is_not_kept() -> None:
    told = line(
        "runner_on_ok", HOSTS[0], "Install | x-01", res={"changed": True, "diff": {"prepared": "secret"}}
    )

    (change,) = collect(told, stats(ok={HOSTS[0]: 1}), diff=False).outcomes()[0].changes

    assert change.difference == ""


def test_each_task_is_reported_as_it_begins_with_the_changes_so_far() -> None:
    listener = HostListener()
    collector = EventCollector(HOSTS, listener)

    for one in (
        line("runner_on_start", HOSTS[0], "One | x-01"),
        line("runner_on_ok", HOSTS[0], "One | x-01", res={"changed": True}),
        line("runner_on_start", HOSTS[0], "Two | x-02"),
    ):
        collector(one)

    assert listener.tasks == [(HOSTS[0], "One", 0), (HOSTS[0], "Two", 1)]


def test_a_failure_says_where_and_why_on_one_line() -> None:
    collector = collect(
        line("runner_on_failed", HOSTS[0], "Load rules | aud-02", res={"msg": "no\n  space left"}),
        stats(failures={HOSTS[0]: 1}, ok={HOSTS[1]: 3}),
    )

    agent, vault = collector.outcomes()

    assert (agent.state, agent.failed_task, agent.reason) == (HostState.FAILED, "Load rules", "no space left")
    assert vault.is_done


def test_a_loop_s_failure_says_what_its_item_said() -> None:
    items = [{"failed": False, "msg": "fine"}, {"failed": True, "msg": "dpkg is locked"}]
    collector = collect(
        line(
            "runner_on_failed", HOSTS[0], "Install", res={"msg": "One or more items failed", "results": items}
        ),
        stats(failures={HOSTS[0]: 1}),
    )

    assert collector.outcomes()[0].reason == "dpkg is locked"


def test_what_ansible_censored_stays_censored() -> None:
    censored = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"
    collector = collect(
        line("runner_on_failed", HOSTS[0], "Join", res={"censored": censored, "msg": ""}),
        stats(failures={HOSTS[0]: 1}),
    )

    assert collector.outcomes()[0].reason == censored


def test_a_host_that_goes_away_in_the_middle_is_unreachable_and_not_failed() -> None:
    collector = collect(
        line("runner_on_ok", HOSTS[0], "One", res={"changed": True}),
        line("runner_on_unreachable", HOSTS[0], "Two", res={"msg": "ssh: connection timed out"}),
        stats(dark={HOSTS[0]: 1}, ok={HOSTS[0]: 1, HOSTS[1]: 2}),
    )

    agent = collector.outcomes()[0]

    assert (agent.state, agent.failed_task) == (HostState.UNREACHABLE, "Two")
    assert len(agent.changes) == 1


def test_failures_that_were_ignored_or_rescued_are_none() -> None:
    collector = collect(
        line("runner_on_failed", HOSTS[0], "Probe", res={"msg": "no"}, ignore_errors=True),
        line("runner_on_failed", HOSTS[1], "Try", res={"msg": "no"}),
        stats(ok={HOSTS[0]: 1, HOSTS[1]: 2}, rescued={HOSTS[1]: 1}),
    )

    assert [(o.state, o.reason) for o in collector.outcomes()] == [(HostState.DONE, "")] * 2


def test_without_a_summing_up_nothing_is_done() -> None:
    collector = collect(line("runner_on_ok", HOSTS[0], "One", res={}), "ERROR! syntax error", "not json {")

    assert not collector.is_complete
    assert {outcome.state for outcome in collector.outcomes()} == {HostState.NOT_REACHED}
    assert collector.noise == ["ERROR! syntax error", "not json {"]
