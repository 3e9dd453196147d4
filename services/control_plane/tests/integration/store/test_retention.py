"""What is kept how long, and that nobody shortens it; attempts to sign in."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from mutx_control_plane.principal import PLATFORM
from mutx_control_plane.store import audit, retention, runs
from mutx_control_plane.store.bootstrap import APP_ROLE
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.paging import Ask
from mutx_control_plane.store.sign_ins import StoredSignIns
from store_world import ANN, BOB, GUS, World

TODAY = datetime.now(UTC)


def months(world: World) -> set[str]:
    with world.raw() as admin:
        found = admin.execute(
            "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
            " AND relnamespace = 'mutx'::regnamespace"
        ).fetchall()
    return {name for (name,) in found}


def make_past(world: World, days: int) -> None:
    """Have the months from so many days ago."""
    with world.raw(APP_ROLE) as app:
        app.execute(
            "SELECT mutx.make_audit_months(%s, %s)", [(TODAY - timedelta(days=days)).date(), TODAY.date()]
        )


def month(days_ago: int) -> str:
    return (TODAY - timedelta(days=days_ago)).strftime("%Y_%m")


def test_months_that_are_over_go_and_no_other(world: World) -> None:
    make_past(world, 800)
    before = months(world)

    removed = retention.expire(world.database, TODAY)

    after = months(world)
    assert before - after == set(removed.months)
    for days_ago in (0, 30, 60, 89):
        assert f"audit_work_{month(days_ago)}" in after
    for days_ago in (0, 180, 364):
        assert f"audit_access_{month(days_ago)}" in after
    # Past its time by a month, so that no day of it is within.
    assert f"audit_work_{month(90 + 31)}" not in after
    assert f"audit_access_{month(365 + 31)}" not in after


def test_a_second_pass_finds_nothing_and_the_first_is_recorded(world: World) -> None:
    make_past(world, 200)
    first = retention.expire(world.database, TODAY)

    second = retention.expire(world.database, TODAY)

    wanted = audit.Filter(action="audit.month-removed")
    recorded = world.read(lambda connection: audit.page(connection, wanted, Ask(200)).rows, PLATFORM)
    assert second == retention.Removed((), 0, 0)
    assert len(recorded) == len(first.months) > 0
    assert world.read(lambda connection: audit.verify(connection, "acme")).broken_at is None


def test_old_runs_and_ended_sessions_go_in_every_tenant(world: World) -> None:
    long_ago = TODAY - timedelta(days=91)
    for tenant, person in (("acme", BOB), ("globex", GUS)):
        agent = world.agent(f"agent-{tenant}", tenant)
        for at in (long_ago, TODAY):
            world.write(
                lambda c, agent=agent, person=person, at=at: runs.start(c, uuid4(), agent.id, person, "", at),
                tenant,
            )
    with world.raw() as admin:
        admin.execute(
            "INSERT INTO mutx.session_families VALUES (%s, 'acme', %s, %s, %s)",
            [uuid4(), ANN, long_ago, long_ago],
        )

    removed = retention.expire(world.database, TODAY)

    kept = [len(world.read(lambda c: runs.page(c, Ask()).rows, tenant)) for tenant in ("acme", "globex")]
    assert (removed.runs, removed.sessions, kept) == (2, 1, [1, 1])


@pytest.mark.parametrize(
    ("account", "is_successful", "tenant", "actor"),
    [
        (ANN, True, "acme", f"user:{ANN}"),
        (ANN, False, "acme", "anonymous"),
        (GUS, False, "globex", "anonymous"),
        (None, False, PLATFORM, "anonymous"),
        (uuid4(), False, PLATFORM, "anonymous"),
    ],
    ids=["proven", "refused", "of-another-tenant", "nobody", "unknown"],
)
def test_an_attempt_to_sign_in_is_recorded_where_it_belongs(
    world: World, account, is_successful: bool, tenant: str, actor: str
) -> None:
    stored = StoredSignIns(world.database, lambda: Origin("anonymous", "192.0.2.1"))

    asyncio.run(stored.note(account, "password", is_successful=is_successful, reason=""))

    newest = world.read(lambda connection: audit.page(connection, audit.Filter(), Ask(1)).rows[0], tenant)
    assert newest.event.action == ("sign-in.succeeded" if is_successful else "sign-in.failed")
    assert (newest.origin.actor, newest.origin.address) == (actor, "192.0.2.1")
