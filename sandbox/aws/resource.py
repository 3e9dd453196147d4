"""How a resource type of AWS is described: its properties, the calls that serve it, where its outputs come from.

A `ResourceType` is data; `lifecycle` interprets it. The few places where Terraform's shape of a resource is not the
API's are functions taking a `Work`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

from mutx_sandbox.bridge.properties import Described
from mutx_sandbox.bridge.values import Properties, Value


@dataclass(frozen=True, slots=True)
class Call:
    """One API call as data: parameters are a template over inputs, outputs, `$id`, `$region` and `$account`.

    Attributes:
        operation: the API's name.
        parameters: request template.
        settled_by: codes that mean "done already" when the answer to an earlier try was lost.
    """

    operation: str
    parameters: Mapping[str, Value]
    settled_by: frozenset[str] = frozenset()


Step: TypeAlias = "Call | Callable[[Work], None]"


@dataclass(frozen=True, slots=True)
class Update:
    """How a change of some properties reaches AWS, after creation as well as later."""

    properties: frozenset[str]
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """How a resource is made.

    Attributes:
        operation: the API's name, or a function that makes the call and returns its response.
        request: adds to, or rewrites, the request made from the properties.
        item: JMESPath in the response to what `Describe` would give; "" if the response has nothing of the kind.
        echoes: the inputs and `constants` say everything, so that nothing needs to be read back.
        constants: item members known after a successful creation, for `echoes`.
        finish: a last step, e.g. revoking what AWS adds on its own.
        repeatable: calling it twice does no harm.
    """

    operation: str | Callable[[Work], Properties]
    request: Callable[[Properties, Properties], Properties] | None = None
    id: str = ""
    item: str = ""
    echoes: bool = False
    constants: Mapping[str, Value] = field(default_factory=dict)
    finish: Step | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """How a resource is read.

    Attributes:
        operation: the API's name.
        by: request template for one known resource.
        items: JMESPath in the response to the list of candidates.
        identity: JMESPath in an item to the id; "" where AWS gives none and `ResourceType.keys` decide.
        among: request template that lists candidates when the id is not known (lost answers); None for `by`.
        gone: JMESPath in an item that is true when it only lingers (`State == 'deleted'`).
        given: JMESPath in an item that is true for what AWS made by itself (a VPC's main route table).
        search: lists candidates where no single request can; in place of `among`.
    """

    operation: str
    by: Mapping[str, Value]
    items: str
    identity: str = ""
    among: Mapping[str, Value] | None = None
    gone: str = ""
    given: str = ""
    search: Callable[[Work], list[Properties]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What must become true before an operation counts as done.

    Attributes:
        path: JMESPath in the item.
        until: the value waited for.
        failed: values that end the waiting with an error.
    """

    path: str
    until: str
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging:
    """How tags are written and read.

    Attributes:
        put: puts the tags in the create request; None where only `add` can.
        add: sets some tags of an existing resource.
        remove: removes tags by key.
        read: JMESPath in the item to the tags, a map or a list of keys and values.
    """

    put: Callable[[Properties, Mapping[str, str]], None] | None
    add: Callable[[Work, Mapping[str, str]], None]
    remove: Callable[[Work, list[str]], None]
    read: str = "Tags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a resource without a name gets one: from the logical name, a separator and seven hex digits."""

    property: str = "name"
    longest: int = 255
    prefix: str = "namePrefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType(Described):
    """One resource type of the official provider, as far as this stand-in knows it."""

    service: str
    create: Create
    describe: Describe
    updates: tuple[Update, ...] = ()
    delete: tuple[Step, ...] = ()
    tagging: Tagging | None = None
    naming: Naming | None = None
    keys: tuple[str, ...] = ()
    """Properties that find the resource under its parent where AWS gives it no id."""
    make_id: Callable[[Properties], str] | None = None
    """Makes the id of a resource that AWS gives none."""
    parse_import: Callable[[str], Properties] | None = None
    """Reads the official import id; without it the id alone is enough. ValueError tells the right form."""
    extend: Callable[[Work, Properties, bool], Properties] | None = None
    """Adds what needs calls of its own to a described item; the flag says that it was created just now."""
    ready: Wait | None = None
    deleted: Wait | None = None
    unique_by: tuple[str, ...] = ()
    """Properties that no two resources may share: a replacement that keeps them must delete the old one first."""
    delete_timeout_s: float = 300.0
    regional: bool = True
