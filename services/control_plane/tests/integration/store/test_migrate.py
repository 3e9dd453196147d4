# ruff: noqa: S608 - names of tables stand in this file
"""The schema's history: up and down with data, beside others who serve or migrate, and what is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from mutx_control_plane.store import audit, migrate
from mutx_control_plane.store.bootstrap import OWNER_ROLE, bootstrap
from mutx_control_plane.store.database import Database
from mutx_control_plane.store.embedded import EmbeddedServer
from mutx_control_plane.store.errors import StoreError
from mutx_control_plane.store.schema import metadata
from mutx_control_plane.store.urls import driver_url
from store_world import ANN, World

TODAY = date(2026, 11, 30)
STEPS = ["0001", "0002", "0003"]


def owner_url(server: EmbeddedServer, name: str) -> str:
    return server.url(OWNER_ROLE, name)


def refused_start(server: EmbeddedServer, name: str, role: str = "mutx_app") -> str:
    database = Database(server.url(role, name))
    try:
        with pytest.raises(StoreError) as refused:
            database.open(TODAY)
    finally:
        database.close()
    assert refused.value.remedy
    return refused.value.code


def test_the_tables_that_queries_name_are_those_that_the_steps_make(world: World) -> None:
    engine = sa.create_engine(driver_url(owner_url(world.server, world.name)), poolclass=sa.NullPool)
    options = {"version_table_schema": "mutx", "include_schemas": True, "compare_type": True}

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        found = [_flat(each) for each in compare_metadata(context, metadata)]
        constraints = {"remove_index", "remove_constraint", "remove_fk"}
        partitions = ("audit_access", "audit_work")
        differences = [
            each
            for each in found
            if each[0] not in constraints and not getattr(each[1], "name", "").startswith(partitions)
        ]

    assert differences == []
    assert len(found) > 20


def _flat(difference):
    return difference[0] if isinstance(difference, list) else difference


@pytest.mark.parametrize("step", STEPS)
def test_each_step_goes_down_and_up_again_and_keeps_what_is_not_its_own(world: World, step: str) -> None:
    world.agent()
    url = owner_url(world.server, world.name)
    before = STEPS[: STEPS.index(step)]
    outlasting = {"0001": [], "0002": ["accounts"], "0003": ["accounts", "agents"]}[step]

    migrate.downgrade(url, before[-1] if before else "base")
    migrate.upgrade(url)

    with world.raw() as admin:
        counts = {table: admin.execute(f"SELECT count(*) FROM mutx.{table}").fetchone()[0]
                  for table in ("accounts", "agents")}  # fmt: skip
    assert {table for table, count in counts.items() if count} == set(outlasting)
    world.database.open(TODAY)


def test_the_way_down_leaves_nothing_behind(world: World) -> None:
    migrate.downgrade(owner_url(world.server, world.name), "base")

    with world.raw() as admin:
        left = admin.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'mutx'::regnamespace AND relkind IN ('r', 'p', 'v')"
            " UNION SELECT proname FROM pg_proc WHERE pronamespace = 'mutx'::regnamespace"
        ).fetchall()
    assert left == [("alembic_version",)]


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(world: World) -> None:
    world.agent()

    migrate.upgrade(owner_url(world.server, world.name))

    assert (
        world.read(
            lambda connection: connection.execute(sa.text("SELECT count(*) FROM mutx.agents")).scalar()
        )
        == 1
    )


def test_of_replicas_that_start_at_once_one_migrates_and_the_others_wait(
    server: EmbeddedServer, empty: str
) -> None:
    with ThreadPoolExecutor(4) as replicas:
        ended = [replicas.submit(migrate.upgrade, owner_url(server, empty)) for _ in range(4)]

    assert [each.exception() for each in ended] == [None] * 4
    database = Database(server.url(database=empty))
    database.open(TODAY)
    database.close()


def test_no_schema_is_refused(server: EmbeddedServer, empty: str) -> None:
    assert refused_start(server, empty) == "schema-missing"


def test_an_older_schema_is_refused(server: EmbeddedServer, empty: str) -> None:
    migrate.upgrade(owner_url(server, empty), "0002")

    assert refused_start(server, empty) == "schema-behind"


def test_a_schema_of_a_later_version_is_refused_and_not_touched(world: World) -> None:
    with world.raw() as admin:
        admin.execute("UPDATE mutx.alembic_version SET version_num = '9999'")

    assert refused_start(world.server, world.name) == "schema-too-new"
    with pytest.raises(StoreError) as refused:
        migrate.upgrade(owner_url(world.server, world.name))
    assert refused.value.code == "schema-too-new"


@pytest.mark.parametrize("role", ["mutx_owner", "postgres"])
def test_a_role_that_sees_more_than_a_tenant_is_refused(world: World, role: str) -> None:
    assert refused_start(world.server, world.name, role) == "role-too-strong"


def test_a_login_that_is_a_member_of_the_services_role_is_taken_and_bound(world: World) -> None:
    world.agent()
    with world.raw() as admin:
        admin.execute("DROP ROLE IF EXISTS leased_1")
        admin.execute("CREATE ROLE leased_1 LOGIN IN ROLE mutx_app")
    database = Database(world.server.url("leased_1", world.name))

    database.open(TODAY)
    seen = database.read(
        "globex", lambda connection: connection.execute(sa.text("SELECT count(*) FROM mutx.agents")).scalar()
    )

    database.close()
    assert seen == 0


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(StoreError) as refused:
        migrate.upgrade("postgresql://owner:s3cret@127.0.0.1:1/x")

    assert refused.value.code == "database-unreachable"
    assert "s3cret" not in str(refused.value)


def test_a_login_that_is_not_the_owners_changes_nothing(world: World) -> None:
    with pytest.raises(StoreError) as refused:
        migrate.downgrade(world.server.url("mutx_app", world.name), "base")

    assert refused.value.code == "rights-missing"
    world.database.open(TODAY)


def test_an_owner_without_a_right_to_the_database_is_told_and_after_the_bootstrap_has_it(
    server: EmbeddedServer, empty: str
) -> None:
    with psycopg.connect(server.url("postgres", empty), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {empty} OWNER TO postgres")
        admin.execute(f"REVOKE CREATE ON DATABASE {empty} FROM mutx_owner")
        with pytest.raises(StoreError) as refused:
            migrate.upgrade(owner_url(server, empty))

        bootstrap(admin)
        migrate.upgrade(owner_url(server, empty))

    assert refused.value.code == "rights-missing"


def test_a_step_that_waits_for_a_table_gives_way_and_is_tried_again(world: World) -> None:
    url = owner_url(world.server, world.name)
    migrate.downgrade(url, "0002")
    blocker = psycopg.connect(world.server.url("postgres", world.name))
    blocker.execute("LOCK mutx.tenants IN ACCESS EXCLUSIVE MODE")
    release = threading.Timer(3.0, blocker.rollback)
    release.start()

    # The third step refers to `tenants`, so it needs a lock on it.
    migrate.upgrade(url)

    release.join()
    blocker.close()
    world.database.open(TODAY)


def test_who_serves_goes_on_while_steps_go_down_and_up(world: World) -> None:
    url = owner_url(world.server, world.name)
    stop, failures, done = threading.Event(), [], []

    def serve() -> None:
        with psycopg.connect(world.server.url(database=world.name), autocommit=True) as connection:
            connection.execute("SET mutx.tenant = 'acme'")
            connection.execute("SET statement_timeout = '5s'")
            while not stop.is_set():
                try:
                    connection.execute("UPDATE mutx.accounts SET is_active = true WHERE id = %s", [ANN])
                    done.append(connection.execute("SELECT count(*) FROM mutx.accounts").fetchone()[0])
                except psycopg.Error as exc:
                    failures.append(exc)

    server = threading.Thread(target=serve)
    server.start()
    for _ in range(3):
        migrate.downgrade(url, "0001")
        migrate.upgrade(url)
    stop.set()
    server.join()

    assert failures == []
    assert len(done) > 20
    assert set(done) == {3}


def test_audit_goes_on_while_months_are_made(world: World) -> None:
    stop, failures = threading.Event(), []

    def append() -> None:
        while not stop.is_set():
            try:
                world.write(lambda change: change.record("agent.touched", "agent:1"))
            except Exception as exc:  # noqa: BLE001 - whatever it is, the test fails of it
                failures.append(exc)

    writer = threading.Thread(target=append)
    writer.start()
    for month in range(1, 7):
        world.database.maintain(date(2028, month, 1))
    stop.set()
    writer.join()

    assert failures == []
    records = world.read(lambda connection: audit.verify(connection, "acme"))
    assert records.broken_at is None
    assert records.records > 3
