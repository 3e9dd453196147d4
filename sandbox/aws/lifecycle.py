"""Interprets a `ResourceType`: create, read, update and delete, with lost answers settled before a second try."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mutx_sandbox.aws.caller import AwsError, UncertainError
from mutx_sandbox.aws.patience import Patience
from mutx_sandbox.aws.resource import Call, ResourceType, Step, Wait
from mutx_sandbox.aws.sessions import Session
from mutx_sandbox.aws.shapes import fill, put, search, upper_camel
from mutx_sandbox.aws.state import INCOMPLETE, read_property, same, state_of
from mutx_sandbox.aws.values import Properties, Value, canonical

logger = logging.getLogger(__name__)

_IN_USE = frozenset({"DependencyViolation", "DeleteConflict", "ResourceInUse", "InvalidIPAddress.InUse"})
_CREATE_TRIES = 8


class IncompleteError(Exception):
    """The resource exists, but a later step of its creation failed; `state` is what is known of it."""

    def __init__(self, identifier: str, state: Properties, reason: str) -> None:
        super().__init__(reason)
        self.identifier, self.state, self.reason = identifier, state, reason


class ResourceError(Exception):
    """AWS answered, but not with what the operation needs; the message says what it said."""


@dataclass(slots=True)
class Work:
    """One operation on one resource, as table functions see it.

    Attributes:
        type: the resource's type.
        session: the configured provider.
        patience: bounds waiting and retries.
        inputs: what the program wants.
        state: what is known from before.
        id: the resource's id in AWS, "" while it has none.
    """

    type: ResourceType
    session: Session
    patience: Patience
    inputs: Properties
    state: Properties = field(default_factory=dict)
    id: str = ""

    @property
    def region(self) -> str:
        """The region of this resource: its own, else the provider's."""
        own = self.inputs.get("region") or self.state.get("region")
        return str(own) if own else self.session.region

    @property
    def known(self) -> Properties:
        """Everything a template may name: state, overlaid by inputs, and the surroundings."""
        return {
            **self.state,
            **self.inputs,
            "id": self.id or None,
            "region": self.region,
            "account": self.session.account_id,
            "partition": self.session.partition,
        }

    def call(
        self, operation: str, parameters: Mapping[str, Value], settled_by: frozenset[str] = frozenset()
    ) -> Properties:
        """Make an idempotent call in the resource's region."""
        return self.session.caller.call(
            self.type.service, operation, parameters, self.patience, region=self.region, settled_by=settled_by
        )

    def call_once(self, operation: str, parameters: Mapping[str, Value]) -> Properties:
        """Make a call that must not be repeated blindly."""
        return self.session.caller.call_once(
            self.type.service, operation, parameters, self.patience, region=self.region
        )

    def do(self, step: Step) -> None:
        """Run one step of the table."""
        if isinstance(step, Call):
            self.call(step.operation, fill(step.parameters, self.known), step.settled_by)
        else:
            step(self)


def create(work: Work) -> tuple[str, Properties]:
    """Make a resource; returns its id and state.

    Raises:
        IncompleteError: it was made, but not all of it.
        AwsError: it was not made.
    """
    item = _make(work)
    try:
        if work.type.create.finish is not None:
            work.do(work.type.create.finish)
        item = _settled(work, item)
        state = state_of(work, item)
        state |= _apply_updates(work, _unsent(work, state))
    except (AwsError, ResourceError) as exc:
        partial = {**_requested(work.inputs), INCOMPLETE: True}
        raise IncompleteError(work.id, partial, str(exc)) from exc
    return work.id, _completed(work, state)


def read(work: Work, keys: tuple[str, ...] = ()) -> Properties | None:
    """Return the state of a resource, or None if it is gone; sets `work.id` to the id that AWS knows it by.

    Args:
        work: the operation; its `state` may hold no more than the inputs.
        keys: find it by these properties rather than by id (imports by a composite id).
    """
    item = _describe(work, keys)
    if item is None:
        return None
    if not work.id:
        work.id = _identity(work, item)
    return _completed(work, state_of(work, _extended(work, item, new=False)))


def update(work: Work, changed: frozenset[str]) -> Properties:
    """Bring the changed properties to AWS and return the new state."""
    steps = changed | _unfinished(work)
    if work.state.pop(INCOMPLETE, False) and work.type.create.finish is not None:
        work.do(work.type.create.finish)
    if "tags" in steps and work.type.tagging is not None:
        _retag(work)
    _apply_updates(work, steps)
    state = read(replace(work, state={**work.state, **work.inputs}))
    if state is None:
        raise ResourceError(f"{work.type.name} {work.id} disappeared while it was being updated")
    return state


