"""Measure the control plane's database: lists of agents, look-ups of API keys, audit as it grows.

`.venv/bin/python benchmarks/control_plane_store.py` starts a PostgreSQL of its own, which writes before it answers, and
prints Markdown; `--write` puts it into docs/reference/figures-control-plane-store.md, `--explain` prints the plans.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg
import sqlalchemy as sa
from mutx_control_plane.store import agents, audit, migrate
from mutx_control_plane.store.api_keys import StoredApiKeys
from mutx_control_plane.store.bootstrap import OWNER_ROLE
from mutx_control_plane.store.database import Database, Limits
from mutx_control_plane.store.embedded import EmbeddedServer
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.paging import Ask
from page import Row, publish, table_page
from subjects import ROOT, commit

FIGURES = ROOT / "docs" / "reference" / "figures-control-plane-store.md"
TENANTS, AGENTS, CALLS, WRITES, WARM, THREADS = 1000, 100_000, 500, 200, 20, 8
SIZES = (1_000, 100_000, 1_000_000)
BENCH = Origin("service:bench", "192.0.2.1")

FILL = f"""
SET session_replication_role = replica;
INSERT INTO mutx.tenants (id) SELECT 't' || i FROM generate_series(0, {TENANTS - 1}) i;
INSERT INTO mutx.accounts (id, tenant, roles, created_at)
    SELECT gen_random_uuid(), 't' || i, '{{DEVELOPER}}', now() FROM generate_series(0, {TENANTS - 1}) i;
INSERT INTO mutx.api_keys (id, tenant, account, name, prefix, mac, pepper, sealed, scopes, created_at)
    SELECT gen_random_uuid(), tenant, id, 'ci', 'mk_' || tenant, sha256(tenant::bytea), 'p1', 'sealed', '{{read}}',
        now()
    FROM mutx.accounts;
INSERT INTO mutx.agents
    SELECT gen_random_uuid(), tenant, 'agent-' || i, id, 'Answers bills', '{{"model": "m", "temperature": 0}}',
        'active', 1, now() - make_interval(secs => i), now()
    FROM generate_series(1, {AGENTS}) i JOIN mutx.accounts ON tenant = 't' || i % {TENANTS};
SELECT mutx.make_audit_months((now() - interval '364 days')::date, (now() + interval '62 days')::date);
ANALYZE
"""  # noqa: S608 - numbers of this file
"""As the administrator: quicker than through the service, with the same rows."""

GROW = """
SET session_replication_role = replica;
INSERT INTO mutx.audit_events
    SELECT 't0', i, CASE WHEN i % 10 = 0 THEN 'access' ELSE 'work' END,
        now() - make_interval(secs => ({last} - i) * 7000000.0 / {last}), 'user:' || i % 50,
        CASE WHEN i % 500 = 0 THEN 'agent.paused' ELSE 'run.started' END, 'agent:' || i % 100, 'done',
        md5((i / 3)::text), '192.0.2.1', '{{}}'
    FROM generate_series({first} + 1, {last}) i;
INSERT INTO mutx.audit_links
    SELECT 't0', i, now(), sha256(i::text::bytea), sha256('x'), sha256(sha256(i::text::bytea) || sha256('x'))
    FROM generate_series({first} + 1, {last}) i;
