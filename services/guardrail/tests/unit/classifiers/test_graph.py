"""Cutting a graph short gives the inner values that the whole graph computes."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.classifiers.encoder import Encoder, model_file, session_options, tokenizer_file
from mutx_guardrail.classifiers.graph import cut


@pytest.fixture(scope="module")
def model() -> bytes:
    return model_file().read_bytes()


def test_a_layer_is_the_same_whether_or_not_the_layers_above_it_are_there(model):
    tokenizer = tokenizer_file().read_bytes()
    low, both = Encoder(model, tokenizer, (4,)), Encoder(model, tokenizer, (4, 6))
    ids = low.tokens("the quick brown fox").ids

    alone, beside = low.hidden(ids), both.hidden(ids)

    assert alone.shape == (len(ids) + 2, 384)
    assert np.allclose(alone, beside[:, :384], atol=1e-5)


def test_the_last_layer_is_what_the_untouched_graph_gives(model):
    encoder = Encoder(model, tokenizer_file().read_bytes(), (6,))
    ids = encoder.tokens("the quick brown fox").ids
    whole = np.concatenate([[101], ids, [102]])[None, :]
    feeds = {
        "input_ids": whole,
        "attention_mask": np.ones_like(whole),
        "token_type_ids": np.zeros_like(whole),
    }

    untouched = ort.InferenceSession(model, session_options()).run(None, feeds)[0][0]

    assert np.allclose(encoder.hidden(ids), untouched, atol=1e-5)


def test_the_layers_above_go_on_from_where_those_below_were_cut(model):
    tokenizer = tokenizer_file().read_bytes()
    low, whole = Encoder(model, tokenizer, (4,)), Encoder(model, tokenizer, (6,))
    ids = low.tokens("the quick brown fox").ids

    assert np.allclose(low.last(ids), whole.hidden(ids), atol=1e-5)
    assert np.array_equal(whole.last(ids), whole.hidden(ids))


def test_a_value_that_the_graph_lacks_is_refused(model):
    with pytest.raises(ValueError, match="no_such_value"):
        cut(model, ["no_such_value"])


@given(st.binary(max_size=200))
def test_bytes_that_are_no_model_are_refused_or_have_no_graph(content):
    try:
        found = cut(content, ["x"])
    except ValueError:
        return

    assert len(found) <= len(content)
