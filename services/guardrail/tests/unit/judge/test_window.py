"""Windows cover a text, and what is short lies whole in one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.judge.window import split_windows
from mutx_guardrail.verdict import Span

SIZES = st.integers(2, 50).flatmap(lambda window: st.tuples(st.just(window), st.integers(0, window - 1)))


@given(st.integers(0, 500), SIZES, st.data())
def test_what_is_no_longer_than_the_overlap_lies_whole_in_a_window(length, sizes, data):
    window, overlap = sizes
    start = data.draw(st.integers(0, length))
    piece = Span(start, min(length, start + max(1, overlap)))

    windows = split_windows(length, window, overlap)

    assert any(each.start <= piece.start and piece.end <= each.end for each in windows)
    assert max(each.end - each.start for each in windows) <= window


@given(st.integers(1, 500), SIZES)
def test_no_window_is_within_another(length, sizes):
    windows = split_windows(length, *sizes)

    ends = [each.end for each in windows]
    assert ends == sorted(set(ends))


def test_a_text_that_fits_is_one_window():
    assert split_windows(100, 100, 10) == (Span(0, 100),)
