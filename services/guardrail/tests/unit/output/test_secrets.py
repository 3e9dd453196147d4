"""Every example of the pack is found or left as it says; secrets are found in decoded readings too."""

from __future__ import annotations

import base64

import pytest
from growth import processor_s
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.output.secrets import SecretDetector, expand_example, secret_detector
from readings import document_of, normalised

DETECTOR = secret_detector()
MATCHES = [(rule.id, rule.kind, text) for rule in DETECTOR.rules for text in rule.matches]
REJECTS = [(rule.id, text) for rule in DETECTOR.rules for text in rule.rejects]
KEY = expand_example("ghp_<aB3*12>")


@pytest.mark.parametrize(
    ("rule", "kind", "text"), MATCHES, ids=[f"{r}-{i}" for i, (r, _, _) in enumerate(MATCHES)]
)
def test_an_example_that_must_match_is_found_under_its_kind(rule, kind, text):
    assert kind in {finding.kind for finding in DETECTOR.judge(document_of(text)).findings}


@pytest.mark.parametrize(("rule", "text"), REJECTS, ids=[f"{r}-{i}" for i, (r, _) in enumerate(REJECTS)])
def test_an_example_that_must_not_match_is_left_by_its_rule(rule, text):
    only = SecretDetector([each for each in DETECTOR.rules if each.id == rule])

    assert only.judge(document_of(text)).findings == ()


@pytest.mark.parametrize("rule", DETECTOR.rules, ids=[rule.id for rule in DETECTOR.rules])
def test_a_rule_has_both_sorts_of_examples_and_says_where_its_form_comes_from(rule):
    assert rule.matches
    assert rule.rejects
    assert rule.reference
    assert 0 < rule.confidence <= 1


def test_ids_are_each_rules_own():
    ids = [rule.id for rule in DETECTOR.rules]

    assert len(ids) == len(set(ids))


def test_the_whole_block_of_a_private_key_is_the_span():
    body = "\n".join(["Aa1+" * 16] * 3)
    block = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
    text = f"here:\n{block}\nthanks"

    (finding,) = DETECTOR.judge(document_of(text)).findings

    assert text[finding.span.start : finding.span.end] == block


def test_a_key_in_base64_is_found_over_the_whole_encoded_piece():
    encoded = base64.b64encode(KEY.encode()).decode()

    (finding,) = DETECTOR.judge(document_of(encoded, KEY)).findings

    assert (finding.kind, finding.view) == ("GITHUB_TOKEN", "base64>plain")
    assert (finding.span.start, finding.span.end) == (0, len(encoded))


def test_a_key_with_invisible_characters_within_is_found():
    text = f"t={KEY[:8]}\u200b{KEY[8:]}"

    (finding,) = DETECTOR.judge(normalised(text)).findings

    assert (finding.span.start, finding.span.end) == (2, len(text))


def test_findings_that_overlap_are_one_and_the_surest():
    text = f"api_key={KEY}"

    (finding,) = DETECTOR.judge(document_of(text)).findings

    assert finding.kind == "GITHUB_TOKEN"


def test_the_score_is_the_surest_finding_and_nought_without_one():
    assert DETECTOR.judge(document_of("no secret here")).score == 0.0
    assert DETECTOR.judge(document_of(KEY)).score == 0.95


BENIGN = [
    "Set the password in the settings page and press Save.",
    "The API key: see the vendor's console.",
    "def login(password: str, token: str | None = None) -> None: ...",
    "git commit 3f785b5c1d2e4a6b8c9d0e1f2a3b4c5d6e7f8091",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "123e4567-e89b-12d3-a456-426614174000",
    "https://example.com/a/b?c=d&e=f#g",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    "Your token count is 1024; the max_tokens: 4096 setting applies.",
    "import { secretKey } from './config.js'",
    "password_hash = bcrypt.hashpw(raw, salt)",
    "The key = value pairs are sorted",
    "password: <PASSWORD_1> and token: [REDACTED]",
]


@pytest.mark.parametrize("text", BENIGN, ids=[text[:30] for text in BENIGN])
def test_text_about_secrets_is_no_secret(text):
    assert DETECTOR.judge(document_of(text)).findings == ()


PIECES = st.sampled_from([KEY, "password=", "://u:", "@", "eyJ", "-----BEGIN PRIVATE KEY-----", "\n", "é"])


@given(st.lists(st.one_of(PIECES, st.text(max_size=20))).map("".join))
@settings(deadline=None)
def test_spans_are_within_any_text_and_apart(text):
    findings = DETECTOR.judge(document_of(text)).findings

    assert all(0 <= f.span.start < f.span.end <= len(text) for f in findings)
    assert all(not a.span.overlaps(b.span) for a in findings for b in findings if a is not b)


@pytest.mark.parametrize(
    "piece",
    [
        "-----BEGIN PRIVATE KEY-----\n",
        "eyJh.",
        "password=",
        "https://a:b@",
        "sk-",
        "token token ",
        "a.b.",
        "Q~",
    ],
)
def test_time_grows_no_faster_than_the_text(piece):
    short, long = piece * (20_000 // len(piece)), piece * (160_000 // len(piece))

    ratio = _seconds(long) / max(_seconds(short), 0.02)

    assert ratio < 32


def _seconds(text: str) -> float:
    return processor_s(lambda: DETECTOR.judge(document_of(text)))
