"""Measure `admit` and `observe` on every store.

`PYTHONPATH=services/service_kit/tests/support python services/guardrail/tests/support/measure_anomaly.py`
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mutx_guardrail.anomaly.file_store import FileStore
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.redis_store import RedisStore, connect
from mutx_guardrail.anomaly.store import Store
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from redis_process import RedisServer

CALLS, AGENTS = 20_000, 1_000
LIMITS = Limits(requests=1_000)
EMBEDDING = np.random.default_rng(1).normal(size=384).astype(np.float32)


def main() -> None:
    measure("memory", MemoryStore())
    with tempfile.TemporaryDirectory() as folder:
        file = FileStore(Path(folder) / "agents.sqlite")
        measure("file", file)
        file.close()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), "--appendfsync", "everysec")
        server.start()
        with connect(server.url) as client:
            measure("redis, unix socket", RedisStore(client))
        server.kill()


def measure(name: str, store: Store) -> None:
    watch = Anomaly(store, lambda _event: None)
    report(f"{name}: admit", lambda number: watch.admit(agent(number), LIMITS))
    report(
        f"{name}: observe with embedding",
        lambda number: watch.observe(
            agent(number), 100, LIMITS, ok=True, embedding=EMBEDDING, purpose=EMBEDDING
        ),
    )
    begin = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: watch.admit(agent(number), LIMITS), range(CALLS)))
    show(f"{name}: admit, 8 threads: {CALLS / (time.perf_counter() - begin):.0f}/s")


def agent(number: int) -> str:
    return f"agent-{number % AGENTS}"


def report(name: str, call: Callable[[int], object]) -> None:
    durations = []
    for number in range(CALLS):
        begin = time.perf_counter()
        call(number)
        durations.append((time.perf_counter() - begin) * 1e6)
    percentiles = statistics.quantiles(durations, n=100)
    rate = CALLS / sum(durations) * 1e6
    show(f"{name}: {rate:.0f}/s, p50 {percentiles[49]:.0f} µs, p99 {percentiles[98]:.0f} µs")


def show(line: str) -> None:
    print(line)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
