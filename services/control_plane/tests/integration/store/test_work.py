# ruff: noqa: S608 - what is put into statements stands in this file
"""Agents, their tools and runs, approvals and policies of a tenant."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from mutx_control_plane.store import agents, approvals, audit, policies, runs, tools
from mutx_control_plane.store.agents import AgentState
from mutx_control_plane.store.approvals import Approval, ApprovalState, Wanted
from mutx_control_plane.store.database import Limits
from mutx_control_plane.store.embedded import EmbeddedServer
from mutx_control_plane.store.paging import Ask
from mutx_control_plane.store.runs import Outcome, RunStatus
from mutx_service.problem import Problem
from store_world import ANN, BOB, NOW, VIC, World, new_world

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LATER = NOW + timedelta(minutes=1)


def code_of(call) -> str:
    with pytest.raises(Problem) as refused:
        call()
    return refused.value.code


def start(world: World, agent: agents.Agent, run: UUID | None = None, at=NOW) -> runs.Run:
    return world.write(
        lambda change: runs.start(change, run or uuid4(), agent.id, BOB, TRACE, at), agent.tenant
    )


def request(world: World, lifetime: timedelta = timedelta(hours=1), by: UUID = BOB) -> Approval:
    agent = world.agent(f"agent-{uuid4().hex}")
    return world.write(
        lambda change: approvals.request(change, uuid4(), Wanted(agent.id, "mail"), by, lifetime)
    )


def decide(
    world: World, approval: UUID, decider: UUID, tenant: str = "acme", *, is_approved: bool = True
) -> Approval:
    return world.write(
        lambda change: approvals.decide(change, approval, decider, is_approved=is_approved), tenant
    )


def all_pages(world: World, read, size: int) -> list[UUID]:
    ask, seen = Ask(size), []
    while True:
        page = world.read(lambda connection: read(connection, ask))  # noqa: B023 - it is called at once
        seen += [row.id for row in page.rows]
        if not page.next_cursor:
            return seen
        ask = replace(ask, cursor=page.next_cursor)


# Agents


def test_an_agent_is_read_as_it_was_registered(world: World) -> None:
    agent = world.agent()

    assert world.read(lambda connection: agents.get(connection, agent.id)) == agent
    assert (agent.state, agent.version, agent.declared.config) == (AgentState.ACTIVE, 1, {"a": 1})


def test_another_tenants_agent_is_not_found_by_any_way(world: World) -> None:
    agent = world.agent(tenant="globex")
    calls = {
        "get": lambda: world.read(lambda c: agents.get(c, agent.id)),
        "update": lambda: world.write(lambda c: agents.update(c, agent.id, 1, agent.declared, NOW)),
        "pause": lambda: world.write(lambda c: agents.set_state(c, agent.id, AgentState.PAUSED, NOW)),
        "run": lambda: world.write(lambda c: runs.start(c, uuid4(), agent.id, BOB, TRACE, NOW)),
        "tools": lambda: world.read(lambda c: tools.of_agent(c, agent.id)),
        "approval": lambda: world.write(
            lambda c: approvals.request(c, uuid4(), Wanted(agent.id, "mail"), BOB, timedelta(1))
        ),
    }

    assert {name: code_of(call) for name, call in calls.items()} == dict.fromkeys(calls, "not-found")


def test_a_name_is_one_agents_of_a_tenant_until_it_is_deleted(world: World) -> None:
    first = world.agent("billing")

    refused = code_of(lambda: world.agent("billing"))
    world.agent("billing", tenant="globex")
    world.write(lambda change: agents.set_state(change, first.id, AgentState.DELETED, NOW))

    assert refused == "name-taken"
    assert world.agent("billing").id != first.id


def test_of_two_who_changed_what_they_read_the_second_is_refused(world: World) -> None:
    agent = world.agent()
    wanted = replace(agent.declared, purpose="Answers invoices")

    changed = world.write(lambda change: agents.update(change, agent.id, 1, wanted, LATER))
    refused = code_of(lambda: world.write(lambda change: agents.update(change, agent.id, 1, wanted, LATER)))

    assert (changed.version, changed.declared, changed.updated) == (2, wanted, LATER)
    assert refused == "version-stale"


def test_an_agent_is_not_given_a_name_that_is_taken(world: World) -> None:
    world.agent("billing")
    agent = world.agent("sales")
    wanted = replace(agent.declared, name="billing")

    assert code_of(lambda: world.write(lambda c: agents.update(c, agent.id, 1, wanted, NOW))) == "name-taken"


def test_a_pause_is_said_once_and_a_deleted_agent_is_nobodys(world: World) -> None:
    agent = world.agent()
    move = lambda state: world.write(lambda change: agents.set_state(change, agent.id, state, NOW))  # noqa: E731

    versions = [move(state).version for state in (AgentState.PAUSED, AgentState.PAUSED, AgentState.ACTIVE)]
    move(AgentState.DELETED)

    actions = world.read(lambda c: audit.page(c, audit.Filter(object=f"agent:{agent.id}"), Ask()).rows)
    assert versions == [2, 2, 3]
    assert [row.event.action for row in actions] == [
        "agent.deleted", "agent.resumed", "agent.paused", "agent.created"
    ]  # fmt: skip
    assert code_of(lambda: move(AgentState.ACTIVE)) == "not-found"


def test_pages_hold_each_agent_once_the_newest_first(world: World) -> None:
    made = [world.agent(f"agent-{number}") for number in range(7)]
    world.agent("theirs", tenant="globex")
    # All of one microsecond: the order is the ids'.
    wanted = sorted((agent.id for agent in made), reverse=True)

    assert all_pages(world, agents.page, 3) == wanted
    assert all_pages(world, agents.page, 7) == wanted


def test_a_list_shows_what_agents_are_and_not_how_they_are_configured(world: World) -> None:
    agent = world.agent()

    (listed,) = world.read(lambda connection: agents.page(connection, Ask())).rows

    assert listed == agents.Listed(
        agent.id,
        agent.declared.name,
        BOB,
        agent.declared.purpose,
        AgentState.ACTIVE,
        1,
        agent.created,
        agent.updated,
    )
    assert not hasattr(listed, "config")


def test_a_page_of_one_owners_agents(world: World) -> None:
    mine = world.agent("mine", owner=VIC)
    world.agent("bobs")

    assert all_pages(world, lambda connection, ask: agents.page(connection, ask, owner=VIC), 5) == [mine.id]


def test_a_cursor_of_another_list_is_refused(world: World) -> None:
    for number in range(3):
        start(world, world.agent(f"agent-{number}"))
    cursor = world.read(lambda connection: agents.page(connection, Ask(1))).next_cursor

    assert code_of(lambda: world.read(lambda c: runs.page(c, Ask(1, cursor)))) == "cursor-invalid"


# Tools


def test_an_agent_has_a_tool_only_while_its_tenant_has_it(world: World) -> None:
    agent = world.agent()
    grant = tools.ToolGrant("mail", needs_approval=True)
    give = lambda: world.write(lambda change: tools.grant_agent(change, agent.id, grant, NOW))  # noqa: E731

    refused = code_of(give)
    world.write(lambda change: tools.grant_tenant(change, "mail", NOW))
    give()
    held = world.read(lambda connection: tools.of_agent(connection, agent.id))
    world.write(lambda change: tools.revoke_tenant(change, "mail"))

    assert refused == "request-invalid"
    assert held == (grant,)
    assert world.read(lambda connection: tools.of_agent(connection, agent.id)) == ()


def test_a_later_grant_takes_the_place_of_an_earlier_one_and_can_be_taken_back(world: World) -> None:
    agent = world.agent()
    world.write(lambda change: tools.grant_tenant(change, "mail", NOW))
    for needs_approval in (True, False):
        grant = tools.ToolGrant("mail", needs_approval)
        world.write(lambda change, grant=grant: tools.grant_agent(change, agent.id, grant, NOW))

    held = world.read(lambda connection: tools.of_agent(connection, agent.id))
    world.write(lambda change: tools.revoke_agent(change, agent.id, "mail"))

    assert held == (tools.ToolGrant("mail", needs_approval=False),)
    assert code_of(lambda: world.write(lambda c: tools.revoke_agent(c, agent.id, "mail"))) == "not-found"
    assert world.read(tools.of_tenant) == ("mail",)


# Runs


def test_a_run_ends_once(world: World) -> None:
    run = start(world, world.agent())
    blocked = Outcome(RunStatus.BLOCKED, "guard-blocked", 12, 0)

    ended = world.write(lambda change: runs.finish(change, run.id, blocked, LATER))
    again = world.write(lambda change: runs.finish(change, run.id, Outcome(RunStatus.SUCCEEDED), LATER))

    assert (ended.outcome, ended.ended) == (blocked, LATER)
    assert again == ended
    assert world.read(lambda connection: runs.of_trace(connection, TRACE)) == (ended,)


def test_a_paused_agent_takes_no_run_and_a_resumed_one_does(world: World) -> None:
    agent = world.agent()
    move = lambda state: world.write(lambda change: agents.set_state(change, agent.id, state, NOW))  # noqa: E731

    move(AgentState.PAUSED)
    refused = code_of(lambda: start(world, agent))
    move(AgentState.ACTIVE)

    assert refused == "agent-paused"
    assert start(world, agent).outcome.status is RunStatus.RUNNING


def test_a_pause_waits_for_a_run_that_begins_and_stops_the_next(world: World) -> None:
    agent = world.agent()
    begun, go_on = threading.Event(), threading.Event()

    def slow(change) -> None:
        runs.start(change, uuid4(), agent.id, BOB, TRACE, NOW)
        begun.set()
        go_on.wait(10)

    with ThreadPoolExecutor(2) as callers:
        running = callers.submit(world.write, slow)
        begun.wait(10)
        pausing = callers.submit(
            world.write, lambda change: agents.set_state(change, agent.id, AgentState.PAUSED, NOW)
        )
        waited = not pausing.done()
        go_on.set()
        running.result()
        pausing.result()

    assert waited
    assert code_of(lambda: start(world, agent)) == "agent-paused"


def test_pages_of_runs_are_an_agents_or_an_askers_or_the_tenants(world: World) -> None:
    agent, other = world.agent("one"), world.agent("two")
    made = [start(world, agent, at=NOW + timedelta(seconds=number)) for number in range(4)]
    last = start(world, other, at=LATER)
    newest_first = [run.id for run in reversed(made)]

    assert all_pages(world, lambda c, ask: runs.page(c, ask, agent=agent.id), 3) == newest_first
    assert all_pages(world, runs.page, 2) == [last.id, *newest_first]
    assert all_pages(world, lambda c, ask: runs.page(c, ask, requested_by=ANN), 2) == []


def test_runs_are_forgotten_when_their_time_is_over(world: World) -> None:
    agent = world.agent()
    old = [start(world, agent, at=NOW - timedelta(days=91)) for _ in range(3)]
    kept = start(world, agent, at=NOW)
    before = NOW - timedelta(days=90)

    counts = [world.write(lambda change: runs.purge(change, before, 2)) for _ in range(3)]

    assert counts == [2, 1, 0]
    assert len(old) == 3
    assert all_pages(world, runs.page, 5) == [kept.id]


# Approvals


@pytest.mark.parametrize("is_approved", [True, False], ids=["approved", "rejected"])
def test_somebody_else_decides_once(world: World, is_approved: bool) -> None:
    approval = request(world)

    decided = decide(world, approval.id, ANN, is_approved=is_approved)

    assert decided.state is (ApprovalState.APPROVED if is_approved else ApprovalState.REJECTED)
    assert decided.decided_by == ANN
    assert code_of(lambda: decide(world, approval.id, ANN)) == "approval-decided"
    assert code_of(lambda: decide(world, approval.id, VIC, is_approved=False)) == "approval-decided"


def test_of_fifty_who_decide_at_once_one_does(template: EmbeddedServer) -> None:
    with new_world(template, Limits(connections=16, wait_s=60, lock_s=30)) as world:
        approval = request(world)
        together = threading.Barrier(50)

        def attempt(number: int) -> str:
            together.wait(30)
            try:
                return decide(
                    world, approval.id, ANN if number % 2 else VIC, is_approved=number % 3 == 0
                ).state
            except Problem as problem:
                return problem.code

        with ThreadPoolExecutor(50) as deciders:
            answers = list(deciders.map(attempt, range(50)))
        found = world.read(lambda connection: approvals.get(connection, approval.id))
        recorded = world.read(
            lambda c: audit.page(c, audit.Filter(object=f"approval:{approval.id}"), Ask()).rows
        )

    won = [answer for answer in answers if answer != "approval-decided"]
    assert won == [found.state]
    assert [row.event.action for row in recorded] == [f"approval.{found.state}", "approval.requested"]


def test_nobody_decides_what_they_asked_for(world: World) -> None:
    approval = request(world, by=BOB)

    assert code_of(lambda: decide(world, approval.id, BOB)) == "own-approval"
    assert world.read(lambda c: approvals.get(c, approval.id)).state is ApprovalState.PENDING


def test_nobody_decides_too_late(world: World) -> None:
    approval = request(world, lifetime=timedelta(0))

    assert code_of(lambda: decide(world, approval.id, ANN)) == "approval-expired"
    assert world.read(lambda c: approvals.get(c, approval.id)).state is ApprovalState.EXPIRED
    assert all_pages(world, lambda c, ask: approvals.page(c, ask, is_open=True), 5) == []


def test_another_tenants_approval_is_not_found(world: World) -> None:
    approval = request(world)

    assert code_of(lambda: decide(world, approval.id, UUID(int=9), tenant="globex")) == "not-found"
    assert code_of(lambda: world.read(lambda c: approvals.get(c, approval.id), "globex")) == "not-found"


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'approved', decided_by = requested_by, decided_at = now()", "approvals_decider_is_another"),
        ("state = 'approved'", "approvals_decider_is_told"),
        ("state = 'approved', decided_by = %(ann)s, decided_at = expires_at", "approvals_decided_in_time"),
        ("state = 'perhaps', decided_by = %(ann)s, decided_at = now()", "approvals_state_is_known"),
    ],
)
def test_the_database_itself_refuses_a_wrong_decision(world: World, change: str, constraint: str) -> None:
    approval = request(world)

    with world.raw() as admin, pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        admin.execute(
            f"UPDATE mutx.approvals SET {change} WHERE id = %(id)s", {"ann": ANN, "id": approval.id}
        )


def test_the_database_itself_refuses_a_second_decision(world: World) -> None:
    approval = request(world)
    decide(world, approval.id, ANN)

    with world.raw() as admin, pytest.raises(psycopg.errors.CheckViolation, match="decided before"):
        admin.execute("UPDATE mutx.approvals SET state = 'rejected' WHERE id = %s", [approval.id])


def test_open_approvals_are_listed_and_those_of_one_asker(world: World) -> None:
    waiting, decided = request(world), request(world)
    decide(world, decided.id, ANN)

    assert all_pages(world, lambda c, ask: approvals.page(c, ask, is_open=True), 1) == [waiting.id]
    assert set(all_pages(world, lambda c, ask: approvals.page(c, ask, requested_by=BOB), 1)) == {
        waiting.id, decided.id
    }  # fmt: skip
    assert all_pages(world, lambda c, ask: approvals.page(c, ask, requested_by=ANN), 1) == []


# Policies


def put(
    world: World, content: dict[str, object], based_on: int, tenant: str = "acme"
) -> policies.PolicyVersion:
    return world.write(lambda change: policies.put(change, content, ANN, based_on, NOW), tenant)


def test_versions_of_a_policy_count_up_and_stay(world: World) -> None:
    first = put(world, {"b": 1, "a": [0.5]}, 0)
    second = put(world, {"a": []}, 1)

    assert (first.version, first.document, first.content()) == (1, '{"a":[0.5],"b":1}', {"b": 1, "a": [0.5]})
    assert world.read(policies.current) == second
    assert world.read(lambda connection: policies.get(connection, 1)) == first
    assert [each.version for each in world.read(lambda c: policies.page(c, Ask())).rows] == [2, 1]


def test_the_same_content_has_the_same_digest_however_it_is_written(world: World) -> None:
    versions = [put(world, {"a": 1, "b": 2.0}, 0), put(world, {"b": 2, "a": 1.0}, 1)]

    assert versions[0].digest == versions[1].digest


def test_who_puts_a_policy_names_the_version_that_it_follows(world: World) -> None:
    put(world, {}, 0)

    assert [code_of(lambda based_on=based_on: put(world, {}, based_on)) for based_on in (0, 2)] == [
        "version-stale"
    ] * 2


def test_of_ten_who_put_a_policy_at_once_one_does(world: World) -> None:
    def attempt(number: int) -> str:
        try:
            return str(put(world, {"n": number}, 0).version)
        except Problem as problem:
            return problem.code

    with ThreadPoolExecutor(10) as callers:
        answers = sorted(callers.map(attempt, range(10)))

    assert answers == ["1"] + ["version-stale"] * 9


def test_a_policy_that_is_no_json_is_refused(world: World) -> None:
    assert code_of(lambda: put(world, {"a": float("nan")}, 0)) == "request-invalid"


def test_another_tenant_has_no_policy_of_this_one(world: World) -> None:
    put(world, {}, 0)

    assert world.read(policies.current, "globex") is None
    assert code_of(lambda: world.read(lambda c: policies.get(c, 1), "globex")) == "not-found"
