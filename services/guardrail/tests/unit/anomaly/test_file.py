"""The store in a file: the contract, what outlives a restart, its bound, and what is no such file."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from anomaly_contract import MINUTE, AnomalyContract, Clock, StoreContract, append
from mutx_guardrail.anomaly.errors import Phase
from mutx_guardrail.anomaly.file_store import FileStore
from mutx_guardrail.anomaly.shared import open_store
from mutx_guardrail.anomaly.store import StoreUnavailable
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_file(tmp_path, clock):
    """Return a function that opens the file, as a process does that is started."""
    stores = []

    def open_one(**bounds) -> FileStore:
        stores.append(FileStore(tmp_path / "agents.sqlite", clock=clock.now, **bounds))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_file):
    return open_file()


@pytest.fixture
def events():
    return []


@pytest.fixture
def watch(store, events):
    return Anomaly(store, events.append, clock=lambda: 1.0)


class TestFileStore(StoreContract):
    pass


class TestWatchOnAFile(AnomalyContract):
    pass


def test_a_restart_forgets_neither_requests_nor_pauses_nor_what_is_normal(open_file):
    before = Anomaly(open_file(), lambda _event: None)
    for _ in range(100):
        before.admit("busy", Limits())
    for _ in range(20):
        before.observe("broken", 10, Limits(), ok=False)
        before.observe("short", 10, Limits(), ok=True)

    after = Anomaly(open_file(), lambda _event: None)

    assert not after.admit("busy", Limits()).passed
    assert after.state("broken", Limits()).phase is Phase.PAUSED
    assert not after.observe("short", 101, Limits(), ok=True)[1].passed


def test_two_processes_at_one_file_take_no_place_twice(open_file):
    stores = [open_file(), open_file()]

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda at: stores[at % 2].take("rate:a", 100, MINUTE) == 0, range(200)))

    assert taken.count(True) == 100


def test_what_has_lapsed_leaves_the_file(tmp_path, store, clock):
    for number in range(2_000):
        store.take(f"rate:{number}", 100, MINUTE)
    clock.move(61)
    store.take("rate:a", 100, MINUTE)
    size = (tmp_path / "agents.sqlite").stat().st_size

    for number in range(2_000):
        store.take(f"rate:other-{number}", 100, MINUTE)

    assert (tmp_path / "agents.sqlite").stat().st_size <= size + 40_960


def test_a_full_file_forgets_what_is_not_vital_and_then_refuses(open_file):
    store = open_file(largest_bytes=400_000)
    for number in range(40):
        store.change(f"drift:{number}", append(b"x" * 4_000), is_vital=False)

    def fill() -> None:
        for number in range(20_000):
            store.take(f"rate:{number}", 100, MINUTE)

    with pytest.raises(StoreUnavailable, match="OperationalError"):
        fill()

    assert store.take("rate:0", 1, MINUTE) == MINUTE
    assert store.change("drift:0", append(b""), is_vital=False) is None


def test_a_file_that_is_none_of_its_own_lets_nothing_pass(tmp_path):
    (tmp_path / "agents.sqlite").write_bytes(b"no database at all" * 1_000)
    store = open_store(None, "", tmp_path)

    check = Anomaly(store, lambda _event: None).admit("a", Limits())

    assert (check.passed, check.details) == (False, "the file of agents' state failed (DatabaseError)")


def test_a_directory_that_is_gone_is_a_store_that_is_gone(tmp_path):
    with pytest.raises(StoreUnavailable):
        FileStore(tmp_path / "gone" / "agents.sqlite").take("rate:a", 1, MINUTE)


def test_nobody_else_reads_the_file(tmp_path, store):
    store.take("rate:a", 1, MINUTE)

    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}

    assert modes == {0o600}
