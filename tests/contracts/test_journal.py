"""What every journal promises; run against memory, SQLite and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mutx_infra.errors import RefusedError
from mutx_infra.ports import Journal, Registry
from mutx_infra.records import RunKind, StepState
from tests.contracts.conftest import Store
from tests.support.registry import HandClock
from tests.support.specs import a_spec, an_allocation, an_owner


def test_a_run_is_open_until_it_is_ended(store: Store, clock: HandClock) -> None:
    run = store.open_journal().begin("acme", RunKind.CREATE, "sha256:0", an_owner())

    assert store.open_journal().last_run("acme") == run
    assert (run.tenant, run.kind, run.plan_digest, run.owner) == (
        "acme",
        RunKind.CREATE,
        "sha256:0",
        an_owner(),
    )
    assert (run.state, run.started_at, run.ended_at, run.steps) == ("running", clock.now(), None, ())


@pytest.mark.parametrize(("succeeded", "state"), [(True, "done"), (False, "failed")], ids=["done", "failed"])
def test_an_ended_run_says_how_and_when(
    journal: Journal, clock: HandClock, succeeded: bool, state: str
) -> None:
    run = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())
    clock.sleep(3)

    journal.end(run.id, succeeded=succeeded)

    last = journal.last_run("acme")
    assert last is not None
    assert (last.state, last.ended_at) == (state, clock.now())


def test_steps_are_kept_in_order_with_their_results(store: Store, clock: HandClock) -> None:
    journal = store.open_journal()
    run = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())
    journal.start_step(run.id, "stack")
    clock.sleep(1)
    journal.finish_step(run.id, "stack", "3 created")
    journal.start_step(run.id, "apply")
    journal.fail_step(run.id, "apply", "no quota")
    journal.start_step(run.id, "verify")

    last = store.open_journal().last_run("acme")

    assert last is not None
    assert [(step.name, step.state, step.detail) for step in last.steps] == [
        ("stack", StepState.DONE, "3 created"),
        ("apply", StepState.FAILED, "no quota"),
        ("verify", StepState.RUNNING, ""),
    ]
    assert last.steps[0].ended_at is not None
    assert (last.steps[0].ended_at - last.steps[0].started_at).total_seconds() == 1
    assert last.steps[2].ended_at is None


def test_a_step_that_begins_again_keeps_its_place_and_forgets_its_failure(
    journal: Journal, clock: HandClock
) -> None:
    run = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())
    journal.start_step(run.id, "one")
    journal.fail_step(run.id, "one", "why")
    journal.start_step(run.id, "two")
    clock.sleep(1)

    journal.start_step(run.id, "one")

    last = journal.last_run("acme")
    assert last is not None
    assert [(step.name, step.state, step.detail) for step in last.steps] == [
        ("one", StepState.RUNNING, ""),
        ("two", StepState.RUNNING, ""),
    ]
    assert (last.steps[0].started_at, last.steps[0].ended_at) == (clock.now(), None)


def test_beginning_closes_an_open_run_of_the_same_tenant_as_failed(journal: Journal) -> None:
    dead = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())
    journal.start_step(dead.id, "apply")
    other = journal.begin("globex", RunKind.CREATE, "sha256:0", an_owner())

    journal.begin("acme", RunKind.DESTROY, "sha256:0", an_owner())

    _, closed = journal.runs("acme")
    assert (closed.id, closed.state) == (dead.id, "failed")
    assert closed.ended_at is not None
    assert (closed.steps[0].state, closed.steps[0].detail[:11]) == (StepState.FAILED, "interrupted")
    assert journal.last_run("globex") == other


def test_runs_come_newest_first_also_within_one_instant(journal: Journal) -> None:
    begun = [journal.begin("acme", RunKind.CREATE, f"sha256:{n}", an_owner()).id for n in range(5)]

    assert [run.id for run in journal.runs("acme")] == begun[::-1]
    last = journal.last_run("acme")
    assert last is not None
    assert last.id == begun[-1]


def test_runs_keep_their_own_steps(journal: Journal) -> None:
    for number in range(3):
        run = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())
        journal.start_step(run.id, f"step-{number}")
        journal.end(run.id, succeeded=False)

    assert [[step.name for step in run.steps] for run in journal.runs("acme")] == [
        ["step-2"],
        ["step-1"],
        ["step-0"],
    ]


def test_runs_outlive_the_tenant(store: Store, registry: Registry, journal: Journal) -> None:
    registry.reserve(a_spec(), lambda _taken: an_allocation())
    run = journal.begin("acme", RunKind.DESTROY, "sha256:0", an_owner())
    journal.start_step(run.id, "free")

    registry.remove("acme")
    journal.finish_step(run.id, "free", "10.0.1.0/24")
    journal.end(run.id, succeeded=True)

    last = journal.last_run("acme")
    assert last is not None
    assert (last.state, last.steps[0].detail) == ("done", "10.0.1.0/24")


def test_a_tenant_without_runs_has_none(journal: Journal) -> None:
    assert journal.last_run("acme") is None
    assert journal.runs("acme") == ()


def test_a_closed_run_accepts_no_step_and_no_success(journal: Journal) -> None:
    run = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())
    journal.start_step(run.id, "apply")
    journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())

    for refused in (
        lambda: journal.start_step(run.id, "verify"),
        lambda: journal.finish_step(run.id, "apply", ""),
        lambda: journal.end(run.id, succeeded=True),
    ):
        with pytest.raises(RefusedError) as closed:
            refused()
        assert closed.value.code == "run-closed"


def test_failing_a_closed_run_again_has_no_effect(journal: Journal, clock: HandClock) -> None:
    run = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())
    journal.start_step(run.id, "apply")
    journal.finish_step(run.id, "apply", "3 created")
    journal.end(run.id, succeeded=True)
    before = journal.last_run("acme")
    clock.sleep(1)

    journal.fail_step(run.id, "apply", "late")
    journal.end(run.id, succeeded=False)

    assert journal.last_run("acme") == before


def test_a_step_cannot_end_before_it_began(journal: Journal) -> None:
    run = journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner())

    with pytest.raises(ValueError, match="before it began"):
        journal.finish_step(run.id, "apply", "")


def test_runs_begun_at_once_leave_one_open(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner()), range(16)))

    assert sorted(run.state for run in journal.runs("acme")) == ["failed"] * 15 + ["running"]
