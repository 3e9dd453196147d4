"""Cursors: only what a list gave is taken, whatever is sent; and pages are bounded."""

from __future__ import annotations

import base64
import struct

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from mutx_control_plane.store.paging import LARGEST_PAGE, Ask, counted_page, timed_page
from mutx_control_plane.store.schema import agents, audit_events
from mutx_service.problem import Problem


class NoConnection:
    """What is asked of it would have reached the database."""

    def execute(self, _statement: object) -> object:
        raise AssertionError("asked")


def counted(cursor: str) -> str:
    return _outcome(
        lambda: counted_page(
            NoConnection(), sa.select(audit_events), audit_events.c.sequence, Ask(cursor=cursor), "e", tuple
        )
    )


def timed(cursor: str) -> str:
    columns = agents.c
    return _outcome(
        lambda: timed_page(
            NoConnection(), sa.select(agents), columns.created_at, columns.id, Ask(cursor=cursor), "a", tuple
        )
    )


def _outcome(call) -> str:
    try:
        call()
    except Problem as problem:
        return problem.code
    except AssertionError:
        return "asked"
    return "answered"


def pack(form: str, *fields: object) -> str:
    return base64.urlsafe_b64encode(struct.pack(form, *fields)).rstrip(b"=").decode()


def test_a_cursor_of_the_lists_own_form_is_taken() -> None:
    assert counted(pack(">cq", b"e", 7)) == "asked"
    assert timed(pack(">cq16s", b"a", 7, bytes(16))) == "asked"


@pytest.mark.parametrize(
    "cursor",
    [
        pack(">cq", b"g", 7),
        pack(">cq", b"e", 7) + "=",
        pack(">cq", b"e", 7) + "A",
        pack(">cq", b"e", 7)[:-1],
        pack(">cq16s", b"e", 7, bytes(16)),
        " " + pack(">cq", b"e", 7),
        pack(">cq", b"e", 7) + "\n",
        "+" * 12,
        "é",
        "\x00",
        "\ud800",
        "A" * 10_000,
    ],
    ids=["another-list", "padded", "longer", "shorter", "another-form", "blank", "line", "alphabet", "letter", "nul",
         "surrogate", "huge"],
)  # fmt: skip
def test_another_one_is_refused(cursor: str) -> None:
    assert counted(cursor) == "cursor-invalid"


def test_a_time_that_is_none_is_refused() -> None:
    assert timed(pack(">cq16s", b"a", 2**63 - 1, bytes(16))) == "cursor-invalid"
    assert timed(pack(">cq16s", b"a", -(2**63), bytes(16))) == "cursor-invalid"


@given(st.text(max_size=80))
def test_no_text_is_more_than_refused(cursor: str) -> None:
    assert counted(cursor) in {"asked", "cursor-invalid"}
    assert timed(cursor) in {"asked", "cursor-invalid"}


@given(st.binary(min_size=8, max_size=26))
def test_no_bytes_are_more_than_refused(raw: bytes) -> None:
    cursor = base64.urlsafe_b64encode(b"a" + raw).rstrip(b"=").decode()

    assert timed(cursor) in {"asked", "cursor-invalid"}


@pytest.mark.parametrize("size", [0, -1, LARGEST_PAGE + 1, 10**30])
def test_a_page_has_bounds(size: int) -> None:
    with pytest.raises(Problem) as refused:
        Ask(size)

    assert refused.value.code == "request-invalid"
