"""Verdicts and bundles: what a reader may rely on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from mutx_infra.evidence import (
    LONGEST_TEXT,
    Bundle,
    Check,
    Control,
    Subject,
    Verdict,
    Waiver,
    judge,
    with_waivers,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOON.date()
CONTROL = Control(
    id="ssh-02",
    title="Password logins are refused",
    requirements=("HOST-1",),
    references={"cis": "5.1.20"},
    remedy="run `mutx-infra hosts harden`",
)


def a_check(*, is_met: bool | None = False, target: str = "acme-agent-1", seen: object = "yes") -> Check:
    return judge(CONTROL, target, seen=seen, wanted="no", is_met=is_met, started_at=NOON, ended_at=NOON)


def a_waiver(*, target: str | None = None, expires: date = TODAY) -> Waiver:
    return Waiver(
        control="ssh-02", target=target, reason="legacy scanner until spring", owner="ada", expires=expires
    )


def a_bundle(*checks: Check) -> Bundle:
    return Bundle(
        subject=Subject(tenant="acme", is_production=False),
        tools={"testinfra": "10.2"},
        started_at=NOON,
        ended_at=NOON,
        checks=checks,
    )


@pytest.mark.parametrize(
    ("is_met", "verdict"), [(True, Verdict.PASS), (False, Verdict.FAIL), (None, Verdict.UNKNOWN)]
)
def test_what_could_not_be_told_is_no_pass(is_met: bool | None, verdict: Verdict) -> None:
    assert a_check(is_met=is_met).verdict is verdict


def test_failures_are_what_failed_and_what_is_unknown() -> None:
    bundle = a_bundle(a_check(is_met=True), a_check(is_met=False), a_check(is_met=None))

    assert [check.verdict for check in bundle.failures] == [Verdict.FAIL, Verdict.UNKNOWN]
    assert bundle.counts == {Verdict.PASS: 1, Verdict.FAIL: 1, Verdict.UNKNOWN: 1}


def test_a_bundle_is_named_by_what_it_says() -> None:
    one, same, other = a_bundle(a_check()), a_bundle(a_check()), a_bundle(a_check(seen="no"))

    assert one.digest == same.digest != other.digest
    assert Bundle.model_validate_json(one.content) == one


@pytest.mark.parametrize(
    "target", [None, "acme-agent-1", "agent"], ids=["every host", "its host", "its role"]
)
def test_a_waiver_in_force_is_no_failure_and_says_who_bears_it(target: str | None) -> None:
    (check,) = with_waivers([a_check()], [a_waiver(target=target)], {"acme-agent-1": "agent"}, TODAY)

    assert check.verdict is Verdict.WAIVED
    assert check.reason == "waived until 2026-11-24 by ada: legacy scanner until spring"


@pytest.mark.parametrize(
    "waiver",
    [a_waiver(target="acme-agent-2"), a_waiver(target="vault"), a_waiver(expires=TODAY - timedelta(days=1))],
    ids=["another host's", "another role's", "expired"],
)
def test_any_other_waiver_leaves_the_failure(waiver: Waiver) -> None:
    (check,) = with_waivers([a_check()], [waiver], {"acme-agent-1": "agent"}, TODAY)

    assert check.verdict is Verdict.FAIL


def test_an_expired_waiver_is_named() -> None:
    (check,) = with_waivers([a_check()], [a_waiver(expires=date(2026, 11, 1))], {}, TODAY)

    assert check.reason == "the waiver of ada expired on 2026-11-01"


def test_a_waiver_makes_no_pass_of_what_is_unknown() -> None:
    (check,) = with_waivers([a_check(is_met=None)], [a_waiver()], {}, TODAY)

    assert check.verdict is Verdict.UNKNOWN


def test_a_long_observation_is_cut_and_says_so() -> None:
    check = a_check(seen="x" * 5000)

    assert len(check.seen) < LONGEST_TEXT + 40
    assert check.seen.endswith("… (5000 characters)")


def test_lists_read_as_words() -> None:
    assert [a_check(seen=seen).seen for seen in ([], ["a", "b"], "")] == ["none", "a, b", ""]


def test_time_runs_forward_and_has_a_zone() -> None:
    with pytest.raises(ValidationError, match="ended before it started"):
        judge(CONTROL, "h", seen="", wanted="", is_met=True, started_at=NOON, ended_at=NOON - timedelta(1))
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValidationError, match="timezone"):
        judge(CONTROL, "h", seen="", wanted="", is_met=True, started_at=naive, ended_at=naive)


@pytest.mark.parametrize("name", ["ssh", "SSH-01", "ssh-1", "ssh 01"])
def test_a_control_has_an_id_of_one_form(name: str) -> None:
    with pytest.raises(ValidationError, match="id"):
        Control(id=name, title="t", requirements=(), remedy="r")
