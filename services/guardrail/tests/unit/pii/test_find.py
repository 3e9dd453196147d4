"""A policy's kinds and threshold decide what of both parts' findings counts, and overlaps are resolved once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.document import Document
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.pii.find import find_pii, select_pii, wanted_kinds
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.merge import merge
from mutx_guardrail.pii.rule import Candidate
from mutx_guardrail.policy import Pii
from mutx_guardrail.verdict import Finding, Layer, Span
from readings import document_of


class Telling:
    """A detector that finds what it is told to."""

    def __init__(self, layer: Layer, *findings: Finding) -> None:
        self.layer, self._findings = layer, findings

    def judge(self, document: Document) -> Signal:
        return Signal(self.layer, 1.0, self._findings)


class Broken:
    """A detector without its model."""

    layer = Layer.NAMES

    def judge(self, document: Document) -> Signal:
        raise LayerUnavailable(self.layer, "no model")


def finding(
    kind: str, start: int, end: int, confidence: float = 0.9, layer: Layer = Layer.PATTERNS
) -> Finding:
    return Finding(kind, Span(start, end), confidence, layer)


def test_both_parts_are_asked_and_told_in_order():
    structured = Telling(Layer.PATTERNS, finding("EMAIL_ADDRESS", 10, 20))
    names = Telling(Layer.NAMES, finding("PERSON", 0, 5, layer=Layer.NAMES))

    found = find_pii(document_of("x" * 30), structured, names, Pii())

    assert [(f.kind, f.layer) for f in found] == [("PERSON", Layer.NAMES), ("EMAIL_ADDRESS", Layer.PATTERNS)]


def test_a_part_that_cannot_judge_is_not_passed_over():
    with pytest.raises(LayerUnavailable):
        find_pii(document_of("x"), Telling(Layer.PATTERNS), Broken(), Pii())


def test_a_threshold_is_the_least_confidence_that_counts():
    found = select_pii([finding("URL", 0, 5, 0.5), finding("URL", 6, 9, 0.49)], Pii(threshold=0.5))

    assert [f.span for f in found] == [Span(0, 5)]


@pytest.mark.parametrize("kind", ["ORGANIZATION", "DATE_TIME", "NRP"])
def test_what_is_seldom_personal_counts_only_where_it_is_named(kind):
    findings = [finding(kind, 0, 5)]

    assert select_pii(findings, Pii()) == ()
    assert [f.kind for f in select_pii(findings, Pii(kinds=(kind,)))] == [kind]


def test_presidios_names_of_kinds_are_understood():
    assert wanted_kinds(Pii(kinds=("US_PASSPORT", "GPE", "PERSON"))) == {
        Kind.PASSPORT,
        Kind.LOCATION,
        Kind.PERSON,
    }


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match="SHOE_SIZE"):
        wanted_kinds(Pii(kinds=("SHOE_SIZE",)))


def test_a_name_within_an_address_gives_way_to_it():
    address = finding("STREET_ADDRESS", 0, 30, 0.65)
    name = finding("PERSON", 5, 12, 0.85, Layer.NAMES)

    assert [f.kind for f in select_pii([name, address], Pii())] == ["STREET_ADDRESS"]


def test_nothing_that_either_of_two_saw_is_left_in_the_open():
    found = select_pii([finding("PERSON", 0, 10), finding("LOCATION", 6, 15, 0.6)], Pii())

    assert [(f.kind, f.span) for f in found] == [("PERSON", Span(0, 15))]


CANDIDATES = st.builds(
    lambda start, length, confidence: Candidate(start, start + length, Kind.PERSON, confidence, "r"),
    st.integers(0, 60),
    st.integers(1, 20),
    st.sampled_from([0.5, 0.6, 0.9]),
)


@given(st.lists(CANDIDATES, max_size=25))
def test_merged_spans_are_in_order_apart_and_cover_the_same(candidates):
    merged = merge(candidates)

    assert all(one.end <= other.start for one, other in pairwise(merged))
    assert {i for c in merged for i in range(c.start, c.end)} == {
        i for c in candidates for i in range(c.start, c.end)
    }
