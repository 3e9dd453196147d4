"""A growing text: what has come leaves once, in order, and is called judged whole only when it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.growing import Growing

PIECES = st.lists(st.text("ab ", max_size=12), max_size=30)


@given(PIECES, st.lists(st.integers(0, 40), max_size=30), st.integers(0, 9))
def test_what_leaves_and_what_waits_are_what_has_come(pieces, leaving, kept):
    text, left = Growing(8, kept), ""

    for piece, count in zip(pieces, leaving, strict=False):
        text.take(piece)
        shown = text.show()
        text.leave(min(count, len(shown)))
        left += shown[:count]

    assert left + text.show() == text.whole()
    assert (text.context, text.pending) == (left[-kept:] if kept else "", len(text.show()))


def test_a_window_is_due_when_it_is_full_and_half_of_what_waits_is_new():
    text = Growing(window=4)

    due = []
    for piece in ("abc", "d", "ef", "gh", "i"):
        text.take(piece)
        due.append(text.is_due)
        if text.is_due:
            text.show()

    assert due == [False, True, False, True, False]


def test_half_of_what_could_not_leave_must_be_new():
    text = Growing(window=4)
    text.take("a" * 100)
    text.show()

    text.take("b" * 98)
    before = text.is_due
    text.take("b")

    assert (before, text.is_due) == (False, True)


def test_what_left_otherwise_is_the_context_of_what_follows():
    text = Growing(window=4, kept=6)
    text.take("mail a@b.example now")
    text.show()

    text.leave(16, "mail [REDACTED]")

    assert (text.context, text.show()) == ("ACTED]", " now")


def test_a_text_of_which_a_part_left_unseen_by_the_last_window_was_not_judged_whole():
    text = Growing(window=4)
    text.take("abcdef")
    text.judged(len(text.show()))
    at_once = text.was_judged_whole
    text.leave(4)
    text.take("gh")
    text.judged(len(text.show()))

    assert (at_once, text.was_judged_whole) == (True, False)
