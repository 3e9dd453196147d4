"""What follows the stack: hosts are hardened where the profile wants it, and a host that fails loses nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mutx_infra.building import with_hosts
from mutx_infra.changes import ChangeSet
from mutx_infra.hardening import HostCare
from mutx_infra.host_records import HostState
from mutx_infra.onboarding import Outcome
from mutx_infra.plan import make_plan
from mutx_infra.tenant import PLATFORM_ID
from tests.support.yard import Yard


@pytest.fixture
def yard() -> Yard:
    return Yard()


def an_outcome(yard: Yard, **spec: object) -> Outcome:
    record = yard.world.registry.tenant("acme")
    assert record is not None
    plan = make_plan(record.spec, record.allocation)
    changed = record.model_copy(update={"spec": record.spec.model_copy(update=spec)})
    return Outcome(changed, plan, ChangeSet(), 12)


def never() -> HostCare:
    raise AssertionError("nobody asked for the hosts")


def test_the_hosts_are_brought_up_once_their_stack_stands(yard: Yard) -> None:
    built = with_hosts(an_outcome(yard), yard.care, yard.listener)

    assert built.failure is None
    assert built.configured is not None
    assert len(built.configured.changed) == len(built.outcome.plan.hosts)
    assert yard.listener.steps == ["join", "hosts"]


@pytest.mark.parametrize(
    ("spec", "care"), [({}, None), ({"id": PLATFORM_ID}, never)], ids=["left alone", "platform"]
)
def test_hosts_that_are_left_alone_are_none_of_the_result(
    yard: Yard, spec: dict[str, object], care: Callable[[], HostCare] | None
) -> None:
    built = with_hosts(an_outcome(yard, **spec), care, yard.listener)

    assert (built.configured, built.failure, yard.hosts.runs) == (None, None, [])


def test_a_host_that_fails_leaves_the_outcome_of_the_stack_and_of_the_others(yard: Yard) -> None:
    yard.hosts.states = {"guard-1": HostState.UNREACHABLE}

    built = with_hosts(an_outcome(yard), yard.care, yard.listener)

    assert built.failure is not None
    assert "hosts harden acme --failed" in built.failure.remedy
    assert built.configured is not None
    assert [host.host for host in built.configured.failed] == ["acme-guard-1"]
    assert len(built.configured.changed) == len(built.outcome.plan.hosts) - 1
