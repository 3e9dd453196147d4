"""What the database does for whoever uses it: bounds, retries of what is safe, and a clear word when it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import date
from uuid import uuid4

import pytest
import sqlalchemy as sa
from mutx_control_plane.store import agents, audit, tools
from mutx_control_plane.store.database import Database, Limits, Proof
from mutx_control_plane.store.embedded import EmbeddedServer, ephemeral_server
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.schema import accounts, tenant_tools
from mutx_control_plane.store.transaction import UnauditedChangeError
from mutx_service.problem import Problem
from store_world import ANN, BOB, NOW, TEST, World, make_template, new_world

ONE = sa.text("SELECT 1")
_COUNT = sa.text("SELECT count(*) FROM mutx.agents")


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server that a test may kill, of nobody else's."""
    with ephemeral_server() as running:
        make_template(running)
        yield running


@pytest.fixture
def narrow(template: EmbeddedServer) -> Iterator[World]:
    limits = Limits(connections=2, wait_s=0.3, lock_s=0.3, statement_s=1.0)
    with new_world(template, limits) as made:
        yield made


def refusal(call) -> Problem:
    with pytest.raises(Problem) as refused:
        call()
    return refused.value


def eventually_answers(database: Database) -> float:
    begun = time.monotonic()
    while time.monotonic() < begun + 60:
        try:
            database.read("acme", lambda connection: connection.execute(ONE).scalar())
            return time.monotonic() - begun
        except Problem:
            time.sleep(0.05)
    pytest.fail("the database did not come back")


@pytest.mark.parametrize(
    "change",
    [
        agents.agents.update().values(name="other"),
        tenant_tools.insert().values(tenant="acme", tool="mail", granted_at=NOW),
        tenant_tools.delete(),
    ],
    ids=["update", "insert", "delete"],
)
def test_a_change_that_is_not_audited_is_undone(world: World, change: sa.UpdateBase) -> None:
    agent = world.agent()
    world.write(lambda work: tools.grant_tenant(work, "calendar", NOW))

    with pytest.raises(UnauditedChangeError):
        world.write(lambda work: work.change(change))

    assert world.read(lambda connection: agents.get(connection, agent.id)) == agent
    assert world.read(tools.of_tenant) == ("calendar",)


def test_what_changes_nothing_needs_no_record(world: World) -> None:
    world.write(lambda change: tools.grant_tenant(change, "mail", NOW))
    before = world.read(lambda connection: audit.head(connection, "acme"))

    world.write(lambda change: tools.grant_tenant(change, "mail", NOW))

    assert world.read(lambda connection: audit.head(connection, "acme")) == before


def test_a_change_that_fails_leaves_neither_itself_nor_its_record(world: World) -> None:
    before = world.read(lambda connection: audit.head(connection, "acme"))

    def work(change) -> None:
        change.change(accounts.update().where(accounts.c.id == ANN).values(email="new@acme.example"))
        change.record("account.changed", "user:1")
        raise Problem("not-found")

    refused = refusal(lambda: world.write(work))

    assert refused.code == "not-found"
    assert world.read(lambda connection: audit.head(connection, "acme")) == before
    email = world.read(lambda c: c.execute(sa.select(accounts.c.email).where(accounts.c.id == ANN)).scalar())
    assert email == "p1@acme.example"


def test_a_reader_cannot_write(world: World) -> None:
    statement = accounts.update().values(email="")

    refused = refusal(lambda: world.read(lambda connection: connection.execute(statement)))

    assert refused.code == "store-unavailable"


def test_a_reader_sees_one_moment(world: World) -> None:
    def work(connection: sa.Connection) -> tuple[int, int]:
        first = connection.execute(_COUNT).scalar_one()
        world.agent("meanwhile")
        return first, connection.execute(_COUNT).scalar_one()

    assert world.read(work) == (0, 0)


@pytest.mark.parametrize("tenant", ["", "Acme", "acme'; SELECT 1; --", "acme\n", "a" * 64, "-acme"], ids=repr)
def test_a_tenant_that_is_no_label_is_no_statement(world: World, tenant: str) -> None:
    with pytest.raises(ValueError, match="host label"):
        world.read(lambda connection: connection.execute(ONE).scalar(), tenant)


