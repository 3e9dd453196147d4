"""The use cases of hosts over ports in memory: who is worked on, what is written down, what a failure leaves."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from mutx_infra.errors import LockedError, OutsideError, RefusedError
from mutx_infra.evidence import Verdict, Waiver
from mutx_infra.hardening import CLOSED, HostsFailedError
from mutx_infra.host_records import HostState
from mutx_infra.records import RunKind, StepState
from tests.support.byok import a_vault
from tests.support.specs import a_plan, an_owner
from tests.support.yard import Yard

HOSTS = ("agent-1", "database-1", "guard-1", "mgmt-1", "vault-1")


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_every_host_is_worked_on_and_has_a_step_of_its_own(yard: Yard) -> None:
    yard.harden()

    (run,) = yard.world.journal.runs("acme")
    assert yard.hosts.runs == [(HOSTS, False)]
    assert (run.kind, run.state) == (RunKind.HARDEN, "done")
    assert [(step.name, step.state) for step in run.steps] == [(host, StepState.DONE) for host in HOSTS]


def test_the_history_says_what_changed_on_which_host_and_a_second_run_adds_nothing(yard: Yard) -> None:
    yard.harden()
    yard.harden()

    (entry,) = yard.world.history.entries("acme")
    assert entry.kind == "harden"
    assert [change.name for change in entry.changes.changes] == [f"acme-{host}" for host in HOSTS]
    assert entry.changes.changes[0].fields == ("Install sshd policy",)


def test_hosts_join_before_they_are_worked_on_and_once(yard: Yard) -> None:
    yard.harden(hosts=("vault-1",))
    led = set(yard.known.read("acme"))
    yard.harden()

    assert led == {"acme-vault-1", "acme-mgmt-1"}
    assert set(yard.known.read("acme")) == {f"acme-{host}" for host in HOSTS}
    assert yard.listener.steps == ["join", "hosts", "join", "hosts"]


def test_a_host_that_does_not_join_is_named_and_none_is_worked_on(yard: Yard) -> None:
    yard.mailbox.deaf = {"guard-1"}

    with pytest.raises(OutsideError, match="acme-guard-1 did not join"):
        yard.harden()

    assert yard.hosts.runs == []
    assert yard.world.journal.runs("acme")[0].state == "failed"


def test_a_host_that_fails_is_named_and_the_others_are_done(yard: Yard) -> None:
    yard.hosts.states = {"guard-1": HostState.FAILED, "vault-1": HostState.UNREACHABLE}

    with pytest.raises(HostsFailedError) as failure:
        yard.harden()

    (run,) = yard.world.journal.runs("acme")
    assert failure.value.exit_status == 5
    assert "acme-guard-1 failed at 'Load rules': no space left" in failure.value.detail
    assert "acme-vault-1 did not answer" in failure.value.detail
    assert "hosts harden acme --failed" in failure.value.remedy
    assert run.state == "failed"
    assert [step.name for step in run.steps if step.state is StepState.FAILED] == ["guard-1", "vault-1"]
    assert len(yard.world.history.entries("acme")) == 1


def test_the_next_run_may_be_of_those_that_failed(yard: Yard) -> None:
    yard.hosts.states = {"guard-1": HostState.FAILED}
    with pytest.raises(HostsFailedError):
        yard.harden()
    yard.hosts.states = {}

    yard.harden(failed_only=True)

    assert yard.hosts.runs[-1] == (("guard-1",), False)
    with pytest.raises(RefusedError, match="no host of acme failed the last time"):
        yard.harden(failed_only=True)


def test_after_a_run_that_died_those_without_an_end_count_as_failed(yard: Yard) -> None:
    def die() -> None:
        raise SystemExit

    yard.hosts.meanwhile = die
    with pytest.raises(SystemExit):
        yard.harden()
    yard.hosts.meanwhile = lambda: None

    yard.harden(failed_only=True)

    assert yard.hosts.runs[-1] == (HOSTS, False)


def test_a_run_takes_over_from_a_dead_one_once_its_playbooks_have_ended(yard: Yard) -> None:
    yard.world.registry.acquire("acme", an_owner(1), purpose="harden", ttl_s=30)
    yard.world.dead.add(1)

    yard.harden()

    assert yard.hosts.waited_for == ["acme"]


def test_a_tenant_that_another_process_works_on_is_left_alone(yard: Yard) -> None:
    yard.world.registry.acquire("acme", an_owner(1), purpose="create", ttl_s=30)

    with pytest.raises(LockedError):
        yard.harden()

    assert yard.hosts.runs == []


def test_a_preview_writes_nothing_down(yard: Yard) -> None:
    yard.world.registry.acquire("acme", an_owner(1), purpose="create", ttl_s=30)

    seen = yard.care().preview("acme", yard.listener)

    assert yard.hosts.runs == [(HOSTS, True)]
    assert len(seen.changed) == len(HOSTS)
    assert yard.world.journal.runs("acme") == ()
    assert yard.world.history.entries("acme") == ()


def test_hosts_are_chosen_by_name(yard: Yard) -> None:
    yard.harden(hosts=("agent-1", "acme-mgmt-1"))

    assert yard.hosts.runs == [(("agent-1", "mgmt-1"), False)]


def test_a_playbook_that_ends_without_a_result_closes_its_run(yard: Yard) -> None:
    def fail() -> None:
        raise OutsideError("no result", code="playbooks-failed", remedy="mend it")

    yard.hosts.meanwhile = fail

    with pytest.raises(OutsideError):
        yard.harden()

    assert yard.world.journal.runs("acme")[0].state == "failed"
    assert yard.world.registry.lease("acme") is None


@pytest.mark.parametrize("verb", ["harden", "preview", "check"])
def test_an_unknown_tenant_is_refused(yard: Yard, verb: str) -> None:
    with pytest.raises(RefusedError, match="there is no tenant globex"):
        getattr(yard.care(), verb)("globex", yard.listener)


def test_a_check_is_kept_with_what_it_was_made_with(yard: Yard) -> None:
    yard.harden(hosts=("agent-1",))

    audit = yard.care().check("acme", yard.listener)

    assert yard.evidence.bundles == [audit.bundle]
    assert audit.bundle.counts == {Verdict.PASS: 1, Verdict.FAIL: 4}
    assert audit.bundle.tools == {"memory": "1"}
    assert not audit.bundle.subject.is_production
    assert audit.bundle.subject.plan_digest == a_plan(block="10.0.0.0/24").digest


def test_waivers_are_applied_by_host_and_role_until_they_expire(yard: Yard) -> None:
    today = yard.world.clock.now().date()

    def waiver(target: str, expires: date) -> Waiver:
        return Waiver(
            control="ssh-02", target=target, reason="a legacy scanner", owner="ada", expires=expires
        )

    yard.waivers = (waiver("guard", today), waiver("acme-vault-1", today - timedelta(days=1)))

    checks = {check.target: check for check in yard.care().check("acme", yard.listener).bundle.checks}

    assert checks["acme-guard-1"].verdict is Verdict.WAIVED
    assert checks["acme-vault-1"].verdict is Verdict.FAIL
    assert "expired" in checks["acme-vault-1"].reason


class TestHandedOver:
    """A tenant that has claimed its Vault: nobody of the platform's enters its hosts."""

    @pytest.fixture
    def claimed(self, yard: Yard) -> Yard:
        yard.harden()
        yard.world.registry.update("acme", vault=a_vault(handed_over_at=yard.world.clock.now()))
        return yard

    @pytest.mark.parametrize("verb", ["harden", "preview"])
    def test_its_hosts_are_left_alone_and_named(self, claimed: Yard, verb: str) -> None:
        runs = len(claimed.hosts.runs)

        with pytest.raises(
            RefusedError, match="closed the hosts of acme to the platform: acme-agent-1"
        ) as refused:
            getattr(claimed.care(), verb)("acme", claimed.listener)

        assert refused.value.code == "hosts-handed-over"
        assert len(claimed.hosts.runs) == runs

    def test_what_nobody_sees_is_unknown_and_no_pass(self, claimed: Yard) -> None:
        audit = claimed.care().check("acme", claimed.listener)

        assert audit.bundle.counts == {Verdict.UNKNOWN: len(HOSTS)}
        assert {check.reason for check in audit.bundle.checks} == {CLOSED}

    def test_the_firewall_that_they_should_have_lets_no_ssh_in(self, claimed: Yard) -> None:
        hosts = claimed.care().inventory("acme").hosts

        assert {host.key for host in hosts if any(rule.port == 22 for rule in host.incoming)} == {
            "database-1"
        }