def delete(work: Work) -> None:
    """Remove a resource; one that is gone already is a success."""
    for step in work.type.delete:
        _delete_step(work, step)
    if work.type.deleted is not None:
        _wait(work, work.type.deleted, gone_is_done=True)


def _make(work: Work) -> Properties:
    """Make the resource exactly once, set `work.id`, and return what is known of it."""
    kind = work.type.create
    request = _create_request(work)
    if kind.repeatable:
        return _identified(work, _send_create(work, request, again=True))
    with work.session.made.alone(
        f"{work.session.caller.account!r} {work.region} {work.type.name} {canonical(request)}"
    ):
        for attempt in range(_CREATE_TRIES):
            try:
                item = _identified(work, _send_create(work, request, again=False))
            except UncertainError:
                found = _find_lost(work)
                if found is not None:
                    item = found
                elif attempt + 1 < _CREATE_TRIES and work.patience.nap(attempt):
                    continue
                else:
                    raise
            work.session.made.add(work.id)
            return item
    raise AssertionError("unreachable: the last attempt returns or raises")


def _create_request(work: Work) -> Properties:
    kind = work.type
    request: Properties = {}
    for name, described in kind.properties.items():
        value = work.inputs.get(name)
        if value is not None and described.api is not None and name not in {"region", "tags"}:
            put(request, described.api or upper_camel(name), value)
    if kind.create.request is not None:
        request = kind.create.request(work.inputs, request)
    tags = work.inputs.get("tags")
    if tags and kind.tagging is not None and kind.tagging.put is not None:
        kind.tagging.put(request, tags)
    return request


def _send_create(work: Work, request: Properties, *, again: bool) -> Properties:
    operation = work.type.create.operation
    if callable(operation):
        return operation(work)
    return work.call(operation, request) if again else work.call_once(operation, request)


def _identified(work: Work, response: Properties) -> Properties:
    """Set the id from a create response, and return the response's item, or what inputs alone say."""
    kind = work.type
    unsuccessful = response.get("Unsuccessful")
    if unsuccessful:
        raise ResourceError(f"{kind.name}: {unsuccessful[0].get('Error', {}).get('Message', 'AWS refused')}")
    item: Properties = search(kind.create.item, response) if kind.create.item else {}
    if kind.make_id is not None:
        work.id = kind.make_id(work.inputs)
    else:
        work.id = str(search(kind.create.id, response) if kind.create.id else _identity(work, item))
    return item


def _settled(work: Work, item: Properties) -> Properties:
    """Return the described item of a new resource: from the response, from the inputs, or by one describe."""
    kind = work.type
    if kind.ready is not None and search(kind.ready.path, item) != kind.ready.until:
        item = _wait(work, kind.ready)
    elif kind.create.echoes:
        return _echo(work)
    elif not item or not _is_as_requested(work, item):
        described = _describe(work)
        if described is None:
            raise ResourceError(f"{kind.name} {work.id} was created but cannot be found")
        item = described
    return _extended(work, item, new=True)


def _echo(work: Work) -> Properties:
    """Return the item as AWS must have it now, from the request itself."""
    kind = work.type
    item = {**_create_request(work), **fill(kind.create.constants, work.known)}
    if kind.tagging is not None and work.inputs.get("tags"):
        put(item, kind.tagging.read, dict(work.inputs["tags"]))
    return item


def _extended(work: Work, item: Properties, *, new: bool) -> Properties:
    return work.type.extend(work, item, new) if work.type.extend is not None else item


def _unsent(work: Work, state: Properties) -> frozenset[str]:
    """Return the properties that the create call could not take and that differ from what AWS chose."""
    return frozenset(
        name
        for name, described in work.type.properties.items()
        if described.api is None
        and (wanted := work.inputs.get(name)) is not None
        and not same(described, state.get(name), wanted)
    )


def _apply_updates(work: Work, changed: frozenset[str]) -> Properties:
    for group in work.type.updates:
        if group.properties & changed:
            work.do(group.step)
    return {name: work.inputs[name] for name in changed if work.inputs.get(name) is not None}


def _unfinished(work: Work) -> frozenset[str]:
    if not work.state.get(INCOMPLETE):
        return frozenset()
    return frozenset(
        name
        for name, described in work.type.properties.items()
        if described.api is None and name in work.inputs
    )


