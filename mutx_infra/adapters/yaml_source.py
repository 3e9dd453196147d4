"""YAML with line numbers, by the rules of YAML 1.2's core schema and nothing clever.

`no`, `on` and `012345678901` stay strings. Anchors, aliases, tags and duplicate keys are refused: a spec is a few
lines, and each of these makes a file mean something else than it seems to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from mutx_infra.errors import SpecError

LARGEST_FILE = 64 * 1024
DEEPEST_NESTING = 16

Location = tuple[str | int, ...]

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STANDARD_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class YamlSource:
    """A parsed file: plain data, and the line of every key and item.

    Attributes:
        lines: line number (from 1) by location, as `("contacts", 0, "email")`.
    """

    path: Path
    data: dict[str, object]
    lines: dict[Location, int]

    def line_of(self, location: Location) -> int:
        """Return the line of a location, or of its nearest known ancestor."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def where(self, location: Location) -> str:
        """Return e.g. `in tenants/acme.yaml, line 7`."""
        return f"in {self.path}, line {self.line_of(location)}"


def read_yaml(path: Path, what: str) -> YamlSource:
    """Read one mapping from a file.

    Raises:
        SpecError: unreadable, too large, not UTF-8, not YAML, or using what is refused; with file and line.
    """
    text = _read(path, what)
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
        _refuse_aliases(text, path)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise _broken(path, line, f"is not YAML: {exc.problem or exc.context}") from exc
    except yaml.YAMLError as exc:
        raise _broken(path, 1, "is not YAML: it holds a character that YAML forbids") from exc
    except RecursionError as exc:
        raise _broken(path, 1, f"is nested more than {DEEPEST_NESTING} deep") from exc
    if len(nodes) > 1:
        raise _broken(path, nodes[1].start_mark.line + 1, "holds more than one document")
    if not nodes or not isinstance(nodes[0], yaml.MappingNode):
        raise _broken(path, 1, "is empty" if not nodes else "is not a mapping of fields to values")
    lines: dict[Location, int] = {}
    data = _value(nodes[0], (), lines, path)
    assert isinstance(data, dict)  # noqa: S101 - a mapping node gives a dict
    return YamlSource(path, data, lines)


def _read(path: Path, what: str) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as exc:
        raise SpecError(
            f"{what} {path} does not exist", code="spec-not-found", remedy="check the path, or make one with `mutx-infra spec init TENANT`"
        ) from exc
    except OSError as exc:
        raise SpecError(
            f"{what} {path} cannot be read: {exc.strerror}", code="spec-unreadable", remedy="name a readable file"
        ) from exc
    if len(raw) > LARGEST_FILE:
        raise _broken(path, 1, f"is larger than {LARGEST_FILE // 1024} KiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _broken(path, raw[: exc.start].count(b"\n") + 1, "is not UTF-8") from exc


def _refuse_aliases(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _broken(path, line, "uses an anchor or alias (& or *)")
        tag = getattr(event, "tag", None)
        if tag:
            raise _broken(path, line, f"uses the tag {tag.replace(_STANDARD_TAG, '!!')}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST_NESTING:
            raise _broken(path, line, f"is nested more than {DEEPEST_NESTING} deep")


def _value(node: yaml.Node, location: Location, lines: dict[Location, int], path: Path) -> object:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(node, location, lines, path))
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*location, index), lines, path) for index, item in enumerate(node.value)]
    return _scalar(str(node.value), plain=node.style is None)


def _pairs(
    node: yaml.MappingNode, location: Location, lines: dict[Location, int], path: Path
) -> Iterator[tuple[str, object]]:
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _broken(path, line, "has a key that is not text")
        name = str(key.value)
        if name in seen:
            raise _broken(path, line, f"says `{name}` twice")
        if name == "<<":
            raise _broken(path, line, "uses a merge key (<<)")
        seen.add(name)
        lines[*location, name] = line
        yield name, _value(value, (*location, name), lines, path)


def _scalar(text: str, *, plain: bool) -> object:
    if not plain:
        return text
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and not text.isdigit() else text


def _broken(path: Path, line: int, problem: str) -> SpecError:
    return SpecError(
        f"{path.name} {problem}",
        code="spec-yaml",
        detail=f"in {path}, line {line}",
        remedy="write plain YAML: fields, values and lists; `mutx-infra spec init` makes an example",
    )
