"""A policy is read strictly, and says what is wrong and where."""

from __future__ import annotations

import os

import pytest
from mutx_guardrail.policy import Policy, PolicyError, parse_policy, read_policy

ALLOW = (
    "{id: a, check: pii_detection, text: x, owner: ann, reason: 'because of the form', expires: 2027-01-01}"
)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("version: 2", "version"),
        ("version: 1\ninputs: {}", "inputs"),
        ("version: 1\ninput: {pii_detection: {action: truncate}}", "input.pii_detection.action"),
        ("version: 1\ninput: {length: {max_tokens: 0}}", "input.length.max_tokens"),
        ("version: 1\noutput: {sink: {kind: yaml}}", "output.sink.kind"),
        ("version: 1\nagents: {a: {purposes: x}}", "agents.a.purposes"),
        ("version: 1\nanomaly: {error_fraction: 1.0}", "anomaly.error_fraction"),
        ("version: 1\nlayers: [patterns]", "needs normalise"),
        ("version: 1\nlayers: [normalise, patterns, anomaly]", "anomaly cannot be chosen"),
        (f"version: 1\nallow: [{ALLOW.replace('owner: ann, ', '')}]", "allow.0.owner"),
        (f"version: 1\nallow: [{ALLOW.replace(', expires: 2027-01-01', '')}]", "allow.0.expires"),
        ("version: 1\ninput: {pii_detection: {kinds: [SHOE_SIZE]}}", "SHOE_SIZE"),
        ("- a list", "no mapping"),
        ("a: [", "no YAML"),
        ("[" * 3_000, "no YAML"),
        ("- " * 100_000, "no YAML"),
        ("version: 1\nrevision: 2026-99-99", "no YAML"),
        ("version: 1\ninput: {length: {action: block}}\ninput: {}", "line 1: holds a name twice"),
        ("version: 1\nagents:\n  a: {}\n  a: {}", "line 3: holds a name twice"),
    ],
)
def test_what_is_wrong_is_named(text, where):
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, "policy.yaml")

    assert where in str(raised.value)
    assert raised.value.remedy


def test_two_policies_that_differ_have_two_digests():
    one, other = parse_policy("version: 1"), parse_policy("{version: 1, input: {length: {max_tokens: 9}}}")

    assert one.digest == Policy().digest != other.digest


def test_a_name_of_a_merged_mapping_may_stand_again():
    text = "version: 1\nagents: {a: &a {purpose: x}, b: {<<: *a, purpose: y}}"

    assert parse_policy(text).purpose_of("b") == "y"


def test_a_pipe_is_no_policy_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "policy.yaml")

    with pytest.raises(PolicyError, match="is no file"):
        read_policy(tmp_path / "policy.yaml")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"# x\n" * 400_000])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "policy.yaml"
    path.write_bytes(content)

    with pytest.raises(PolicyError, match=r"policy\.yaml"):
        read_policy(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")
