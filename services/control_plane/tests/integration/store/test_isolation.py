# ruff: noqa: S608 - names of tables stand in this file
"""Every table that belongs to tenants, and every operation on it, tried from another tenant and from none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from mutx_control_plane.store import approvals, policies, runs, tools
from mutx_control_plane.store.approvals import Wanted
from mutx_control_plane.store.bootstrap import APP_ROLE, OWNER_ROLE
from mutx_control_plane.store.database import Limits
from mutx_control_plane.store.embedded import EmbeddedServer
from mutx_control_plane.store.schema import metadata
from mutx_service.problem import Problem
from psycopg import sql
from store_world import ANN, BOB, NOW, World, new_world

TABLES = sorted(table.name for table in metadata.tables.values())
APPEND_ONLY = ["audit_events", "audit_links"]
_AGENTS = sa.text("SELECT count(*) FROM mutx.agents")


@pytest.fixture(scope="module")
def filled(template: EmbeddedServer) -> Iterator[World]:
    """A database in which each table has rows of acme's."""
    with new_world(template, Limits()) as world:
        _fill(world)
        yield world


def _fill(world: World) -> None:
    agent = world.agent()
    run = uuid4()

    def work(change) -> None:
        tools.grant_tenant(change, "mail", NOW)
        tools.grant_agent(change, agent.id, tools.ToolGrant("mail", needs_approval=True), NOW)
        runs.start(change, run, agent.id, BOB, "a" * 32, NOW)
        approvals.request(change, uuid4(), Wanted(agent.id, "mail", run), BOB, timedelta(hours=1))
        policies.put(change, {"layers": []}, ANN, 0, NOW)

    world.write(work)
    family, later = uuid4(), NOW + timedelta(days=7)
    with world.raw() as owner:
        owner.execute("INSERT INTO mutx.setup_links VALUES (%s, 'acme', %s, %s)", [b"s" * 32, ANN, later])
        owner.execute(
            "INSERT INTO mutx.session_families VALUES (%s, 'acme', %s, %s, %s)", [family, ANN, NOW, later]
        )
        owner.execute(
            "INSERT INTO mutx.refresh_tokens VALUES (%s, 'acme', %s, 0, %s)", [b"t" * 32, family, later]
        )
        owner.execute(
            "INSERT INTO mutx.api_keys VALUES (%s, 'acme', %s, 'ci', 'mk_1', %s, 'p1', 'sealed', '{read}', %s)",
            [uuid4(), ANN, b"m" * 32, NOW],
        )


def _as_app(world: World, tenant: str | None) -> psycopg.Connection:
    connection = psycopg.connect(world.server.url(APP_ROLE, world.name), autocommit=True)
    if tenant is not None:
        connection.execute("SELECT set_config('mutx.tenant', %s, false)", [tenant])
    return connection


def _count(connection: psycopg.Connection, table: str, tenant: str = "acme") -> int:
    column = sql.Identifier("id" if table == "tenants" else "tenant")
    query = sql.SQL("SELECT count(*) FROM mutx.{} WHERE {} = %s").format(sql.Identifier(table), column)
    return connection.execute(query, [tenant]).fetchone()[0]


@pytest.mark.parametrize("table", TABLES)
def test_the_own_tenant_sees_its_rows(filled: World, table: str) -> None:
    with _as_app(filled, "acme") as mine:
        assert _count(mine, table) > 0


@pytest.mark.parametrize("tenant", ["globex", "", None], ids=["another", "empty", "none"])
@pytest.mark.parametrize("table", TABLES)
def test_nobody_else_sees_them(filled: World, table: str, tenant: str | None) -> None:
    with _as_app(filled, tenant) as other:
        assert _count(other, table) == 0


@pytest.mark.parametrize("tenant", ["globex", None], ids=["another", "none"])
@pytest.mark.parametrize("table", TABLES)
def test_nobody_else_deletes_or_changes_them(filled: World, table: str, tenant: str | None) -> None:
    column = "id" if table == "tenants" else "tenant"

    with _as_app(filled, tenant) as other:
        for statement in (f"DELETE FROM mutx.{table}", f"UPDATE mutx.{table} SET {column} = {column}"):
            try:
                assert other.execute(f"{statement} WHERE {column} = 'acme'").rowcount == 0
            except psycopg.errors.InsufficientPrivilege:
                continue

    with _as_app(filled, "acme") as mine:
        assert _count(mine, table) > 0


