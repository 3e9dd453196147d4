"""Interprets a `ResourceType`: verify, create, read, update and delete."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from mutx_sandbox.bridge.check import Failure
from mutx_sandbox.bridge.coercion import coerce
from mutx_sandbox.bridge.diff import same
from mutx_sandbox.bridge.failures import OperationError
from mutx_sandbox.bridge.patience import Patience
from mutx_sandbox.bridge.properties import ZERO, Kind
from mutx_sandbox.bridge.values import Properties, Value, is_empty
from mutx_sandbox.tailscale.api import NOT_FOUND, ApiError, Request, UnansweredError, as_object, message_of
from mutx_sandbox.tailscale.resource import Call, Listing, ResourceType, member
from mutx_sandbox.tailscale.sessions import Session

logger = logging.getLogger(__name__)

_TRIES = 4
_PLACE = re.compile(r"\$(\w+)")
_HUJSON = "application/hujson"


@dataclass(slots=True)
class Work:
    """One operation on one resource.

    Attributes:
        inputs: what the program wants, what saying nothing means included.
        state: what is known from before.
        id: the resource's id, "" while it has none.
    """

    type: ResourceType
    session: Session
    patience: Patience
    inputs: Properties = field(default_factory=dict)
    state: Properties = field(default_factory=dict)
    id: str = ""

    def do(self, call: Call, changed: Iterable[str] = ()) -> str:
        """Make one of the type's calls and return the text of its answer."""
        request = Request(
            call.method,
            self._path(call.path),
            call.title,
            self._body(call, frozenset(changed)),
            dict(call.headers(self.inputs)) if call.headers is not None else {},
            _HUJSON if self.type.document and call.method == "GET" else "application/json",
            call.is_repeatable,
        )
        try:
            return self.session.api.ask(request, self.patience)
        except ApiError as exc:
            if (meant := call.refusals.get(exc.status)) is None:
                raise
            if exc.is_again and self._is_done():
                return ""
            raise OperationError(meant) from exc

    def _path(self, template: str) -> str:
        known = {"tailnet": self.session.api.tailnet, "id": self.id}
        return _PLACE.sub(lambda match: quote(known[match[1]], safe=""), template)

    def _body(self, call: Call, changed: frozenset[str]) -> Mapping[str, Any] | str | None:
        if call.method in {"GET", "DELETE"}:
            return None
        sent = {
            name: value
            for name, value in self.inputs.items()
            if (name in call.sends if call.sends is not None else True)
            and (not call.changed_only or name in changed)
            and self.type.properties[name].api is not None
            and not (self.type.leaves_out and is_empty(value))
        }
        if self.type.document:
            return str(sent.get(self.type.document, ""))
        body = {member(name, self.type.properties[name]): value for name, value in sent.items()}
        body = {**call.constants, **body}
        return body if body or call.sends is None else None

    def _is_done(self) -> bool:
        """Say whether what a lost answer belonged to was done: the API has now what was asked for."""
        found = _described(self)
        return found is not None and _is_as_wanted(self, found)


def verify(work: Work) -> list[Failure]:
    """Ask the API whether it would take the inputs, before anything is changed."""
    call, name = work.type.verify, work.type.document
    if call is None:
        return []
    try:
        content = as_object(work.do(call))
    except ApiError as exc:
        return [Failure(name, str(exc))]
    if not content.get("message"):
        return []
    return [Failure(name, f"{call.title}: ACL validation failed: {message_of(content)}")]


def create(work: Work) -> tuple[str, Properties]:
    """Make a resource; returns its id and state.

    Raises:
        OperationError: it was not made, or it cannot be told whether it was.
    """
    if work.type.identity in work.type.properties:
        work.id = str(work.inputs[work.type.identity])
    if work.type.listing is None:
        item = as_object(work.do(work.type.create))
    else:
        with work.session.creating:
            item = _create_once(work, work.type.listing)
    if not work.id:
        work.id = _identity(work, item)
    return work.id, _settled(work, item)


def read(work: Work) -> Properties | None:
    """Return the state of a resource, or None if it is gone."""
    if work.type.read is None:
        return work.state
    item = _described(work)
    return None if item is None else _state_of(work, item)


