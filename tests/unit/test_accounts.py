"""The archive's account: pinned by the profile, asked of STS, and fixed once the archive is made."""

from __future__ import annotations

import pytest

from mutx_infra.accounts import Accounts, check_archive_stays
from mutx_infra.environment import Environment
from mutx_infra.errors import RefusedError, SpecError
from mutx_infra.plan import make_plan
from mutx_infra.records import TenantRecord, TenantState
from tests.support.registry import HandClock
from tests.support.specs import ACCOUNT, a_spec, an_allocation
from tests.support.world import MemoryCloud, a_world

ARCHIVE, OTHER = "310987654321", "410987654321"
PLATFORM = a_spec("platform", tier="platform", archive={"account": ARCHIVE})


class Clouds(MemoryCloud):
    """A cloud of several accounts; `live` is what STS says in each."""

    def __init__(self, live: dict[str, str] | None = None) -> None:
        super().__init__()
        self.live, self.entered = live or {}, [ACCOUNT]

    def in_account(self, account: str) -> Clouds:
        self.entered.append(account)
        return self

    def account_id(self) -> str:
        return self.live.get(self.entered[-1], self.entered[-1])


def an_environment(archive: str | None) -> Environment:
    environment = a_world().environment
    return environment.model_copy(
        update={"aws": environment.aws.model_copy(update={"archive_account": archive})}
    )


def test_the_pinned_account_that_can_be_entered_is_accepted() -> None:
    cloud = Clouds()

    Accounts(an_environment(ARCHIVE), cloud).require_archive(PLATFORM)

    assert cloud.entered == [ACCOUNT, ARCHIVE]


def test_without_an_archive_nothing_is_entered() -> None:
    cloud = Clouds()

    Accounts(an_environment(ARCHIVE), cloud).require_archive(a_spec())

    assert cloud.entered == [ACCOUNT]


@pytest.mark.parametrize(("pinned", "words"), [(OTHER, f"pinned to {OTHER}"), (None, "names none")])
def test_an_account_that_is_not_pinned_is_refused_unentered(pinned: str | None, words: str) -> None:
    cloud = Clouds()

    with pytest.raises(RefusedError, match=words) as refused:
        Accounts(an_environment(pinned), cloud).require_archive(PLATFORM)

    assert refused.value.code == "archive-mismatch"
    assert cloud.entered == [ACCOUNT]


def test_a_role_that_leads_elsewhere_is_refused() -> None:
    with pytest.raises(RefusedError, match=f"belong to account {OTHER}") as refused:
        Accounts(an_environment(ARCHIVE), Clouds({ARCHIVE: OTHER})).require_archive(PLATFORM)

    assert refused.value.code == "account-mismatch"


def a_record(archive: str | None, digest: str | None) -> TenantRecord:
    more = {"archive": {"account": archive}} if archive else {}
    spec, now = a_spec("platform", tier="platform", **more), HandClock().now()
    allocation = an_allocation(spec, "10.255.252.0/22")
    return TenantRecord(
        spec=spec,
        allocation=allocation,
        state=TenantState.READY,
        plan_digest=digest,
        created_at=now,
        updated_at=now,
    )


@pytest.mark.parametrize("before", [OTHER, None])
def test_an_archive_that_was_made_stays_where_it_is(before: str | None) -> None:
    with pytest.raises(SpecError) as refused:
        check_archive_stays(PLATFORM, a_record(before, "sha256:1"))

    assert refused.value.code == "spec-archive-fixed"
    assert (before or "the platform's own account") in refused.value.message


def test_an_archive_that_was_never_made_may_be_corrected() -> None:
    check_archive_stays(PLATFORM, a_record(OTHER, None))
    check_archive_stays(PLATFORM, a_record(ARCHIVE, "sha256:1"))


def test_an_archive_in_the_platform_s_own_account_is_not_apart() -> None:
    spec = a_spec("platform", tier="platform", archive={"account": ACCOUNT})

    with pytest.raises(SpecError) as refused:
        make_plan(spec, an_allocation(spec, "10.255.252.0/22"))

    assert refused.value.code == "spec-archive-not-apart"


def test_the_plan_puts_archive_buckets_and_no_others_into_that_account() -> None:
    plan = make_plan(PLATFORM, an_allocation(PLATFORM, "10.255.252.0/22"))

    assert {bucket.key: bucket.account for bucket in plan.buckets} == {
        "state": ACCOUNT, "history": ACCOUNT, "archive-1y": ARCHIVE, "archive-7y": ARCHIVE
    }  # fmt: skip
    assert all(bucket.account in bucket.name for bucket in plan.buckets)
    assert plan.accounts == (ACCOUNT, ARCHIVE)