ANALYZE
"""

PLANS = {
    "a page of agents": (
        "SELECT * FROM mutx.agents WHERE state <> 'deleted' ORDER BY created_at DESC, id DESC LIMIT 51"
    ),
    "the page after it": (
        "SELECT * FROM mutx.agents WHERE state <> 'deleted' AND (created_at, id) <"
        " (now() - interval '10 hours', '00000000-0000-0000-0000-000000000000'::uuid)"
        " ORDER BY created_at DESC, id DESC LIMIT 51"
    ),
    "a page of audit": "SELECT * FROM mutx.audit_events ORDER BY sequence DESC LIMIT 51",
    "by action": "SELECT * FROM mutx.audit_events WHERE action = 'agent.paused' ORDER BY sequence DESC LIMIT 51",
}


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.relative_to(ROOT)}")
    parser.add_argument("--explain", action="store_true", help="print the plans as well")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mutx-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedServer(Path(folder) / "pg")
        server.start()
        try:
            publish(FIGURES, _page(_measure(server, explain=options.explain)), write=options.write)
        finally:
            server.stop()
    return 0


def _measure(server: EmbeddedServer, *, explain: bool) -> list[Row]:
    migrate.upgrade(server.url(OWNER_ROLE))
    _as_administrator(server, FILL)
    # What a run of a program is measured by is not ended for being slow on a busy machine.
    database = Database(server.url(), Limits(connections=THREADS, wait_s=60, lock_s=60, statement_s=60))
    database.open(datetime.now(UTC).date())
    rows = [*_lists(database), *_keys(database)]
    size = 0
    for wanted in SIZES:
        _as_administrator(server, GROW.format(first=size, last=wanted))
        rows += _audit(database, wanted)
        # The writes of the measurement stand behind what was put there.
        size = wanted + WARM + WRITES
    if explain:
        _explain(server)
    database.close()
    return rows


def _lists(database: Database) -> list[Row]:
    def page(number: int) -> None:
        database.read(f"t{number % TENANTS}", lambda connection: agents.page(connection, Ask()))

    def later(number: int) -> None:
        tenant = f"t{number % TENANTS}"
        cursor = database.read(tenant, lambda connection: agents.page(connection, Ask(1))).next_cursor
        database.read(tenant, lambda connection: agents.page(connection, replace(Ask(), cursor=cursor)))

    async def from_a_loop(number: int) -> None:
        await database.aread(f"t{number % TENANTS}", lambda connection: agents.page(connection, Ask()))

    def nothing(number: int) -> None:
        database.read(f"t{number % TENANTS}", lambda connection: connection.execute(sa.text("SELECT 1")))

    what = f"page of 50 agents, of {AGENTS:,} of {TENANTS:,} tenants"
    return [
        Row("a transaction that reads nothing, one caller", *_each(nothing, CALLS)),
        Row(f"{what}, one caller", *_each(page, CALLS)),
        Row("a page of one, and the page after it, one caller", *_each(later, CALLS)),
        Row(f"{what}, {THREADS} threads", *_at_once(page, CALLS)),
        Row(f"{what}, {THREADS} callers of an event loop", *_in_loop(from_a_loop, CALLS)),
    ]


def _keys(database: Database) -> list[Row]:
    keys = StoredApiKeys(database, lambda: BENCH)

    async def find(number: int) -> None:
        if await keys.find(f"mk_t{number % TENANTS}") is None:
            raise RuntimeError("a key is missing")

    return [Row(f"API key by its prefix, with its account, {THREADS} callers", *_in_loop(find, CALLS))]


def _audit(database: Database, size: int) -> list[Row]:
    def add(number: int, tenant: str = "t0") -> None:
        database.write(tenant, BENCH, lambda change: change.record("run.started", f"agent:{number}"))

    def page(wanted: audit.Filter) -> Callable[[int], None]:
        return lambda _number: _drop(
            database.read("t0", lambda connection: audit.page(connection, wanted, Ask()))
        )

    of = f"{size:,} records"
    return [
        Row(f"a record added, {of} in its chain", *_each(add, WRITES)),
        Row(f"page of 50 of {of}", *_each(page(audit.Filter()), CALLS)),
        Row(f"page of 50 of {of}, by action", *_each(page(audit.Filter(action="agent.paused")), CALLS)),
        Row(f"page of 50 of {of}, by actor", *_each(page(audit.Filter(actor="user:7")), CALLS)),
        Row(f"records added at once by {THREADS} threads, one tenant each", *_at_once(
            lambda number: add(number, f"t{1 + number % THREADS}"), WRITES)),
    ]  # fmt: skip


def _drop(_result: object) -> None:
    """Leave a result."""


def _each(call: Callable[[int], None], count: int) -> tuple[str, str]:
    for number in range(WARM):  # what is prepared at its first uses is prepared
        call(number)
    used_s = time.process_time()
    took = [_timed(call, number) for number in range(count)]
    return _spread(took), f"{(time.process_time() - used_s) / count * 1000:.2f} ms of CPU in the client"


def _at_once(call: Callable[[int], None], count: int) -> tuple[str, str]:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, range(WARM * THREADS)))
        begun = time.monotonic()
        took = list(pool.map(lambda number: _timed(call, number), range(count)))
        wall_s = time.monotonic() - begun
    return _spread(took), f"{count / wall_s:,.0f} a second"


def _in_loop(call: Callable[[int], Coroutine[Any, Any, None]], count: int) -> tuple[str, str]:
    took: list[float] = []

    async def caller(numbers: Sequence[int]) -> None:
        for number in numbers:
            begun = time.perf_counter()
            await call(number)
            took.append(time.perf_counter() - begun)

    async def run() -> float:
        await asyncio.gather(*(caller(range(WARM)) for _ in range(THREADS)))
        took.clear()
        begun = time.monotonic()
        await asyncio.gather(*(caller(range(first, count, THREADS)) for first in range(THREADS)))
        return time.monotonic() - begun

    wall_s = asyncio.run(run())
    return _spread(took), f"{count / wall_s:,.0f} a second"


def _timed(call: Callable[[int], None], number: int) -> float:
    begun = time.perf_counter()
    call(number)
    return time.perf_counter() - begun


def _as_administrator(server: EmbeddedServer, statements: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(statements.encode())


def _explain(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SET mutx.tenant = 't0'")
        for name, query in PLANS.items():
            lines = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS) {query}".encode()).fetchall()
            sys.stderr.write("\n".join([f"-- {name}", *(line for (line,) in lines), ""]))


def _spread(took: Sequence[float]) -> str:
    cut = quantiles(took, n=100, method="inclusive")[98]
    return f"p50 {median(took) * 1000:.3g} ms, p99 {cut * 1000:.3g} ms"


def _page(rows: Sequence[Row]) -> str:
    where = (
        f"Measured by `.venv/bin/python benchmarks/control_plane_store.py` on {datetime.now(UTC):%Y-%m-%d} at commit "
        f"{commit()}: PostgreSQL 18 with fsync, its clients in one process, over a unix socket, on one machine with "
        f"{os.cpu_count()} cores (load {os.getloadavg()[0]:.1f} at the end, so other work ran beside it). The audit's "
        "records lie in the partitions of eighty days. What counts is how a figure grows."
    )
    return table_page("Figures of the control plane's database", where, "| what | took | beside |",
                      [f"| {row.what} | {row.value} | {row.beside} |" for row in rows])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
