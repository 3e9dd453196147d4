"""Windows leave nothing out and are as full as they can be."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.classifiers.encoder import Tokens
from mutx_guardrail.classifiers.windows import STRIDE, WINDOW, split


def tokens_of(count: int) -> Tokens:
    """So many pieces of two characters, each followed by a space."""
    starts = np.arange(count, dtype=np.int64) * 3
    return Tokens(np.full(count, 7, dtype=np.int64), starts, starts + 2, np.zeros(count, dtype=np.bool_))


@given(st.integers(0, 9_000))
def test_each_piece_and_each_character_is_in_a_window(count):
    length = count * 3 + 5

    windows = list(split(tokens_of(count), length))

    assert windows[0].first == windows[0].start == 0
    assert windows[-1].last == count
    assert windows[-1].end == length
    for before, after in itertools.pairwise(windows):
        assert after.first <= before.last
        assert after.start <= before.end


@given(st.integers(WINDOW + 1, 9_000))
def test_windows_of_a_long_text_are_all_full_and_their_number_is_bounded(count):
    windows = list(split(tokens_of(count), count * 3))

    assert {window.last - window.first for window in windows} == {WINDOW}
    assert len(windows) <= (count - WINDOW) // STRIDE + 2


def test_a_text_that_just_fits_has_one_window():
    assert len(list(split(tokens_of(WINDOW), 400))) == 1
    assert len(list(split(tokens_of(WINDOW + 1), 400))) == 2
