"""What holds of every store, and of the watch over it: run on memory in `unit`, on a real server in `integration`.

A test file subclasses the two and gives `store` and `clock`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest
from mutx_guardrail.anomaly.errors import Phase
from mutx_guardrail.anomaly.event import EventKind
from mutx_guardrail.anomaly.store import Change, Store
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from mutx_guardrail.verdict import Action, Check, CheckName, Layer, Reason

SECOND = 1_000_000
MINUTE = 60 * SECOND


class Clock:
    """A clock that is set, in microseconds; `shift` is what it was moved by."""

    def __init__(self, begin: int = 1_000_000 * SECOND) -> None:
        self.begin, self.shift = begin, 0

    def now(self) -> int:
        return self.begin + self.shift

    def move(self, seconds: float) -> None:
        self.shift += round(seconds * SECOND)


def append(byte: bytes, ttl_s: int = 100):
    return lambda before, _now: Change((before or b"") + byte, ttl_s, before)


def take_many(store: Store, count: int, limit: int = 100) -> list[bool]:
    return [store.take("rate:a", limit, MINUTE) == 0 for _ in range(count)]


class StoreContract:
    """`store` and `clock` are the subclass's fixtures; `leeway_s` is how far its clock runs by itself."""

    leeway_s = 0.0

    def test_a_hundred_places_are_taken_and_the_hundred_and_first_is_not(self, store):
        outcomes = take_many(store, 102)

        assert outcomes == [True] * 100 + [False] * 2

    def test_a_place_is_free_again_a_window_after_it_was_taken_and_no_sooner(self, store, clock):
        take_many(store, 1)
        clock.move(30)
        take_many(store, 99)

        clock.move(29.9 - self.leeway_s)
        early = take_many(store, 1)
        clock.move(0.1 + self.leeway_s)
        in_time = take_many(store, 2)

        assert (early, in_time) == ([False], [True, False])

    def test_a_refusal_says_when_a_place_is_free(self, store, clock):
        take_many(store, 100)
        clock.move(20)

        wait_us = store.take("rate:a", 100, MINUTE)

        assert wait_us == pytest.approx(40 * SECOND, abs=max(1, self.leeway_s * SECOND))

    def test_a_refused_request_takes_no_place(self, store, clock):
        take_many(store, 100)
        clock.move(59 - self.leeway_s)
        take_many(store, 50)

        clock.move(1 + self.leeway_s)

        assert take_many(store, 101) == [True] * 100 + [False]

    def test_agents_do_not_share_places(self, store):
        store.take("rate:a", 1, MINUTE)

        assert store.take("rate:b", 1, MINUTE) == 0

    def test_a_lower_limit_counts_what_was_taken_under_the_higher(self, store):
        take_many(store, 10)

        assert (store.take("rate:a", 10, MINUTE) > 0, store.take("rate:a", 11, MINUTE)) == (True, 0)

    def test_a_clock_set_back_a_day_keeps_nobody_out_for_longer_than_a_window(self, store, clock):
        take_many(store, 100)

        clock.move(-86_400)
        at_once = take_many(store, 1)
        clock.move(60)

        assert (at_once, take_many(store, 101)) == ([False], [True] * 100 + [False])

    def test_a_clock_set_forward_gives_one_window_and_no_more(self, store, clock):
        take_many(store, 100)

        clock.move(86_400)

        assert take_many(store, 101) == [True] * 100 + [False]

    @pytest.mark.parametrize("seed", range(5))
    def test_any_run_of_requests_and_clocks_is_as_a_list_of_times_would_have_it(self, store, clock, seed):
        chance, limit, window_s, times = Random(seed), 7, 65, []
        outcomes, expected = [], []

        for _ in range(300):
            # Multiples of ten: a clock that also runs by itself is never within 5 s of a boundary.
            clock.move(chance.choice([0, 0, 0, 0, 10, 20, 60, 600, -10, -600]))
            outcomes.append(store.take("rate:a", limit, window_s * SECOND) == 0)
            begin = clock.shift - window_s * SECOND
            times = [min(time, clock.shift) for time in times if max(times) > begin]
            expected.append(sum(time > begin for time in times) < limit)
            if expected[-1]:
                times.append(clock.shift)

        assert outcomes == expected
        assert set(expected) == {True, False}

    def test_many_threads_take_no_place_twice(self, store):
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda _: store.take("rate:a", 100, MINUTE) == 0, range(400)))

        assert outcomes.count(True) == 100

    def test_a_change_sees_what_the_one_before_made(self, store):
        told = [store.change("length:a", append(byte), is_vital=False) for byte in (b"1", b"2", b"3")]

        assert told == [None, b"1", b"12"]

    def test_states_hold_any_bytes(self, store):
        store.change("length:a", append(bytes(range(256))), is_vital=False)

        assert store.change("length:a", append(b""), is_vital=False) == bytes(range(256))

    def test_a_state_of_none_is_forgotten(self, store):
        store.change("errors:a", append(b"1"), is_vital=True)
        store.change("errors:a", lambda _before, _now: Change(None, 0, None), is_vital=True)

        assert store.change("errors:a", append(b"2"), is_vital=True) is None

    def test_threads_lose_no_change(self, store):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: store.change("length:a", append(b"x"), is_vital=False), range(200)))

        assert len(store.change("length:a", append(b""), is_vital=False)) == 200


