"""Machines come with a tenant's hosts and go with the tenant; what somebody did by hand stays done."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from mutx_sandbox.machines.following import Follower
from mutx_sandbox.machines.machine import Machine, MachineState

from mutx_infra.errors import RefusedError
from mutx_infra.records import TenantRecord, TenantState
from tests.support.yard import Yard

NAMES = ["acme-agent-1", "acme-database-1", "acme-guard-1", "acme-mgmt-1", "acme-vault-1"]


@dataclass
class MemoryRunner:
    """`following.Runner`; `full` refuses machines."""

    running: dict[str, Machine] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    full: bool = False

    def add(self, machine: Machine) -> bool:
        if self.full:
            raise RefusedError("no place", code="test", remedy="none")
        self.added.append(machine.name)
        self.running[machine.name] = machine
        return True

    def remove(self, name: str) -> None:
        del self.running[name]

    def states(self) -> list[MachineState]:
        return [
            MachineState(machine=machine, state="running", boots=1, memory_mib=1.0, remark="")
            for machine in self.running.values()
        ]


@dataclass
class Following:
    """A follower of one registry, which a test writes."""

    runner: MemoryRunner = field(default_factory=MemoryRunner)
    records: tuple[TenantRecord, ...] = ()

    def __post_init__(self) -> None:
        (record,) = Yard().world.registry.tenants()
        self.acme = record.model_copy(update={"outputs": {**record.outputs, "vpc_id": "vpc-1"}})
        self.records = (self.acme,)
        self.follower = Follower(self.runner, lambda: self.records)

    def instead(self, **fields: object) -> None:
        self.records = (self.acme.model_copy(update=fields),)


@pytest.fixture
def following() -> Following:
    return Following()


def test_each_host_of_a_tenant_that_stands_gets_a_machine_once(following: Following) -> None:
    following.follower.look()
    following.follower.look()

    assert sorted(following.runner.added) == NAMES


def test_before_the_stack_has_made_any_there_are_none(following: Following) -> None:
    following.instead(outputs={})

    following.follower.look()

    assert following.runner.added == []


@pytest.mark.parametrize("gone", [True, False], ids=["no longer registered", "being destroyed"])
def test_they_end_with_the_tenant_and_nobody_elses_do(following: Following, gone: bool) -> None:
    following.follower.look()
    trial = following.runner.running["acme-agent-1"].model_copy(update={"name": "trial-1"})
    following.runner.running["trial-1"] = trial
    if gone:
        following.records = ()
    else:
        following.instead(state=TenantState.DESTROYING)

    following.follower.look()

    assert list(following.runner.running) == ["trial-1"]


def test_one_that_was_ended_by_hand_is_not_started_again(following: Following) -> None:
    following.follower.look()
    following.runner.remove("acme-agent-1")

    following.follower.look()

    assert "acme-agent-1" not in following.runner.running


def test_a_replaced_instance_is_another_machine(following: Following) -> None:
    following.follower.look()
    hosts = {**following.acme.outputs["hosts"]}
    hosts["agent-1"] = {**hosts["agent-1"], "instance_id": "i-new"}
    following.instead(outputs={**following.acme.outputs, "hosts": hosts})

    following.follower.look()

    assert following.runner.running["acme-agent-1"].instance == "i-new"
    assert len(following.runner.added) == len(NAMES) + 1


def test_where_there_is_no_place_it_says_so_and_does_not_try_at_every_look(following: Following) -> None:
    following.runner.full = True
    with pytest.raises(RefusedError):
        following.follower.look()
    following.runner.full = False

    following.follower.look()

    assert len(following.runner.added) == len(NAMES) - 1
