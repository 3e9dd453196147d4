"""What is told and to whom, and a store that comes and goes."""

from __future__ import annotations

import json

from mutx_guardrail.anomaly.event import Event, EventKind
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.store import StoreUnavailable
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from mutx_guardrail.verdict import Action, Layer, Verdict


class Flickering:
    """A store that can be taken away."""

    def __init__(self) -> None:
        self.behind, self.is_gone = MemoryStore(), False

    def take(self, *arguments):
        return self._ask().take(*arguments)

    def change(self, *arguments, **named):
        return self._ask().change(*arguments, **named)

    def _ask(self):
        if self.is_gone:
            raise StoreUnavailable("gone")
        return self.behind


def test_while_the_store_is_gone_every_check_says_so_and_the_request_is_refused():
    store, events = Flickering(), []
    watch = Anomaly(store, events.append)
    store.is_gone = True

    checks = (watch.admit("a", Limits()), *watch.observe("a", 10, Limits(), ok=True))

    assert {check.unavailable for check in checks} == {(Layer.ANOMALY,)}
    assert not any(Verdict((check,), 1, "", "p").allowed for check in checks)


def test_the_loss_of_the_store_and_its_return_are_told_once_each():
    store, events = Flickering(), []
    watch = Anomaly(store, events.append)
    for is_gone in (True, True, False, False):
        store.is_gone = is_gone
        watch.admit("a", Limits())

    assert [event.kind for event in events] == [EventKind.STORE_LOST, EventKind.STORE_BACK]


def test_flagged_and_drifted_outputs_are_allowed():
    watch = Anomaly(MemoryStore(), lambda _event: None)
    for _ in range(20):
        watch.observe("a", 10, Limits(), ok=True)

    checks = watch.observe("a", 10_000, Limits(), ok=True)

    assert not checks[1].passed
    assert Verdict(checks, 1, "", "p").allowed


def test_an_event_is_one_flat_json_object():
    event = Event(1.23456, EventKind.LONG_OUTPUT, "a", {"tokens": 3030, "normal": 300.0})

    assert json.dumps(event.document()) == (
        '{"time": 1.235, "kind": "long_output", "agent": "a", "tokens": 3030, "normal": 300.0}'
    )


def test_a_warming_baseline_is_not_sure():
    watch = Anomaly(MemoryStore(), lambda _event: None)

    assert watch.observe("a", 10, Limits(), ok=True)[1].confidence == 0.5


def test_a_refused_request_is_told_when_to_come_again():
    watch, limits = Anomaly(MemoryStore(), lambda _event: None), Limits(requests=1)
    watch.admit("a", limits)

    told = Verdict((watch.admit("a", limits),), 1, "", "p").document()

    assert told["reason"] == "rate_limit_exceeded"
    assert 0 < told["retry_after_s"] <= limits.window_s


def test_a_text_that_is_no_request_is_refused_while_the_agent_is_paused_and_counts_nothing():
    watch, limits = Anomaly(MemoryStore(), lambda _event: None), Limits(requests=1, error_minimum=2)

    told = [watch.standing("a", limits) for _ in range(5)]
    admitted = watch.admit("a", limits)
    for _ in range(2):
        watch.observe("a", 0, limits, ok=False)

    assert all(check.passed for check in told)
    assert admitted.passed
    assert watch.standing("a", limits).action is Action.PAUSE
