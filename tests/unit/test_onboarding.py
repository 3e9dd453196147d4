"""The workflow over ports in memory: its order, what it refuses before anything is made, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

import pytest

from mutx_infra.capacity import Quota
from mutx_infra.errors import (
    LockedError,
    MutxInfraError,
    OutsideError,
    RefusedError,
    SpecError,
    VerificationError,
)
from mutx_infra.leases import LEASE_S
from mutx_infra.records import RunKind, StepState, TenantState
from mutx_infra.tailnet.difference import compare
from mutx_infra.tailnet.policy import read_policy as policy_of
from mutx_infra.verification import TenantFacts
from tests.support.specs import a_spec, an_allocation, an_owner
from tests.support.tailnet_memory import MemoryKeeper
from tests.support.world import Listener, MemoryFiles, World, a_world

OUTAGE = OutsideError("AWS is down", code="aws-unreachable", remedy="wait")


@pytest.fixture
def world() -> World:
    return a_world()


@pytest.fixture
def heard() -> Listener:
    return Listener()


def create(world: World, heard: Listener, tenant: str = "acme", **more: object) -> MemoryFiles:
    files = MemoryFiles()
    world.onboarding().create(a_spec(tenant), files, heard, **{"refresh": False, **more})  # type: ignore[arg-type]
    return files


def state_of(world: World, tenant: str = "acme") -> TenantState | None:
    record = world.registry.tenant(tenant)
    return record.state if record else None


def test_a_create_goes_through_its_steps_and_ends_in_an_observed_state(world: World, heard: Listener) -> None:
    files = create(world, heard)

    record = world.registry.tenant("acme")
    run = world.journal.last_run("acme")
    assert heard.steps == ["preflight", "stack", "verify"]
    assert record is not None
    assert run is not None
    assert (record.state, record.outputs) == (TenantState.READY, {"vpc_id": "vpc-acme"})
    assert files.lock_file == record.allocation
    assert (run.state, [step.state for step in run.steps]) == ("done", [StepState.DONE] * 3)
    assert world.registry.lease("acme") is None


def test_a_preview_reserves_nothing(world: World) -> None:
    seen = world.onboarding().preview(a_spec(), MemoryFiles(), refresh=True)

    assert (seen.is_new, seen.changes.is_empty) == (True, False)
    assert world.registry.tenants() == ()


def test_a_preview_foretells_what_the_tailnet_s_policy_gains(world: World, heard: Listener) -> None:
    world.keeper = keeper = MemoryKeeper(world.registry)
    create(world, heard, "globex")
    before = keeper.in_force[-1]

    new = world.onboarding().preview(a_spec(), MemoryFiles(), refresh=True)
    create(world, heard)

    assert new.access == compare(policy_of(before), policy_of(keeper.in_force[-1]))
    assert new.access is not None
    assert new.access.gained
    assert (new.access.lost, new.access.left) == ((), ())
    assert {tag.split("-")[1] for tag in new.access.owners} == {"acme"}
    assert world.onboarding().preview(a_spec(), MemoryFiles(), refresh=True).is_empty


def test_a_spec_that_changes_people_alone_is_a_change(world: World, heard: Listener) -> None:
    world.keeper = MemoryKeeper(world.registry)
    world.onboarding().create(a_spec(clients=["ann@acme.example"]), MemoryFiles(), heard, refresh=False)

    seen = world.onboarding().preview(a_spec(clients=["bob@acme.example"]), MemoryFiles(), refresh=True)

    assert seen.access is not None
    assert (seen.changes.is_empty, seen.is_empty) == (True, False)
    assert {member for _, member in seen.access.joined} == {"bob@acme.example"}
    assert {member for _, member in seen.access.left} == {"ann@acme.example"}


def test_the_platform_s_spec_changes_nobody_s_access(world: World) -> None:
    keeper = MemoryKeeper(world.registry)

    assert keeper.foresee(a_spec("platform", tier="platform")).is_empty


def test_the_previewed_plan_is_the_one_that_create_executes(world: World, heard: Listener) -> None:
    seen = world.onboarding().preview(a_spec(), MemoryFiles(), refresh=True)

    create(world, heard, digest=seen.plan.digest)

    assert world.registry.tenants()[0].plan_digest == seen.plan.digest


def other_account(world: World) -> None:
    world.cloud.account = "999999999999"


def other_digest(_: World) -> None:
    pass


def live_overlap(world: World) -> None:
    """Another network takes everything between the choice of a block and its use."""
    blocks = iter([(), (IPv4Network("10.0.0.0/8"),)])
    world.cloud.blocks_in_use = lambda region, besides: next(blocks)  # type: ignore[method-assign]


def full_pool(world: World) -> None:
    world.cloud.foreign_blocks = (IPv4Network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("arrange", "options", "code", "is_reserved"),
    [
        (other_account, {}, "account-mismatch", False),
        (other_digest, {"digest": "sha256:" + "0" * 64}, "plan-changed", False),
        (other_digest, {"digest": "abc"}, "plan-changed", False),
        (full_pool, {}, "pool-exhausted", False),
        (live_overlap, {}, "block-taken", True),
    ],
    ids=["account", "digest", "short-digest", "pool", "live-block"],
)
def test_what_is_wrong_is_refused_before_anything_is_made(
    world: World,
    heard: Listener,
    arrange: Callable[[World], None],
    options: dict[str, object],
    code: str,
    is_reserved: bool,
) -> None:
    arrange(world)

    with pytest.raises(RefusedError) as refused:
        create(world, heard, **options)

    assert refused.value.code == code
    assert world.stacks.calls == []
    assert bool(world.registry.tenants()) is is_reserved
    assert world.registry.lease("acme") is None


def test_a_spec_of_another_account_is_refused(world: World, heard: Listener) -> None:
    with pytest.raises(RefusedError, match="999999999999"):
        world.onboarding().create(a_spec(account="999999999999"), MemoryFiles(), heard, refresh=False)

    assert world.registry.tenants() == ()


def test_a_lock_file_decides_the_allocation(world: World, heard: Listener) -> None:
    files = MemoryFiles(an_allocation(block="10.77.0.0/24"))

    outcome = world.onboarding().create(a_spec(), files, heard, refresh=False)

    assert outcome.plan.block == "10.77.0.0/24"


def test_a_lock_file_that_contradicts_the_registry_is_refused(world: World, heard: Listener) -> None:
    create(world, heard)
    before = list(world.stacks.calls)

    files = MemoryFiles(an_allocation(block="10.77.0.0/24"))
    with pytest.raises(RefusedError) as refused:
        world.onboarding().create(a_spec(), files, heard, refresh=False)

    assert refused.value.code == "lock-differs"
    assert world.stacks.calls == before


def test_a_field_that_contradicts_the_allocation_is_refused(world: World, heard: Listener) -> None:
    create(world, heard)

    with pytest.raises(SpecError, match="region"):
        world.onboarding().create(a_spec(region="us-east-1"), MemoryFiles(), heard, refresh=False)

    assert state_of(world) is TenantState.READY


@pytest.mark.parametrize("error", [OUTAGE, KeyboardInterrupt()], ids=["outage", "ctrl-c"])
def test_a_step_that_fails_is_journalled_and_the_next_run_looks_first(
    world: World, heard: Listener, error: BaseException
) -> None:
    world.stacks.fails.append(error)
    with pytest.raises(type(error)):
        create(world, heard)
    run = world.journal.last_run("acme")

    world.onboarding().resume("acme", heard)

    assert run is not None
    assert (run.state, run.steps[-1].name, run.steps[-1].state) == ("failed", "stack", StepState.FAILED)
    assert world.stacks.calls == [("apply", False), ("apply", True)]
    assert state_of(world) is TenantState.READY


def test_a_failed_create_that_is_repeated_refreshes_though_it_was_told_not_to(
    world: World, heard: Listener
) -> None:
    world.stacks.fails.append(OUTAGE)
    with pytest.raises(OutsideError):
        create(world, heard)

    create(world, heard, refresh=False)

    assert world.stacks.calls[-1] == ("apply", True)


def test_a_network_that_differs_from_its_plan_fails_the_create(world: World, heard: Listener) -> None:
    world.cloud.observe = lambda plan: TenantFacts()  # type: ignore[method-assign]

    with pytest.raises(VerificationError) as refused:
        create(world, heard)

    assert refused.value.exit_status == 6
    assert "NET-1: missing: VPC" in refused.value.detail
    assert state_of(world) is TenantState.FAILED


def test_a_destroy_proves_that_nothing_is_left_and_frees_the_block(world: World, heard: Listener) -> None:
    create(world, heard)

    world.onboarding().destroy("acme", heard)

    assert heard.steps[3:] == ["mark", "quiet", "archive", "stack", "prove", "tombstones"]
    assert state_of(world) is None
    run = world.journal.last_run("acme")
    assert run is not None
    assert (run.kind, run.state) == ("destroy", "done")


def test_what_is_left_keeps_the_tenant_until_a_later_destroy_proves_it_gone(
    world: World, heard: Listener
) -> None:
    create(world, heard)
    world.cloud.left = ("log group /foreign",)
    with pytest.raises(VerificationError, match="log group /foreign"):
        world.onboarding().destroy("acme", heard)
    assert state_of(world) is TenantState.DESTROYING

    with pytest.raises(RefusedError) as refused:
        create(world, heard)
    world.cloud.left = ()
    outcome = world.onboarding().resume("acme", heard)

    assert refused.value.code == "tenant-destroying"
    assert outcome is None
    assert state_of(world) is None


def test_a_tenant_that_does_not_exist_is_neither_resumed_nor_destroyed_nor_unlocked(
    world: World, heard: Listener
) -> None:
    onboarding = world.onboarding()
    for use_case in (
        lambda: onboarding.resume("nobody", heard),
        lambda: onboarding.destroy("nobody", heard),
        lambda: onboarding.unlock("nobody"),
    ):
        with pytest.raises(RefusedError) as refused:
            use_case()
        assert refused.value.code == "tenant-unknown"


def test_a_living_owner_is_not_disturbed(world: World, heard: Listener) -> None:
    world.registry.acquire("acme", an_owner(pid=7), purpose="create", ttl_s=LEASE_S)

    with pytest.raises(LockedError, match="pid 7"):
        create(world, heard)

    assert world.stacks.calls == []


def test_a_dead_owner_is_replaced_once_its_engine_is_quiet(world: World, heard: Listener) -> None:
    world.registry.acquire("acme", an_owner(pid=7), purpose="create", ttl_s=LEASE_S)
    world.dead.add(7)

    create(world, heard)

    assert world.stacks.waited_for == ["acme"]
    assert "pid 7" in heard.notes[0]
    assert state_of(world) is TenantState.READY


def test_the_owner_of_another_host_is_waited_for_until_its_lease_ends(world: World, heard: Listener) -> None:
    world.registry.acquire("acme", an_owner(pid=7, host="elsewhere"), purpose="create", ttl_s=LEASE_S)
    with pytest.raises(LockedError, match="elsewhere"):
        create(world, heard)

    world.clock.sleep(LEASE_S + 1)
    create(world, heard)

    assert state_of(world) is TenantState.READY


def test_an_owner_that_lost_its_lease_does_not_end_the_successors(world: World, heard: Listener) -> None:
    def lose() -> None:
        lease = world.registry.lease("acme")
        assert lease is not None
        world.registry.break_lease(lease)
        world.registry.acquire("acme", an_owner(pid=8), purpose="create", ttl_s=LEASE_S)

    world.stacks.meanwhile = lose

    create(world, heard)

    left = world.registry.lease("acme")
    assert left is not None
    assert left.owner.pid == 8


def test_unlock_breaks_the_lease_and_the_states_lock(world: World, heard: Listener) -> None:
    create(world, heard)
    world.registry.acquire("acme", an_owner(pid=7), purpose="create", ttl_s=LEASE_S)

    broken = world.onboarding().unlock("acme")

    assert broken is not None
    assert broken.owner.pid == 7
    assert world.registry.lease("acme") is None
    assert world.stacks.unlocked == ["acme"]


@pytest.mark.parametrize("step", ["preflight", "stack", "verify"])
def test_a_create_that_fails_at_any_step_is_finished_by_the_next(
    world: World, heard: Listener, step: str
) -> None:
    failing = {"preflight": "blocks_in_use", "stack": "apply", "verify": "observe"}[step]
    holder = world.stacks if step == "stack" else world.cloud
    kept = getattr(holder, failing)
    calls = []

    def fail_once(*args: object, **named: object) -> object:
        calls.append(args)
        # The allocation asks for the blocks too, before the first step.
        if len(calls) == (2 if step == "preflight" else 1):
            raise OUTAGE
        return kept(*args, **named)

    setattr(holder, failing, fail_once)
    with pytest.raises(MutxInfraError):
        create(world, heard)
    assert heard.steps[-1] == step

    create(world, heard)

    assert state_of(world) is TenantState.READY
    assert len(world.registry.tenants()) == 1


def test_zones_that_the_region_lacks_are_refused_before_anything_is_made(
    world: World, heard: Listener
) -> None:
    for files in (MemoryFiles(), MemoryFiles(an_allocation(a_spec(zones=["eu-west-1z"])))):
        with pytest.raises(SpecError, match="no zone eu-west-1z") as refused:
            world.onboarding().create(a_spec(zones=["eu-west-1z"]), files, heard, refresh=False)
        assert refused.value.code == "spec-zones-unknown"

    assert world.registry.tenants() == ()
    assert world.stacks.calls == []


def test_a_block_of_a_lock_file_beside_the_spec_is_left_alone(world: World, heard: Listener) -> None:
    files = MemoryFiles(beside=(IPv4Network("10.0.0.0/24"), IPv4Network("10.0.2.0/23")))

    outcome = world.onboarding().create(a_spec(), files, heard, refresh=False)

    assert outcome.plan.block == "10.0.1.0/24"


def test_every_update_that_changes_something_is_written_down(world: World) -> None:
    onboarding = world.onboarding()
    onboarding.create(a_spec(), MemoryFiles(), Listener(), refresh=True)
    onboarding.destroy("acme", Listener())

    entries = world.history.entries("acme")

    assert [(e.kind, e.outcome, e.by) for e in entries] == [
        ("create", "done", str(an_owner())),
        ("destroy", "done", str(an_owner())),
    ]
    assert entries[0].spec == a_spec().model_dump(mode="json", exclude_none=True)
    assert (entries[0].state != "", entries[1].state) == (True, "")


def test_an_update_that_fails_is_written_down_with_its_error(world: World) -> None:
    world.stacks.fails = [OutsideError("no quota", code="stack-failed", remedy="ask for more")]
    with pytest.raises(OutsideError):
        world.onboarding().create(a_spec(), MemoryFiles(), Listener(), refresh=True)

    (entry,) = world.history.entries("acme")

    assert (entry.outcome, entry.error) == ("failed", "stack-failed: no quota")


def test_a_run_that_died_is_written_down_by_its_successor(world: World) -> None:
    create(world, Listener())
    world.journal.begin("acme", RunKind.CREATE, "sha256:0", an_owner(pid=7))

    create(world, Listener())

    assert [(e.outcome, e.by) for e in world.history.entries("acme")] == [
        ("done", str(an_owner())),
        ("interrupted", str(an_owner(pid=7))),
        ("done", str(an_owner())),
    ]


def test_an_update_that_changes_nothing_is_not_written_down(world: World) -> None:
    create(world, Listener())
    create(world, Listener())

    assert len(world.history.entries("acme")) == 1


def test_a_history_that_cannot_be_kept_stops_an_update_before_anything_is_made(world: World) -> None:
    world.objects.days = 30

    with pytest.raises(RefusedError) as caught:
        world.onboarding().create(a_spec(), MemoryFiles(), Listener(), refresh=True)

    assert caught.value.code == "history-retention"
    assert [call for call in world.stacks.calls if call[0] == "apply"] == []


def test_a_broken_history_store_does_not_hide_why_an_update_failed(world: World) -> None:
    def refuse(name: str, content: bytes) -> bool:
        raise OutsideError("no space", code="history-unavailable", remedy="make some")

    world.stacks.fails = [OutsideError("no quota", code="stack-failed", remedy="ask for more")]
    world.objects.put_once = refuse  # type: ignore[method-assign]

    with pytest.raises(OutsideError) as caught:
        world.onboarding().create(a_spec(), MemoryFiles(), Listener(), refresh=True)

    assert caught.value.code == "stack-failed"


def test_a_tenant_that_the_account_cannot_hold_is_refused_and_its_block_is_free_again(world: World) -> None:
    world.cloud.limits = {Quota.VPCS: 0}

    with pytest.raises(RefusedError) as caught:
        create(world, Listener())

    assert caught.value.code == "quota-exceeded"
    assert world.registry.tenants() == ()
    assert world.stacks.calls == []


def test_a_preview_names_what_is_missing_and_goes_on(world: World) -> None:
    world.cloud.limits = {Quota.VPCS: 0}

    seen = world.onboarding().preview(a_spec(), MemoryFiles(), refresh=True)

    assert [shortage.code for shortage in seen.shortages] == ["quota-exceeded"]


def test_a_tenant_that_exists_is_not_asked_for_room_again(world: World) -> None:
    create(world, Listener())
    world.cloud.limits = {Quota.VPCS: 0}

    create(world, Listener())


def test_the_platform_is_not_destroyed(world: World) -> None:
    spec = a_spec("platform", tier="platform")
    world.onboarding().create(spec, MemoryFiles(), Listener(), refresh=False)

    with pytest.raises(RefusedError) as caught:
        world.onboarding().destroy("platform", Listener())

    assert caught.value.code == "platform-stays"
    assert state_of(world, "platform") is TenantState.READY