LIMITS = Limits()


class AnomalyContract:
    """`watch`, `events` and `clock` are the subclass's fixtures."""

    def admitted(self, watch: Anomaly, count: int, limits: Limits = LIMITS) -> list[Check]:
        return [watch.admit("a", limits) for _ in range(count)]

    def fail(self, watch: Anomaly, errors: int, requests: int, limits: Limits = LIMITS) -> list[Check]:
        """Report successes first: the fraction is highest at the end."""
        outcomes = [True] * (requests - errors) + [False] * errors
        return [watch.observe("a", 10, limits, ok=ok)[0] for ok in outcomes]

    def test_the_hundredth_request_of_a_minute_passes_and_the_next_is_limited(self, watch):
        checks = self.admitted(watch, 101)

        assert all(check.passed for check in checks[:100])
        assert (checks[100].name, checks[100].action, checks[100].reason) == (
            CheckName.RATE_LIMIT,
            Action.RATE_LIMIT,
            Reason.RATE_LIMIT,
        )

    def test_refusals_of_one_window_are_told_once(self, watch, events, clock):
        self.admitted(watch, 150)

        assert [event.kind for event in events] == [EventKind.RATE_LIMITED]

    @pytest.mark.parametrize(("tokens", "flagged"), [(1000, False), (1001, True), (1010, True)])
    def test_ten_times_the_normal_length_passes_and_more_is_flagged(self, watch, events, tokens, flagged):
        for _ in range(LIMITS.output_warm_up):
            watch.observe("a", 100, LIMITS, ok=True)

        check = watch.observe("a", tokens, LIMITS, ok=True)[1]

        assert (check.passed, check.action) == ((False, Action.FLAG) if flagged else (True, None))
        assert [event.kind for event in events] == [EventKind.LONG_OUTPUT] * flagged

    def test_fifty_errors_of_a_hundred_do_not_pause(self, watch):
        checks = self.fail(watch, 50, 100)

        assert all(check.passed for check in checks)
        assert watch.admit("a", LIMITS).passed

    def test_fifty_one_errors_of_a_hundred_pause_at_the_last(self, watch, events):
        limits = Limits(error_minimum=100)

        checks = self.fail(watch, 51, 100, limits)

        assert [check.passed for check in checks] == [True] * 99 + [False]
        assert watch.admit("a", limits).reason is Reason.AGENT_PAUSED
        assert events[-1].numbers == {"requests": 100, "errors": 51, "pause_s": 300}

    def test_fewer_than_the_minimum_never_pause(self, watch):
        self.fail(watch, 19, 19)

        assert watch.admit("a", LIMITS).passed

    def test_after_a_pause_one_request_alone_passes_until_it_is_reported(self, watch, clock):
        self.fail(watch, 20, 20)

        clock.move(300)
        checks = self.admitted(watch, 3)

        assert [check.passed for check in checks] == [True, False, False]
        assert checks[1].reason is Reason.AGENT_PAUSED

    @pytest.mark.parametrize(("ok", "passes"), [(True, True), (False, False)])
    def test_the_probe_decides_whether_the_pause_ends(self, watch, clock, ok, passes):
        self.fail(watch, 20, 20)
        clock.move(300)
        watch.admit("a", LIMITS)

        watch.observe("a", 10, LIMITS, ok=ok)

        assert watch.admit("a", LIMITS).passed is passes

    def test_a_probe_that_nobody_reports_makes_room_for_another(self, watch, clock):
        self.fail(watch, 20, 20)
        clock.move(300)
        watch.admit("a", LIMITS)

        clock.move(300)

        assert [check.passed for check in self.admitted(watch, 2)] == [True, False]

    def test_a_probe_that_is_given_back_is_another_request_s_at_once(self, watch, clock):
        self.fail(watch, 20, 20)
        clock.move(300)
        probe = watch.admit("a", LIMITS)

        watch.give_back("a", probe, LIMITS)

        assert [check.passed for check in self.admitted(watch, 2)] == [True, False]

    def test_a_probe_that_is_given_back_does_not_end_the_pause(self, watch, clock):
        self.fail(watch, 20, 20)
        clock.move(300)

        watch.give_back("a", watch.admit("a", LIMITS), LIMITS)

        assert watch.state("a", LIMITS).phase is Phase.PAUSED

    def test_who_is_no_probe_has_none_to_give_back(self, watch, clock):
        ordinary = watch.admit("a", LIMITS)
        self.fail(watch, 20, 20)
        clock.move(300)
        watch.admit("a", LIMITS)

        watch.give_back("a", ordinary, LIMITS)

        assert [check.passed for check in self.admitted(watch, 1)] == [False]

    def test_a_probe_that_ended_takes_nothing_back(self, watch, clock):
        self.fail(watch, 20, 20)
        clock.move(300)
        late = watch.admit("a", LIMITS)
        clock.move(300)
        watch.admit("a", LIMITS)

        watch.give_back("a", late, LIMITS)
        while_another_runs = [check.passed for check in self.admitted(watch, 1)]
        watch.observe("a", 10, LIMITS, ok=False)
        watch.give_back("a", late, LIMITS)

        assert while_another_runs == [False]
        assert 0 < watch.state("a", LIMITS).wait_s <= 300

    def test_of_many_requests_at_once_one_is_the_probe(self, watch, clock):
        self.fail(watch, 20, 20)
        clock.move(300)

        with ThreadPoolExecutor(8) as pool:
            checks = list(pool.map(lambda _: watch.admit("a", LIMITS), range(40)))

        assert [check.passed for check in checks].count(True) == 1

    def test_a_pause_is_ended_by_hand_with_a_clean_slate(self, watch, events):
        self.fail(watch, 20, 20)

        watch.resume("a")

        state = watch.state("a", LIMITS)
        assert (state.phase, state.requests, watch.admit("a", LIMITS).passed) == (Phase.RUNNING, 0, True)
        assert events[-1].kind is EventKind.RESUMED

    def test_no_time_and_no_success_ends_a_hold(self, watch, clock):
        watch.hold("a", LIMITS)

        clock.move(20 * 86_400)
        watch.observe("a", 10, LIMITS, ok=True)

        refused = watch.admit("a", LIMITS)
        assert (refused.reason, refused.wait_s) == (Reason.AGENT_PAUSED, 0.0)
        assert watch.state("a", LIMITS).phase is Phase.HELD

    def test_a_hold_is_ended_by_hand(self, watch, events):
        watch.hold("a", LIMITS)

        watch.resume("a")

        assert watch.admit("a", LIMITS).passed
        assert [event.kind for event in events] == [EventKind.HELD, EventKind.RESUMED]

    def test_reports_from_before_a_pause_do_not_end_it(self, watch):
        self.fail(watch, 20, 20)

        watch.observe("a", 10, LIMITS, ok=True)

        assert watch.state("a", LIMITS).phase is Phase.PAUSED

    def test_reports_from_before_a_pause_do_not_lengthen_it(self, watch, clock):
        self.fail(watch, 20, 20)
        clock.move(200)

        self.fail(watch, 40, 40)

        assert watch.state("a", LIMITS).wait_s <= 100

    def test_errors_leave_with_their_window(self, watch, clock):
        self.fail(watch, 19, 19)

        clock.move(301)
        watch.observe("a", 10, LIMITS, ok=False)

        state = watch.state("a", LIMITS)
        assert (state.requests, state.errors) == (1, 1)

    def test_a_clock_set_back_a_day_does_not_lengthen_a_pause_beyond_its_length(self, watch, clock):
        self.fail(watch, 20, 20)
        clock.move(-86_400)
        refused = watch.admit("a", LIMITS)

        clock.move(300)

        assert (refused.passed, watch.admit("a", LIMITS).passed) == (False, True)

    @pytest.mark.parametrize("state", [b"x", b"\x09" * 9, b"\x00" * 10], ids=ascii)
    def test_a_state_that_cannot_be_read_lets_nothing_pass_until_it_is_resumed(self, watch, store, state):
        store.change("errors:a", lambda _before, _now: Change(state, 100, None), is_vital=True)

        refused = watch.admit("a", LIMITS)
        watch.resume("a")

        assert (refused.unavailable, watch.admit("a", LIMITS).passed) == ((Layer.ANOMALY,), True)

    def test_a_clock_set_back_does_not_forget_errors(self, watch, clock):
        self.fail(watch, 19, 19)

        clock.move(-86_400)
        watch.observe("a", 10, LIMITS, ok=False)

        assert watch.state("a", LIMITS).phase is Phase.PAUSED

    def test_drift_is_told_and_does_not_refuse(self, watch, events):
        purpose, other = np.eye(384, dtype=np.float32)[:2]
        for _ in range(25):
            watch.observe("a", 10, LIMITS, ok=True, embedding=purpose, purpose=purpose)

        checks = [
            watch.observe("a", 10, LIMITS, ok=True, embedding=other, purpose=purpose)[2] for _ in range(9)
        ]

        check = checks[-1]
        assert (check.name, check.passed, check.action) == (CheckName.INTENT_DRIFT, False, Action.FLAG)
        assert (events[-1].kind, check.confidence > 0.75) == (EventKind.DRIFTED, True)

    def test_a_refusal_says_after_which_time_a_request_may_pass(self, watch):
        limited = self.admitted(watch, 101)[100]
        self.fail(watch, 20, 20)
        paused = watch.admit("a", LIMITS)

        assert 59 < limited.document()["wait_s"] <= 60
        assert 299 < paused.document()["wait_s"] <= 300

    def test_every_refusal_is_decided_by_this_layer(self, watch):
        assert self.admitted(watch, 101)[100].decided_by is Layer.ANOMALY
