"""The way out over ports in memory: logs are kept before anything is deleted, and nothing but tombstones is left."""

from __future__ import annotations

from collections import Counter

import pytest

from mutx_infra.errors import OutsideError, RefusedError, VerificationError
from mutx_infra.records import LogEvent, TenantState
from tests.support.specs import a_spec
from tests.support.world import SETTLE, Listener, MemoryFiles, MemoryTailnet, World, a_world

HOSTS, FLOW = "/mutx/acme/hosts", "/mutx/acme/vpc-flow-logs"
EVENTS = [LogEvent(1_767_322_000_000 + n, 1_767_322_005_000, "agent-1", f"login {n}") for n in range(9)]


@pytest.fixture
def world() -> World:
    """One with a tenant whose hosts have written."""
    made = a_world()
    made.onboarding().create(a_spec(), MemoryFiles(), Listener(), refresh=False)
    made.cloud.logs[HOSTS] += EVENTS
    return made


@pytest.fixture
def heard() -> Listener:
    return Listener()


def kept(world: World) -> Counter[LogEvent]:
    return Counter(record.event for record in world.archive.events("acme", (), None, None))


def is_registered(world: World) -> bool:
    return world.registry.tenant("acme") is not None


def test_every_event_outlives_the_tenant(world: World, heard: Listener) -> None:
    done = world.onboarding().destroy("acme", heard)

    assert world.cloud.logs == {}
    assert kept(world) == Counter(EVENTS)
    assert done.logs is not None
    assert {one.group: one.events for one in done.logs} == {HOSTS: 9, "/mutx/acme/vault-audit": 0, FLOW: 0}
    assert {one.group: one.retention_days for one in done.logs}[HOSTS] == 365


def test_what_joining_left_goes_with_the_tenant_and_nobody_else_s_does(world: World, heard: Listener) -> None:
    others = {"/mutx/images/base", "/mutx/acme-2/hosts/agent-1/join"}
    world.cloud.parameters = {"/mutx/acme/hosts/agent-1/join", *others}

    world.onboarding().destroy("acme", heard)

    assert world.cloud.parameters == others


class TestTailnet:
    @pytest.fixture
    def tailnet(self, world: World) -> MemoryTailnet:
        world.tailnet = MemoryTailnet(
            {
                "acme-agent-1": "tag:t-acme-agent",
                "acme-vault-1": "tag:t-acme-vault",
                "globex-1": "tag:t-globex-agent",
            }
        )
        return world.tailnet

    def test_the_tenant_s_devices_go_after_its_hosts_and_nobody_else_s_do(
        self, world: World, heard: Listener, tailnet: MemoryTailnet
    ) -> None:
        world.onboarding().destroy("acme", heard)

        assert tailnet.devices == {"globex-1": "tag:t-globex-agent"}
        assert heard.steps.index("stack") < heard.steps.index("tailnet") < heard.steps.index("prove")

    def test_without_a_credential_nothing_is_deleted(
        self, world: World, heard: Listener, tailnet: MemoryTailnet
    ) -> None:
        tailnet.refuses = RefusedError("none", code="tailscale-credentials", remedy="set one")

        with pytest.raises(RefusedError):
            world.onboarding().destroy("acme", heard)

        assert heard.steps == []
        assert world.cloud.logs[HOSTS] == EVENTS
        record = world.registry.tenant("acme")
        assert record is not None
        assert record.state is TenantState.READY

    def test_a_device_that_stays_keeps_the_tenant_registered(
        self, world: World, heard: Listener, tailnet: MemoryTailnet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MemoryTailnet, "remove", lambda *_: 0)

        with pytest.raises(VerificationError) as caught:
            world.onboarding().destroy("acme", heard)

        assert "acme-agent-1" in f"{caught.value} {caught.value.detail}"
        assert is_registered(world)
        monkeypatch.undo()
        world.onboarding().destroy("acme", heard)
        assert (is_registered(world), len(tailnet.devices)) == (False, 1)

    def test_without_a_tailnet_there_is_no_such_step(self, world: World, heard: Listener) -> None:
        world.onboarding().destroy("acme", heard)

        assert "tailnet" not in heard.steps


def test_the_tombstones_are_the_keys_and_every_object_of_history_and_archive(
    world: World, heard: Listener
) -> None:
    done = world.onboarding().destroy("acme", heard)

    found = {(one.kind, one.id) for one in done.tombstones}
    assert found == {
        ("KMS key", "acme-1"),
        *(("history object", name) for name in world.objects.objects),
        *(("archive object", name) for name in world.archived.objects),
    }
    assert any("/entries/00000002" in id_ for _kind, id_ in found), "the destroy's own entry is one too"
    assert not [one for one in done.tombstones if one.flaw]


def test_what_writes_ends_before_the_logs_are_read_and_aws_is_given_time(
    world: World, heard: Listener
) -> None:
    late = LogEvent(1_767_322_999_000, 1_767_322_999_001, "eni-1", "flow")
    before = world.clock.now()

    def deliver(seconds: float) -> None:
        world.cloud.logs[FLOW].append(late)
        sleep(seconds)

    sleep, world.clock.sleep = world.clock.sleep, deliver  # type: ignore[method-assign]
    world.onboarding().destroy("acme", heard)

    assert [name for name, _ in world.stacks.calls] == ["apply", "end_writers", "destroy"]
    assert world.clock.now() - before == SETTLE
    assert late in kept(world)


