"""Tokens are counted by cl100k_base."""

from __future__ import annotations

import pytest
from mutx_guardrail.normalise.tokens import LONGEST_TOKEN, count_tokens, exceeds


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello world", 2), ("tiktoken is great!", 6), ("antidisestablishmentarianism", 6), ("2 + 2 = 4", 7),
     ("お誕生日おめでとう", 9)],
)  # fmt: skip
def test_counts_are_those_that_openai_publishes(text, tokens):
    assert count_tokens(text) == tokens


@pytest.mark.parametrize("text", ["word " * 50, "é" * 50, " " * 500, "\ud800" * 9, "x" * LONGEST_TOKEN])
def test_a_text_exceeds_one_token_less_than_it_has_and_not_its_own_number(text):
    tokens = count_tokens(text)

    assert exceeds(text, tokens - 1)
    assert not exceeds(text, tokens)
