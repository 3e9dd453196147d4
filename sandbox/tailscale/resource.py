"""How a resource type of Tailscale is described: its properties and the calls that serve it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mutx_sandbox.bridge.properties import Described, Property
from mutx_sandbox.bridge.values import Properties, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the API v2, below `/api/v2/`.

    Attributes:
        method: of HTTP.
        path: with `$tailnet`, `$id` and the names of properties as places to fill.
        title: what its failure is called, in the vendor's words.
        sends: the properties in its body; None for all that the API takes.
        changed_only: sends of these only what differs.
        constants: further members of its body.
        headers: further headers, by the inputs.
        refusals: what a status means here, where the API's own message would not help.
        unless: says that nothing is to be done, by the state.
        is_repeatable: calling it twice does no harm.
    """

    method: str
    path: str
    title: str
    sends: frozenset[str] | None = None
    changed_only: bool = False
    constants: Mapping[str, Value] = field(default_factory=dict)
    headers: Callable[[Properties], Mapping[str, str]] | None = None
    refusals: Mapping[int, str] = field(default_factory=dict)
    unless: Callable[[Properties], bool] | None = None
    is_repeatable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How a resource is found whose creation went unanswered.

    Attributes:
        call: lists what there is.
        items: the answer's member with the list.
        identity: an item's member with the id.
        renew: answers with what is told at creation only, made anew.
    """

    call: Call
    items: str
    identity: str
    renew: Call | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType(Described):
    """One resource type of the official provider.

    Attributes:
        create: makes it; where the tailnet always has one, changes it.
        read: describes it; None where the API tells nothing of it later.
        update: changes it in place.
        delete: removes it; None where Pulumi only forgets it.
        identity: member of the answer to `create`, or property, that is the id; "" for a random one.
        is_told: the answer to `create` and `update` describes the resource.
        reads_back: what a creation or update led to is read.
        may_vanish: absence means that it is gone; else it is an error, as the tailnet itself is not there.
        document: the property that is the whole body, as HuJSON.
        leaves_out: values that say nothing are not sent.
        verify: checks the inputs by asking the API.
        listing: finds it after a creation whose answer was lost.
    """

    create: Call
    read: Call | None = None
    update: Call | None = None
    delete: Call | None = None
    identity: str = ""
    is_told: bool = False
    reads_back: bool = False
    may_vanish: bool = False
    document: str = ""
    leaves_out: bool = False
    verify: Call | None = None
    listing: Listing | None = None

    def wanted(self, inputs: Properties) -> Properties:
        """Return inputs and what saying nothing means."""
        said = {name: value for name, value in inputs.items() if not name.startswith("__")}
        defaults = {
            name: described.default
            for name, described in self.properties.items()
            if described.default is not None
        }
        return {**defaults, **said}

    @property
    def secrets(self) -> frozenset[str]:
        """Names of what is secret, whether the program says so or not."""
        described: dict[str, Property] = dict(self.properties)
        inputs = {name for name, each in described.items() if each.secret}
        return frozenset(inputs | {name for name, each in self.outputs.items() if each.secret})


def member(name: str, described: Property) -> str:
    """Return what the API calls a property."""
    return described.api or name
