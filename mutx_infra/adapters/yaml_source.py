"""YAML with line numbers, by the rules of YAML 1.2's core schema and nothing clever.

`no`, `on` and `012345678901` stay text. Anchors, aliases, tags, merge keys and duplicate keys are refused: a
spec is a few lines, and each of these makes a file mean something else than it seems to say. The tree is
built from the parser's events, so that what is refused is refused before it can grow.
"""

from __future__ import annotations

import math
import re
import stat
import unicodedata
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
# No leading zeros: account numbers have them. At most 18 digits: what is longer is no quantity.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*|(0|[1-9][0-9]*)(?=[eE]))([eE][-+]?[0-9]+)?")
_STANDARD_TAG = "tag:yaml.org,2002:"

_REMEDIES = {
    "spec-yaml": 'quote values that hold ": " or " #"; `mutx-infra spec init` makes an example',
    "spec-yaml-alias": "write the value out wherever it is used",
    "spec-yaml-character": "indent with spaces, and take out what an editor does not show",
    "spec-yaml-documents": "keep one tenant in each file, without `---` in the middle",
    "spec-yaml-duplicate": "keep one of the two",
    "spec-yaml-empty": "start with `id:` and `region:`; `mutx-infra spec init` makes an example",
    "spec-yaml-encoding": "save the file as UTF-8",
    "spec-yaml-mapping": "write `field: value` lines; `mutx-infra spec init` makes an example",
    "spec-yaml-nesting": "keep to the fields of a spec; `mutx-infra spec schema` lists them",
    "spec-yaml-size": "keep to the fields of a spec, which fit in a few lines",
    "spec-yaml-tag": "leave the tag out; put a value into quotes to make it text",
}


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
    """Read one mapping from a file; `what` says in messages what the file is.

    Raises:
        SpecError: unreadable, too large, not UTF-8, not YAML, or using what is refused; with file and line.
    """
    text = _read(path, what)
    _refuse_characters(text, path)
    try:
        return _Builder(path, text).source()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        problem = exc.problem or exc.context or "it cannot be parsed"
        raise _broken(path, mark.line + 1 if mark else 1, f"is not YAML: {problem}", "spec-yaml") from exc
    except yaml.YAMLError as exc:
        raise _broken(path, 1, "is not YAML", "spec-yaml") from exc


class _Builder:
    """Turns the events of one file into data, and remembers the line of each."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._events = self._checked(yaml.parse(text, Loader=yaml.BaseLoader))
        self._lines: dict[Location, int] = {(): 1}

    def source(self) -> YamlSource:
        event = next(self._events, None)
        if event is None or (isinstance(event, yaml.ScalarEvent) and _scalar(event) is None):
            raise _broken(self._path, 1, "is empty", "spec-yaml-empty")
        if not isinstance(event, yaml.MappingStartEvent):
            raise self._refused(event, "is not a mapping of fields to values", "spec-yaml-mapping")
        self._lines[()] = _line(event)
        data = dict(self._pairs(()))
        if (more := next(self._events, None)) is not None:
            raise self._refused(more, "holds more than one document", "spec-yaml-documents")
        return YamlSource(self._path, data, self._lines)

    def _checked(self, events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
        """Pass on what data is made of; refuse the rest where it stands."""
        for event in events:
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise self._refused(event, "uses an anchor or alias (& or *)", "spec-yaml-alias")
            if tag := getattr(event, "tag", None):
                shown = tag.replace(_STANDARD_TAG, "!!")
                raise self._refused(event, f"uses the tag {shown}", "spec-yaml-tag")
            if isinstance(event, yaml.ScalarEvent):
                event.value = _joined(event.value)
                if not _is_encodable(event.value):
                    raise self._refused(
                        event, "holds half of a character (an escape in quotes)", "spec-yaml-character"
                    )
            if isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
                yield event

    def _pairs(self, location: Location) -> Iterator[tuple[str, object]]:
        seen: set[str] = set()
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise self._refused(key, "has a key that is not text", "spec-yaml-mapping")
            if key.value == "<<" and key.style is None:
                raise self._refused(key, "uses a merge key (<<)", "spec-yaml-alias")
            if key.value in seen:
                raise self._refused(key, f"says `{key.value}` twice", "spec-yaml-duplicate")
            seen.add(key.value)
            inner = (*location, key.value)
            self._lines[inner] = _line(key)
            yield key.value, self._value(next(self._events), inner)

    def _items(self, location: Location) -> Iterator[object]:
        index = 0
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            inner = (*location, index)
            self._lines[inner] = _line(item)
            yield self._value(item, inner)
            index += 1

    def _value(self, event: yaml.Event, location: Location) -> object:
        if len(location) >= DEEPEST_NESTING:
            raise self._refused(event, f"is nested more than {DEEPEST_NESTING} deep", "spec-yaml-nesting")
        if isinstance(event, yaml.MappingStartEvent):
            return dict(self._pairs(location))
        if isinstance(event, yaml.SequenceStartEvent):
            return list(self._items(location))
        assert isinstance(event, yaml.ScalarEvent)  # noqa: S101 - the parser gives no other event here
        return _scalar(event)

    def _refused(self, event: yaml.Event, problem: str, code: str) -> SpecError:
        return _broken(self._path, _line(event), problem, code)


def _read(path: Path, what: str) -> str:
    try:
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpecError(
                f"{what} {path} is a {'directory' if path.is_dir() else 'device or pipe'}, not a file",
                code="spec-unreadable",
                detail=f"in {path}",
                remedy="name a YAML file, such as tenants/acme.yaml",
            )
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise SpecError(
            f"{what} {path} does not exist",
            code="spec-not-found",
            detail=f"in {path.parent}",
            remedy="check the path, or make one with `mutx-infra spec init TENANT`",
        ) from exc
    except OSError as exc:
        raise SpecError(
            f"{what} {path} cannot be read: {exc.strerror}",
            code="spec-unreadable",
            detail=f"in {path}",
            remedy="make the file readable for you, or name another",
        ) from exc
    if len(raw) > LARGEST_FILE:
        raise _broken(path, 1, f"is larger than {LARGEST_FILE // 1024} KiB", "spec-yaml-size")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _broken(path, raw[: exc.start].count(b"\n") + 1, "is not UTF-8", "spec-yaml-encoding") from exc


def _refuse_characters(text: str, path: Path) -> None:
    """Refuse tabs, control characters, and what YAML takes for a line end but editors do not (U+2028)."""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        for character in line:
            if (
                unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
                or character in "\ufeff\ufffe\uffff"
            ):
                shown = "a tab" if character == "\t" else f"the character U+{ord(character):04X}"
                raise _broken(path, number, f"holds {shown}", "spec-yaml-character")


def _scalar(event: yaml.ScalarEvent) -> object:
    text: str = event.value
    if event.style is not None:
        return text
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _joined(text: str) -> str:
    r"""Make one character of a pair of escapes such as `\ud83e\udd8a`: JSON, which is YAML too, writes them so."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _is_encodable(text: str) -> bool:
    """Say whether the text has no lone surrogate, which a quoted escape can make and nothing can store."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _broken(path: Path, line: int, problem: str, code: str) -> SpecError:
    return SpecError(
        f"{path.name} {problem}", code=code, detail=f"in {path}, line {line}", remedy=_REMEDIES[code]
    )
