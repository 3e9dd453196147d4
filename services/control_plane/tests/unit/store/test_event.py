"""Audit records before they are kept: how long they will be, and what is hashed of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from mutx_control_plane.store.bootstrap import bootstrap_sql
from mutx_control_plane.store.errors import StoreError
from mutx_control_plane.store.event import FIRST_PREV, Event, Origin, Record, Retention, link_hash
from mutx_control_plane.store.urls import driver_url, shown

AT = datetime(2026, 11, 30, 12, 0, 0, 1, tzinfo=UTC)
RECORD = Record(
    "acme", 1, AT, Origin("user:1", "192.0.2.7", "t"), Event("agent.created", "agent:1", "done", {"n": 1})
)


@pytest.mark.parametrize(
    ("action", "kept"),
    [
        ("agent.created", Retention.WORK),
        ("run.started", Retention.WORK),
        ("session.started", Retention.ACCESS),
        ("sign-in.failed", Retention.ACCESS),
        ("api-key.used", Retention.ACCESS),
        ("policy.put", Retention.ACCESS),
        ("approval.approved", Retention.ACCESS),
    ],
)
def test_agents_and_runs_are_kept_shortly_and_all_else_long(action: str, kept: Retention) -> None:
    assert Event(action, "x:1").retention is kept


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECORD, tenant="globex"),
        replace(RECORD, sequence=2),
        replace(RECORD, at=AT + timedelta(microseconds=1)),
        replace(RECORD, origin=replace(RECORD.origin, actor="user:2")),
        replace(RECORD, origin=replace(RECORD.origin, address="")),
        replace(RECORD, origin=replace(RECORD.origin, trace_id="")),
        replace(RECORD, event=replace(RECORD.event, action="agent.deleted")),
        replace(RECORD, event=replace(RECORD.event, object="agent:2")),
        replace(RECORD, event=replace(RECORD.event, outcome="refused")),
        replace(RECORD, event=replace(RECORD.event, detail={"n": True})),
    ],
    ids=lambda record: str(record.document()),
)
def test_every_part_of_a_record_is_in_its_digest(changed: Record) -> None:
    assert changed.digest() != RECORD.digest()


def test_the_place_on_earth_is_not() -> None:
    elsewhere = replace(RECORD, at=AT.astimezone(timezone(timedelta(hours=5))))

    assert elsewhere.digest() == RECORD.digest()
    assert RECORD.document()["at"] == "2026-11-30T12:00:00.000001Z"


def test_a_link_depends_on_all_before_it() -> None:
    first = link_hash(FIRST_PREV, RECORD.digest())

    assert link_hash(first, RECORD.digest()) != first


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:s3cret@h/d",
        "postgresql+asyncpg://u:s3cret@h/d",
        "s3cret",
        "",
        "postgresql://u:s3cret@h:port/d",
    ],
)
def test_a_url_of_another_database_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        driver_url(url)

    assert refused.value.code == "database-url-invalid"
    assert "s3cret" not in str(refused.value) + refused.value.remedy


def test_a_url_is_shown_without_what_is_secret() -> None:
    assert shown("postgresql://u:s3cret@h/d?sslpassword=s3cret") == "postgresql+psycopg://u:***@h/d"


def test_roles_that_an_administrator_makes_do_not_log_in_unless_asked() -> None:
    assert " NOLOGIN " in bootstrap_sql()
    assert " NOLOGIN " not in bootstrap_sql(can_log_in=True)
