"""The contract on a real server, replicas that share it, and a server that is lost and comes back."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from multiprocessing import get_context

import pytest
import redis_server
from anomaly_contract import MINUTE, AnomalyContract, Clock, StoreContract, append
from mutx_guardrail.anomaly.errors import Phase
from mutx_guardrail.anomaly.event import EventKind
from mutx_guardrail.anomaly.redis_store import RedisStore, connect
from mutx_guardrail.anomaly.store import StoreUnavailable
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from redis_process import RedisServer

NUMBERS = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    running.start()
    yield running
    running.kill()


@pytest.fixture
def prefix():
    return f"test-{next(NUMBERS)}:"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_store(server, prefix, clock):
    """Return a function that makes a replica's store."""
    stores = []

    def open_one(url=server.url, **options) -> RedisStore:
        given = {"timeout_s": 20, "shift": lambda: clock.shift}
        stores.append(RedisStore(connect(url, timeout_s=5), prefix, **(given | options)))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture
def events():
    return []


@pytest.fixture
def watch(store, events):
    return Anomaly(store, events.append, clock=lambda: 1.0)


class TestRedisStore(StoreContract):
    leeway_s = 5.0


class TestWatchOnRedis(AnomalyContract):
    pass


@pytest.fixture
def others():
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        yield pool


def test_processes_take_no_place_twice(server, prefix, others):
    taken = [others.submit(redis_server.take_places, server.url, prefix, 60) for _ in range(4)]

    assert sum(each.result() for each in taken) == 100


def test_processes_lose_no_change(server, prefix, others, store):
    for each in [others.submit(redis_server.report_errors, server.url, prefix, 50) for _ in range(4)]:
        each.result()

    assert len(store.change("length:a", append(b""), is_vital=False)) == 200


def test_a_pause_that_one_replica_began_holds_at_the_other(open_store, watch):
    other = Anomaly(open_store(), lambda _event: None)

    for _ in range(20):
        watch.observe("a", 10, Limits(), ok=False)

    assert other.state("a", Limits()).phase is Phase.PAUSED
    other.resume("a")
    assert watch.admit("a", Limits()).passed


def test_keys_end_by_themselves(server, prefix, store):
    store.take("rate:a", 100, MINUTE)
    store.change("length:a", append(b"1", ttl_s=100), is_vital=False)

    with connect(server.url) as client:
        assert 59_000 < client.pttl(f"{prefix}rate:a") <= 60_000
        assert 99 <= client.ttl(f"{prefix}length:a") <= 100


def test_a_window_holds_no_more_entries_than_places(server, prefix, store, clock):
    for _ in range(5):
        for _ in range(20):
            store.take("rate:a", 10, MINUTE)
        clock.move(61)

    with connect(server.url) as client:
        assert client.llen(f"{prefix}rate:a") == 10


def test_ten_thousand_agents_take_few_bytes_each_and_are_gone_when_their_windows_end(own_server, open_store):
    store, count = open_store(own_server.url), 10_000
    with connect(own_server.url, timeout_s=5) as client:
        before = client.info("memory")["used_memory"]

        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(lambda number: store.take(f"rate:agent-{number}", 100, 10 * 1_000_000), range(count))
            )
        kept, taken = client.dbsize(), client.info("memory")["used_memory"] - before
        deadline = time.monotonic() + 40
        while client.dbsize():
            assert time.monotonic() < deadline, client.dbsize()
            time.sleep(0.2)

    # On a busy machine the first windows end before the last begins.
    assert kept > count // 10
    assert taken / kept < 400


@pytest.fixture
def own_server(tmp_path):
    running = RedisServer(tmp_path)
    running.start()
    yield running
    running.let_go()
    running.kill()


def test_a_restart_of_the_server_forgets_nothing(own_server, open_store):
    watch = Anomaly(open_store(own_server.url), lambda _event: None)
    for _ in range(100):
        watch.admit("busy", Limits())
    for _ in range(20):
        watch.observe("broken", 10, Limits(), ok=False)
        watch.observe("short", 10, Limits(), ok=True)

    own_server.kill()
    own_server.start()

    assert not watch.admit("busy", Limits()).passed
    assert watch.state("broken", Limits()).phase is Phase.PAUSED
    assert not watch.observe("short", 101, Limits(), ok=True)[1].passed


def test_without_the_server_nothing_passes_until_it_is_back(own_server, open_store, events):
    watch = Anomaly(open_store(own_server.url), events.append)
    watch.admit("a", Limits())
    own_server.kill()

    lost = watch.admit("a", Limits())
    own_server.start()
    deadline = time.monotonic() + 10
    while not watch.admit("a", Limits()).passed:
        assert time.monotonic() < deadline

    assert lost.unavailable
    assert [event.kind for event in events] == [EventKind.STORE_LOST, EventKind.STORE_BACK]


def test_a_server_that_hangs_is_waited_for_no_longer_than_said(own_server, open_store):
    store = RedisStore(connect(own_server.url, timeout_s=0.2), timeout_s=0.3)
    store.take("rate:a", 100, MINUTE)
    own_server.hold()

    durations = []
    for _ in range(20):
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.change("length:a", append(b"1"), is_vital=False)
        durations.append(time.monotonic() - begin)
    store.close()

    assert max(durations) < 1
    assert sum(durations) < 3
    assert sorted(durations)[10] < 0.05


def test_a_full_server_refuses_instead_of_forgetting(tmp_path):
    full = RedisServer(tmp_path, "--maxmemory", "1")
    full.start()
    with connect(full.url) as client, pytest.raises(StoreUnavailable, match="OutOfMemory"):
        RedisStore(client).take("rate:a", 100, MINUTE)
    full.kill()


def test_a_wrong_password_is_not_a_free_pass(tmp_path):
    guarded = RedisServer(tmp_path)
    guarded.start()
    with connect(guarded.url) as client:
        client.config_set("requirepass", "right")
    with connect(guarded.url, password="wrong") as client, pytest.raises(StoreUnavailable):
        RedisStore(client).take("rate:a", 100, MINUTE)
    guarded.kill()
