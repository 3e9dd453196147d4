"""The writer of the tailnet over a file, a stack, a registry and a journal in memory, with others who write too."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mutx_infra.errors import LockedError, MutxInfraError, OutsideError, RefusedError, VerificationError
from mutx_infra.records import RunKind, TenantState
from mutx_infra.tailnet.plan import TAILNET_ID, policy_digest
from mutx_infra.tailnet.writer import ATTEMPTS, PATIENCE_S
from tests.support.tailnet_memory import OPEN, TailnetWorld
from tests.support.world import Listener, an_owner

FOREIGN = '{"grants": [{"src": ["eve@example.org"], "dst": ["tag:mutx-control-plane"], "ip": ["tcp:443"]}], "tagOwners": {"tag:mutx-control-plane": []}}'  # noqa: E501
DIED = OutsideError("the engine died", code="stack-failed", remedy="run it again")


def short(text: str) -> str:
    return policy_digest(text).removeprefix("sha256:")[:12]


@pytest.fixture
def world() -> TailnetWorld:
    return TailnetWorld("acme", "globex")


@pytest.fixture
def applied(world: TailnetWorld) -> TailnetWorld:
    world.writer().apply(Listener())
    return world


def refused(world: TailnetWorld, overwrite: str = "") -> RefusedError:
    written = len(world.file.written)
    with pytest.raises(RefusedError) as caught:
        world.writer().apply(Listener(), overwrite=overwrite)
    assert len(world.file.written) == written, "something was written all the same"
    return caught.value


class TestAnUntouchedTailnet:
    def test_gets_the_registry_s_policy_and_the_profile_s_settings(self, world: TailnetWorld) -> None:
        done = world.writer().apply(Listener())

        assert done.wrote_policy
        assert world.file.text == world.wanted()
        assert [plan.settings.key_days for plan in world.stack.plans] == [90]

    def test_is_looked_at_by_the_service_before_anything_is_written(self, world: TailnetWorld) -> None:
        world.file.refuses = VerificationError("no", code="tailnet-tests-fail", remedy="-")

        with pytest.raises(VerificationError):
            world.writer().apply(Listener())

        assert world.file.text == OPEN
        assert world.stack.plans == []

    def test_that_somebody_has_made_his_own_is_not_overwritten(self, world: TailnetWorld) -> None:
        world.file.put(FOREIGN)

        error = refused(world)

        assert error.code == "tailnet-edited"
        assert f"--overwrite {short(FOREIGN)}" in error.remedy
        assert "loses: eve@example.org → tag:mutx-control-plane tcp:443" in error.detail.splitlines()

    def test_that_cannot_be_read_here_is_not_overwritten_either(self, world: TailnetWorld) -> None:
        world.file.put('{"via": []}')

        assert "not understood" in refused(world).detail

    def test_is_overwritten_by_who_names_what_he_overwrites(self, world: TailnetWorld) -> None:
        world.file.put(FOREIGN)

        world.writer().apply(Listener(), overwrite=short(FOREIGN))

        assert world.file.text == world.wanted()

    @pytest.mark.parametrize("overwrite", [short(OPEN), short(FOREIGN)[:7], "sha256:", "yes"])
    def test_is_not_overwritten_by_who_names_something_else(
        self, world: TailnetWorld, overwrite: str
    ) -> None:
        world.file.put(FOREIGN)

        assert refused(world, overwrite).code == "tailnet-edited"


class TestALaterRun:
    def test_writes_nothing_where_nothing_changed(self, applied: TailnetWorld) -> None:
        done = applied.writer().apply(Listener())

        assert not done.wrote_policy
        assert done.changes.is_empty
        assert len(applied.file.written) == 1

    def test_puts_another_spelling_of_the_same_policy_right_unasked(self, applied: TailnetWorld) -> None:
        applied.file.put(json.dumps(json.loads(applied.file.text), indent=8))

        assert applied.writer().apply(Listener()).wrote_policy
        assert applied.file.text == applied.wanted()

    def test_adds_a_tenant(self, applied: TailnetWorld) -> None:
        applied.add("initech")

        applied.writer().apply(Listener())

        assert applied.file.text == applied.wanted()
        assert "tag:t-initech-agent" in applied.file.text

    def test_leaves_out_a_tenant_on_its_way_out(self, applied: TailnetWorld) -> None:
        applied.registry.update("acme", state=TenantState.DESTROYING)

        applied.writer().apply(Listener())

        assert "tag:t-acme" not in applied.file.text
        assert "tag:t-globex-agent" in applied.file.text

    def test_does_not_overwrite_an_edit_by_hand(self, applied: TailnetWorld) -> None:
        edited = json.loads(applied.file.text)
        edited["groups"]["group:mutx-operators"].append("eve@example.org")
        applied.file.put(json.dumps(edited))
        applied.add("initech")

        error = refused(applied)

        assert error.code == "tailnet-edited"
        assert "leaves group:mutx-operators: eve@example.org" in error.detail.splitlines()

    def test_does_not_overwrite_an_older_policy_that_somebody_put_back(self, applied: TailnetWorld) -> None:
        older = applied.file.text
        applied.add("initech")
        applied.writer().apply(Listener())
        applied.file.put(older)
        applied.add("umbrella")

        assert refused(applied).code == "tailnet-edited"

    def test_changes_settings_alone_where_the_profile_alone_changed(self, applied: TailnetWorld) -> None:
        settings = applied.tailnet.settings.model_copy(update={"key_days": 30})
        applied.tailnet = applied.tailnet.model_copy(update={"settings": settings})

        done = applied.writer().apply(Listener())

        assert not done.wrote_policy
        assert applied.stack.plans[-1].settings.key_days == 30

    def test_says_when_what_is_in_force_is_not_what_was_written(self, applied: TailnetWorld) -> None:
        applied.add("initech")
        applied.file.garbles = True

        with pytest.raises(VerificationError) as caught:
            applied.writer().apply(Listener())

        assert caught.value.code == "tailnet-differs"


class TestSomebodyWhoWritesMeanwhile:
    def test_is_not_overwritten_by_hand_or_not(self, applied: TailnetWorld) -> None:
        applied.add("initech")
        applied.file.before_replace = [lambda: applied.file.put(FOREIGN)]

        assert refused(applied).code == "tailnet-edited"
        assert applied.file.text == FOREIGN

    def test_at_the_very_first_time_is_not_overwritten(self, world: TailnetWorld) -> None:
        world.file.before_replace = [lambda: world.file.put(FOREIGN)]

        assert refused(world).code == "tailnet-edited"

    def test_of_ours_loses_no_tenant_and_nor_do_we(self, applied: TailnetWorld) -> None:
        def pipeline_adds_a_tenant() -> None:
            applied.add("umbrella")
            applied.file.put(applied.wanted())

        applied.add("initech")
        applied.file.before_replace = [pipeline_adds_a_tenant]
        heard = Listener()

        applied.writer().apply(heard)

        assert {"tag:t-initech-agent", "tag:t-umbrella-agent"} <= set(
            json.loads(applied.file.text)["tagOwners"]
        )
        assert "meanwhile" in heard.notes[0]

    def test_is_followed_to_what_the_registry_says_by_then(self, applied: TailnetWorld) -> None:
        def another_run_of_ours_dies_after_writing() -> None:
            applied.add("umbrella")
            applied.journal.begin(TAILNET_ID, RunKind.TAILNET, policy_digest(applied.wanted()), an_owner())
            applied.file.put(applied.wanted())
            applied.add("hooli")

        applied.add("initech")
        applied.file.before_replace = [another_run_of_ours_dies_after_writing]

        applied.writer().apply(Listener())

        assert applied.file.text == applied.wanted()
        assert "tag:t-hooli-agent" in applied.file.text

    def test_again_and_again_is_named(self, applied: TailnetWorld) -> None:
        def writes(number: int) -> Callable[[], None]:
            def write() -> None:
                # A change of ours each time, so that it may be replaced, and each time another one.
                other = json.dumps({"groups": {f"group:g{number}": []}})
                applied.journal.begin(TAILNET_ID, RunKind.TAILNET, policy_digest(other), an_owner())
                applied.file.put(other)

            return write

        applied.add("initech")
        applied.file.before_replace = [writes(number) for number in range(ATTEMPTS + 1)]

        with pytest.raises(LockedError) as caught:
            applied.writer().apply(Listener())

        assert caught.value.code == "tailnet-contended"


class TestARunThatDied:
    def test_after_it_had_written_is_known_as_ours(self, world: TailnetWorld) -> None:
        world.stack.fails = DIED
        with pytest.raises(OutsideError):
            world.writer().apply(Listener())
        world.stack.fails = None
        world.add("initech")

        world.writer().apply(Listener())

        assert world.file.text == world.wanted()

    def test_several_times_is_known_all_the_same(self, applied: TailnetWorld) -> None:
        applied.add("initech")
        applied.stack.fails = DIED
        with pytest.raises(OutsideError):
            applied.writer().apply(Listener())
        applied.add("umbrella")
        applied.file.before_replace = [_dies]
        with pytest.raises(OutsideError):
            applied.writer().apply(Listener())
        applied.stack.fails = None
        applied.add("hooli")

        applied.writer().apply(Listener())

        assert applied.file.text == applied.wanted()

    def test_is_journaled_with_where_it_died(self, world: TailnetWorld) -> None:
        world.stack.fails = DIED

        with pytest.raises(OutsideError):
            world.writer().apply(Listener())

        run = world.journal.last_run(TAILNET_ID)
        assert run is not None
        assert (run.kind, run.state) == (RunKind.TAILNET, "failed")
        assert [(step.name, step.state) for step in run.steps] == [("policy", "done"), ("tailnet", "failed")]


def _dies() -> None:
    raise DIED


class TestTheHistory:
    def test_has_every_change_with_the_whole_policy(self, applied: TailnetWorld) -> None:
        applied.add("initech")
        applied.writer().apply(Listener())

        first, second = applied.history.entries(TAILNET_ID)

        assert [entry.kind for entry in (first, second)] == ["tailnet", "tailnet"]
        assert "tag:t-initech-agent" not in applied.history.plan(first)["policy"]["tagOwners"]
        assert applied.history.plan(second)["policy"] == json.loads(applied.wanted())
        assert applied.history.state(second) == applied.wanted().encode()

    def test_has_nothing_of_a_run_that_changed_nothing(self, applied: TailnetWorld) -> None:
        applied.writer().apply(Listener())

        assert len(applied.history.entries(TAILNET_ID)) == 1

    def test_has_a_run_that_failed_and_one_that_died_without_a_word(self, world: TailnetWorld) -> None:
        world.stack.fails = DIED
        with pytest.raises(OutsideError):
            world.writer().apply(Listener())
        world.stack.fails = None
        world.journal.begin(TAILNET_ID, RunKind.TAILNET, policy_digest(world.wanted()), an_owner())

        world.writer().apply(Listener())

        assert [str(entry.outcome) for entry in world.history.entries(TAILNET_ID)] == [
            "failed",
            "interrupted",
            "done",
        ]


class TestFollowing:
    def test_does_nothing_where_nothing_is_to_do(self, applied: TailnetWorld) -> None:
        assert applied.writer().follow(Listener()) == "the tailnet is up to the registry"
        assert len(applied.stack.plans) == 1

    def test_does_what_is_to_do(self, applied: TailnetWorld) -> None:
        applied.add("initech")

        assert "policy written" in applied.writer().follow(Listener())
        assert applied.file.text == applied.wanted()

    def test_finishes_what_a_run_has_left_half_done(self, applied: TailnetWorld) -> None:
        applied.add("initech")
        applied.stack.fails = DIED
        with pytest.raises(MutxInfraError):
            applied.writer().follow(Listener())
        applied.stack.fails = None

        applied.writer().follow(Listener())

        assert applied.stack.known is not None
        assert applied.stack.known.policy == applied.wanted()

    def test_waits_for_its_turn(self, applied: TailnetWorld) -> None:
        applied.add("initech")
        other = another_owner()
        lease = applied.registry.acquire(TAILNET_ID, other, purpose="apply", ttl_s=20)

        applied.writer().follow(Listener())

        assert applied.clock.now() >= lease.expires_at
        assert applied.file.text == applied.wanted()

    def test_does_not_wait_for_ever(self, applied: TailnetWorld) -> None:
        applied.add("initech")
        applied.registry.acquire(TAILNET_ID, another_owner(), purpose="apply", ttl_s=10 * PATIENCE_S)

        with pytest.raises(LockedError):
            applied.writer().follow(Listener())

    def test_leaves_the_turn_to_the_next(self, applied: TailnetWorld) -> None:
        applied.writer().follow(Listener())

        assert applied.registry.lease(TAILNET_ID) is None


def another_owner():  # type: ignore[no-untyped-def]
    return an_owner().model_copy(update={"pid": an_owner().pid + 1})


def test_a_preview_says_what_else_would_change(world: TailnetWorld) -> None:
    assert [change.name for change in world.writer().preview().changes] == ["settings"]
    assert world.file.written == []


def test_no_tenant_can_be_called_as_the_tailnet_is(world: TailnetWorld) -> None:
    with pytest.raises(ValueError, match="id"):
        world.add(TAILNET_ID)