def update(work: Work, changed: frozenset[str]) -> Properties:
    """Bring the changes to the API and return the new state."""
    call, item = work.type.update, {}
    # What the API chose stays chosen where the program still says nothing.
    chosen = {name for name, described in work.type.properties.items() if described.computed}
    work.inputs = {**{name: work.state[name] for name in chosen if name in work.state}, **work.inputs}
    sent = changed if call is None or call.sends is None else changed & call.sends
    if call is not None and any(work.type.properties[name].api is not None for name in sent):
        item = as_object(work.do(call, changed))
    return _settled(work, item)


def delete(work: Work) -> None:
    """Remove a resource; one that is gone already is a success."""
    call = work.type.delete
    if call is None or (call.unless is not None and call.unless(work.state)):
        return
    try:
        work.do(call)
    except ApiError as exc:
        if exc.status != NOT_FOUND:
            raise


def _described(work: Work) -> Properties | None:
    """Return what the API says of a resource, None if it is gone."""
    if work.type.read is None:
        return None
    try:
        text = work.do(work.type.read)
    except ApiError as exc:
        if exc.status == NOT_FOUND and work.type.may_vanish:
            return None
        raise
    return {work.type.document: text} if work.type.document else as_object(text)


def _identity(work: Work, item: Properties) -> str:
    name = work.type.identity
    if not name:
        return str(uuid4())
    if not item.get(name):
        raise OperationError(f"{work.type.create.title}: the answer has no {name}")
    return str(item[name])


def _settled(work: Work, item: Properties) -> Properties:
    """Return the state after a change: what the API told, what it is asked now, or what was sent."""
    if work.type.reads_back:
        return _state_of(work, _described(work) or {})
    if work.type.is_told and item:
        return _state_of(work, item)
    outputs = {name: work.state[name] for name in work.type.outputs if name in work.state}
    return {**work.inputs, **outputs, "id": work.id}


def _state_of(work: Work, item: Properties) -> Properties:
    """Return inputs and outputs of a described resource; what the API does not give back keeps its known value."""
    known = {**work.state, **work.inputs}
    state: Properties = {"id": work.id}
    for name, described in work.type.properties.items():
        if described.item is None:
            value = known.get(name)
        else:
            found = item.get(described.item or member(name, described))
            unsaid = None if described.default is None else _zero(described.kind)
            value = unsaid if found is None else coerce(described.kind, found)
            # The program's spelling stays where the API's means the same.
            if known.get(name) is not None and value is not None and same(described, value, known[name]):
                value = known[name]
        if value is not None:
            state[name] = value
    for name, output in work.type.outputs.items():
        state[name] = item.get(output.item, known.get(name, _zero(output.kind)))
    return state


def _zero(kind: Kind) -> Value:
    return {**ZERO, Kind.MAP: {}, Kind.JSON: ""}.get(kind)


def _create_once(work: Work, listing: Listing) -> Properties:
    """Create what must not be there twice: where the answer was lost, look for it before the next try."""
    before, attempt = _listed(work, listing), 0
    while True:
        try:
            return as_object(work.do(work.type.create))
        except UnansweredError as exc:
            made = [each for name in _listed(work, listing) - before if (each := _if_wanted(work, name))]
            if len(made) > 1:
                raise OperationError(f"{exc}; {len(made)} that are alike came to be meanwhile") from exc
            if made:
                return _adopted(work, listing, made[0])
            attempt += 1
            if attempt == _TRIES or not work.patience.nap(attempt):
                raise


def _listed(work: Work, listing: Listing) -> set[str]:
    items = as_object(work.do(listing.call)).get(listing.items) or []
    return {str(each[listing.identity]) for each in items}


def _if_wanted(work: Work, identifier: str) -> Properties | None:
    item = _described(replace(work, id=identifier))
    return item if item is not None and _is_as_wanted(work, item) else None


def _adopted(work: Work, listing: Listing, item: Properties) -> Properties:
    identifier = str(item[listing.identity])
    logger.info(
        "found the resource whose creation went unanswered", extra={"type": work.type.name, "id": identifier}
    )
    if listing.renew is None:
        return item
    return {**item, **as_object(replace(work, id=identifier).do(listing.renew))}


def _is_as_wanted(work: Work, item: Properties) -> bool:
    return all(
        same(described, item.get(described.item or member(name, described)), wanted)
        for name, described in work.type.properties.items()
        if described.item is not None and (wanted := work.inputs.get(name)) is not None
    )
