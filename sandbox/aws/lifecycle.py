"""Interprets a `ResourceType`: create, read, update and delete."""

from __future__ import annotations

from dataclasses import replace

from mutx_sandbox.aws.caller import AwsError
from mutx_sandbox.aws.creation import make, settle
from mutx_sandbox.aws.lookup import describe_item, extended, identity, wait_for
from mutx_sandbox.aws.resource import Step
from mutx_sandbox.aws.state import INCOMPLETE, state_of
from mutx_sandbox.aws.work import ResourceError, Work
from mutx_sandbox.bridge.diff import same
from mutx_sandbox.bridge.failures import IncompleteError
from mutx_sandbox.bridge.patience import StoppedError
from mutx_sandbox.bridge.values import Properties

_IN_USE = frozenset(
    {"DependencyViolation", "DeleteConflict", "ResourceInUse", "InvalidIPAddress.InUse", "VolumeInUse"}
)


def create(work: Work) -> tuple[str, Properties]:
    """Make a resource; returns its id and state.

    Raises:
        IncompleteError: it was made, but not all of it.
        AwsError: it was not made.
    """
    item = make(work)
    try:
        if work.type.create.finish is not None:
            work.do(work.type.create.finish)
        item = settle(work, item)
        state = state_of(work, item)
        state |= _apply_updates(work, _unsent(work, state))
    except (AwsError, ResourceError, StoppedError) as exc:
        partial = {**_requested(work.inputs), INCOMPLETE: True}
        raise IncompleteError(work.id, partial, str(exc)) from exc
    return work.id, _completed(work, state)


def read(work: Work, keys: tuple[str, ...] = ()) -> Properties | None:
    """Return the state of a resource, or None if it is gone; sets `work.id` to the id that AWS knows it by.

    Args:
        work: the operation; its `state` may hold no more than the inputs.
        keys: find it by these properties rather than by id (imports by a composite id).
    """
    item = describe_item(work, keys)
    if item is None:
        return None
    if not work.id:
        work.id = identity(work, item)
    return _completed(work, state_of(work, extended(work, item, new=False)))


def update(work: Work, changed: frozenset[str]) -> Properties:
    """Bring the changed properties to AWS and return the new state.

    Raises:
        IncompleteError: not all of it; its state is what the resource is now.
    """
    try:
        _change(work, changed)
    except (AwsError, StoppedError) as exc:
        known_as = str(work.state.get("id") or work.id)
        raise IncompleteError(known_as, _state_now(work) or work.state, str(exc)) from exc
    state = _state_now(work)
    if state is None:
        raise ResourceError(f"{work.type.name} {work.id} disappeared while it was being updated")
    return state


def delete(work: Work) -> None:
    """Remove a resource; one that is gone already is a success."""
    for step in work.type.delete:
        _delete_step(work, step)
    if work.type.deleted is not None:
        wait_for(work, work.type.deleted, gone_is_done=True)


def _change(work: Work, changed: frozenset[str]) -> None:
    steps = changed | _unfinished(work)
    if work.state.get(INCOMPLETE) and work.type.create.finish is not None:
        work.do(work.type.create.finish)
    if "tags" in steps:
        _retag(work)
    _apply_updates(work, steps)


def _state_now(work: Work) -> Properties | None:
    known = {**work.state, **work.inputs}
    known.pop(INCOMPLETE, None)
    return read(replace(work, state=known))


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
