"""A million agents in the memory of one process. Takes seconds, so it is no unit test."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from anomaly_contract import MINUTE, Clock
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.store import StoreUnavailable


def test_a_million_agents_take_less_than_600_mebibytes_and_no_more_are_admitted():
    clock = Clock()
    store = MemoryStore(clock=clock.now)
    before = resident_mib()

    for number in range(1_000_000):
        store.take(f"rate:agent-{number}", 100, MINUTE)
    with pytest.raises(StoreUnavailable):
        store.take("rate:one-more", 100, MINUTE)

    assert resident_mib() - before < 600
    clock.move(61)
    assert (store.take("rate:one-more", 100, MINUTE), len(store)) == (0, 1)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
