"""How policies are compared: layout and trailing commas mean nothing, comments and the order of members do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_sandbox.tailscale.hujson import canonical, problem

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
POLICY = """\
// Of the platform.
{
  "grants": [
    {"src": ["*"], "dst": ["*"], /* all of it */ "ip": ["*"]},
  ], // none else
}
"""


@given(values, st.integers(0, 4))
def test_layout_means_nothing(value: object, indent: int) -> None:
    text, spaced = json.dumps(value), json.dumps(value, indent=indent, separators=(" ,", " : "))

    assert problem(spaced) is None
    assert canonical(spaced) == canonical(text)


@given(values, values)
def test_other_values_are_other_texts(one: object, other: object) -> None:
    same = json.dumps(one) == json.dumps(other)

    assert (canonical(json.dumps(one)) == canonical(json.dumps(other))) is same


def test_a_text_with_comments_and_trailing_commas_is_one() -> None:
    assert problem(POLICY) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (POLICY, POLICY.replace("},\n", "}\n").replace("  ", "\t"), True),
        (POLICY, POLICY.replace("// none else", ""), False),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', False),
        ('["a // b"]', '[ "a // b", ]', True),
        ('["a // b"]', '["a // c"]', False),
        ('["a", // last,\n]', '["a" // last,\n]', True),
    ],
    ids=["layout", "a comment", "the order", "no comment", "in a string", "a comma before a comment"],
)
def test_texts_are_the_same(one: str, other: str, *, same: bool) -> None:
    assert (canonical(one) == canonical(other)) is same


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1"),
        ('{\n"a": \n}', "line 3"),
        ('{"a": 1} /', "stray '/'"),
        ("[,]", "line 1"),
        ("[1,,]", "line 1"),
        ('{"a": \n/* open', "line 2: a stray '/'"),
    ],
)
def test_what_is_no_hujson_is_named_with_its_line(text: str, words: str) -> None:
    assert words in str(problem(text))
    assert canonical(text) == canonical(text)
