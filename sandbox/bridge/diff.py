"""What differs between the state and what the program wants, property by property, as official providers say it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mutx_sandbox.bridge.properties import Described, Kind, Property
from mutx_sandbox.bridge.values import Properties, Value, canonical, has_unknown, is_empty

_SIMPLE_KEY = re.compile(r"^[A-Za-z_$][A-Za-z0-9_$]*$")
_PATH_PART = re.compile(r'\[(?:"((?:[^"\\]|\\.)*)"|(\d+))\]|([^.\[\]]+)')


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        path: property path, `tags.Name` or `tags["mutx:tenant"]`.
        kind: `ADD`, `DELETE` or `UPDATE`.
        replaces: it needs a new resource.
        from_input: the program's input changed; else the world drifted.
    """

    path: str
    kind: str
    replaces: bool
    from_input: bool

    @property
    def property(self) -> str:
        """The top-level property."""
        return re.split(r"[.\[]", self.path, maxsplit=1)[0]


def changes(
    kind: Described,
    state: Properties,
    old_inputs: Properties,
    news: Properties,
    ignored: Iterable[str] = (),
) -> list[Change]:
    """Compare the state with the new inputs on the properties of the type's table.

    A property that the program does not mention is no difference where the API chooses (`computed`); elsewhere it is
    one as soon as the state holds something, as in Terraform.
    """
    state, news = _without_ignored(state, news, ignored)
    also = kind.replaces_also(state, news) if kind.replaces_also is not None else frozenset()
    found: list[Change] = []
    for name, described in kind.properties.items():
        replaces = described.replaces or name in also
        found += _compare(
            name, described, (state.get(name), old_inputs.get(name), news.get(name)), replaces=replaces
        )
    return found


def same(described: Property, one: Value, other: Value) -> bool:
    """Say whether two values of a property mean the same: sets without order, JSON by content, empty as absent."""
    if is_empty(one) and is_empty(other):
        return True
    if one is None or other is None:
        return False
    if described.normal is not None:
        one, other = described.normal(one), described.normal(other)
    if described.kind is Kind.JSON:
        return _document(one) == _document(other)
    if described.kind is Kind.OBJECT and described.computed:
        return _agree(one, other)
    return canonical(one) == canonical(other)


def _compare(
    name: str, described: Property, values: tuple[Value, Value, Value], *, replaces: bool
) -> Iterator[Change]:
    have, said, want = values
    if want is None and (described.computed or (described.item is None and said is None)):
        return
    if not has_unknown(want) and same(described, have, want):
        return
    from_input = has_unknown(want) or not same(described, said, want)
    if described.kind is Kind.MAP and isinstance(want, dict | None) and isinstance(have, dict | None):
        yield from _compare_maps(name, have or {}, want or {}, replaces=replaces, from_input=from_input)
        return
    yield Change(name, _kind(have, want), replaces, from_input)


def _compare_maps(
    name: str, have: Properties, want: Properties, *, replaces: bool, from_input: bool
) -> Iterator[Change]:
    for key in sorted(set(have) | set(want)):
        if have.get(key) != want.get(key):
            path = f"{name}.{key}" if _SIMPLE_KEY.match(key) else f'{name}["{key}"]'
            yield Change(path, _kind(have.get(key), want.get(key)), replaces, from_input)


def _kind(have: Value, want: Value) -> str:
    if is_empty(have) and not is_empty(want):
        return "ADD"
    return "DELETE" if is_empty(want) and want is None else "UPDATE"


def _without_ignored(
    state: Properties, news: Properties, ignored: Iterable[str]
) -> tuple[Properties, Properties]:
    """Give ignored paths of the new inputs the value that the state has."""
    news = dict(news)
    for path in ignored:
        parts = [match[1] or match[2] or match[3] for match in _PATH_PART.finditer(path)]
        if not parts:
            continue
        news = _copied(state, news, parts)
    return state, news


def _copied(source: Value, target: Value, parts: list[str]) -> Value:
    head, *rest = parts
    if not isinstance(target, dict) or not isinstance(source, dict | None):
        return target
    source = source or {}
    target = dict(target)
    if head == "*":
        for key in set(source) | set(target):
            target = _copied(source, target, [key, *rest])
        return target
    if rest:
        target[head] = _copied(source.get(head), target.get(head) or {}, rest)
    elif head in source:
        target[head] = source[head]
    else:
        target.pop(head, None)
    return target


def _agree(one: Properties, other: Properties) -> bool:
    """Say whether two objects agree in every member that both name: an API adds the members that it chose."""
    shared = set(one) & set(other)
    return bool(shared) and all(canonical(one[name]) == canonical(other[name]) for name in shared)


def _document(value: Value) -> str:
    try:
        return canonical(json.loads(value))
    except (TypeError, ValueError):
        return str(value)
