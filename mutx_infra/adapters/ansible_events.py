"""ansible-runner's events → what happened on each host."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mutx_infra.host_records import HostChange, HostOutcome, HostState
from mutx_infra.ports import HostReporter

Event = Mapping[str, Any]

CONTROLS = " | "
"""Between a task's name and its control ids (CONVENTIONS 2)."""
_REASON_LENGTH = 600
_DIFF_LENGTH = 4000


@dataclass(slots=True)
class _Host:
    tasks: int = 0
    changes: list[HostChange] = field(default_factory=list)
    failed_task: str = ""
    reason: str = ""
    state: HostState = HostState.NOT_REACHED


class EventCollector:
    """Takes events line by line and tells what they come to.

    Args:
        hosts: names of all hosts of the inventory, in its order.
        report: told of each task as it begins.
        diff: keep what differs; some modules tell it unasked.

    Attributes:
        is_complete: True once Ansible has summed up: only then did the run end by itself.
        noise: what was printed that is no event, for when nothing else says what is wrong.
    """

    def __init__(self, hosts: Iterable[str], report: HostReporter, *, diff: bool = False) -> None:
        self._hosts = {name: _Host() for name in hosts}
        self._report, self._diff = report, diff
        self.is_complete = False
        self.noise: list[str] = []

    def __call__(self, line: str) -> None:
        """Take one line of `ansible-runner --json`."""
        try:
            event = json.loads(line)
        except ValueError:
            self.noise.append(line)
            return
        data = event.get("event_data") or {}
        kind = event.get("event")
        if kind == "playbook_on_stats":
            self._sum_up(data)
        elif kind in {"verbose", "error"}:
            self.noise.append(str(event.get("stdout", "")))
        elif (host := self._hosts.get(str(data.get("host")))) is not None:
            self._take(str(kind), data, host)

    def outcomes(self) -> tuple[HostOutcome, ...]:
        """Return what came of each host, in the inventory's order."""
        return tuple(
            HostOutcome(
                host=name,
                state=host.state,
                tasks=host.tasks,
                changes=tuple(host.changes),
                failed_task=host.failed_task,
                reason=host.reason,
            )
            for name, host in self._hosts.items()
        )

    def _take(self, kind: str, data: Event, host: _Host) -> None:
        task, _, controls = str(data.get("task", "")).partition(CONTROLS)
        result = data.get("res") or {}
        if kind == "runner_on_start":
            self._report.task(str(data["host"]), task, changed=len(host.changes))
        elif kind == "runner_on_ok":
            host.tasks += 1
            if result.get("changed"):
                ids = tuple(control.strip() for control in controls.split(",") if control.strip())
                difference = _difference(result) if self._diff else ""
                host.changes.append(HostChange(task=task, controls=ids, difference=difference))
        elif kind == "runner_on_unreachable" or (
            kind == "runner_on_failed" and not data.get("ignore_errors")
        ):
            host.failed_task, host.reason = task, _reason(result)

    def _sum_up(self, stats: Event) -> None:
        self.is_complete = True
        for name, host in self._hosts.items():
            if (stats.get("dark") or {}).get(name):
                host.state = HostState.UNREACHABLE
            elif (stats.get("failures") or {}).get(name):
                host.state = HostState.FAILED
            elif (stats.get("ok") or {}).get(name):
                # A failure that a `rescue` has dealt with is none.
                host.state, host.failed_task, host.reason = HostState.DONE, "", ""


def _reason(result: Event) -> str:
    """Return what a failed task said, on one line; Ansible itself has censored tasks with `no_log`."""
    failed = [item for item in result.get("results") or () if item.get("failed")]
    said = [result, *failed]
    for key in ("censored", "msg", "stderr", "module_stderr"):
        texts = [str(entry[key]) for entry in reversed(said) if entry.get(key)]
        if texts and texts[0] != "One or more items failed":
            return " ".join(texts[0].split())[:_REASON_LENGTH]
    return "no reason given"


def _difference(result: Event) -> str:
    found = result.get("diff") or ()
    parts = [found] if isinstance(found, Mapping) else found
    lines = [line for part in parts if isinstance(part, Mapping) for line in _unified(part)]
    return "\n".join(lines)[:_DIFF_LENGTH]


def _unified(part: Event) -> Iterator[str]:
    if "prepared" in part:
        yield from str(part["prepared"]).splitlines()
        return
    before, after = (_as_lines(part.get(side)) for side in ("before", "after"))
    name = str(part.get("after_header") or part.get("before_header") or "")
    yield from difflib.unified_diff(before, after, name, name, n=1, lineterm="")


def _as_lines(value: object) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True) if value else ""
    return text.splitlines()
