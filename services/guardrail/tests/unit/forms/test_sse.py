"""Events read from any pieces of a stream."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.sse import EventError, RawEvent, read_events, write_event


def read(*chunks: bytes, largest: int = 1000) -> list[RawEvent]:
    async def content():
        for chunk in chunks:
            yield chunk

    async def collect() -> list[RawEvent]:
        return [each async for each in read_events(content(), largest)]

    return asyncio.run(collect())


LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


EVENTS = st.builds(RawEvent, st.sampled_from(["", "error"]), st.lists(LINES, min_size=1).map("\n".join))


@given(st.lists(EVENTS, max_size=5), st.integers(1, 9))
def test_what_is_written_is_read_again_in_pieces_of_any_size(events, size):
    content = b"".join(write_event(each) for each in events)

    assert read(*(content[at : at + size] for at in range(0, len(content), size)), largest=10_000) == events


def test_comments_and_other_fields_are_left_out():
    assert read(b": alive\n\nid: 7\nretry: 3\nevent: e\ndata:x\r\n\r\n") == [RawEvent("e", "x")]


def test_an_event_without_its_end_is_none():
    assert read(b"data: a\n\ndata: b\n") == [RawEvent("", "a")]


@pytest.mark.parametrize(
    "content", [b"data: " + b"x" * 2000, b"data: x\n" * 500, b"data: \xff\n\n", b"data: a\rdata: b\n\n"],
    ids=["one line", "many lines", "bytes", "carriage return"],
)  # fmt: skip
def test_what_is_too_large_or_unclear_is_an_error(content):
    with pytest.raises(EventError):
        read(content)