def test_a_second_run_waits_for_what_is_left_of_that_time(world: World, heard: Listener) -> None:
    def broken(name: str) -> None:
        raise OutsideError("S3 is down", code="aws-error", remedy="wait")

    world.archived.meanwhile = broken
    with pytest.raises(OutsideError):
        world.onboarding().destroy("acme", heard)
    world.archived.meanwhile = lambda _name: None
    resumed = world.clock.now()

    world.onboarding().resume("acme", heard)

    assert world.clock.now() == resumed
    assert kept(world) == Counter(EVENTS)


@pytest.mark.parametrize("days", [0, 364])
def test_an_archive_that_does_not_keep_is_refused_before_anything_is_touched(
    world: World, heard: Listener, days: int
) -> None:
    world.archived.days = days

    with pytest.raises(RefusedError) as caught:
        world.onboarding().destroy("acme", heard)

    record = world.registry.tenant("acme")
    assert caught.value.code == "archive-retention"
    assert record is not None
    assert record.state is TenantState.READY
    assert [name for name, _ in world.stacks.calls] == ["apply"]
    assert not any(key.retained_until for key in world.cloud.keys.values())


def test_an_archive_that_fails_keeps_the_stack(world: World, heard: Listener) -> None:
    def broken(name: str) -> None:
        raise OutsideError("S3 is down", code="aws-error", remedy="wait")

    world.archived.meanwhile = broken

    with pytest.raises(OutsideError):
        world.onboarding().destroy("acme", heard)

    assert ("destroy", True) not in world.stacks.calls
    assert world.cloud.logs[HOSTS] == EVENTS


def test_a_stack_that_was_half_deleted_loses_nothing_and_writes_nothing_twice(
    world: World, heard: Listener
) -> None:
    world.stacks.fails = []
    destroy = world.stacks.destroy

    def half(*args: object, **named: object) -> None:
        del world.cloud.logs[HOSTS]
        raise OutsideError("AWS is down", code="stack-failed", remedy="wait")

    world.stacks.destroy = half  # type: ignore[assignment]
    with pytest.raises(OutsideError):
        world.onboarding().destroy("acme", heard)
    written = list(world.archived.puts)
    world.stacks.destroy = destroy  # type: ignore[method-assign]
    again = Listener()

    done = world.onboarding().destroy("acme", again)

    assert world.archived.puts == written
    assert kept(world) == Counter(EVENTS)
    assert done.logs is not None
    assert {one.group: one.events for one in done.logs}[HOSTS] == 9
    assert again.notes == []


def test_a_log_group_that_somebody_deleted_is_named_and_holds_nothing_up(
    world: World, heard: Listener
) -> None:
    del world.cloud.logs[HOSTS]

    world.onboarding().destroy("acme", heard)

    assert heard.notes == [f"the log group {HOSTS} was gone already: nothing of it is kept"]
    assert not is_registered(world)


def test_a_log_group_that_no_stack_made_is_kept_too(world: World, heard: Listener) -> None:
    world.cloud.logs["/mutx/acme/debug/a"] = [EVENTS[0]]

    world.onboarding().destroy("acme", heard)

    assert {folder.group for folder in world.archive.folders("acme")} >= {"debug+a"}


def test_without_an_archive_it_is_said_that_no_logs_are_kept(world: World, heard: Listener) -> None:
    world.keeps_logs = False

    done = world.onboarding().destroy("acme", heard)

    assert done.logs is None
    assert heard.notes == ["this environment has no archive: the logs of acme are not kept"]
    assert heard.steps == ["mark", "stack", "prove", "tombstones"]


def test_an_object_without_a_lock_is_left_over_and_no_tombstone(world: World, heard: Listener) -> None:
    world.archived.meanwhile = world.archived.unlocked.add

    with pytest.raises(VerificationError) as caught:
        world.onboarding().destroy("acme", heard)

    assert caught.value.code == "residue-left"
    assert "not locked" in caught.value.message
    assert is_registered(world)


def test_an_object_that_lost_its_tag_is_tagged_by_the_next_destroy(world: World, heard: Listener) -> None:
    world.objects.tags.clear()

    done = world.onboarding().destroy("acme", heard)

    assert {one.retained_until for one in done.tombstones if one.kind == "history object"} == {"2033-01-02"}


def test_an_object_whose_tag_is_taken_away_at_the_end_keeps_the_tenant_registered(
    world: World, heard: Listener
) -> None:
    remove = world.stacks.destroy

    def and_untag(*args: object, **named: object) -> object:
        world.archived.tags.clear()
        return remove(*args, **named)  # type: ignore[arg-type]

    world.stacks.destroy = and_untag  # type: ignore[method-assign,assignment]

    with pytest.raises(VerificationError, match="without the day on which it goes"):
        world.onboarding().destroy("acme", heard)

    assert is_registered(world)


def test_a_key_without_its_day_keeps_the_tenant_registered(world: World, heard: Listener) -> None:
    world.cloud.mark_tombstones = lambda tenant, region, days: None  # type: ignore[method-assign]

    with pytest.raises(VerificationError, match="KMS key acme-1"):
        world.onboarding().destroy("acme", heard)

    assert is_registered(world)


def test_a_name_that_is_given_again_keeps_both_lives(world: World, heard: Listener) -> None:
    world.onboarding().destroy("acme", heard)
    world.clock.sleep(86_400)
    world.onboarding().create(a_spec(), MemoryFiles(), Listener(), refresh=False)
    world.cloud.logs[HOSTS].append(EVENTS[0])

    done = world.onboarding().destroy("acme", heard)

    assert kept(world) == Counter([*EVENTS, EVENTS[0]])
    assert done.logs is not None
    assert sum(one.events for one in done.logs) == 1