def _retag(work: Work) -> None:
    tagging = work.type.tagging
    if tagging is None:
        return
    old, new = work.state.get("tags") or {}, work.inputs.get("tags") or {}
    removed = sorted(set(old) - set(new))
    added = {key: value for key, value in new.items() if old.get(key) != value}
    if removed:
        tagging.remove(work, removed)
    if added:
        tagging.add(work, added)


def _completed(work: Work, state: Properties) -> Properties:
    """Add what holds for every type: identity, tags, region."""
    state["id"] = work.id
    if work.type.regional:
        state["region"] = work.region
    if work.type.tagging is not None and "tagsAll" not in state:
        state["tagsAll"] = dict(state.get("tags") or {})
    return state


def _requested(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if not name.startswith("__")}


def _describe(work: Work, keys: tuple[str, ...] = ()) -> Properties | None:
    describe = work.type.describe
    for item in _candidates(work, describe.by):
        if describe.gone and search(describe.gone, item):
            continue
        if _is_wanted(work, item, keys or work.type.keys):
            return item
    return None


def _candidates(work: Work, template: Mapping[str, Value]) -> list[Properties]:
    describe = work.type.describe
    try:
        response = work.call(describe.operation, fill(template, work.known))
    except AwsError as exc:
        if exc.is_absence:
            return []
        raise
    found = search(describe.items, response)
    return found if isinstance(found, list) else [found] if found else []


def _is_wanted(work: Work, item: Properties, keys: tuple[str, ...]) -> bool:
    if not keys:
        return _identity(work, item) == work.id
    known = work.known
    return all(
        same(work.type.properties[key], read_property(work, key, item), known.get(key)) for key in keys
    )


def _identity(work: Work, item: Properties) -> str:
    if work.type.make_id is not None:
        return work.type.make_id({**work.known, **state_of(work, item)})
    return str(search(work.type.describe.identity, item))


def _find_lost(work: Work) -> Properties | None:
    """Find what a creation made whose answer was lost; sets `work.id`.

    A match has every property that the create call took, and was not handed to another resource of this process.
    """
    describe = work.type.describe
    template = describe.by if describe.among is None else describe.among
    matches = [
        item
        for item in _candidates(work, template)
        if not (describe.gone and search(describe.gone, item))
        and not (describe.given and search(describe.given, item))
        and _is_as_requested(work, item)
        and not (work.type.make_id is None and work.session.made.knows(_identity(work, item)))
    ]
    if len(matches) > 1:
        raise ResourceError(
            f"{work.type.name}: the answer to the creation was lost and {len(matches)} resources match it"
        )
    if not matches:
        return None
    work.id = _identity(work, matches[0])
    logger.info(
        "found the resource whose creation went unanswered", extra={"type": work.type.name, "id": work.id}
    )
    return matches[0]


def _is_as_requested(work: Work, item: Properties) -> bool:
    return _has_requested_tags(work, item) and all(
        same(described, read_property(work, name, item), wanted)
        for name, described in work.type.properties.items()
        if (wanted := work.inputs.get(name)) is not None
        and described.api is not None
        and described.item is not None
    )


def _has_requested_tags(work: Work, item: Properties) -> bool:
    """Compare tags, unless they are read by a call of their own: there the natural key has to do."""
    tagging = work.type.tagging
    if tagging is None or tagging.put is None or search(tagging.read, item) is None:
        return True
    return (read_property(work, "tags", item) or {}) == (work.inputs.get("tags") or {})


def _delete_step(work: Work, step: Step) -> None:
    """Run one step of a deletion; what still uses the resource may be on its way out, so that is waited for."""
    attempt = 0
    while True:
        try:
            work.do(step)
        except AwsError as exc:
            if exc.is_absence:
                return
            if exc.code not in _IN_USE or not work.patience.nap(attempt, base_s=0.2):
                raise
            attempt += 1
        else:
            return


def _wait(work: Work, wait: Wait, *, gone_is_done: bool = False) -> Properties:
    attempt = 0
    while True:
        item = _describe(work)
        if item is None and gone_is_done:
            return {}
        value = search(wait.path, item) if item else None
        if item and value == wait.until:
            return item
        if value in wait.failed:
            raise ResourceError(f"{work.type.name} {work.id} became {value}, not {wait.until}")
        if not work.patience.nap(attempt, base_s=0.1):
            raise ResourceError(f"{work.type.name} {work.id} is still {value}, not {wait.until}")
        attempt += 1
