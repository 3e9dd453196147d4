"""Trace context and journal: what continues a trace, and what of a record is said."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_service.journal import JsonLines
from mutx_service.trace import parse_traceparent, span

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def lines():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("mutx_service")
    level, logger.propagate = logger.level, False
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = True


@pytest.mark.parametrize(
    "header", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-later"]
)
def test_a_good_header_is_continued(header):
    found = parse_traceparent(header)

    assert found is not None
    assert (found.trace_id, found.span_id) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-x",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_a_bad_header_begins_a_new_trace(header):
    assert parse_traceparent(header) is None


@given(st.text(max_size=80))
def test_no_header_raises(header):
    parse_traceparent(header)


def fail_within_two_spans() -> None:
    with span("outer", parse_traceparent(f"00-{TRACE}-{SPAN}-01"), agent="a"):
        with span("inner"):
            pass
        raise ValueError("canary")


def test_spans_nest_and_say_how_they_ended(lines):
    with pytest.raises(ValueError, match="canary"):
        fail_within_two_spans()

    inner, outer = lines()
    assert (outer["trace_id"], outer["parent_span_id"], outer["status"]) == (TRACE, SPAN, "ValueError")
    assert (inner["parent_span_id"], inner["status"]) == (outer["span_id"], "ok")
    assert "canary" not in json.dumps([inner, outer])


def test_a_library_s_words_are_not_said():
    try:
        int("canary of an error")
    except ValueError:
        record = logging.LogRecord(
            "openai", logging.ERROR, "x.py", 7, "canary %s", ("argument",), sys.exc_info()
        )

    line = json.loads(JsonLines().format(record))

    assert "canary" not in json.dumps(line)
    assert (line["event"], line["logger"], line["error"]) == ("library", "openai", "builtins.ValueError")