@pytest.mark.parametrize("table", TABLES)
def test_nobody_else_adds_rows_in_the_tenants_name(filled: World, table: str) -> None:
    with filled.raw() as owner:
        columns = [row[0] for row in owner.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'mutx' AND table_name = %s"
            " ORDER BY ordinal_position", [table])]  # fmt: skip
        column = "id" if table == "tenants" else "tenant"
        found = owner.execute(
            f"SELECT {', '.join(columns)} FROM mutx.{table} WHERE {column} = 'acme'"
        ).fetchone()
    values = [psycopg.types.json.Jsonb(value) if isinstance(value, dict) else value for value in found]
    places = ", ".join(["%s"] * len(values))

    with (
        _as_app(filled, "globex") as other,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level"),
    ):
        other.execute(f"INSERT INTO mutx.{table} ({', '.join(columns)}) VALUES ({places})", values)


@pytest.mark.parametrize("table", [name for name in TABLES if name not in APPEND_ONLY and name != "tenants"])
def test_no_row_is_moved_to_another_tenant(filled: World, table: str) -> None:
    with _as_app(filled, "acme") as mine, pytest.raises(psycopg.errors.InsufficientPrivilege):
        mine.execute(f"UPDATE mutx.{table} SET tenant = 'globex'")


@pytest.mark.parametrize("table", TABLES)
def test_row_level_security_is_forced_on_the_owner_too(filled: World, table: str) -> None:
    with filled.raw() as admin:
        flags = admin.execute(
            "SELECT relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) FROM pg_class"
            " WHERE oid = ('mutx.' || %s)::regclass", [table],
        ).fetchone()  # fmt: skip

    assert flags == (True, True, OWNER_ROLE)


def test_every_table_of_the_schema_is_isolated(filled: World) -> None:
    with filled.raw() as admin:
        loose = admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'mutx'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND NOT relforcerowsecurity"
        ).fetchall()

    assert loose == [("alembic_version",)]


def test_the_service_reaches_no_partition_around_its_table(filled: World) -> None:
    with filled.raw() as admin:
        partitions = [row[0] for row in admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'mutx'::regnamespace AND relispartition"
            " AND relkind IN ('r', 'p')")]  # fmt: skip

    with _as_app(filled, "acme") as mine:
        for partition in partitions:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                mine.execute(f"SELECT * FROM mutx.{partition}")
    assert len(partitions) >= 6


@pytest.mark.parametrize("role", [APP_ROLE, OWNER_ROLE])
def test_the_roles_pass_by_nothing(filled: World, role: str) -> None:
    with filled.raw() as admin:
        rights = admin.execute(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s",
            [role],
        ).fetchone()

    assert rights == (False, False, False, False)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mutx.mine (a int)",
        "ALTER TABLE mutx.agents DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_tenant ON mutx.agents",
        "SET ROLE mutx_owner",
        "TRUNCATE mutx.agents",
        "UPDATE mutx.alembic_version SET version_num = '0001'",
        "ALTER FUNCTION mutx.tenant_of(text, text) SECURITY INVOKER",
    ],
)
def test_the_service_cannot_loosen_what_binds_it(filled: World, statement: str) -> None:
    with _as_app(filled, "acme") as mine, pytest.raises(psycopg.errors.InsufficientPrivilege):
        mine.execute(statement)


def test_an_agent_cannot_be_owned_across_tenants(world: World) -> None:
    with pytest.raises(Problem) as refused:
        world.agent("stolen", tenant="globex", owner=BOB)

    assert refused.value.code == "request-invalid"


def test_a_tenant_that_was_set_does_not_outlive_its_transaction(template: EmbeddedServer) -> None:
    with new_world(template, Limits(connections=1)) as world:
        world.agent()
        in_acme = world.read(lambda connection: connection.execute(_AGENTS).scalar())

        in_globex = world.read(lambda connection: connection.execute(_AGENTS).scalar(), "globex")
        # The one connection, which has been both tenants', and is nobody's here.
        with world.database._engine.connect().execution_options(mutx_begin="BEGIN") as same:
            in_none = same.execute(_AGENTS).scalar()

    assert (in_acme, in_globex, in_none) == (1, 0, 0)