def test_a_proof_that_is_nobodys_enters_no_tenant(world: World) -> None:
    entered = world.database.prove_write(
        Proof.ACCOUNT, str(uuid4()), TEST, lambda _change: pytest.fail("entered")
    )

    assert entered is None


@pytest.mark.parametrize(
    ("kind", "proof"),
    [(Proof.EMAIL, "p1@acme.example"), (Proof.ACCOUNT, str(ANN))],
    ids=["email", "account"],
)
def test_a_proof_enters_its_own_tenant(world: World, kind: Proof, proof: str) -> None:
    seen = world.database.prove_read(
        kind,
        proof,
        lambda connection: connection.execute(sa.select(accounts.c.tenant).distinct()).scalars().all(),
    )

    assert seen == ["acme"]


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"], ids=["nul", "surrogate"])
@pytest.mark.parametrize("place", ["name", "config"])
def test_a_text_that_postgresql_cannot_hold_is_the_callers_fault(world: World, place: str, text: str) -> None:
    name, config = (text, {}) if place == "name" else ("fine", {"deep": [text]})
    declared = agents.Declaration(name, BOB, "", config)

    refused = refusal(lambda: world.write(lambda change: agents.create(change, uuid4(), declared, NOW)))

    assert refused.code == "request-invalid"
    assert text not in refused.detail


def test_when_every_connection_is_in_use_a_request_waits_so_long_and_no_longer(narrow: World) -> None:
    entered, leave = threading.Barrier(3), threading.Event()

    def hold(_connection: sa.Connection) -> None:
        entered.wait(10)
        leave.wait(10)

    holders = [threading.Thread(target=narrow.read, args=[hold]) for _ in range(2)]
    for holder in holders:
        holder.start()
    entered.wait(10)
    begun = time.monotonic()
    refused = refusal(lambda: narrow.read(lambda connection: connection.execute(ONE).scalar()))
    waited_s = time.monotonic() - begun
    leave.set()
    for holder in holders:
        holder.join()

    assert refused.code == "store-unavailable"
    assert 0.2 < waited_s < 5
    assert narrow.read(lambda connection: connection.execute(ONE).scalar()) == 1


def test_many_at_once_share_the_connections_and_all_are_answered(world: World) -> None:
    async def ask_all() -> list[int]:
        count = lambda connection: connection.execute(ONE).scalar()  # noqa: E731
        return await asyncio.gather(*(world.database.aread("acme", count) for _ in range(60)))

    answers = asyncio.run(ask_all())

    with world.raw() as admin:
        open_now = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename = 'mutx_app'", [world.name]
        ).fetchone()[0]
    assert answers == [1] * 60
    assert open_now <= 8


def test_of_many_at_once_who_gets_no_connection_in_time_is_told(narrow: World) -> None:
    async def ask_all() -> list[object]:
        slow = lambda connection: connection.execute(sa.text("SELECT pg_sleep(0.5)")).scalar()  # noqa: E731
        calls = (narrow.database.aread("acme", slow) for _ in range(6))
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(ask_all())

    refused = [each.code for each in answers if isinstance(each, Problem)]
    assert refused == ["store-unavailable"] * 4


def test_a_statement_that_runs_too_long_is_ended(narrow: World) -> None:
    begun = time.monotonic()

    refused = refusal(
        lambda: narrow.read(lambda connection: connection.execute(sa.text("SELECT pg_sleep(20)")))
    )

    assert (refused.code, refused.detail) == ("store-unavailable", "the database took too long")
    assert time.monotonic() - begun < 10


def test_a_lock_that_is_not_given_is_not_waited_for_long(narrow: World) -> None:
    agent = narrow.agent()
    with narrow.raw() as other, other.transaction():
        other.execute("SELECT 1 FROM mutx.agents WHERE id = %s FOR UPDATE", [agent.id])

        refused = refusal(
            lambda: narrow.write(
                lambda change: agents.set_state(change, agent.id, agents.AgentState.PAUSED, NOW)
            )
        )

    assert refused.code == "store-unavailable"


