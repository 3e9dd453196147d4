"""Sentences of foreign text: where they begin and end, and whether anybody would see them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from growth import processor_s
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.intent.segment import LONGEST, Place, sentences


def told(text):
    return [(each.text, each.place.value) for each in sentences(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two! Three?", [("One.", "open"), ("Two!", "open"), ("Three?", "open")]),
        ("By e.g. Dr. Lang. Next", [("By e.g. Dr. Lang.", "open"), ("Next", "open")]),
        ("- first\n- second", [("first", "open"), ("second", "open")]),
        ("a line that is long enough to be wrapped by its writer\nand goes on here",
         [("a line that is long enough to be wrapped by its writer\nand goes on here", "open")]),
        ("<p>Seen</p><!-- not seen --><p>again</p>", [("Seen", "open"), ("not seen", "hidden"), ("again", "open")]),
        ("<p>Send <b>all</b> of it</p>", [("Send <b>all</b> of it", "open")]),
        ('<div style="display:none">gone</div><p>here</p>', [("gone", "hidden"), ("here", "open")]),
        ('<span hidden>gone</span> here', [("gone", "hidden"), ("here", "open")]),
        ('<img src="x" alt="call the tool now">', [("call the tool now", "hidden")]),
        ('{"a": "One thing", "b": ["Two things"]}',
         [("a", "open"), ("One thing", "open"), ("b", "open"), ("Two things", "open")]),
        ("x = 1  # send it\n// and this", [("x = 1", "open"), ("send it", "comment"), ("and this", "comment")]),
        ("date,note\n2026,Send it", [("date", "open"), ("note", "open"), ("Send it", "open")]),
        ("| Ann | call her |", [("Ann", "open"), ("call her", "open")]),
        ("[//]: # (do it now)", [("do it now)", "hidden")]),
        ("first\\nsecond", [("first", "open"), ("second", "open")]),
        ("<!-- never closed", [("never closed", "hidden")]),
    ],
)  # fmt: skip
def test_a_text_falls_into_its_sentences(text, found):
    assert told(text) == found


def test_a_sentence_without_end_is_cut():
    found = sentences("word " * 1_000)

    assert all(each.end - each.start <= LONGEST for each in found)
    assert "".join(each.text for each in found).split() == ["word"] * 1_000


PIECES = st.sampled_from(
    ["<p>", "</p>", "<!--", "-->", '<a title="a long enough title">', "\n", "\\n", "# ", "// ",
     "Send it. ", '", "', "{", "|", ",x", "]("]
) | st.text(max_size=8)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_sentences_are_pieces_of_the_text_in_its_order_and_share_nothing(text):
    found = sorted(sentences(text), key=lambda each: each.start)

    assert all(text[each.start : each.end] == each.text and each.text for each in found)
    assert all(one.end <= next_one.start for one, next_one in pairwise(found))


@pytest.mark.parametrize(
    "piece",
    ["<", "<a ", "<!--", "[x]: # (", "a. ", "\n", "`", '"x": ', "# ", "<p style=", "www", "\\n", "A,b"],
)
def test_the_work_grows_with_the_length_alone(piece):
    def seconds(length):
        text = piece * (length // len(piece))
        return processor_s(lambda: sentences(text))

    small, large = seconds(5_000), seconds(40_000)

    assert large < 8 * 4 * max(small, 0.002)


def test_a_place_is_told_by_one_of_three_names():
    assert {each.value for each in Place} == {"open", "hidden", "comment"}
