"""The store in memory: the contract, its bounds, and what it forgets first."""

from __future__ import annotations

import pytest
from anomaly_contract import MINUTE, SECOND, AnomalyContract, Clock, StoreContract, append
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.store import Change, StoreUnavailable
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from mutx_guardrail.verdict import Layer


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock.now)


@pytest.fixture
def events():
    return []


@pytest.fixture
def watch(store, events):
    return Anomaly(store, events.append, clock=lambda: 1.0)


class TestMemoryStore(StoreContract):
    pass


class TestWatchOnMemory(AnomalyContract):
    pass


def test_a_full_store_refuses_a_new_agent_and_keeps_counting_the_others(clock):
    store = MemoryStore(capacity=2, clock=clock.now)
    store.take("rate:a", 1, MINUTE)
    store.take("rate:b", 1, MINUTE)

    with pytest.raises(StoreUnavailable, match="full"):
        store.take("rate:c", 1, MINUTE)

    assert store.take("rate:a", 1, MINUTE) == MINUTE


def test_a_full_store_takes_new_agents_when_windows_have_lapsed(clock):
    store = MemoryStore(capacity=2, clock=clock.now)
    store.take("rate:a", 1, MINUTE)
    store.take("rate:b", 1, MINUTE)

    clock.move(61)

    assert (store.take("rate:c", 1, MINUTE), len(store)) == (0, 1)


def test_a_window_that_is_renewed_outlives_its_first_end(clock):
    store = MemoryStore(clock=clock.now)
    store.take("rate:a", 2, MINUTE)
    clock.move(59)
    store.take("rate:a", 2, MINUTE)

    clock.move(2)
    store.take("rate:b", 1, MINUTE)

    assert (store.take("rate:a", 2, MINUTE), store.take("rate:a", 2, MINUTE)) == (0, 58 * SECOND)


def test_a_pause_cannot_be_pushed_out_by_other_agents(clock):
    store = MemoryStore(capacity=10, clock=clock.now)
    store.change("errors:paused", append(b"1"), is_vital=True)

    for number in range(100):
        try:
            store.change(f"errors:{number}", append(b"1"), is_vital=True)
        except StoreUnavailable:
            continue

    assert store.change("errors:paused", append(b""), is_vital=True) == b"1"


def test_what_is_not_vital_is_forgotten_in_the_order_of_its_use(clock):
    store = MemoryStore(capacity=2, clock=clock.now)
    for key in ("length:a", "length:b", "length:a", "length:c"):
        store.change(key, append(b"1"), is_vital=False)

    assert store.change("length:a", append(b""), is_vital=False) == b"11"
    assert store.change("length:b", append(b""), is_vital=False) is None


def test_a_state_lapses_with_its_time(clock):
    store = MemoryStore(clock=clock.now)
    store.change("length:a", append(b"1", ttl_s=10), is_vital=False)

    clock.move(10)

    assert store.change("length:a", append(b"2"), is_vital=False) is None


def test_keys_that_come_and_go_leave_nothing_behind(clock):
    store = MemoryStore(clock=clock.now)
    for number in range(1000):
        store.change(f"errors:{number}", append(b"1", ttl_s=10**6), is_vital=True)
        store.change(f"errors:{number}", lambda _before, _now: Change(None, 0, None), is_vital=True)

    clock.move(2 * 10**6)
    store.change("errors:a", append(b"1"), is_vital=True)

    assert len(store) == 1


@pytest.mark.parametrize("name", ["", "a:b", "a b", "ä", "a" * 129, "-a", "a\n", "a\x00"], ids=ascii)
def test_a_name_that_could_be_another_key_is_no_agent(watch, name):
    with pytest.raises(ValueError, match="an agent's name"):
        watch.admit(name, Limits())


def test_without_the_store_nothing_passes(events):
    full = MemoryStore(capacity=0)

    check = Anomaly(full, events.append).admit("a", Limits())

    assert (check.passed, check.unavailable, check.confidence) == (False, (Layer.ANOMALY,), 0)
