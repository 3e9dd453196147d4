"""Vault's policy language, as far as our policies and their lints need it: paths, capabilities, parameters.

What is not understood is refused, never skipped: a lint that overlooks a rule says that there is none.

Source: Vault and OpenBao documentation, "Policies".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

CAPABILITIES = frozenset({"create", "read", "update", "patch", "delete", "list", "scan", "sudo", "deny"})
_TOKEN = re.compile(
    r"""
    \s+ | \#[^\n]* | //[^\n]* | /\*.*?\*/
    | (?P<text>"(?:[^"\\]|\\.)*") | (?P<word>[A-Za-z0-9_.-]+) | (?P<mark>[{}\[\]=,])
    """,
    re.VERBOSE | re.DOTALL,
)


class PolicySyntaxError(ValueError):
    """A policy's text is not understood; the message says where."""


@dataclass(frozen=True, slots=True)
class PathRule:
    """What a policy says about one pattern of paths.

    Attributes:
        path: `+` stands for one segment, a last `*` for any ending.
        allowed: parameters that may be given; empty where the policy does not say.
    """

    path: str
    capabilities: frozenset[str]
    allowed: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()

    def covers(self, path: str) -> bool:
        """Say whether a path falls under the pattern; a template in it stands for one segment.

        So it is in OpenBao, which lets neither slashes nor wildcards in by a template.
        """
        prefix = self.path.endswith("*")
        segments = (self.path[:-1] if prefix else self.path).split("/")
        # `+` takes in an empty segment as well (found by asking a live server).
        parts = ["[^/]*" if is_open(segment) else re.escape(segment) for segment in segments]
        return re.fullmatch("/".join(parts) + (".*" if prefix else ""), path, re.DOTALL) is not None

    def overlaps(self, pattern: str, *, without_templates: bool = False) -> bool:
        """Say whether some path falls under this pattern and under another one.

        Args:
            pattern: as in a policy, without templates.
            without_templates: a template of ours names what is the holder's own, and counts for nothing.
        """
        mine, theirs = self.path.split("/"), pattern.split("/")
        for at, (one, other) in enumerate(zip(mine, theirs, strict=False)):
            if without_templates and is_template(one):
                return False
            ends = at == len(mine) - 1 and one.endswith("*"), at == len(theirs) - 1 and other.endswith("*")
            if any(ends):
                return _may_begin_alike(one, other, ends)
            if not (is_open(one) or is_open(other) or one == other):
                return False
        return len(mine) == len(theirs)


def _may_begin_alike(one: str, other: str, ends: tuple[bool, bool]) -> bool:
    """Compare two segments of which at least one is the last of its pattern and ends in `*`."""
    if is_open(one) or is_open(other):
        return True
    first, second = one.removesuffix("*") if ends[0] else one, other.removesuffix("*") if ends[1] else other
    return (ends[0] and second.startswith(first)) or (ends[1] and first.startswith(second))


def is_open(segment: str) -> bool:
    """Say whether a segment stands for any one."""
    return segment == "+" or is_template(segment)


def is_template(segment: str) -> bool:
    """Say whether a segment of a path is one template and nothing else."""
    return re.fullmatch(r"\{\{[^{}]+\}\}", segment) is not None


def parse_policy(text: str) -> tuple[PathRule, ...]:
    """Read a policy.

    Raises:
        PolicySyntaxError: it holds something else than `path` blocks with capabilities and parameters.
    """
    tokens = _Tokens(text)
    rules = []
    while tokens.peek() is not None:
        tokens.expect("path")
        rules.append(_rule(tokens, tokens.text()))
    return tuple(rules)


class _Tokens:
    def __init__(self, text: str) -> None:
        self._all, self._at = list(_tokens(text)), 0

    def peek(self) -> str | None:
        return self._all[self._at] if self._at < len(self._all) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise PolicySyntaxError("the policy ends in the middle of a rule")
        self._at += 1
        return token

    def expect(self, wanted: str) -> None:
        token = self.take()
        if token != wanted:
            raise PolicySyntaxError(f"{wanted!r} was expected, not {token!r}")

    def text(self) -> str:
        token = self.take()
        if not token.startswith('"'):
            raise PolicySyntaxError(f"a string was expected, not {token!r}")
        if "\\" in token or "\n" in token:
            raise PolicySyntaxError(f"{token!r} holds an escape or a line's end: write what is meant")
        return token[1:-1]


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise PolicySyntaxError(f"{text[at]!r} in line {text.count(chr(10), 0, at) + 1} has no meaning")
        at = found.end()
        if found.lastgroup is not None:
            yield found.group()


def _rule(tokens: _Tokens, path: str) -> PathRule:
    if "+*" in path:
        raise PolicySyntaxError(f"{path}: `+*` is taken by no server")
    tokens.expect("{")
    capabilities: frozenset[str] = frozenset()
    parameters: dict[str, frozenset[str]] = {}
    said = set()
    while (name := tokens.take()) != "}":
        if name in said:
            raise PolicySyntaxError(f"{name!r} stands twice under {path}")
        said.add(name)
        if tokens.peek() == "=":
            tokens.take()
        if name == "capabilities":
            capabilities = frozenset(_strings(tokens))
        elif name in {"allowed_parameters", "denied_parameters"}:
            parameters[name] = frozenset(_keys(tokens))
        elif name == "required_parameters":
            parameters[name] = frozenset(_strings(tokens))
        elif name in {"min_wrapping_ttl", "max_wrapping_ttl"}:
            tokens.take()
        else:
            raise PolicySyntaxError(f"{name!r} under {path} is not known")
    if unknown := capabilities - CAPABILITIES:
        raise PolicySyntaxError(f"{min(unknown)!r} under {path} is no capability")
    return PathRule(
        path,
        capabilities,
        parameters.get("allowed_parameters", frozenset()),
        parameters.get("required_parameters", frozenset()),
    )


def _strings(tokens: _Tokens) -> list[str]:
    tokens.expect("[")
    found = []
    while tokens.peek() != "]":
        found.append(tokens.text())
        if tokens.peek() == ",":
            tokens.take()
    tokens.take()
    return found


def _keys(tokens: _Tokens) -> list[str]:
    tokens.expect("{")
    found = []
    while tokens.peek() != "}":
        found.append(tokens.text())
        tokens.expect("=")
        _skip_value(tokens)
        if tokens.peek() == ",":
            tokens.take()
    tokens.take()
    return found


def _skip_value(tokens: _Tokens) -> None:
    depth = 0
    while True:
        mark = tokens.take()
        depth += (mark in {"[", "{"}) - (mark in {"]", "}"})
        if depth == 0:
            return
