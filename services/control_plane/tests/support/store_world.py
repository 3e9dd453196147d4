"""Databases of a test's own on one server, and a few people of two tenants in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID, uuid4

import psycopg
from mutx_control_plane.identity.ports import Account
from mutx_control_plane.principal import PLATFORM
from mutx_control_plane.roles import Role
from mutx_control_plane.store import accounts, agents, migrate, tenants
from mutx_control_plane.store.bootstrap import OWNER_ROLE
from mutx_control_plane.store.database import Database, Limits
from mutx_control_plane.store.embedded import EmbeddedServer
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.transaction import Transaction

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
TEMPLATE = "store_template"
TEST = Origin("service:test", "192.0.2.7", "4bf92f3577b34da6a3ce929d0e0e4736")
ANN, BOB, VIC, GUS = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=9)
"""An administrator, a developer and a viewer of acme; a developer of globex."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class World:
    """A database in which acme has Ann, Bob and Vic, and globex has Gus."""

    database: Database
    server: EmbeddedServer
    name: str

    def write(self, work: Callable[[Transaction], _Result], tenant: str = "acme") -> _Result:
        return self.database.write(tenant, TEST, work)

    def read(self, work: Callable[..., _Result], tenant: str = "acme") -> _Result:
        return self.database.read(tenant, work)

    def agent(self, name: str = "billing", tenant: str = "acme", owner: UUID | None = None) -> agents.Agent:
        declared = agents.Declaration(
            name, owner or (GUS if tenant == "globex" else BOB), "Answers bills", {"a": 1}
        )
        return self.write(lambda change: agents.create(change, uuid4(), declared, NOW), tenant)

    @contextmanager
    def raw(self, role: str = "postgres") -> Iterator[psycopg.Connection]:
        """Yield a connection of a role's, around everything of ours."""
        with psycopg.connect(self.server.url(role, self.name), autocommit=True) as connection:
            yield connection


def make_template(server: EmbeddedServer) -> None:
    """Make a database with the whole schema, which others are copies of."""
    make_database(server, TEMPLATE, "template1")
    migrate.upgrade(server.url(OWNER_ROLE, TEMPLATE))
    database = Database(server.url(database=TEMPLATE))
    database.open(datetime.now(UTC).date())
    people = {
        "acme": [(ANN, Role.ADMIN), (BOB, Role.DEVELOPER), (VIC, Role.VIEWER)],
        "globex": [(GUS, Role.DEVELOPER)],
    }
    for tenant, members in people.items():
        database.write(PLATFORM, TEST, lambda change, tenant=tenant: tenants.create(change, tenant, NOW))
        for person, role in members:
            account = Account(
                person, tenant, f"p{person.int}@{tenant}.example", frozenset({role}), "argon2-of-it"
            )
            database.write(
                tenant, TEST, lambda change, account=account: accounts.create(change, account, NOW)
            )
    database.close()


def make_database(server: EmbeddedServer, name: str, template: str) -> None:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {OWNER_ROLE} TEMPLATE {template}")


def drop_database(server: EmbeddedServer, name: str) -> None:
    with psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def new_world(server: EmbeddedServer, limits: Limits) -> Iterator[World]:
    name = f"t_{uuid4().hex}"
    make_database(server, name, TEMPLATE)
    database = Database(server.url(database=name), limits)
    try:
        yield World(database, server, name)
    finally:
        database.close()
        drop_database(server, name)
