"""Whether an answer of the Vault's is what the manifest says: every field, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mutx_vault_verify.document import shown

_FREE = r"[A-Za-z0-9.:\[\]-]+"


def fill(expected: object, marks: Mapping[str, str]) -> Any:  # noqa: ANN401 - as the manifest has it
    """Return an expectation with `{name}` replaced by what it stands for."""
    if isinstance(expected, str):
        for name, value in marks.items():
            expected = expected.replace(f"{{{name}}}", value)
        return expected
    if isinstance(expected, list):
        return [fill(each, marks) for each in expected]
    if isinstance(expected, dict):
        return {fill(name, marks): fill(each, marks) for name, each in expected.items()}
    return expected


def differences(expected: object, found: object, at: str = "") -> Iterator[str]:
    """Yield each place where an answer is not as expected, in words; nothing where it is."""
    if isinstance(expected, dict) and len(expected) == 1 and next(iter(expected)) in _MARKS:
        (mark, argument), *_ = expected.items()
        yield from _MARKS[mark](argument, found, at)
    elif isinstance(expected, dict) and isinstance(found, dict):
        yield from _fields(expected, found, at)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, f"{at}[{index}]")
    elif not _is_same(expected, found):
        yield _said(at, f"is {shown(found)}, not {shown(expected)}")


def _fields(expected: Mapping[str, Any], found: Mapping[str, Any], at: str) -> Iterator[str]:
    """Yield the differences of two objects; an expected `?name` may be missing."""
    known = {name.removeprefix("?"): each for name, each in expected.items()}
    for name in sorted(known.keys() | found.keys(), key=str):
        place = f"{at}.{shown(name)}" if at else shown(name)
        if name not in found:
            if f"?{name}" not in expected:
                yield _said(place, "is missing")
        elif name not in known:
            yield _said(place, f"is {shown(found[name])}, and should not be there")
        else:
            yield from differences(known[name], found[name], place)


def _is_same(expected: object, found: object) -> bool:
    if isinstance(expected, str) and isinstance(found, str) and "{*}" in expected:
        pattern = _FREE.join(re.escape(part) for part in expected.split("{*}"))
        return re.fullmatch(pattern, found) is not None
    # In Python, `True == 1`; in JSON it is not.
    return type(expected) is type(found) and bool(expected == found)


def _said(at: str, what: str) -> str:
    return f"{at} {what}" if at else what


def _anything(_argument: object, _found: object, _at: str) -> Iterator[str]:
    return iter(())


def _nothing(_argument: object, found: object, at: str) -> Iterator[str]:
    if found not in (None, "", [], {}):
        yield _said(at, f"is {shown(found)}, and should be empty")


def _between(argument: tuple[int, int], found: object, at: str) -> Iterator[str]:
    lowest, highest = argument
    if not isinstance(found, int) or isinstance(found, bool) or not lowest <= found <= highest:
        yield _said(at, f"is {shown(found)}, not {lowest} to {highest}")


def _one_of(argument: list[object], found: object, at: str) -> Iterator[str]:
    if not any(_is_same(each, found) for each in argument):
        yield _said(at, f"is {shown(found)}, not one of {shown(argument)}")


def _words(argument: Mapping[str, list[str]], found: object, at: str) -> Iterator[str]:
    words = {word.strip() for word in found.split(",")} if isinstance(found, str) else None
    if words is None or words & set(argument["never"]):
        yield _said(at, f"is {shown(found)}, and should name none of {shown(argument['never'])}")


_MARKS: Mapping[str, Callable[[Any, object, str], Iterator[str]]] = {
    "{any}": _anything,
    "{empty}": _nothing,
    "{between}": _between,
    "{one of}": _one_of,
    "{words}": _words,
}
