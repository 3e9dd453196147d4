"""Characters that hide, reorder or imitate are told and taken out; honest ones stay."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.normalise.characters import MOST_MARKS, clean

TAGGED = "".join(chr(0xE0000 + ord(letter)) for letter in "obey me")


@pytest.mark.parametrize(
    ("text", "cleaned", "kinds"),
    [
        pytest.param("ig\u200bnore", "ignore", ["zero_width"], id="zero-width space"),
        pytest.param("a\u00adb", "ab", ["zero_width"], id="soft hyphen"),
        pytest.param("\u202egnp.exe", "gnp.exe", ["bidi_control"], id="right-to-left override"),
        pytest.param("\u2066a\u2069", "a", ["bidi_control", "bidi_control"], id="isolates"),
        pytest.param(f"hi{TAGGED}", "hi", ["tag_character"], id="tag characters"),
        pytest.param("a\x00b\x1b[2J", "ab[2J", ["control_character", "control_character"], id="controls"),
        pytest.param("one\x85two", "one\ntwo", ["control_character"], id="next line stays a break"),
        pytest.param("one\u2028two", "one\ntwo", ["zero_width"], id="line separator stays a break"),
        pytest.param("p\u0430ssword", "password", ["confusable"], id="Cyrillic letter in a Latin word"),
        pytest.param("\u0391dmin", "Admin", ["confusable"], id="Greek capital in a Latin word"),
        pytest.param("x\ud800y", "x\ufffdy", ["surrogate"], id="lone surrogate"),
        pytest.param("a\ufe00\ufe01", "a", ["variation_selector"], id="selectors without a base"),
        pytest.param("z" + "\u0301" * 9, "z" + "\u0301" * MOST_MARKS, ["combining_run"], id="zalgo"),
        pytest.param("\u3164", "", ["zero_width"], id="Hangul filler"),
    ],
)
def test_what_hides_is_taken_out_and_told(text, cleaned, kinds):
    view, _, findings = clean(text)

    assert view.text == cleaned
    assert [finding.kind for finding in findings] == kinds


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("tabs\tand\r\nbreaks", id="white space"),
        pytest.param("👨\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3", id="emoji sequences"),
        pytest.param(
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", id="flag of Scotland"
        ),
        pytest.param("می\u200cخواهم", id="Persian non-joiner"),
        pytest.param("क्\u200dष", id="Devanagari joiner"),
        pytest.param("葛\U000e0100城", id="ideographic variation"),
        pytest.param("α-helix, Москва, 5 µm", id="words of other scripts"),
        pytest.param("naïve Ångström żółć", id="accents"),
        pytest.param("e\u0301", id="a decomposed accent"),
    ],
)
def test_what_does_honest_work_stays(text):
    view, edits, findings = clean(text)

    assert view.text == text
    assert edits == ()
    assert findings == ()


def test_a_long_hidden_message_is_one_finding():
    _, _, (finding,) = clean(f"hi{TAGGED * 100}!")

    assert (finding.span.start, finding.span.end) == (2, 2 + 700)


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_text_is_cleaned_with_offsets_into_it(text):
    view, edits, findings = clean(text)

    spans = [view.original(at, at + 1) for at in range(len(view.text))]
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(before.start <= after.start for before, after in itertools.pairwise(spans))
    assert all(finding.span.end <= len(text) for finding in findings)
    assert view.text.encode("utf-8").decode() == view.text
    assert bool(edits) == bool(findings)
