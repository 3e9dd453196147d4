"""Just-in-time access over a registry, a journal and devices in memory; and what the policy asks for then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from mutx_infra.environment_tailnet import OperatorAccess, Tailnet
from mutx_infra.errors import MutxInfraError, RefusedError, UsageError, VerificationError
from mutx_infra.naming import leave_attribute
from mutx_infra.records import RunKind
from mutx_infra.tailnet.composition import Composed, Member, Platform, compose
from mutx_infra.tailnet.evaluation import Evaluator, Identity
from mutx_infra.tailnet.leave import LONGEST, SHORTEST, LeaveDesk, parse_period
from mutx_infra.tailnet.plan import TAILNET_ID
from mutx_infra.tailnet.policy import PROTOCOLS, read_policy
from mutx_infra.tailnet_ports import Leave
from tests.support.registry import HandClock, MemoryJournal, MemoryRegistry
from tests.support.specs import a_spec, an_allocation
from tests.support.world import Listener, an_owner

ALICE, REASON, HOURS = "alice@mutx.dev", "INC-42: agent does not start", timedelta(hours=2)
LINUX = "node:os IN ['linux']"


@dataclass
class MemoryAttributes:
    """`DeviceAttributes`: whose each device is, and what it has."""

    clock: HandClock
    devices: dict[str, str]
    leaves: list[Leave] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    forgets_the_end: bool = False

    def give(self, login: str, attribute: str, until: datetime, comment: str) -> tuple[Leave, ...]:
        ends = None if self.forgets_the_end else until
        given = tuple(
            Leave(d, d, login, attribute, ends) for d, whose in self.devices.items() if whose == login
        )
        self.leaves += given
        self.comments.append(comment)
        return given

    def take(self, login: str, attribute: str) -> int:
        left = [leave for leave in self.leaves if (leave.login, leave.attribute) != (login, attribute)]
        taken = len(self.leaves) - len(left)
        self.leaves = left
        return taken

    def held(self, prefix: str) -> tuple[Leave, ...]:
        now = self.clock.now()
        return tuple(
            leave for leave in self.leaves
            if leave.attribute.startswith(prefix) and (leave.until is None or leave.until > now)
        )  # fmt: skip


class Desk:
    """The desk and all around it."""

    def __init__(self, access: OperatorAccess = OperatorAccess.BY_LEAVE) -> None:
        self.clock = HandClock()
        self.registry, self.journal = MemoryRegistry(self.clock), MemoryJournal(self.clock)
        for number, tenant in enumerate(("acme", "acme-eu")):
            spec = a_spec(tenant)
            self.registry.reserve(spec, lambda _, s=spec, n=number: an_allocation(s, f"10.0.{n}.0/24"))  # type: ignore[misc]
        self.attributes = MemoryAttributes(self.clock, {"n1": ALICE, "n2": ALICE, "n3": "eve@example.org"})
        tailnet = Tailnet(name="example.com", operators=(ALICE, "bob@mutx.dev"), operator_access=access)
        self.desk = LeaveDesk(tailnet, self.registry, self.attributes, self.journal, self.clock, an_owner())

    def give(
        self, login: str = ALICE, tenant: str = "acme", period: timedelta = HOURS, reason: str = REASON
    ) -> None:
        self.desk.give(login, tenant, period, reason, Listener())


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_leave_is_for_every_device_of_the_person_and_nobody_else_s(desk: Desk) -> None:
    desk.give()

    assert {(each.tenant, each.leave.device) for each in desk.desk.current()} == {
        ("acme", "n1"),
        ("acme", "n2"),
    }


def test_leave_ends_by_itself(desk: Desk) -> None:
    desk.give()

    desk.clock.sleep(HOURS.total_seconds() + 1)

    assert desk.desk.current() == ()


def test_leave_is_taken_back_for_one_tenant_alone(desk: Desk) -> None:
    desk.give(tenant="acme")
    desk.give(tenant="acme-eu")

    assert desk.desk.take(ALICE, "acme", Listener()) == 2
    assert desk.desk.take(ALICE, "acme", Listener()) == 0
    assert {each.tenant for each in desk.desk.current()} == {"acme-eu"}


def test_leave_is_journaled_with_who_for_whom_until_when_and_why(desk: Desk) -> None:
    desk.give()

    run = desk.journal.last_run(TAILNET_ID)
    assert run is not None
    assert (run.kind, run.state) == (RunKind.ACCESS, "done")
    said = run.steps[0].detail
    assert all(part in said for part in (ALICE, "acme", "2026-01-02T05:04:05", REASON))
    assert desk.attributes.comments == [f"{REASON} ({an_owner().user})"]


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"login": "eve@example.org"}, RefusedError, "leave-not-operator"),
        ({"login": "bob@mutx.dev"}, RefusedError, "leave-no-device"),
        ({"tenant": "nobody"}, RefusedError, "tenant-unknown"),
        ({"period": SHORTEST - timedelta(seconds=1)}, UsageError, "leave-invalid"),
        ({"period": LONGEST + timedelta(seconds=1)}, UsageError, "leave-invalid"),
        ({"reason": "because"}, UsageError, "leave-invalid"),
        ({"reason": " " * 20}, UsageError, "leave-invalid"),
        ({"reason": "x" * 151}, UsageError, "leave-invalid"),
        ({"reason": "two\nlines of it"}, UsageError, "leave-invalid"),
    ],
)
def test_leave_that_makes_no_sense_is_not_given(
    desk: Desk, change: dict[str, object], kind: type[MutxInfraError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        desk.give(**change)  # type: ignore[arg-type]

    assert caught.value.code == code
    assert desk.attributes.leaves == []


def test_leave_without_an_end_is_named(desk: Desk) -> None:
    desk.attributes.forgets_the_end = True

    with pytest.raises(VerificationError) as caught:
        desk.give()

    assert caught.value.code == "leave-not-given"
    assert f"revoke {ALICE} acme" in caught.value.remedy


def test_where_access_stands_leave_is_refused_as_of_no_use() -> None:
    with pytest.raises(RefusedError) as caught:
        Desk(OperatorAccess.STANDING).give()

    assert caught.value.code == "leave-not-needed"


@pytest.mark.parametrize(("text", "minutes"), [("2h", 120), ("90m", 90), ("1h30m", 90), ("0h1m", 1)])
def test_periods_are_read(text: str, minutes: int) -> None:
    assert parse_period(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "2", "h", "2d", "-1h", "1.5h", "2h ", "1m1h", "9999h"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_period(text)


@pytest.mark.parametrize("tenant", ["ab", "acme", "a-b-c", "x" * 63, "x" * 40 + "-a", "x" * 40 + "-b"])
def test_an_attribute_is_one_that_tailscale_takes(tenant: str) -> None:
    name = leave_attribute(tenant)

    assert len(name) <= 50
    assert name.removeprefix("custom:").replace("_", "").isalnum()


def test_attributes_of_two_tenants_are_two() -> None:
    tenants = ["a-b", "ab", "x" * 40 + "-a", "x" * 40 + "-b", "x" * 40]

    assert len({leave_attribute(tenant) for tenant in tenants}) == len(tenants)


class TestThePolicy:
    ACME, GLOBEX = Member("acme"), Member("globex")

    def composed(self, *terms: str, members: Sequence[Member] = (ACME, GLOBEX)) -> Composed:
        return compose(members, Platform((ALICE,), terms, by_leave=True))

    def opens(self, composed: Composed, tag: str, **attributes: object) -> bool:
        source = Identity(
            user=ALICE, attributes={name.replace("__", ":"): v for name, v in attributes.items()}
        )
        return Evaluator(composed.policy).reach(source, Identity(tags=(tag,)), PROTOCOLS["tcp"], 22).is_open

    def test_opens_nothing_to_an_operator_without_leave(self) -> None:
        composed = self.composed()

        assert not any(self.opens(composed, f"tag:t-{t}-mgmt") for t in ("acme", "globex"))
        assert not self.opens(composed, "tag:mutx-mgmt")

    def test_opens_the_hosts_of_that_tenant_with_leave_and_no_others(self) -> None:
        composed = self.composed()

        assert self.opens(composed, "tag:t-acme-mgmt", custom__mutx_acme=True)
        assert not self.opens(composed, "tag:t-globex-mgmt", custom__mutx_acme=True)
        assert not self.opens(composed, "tag:mutx-mgmt", custom__mutx_acme=True)
        assert not self.opens(composed, "tag:t-acme-vault", custom__mutx_acme=True)

    @pytest.mark.parametrize("value", [False, 1, "true"])
    def test_takes_nothing_else_for_leave(self, value: object) -> None:
        assert not self.opens(self.composed(), "tag:t-acme-mgmt", custom__mutx_acme=value)

    def test_asks_for_the_operators_posture_as_well(self) -> None:
        composed = self.composed(LINUX)

        assert not self.opens(composed, "tag:t-acme-mgmt", custom__mutx_acme=True)
        assert not self.opens(composed, "tag:t-acme-mgmt", custom__mutx_acme=True, node__os="windows")
        assert self.opens(composed, "tag:t-acme-mgmt", custom__mutx_acme=True, node__os="linux")

    def test_opens_nothing_after_hand_over_whatever_leave_there_is(self) -> None:
        composed = self.composed(members=[replace(self.ACME, is_handed_over=True)])

        assert not self.opens(composed, "tag:t-acme-mgmt", custom__mutx_acme=True)
        assert "posture:mutx-leave-acme" not in composed.policy.postures

    def test_lets_automation_in_as_before(self) -> None:
        converge = Identity(tags=("tag:mutx-converge",))
        target = Identity(tags=("tag:t-acme-mgmt",))

        assert Evaluator(self.composed().policy).reach(converge, target, PROTOCOLS["tcp"], 22).is_open

    @pytest.mark.parametrize("terms", [(), (LINUX,)])
    def test_passes_its_own_tests_and_reads_as_it_was_written(self, terms: tuple[str, ...]) -> None:
        policy = self.composed(*terms).policy

        assert Evaluator(policy).failed_tests() == ()
        assert read_policy(policy.text()).document() == policy.document()

    def test_has_tests_that_fail_where_leave_is_not_asked_for(self) -> None:
        policy = self.composed().policy
        lax = replace(policy, grants=tuple(replace(grant, posture=()) for grant in policy.grants))

        assert Evaluator(lax).failed_tests()
