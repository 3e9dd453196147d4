"""Masks are consistent, turn back with the right key only, and keep the way to the given text."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mutx_guardrail.document import OffsetMap, View
from mutx_guardrail.pii.masking import (
    MaskError,
    Numbering,
    Redacting,
    Sealing,
    Tagging,
    mask_spans,
    mask_text,
    mask_view,
    unmask,
)
from mutx_guardrail.pii.structured import structured_detector
from mutx_guardrail.verdict import Finding, Layer, Span
from readings import document_of

KEY = bytes(range(64))
OTHER_KEY = bytes(64)


def finding(start: int, end: int, kind: str = "PERSON", confidence: float = 0.9) -> Finding:
    return Finding(kind, Span(start, end), confidence, Layer.NAMES)


def test_output_is_redacted_literally():
    masked = mask_text("I am Jane.", [finding(5, 9)], Redacting())

    assert masked.text == "I am [REDACTED]."


def test_the_same_person_has_the_same_number_in_a_text_and_across_texts():
    numbering = Numbering()

    first = mask_text("Ann met Bob, ANN left.", [finding(0, 3), finding(8, 11), finding(13, 16)], numbering)
    second = mask_text("Bob is here", [finding(0, 3)], numbering)

    assert first.text == "<PERSON_1> met <PERSON_2>, <PERSON_1> left."
    assert second.text == "<PERSON_2> is here"


def test_a_number_with_other_separators_is_the_same_number():
    numbering = Numbering()

    one, other = (
        numbering.mask("PHONE_NUMBER", "415-555-2671"),
        numbering.mask("PHONE_NUMBER", "(415) 555 2671"),
    )

    assert one == other == "<PHONE_NUMBER_1>"


def test_a_number_that_the_text_has_already_is_given_to_nobody_else():
    numbering = Numbering()
    numbering.reserve("<PERSON_7> wrote to Jane")

    assert numbering.mask("PERSON", "Jane") == "<PERSON_8>"


def test_a_tag_is_the_same_in_every_text_of_a_key_and_in_none_of_another():
    first = mask_text("Ann met Bob", [finding(0, 3), finding(8, 11)], Tagging(KEY)).text
    second = mask_text("BOB, ann", [finding(0, 3), finding(5, 8)], Tagging(KEY)).text
    foreign = mask_text("Ann met Bob", [finding(0, 3), finding(8, 11)], Tagging(OTHER_KEY)).text

    ann, bob = first.split(" met ")
    assert second == f"{bob}, {ann}"
    assert not {ann, bob} & set(foreign.split(" met "))


def test_a_tag_is_of_its_kind():
    tagging = Tagging(KEY)

    tags = {tagging.mask(kind, "Florence").rpartition("_")[2] for kind in ("PERSON", "LOCATION")}

    assert len(tags) == 2


def test_two_values_with_the_same_begin_have_different_masks_and_each_keeps_its_own():
    tagging = Tagging(KEY)
    first = tagging.mask("PERSON", "Ann")
    tagging._taken[Tagging(KEY).mask("PERSON", "Bob")] = ("PERSON", "somebody else")

    second = tagging.mask("PERSON", "Bob")

    assert re.fullmatch("<PERSON_[0-9a-f]{16}>", second)
    assert (tagging.mask("PERSON", "Bob"), tagging.mask("PERSON", "Ann")) == (second, first)
    assert mask_spans(f"{first} {second}") == (
        (0, len(first)),
        (len(first) + 1, len(first) + 1 + len(second)),
    )


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_tag_tells_values_apart_as_numbers_do(one, other):
    tagging, numbering = Tagging(KEY), Numbering()

    is_same = tagging.mask("PERSON", one) == tagging.mask("PERSON", other)

    assert is_same == (numbering.mask("PERSON", one) == numbering.mask("PERSON", other))


def test_the_map_of_a_masked_text_leads_to_the_given_text():
    text = "Call Jane now"
    masked = mask_text(text, [finding(5, 9)], Numbering())

    at = masked.text.index("now")

    assert masked.original(at, at + 3) == Span(10, 13)
    assert masked.original(5, 5 + len("<PERSON_1>")) == Span(5, 9)


def test_a_reading_that_lost_characters_is_masked_where_the_given_text_has_the_finding():
    given_text = "a\u200bJa\u200bne b"
    cleaned = View("cleaned", "aJane b", OffsetMap([0, 2, 3, 5, 6, 7, 8], [1, 3, 4, 6, 7, 8, 9]))

    masked = mask_view(cleaned, [finding(2, 7)], Redacting())

    assert masked.text == "a[REDACTED] b"
    assert masked.original(1, 11) == Span(2, 7)
    assert len(given_text) == 9


@pytest.mark.parametrize(
    ("spans", "wanted"),
    [
        ([(0, 4), (2, 8)], "<A_1>9"),
        ([(0, 8), (2, 4)], "<A_1>9"),
        ([(0, 4), (4, 8)], "<A_1><A_2>9"),
        ([(3, 3)], "01234567"[:8] + "9"),
        ([(0, 9)], "<A_1>"),
    ],
    ids=["overlap", "within", "adjacent", "empty", "all"],
)
def test_spans_that_touch_are_masked_once(spans, wanted):
    masked = mask_text("012345679", [finding(start, end, "A") for start, end in spans], Numbering())

    assert masked.text == wanted


@pytest.mark.parametrize(
    ("text", "start", "end", "wanted"),
    [
        ("Jose\u0301 x", 0, 4, "[REDACTED] x"),
        ("x e\u0301a", 3, 5, "x [REDACTED]"),
        ("\U0001f469\u200d\U0001f4bb ok", 0, 1, "[REDACTED]\U0001f4bb ok"),
        ("a\r\nb", 0, 2, "[REDACTED]b"),
    ],
    ids=["accent behind", "accent first", "joiner", "line end"],
)
def test_a_mask_takes_in_the_marks_of_its_last_character(text, start, end, wanted):
    assert mask_text(text, [finding(start, end)], Redacting()).text == wanted


@pytest.mark.parametrize(
    "masker",
    [Numbering(), Tagging(KEY), Sealing(KEY), Redacting()],
    ids=["numbers", "tags", "tokens", "redacted"],
)
def test_what_is_masked_is_not_found_nor_masked_again(masker):
    detector = structured_detector()
    text = "card 4111 1111 1111 1111, mail a@example.com, phone 415-555-2671"
    once = mask_text(text, detector.judge(document_of(text)).findings, masker).text

    again = detector.judge(document_of(once)).findings

    assert again == ()
    assert mask_text(once, [finding(0, len(once), "URL")], Redacting()).text.count("[REDACTED]") >= 3
    assert all(
        once[start:end] in mask_text(once, [finding(0, len(once))], masker).text
        for start, end in mask_spans(once)
    )


def test_what_sticks_out_of_a_mask_is_masked_too():
    text = "<PERSON_1> Smith"

    assert mask_text(text, [finding(0, len(text))], Redacting()).text == "<PERSON_1>[REDACTED]"


def test_a_look_alike_of_another_kind_hides_nothing():
    assert mask_spans("<FOO_1> <PERSON:a@example.com> <PERSON_0>") == ()


def test_a_token_turns_back_exactly_and_is_the_same_for_the_same_value():
    text = "Ann, Ann"
    masked = mask_text(text, [finding(0, 3), finding(5, 8)], Sealing(KEY)).text

    first, second = masked.split(", ")

    assert first == second
    assert first.startswith("<PERSON:")
    assert unmask(masked, KEY) == text


def test_a_kind_is_bound_to_its_token():
    masked = mask_text("Ann", [finding(0, 3)], Sealing(KEY)).text

    with pytest.raises(MaskError):
        unmask(masked.replace("PERSON", "LOCATION"), KEY)


def test_another_key_turns_nothing_back():
    masked = mask_text("Ann Smith", [finding(0, 9)], Sealing(KEY)).text

    with pytest.raises(MaskError) as raised:
        unmask("to " + masked, OTHER_KEY)

    assert raised.value.at == 3
    assert masked not in str(raised.value)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 48, 65])
def test_a_key_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match="32 or 64"):
        Sealing(bytes(size))
    with pytest.raises(ValueError, match="32 or 64"):
        Tagging(bytes(size))


@pytest.mark.parametrize("masker", [Sealing, Tagging])
def test_a_key_is_shown_by_nothing(masker):
    made = masker(KEY)

    shown = f"{made!r} {made!s} {made}"

    assert KEY.hex() not in shown
    assert base64.b64encode(KEY).decode() not in shown


TEXTS = st.text(alphabet=st.characters(exclude_characters="<["), max_size=60)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_any_text_masked_anywhere_turns_back_exactly(text, ends):
    spans = [(min(a, b, len(text)), min(max(a, b), len(text))) for a, b in ends]

    masked = mask_text(text, [finding(start, end) for start, end in spans], Sealing(KEY))

    assert unmask(masked.text, KEY) == text
    assert len(masked.offsets) == len(masked.text)


@given(TEXTS, st.data())
def test_an_altered_token_never_turns_back(text, data):
    assume(text)
    masked = mask_text(text, [finding(0, len(text))], Sealing(KEY)).text
    at = data.draw(st.integers(masked.index(":") + 1, len(masked) - 2))
    other = data.draw(st.sampled_from("ABCDwxyz0189-_"))
    assume(masked[at] != other)

    with pytest.raises(MaskError):
        unmask(masked[:at] + other + masked[at + 1 :], KEY)
