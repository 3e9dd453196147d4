"""JSON of one meaning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_service.strict_json import DEEPEST, JsonError, read_json, write_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_read_and_written_is_what_it_was(value):
    assert read_json(write_json(value)) == value
    assert read_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(content):
    try:
        value = read_json(content)
    except JsonError:
        return
    assert read_json(write_json(value)) == value


@pytest.mark.parametrize(("depth", "taken"), [(DEEPEST, True), (DEEPEST + 1, False), (1_000_000, False)])
def test_nesting_is_bounded(depth, taken):
    content = b"[" * depth + b"]" * depth

    if taken:
        assert read_json(content) is not None
    else:
        with pytest.raises(JsonError):
            read_json(content)


def test_brackets_within_a_string_nest_nothing():
    assert read_json(json.dumps({"a": '["{\\"' * 500}).encode()) == {"a": '["{\\"' * 500}


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":1,"a":1}',
        b'{"\\u0061":1,"a":2}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e400",
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b"\xef\xbb\xbf1",
        b'"\xed\xa0\x80"',
        b"9" * 5000,
        b"01",
        b"[1,]",
        b"'a'",
        b"1 2",
        b'"\n"',
        b"",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(content):
    with pytest.raises(JsonError):
        read_json(content)


def test_a_pair_of_surrogates_is_one_character():
    assert read_json(b'"\\ud83d\\ude00"') == "\U0001f600"
