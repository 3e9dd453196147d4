"""Texts in a JSON document, named by JSON pointer (RFC 6901); `*` stands for every item of an array or object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mutx_guardrail_client.strict_json import Json

MOST_TEXTS = 1_000
"""Texts of one document."""


class PointerError(ValueError):
    """That is no JSON pointer."""


class TooManyTextsError(Exception):
    """A document has more texts than are judged."""


@dataclass(slots=True)
class Slot:
    """A string of a document, which can be replaced in its place."""

    container: dict[str, Json] | list[Json] = field(repr=False)
    place: str | int
    text: str = field(repr=False)

    def put(self, text: str) -> None:
        """Put another string in its place."""
        if isinstance(self.container, dict):
            self.container[str(self.place)] = text
        else:
            self.container[int(self.place)] = text


@dataclass(frozen=True, slots=True)
class Texts:
    """What a document has at some pointers.

    Attributes:
        slots: every string there and below.
        names: every name below: they can be judged, and not be replaced.
        is_found: whether something is there at all, be it no text.
    """

    slots: tuple[Slot, ...]
    names: tuple[str, ...]
    is_found: bool


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """Return the names that lead to a value; none for the whole document."""
    if not pointer:
        return ()
    if not pointer.startswith("/"):
        raise PointerError(f"{pointer!r} does not begin with a slash")
    return tuple(each.replace("~1", "/").replace("~0", "~") for each in pointer[1:].split("/"))


def texts_at(box: list[Json], pointers: Sequence[tuple[str, ...]]) -> Texts:
    """Return the texts of a document.

    Args:
        box: the document, alone in a list, so that one that is a string can be replaced as well.
        pointers: parsed.

    Raises:
        TooManyTextsError: they are more than `MOST_TEXTS`.
    """
    slots: dict[tuple[int, str | int], Slot] = {}
    names: list[str] = []
    is_found = False
    for pointer in pointers:
        for container, place in _follow(box, 0, pointer):
            is_found = True
            for found in _below(container, place):
                if isinstance(found, Slot):
                    slots.setdefault((id(found.container), found.place), found)
                else:
                    names.append(found)
                if len(slots) + len(names) > MOST_TEXTS:
                    raise TooManyTextsError
    return Texts(tuple(slots.values()), tuple(names), is_found)


Container = dict[str, Json] | list[Json]


def _follow(
    container: Container, place: str | int, rest: tuple[str, ...]
) -> Iterator[tuple[Container, str | int]]:
    """Yield where the values are that a pointer leads to."""
    if not rest:
        yield container, place
        return
    value = _value(container, place)
    if not isinstance(value, dict | list):
        return
    for name in _places(value, rest[0]):
        yield from _follow(value, name, rest[1:])


def _places(value: Container, name: str) -> list[str | int]:
    if name == "*":
        return list(value) if isinstance(value, dict) else list(range(len(value)))
    if isinstance(value, dict):
        return [name] if name in value else []
    return [int(name)] if name.isascii() and name.isdigit() and int(name[:9]) < len(value) else []


def _below(container: Container, place: str | int) -> Iterator[Slot | str]:
    """Yield every string and every name of a value, however deep; without recursion."""
    waiting: list[tuple[Container, str | int]] = [(container, place)]
    while waiting:
        holder, at = waiting.pop()
        value = _value(holder, at)
        if isinstance(value, str):
            yield Slot(holder, at, value)
        elif isinstance(value, dict):
            yield from value
            waiting += [(value, name) for name in value]
        elif isinstance(value, list):
            waiting += [(value, index) for index in range(len(value))]


def _value(container: Container, place: str | int) -> Json:
    return container[str(place)] if isinstance(container, dict) else container[int(place)]
