# ruff: noqa: S608 - what is put into statements stands in this file
"""Each tenant's audit: a chain that does not fork, pages, what is kept how long, and what a change of it meets."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa
from mutx_control_plane.store import audit
from mutx_control_plane.store.audit import Filter
from mutx_control_plane.store.bootstrap import APP_ROLE, OWNER_ROLE
from mutx_control_plane.store.database import Limits
from mutx_control_plane.store.embedded import EmbeddedServer
from mutx_control_plane.store.event import FIRST_PREV
from mutx_control_plane.store.paging import Ask
from mutx_control_plane.store.schema import audit_links
from mutx_service.problem import Problem
from store_world import TEST, World, new_world


def add(world: World, action: str, subject: str = "agent:1", tenant: str = "acme", **detail) -> None:
    world.write(lambda change: change.record(action, subject, detail), tenant)


def page(world: World, wanted: Filter = Filter(), ask: Ask = Ask(), tenant: str = "acme"):  # noqa: B008 - frozen
    return world.read(lambda connection: audit.page(connection, wanted, ask), tenant)


def verify(world: World, tenant: str = "acme") -> audit.Verdict:
    return world.read(lambda connection: audit.verify(connection, tenant), tenant)


def test_parallel_appends_make_one_chain_without_gaps(template: EmbeddedServer) -> None:
    with new_world(template, Limits(connections=16, lock_s=30, wait_s=30)) as world:
        before = verify(world).links
        with ThreadPoolExecutor(16) as callers:
            list(callers.map(lambda number: add(world, "agent.touched", n=number), range(200)))

        verdict = verify(world)

        assert (verdict.links, verdict.records, verdict.broken_at) == (before + 200, before + 200, None)


def test_times_never_go_back_within_a_chain(world: World) -> None:
    for number in range(20):
        add(world, "agent.touched", n=number)

    times = [row.at for row in page(world).rows]

    assert times == sorted(times, reverse=True)
    assert any(time.microsecond % 1000 for time in times)


def test_a_fork_is_refused_by_the_database(world: World) -> None:
    first = world.read(lambda c: c.execute(sa.select(audit_links).order_by(audit_links.c.sequence)).first())
    digest = bytes(32)
    fork = {"tenant": "acme", "sequence": 9999, "at": first.at, "prev": first.prev, "digest": digest,
            "hash": hashlib.sha256(first.prev + digest).digest()}  # fmt: skip

    with pytest.raises(sa.exc.IntegrityError, match="audit_links_no_fork"):
        world.write(lambda change: change.change(audit_links.insert().values(fork)))


def test_a_link_whose_hash_does_not_follow_is_refused_by_the_database(world: World) -> None:
    head = world.read(lambda connection: audit.head(connection, "acme"))
    wrong = {"tenant": "acme", "sequence": head.sequence + 1, "at": datetime.now(UTC), "prev": head.hash,
             "digest": bytes(32), "hash": bytes(32)}  # fmt: skip

    with pytest.raises(sa.exc.IntegrityError, match="audit_links_hash_follows"):
        world.write(lambda change: change.change(audit_links.insert().values(wrong)))


def test_a_strangers_program_verifies_the_chain_from_the_documents(world: World) -> None:
    for number in range(5):
        add(world, "agent.touched", n=number, text="é\u2028 \U0001f600", flag=True, none=None)
    records = list(reversed(page(world).rows))
    links = world.read(lambda c: c.execute(sa.select(audit_links).order_by(audit_links.c.sequence)).all())

    prev = FIRST_PREV
    for record, link in zip(records, links, strict=True):
        # json's own sorting is RFC 8785's where keys are ASCII and numbers are whole.
        text = json.dumps(record.document(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        prev = hashlib.sha256(prev + hashlib.sha256(text.encode()).digest()).digest()
        assert link.hash == prev

    assert world.read(lambda connection: audit.head(connection, "acme")).hash == prev


@pytest.mark.parametrize("role", [APP_ROLE, OWNER_ROLE, "postgres"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE mutx.{} SET tenant = tenant",
        "DELETE FROM mutx.{}",
        "TRUNCATE mutx.{} CASCADE",
    ],
    ids=["update", "delete", "truncate"],
)
@pytest.mark.parametrize("table", ["audit_events", "audit_links"])
def test_nobody_changes_what_was_recorded(world: World, table: str, statement: str, role: str) -> None:
    with world.raw(role) as connection:
        connection.execute("SELECT set_config('mutx.tenant', 'acme', false)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.format(table))


@pytest.mark.parametrize(
    ("table", "change", "sequence"),
    [
        ("audit_events", "actor = 'user:2'", 3),
        ("audit_events", "detail = '{}'", 2),
        ("audit_events", "address = ''", 6),
        ("audit_links", "digest = sha256('x'), hash = sha256(prev || sha256('x'))", 4),
        ("audit_links", "sequence = 1000", 5),
    ],
    ids=["actor", "detail", "address", "link-rewritten", "link-moved"],
)
def test_what_an_administrator_changed_by_force_is_found(
    world: World, table: str, change: str, sequence: int
) -> None:
    for number in range(5):
        add(world, "agent.touched", n=number)
    before = verify(world)

    with world.raw() as admin:
        admin.execute("SET session_replication_role = replica")
        statement = f"UPDATE mutx.{table} SET {change} WHERE tenant = 'acme' AND sequence = %s"
        changed = admin.execute(statement, [sequence]).rowcount

    assert changed == 1
    assert before.broken_at is None
    assert verify(world).broken_at == sequence


def test_pages_join_to_the_whole_list_while_it_grows(world: World) -> None:
    for number in range(25):
        add(world, "agent.touched", n=number)
    whole = [row.sequence for row in page(world, ask=Ask(200)).rows]
    ask, seen = Ask(7), []

    while True:
        part = page(world, ask=ask)
        seen += [row.sequence for row in part.rows]
        add(world, "agent.touched", n=-1)
        if not part.next_cursor:
            break
        ask = replace(ask, cursor=part.next_cursor)

    assert seen == whole


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Filter(action="agent.touched"), 2),
        (Filter(action="api-key.used"), 1),
        (Filter(object="agent:2"), 1),
        (Filter(actor="service:test", object="agent:1"), 1),
        (Filter(actor="user:nobody"), 0),
        (Filter(trace_id=TEST.trace_id, action="agent.touched"), 2),
        (Filter(until=datetime(2020, 1, 1, tzinfo=UTC)), 0),
        (Filter(action="agent.touched", since=datetime(2020, 1, 1, tzinfo=UTC)), 2),
    ],
    ids=repr,
)
def test_filters(world: World, wanted: Filter, count: int) -> None:
    add(world, "agent.touched", "agent:1")
    add(world, "agent.touched", "agent:2")
    add(world, "api-key.used", "api-key:1")

    assert len(page(world, wanted).rows) == count


def test_a_trace_shows_its_records_and_an_empty_one_none(world: World) -> None:
    add(world, "agent.touched")

    found = world.read(lambda c: audit.trace(c, TEST.trace_id, Filter(action="agent.touched"), Ask()))
    nothing = world.read(lambda c: audit.trace(c, "", Filter(), Ask()))

    assert (len(found.rows), len(nothing.rows)) == (1, 0)


def test_another_tenants_records_are_in_no_page_and_no_trace(world: World) -> None:
    add(world, "agent.touched")

    assert page(world, Filter(action="agent.touched"), tenant="globex").rows == ()
    assert (
        world.read(lambda c: audit.trace(c, TEST.trace_id, Filter(), Ask()), "globex").rows[-1].tenant
        == "globex"
    )


def test_work_and_access_are_kept_apart_so_that_each_goes_in_its_time(world: World) -> None:
    add(world, "agent.created")
    add(world, "session.started", "session:1")

    with world.raw() as admin:
        where = dict(admin.execute(
            "SELECT action, tableoid::regclass::text FROM mutx.audit_events WHERE action IN"
            " ('agent.created', 'session.started')").fetchall())  # fmt: skip

    month = datetime.now(UTC).strftime("%Y_%m")
    assert where == {
        "agent.created": f"mutx.audit_work_{month}",
        "session.started": f"mutx.audit_access_{month}",
    }


def test_a_month_that_is_dropped_leaves_the_chain_whole(world: World) -> None:
    add(world, "agent.created")
    add(world, "session.started", "session:1")
    before = verify(world)
    month = datetime.now(UTC).strftime("%Y_%m")

    with world.raw(OWNER_ROLE) as owner:
        owner.execute(f"DROP TABLE mutx.audit_work_{month}")
    after = verify(world)

    assert (after.links, after.broken_at) == (before.links, None)
    assert after.records < before.records


def test_without_a_place_for_this_month_nothing_is_changed_unaudited(world: World) -> None:
    month = datetime.now(UTC).strftime("%Y_%m")
    with world.raw(OWNER_ROLE) as owner:
        owner.execute(f"DROP TABLE mutx.audit_work_{month}")

    with pytest.raises(sa.exc.IntegrityError, match="no partition"):
        world.agent("unaudited")
    world.database.maintain(datetime.now(UTC).date())

    assert world.agent("audited").declared.name == "audited"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "ZQAAAAAAAAAYAA", "ZQ" * 40, "\u00e9"], ids=repr)
def test_a_cursor_that_no_list_gave_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        page(world, ask=Ask(cursor=cursor))

    assert refused.value.code == "cursor-invalid"
