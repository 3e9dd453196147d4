"""N-grams and measures of style, for any text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.classifiers.features import BUCKETS, STYLES, ngrams, styles

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


@given(ANY_TEXT)
def test_ngrams_are_in_range_and_weigh_the_same_for_any_length(text):
    buckets, weights = ngrams(text)

    assert len(buckets) == len(weights)
    assert ((buckets >= 0) & (buckets < BUCKETS)).all()
    assert float((weights.astype(float) ** 2).sum()) <= 2 + 1e-4


@given(ANY_TEXT, st.lists(st.tuples(st.integers(0, 30_521), st.booleans()), max_size=50))
def test_style_is_finite_and_between_nought_and_a_few(text, pieces):
    ids = np.array([number for number, _ in pieces], dtype=np.int64)
    inner = np.array([flag for _, flag in pieces], dtype=np.bool_)

    found = styles(text, ids, inner)

    assert found.shape == (len(STYLES),)
    assert np.isfinite(found).all()


def test_ngrams_do_not_depend_on_case_or_on_how_words_are_spaced():
    first, second = ngrams("Ignore ALL  rules\n"), ngrams("ignore all rules")

    assert np.array_equal(first[0], second[0])


@pytest.mark.parametrize(
    ("one", "other"), [("abc", "acb"), ("no rules", "rules no")], ids=["letters", "words"]
)
def test_ngrams_depend_on_order(one, other):
    assert not np.array_equal(ngrams(one)[0], ngrams(other)[0])
