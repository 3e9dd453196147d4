"""The policy language as we read it: what is not understood is refused."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.vault.policy import CAPABILITIES, PathRule, PolicySyntaxError, parse_policy

names = st.text(alphabet=string.ascii_lowercase + "/+-_", min_size=1, max_size=12).filter(
    lambda name: "+*" not in name
)
capabilities = st.frozensets(st.sampled_from(sorted(CAPABILITIES)), min_size=1)
parameters = st.frozensets(st.text(alphabet=string.ascii_lowercase + "_", min_size=1, max_size=8), max_size=3)


def _written(path: str, able: frozenset[str], allowed: frozenset[str], required: frozenset[str]) -> str:
    lines = [f"capabilities = {json.dumps(sorted(able))}"]
    if allowed:
        lines.append(
            f"allowed_parameters = {{ {', '.join(f'{json.dumps(name)} = []' for name in sorted(allowed))} }}"
        )
    if required:
        lines.append(f"required_parameters = {json.dumps(sorted(required))}")
    return f'path "{path}" {{\n' + "\n".join(lines) + "\n}\n"


@given(path=names, able=capabilities, allowed=parameters, required=parameters)
def test_what_was_written_is_read(
    path: str, able: frozenset[str], allowed: frozenset[str], required: frozenset[str]
) -> None:
    assert parse_policy(_written(path, able, allowed, required)) == (PathRule(path, able, allowed, required),)


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused_and_never_anything_else(text: str) -> None:
    try:
        rules = parse_policy(text)
    except PolicySyntaxError:
        return
    assert all(rule.capabilities <= CAPABILITIES for rule in rules)


@given(
    text=st.lists(
        st.sampled_from(["path", '"a"', "{", "}", "[", "]", "=", ",", "capabilities", '"read"']), max_size=14
    )
)
def test_no_word_of_a_rule_is_passed_over(text: list[str]) -> None:
    """As many paths are found as are spoken of: a rule that is not seen would be a rule that is not looked at."""
    try:
        rules = parse_policy(" ".join(text))
    except PolicySyntaxError:
        return
    assert len(rules) == text.count("path")


@given(data=st.data(), text=st.sampled_from(sorted(policy_texts().values())))
def test_our_policies_with_a_piece_cut_out_lose_no_rule_unnoticed(data: st.DataObject, text: str) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    cut = text[:start] + text[end:]
    try:
        rules = parse_policy(cut)
    except PolicySyntaxError:
        return
    code = "\n".join(line.partition("#")[0] for line in cut.splitlines())
    assert len(rules) == sum(line.lstrip().startswith("path ") for line in code.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        'path "a" {',
        'path "a" { capabilities = ["read"]',
        'path "a" { capabilities = "read" }',
        'path "a" { capabilities = [read] }',
        'path "a" { capabilities = ["reed"] }',
        'path "a" { policy = "write" }',
        'path "a" { capabilities = ["read"] capabilities = ["sudo"] }',
        'path "a" { control_group = { ttl = "4h" } }',
        'path a { capabilities = ["read"] }',
        'path "a\\u002a" { capabilities = ["read"] }',
        'path "a\nb" { capabilities = ["read"] }',
        'path "a/+*" { capabilities = ["read"] }',
        'path "a" { capabilities = ["read"] } }',
        '{"path": {"a": {"capabilities": ["read"]}}}',
        'paths "a" { capabilities = ["read"] }',
        'path <<EOF\na\nEOF\n{ capabilities = ["read"] }',
        '/* open path "a" { capabilities = ["read"] }',
    ],
    ids=[
        "no end", "no brace", "no list", "bare word", "unknown capability", "old style", "twice", "control group",
        "bare path", "escape", "line's end", "wildcards together", "brace too many", "JSON", "unknown word", "heredoc",
        "open comment",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(PolicySyntaxError):
        parse_policy(text)


def test_the_message_says_where() -> None:
    with pytest.raises(PolicySyntaxError, match="line 3"):
        parse_policy('path "a" {\n  capabilities = ["read"]\n} ; \n')


@pytest.mark.parametrize(
    ("pattern", "path", "is_covered"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/b+", "a/bc", False),
        ("a/*", "a/b/c", True),
        ("a/b*", "a/bc/d", True),
        ("a*b", "axb", False),
        ("role/+", "role/agent-1/secret-id", False),
        ("role/*", "role/agent-1/secret-id", True),
        ("keys/{{identity.entity.metadata.agent_id}}/*", "keys/agent-1/openai", True),
        ("keys/{{identity.entity.metadata.agent_id}}/*", "keys/agent-1", False),
        ("keys/x{{identity.entity.id}}/*", "keys/x1/openai", False),
    ],
)  # fmt: skip
def test_a_pattern_covers(pattern: str, path: str, is_covered: bool) -> None:
    assert PathRule(pattern, frozenset({"read"})).covers(path) is is_covered


paths = st.lists(st.sampled_from(["a", "b", "ab", "abc"]), min_size=1, max_size=5)


@st.composite
def patterns_of(draw: st.DrawFn, path: list[str]) -> str:
    """Draw a pattern that takes a path in."""
    kept = [draw(st.sampled_from([segment, "+", "{{identity.entity.id}}"])) for segment in path]
    if draw(st.booleans()):
        return "/".join(kept)
    at = draw(st.integers(0, len(path) - 1))
    return "/".join([*kept[:at], path[at][: draw(st.integers(0, len(path[at])))] + "*"])


@given(data=st.data(), path=paths)
def test_patterns_that_take_in_the_same_path_overlap(data: st.DataObject, path: list[str]) -> None:
    one, other = data.draw(patterns_of(path)), data.draw(patterns_of(path))
    first, second = (PathRule(pattern, frozenset({"read"})) for pattern in (one, other))

    assert first.covers("/".join(path))
    assert first.overlaps(other)
    assert second.overlaps(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/b", "a/c"), ("a/b", "a/b/c"), ("a/+", "a/b/c"), ("a/b/*", "a/c/*"), ("a/b/*", "a/b"), ("ab*", "b*"),
     ("a/+/c", "a/b/d")],
)  # fmt: skip
def test_patterns_without_a_path_in_common_do_not_overlap(one: str, other: str) -> None:
    assert not PathRule(one, frozenset({"read"})).overlaps(other)
    assert not PathRule(other, frozenset({"read"})).overlaps(one)


def test_a_template_is_somebody_s_own_and_not_everybody_s() -> None:
    rule = PathRule("keys/{{identity.entity.metadata.agent_id}}/*", frozenset({"read"}))

    assert rule.overlaps("keys/agent-1/openai")
    assert not rule.overlaps("keys/*", without_templates=True)
