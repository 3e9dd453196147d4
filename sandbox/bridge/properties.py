"""How a resource type is described as far as Pulumi sees it: inputs, outputs, and what a change of each means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from mutx_sandbox.bridge.values import Properties, Value


class Kind(Enum):
    """What a property holds, and so how it is checked and compared."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRINGS = "set of strings"
    MAP = "map of strings"
    JSON = "JSON document"
    OBJECT = "object"
    OBJECTS = "list of objects"


ZERO: Mapping[Kind, Value] = {Kind.STRING: "", Kind.INTEGER: 0, Kind.BOOLEAN: False, Kind.STRINGS: []}
"""What an official provider reports for a computed output that the API leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One input property.

    Attributes:
        kind: its type.
        api: dotted member of the create request, "" for the property's own name as the API spells it, None if the
            create call cannot take it (an update sets it afterwards).
        item: JMESPath to it in the described item, "" for the same as `api`, None if the API never gives it back.
        required: a missing value fails `Check`.
        replaces: a change needs a new resource.
        computed: the API chooses when the program says nothing, so that saying nothing is no difference.
        default: what saying nothing means.
        normal: brings values that mean the same to one form (`tcp` and `6`).
        secret: it is one, whether the program says so or not.
        reason: says what is wrong with a known value, None where nothing is.
    """

    kind: Kind = Kind.STRING
    api: str | None = ""
    item: str | None = ""
    required: bool = False
    replaces: bool = False
    computed: bool = False
    default: Value = None
    normal: Callable[[Value], Value] | None = None
    secret: bool = False
    reason: Callable[[Value], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One computed property: a JMESPath into the described item, or a template such as an ARN's."""

    item: str = ""
    template: str = ""
    kind: Kind = Kind.STRING
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One resource type of an official provider, as far as a stand-in knows it.

    Attributes:
        name: the token.
        properties: its inputs.
        outputs: what else it has.
        validate: says what is wrong with checked inputs, by property.
        replaces_also: properties whose change replaces in this combination of old and new only.
        changing: outputs that an update in place changes, so that a preview cannot know them.
        refused: official properties that are refused, each with what to do instead.
    """

    name: str
    properties: Mapping[str, Property]
    outputs: Mapping[str, Output] = field(default_factory=dict)
    validate: Callable[[Properties], list[tuple[str, str]]] | None = None
    replaces_also: Callable[[Properties, Properties], frozenset[str]] | None = None
    changing: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


string = partial(Property, kind=Kind.STRING)
"""Describe a text property."""

integer = partial(Property, kind=Kind.INTEGER)
"""Describe a whole number."""

boolean = partial(Property, kind=Kind.BOOLEAN)
"""Describe a truth value."""

strings = partial(Property, kind=Kind.STRINGS)
"""Describe a set of strings: order means nothing."""

document = partial(Property, kind=Kind.JSON)
"""Describe a JSON document: compared by meaning; a program may pass an object instead of text."""
