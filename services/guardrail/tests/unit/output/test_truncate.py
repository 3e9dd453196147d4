"""A text is cut within its tokens, at a sentence or a word, and never through what belongs together."""

from __future__ import annotations

import math

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.output.graphemes import boundary_before
from mutx_guardrail.output.truncate import truncate


def words(text: str) -> int:
    return len(text.split())


def characters(text: str) -> int:
    return len(text)


class Counting:
    """Counts characters, and how often and of how much it was asked."""

    def __init__(self) -> None:
        self.calls, self.longest = 0, 0

    def __call__(self, text: str) -> int:
        self.calls += 1
        self.longest = max(self.longest, len(text))
        return len(text)


@pytest.mark.parametrize(
    ("text", "limit", "wanted"),
    [
        ("One two. Three four.", 4, "One two. Three four."),
        ("One two. Three four.", 3, "One two."),
        ("One two three four five six", 3, "One two three"),
        ("", 0, ""),
        ("word", 0, ""),
        ("「一。」 二 三。四", 2, "「一。」"),
        ("Line one\n\nLine two goes on", 3, "Line one"),
    ],
    ids=["fits", "sentence", "word", "empty", "nought", "chinese", "paragraph"],
)
def test_a_cut_is_at_a_sentence_or_else_a_word(text, limit, wanted):
    cut = truncate(text, limit, words)

    assert cut.text == wanted
    assert cut.was_cut is (wanted != text)


@pytest.mark.parametrize(
    "whole",
    [
        "\\u003c",
        "\\ud83d\\ude00",
        "\\x41",
        "\\n",
        "&amp;",
        "&#x3c;",
        "%C3%A9",
        "\x1b[31m",
        "<PERSON_12>",
        "[REDACTED]",
        "<PERSON:abcdefgh_-1234>",
        "ẹ́",
        "👩\u200d💻",
        "🇩🇪",
        "한",
        "\r\n",
    ],
)
def test_what_belongs_together_is_kept_or_left_as_a_whole(whole):
    text = f"xx{whole}yy"

    texts = {truncate(text, limit, characters).text for limit in range(len(text) + 1)}

    assert texts <= {"", "x", "xx", f"xx{whole}", f"xx{whole}y", text}


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match="not negative"):
        truncate("x", -1, characters)


def test_a_huge_text_is_counted_a_few_times_and_never_whole():
    count = Counting()

    cut = truncate("word " * 2_000_000, 1_000, count)

    assert characters(cut.text) <= 1_000
    assert count.calls < 10 + 3 * math.log2(10_000_000)
    assert count.longest <= 8_000


def test_a_text_of_rare_tokens_is_found_by_doubling():
    cut = truncate("a" * 100_000, 10, lambda text: len(text) // 5_000)

    assert 50_000 <= len(cut.text) < 55_000


@given(st.text(max_size=300), st.integers(0, 320))
def test_a_cut_is_a_begin_within_the_limit(text, limit):
    cut = truncate(text, limit, characters)

    assert text.startswith(cut.text)
    assert characters(cut.text) <= limit
    assert cut.was_cut is (cut.text != text)


@given(st.text(alphabet="e\u0301\u200d\U0001f469\U0001f1e9x \r\n", max_size=80), st.integers(0, 80))
def test_a_cut_ends_a_grapheme_cluster(text, limit):
    cut = truncate(text, limit, characters).text

    ends = {0, *(match.end() for match in regex.finditer(r"\X", text))}
    assert len(cut) in ends


@given(st.text(max_size=60), st.integers(-5, 70))
def test_a_boundary_is_within_the_text_and_not_behind_the_place(text, at):
    assert 0 <= boundary_before(text, at) <= max(0, min(at, len(text)))


def test_a_cluster_without_end_is_cut_all_the_same():
    assert boundary_before("e" + "\u0301" * 10_000, 5_000) == 5_000