def test_work_that_deadlocks_is_done_all_the_same(world: World) -> None:
    first, second = world.agent("one"), world.agent("two")
    both = threading.Barrier(2)
    tries = []

    def pause(change, order) -> None:
        tries.append(1)
        for place, agent in enumerate(order):
            changed = sa.update(agents.agents).where(agents.agents.c.id == agent.id)
            change.change(changed.values(version=agents.agents.c.version + 1))
            if place == 0 and len(tries) <= 2:
                both.wait(10)
        change.record("agent.touched", "agent:both")

    threads = [
        threading.Thread(target=world.write, args=[lambda change, order=order: pause(change, order)])
        for order in ((first, second), (second, first))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(tries) == 3
    assert world.read(lambda connection: agents.get(connection, first.id)).version == 3


def test_a_connection_that_was_lost_before_the_commit_is_made_anew(world: World) -> None:
    pids = []

    def work(change) -> int:
        pids.append(change.connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())
        if len(pids) == 1:
            with world.raw() as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", [pids[0]])
            time.sleep(0.1)
        change.record("agent.touched", "agent:1")
        return len(pids)

    tried = world.write(work)

    touched = world.read(
        lambda connection: audit.page(connection, audit.Filter(action="agent.touched"), audit.Ask())
    )
    assert tried == 2
    assert len(touched.rows) == 1


def test_connections_that_the_server_closed_meanwhile_are_no_failure(world: World) -> None:
    world.read(lambda connection: connection.execute(ONE).scalar())
    with world.raw() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = 'mutx_app'",
            [world.name],
        )
        time.sleep(0.1)

    assert world.read(lambda connection: connection.execute(ONE).scalar()) == 1


def test_a_server_that_is_not_there_is_told_without_its_url() -> None:
    database = Database("postgresql://mutx_app:s3cret@127.0.0.1:1/x")

    refused = refusal(lambda: database.open(date(2026, 11, 30)))

    assert refused.code == "store-unavailable"
    assert "s3cret" not in refused.detail


def test_a_server_that_is_killed_is_unavailable_and_then_back(own_server: EmbeddedServer) -> None:
    with new_world(own_server, Limits(connections=2)) as world:
        eventually_answers(world.database)
        os.kill(own_server.server_pid, signal.SIGKILL)
        time.sleep(0.05)

        refused = refusal(lambda: [world.agent(f"a{number}") for number in range(1000)])

        assert refused.code == "store-unavailable"
        assert eventually_answers(world.database) < 30


def test_no_acknowledged_write_is_lost_or_unaudited_when_the_server_is_killed(
    own_server: EmbeddedServer,
) -> None:
    acknowledged: list[list[str]] = [[], [], []]
    killed = threading.Event()

    def load(world: World, mine: list[str]) -> None:
        refusals_after_kill = 0
        while refusals_after_kill < 1:
            name = f"agent-{uuid4().hex}"
            try:
                world.agent(name)
                mine.append(name)
            except Problem:
                refusals_after_kill += killed.is_set()

    with new_world(own_server, Limits(connections=4)) as world:
        threads = [threading.Thread(target=load, args=[world, mine]) for mine in acknowledged]
        for thread in threads:
            thread.start()
        while sum(map(len, acknowledged)) < 60:
            time.sleep(0.01)
        killed.set()
        os.kill(own_server.server_pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        eventually_answers(world.database)
        with world.raw() as admin:
            present = {row[0] for row in admin.execute("SELECT name FROM mutx.agents")}
            audited = {
                row[0] for row in admin.execute(
                    "SELECT detail->>'name' FROM mutx.audit_events WHERE action = 'agent.created'"
                )
            }  # fmt: skip
        verdict = world.read(lambda connection: audit.verify(connection, "acme"))

    told = {name for mine in acknowledged for name in mine}
    assert len(told) >= 60
    assert told - present == set()
    assert present == audited
    assert verdict.broken_at is None


def test_the_origin_of_a_change_is_kept_with_it(world: World) -> None:
    origin = Origin("user:" + str(BOB), "2001:db8::7", "a" * 32)

    world.database.write("acme", origin, lambda change: change.record("agent.touched", "agent:1"))

    found = world.read(
        lambda connection: audit.page(connection, audit.Filter(action="agent.touched"), audit.Ask())
    )
    assert [row.origin for row in found.rows] == [origin]
